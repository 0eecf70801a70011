"""A run in a Parquet file, by pyarrow: a table with a row for each point, which every program of the field reads.

Its columns are::

    granularity  text, "batch" or "epoch", or "clock"
    series       text, the name of the series, as in ``history.batch["loss"]``; "time" of the clock
    step         int64, how many batches had ended when the point came
    epoch        int64, its epoch, counted from 0; null but in series of granularity "epoch"
    value        float64

First come the rows of the clock, whose values are seconds of the run, then those of one series after the other, in the
order in which the points came. The metadata of the table have, under ``epochwidget``, the JSON text of which
`epochwidget.description` tells, and under ``epochwidget.crc32`` the check sum of that, in decimal digits.

Nothing in it is compressed and no number is in a dictionary; a file with more rows than it has room for is refused.
Each page has its check sum.
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO
from zlib import crc32

import numpy as np

from .columns import Floats
from .description import UnfitError, begin, describe
from .errors import check_version
from .history import History

#: What such a file begins with.
MAGIC = b"PAR1"

_DESCRIPTION, _CHECK_SUM = b"epochwidget", b"epochwidget.crc32"
# The columns that hold the numbers of a part.
_COLUMNS = {"step": "steps", "epoch": "epochs", "value": "values"}
_TYPES = {"step": "int64", "epoch": "int64", "value": "double"}
# How many rows a group of rows has, each of which costs a page a column.
_GROUP = 2**20


def write(file: BinaryIO, history: History) -> None:
    """Write a run."""
    pa, pq = _pyarrow()
    description, parts = describe(history)
    # One dictionary for all parts, or they would be written in full. Half a character is no UTF-8.
    names = pa.array([part.series.name.encode(errors="replace").decode() for part in parts])
    granularities = pa.array(["clock", "batch", "epoch"])
    text = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([("granularity", text), ("series", text), *_TYPES.items()])
    with pq.ParquetWriter(
        file,
        schema,
        compression="none",
        use_dictionary=["granularity", "series"],
        # A NaN has no place between the lowest and the highest.
        write_statistics=["granularity", "series", "step"],
        write_page_checksum=True,
        store_schema=False,
    ) as writer:
        writer.add_key_value_metadata({_DESCRIPTION: description, _CHECK_SUM: str(crc32(description))})
        waiting: list[Any] = []
        for at, part in enumerate(parts):
            granularity = 0 if part.number < 0 else 1 + (part.series.granularity == "epoch")
            numbers = {what: part.numbers(what) for what in part.columns}
            columns = [
                pa.DictionaryArray.from_arrays(np.full(part.length, granularity, np.int32), granularities),
                pa.DictionaryArray.from_arrays(np.full(part.length, at, np.int32), names),
                pa.array(numbers["steps"].astype(np.int64)),
                pa.array(numbers["epochs"].astype(np.int64)) if "epochs" in numbers else pa.nulls(part.length, "int64"),
                pa.array(numbers["values"]),
            ]
            waiting.append(pa.record_batch(columns, schema=schema))
            if sum(map(len, waiting)) >= _GROUP or part is parts[-1]:
                writer.write_table(pa.Table.from_batches(waiting), row_group_size=_GROUP)
                waiting.clear()


def read(file: BinaryIO) -> History:
    """Read a run that `write` has written; any exception says that it did not."""
    _, pq = _pyarrow()
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    with pq.ParquetFile(file, page_checksum_verification=True) as table:
        description = (table.metadata.metadata or {}).get(_DESCRIPTION)
        if description is None:
            raise UnfitError("it has no description of a run")
        if table.metadata.metadata.get(_CHECK_SUM) != str(crc32(description)).encode():
            raise UnfitError("its description is damaged")
        history, parts = begin(description)
        _check_size(table.metadata, size)
        columns = _columns(table)
    length = sum(part.length for part in parts)
    if len(columns["values"]) != length:
        raise UnfitError(f"it has {len(columns['values'])} rows, and its description says {length}")
    start = 0
    for part in parts:
        for what in part.columns:
            part.take(what, columns[what][start : start + part.length])
        start += part.length
    return history


def _check_size(metadata: Any, size: int) -> None:
    """Raise if the numbers are more than the file has room for: as long as a run is, eight bytes each."""
    # What pyarrow tells of a single column is not asked for: where that is damaged, asking ends the process.
    if sum(metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)) > size // 8:
        raise UnfitError("its columns claim to be larger than the file")


def _columns(table: Any) -> dict[str, Floats]:
    """Read the numbers of all points; an epoch that is null becomes NaN."""
    found = {field.name: str(field.type) for field in table.schema_arrow if field.name in _TYPES}
    if found != _TYPES:
        raise UnfitError(f"its columns are not {', '.join(map(' of '.join, _TYPES.items()))}")
    rows = table.read(list(_TYPES), use_threads=False)
    return {what: rows[name].to_numpy().astype(np.float64, copy=False) for name, what in _COLUMNS.items()}


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        raise ImportError(
            "a .parquet file needs pyarrow: pip install pyarrow; with any other suffix save() writes NumPy's .npz."
        ) from None
    # Those below 14.0.1 execute what a file tells them to, CVE-2023-47248, and 16 is what writes metadata so.
    check_version("pyarrow", pa.__version__, at_least="16")
    return pa, pq
