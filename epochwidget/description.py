"""What a file tells of a run beside its numbers, and what these may be: the same in every form a run is saved in.

It is a JSON text, one object with all of these names and no others::

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
    clock       {"points": how many it has, "merged": how many of these are what is kept of merged ones, "buckets": of
                how many buckets}
    series      [{"name": text, "granularity": "batch" or "epoch", "kind": see `epochwidget.series.Kind`,
                "metric": text, "split": "train" or "validation", and of points what the clock has}, ...], in the order
                of their first points; no two of one granularity have one name
    declared    [the same without what the clock has, ...]: what was said of names before their first points. It holds
                for such as come when the run goes on
    spans       [{"epoch": e, "first": n, "batches": n or null, "time": s, "watching": s, "validating": s}, ...]: the
                epochs begun; see `epochwidget.history.Span`
    marks       [{"step": n, "time": s, "text": text, "epoch": e or null}, ...], see `epochwidget.Marked`
    resumed     [{"step": n, "time": s, "at": seconds since 1970, "epoch": e or null, "epochs": n or null}, ...]: where
                the run was taken up again, see `epochwidget.RunResumed`

Whole numbers are 0 or more and at most 2**53, ``generation`` at most a million, and moments since 1970 at most 8e12
seconds. No number is NaN or infinite.

The numbers of a file are those of the *clock*, which tells at which step each batch ended, and when, in seconds of the
run; and those of each of the series: at which step each point stands, its value, and, of a series of granularity
"epoch", its epoch. Steps count the batches that had ended when the point came, epochs are counted from 0, and both are
whole and as large as said above. Values are anything: NaN and infinity are data, and the bits of NaN are kept.

Of a run whose older points were merged, see `Bus.max_points`, a series or the clock has first those that are kept of
them, and for each its *index* among all that there were. Of each *bucket* there are the first and the last step of the
points that it was made of, their count, how many of them are finite numbers, and the mean of these; see
`epochwidget.buckets`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, get_args

import numpy as np

from .buckets import Buckets, Merged
from .columns import Column, Floats
from .events import Marked, Purpose, RunResumed, RunStarted, Status
from .history import History, Span
from .points import Points
from .series import Granularity, Kind, Series, Split
from .watching import Cost

_FORMAT, _VERSION = "epochwidget run", 1

# Beyond this a float64 does not hold every whole number, nor does a page.
_LARGEST = 2**53

_Check = Callable[[Any, str], None]


#: What a file has of each bucket.
BUCKETS = ("bucket_first", "bucket_last", "bucket_count", "bucket_finite", "bucket_mean")
# What it has of each point.
_POINTS: dict[Granularity, tuple[str, ...]] = {
    "batch": ("steps", "values"),
    "epoch": ("steps", "values", "epochs"),
}


class UnfitError(ValueError):
    """What a file holds does not fit; the text says what, and `remedy` what to do."""

    def __init__(self, told: str, remedy: str = "give such a file, or another copy if this was one") -> None:
        super().__init__(told)
        self.remedy = remedy


class Part:
    """The points of one series, or of the clock, that a file holds.

    Attributes
    ----------
    number : int
        The place of the series, or -1 for the clock.
    points : Points
        Where they are, or are to be.
    lengths : dict of str to int
        What is to be in the file, and how many numbers of it: ``"steps"`` and ``"values"`` of each point, of epochs
        ``"epochs"`` as well, and of merged points ``"indices"`` and, of each bucket, the names of `BUCKETS`.
    """

    def __init__(self, number: int, points: Points, told: dict[str, Any]) -> None:
        self.number, self.points = number, points
        self._merged = points.merged
        self._read: dict[str, Floats] = {}
        self.lengths = dict.fromkeys(_POINTS[points.series.granularity], told["points"])
        if told["merged"]:
            self.lengths["indices"] = told["merged"]
            self.lengths.update(dict.fromkeys(BUCKETS, told["buckets"]))

    def name(self, what: str) -> str:
        """Return what one of these is called in errors, and in an archive."""
        return f"{what}_{'clock' if self.number < 0 else self.number}"

    def numbers(self, what: str) -> Floats:
        """Return the numbers of that name, checked; shape (lengths[what],), float64."""
        if what in BUCKETS:
            numbers: Floats = getattr(self._buckets, what.removeprefix("bucket_"))
        elif what == "indices":
            numbers = np.concatenate(self._merged.chunks("indices"))
        else:
            column: Column = getattr(self.points, what)
            numbers = column.array(0, self.lengths[what])
        self._check(what, numbers)
        return numbers

    @cached_property
    def _buckets(self) -> Buckets:
        return self._merged.buckets()

    def take(self, what: str, numbers: Floats) -> None:
        """Take in what was read, once that was checked, and the points when all was."""
        if len(numbers) != self.lengths[what]:
            raise UnfitError(
                f"{self.name(what)} has {len(numbers)} numbers, and its description says {self.lengths[what]}"
            )
        self._check(what, numbers)
        self._read[what] = numbers
        if self._read.keys() == self.lengths.keys():
            self._fill()

    def _fill(self) -> None:
        read, points = self._read, self.points
        for what in _POINTS[points.series.granularity]:
            column: Column = getattr(points, what)
            column.extend(read[what])
        if "indices" in read:
            kept = self.lengths["indices"]
            numbers = {name.removeprefix("bucket_"): read[name] for name in BUCKETS}
            buckets = Buckets(**numbers, lowest=np.empty(0), highest=np.empty(0))
            try:
                points.merged = Merged.of(read["steps"][:kept], read["values"][:kept], read["indices"], buckets)
            except ValueError as error:
                raise UnfitError(f"of {self.name('values')} {error}") from None
        self._read = {}

    def _check(self, what: str, numbers: Floats) -> None:
        """Raise if they would make drawing fail, or a run that goes on."""
        if what not in ("values", "bucket_mean"):
            fits = (numbers >= 0) & (numbers <= _LARGEST) & (numbers == np.floor(numbers))
            needed = "a whole number of 0 or more"
        elif what == "values" and self.number < 0:
            fits, needed = np.isfinite(numbers), "finite"
        else:
            return
        if not fits.all():
            at = int(fits.argmin())
            raise UnfitError(f"{self.name(what)}[{at}] has to be {needed}, got {numbers[at]}")


def describe(history: History) -> tuple[bytes, list[Part]]:
    """Return the description of a run as it is at this moment, and the numbers that belong to it.

    Raises
    ------
    UnfitError
        If something of it is not as a file has to have it.
    """
    with history.held():
        told = {
            # What is private says how far the columns go; batches that still wait are not in it.
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
            "clock": _lengths(history.clock),
            "series": [{**_fields(points.series), **_lengths(points)} for points in history.points],
            "declared": [_fields(series) for series in history._declared.values()],
            "spans": [_fields(span) for span in history.spans],
            "marks": [_fields(mark) for mark in history.marks],
            "resumed": [_fields(resumed) for resumed in history.resumed],
        }
        # Columns only grow, so they are copied while the run goes on.
        parts = list(_parts(history, told))
    _DESCRIPTION(told, "the description")
    return json.dumps(told, allow_nan=False).encode(), parts


def begin(text: bytes) -> tuple[History, list[Part]]:
    """Make the run of a description, and the parts that are to be filled with its numbers.

    Raises
    ------
    UnfitError
        If it is none, or of a newer epochwidget.
    """
    told = json.loads(text)
    _check_version(told)
    _DESCRIPTION(told, "the description")
    history = _history(told)
    return history, list(_parts(history, told))


def _parts(history: History, told: dict[str, Any]) -> Iterator[Part]:
    each = zip([history.clock, *history.points], [told["clock"], *told["series"]], strict=True)
    for number, (points, lengths) in enumerate(each, -1):
        yield Part(number, points, lengths)


def _lengths(points: Points) -> dict[str, int]:
    merged = points.merged
    return {"points": len(points), "merged": merged.kept, "buckets": sum(map(len, merged.blocks))}


def _fields(record: Any) -> dict[str, Any]:
    """Return what a slotted record of a run holds; the run is the same for all."""
    return {name: getattr(record, name) for name in record.__slots__ if name != "run"}


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
    for one in told["series"]:
        series = Series(**{name: one[name] for name in _DECLARED})
        key = series.granularity, series.name
        if key in history._index:
            raise UnfitError(f"two of its series of granularity {key[0]!r} are called {key[1]!r}")
        history._index[key] = Points(series)
    history.points = list(history._index.values())
    return history


def _check_version(told: Any) -> None:
    if not isinstance(told, dict) or told.get("format") != _FORMAT:
        raise UnfitError("its description is of something else")
    version = told.get("version")
    if type(version) is int and version > _VERSION:
        raise UnfitError(
            f"it has version {version} of the format, and this epochwidget reads version {_VERSION}",
            "update epochwidget",
        )


# What a description may hold. Each check raises unless a value fits, and says where it stands.


def _is(what: str, fits: Callable[[Any], bool]) -> _Check:
    def check(value: Any, where: str) -> None:
        if not fits(value):
            shown = repr(value)
            shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
            raise UnfitError(f"{where} has to be {what}, got {shown}")

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
_LENGTHS: dict[str, _Check] = {"points": _count, "merged": _count, "buckets": _count}
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
    clock=_object(**_LENGTHS),
    series=_each(_object(**_DECLARED, **_LENGTHS)),
    declared=_each(_object(**_DECLARED)),
    spans=_each(_SPAN),
    marks=_each(_MARK),
    resumed=_each(_RESUMED),
)
