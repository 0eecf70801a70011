"""What goes over the wire, from the kernel to the page. Twin: ``js/src/wire.ts``.

===============  =========  ===========================================================================
what             direction  how
===============  =========  ===========================================================================
``append``       to page    custom message ``{"type": "append"}`` with one buffer, a *frame* that holds
                            only what is new; at most 20 a second for each widget
``_snapshot``    to page    a ``Bytes`` trait, a frame of at most 200 kB that holds every run; what a
                            reloaded page and a second front end start from
``_uid``         to page    text, by which the page names the widget on the kernel's control channel
``detail``       both       from the page a question for points that a snapshot left out, see
                            `epochwidget.control`; to the page its answer, ``{"type": "detail", "question": n}``
                            with one buffer, a frame with these points, or without it if there are none of that run
                            and generation
view state       both       the traits in ``settings.py``; drawing never waits for the kernel. ``panels`` is a
                            list of ``{"title": text, "metrics": [text, ...], "scale": "auto" | "linear" |
                            "log"}``, and a metric is the ``name`` or the ``panel`` of a SERIES. Where
                            ``runs`` names some, frames hold no others, and the page shows no others of
                            those it has
===============  =========  ===========================================================================

A frame
-------
::

    uint32   version, 1
    uint32   H, the length of the header in bytes
    H bytes  header, JSON in UTF-8, padded with spaces so that 8 + H is a multiple of 8
    ...      body: float64 arrays, one after the other

All numbers are little-endian. Values travel in the body alone, for NaN and infinity are no JSON. Whatever
names an array in the header gives the index of its first number in the body, counted in numbers.

The header is ``{"runs": [RUN, ...]}``, and a RUN is::

    id         text, unique
    name       text from the person, never to be trusted as markup
    status     "running", "completed", "stopped" or "failed"
    error      text or null: what made it fail, one line
    stoppable  "batch" or "epoch": after what the training ends once it is asked to; null if it does not look
    stopping   "batch" or "epoch": after what it was asked to end; null if it was not
    purpose    "training", or "lr search" for a run that is to be drawn over its learning rate
    started    seconds since 1970
    elapsed    seconds it has taken; what passed between its end and its going on is not in it. 0 in a run that was
               read from a file which does not say
    remaining  seconds or null
    watching   seconds of the training that watching it has cost so far, as measured by `History.watching`; set
               against ``elapsed``, the share of it. In a run's last frame that frame itself is not counted
    validating seconds spent in validation so far, see `History`
    generation how often points of the run were dropped, for it went on from an earlier epoch. A page that sees a
               higher number than it has forgets all points, series, spans and marks of the run, and takes this
               frame as the first; one that sees a lower number leaves the frame alone
    resumed    [[step, time, at], ...]: where the run went on after it had ended: how many batches had ended, how
               many seconds the run had taken, and when that was, in seconds since 1970. The time of day of a point
               past ``step`` is ``at`` and what its clock is past ``time``; before the first of them it is
               ``started`` and its clock. Of two frames of one generation the one with more of these is the newer,
               and its ``status`` may be "running" again
    epoch      the present epoch, counted from 0, or null before the first
    epochs     where the epochs end (the last one shown is this number), or null where nobody knows
    batch      batches ended in the present epoch
    batches    batches in the present epoch, or null where nobody knows
    spans      {"start": i, "items": [[epoch, first, batches], ...]}: the epochs begun, from the i-th on;
               ``first`` is the number of batches that had ended when it began; ``batches`` its length in
               batches (planned while it runs, counted when it ended), or null where nobody knows
    marks      {"start": i, "items": [{"step": n, "text": text, "epoch": e}, ...]}: the marks, from the i-th on;
               ``epoch`` is null but in a run without batches, and then the place of the mark
    series     [SERIES, ...]: in a snapshot all of them, in an ``append`` those that are new
    columns    [COLUMN, ...]: the points

A SERIES says what a line is; everything a legend needs::

    id           integer, unique in its run
    name         the name it has in the history ("val_loss")
    panel        the title of the panel it belongs on ("loss", "accuracy", "learning rate"); series with
                 the same panel are drawn together; panels stand in the order of their first series, but
                 "loss" comes first and "learning rate" last
    label        "train", "validation", or what else tells it from its neighbours
    split        "train" or "validation"
    granularity  "batch" or "epoch"
    kind         "batch", "running", "epoch", "evaluation", "smoothed", "window", "reported" or "clock"

The one series of kind "clock" belongs on no panel: its values are the seconds from the run's start to the
end of each batch.

A COLUMN is a stretch of one series. The page writes it by index, so that a gap or an overlap heals::

    series   the series' id
    start    index of the first point in its series
    count    how many points
    values   where the values are
    steps    where the steps are: how many batches had ended when the value was there, this batch included
             (so the first batch stands at 1, and an epoch's validation at the number of batches so far),
             or null, and then
    first    is the first point's step and each further point is one step later; absent where steps are given
    epochs   where the epochs (counted from 0) are; only in a series of granularity "epoch", else absent
    indices  where the points' indices are; only in a snapshot too large to hold every point, and where the kernel
             itself has merged older points and kept some of them (`Bus.max_points`), else absent. What such a column
             leaves out between two of its points the page, unless it had it before, does not have and must not
             pretend to have
    length   how many points the series has in the kernel; those that it had before it merged them are counted
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .columns import Floats
from .history import History, Parts
from .panels import label, panel
from .points import Points
from .series import Granularity
from .spikes import are_many, extremes

VERSION = 1

#: How large a snapshot may become, in bytes.
SNAPSHOT_LIMIT = 200_000

#: How many points of one series go into one message, so that none is large enough to make the page stumble.
MESSAGE_POINTS = 16_384

_NUMBER = 8
# A column's own entry in the header, at most.
_COLUMN_ENTRY = 140
_LEAST_POINTS = 8
_HEAD = struct.Struct("<II")


@dataclass(slots=True)
class Sent:
    """What of one run the page has been sent: how many points of each series, how many spans and marks.

    Points are counted as they came, those included that are not kept any more.

    It is of one generation of the run: what was dropped since, the page forgets, and all is sent anew.
    """

    generation: int = 0
    points: dict[int, int] = field(default_factory=dict)
    spans: int = 0
    marks: int = 0
    state: tuple[str, Granularity | None, Granularity | None] | None = None


class _Frame:
    """A frame being written."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self._body: list[Floats] = []
        self._numbers = 0

    def put(self, numbers: Floats) -> int:
        """Append an array to the body and return the index of its first number."""
        at = self._numbers
        self._body.append(numbers)
        self._numbers += len(numbers)
        return at

    def encode(self) -> bytes:
        header = json.dumps({"runs": self.runs}, separators=(",", ":"), allow_nan=False).encode()
        header += b" " * (-(_HEAD.size + len(header)) % _NUMBER)
        body = (numbers.astype("<f8", copy=False).tobytes() for numbers in self._body)
        return b"".join((_HEAD.pack(VERSION, len(header)), header, *body))


