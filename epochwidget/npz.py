"""A run in a file of NumPy's, ``.npz``: a zip archive of arrays, which ``numpy.load(path, allow_pickle=False)`` opens.

Each of its members is an ``.npy`` of version 1.0 with one dimension, and none is compressed, so that no file takes more
memory than it takes room on the disk. There are no members but these, and `epochwidget.description` says what is in
them::

    description   uint8, the bytes of the JSON text
    steps_clock   float64, the steps at which batches ended, in the order in which they did
    values_clock  float64, when each of them ended, in seconds of the run
    steps_0       float64, the steps of the first series' points, in the order in which they came
    values_0      float64, their values
    epochs_0      float64, their epochs; only of a series of granularity "epoch"
    indices_0, bucket_first_0, bucket_last_0, bucket_count_0, bucket_finite_0, bucket_mean_0
                  float64, what is known of merged points; only where there are any, and of the clock likewise
    steps_1 ...   the same of the next series, and so on

All numbers are little-endian.
"""

from __future__ import annotations

import os
from io import BytesIO
from typing import Any, BinaryIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
import numpy.typing as npt

from .description import UnfitError, begin, describe
from .history import History


def write(file: BinaryIO, history: History) -> None:
    """Write a run."""
    description, parts = describe(history)
    with ZipFile(file, "w", ZIP_STORED) as archive:
        _put(archive, "description", np.frombuffer(description, np.uint8))
        for part in parts:
            for what in part.lengths:
                _put(archive, part.name(what), part.numbers(what).astype("<f8", copy=False))


def read(file: BinaryIO) -> History:
    """Read a run that `write` has written; any exception says that it did not."""
    size = file.seek(0, os.SEEK_END)
    with ZipFile(file) as archive:
        members = [member.filename for member in archive.infolist()]
        if "description.npy" not in members:
            raise UnfitError("it has no description of a run")
        if any(member.compress_type != ZIP_STORED for member in archive.infolist()):
            raise UnfitError("its members are compressed")
        # Members that overlap would be read over and over.
        if sum(member.file_size for member in archive.infolist()) > size:
            raise UnfitError("its members claim to be larger than the file")
        history, parts = begin(_array(archive, "description", np.dtype(np.uint8)).tobytes())
        expected = {part.name(what): (part, what) for part in parts for what in part.lengths}
        if sorted(members) != sorted(["description.npy", *(f"{name}.npy" for name in expected)]):
            raise UnfitError("its members are not those that its description names")
        for name, (part, what) in expected.items():
            part.take(what, _array(archive, name, np.dtype("<f8")))
    return history


def _put(archive: ZipFile, name: str, array: npt.NDArray[Any]) -> None:
    # The date is always the same, so that the same run is the same file.
    with archive.open(ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)


def _array(archive: ZipFile, name: str, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Read a member that is no larger than the file, whatever its header says, and never an object."""
    data = archive.read(f"{name}.npy")
    head = BytesIO(data)
    if np.lib.format.read_magic(head) != (1, 0):
        raise UnfitError(f"{name} is no array in NumPy's format 1.0")
    shape, _, found = np.lib.format.read_array_header_1_0(head)
    numbers = np.frombuffer(data, dtype, offset=head.tell()) if found == dtype else None
    if numbers is None or numbers.shape != shape:
        raise UnfitError(f"{name} is no array of {dtype} with one dimension and as many numbers as it says")
    return numbers
