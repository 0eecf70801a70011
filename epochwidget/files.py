"""Runs in files: `History.save` writes one, `load` reads it again.

A file is a NumPy ``.npz``: a zip archive of arrays, which ``numpy.load(path, allow_pickle=False)`` opens, too. Each of
its members is an ``.npy`` of version 1.0 with one dimension, and none is compressed, so that no file takes more memory
than it takes room on the disk. There are no members but these::

    description   uint8, the bytes of a JSON text, see below
    steps_clock   float64, the steps at which batches ended, in the order in which they did
    values_clock  float64, when each of them ended, in seconds of the run
    steps_0       float64, the steps of the first series' points, in the order in which they came
    values_0      float64, their values; NaN and infinity are data, and the bits of NaN are kept
    epochs_0      float64, their epochs; only of a series of granularity "epoch"
    steps_1 ...   the same of the next series, and so on

All numbers are little-endian. A step is a number of batches, those that had ended when the point came; epochs are
counted from 0. The description is one object, with all of these names and no others::

    format      "epochwidget run"
    version     1
    run         text, the run's identifier
    name        text, what the person calls it
    number      its place among the runs where it was saved, from 1
    started     when it began, in seconds since 1970
    status      "completed", "stopped" or "failed"; "running" in a file that was written while the run went on
    error       text or null: what ended it
    purpose     "training" or "lr search"
    epochs      where the epochs are to end, or null
    steps       how many batches have ended
    elapsed     the seconds that the run has taken, up to the last that happened; what passed between its end and its
                going on is in none of the seconds of a run
    watching    the seconds of these that watching it has cost, see `History.watching`
    validating  the seconds of these spent in validation, see `History`
    generation  how often points of the run were dropped, for it went on from an earlier epoch
    open        true if the last of the spans is of an epoch that has not come to its end
    clock       how many numbers steps_clock and values_clock have each
    series      [{"name": text, "granularity": "batch" or "epoch", "kind": see `epochwidget.series.Kind`,
                "metric": text, "split": "train" or "validation", "points": how many}, ...], in the order of their
                first points; no two of one granularity have one name
    declared    [the same without "points", ...]: what was said of names before their first points. It holds for such
                as come when the run goes on
    spans       [{"epoch": e, "first": n, "batches": n or null, "time": s, "watching": s, "validating": s}, ...]: the
                epochs begun; see `epochwidget.history.Span`
    marks       [{"step": n, "time": s, "text": text, "epoch": e or null}, ...], see `epochwidget.Marked`
    resumed     [{"step": n, "time": s, "at": seconds since 1970, "epoch": e or null, "epochs": n or null}, ...]: where
                the run was taken up again, see `epochwidget.RunResumed`

Whole numbers are 0 or more and at most 2**53, ``generation`` at most a million, and moments since 1970 at most 8e12
seconds. No number of the description, the clock, the steps and the epochs is NaN or infinite.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, BinaryIO, get_args
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
import numpy.typing as npt

from .bus import Bus, chosen
from .columns import Column, Floats
from .errors import checked_path
from .events import Marked, Purpose, RunResumed, RunStarted, Status
from .history import History, Points, Span
from .replacing import replacing
from .series import Granularity, Kind, Series, Split
from .watching import Cost

_FORMAT, _VERSION = "epochwidget run", 1

# Beyond this a float64 does not hold every whole number, nor does a page.
_LARGEST = 2**53

_Check = Callable[[Any, str], None]


class _UnfitError(ValueError):
    """What a file holds does not fit; the text says what, and `remedy` what to do."""

    def __init__(self, told: str, remedy: str = "give such a file, or another copy if this was one") -> None:
        super().__init__(told)
        self.remedy = remedy


def load(path: str | os.PathLike[str], bus: Bus | None = None) -> History:
    """Read a run that `History.save` has written, and show it in every widget: ``ew.load("resnet18.npz")``.

    It stands among the runs of the bus where it began. ``ew.Run(resume=ew.load("resnet18.npz"))`` goes on in it.

    Parameters
    ----------
    path
        The file.
    bus
        Which bus's runs to add it to, by default those of the shared one.

    Returns
    -------
    History
        The run, with every number as it was. Its number, and with it its title, is another if a run of the bus has
        that number. If the run itself is on the bus, as when a file is loaded twice, nothing is added and what is
        there is returned, whether or not it has gone on since.

    Raises
    ------
    OSError
        If there is no such file, or it may not be read.
    ValueError
        If it is no such file, is damaged, or is of a newer epochwidget. Then nothing is added. Nothing in a file is
        ever executed.
    TypeError
        If `path` is no path, or `bus` no bus.
    """
    bus = chosen(bus, "load")
    path = checked_path("load", path)
    if path.exists() and not (path.is_file() or path.is_dir()):  # a device may have no end
        raise ValueError(f"load() needs a file that history.save(path) has written; {str(path)!r} is no file.")
    with path.open("rb") as file:
        try:
            history = _read(file)
        except Exception as error:  # a damaged archive makes any of a dozen
            told = error if isinstance(error, _UnfitError) else _UnfitError(f"it is damaged ({type(error).__name__})")
            raise ValueError(
                f"load({os.fspath(path)!r}) needs a file that history.save(path) has written: {told}; {told.remedy}."
            ) from error
    return bus.take(history)


def save(history: History, path: str | os.PathLike[str]) -> None:
    """Write a run to a file, see `History.save`."""
    path = checked_path("save", path)
    try:
        with replacing(path, f"the run {history.title!r}") as file:
            _write(file, history)
    except _UnfitError as error:
        raise ValueError(
            f"the run {history.title!r} was not saved: {error}; whoever emits events has to keep to that."
        ) from error


def _write(file: BinaryIO, history: History) -> None:
    with history.held():
        description = _describe(history)
        columns = [
            (name, column, len(column))
            for number, points in _numbered(history)
            for name, column in _columns(number, points)
        ]
    # Columns only grow, so they are copied while the run goes on.
    _DESCRIPTION(description, "the description")
    with ZipFile(file, "w", ZIP_STORED) as archive:
        _put(archive, "description", np.frombuffer(json.dumps(description, allow_nan=False).encode(), np.uint8))
        for name, column, length in columns:
            numbers = column.array(0, length)
            _check_numbers(name, numbers)
            _put(archive, name, numbers.astype("<f8", copy=False))


def _put(archive: ZipFile, name: str, array: npt.NDArray[Any]) -> None:
    # The date is always the same, so that the same run is the same file.
    with archive.open(ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)


def _describe(history: History) -> dict[str, Any]:
    # What is private says how far the columns go; batches that still wait are not in it.
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "run": history.run,
        "name": history.name,
        "number": history.number,
        "started": history.started,
        "status": history.status,
        "error": history.error,
        "purpose": history.purpose,
        "epochs": history.epochs,
        "steps": history._step,
        "elapsed": history._time,
        "watching": history.watching,
        "validating": history.validating,
        "generation": history.generation,
        "open": history._epoch_open,
        "clock": len(history.clock),
        "series": [{**_fields(points.series), "points": len(points)} for points in history.points],
        "declared": [_fields(series) for series in history._declared.values()],
        "spans": [_fields(span) for span in history.spans],
        "marks": [_fields(mark) for mark in history.marks],
        "resumed": [_fields(resumed) for resumed in history.resumed],
    }


def _fields(record: Any) -> dict[str, Any]:
    """Return what a slotted record of a run holds; the run is the same for all."""
    return {name: getattr(record, name) for name in record.__slots__ if name != "run"}


def _numbered(history: History) -> Iterator[tuple[str, Points]]:
    """Go through all points of a run with what the names of their members end in."""
    yield "clock", history.clock
    for number, points in enumerate(history.points):
        yield str(number), points


def _columns(number: str, points: Points) -> Iterator[tuple[str, Column]]:
    """Go through the columns of points that have a member each."""
    yield f"steps_{number}", points.steps
    yield f"values_{number}", points.values
    if points.series.granularity == "epoch":
        yield f"epochs_{number}", points.epochs


def _read(file: BinaryIO) -> History:
    size = file.seek(0, os.SEEK_END)
    with ZipFile(file) as archive:
        members = [member.filename for member in archive.infolist()]
        if "description.npy" not in members:
            raise _UnfitError("it has no description of a run")
        if any(member.compress_type != ZIP_STORED for member in archive.infolist()):
            raise _UnfitError("its members are compressed")
        # Members that overlap would be read over and over.
        if sum(member.file_size for member in archive.infolist()) > size:
            raise _UnfitError("its members claim to be larger than the file")
        told = json.loads(_array(archive, "description", np.dtype(np.uint8)).tobytes())
        _check_version(told)
        _DESCRIPTION(told, "the description")
        history = _history(told)
        expected = {
            name: (column, length)
            for (number, points), length in zip(_numbered(history), _lengths(told), strict=True)
            for name, column in _columns(number, points)
        }
        if sorted(members) != sorted(["description.npy", *(f"{name}.npy" for name in expected)]):
            raise _UnfitError("its members are not those that its description names")
        for name, (column, length) in expected.items():
            numbers = _array(archive, name, np.dtype("<f8"))
            if len(numbers) != length:
                raise _UnfitError(f"{name} has {len(numbers)} numbers, and its description says {length}")
            _check_numbers(name, numbers)
            column.extend(numbers)
    return history


def _array(archive: ZipFile, name: str, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Read a member that is no larger than the file, whatever its header says, and never an object."""
    data = archive.read(f"{name}.npy")
    head = BytesIO(data)
    if np.lib.format.read_magic(head) != (1, 0):
        raise _UnfitError(f"{name} is no array in NumPy's format 1.0")
    shape, _, found = np.lib.format.read_array_header_1_0(head)
    numbers = np.frombuffer(data, dtype, offset=head.tell()) if found == dtype else None
    if numbers is None or numbers.shape != shape:
        raise _UnfitError(f"{name} is no array of {dtype} with one dimension and as many numbers as it says")
    return numbers


