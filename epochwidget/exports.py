"""A history in the forms that others read: a pandas frame, CSV, JSON, Keras's dict.

`History` has a method for each, which says what is in it. This module is imported by the first of them that is called.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from .columns import Floats
from .errors import checked_path
from .replacing import replacing
from .series import Granularity

if TYPE_CHECKING:
    import pandas as pd

    from .history import History
    from .points import Points

#: Where a file goes.
StrPath = str | os.PathLike[str]

# The values of a series, and which rows have one if not all do: a value may be NaN, too.
_Column = tuple[Floats, npt.NDArray[np.bool_] | None]

_FORMAT = "epochwidget history"
_VERSION = 1
# So many rows of a table are Python's numbers at a time, which take four times the room of NumPy's.
_ROWS_AT_ONCE = 16_384


@dataclass(slots=True)
class _Sheet:
    """All series of one granularity, side by side.

    ``leading`` is what each row stands for, whole numbers or seconds; the first of it is the index.
    """

    leading: dict[str, npt.NDArray[Any]]
    series: dict[str, _Column]


def to_frame(history: History, granularity: Granularity) -> pd.DataFrame:
    """See `History.to_frame`."""
    _check(granularity, "to_frame")
    try:
        import pandas as pd  # noqa: PLC0415
    except ImportError:
        raise ImportError("history.to_frame() needs pandas: pip install pandas.") from None
    sheet = _sheet(history, granularity)
    (index, rows), *others = sheet.leading.items()
    columns = {**dict(others), **{name: values for name, (values, _) in sheet.series.items()}}
    # The arrays are made for this frame: it need not copy them.
    return pd.DataFrame(columns, index=pd.Index(rows, name=index), copy=False)


def to_csv(history: History, path: StrPath | None, granularity: Granularity) -> str | None:
    """See `History.to_csv`."""
    _check(granularity, "to_csv")
    return _deliver(history, path, "to_csv", lambda: _csv(_sheet(history, granularity)))


def to_json(history: History, path: StrPath | None) -> str | None:
    """See `History.to_json`."""
    return _deliver(history, path, "to_json", lambda: _json(history))


def to_keras_history(history: History) -> dict[str, list[float]]:
    """See `History.to_keras_history`."""
    history.fold()
    made = {}
    for points in history.parts().points:
        if points.series.granularity == "epoch":
            count = len(points)
            epochs, values = points.epochs.array(0, count).tolist(), points.values.array(0, count).tolist()
            made[points.series.name] = list(dict(zip(epochs, values, strict=True)).values())
    return made


def _check(granularity: Any, method: str) -> None:
    if granularity not in get_args(Granularity):
        raise ValueError(f"history.{method}(granularity={granularity!r}): it has to be 'epoch' or 'batch'.")


# Tables ------------------------------------------------------------------------------------------------------------


def _sheet(history: History, granularity: Granularity) -> _Sheet:
    with history.held():  # another thread may be training
        clock, *all_points = history.parts().points
        chosen = [points for points in all_points if points.series.granularity == granularity]
        return _by_epoch(chosen) if granularity == "epoch" else _by_step(history, clock, chosen)


def _by_epoch(chosen: list[Points]) -> _Sheet:
    """Give each epoch a row, and each step of it at which there was an evaluation in its midst one before that."""
    places = []
    for points in chosen:
        count = len(points)
        at = zip(points.epochs.array(0, count).tolist(), points.steps.array(0, count).tolist(), strict=True)
        places.append(_numbered(at))
    rows = sorted({place for of_series in places for place in of_series})
    row_of = {place: row for row, place in enumerate(rows)}
    leading = {
        "epoch": np.array([epoch for epoch, _, _ in rows], dtype=np.int64),
        "step": np.array([step for _, step, _ in rows], dtype=np.int64),
    }
    series: dict[str, _Column] = {}
    for points, of_series in zip(chosen, places, strict=True):
        at_rows = np.array([row_of[place] for place in of_series], dtype=np.intp)
        series[_free(points.series.name, {*leading, *series})] = _spread(points, at_rows, len(rows))
    return _Sheet(leading, series)


def _numbered(at: Iterable[tuple[float, float]]) -> list[tuple[float, float, int]]:
    """Tell apart what stands at the same place, as evaluations in a run that has no batches may."""
    seen: dict[tuple[float, float], int] = {}
    places = []
    for epoch, step in at:
        nth = seen[epoch, step] = seen.get((epoch, step), -1) + 1
        places.append((epoch, step, nth))
    return places


def _by_step(history: History, clock: Points, chosen: list[Points]) -> _Sheet:
    """Give each step a row."""
    # A run may have so many that an array more or less is felt: none is made or kept that is not needed.
    steps = clock.steps.array()
    if not (steps[1:] > steps[:-1]).all():
        steps = np.unique(steps)
    for points in chosen:
        if not _stands_at(points, steps):  # as a rule every series stands at every step
            steps = np.union1d(steps, points.steps.array())
    time, _ = _by_steps(clock, steps)
    epochs = history.epoch_of(steps)
    leading = {
        "step": steps.astype(np.int64),
        "epoch": epochs if np.isnan(epochs).any() else epochs.astype(np.int64),
        "time": time,
    }
    del epochs
    series: dict[str, _Column] = {}
    for points in chosen:
        series[_free(points.series.name, {*leading, *series})] = _by_steps(points, steps)
    return _Sheet(leading, series)


def _stands_at(points: Points, steps: Floats) -> bool:
    return len(points) == len(steps) and np.array_equal(points.steps.array(0, len(steps)), steps)


def _by_steps(points: Points, steps: Floats) -> _Column:
    """Put the values of a series into a column of these steps."""
    count = len(points)
    if _stands_at(points, steps):
        return points.values.array(0, count), None
    return _spread(points, steps.searchsorted(points.steps.array(0, count)), len(steps))


def _spread(points: Points, rows: npt.NDArray[np.intp], count: int) -> _Column:
    """Put the values of a series into a column of so many rows."""
    values = points.values.array(0, len(rows))
    if len(rows) == count and np.array_equal(rows, np.arange(count)):
        return values, None
    column, there = np.full(count, np.nan), np.zeros(count, dtype=np.bool_)
    column[rows], there[rows] = values, True
    return column, there


def _free(name: str, taken: set[str]) -> str:
    """Return a name for the column of a series that may be called as what the rows stand for."""
    while name in taken:
        name += "_"
    return name


def _csv(sheet: _Sheet) -> Iterator[str]:
    columns = [*((values, None) for values in sheet.leading.values()), *sheet.series.values()]
    yield _lines([[*sheet.leading, *sheet.series]])
    for start in range(0, len(columns[0][0]), _ROWS_AT_ONCE):
        stretch = slice(start, start + _ROWS_AT_ONCE)
        cells = []
        for number, (values, there) in enumerate(columns):
            numbers: list[Any] = values[stretch].tolist()
            if number < len(sheet.leading):  # what nobody knows of a row
                numbers = ["" if isnan(one) else one for one in numbers]
            elif there is not None:
                numbers = [one if has else "" for one, has in zip(numbers, there[stretch].tolist(), strict=True)]
            cells.append(numbers)
        yield _lines(zip(*cells, strict=True))


def _lines(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    # It writes floats by `repr`, the shortest text that is read as the same number.
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


# JSON --------------------------------------------------------------------------------------------------------------


def _json(history: History) -> Iterator[str]:
    history.fold()
    parts = history.parts()
    clock, *all_points = parts.points
    head = {
        "format": _FORMAT,
        "version": _VERSION,
        "run": history.run,
        "name": history.name,
        "number": history.number,
        "purpose": history.purpose,
        "status": history.status,
        "error": history.error,
        "started": history.started,
        "elapsed": history.elapsed,
        "watching": history.watching,
        "validating": history.validating,
        "epochs": history.epochs,
        "spans": [asdict(span) for span in parts.spans],
        "marks": [_without_run(mark) for mark in parts.marks],
        "resumed": [_without_run(resumed) for resumed in list(history.resumed)],
    }
    yield json.dumps(_json_value(head), allow_nan=False)[:-1]
    times = {"steps": _whole(clock.steps.array(0, len(clock))), "values": _plain(clock.values.array(0, len(clock)))}
    yield f', "clock": {json.dumps(times, allow_nan=False)}, "series": ['
    # One after the other, for Python's numbers take four times the room of NumPy's.
    for number, points in enumerate(all_points):
        count = len(points)
        one = {**asdict(points.series), "steps": _whole(points.steps.array(0, count))}
        if points.series.granularity == "epoch":
            one["epochs"] = _whole(points.epochs.array(0, count))
        one["values"] = _plain(points.values.array(0, count))
        yield (",\n" if number else "\n") + json.dumps(one, allow_nan=False)
    yield "]}\n"


def _without_run(event: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(event).items() if name != "run"}


def _json_value(value: Any) -> Any:
    """Return what can stand in JSON for a value or what is in it."""
    if isinstance(value, float) and not isfinite(value):
        return _word(value)
    if isinstance(value, dict):
        return {name: _json_value(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_json_value(part) for part in value]
    return value


def _word(number: float) -> str:
    return "NaN" if isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _plain(values: Floats) -> list[float | str]:
    numbers: list[Any] = values.tolist()
    if not np.isfinite(values).all():
        numbers = [number if isfinite(number) else _word(number) for number in numbers]
    return numbers


def _whole(numbers: Floats) -> list[int]:
    whole: list[int] = numbers.astype(np.int64).tolist()
    return whole


# Files -------------------------------------------------------------------------------------------------------------


def _deliver(history: History, path: StrPath | None, method: str, made: Callable[[], Iterator[str]]) -> str | None:
    """Return the text, or write it to a file."""
    if path is None:
        return "".join(made())
    path = checked_path(f"history.{method}", path)
    folder = path.resolve().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"history.{method}({str(path)!r}): there is no folder {str(folder)!r}; make it first.")
    with replacing(path, f"the run {history.title!r}") as file:
        for text in made():
            file.write(text.encode(errors="replace"))  # a name may hold half a character
    return None