def append(history: History, sent: Sent) -> bytes | None:
    """Encode what is new in a run, and note it as sent.

    Parameters
    ----------
    history
        The run.
    sent
        What was sent before; changed in place.

    Returns
    -------
    bytes or None
        A frame, or None if there is nothing new. Call again while `behind` says so.
    """
    history.fold(briefly=True)
    parts = history.parts()
    spans, marks = parts.spans, parts.marks
    frame = _Frame()
    run = _describe(history, parts)
    dropped = parts.generation != sent.generation
    if dropped:
        sent.generation, sent.points, sent.spans, sent.marks = parts.generation, {}, 0, 0
    # The last span is sent again each time, for its length becomes known late.
    run["spans"] = _spans(spans, max(sent.spans - 1, 0))
    run["marks"] = _marks(marks, sent.marks)
    for number, points in enumerate(parts.points):
        start = sent.points.get(number)
        if start is None:
            run["series"].append(_series(number, points))
            start = 0
        at = points.position(start)
        if at > 0 and points.left_out and points.indices(at, at + 1)[0] > start:
            at -= 1  # what was merged meanwhile is left out, and not lost: begin with a point before it
        count = min(len(points) - at, MESSAGE_POINTS)
        if count > 0:
            run["columns"].append(_column(frame, number, points, at, count))
            start = int(points.indices(at + count - 1, at + count)[0]) + 1
        sent.points[number] = start
    new = run["columns"] or run["series"] or run["marks"]["items"] or len(spans) > sent.spans
    state = _state(run)
    if not new and not dropped and state == sent.state:
        return None
    sent.spans, sent.marks, sent.state = len(spans), len(marks), state
    frame.runs.append(run)
    return frame.encode()


def behind(history: History, sent: Sent) -> bool:
    """Tell whether a run has points that were not sent."""
    parts = history.parts()
    return sent.generation != parts.generation or any(
        sent.points.get(number, 0) < points.length for number, points in enumerate(parts.points)
    )