def _history(told: dict[str, Any]) -> History:
    """Make a history of a description that was checked, whose columns are still empty."""
    run, went_on = told["run"], told["status"] == "running"
    history = History(RunStarted(run, told["name"], told["started"], told["epochs"], told["purpose"]), told["number"])
    history.status, history.error = "stopped" if went_on else told["status"], told["error"]
    history.generation, history.validating = told["generation"], told["validating"]
    history.cost = Cost(told["watching"])
    history.spans = [Span(**span) for span in told["spans"]]
    history.marks = [Marked(run, **mark) for mark in told["marks"]]
    history.resumed = [RunResumed(run, **resumed) for resumed in told["resumed"]]
    history._step, history._time, history._epoch_open = told["steps"], told["elapsed"], told["open"]
    declared = [Series(**series) for series in told["declared"]]
    history._declared = {(series.granularity, series.name): series for series in declared}
    for fields in told["series"]:
        series = Series(**{name: value for name, value in fields.items() if name != "points"})
        key = series.granularity, series.name
        if key in history._index:
            raise _UnfitError(f"two of its series of granularity {key[0]!r} are called {key[1]!r}")
        history._index[key] = Points(series)
    history.points = list(history._index.values())
    return history


def _lengths(told: dict[str, Any]) -> list[int]:
    return [told["clock"], *(series["points"] for series in told["series"])]