def detail(history: History, generation: int, ranges: Iterable[tuple[int, int, int]]) -> bytes | None:
    """Encode some points of a run.

    Parameters
    ----------
    history
        The run.
    generation
        The generation of it that is meant.
    ranges
        ``(series, start, stop)``: the series' id and the indices of its points, among all that there were. What is not
        there, or not kept, is left out.

    Returns
    -------
    bytes or None
        A frame, or None if the run is of another generation.
    """
    history.fold()
    parts = history.parts()
    if parts.generation != generation:
        return None
    frame = _Frame()
    run = _describe(history, parts)
    run["spans"], run["marks"] = _spans(parts.spans, len(parts.spans)), _marks(parts.marks, len(parts.marks))
    for number, start, stop in ranges:
        if number < len(parts.points):
            points = parts.points[number]
            at, end = (min(points.position(index), len(points)) for index in (start, stop))
            if at < end:
                run["columns"].append(_column(frame, number, points, at, end - at))
    frame.runs.append(run)
    return frame.encode()


def snapshot(histories: Iterable[History], limit: int = SNAPSHOT_LIMIT) -> tuple[bytes, dict[str, Sent]]:
    """Encode all runs in one frame of bounded size.

    Where the points are too many, each long series keeps, of each of a number of equal stretches, its lowest and
    its highest point and the first that is no finite number, so that no spike is lost; and its newest points.
    Where even the descriptions are too many, the oldest runs are left out, and of the newest what does not fit: the
    oldest marks and epochs and the latest series.

    Parameters
    ----------
    histories
        The runs, oldest first.
    limit
        The most bytes the frame may have.

    Returns
    -------
    frame : bytes
    complete : dict of str to Sent
        Of each run that the frame holds in full, what a page that reads it has.
    """
    frame = _Frame()
    room, reserved = limit - _HEAD.size - 64, 0
    described: list[tuple[Parts, dict[str, Any], list[tuple[int, Points]]]] = []
    for history in reversed(list(histories)):
        history.fold()
        parts = history.parts()
        run = _describe(history, parts)
        run["spans"] = _newest(_spans(parts.spans, 0), room // 4)
        run["marks"] = _newest(_marks(parts.marks, 0), room // 4)
        cost = len(json.dumps(run)) + 2
        if cost > room // (2 if described else 1):
            break
        numbered: list[tuple[int, Points]] = []
        least = 0
        for number, points in enumerate(parts.points):
            series = _series(number, points)
            of_series = len(json.dumps(series)) + _COLUMN_ENTRY
            # A series that has room for its name alone would be of no use.
            least += _NUMBER * (_width(points) + 1) * min(len(points), _LEAST_POINTS)
            if cost + of_series + least > room:
                break
            cost += of_series
            run["series"].append(series)
            numbered.append((number, points))
        if described and cost + least > room // 2:
            break
        room -= cost + least
        reserved += least
        described.append((parts, run, numbered))
    lengths = [_length(points) for _, _, numbered in described for _, points in numbered]
    share = _share(lengths, max(room + reserved, 0) // _NUMBER)
    complete: dict[str, Sent] = {}
    for parts, run, numbered in reversed(described):
        sent = Sent(parts.generation, spans=len(parts.spans), marks=len(parts.marks), state=_state(run))
        whole = len(numbered) == len(parts.points) and run["spans"]["start"] == 0 and run["marks"]["start"] == 0
        for number, points in numbered:
            count = len(points)
            if _length(points) <= share:
                if count:
                    run["columns"].append(_column(frame, number, points, 0, count))
            else:
                if column := _summary(frame, number, points, share):
                    run["columns"].append(column)
                whole = False
            sent.points[number] = count + points.left_out
        if whole:
            complete[run["id"]] = sent
        frame.runs.append(run)
    return frame.encode(), complete


def _describe(history: History, parts: Parts) -> dict[str, Any]:
    span = parts.spans[-1] if parts.spans else None
    remaining = history.remaining
    return {
        "id": history.run,
        "name": history.title,
        "status": history.status,
        "error": history.error,
        "stoppable": history.stoppable,
        "stopping": history.stopping,
        "purpose": history.purpose,
        "started": history.started,
        "elapsed": round(history.elapsed, 3),
        "remaining": None if remaining is None else round(remaining, 3),
        "generation": parts.generation,
        "resumed": [[resumed.step, round(resumed.time, 6), resumed.at] for resumed in history.resumed],
        "watching": round(history.watching, 6),
        "validating": round(history.validating, 6),
        "epoch": None if span is None else span.epoch,
        "epochs": history.epochs,
        "batch": 0 if span is None else history.step - span.first,
        "batches": None if span is None else span.batches,
        "spans": None,
        "marks": None,
        "series": [],
        "columns": [],
    }


def _state(run: dict[str, Any]) -> tuple[str, Granularity | None, Granularity | None]:
    """Return what of a run's description is told at once, be there a new point or not."""
    return run["status"], run["stoppable"], run["stopping"]


def _spans(spans: list[Any], start: int) -> dict[str, Any]:
    return {"start": start, "items": [[span.epoch, span.first, span.batches] for span in spans[start:]]}


def _marks(marks: list[Any], start: int) -> dict[str, Any]:
    return {
        "start": start,
        "items": [{"step": mark.step, "text": mark.text, "epoch": mark.epoch} for mark in marks[start:]],
    }


def _newest(stretch: dict[str, Any], room: int) -> dict[str, Any]:
    """Leave out the oldest half of the items of a stretch until the rest fits."""
    while stretch["items"] and len(json.dumps(stretch)) > room:
        left_out = (len(stretch["items"]) + 1) // 2
        stretch = {"start": stretch["start"] + left_out, "items": stretch["items"][left_out:]}
    return stretch


def _series(number: int, points: Points) -> dict[str, Any]:
    series = points.series
    return {
        "id": number,
        "name": series.name,
        "panel": panel(series),
        "label": label(series),
        "split": series.split,
        "granularity": series.granularity,
        "kind": series.kind,
    }


def _width(points: Points) -> int:
    """How many numbers a point may take on the wire: its value, its step and, of an epoch's, its epoch."""
    return 3 if points.series.granularity == "epoch" else 2


def _length(points: Points) -> int:
    """How many numbers all of its points take, at most where they are too many for a snapshot anyway."""
    count = len(points)
    if points.left_out:
        return count * (_width(points) + 1)
    small = count * _NUMBER <= SNAPSHOT_LIMIT
    return count * (1 if small and _is_contiguous(points, 0, count) else _width(points))


def _is_contiguous(points: Points, start: int, stop: int) -> bool:
    """Whether each point stands one step after the one before, so that the first one's step tells all."""
    if points.series.granularity == "epoch":  # epochs may share a step
        return False
    # Batches that threads log at once may come out of order.
    return bool((np.diff(points.steps.array(start, stop)) == 1).all())


def _column(frame: _Frame, number: int, points: Points, start: int, count: int) -> dict[str, Any]:
    steps = points.steps.array(start, start + count)
    by_epoch = points.series.granularity == "epoch"
    indices = points.indices(start, start + count)
    whole = indices[-1] - indices[0] < count
    contiguous = whole and _is_contiguous(points, start, start + count)
    column: dict[str, Any] = {
        "series": number,
        "start": int(indices[0]),
        "count": count,
        "values": frame.put(points.values.array(start, start + count)),
        "steps": None if contiguous else frame.put(steps),
        "length": points.length,
    }
    if not whole:
        column["indices"] = frame.put(indices)
    if contiguous:
        column["first"] = int(steps[0])
    if by_epoch:
        column["epochs"] = frame.put(points.epochs.array(start, start + count))
    return column


def _summary(frame: _Frame, number: int, points: Points, share: int) -> dict[str, Any] | None:
    # An index more for each point than `_width` counts.
    room = share // (_width(points) + 1)
    if not room:
        return None
    # The newest are kept as they are, so that there is an average of them.
    count, newest = len(points), room // 4
    keep = max(room - newest - 2, 2)
    if are_many(count, keep):
        points.spikes = points.spikes.grown(points.values, count)
        chosen = points.spikes.extremes(points.values, count, keep)
    else:
        chosen = extremes(points.values.array(0, count), keep)
    chosen = np.union1d(chosen, np.arange(count - newest, count))
    # Where there is hardly room for a point, the newest.
    chosen = chosen[-room:]
    column: dict[str, Any] = {
        "series": number,
        "start": 0,
        "count": len(chosen),
        "values": frame.put(points.values.at(chosen)),
        "steps": frame.put(points.steps.at(chosen)),
        "indices": frame.put(points.indices_at(chosen)),
        "length": count + points.left_out,
    }
    if points.series.granularity == "epoch":
        column["epochs"] = frame.put(points.epochs.at(chosen))
    return column


def _share(lengths: list[int], room: int) -> int:
    """Return how many numbers each series may take, so that short ones leave what they do not need to the long."""
    waiting = sorted(lengths)
    while waiting:
        share = room // len(waiting)
        if waiting[0] > share:
            return share
        room -= waiting.pop(0)
    return max(lengths, default=room)  # all of them have room