def _check_numbers(name: str, numbers: Floats) -> None:
    """Raise if an array would make drawing fail, or a run that goes on. Values of metrics may be anything."""
    if name == "values_clock":
        fits = np.isfinite(numbers)
    elif name.startswith("values_"):
        return
    else:
        fits = (numbers >= 0) & (numbers <= _LARGEST) & (numbers == np.floor(numbers))
    if not fits.all():
        at = int(fits.argmin())
        raise _UnfitError(f"{name}[{at}] has to be {'finite' if 'clock' in name else 'whole'}, got {numbers[at]}")


def _check_version(told: Any) -> None:
    if not isinstance(told, dict) or told.get("format") != _FORMAT:
        raise _UnfitError("its description is of something else")
    version = told.get("version")
    if type(version) is int and version > _VERSION:
        raise _UnfitError(
            f"it has version {version} of the format, and this epochwidget reads version {_VERSION}",
            "update epochwidget",
        )


# What a description may hold. Each check raises unless a value fits, and says where it stands.


def _is(what: str, fits: Callable[[Any], bool]) -> _Check:
    def check(value: Any, where: str) -> None:
        if not fits(value):
            shown = repr(value)
            shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
            raise _UnfitError(f"{where} has to be {what}, got {shown}")

    return check


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _one_of(*words: Any) -> _Check:
    return _is(" or ".join(map(repr, words)), lambda value: type(value) is type(words[0]) and value in words)


def _or_null(check: _Check) -> _Check:
    return lambda value, where: None if value is None else check(value, where)


def _each(check: _Check) -> _Check:
    def check_each(value: Any, where: str) -> None:
        _is("a list", lambda value: isinstance(value, list))(value, where)
        for at, item in enumerate(value):
            check(item, f"{where}[{at}]")

    return check_each


def _object(**checks: _Check) -> _Check:
    def check_fields(value: Any, where: str) -> None:
        named = isinstance(value, dict) and value.keys() == checks.keys()
        _is(f"an object of {', '.join(checks)}", lambda _: named)(value, where)
        for name, check in checks.items():
            check(value[name], f"{where}.{name}")

    return check_fields


_text = _is("a text", lambda value: isinstance(value, str))
_count = _is("a whole number of 0 or more", lambda value: type(value) is int and 0 <= value <= _LARGEST)
_drops = _is("a whole number of 0 to a million", lambda value: type(value) is int and 0 <= value <= 10**6)
_number = _is("a finite number", lambda value: _is_number(value) and -1e300 <= value <= 1e300)
# Of what is later, JavaScript has no date.
_moment = _is("a time in seconds since 1970", lambda value: _is_number(value) and 0 <= value <= 8e12)
_flag = _is("true or false", lambda value: isinstance(value, bool))

_DECLARED: dict[str, _Check] = {
    "name": _text,
    "granularity": _one_of(*get_args(Granularity)),
    "kind": _one_of(*get_args(Kind)),
    "metric": _text,
    "split": _one_of(*get_args(Split)),
}
_SPAN = _object(
    epoch=_count, first=_count, batches=_or_null(_count), time=_number, watching=_number, validating=_number
)
_MARK = _object(step=_count, time=_number, text=_text, epoch=_or_null(_count))
_RESUMED = _object(step=_count, time=_number, at=_moment, epoch=_or_null(_count), epochs=_or_null(_count))
_DESCRIPTION = _object(
    format=_one_of(_FORMAT),
    version=_one_of(_VERSION),
    run=_text,
    name=_text,
    number=_count,
    started=_moment,
    status=_one_of(*get_args(Status)),
    error=_or_null(_text),
    purpose=_one_of(*get_args(Purpose)),
    epochs=_or_null(_count),
    steps=_count,
    elapsed=_number,
    watching=_number,
    validating=_number,
    generation=_drops,
    open=_flag,
    clock=_count,
    series=_each(_object(**_DECLARED, points=_count)),
    declared=_each(_object(**_DECLARED)),
    spans=_each(_SPAN),
    marks=_each(_MARK),
    resumed=_each(_RESUMED),
)
