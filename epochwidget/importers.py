"""Runs of the past, from what frameworks leave behind: a function for each, which puts the run on a bus.

A file is read to its end before the first event is emitted, so that a run is there in whole or not at all. Nothing in
it is executed. What it does not say is not made up: of most files nobody knows when a batch ended, and then no clock
does (`BatchEnded.time`); where it does not say what a value is, the value is of kind ``"reported"``.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import re
import struct
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import ceil, inf, isfinite, nan
from pathlib import Path
from reprlib import repr as shortly
from typing import Any, NamedTuple, TypeGuard
from uuid import uuid4

import numpy as np

from .bus import Bus, chosen
from .errors import checked_count, checked_name, checked_path
from .events import (
    BatchEnded,
    EpochEnded,
    EpochStarted,
    Evaluated,
    Event,
    RunEnded,
    RunStarted,
    SeriesDeclared,
    Status,
)
from .history import History
from .series import LEARNING_RATE, Granularity, Kind, Series, Split, parsed
from .watching import Cost

#: Where a file is.
StrPath = str | os.PathLike[str]

# Steps are float64 in a history, where each whole number up to this one has its own.
_LARGEST = 2**53

_log = logging.getLogger("epochwidget")


def from_keras(
    history: Any,
    name: str | None = None,
    *,
    validation_freq: int | Collection[int] = 1,
    bus: Bus | None = None,
) -> History:
    """Show what ``model.fit`` returned: ``ew.from_keras(model.fit(...))``.

    Parameters
    ----------
    history
        A ``keras.callbacks.History``; its ``history``, a dict of lists with one value an epoch, as it may have been
        kept in JSON; or the path of a file that ``keras.callbacks.CSVLogger`` wrote. If that was appended to and the
        epochs in it begin anew, each training is a run.
    name
        What to call the run, by default the model's name or the file's, else ``"run 1"``, ``"run 2"``, ...
    validation_freq
        What ``fit`` was given, if not every epoch was validated: Keras leaves the others out of its lists, which then
        do not say what epoch a value is of.
    bus
        Where the events go, by default the shared bus.

    Returns
    -------
    History
        All of it is of granularity ``"epoch"`` and has Keras's names. Where Keras knew how many batches an epoch has,
        the steps are counted in them, else they are 0. Of several runs in a file it is the last.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        If an argument is none of these, a value is no number, a list is of another length than the others, or the file
        is not there or another.
    """
    bus = chosen(bus, "from_keras")
    if isinstance(history, (str, os.PathLike)):
        table = _Table.read(history, "a file of Keras's CSVLogger", ("epoch",), name="*.csv")
        readings = [_epochs_of(table, rows, lambda column: Series.of(column, "epoch")) for rows in _trainings(table)]
        return _emit(readings, bus, name, table.path.stem)
    model_name = getattr(getattr(history, "model", None), "name", None)
    values = history if isinstance(history, Mapping) else getattr(history, "history", None)
    if not isinstance(values, Mapping):
        raise TypeError(
            f"from_keras() needs what model.fit returned, its dict of lists, or the path of a CSVLogger's file, got "
            f"{shortly(history)}."
        )
    columns = _keras_columns(values)
    trained = [checked_count("An epoch", epoch, least=0) for epoch in getattr(history, "epoch", ())]
    epochs = trained or list(range(max(map(len, columns.values()), default=0)))
    if not epochs:
        raise ValueError("from_keras(): there is no epoch in what was given; nothing has been trained.")
    validated = _validated(epochs, validation_freq)
    length = (getattr(history, "params", None) or {}).get("steps")
    length = length if isinstance(length, int) and length > 0 else 0
    by_epoch: dict[int, dict[str, float]] = {epoch: {} for epoch in epochs}
    for key, numbers in columns.items():
        at = epochs
        if len(numbers) != len(epochs) and len(numbers) == len(validated) and key.startswith("val_"):
            at = validated
        if len(numbers) != len(at):
            raise ValueError(
                f"from_keras(): {key!r} has {len(numbers)} values and there are {len(epochs)} epochs; if not all were "
                f"validated, say which as model.fit was told: validation_freq=2."
            )
        for epoch, number in zip(at, numbers, strict=True):
            by_epoch[epoch][key] = number
    reading = _Reading()
    for index, (epoch, of_epoch) in enumerate(by_epoch.items()):
        reading.begin_epoch(epoch, index * length, batches=length or None)
        if length:
            reading.batch((index + 1) * length, {})
        reading.end_epoch(of_epoch)
    return _emit([reading], bus, name, model_name if isinstance(model_name, str) else None)


def from_lightning(path: StrPath, name: str | None = None, *, bus: Bus | None = None) -> History:
    """Show the ``metrics.csv`` of a PyTorch Lightning ``CSVLogger``.

    - Of what a module logs with ``on_step`` and ``on_epoch`` at once, ``loss_step`` are the batches' values of ``loss``
      and ``loss_epoch`` its epochs', of kinds ``"batch"`` and ``"epoch"``.
    - What is called validation, or test, is an evaluation, of kind ``"epoch"``, at the step where it stands.
    - Of other names the rows tell which of both they are: Lightning writes batches' values apart from epochs', and
      those after the validation of an epoch. Where nothing tells, they are of kind ``"reported"``, one an epoch.
    - ``lr-...`` of a ``LearningRateMonitor`` is the rate that the batch of its step was trained with.

    Left out with a warning is what validation logs ``on_step``, for the file counts other steps there, and whatever
    else a row holds that tells no epoch.

    Lightning counts steps from 0, a history the batches that had ended: the row of step 9 stands at 10. With gradients
    accumulated they are the optimizer's. The file has no times. An epoch begins where the one before had its last row.

    Parameters
    ----------
    path
        The file, or its folder.
    name
        What to call the run, by default the folder's name.
    bus
        Where the events go, by default the shared bus.

    Returns
    -------
    History

    Raises
    ------
    ValueError, FileNotFoundError
        If the file is another or broken, or not there; it says where.
    """
    bus = chosen(bus, "from_lightning")
    table = _Table.read(path, "a metrics.csv of Lightning's CSVLogger", ("step", "epoch"), name="metrics.csv")
    return _emit([_Lightning(table).reading()], bus, name, table.path.parent.name)


def from_fastai(path: StrPath, name: str | None = None, *, bus: Bus | None = None) -> History:
    """Show the ``history.csv`` of a fastai ``CSVLogger``.

    ``train_loss`` is fastai's moving average at the end of each epoch, of kind ``"smoothed"``; the others are of kind
    ``"epoch"``, of the validation unless they are called ``train_...``. The file counts no batches, so the steps are 0;
    its times are of whole seconds. If it was appended to, each fit is a run.

    Parameters
    ----------
    path
        The file, or its folder.
    name
        What to call the run, by default the file's name.
    bus
        Where the events go, by default the shared bus.

    Returns
    -------
    History
        Of several fits the last.

    Raises
    ------
    ValueError, FileNotFoundError
        If the file is another or broken, or not there; it says where.
    """
    bus = chosen(bus, "from_fastai")
    table = _Table.read(
        path, "a file of fastai's CSVLogger", ("epoch", "train_loss"), name="history.csv", may_repeat=True
    )
    readings = [_epochs_of(table, rows, _fastai_series, clock="time") for rows in _trainings(table)]
    return _emit(readings, bus, name, table.path.stem)


def from_transformers(path: StrPath, name: str | None = None, *, bus: Bus | None = None) -> History:
    """Show the ``trainer_state.json`` of a Hugging Face ``Trainer``, from its output folder or a checkpoint.

    - ``loss`` is the mean since the log before, of kind ``"window"``, at the step where it was logged;
    - ``grad_norm`` is of that step, of kind ``"batch"``;
    - ``learning_rate`` and what else was logged of a step is of kind ``"reported"``: before Transformers 5 the rate was
      that of the step to come, and the file does not tell;
    - ``eval_loss``, ... are evaluations, of kind ``"epoch"``, at their step.

    A step is one of the optimizer. The file has no times but how long all took. Texts, and how long an evaluation took,
    are left out. A state with steps to go, as of a checkpoint, is that of a run that was stopped.

    Parameters
    ----------
    path
        The file, or its folder.
    name
        What to call the run, by default the folder's name.
    bus
        Where the events go, by default the shared bus.

    Returns
    -------
    History

    Raises
    ------
    ValueError, FileNotFoundError
        If the file is another or broken, or not there; it says where.
    """
    bus = chosen(bus, "from_transformers")
    source = _Source.at(path, "a trainer_state.json of the Hugging Face Trainer", "trainer_state.json")
    reading, status = _trainer_state(source)
    return _emit([reading], bus, name, source.path.parent.name, status)


def from_tensorboard(logdir: StrPath, name: str | None = None, *, bus: Bus | None = None) -> History:
    """Show the scalars that were written for TensorBoard, read by TensorBoard's own reader.

    The files say no more of a value than its tag: all are of kind ``"reported"`` and granularity ``"batch"``, at the
    steps that their writer gave, and there are no epochs. Times are the writer's. Of several values of a tag at one
    step the last is taken. A file that is being written is read as far as it goes. Left out with a warning is what was
    written without steps, and evaluations whose steps begin anew.

    A folder of Keras's ``TensorBoard`` callback, with ``train`` and ``validation`` in it, is told by its ``epoch_...``
    tags, which are what `from_keras` shows; what else there is of it is left out with a warning.

    Parameters
    ----------
    logdir
        The folder with the event files of one training, or one such file.
    name
        What to call the run, by default the folder's name.
    bus
        Where the events go, by default the shared bus.

    Returns
    -------
    History

    Raises
    ------
    ImportError
        If there is no TensorBoard.
    ValueError, FileNotFoundError
        If there are no scalars with steps, or those of several trainings, which cannot be told apart.
    """
    bus = chosen(bus, "from_tensorboard")
    reading, path = _tensorboard(logdir)
    return _emit([reading], bus, name, path.name)


# What all of them make --------------------------------------------------------------------------------------------


class _Reading:
    """The events of one run, gathered before the first is emitted.

    Parameters
    ----------
    started
        When it began, in seconds since 1970, if that is known.
    """

    def __init__(self, started: float | None = None) -> None:
        self.started = started
        self.events: list[Event] = []
        self.time = 0.0
        self.step = 0
        self._run = uuid4().hex
        self._epoch, self._first = 0, 0

    def declare(self, series: Series) -> None:
        """Say what a series is."""
        self.events.append(SeriesDeclared(self._run, series))

    def begin_epoch(self, epoch: int, step: int, *, batches: int | None = None) -> None:
        """Begin an epoch, counted from 0, after so many batches."""
        self._epoch, self._first = epoch, step
        self.events.append(EpochStarted(self._run, epoch, step, self.time, batches))

    def batch(self, step: int, values: Mapping[str, float], time: float = nan) -> None:
        """End the batch that is the `step`-th of the run, after `time` seconds."""
        self.step = step
        self.time = max(self.time, time)
        self.events.append(BatchEnded(self._run, self._epoch, max(step - self._first - 1, 0), step, time, values))

    def evaluated(self, values: Mapping[str, float]) -> None:
        """Add an evaluation at the present step."""
        self.events.append(Evaluated(self._run, self._epoch, self.step, self.time, values))

    def end_epoch(self, values: Mapping[str, float]) -> None:
        """End the epoch at the present step."""
        self.events.append(EpochEnded(self._run, self._epoch, self.step, self.time, values))

    def emit(self, bus: Bus, name: str, status: Status) -> History:
        """Put the run on a bus."""
        # A history, and the order of the runs on the page, need a beginning: where nobody knows it, now.
        bus.emit(RunStarted(self._run, name, time.time() if self.started is None else self.started))
        history = bus.runs.find(self._run)
        assert history is not None, "a bus keeps the history of every run"
        for event in self.events:
            bus.emit(event)
        history.fold()
        history.cost = Cost()  # to read a file has cost no training anything
        bus.emit(RunEnded(self._run, self.step, self.time, status))
        return history


def _add(values: Mapping[str, float], evaluations: list[dict[str, float]]) -> None:
    """Add values to the last evaluation at a step; what it has already was measured once more, as after a training."""
    if not evaluations or not evaluations[-1].keys().isdisjoint(values):
        evaluations.append({})
    evaluations[-1].update(values)


def _emit(
    readings: list[_Reading], bus: Bus, name: str | None, usual: str | None, status: Status = "completed"
) -> History:
    if name is not None:
        checked_name("The name of a run", name)
    called = name or (usual or "").strip() or None
    return [reading.emit(bus, called or f"run {bus.runs.begun + 1}", status) for reading in readings][-1]


# Files ------------------------------------------------------------------------------------------------------------


class _Source(NamedTuple):
    """A file, and what it is expected to be."""

    path: Path
    expected: str

    @classmethod
    def at(cls, path: StrPath, expected: str, name: str) -> _Source:
        """Find the file, which in a folder is called `name`."""
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"The path of {expected} has to be a path, got {shortly(path)}.")
        found = Path(path).resolve()
        if found.is_dir():
            found = found / name
        if not found.is_file():
            raise FileNotFoundError(f"There is no file {str(found)!r}; expected was {expected}.")
        return cls(found, expected)

    def refusal(self, why: str) -> ValueError:
        """Return the error that names the file."""
        return ValueError(f"{str(self.path)!r} is not {self.expected}, or is broken: {why}.")

    def text(self) -> str:
        """Return what is in it."""
        try:
            return self.path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise self.refusal("it is no text in UTF-8") from None


class _Row(NamedTuple):
    """A row of a table: in what line of the file it ends, and its cells by column."""

    line: int
    cells: dict[str, str]


@dataclass(slots=True)
class _Table:
    """A CSV file with a line of names. Where these are repeated, another table begins."""

    source: _Source
    header: list[str]
    parts: list[list[_Row]]

    @classmethod
    def read(
        cls, path: StrPath, expected: str, columns: Iterable[str], *, name: str, may_repeat: bool = False
    ) -> _Table:
        """Read a table that has these columns; `may_repeat` says whether others may share a name."""
        source = _Source.at(path, expected, name)
        text = source.text()
        lines = csv.reader(text.splitlines(keepends=True), strict=True)
        try:
            rows = [(lines.line_num, row) for row in lines if row]
        except csv.Error as error:
            raise source.refusal(f"line {lines.line_num}: {error}") from None
        header = rows[0][1] if rows else []
        if missing := [column for column in columns if column not in header]:
            raise source.refusal(f"its first line names no column {missing[0]!r}")
        if unnamed := [number for number, column in enumerate(header) if not column.strip() or "\0" in column]:
            raise source.refusal(f"its column {unnamed[0] + 1} has no name that can be read")
        names = _apart(header)
        if names != header and not may_repeat:
            raise source.refusal("two of its columns have one name")
        if not text.endswith(("\n", "\r")):
            raise source.refusal("its last line has no end")  # a number may have been cut off there
        parts: list[list[_Row]] = []
        for line, row in rows:
            if row == header:
                parts.append([])
            elif len(row) != len(header):
                raise source.refusal(f"line {line} has {len(row)} cells and the first one {len(header)}")
            else:
                parts[-1].append(_Row(line, dict(zip(names, row, strict=True))))
        if not any(parts):
            raise source.refusal("there are no values in it")
        return cls(source, names, [part for part in parts if part])

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.source.path

    def number(self, row: _Row, column: str) -> float | None:
        """Return the number in a cell, or None if there is none."""
        text = row.cells[column]
        if text in ("", "None", "NA"):
            return None
        try:
            if "_" in text:  # which Python would read
                raise ValueError
            return float(text)
        except ValueError:
            raise self.source.refusal(f"line {row.line}, column {column!r}: {shortly(text)} is no number") from None

    def count(self, row: _Row, column: str) -> int | None:
        """Return the whole number in a cell, or None if there is none."""
        number = self.number(row, column)
        if number is not None and not (number >= 0 and number < _LARGEST and number.is_integer()):
            shown = shortly(row.cells[column])
            raise self.source.refusal(f"line {row.line}, column {column!r}: {shown} is no count")
        return None if number is None else int(number)


def _apart(names: list[str]) -> list[str]:
    """Tell columns of one name apart, the second as ``name_1``."""
    taken: list[str] = []
    for name in names:
        own, number = name, 0
        while own in taken:
            number += 1
            own = f"{name}_{number}"
        taken.append(own)
    return taken


def _trainings(table: _Table) -> list[list[_Row]]:
    """Part the rows where another training begins: its epochs are counted anew, or the names stand there again."""
    trainings: list[list[_Row]] = []
    for part in table.parts:
        last = inf
        for row in part:
            epoch = table.count(row, "epoch")
            if epoch is None:
                raise table.source.refusal(f"line {row.line} tells no epoch")
            if epoch <= last:
                trainings.append([])
            trainings[-1].append(row)
            last = epoch
    return trainings


def _epochs_of(
    table: _Table, rows: list[_Row], series_of: Callable[[str], Series], *, clock: str | None = None
) -> _Reading:
    """Read a table with a row for each epoch; `clock` is the column that says how long it took."""
    reading = _Reading()
    columns = [column for column in table.header if column not in ("epoch", clock)]
    if not any(table.number(row, column) is not None for row in rows for column in columns):
        raise table.source.refusal("there are no values in it")
    for column in columns:
        reading.declare(series_of(column))
    for row in rows:
        reading.begin_epoch(table.count(row, "epoch") or 0, 0)
        reading.time += 0.0 if clock is None else _seconds(table, row, clock)
        numbers = {column: table.number(row, column) for column in columns}
        reading.end_epoch({column: number for column, number in numbers.items() if number is not None})
    return reading


def _seconds(table: _Table, row: _Row, column: str) -> float:
    """Return how long an epoch took, which fastai writes as 00:12 or 1:00:12; 0 where it does not."""
    text = row.cells.get(column, "")
    if not text:
        return 0.0
    if not re.fullmatch(r"\d{1,6}(:\d\d){1,2}", text, re.ASCII):
        raise table.source.refusal(f"line {row.line}, column {column!r}: {shortly(text)} is no time")
    seconds = 0
    for part in text.split(":"):
        seconds = 60 * seconds + int(part)
    return float(seconds)


def _fastai_series(column: str) -> Series:
    if column == "train_loss":
        return Series(column, "epoch", "smoothed", "loss", "train")
    if column.startswith("train_") and len(column) > len("train_"):
        return Series(column, "epoch", "epoch", column.removeprefix("train_"), "train")
    return Series(column, "epoch", "epoch", column.removeprefix("valid_") or column, "validation")


# Keras ------------------------------------------------------------------------------------------------------------


def _keras_columns(values: Mapping[Any, Any]) -> dict[str, list[float]]:
    """Return a list of numbers for each series: a metric of several numbers has one for each, as in the callback."""
    columns: dict[str, list[float]] = {}
    for key, given in values.items():
        checked_name("The name of a metric", key)
        try:
            numbers = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"from_keras(): {key!r} has to be a list of numbers, got {shortly(given)}.") from None
        if numbers.ndim == 0:
            raise ValueError(f"from_keras(): {key!r} has to be a list of numbers, got {shortly(given)}.")
        if numbers.ndim == 1:
            columns[key] = numbers.tolist()
        else:
            parts = numbers.reshape(len(numbers), -1).T.tolist()
            columns.update({key if len(parts) == 1 else f"{key}_{n}": part for n, part in enumerate(parts)})
    return columns


def _validated(epochs: list[int], freq: int | Collection[int]) -> list[int]:
    """Return the epochs that Keras validated: every so many, or those listed, which it counts from 1."""
    if isinstance(freq, int) and not isinstance(freq, bool) and freq >= 1:
        return [epoch for epoch in epochs if (epoch + 1) % freq == 0]
    if isinstance(freq, Collection) and not isinstance(freq, (str, bytes)):
        return [epoch for epoch in epochs if epoch + 1 in freq]
    raise ValueError(f"from_keras(validation_freq={shortly(freq)}): it has to be 1 or more, or a list of epochs.")


# Lightning --------------------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    """Where a row of Lightning's stands: its own epoch and how many batches had ended."""

    epoch: int
    step: int


class _Lightning:
    """A ``metrics.csv``, in which every call of a logger is a row of its own."""

    def __init__(self, table: _Table) -> None:
        self._table = table
        self._columns = [column for column in table.header if column not in ("step", "epoch")]
        pairs = {column.removesuffix("_step") for column in self._columns if column.endswith("_step")}
        self._pairs = {name for name in pairs if f"{name}_epoch" in self._columns and name not in self._columns}
        self._rows: list[tuple[_Place, dict[str, float]]] = []
        # By step: what stands in rows without an epoch.
        self._rates: dict[int, dict[str, float]] = {}
        self._left_out: set[str] = set()
        self._take()
        self._last_step = {place.epoch: place.step for place, _ in self._rows}
        # In which row there is first an evaluation.
        self._evaluated: dict[_Place, int] = {}
        for index, (place, values) in enumerate(self._rows):
            if any(_is_evaluation(column) for column in values):
                self._evaluated.setdefault(place, index)

    def reading(self) -> _Reading:
        """Return the events."""
        if not self._rows:
            raise self._table.source.refusal("none of its rows tells an epoch")
        reading = _Reading()
        placed = {column for _, values in self._rows for column in values}
        placed.update(column for rates in self._rates.values() for column in rates)
        series = {column: self._series(column) for column in self._columns if column in placed}
        for found in series.values():
            reading.declare(found)
        batches: dict[int, dict[str, float]] = {step: dict(rates) for step, rates in self._rates.items()}
        by_epoch: dict[int, dict[int, list[dict[str, float]]]] = {}
        for place, values in self._rows:
            results = by_epoch.setdefault(place.epoch, {})
            for column, value in values.items():
                found = series[column]
                if found.granularity == "batch":
                    batches.setdefault(place.step, {})[found.name] = value
                else:
                    _add({found.name: value}, results.setdefault(place.step, []))
        first, steps, last_epoch = 0, sorted(batches), self._rows[-1][0].epoch
        for epoch, results in by_epoch.items():
            last, is_last = self._last_step[epoch], epoch == last_epoch
            reading.begin_epoch(epoch, first)
            # A rate may have been written of a batch of which nothing else was.
            until = max([last, *steps[-1:]]) if is_last else last
            between = steps[bisect_right(steps, first) : bisect_right(steps, until)]
            for step in sorted({*between, *results, last}):
                if step > reading.step:
                    reading.batch(step, batches.get(step, {}))
                evaluations = results.get(step, [])
                if step == last and (evaluations or not is_last):
                    reading.end_epoch(evaluations.pop(0) if evaluations else {})
                for evaluation in evaluations:
                    reading.evaluated(evaluation)
            first = last
        return reading

    def _take(self) -> None:
        """Read all rows, and see which of them stand where."""
        table, before = self._table, _Place(0, 0)
        for row in (row for part in table.parts for row in part):
            step, epoch = table.count(row, "step"), table.count(row, "epoch")
            if step is None:
                raise table.source.refusal(f"line {row.line} tells no step")
            numbers = {column: table.number(row, column) for column in self._columns}
            values = {column: number for column, number in numbers.items() if number is not None}
            if epoch is None:
                # A monitor of the rates writes rows of its own. Others may count other steps.
                rates = {column: value for column, value in values.items() if column.startswith("lr-")}
                self._rates.setdefault(step + 1, {}).update(rates)
                self._left_out.update(values.keys() - rates.keys())
                continue
            place = self._place(_Place(epoch, step + 1), before, values)
            if place < before or place.step < before.step:
                raise table.source.refusal(f"line {row.line}: its step or epoch is before that of the row above")
            self._rows.append((place, values))
            before = place
        if self._left_out:
            _log.warning(
                "[epochwidget] %s: left out is what stands in rows that tell no epoch, for their steps need not be "
                "those of the training: %s.",
                table.path.name,
                ", ".join(sorted(self._left_out)),
            )

    def _place(self, place: _Place, before: _Place, values: Mapping[str, float]) -> _Place:
        """Return where a row stands: after the training Lightning has gone on to an epoch and a step that never came.

        What is evaluated then belongs to the last step that there was.
        """
        evaluates = all(_is_evaluation(column) for column in values)
        if evaluates and place.epoch == before.epoch + 1 and place.step == before.step + 1 > place.epoch + 1:
            return before
        return place

    def _series(self, column: str) -> Series:
        split, metric = _split_and_metric(column)
        if column.startswith("lr-"):
            # A monitor may write down momentum and weight decay as well.
            other = re.search(r"-(momentum|weight_decay)(?:/pg\d+)?$", column)
            return Series(column, "batch", "batch", other[1].replace("_", " ") if other else LEARNING_RATE, "train")
        name = column if self._of_pair(column) is None else re.sub("_(step|epoch)$", "", column)
        granularity, kind = self._what(column, name)
        if Series.of(name, granularity).metric == LEARNING_RATE:
            split, metric = "train", LEARNING_RATE
        return Series(name, granularity, kind, metric, split)

    def _what(self, column: str, name: str) -> tuple[Granularity, Kind]:
        """Return whether a column holds batches' values or epochs'."""
        if _is_evaluation(column):
            return "epoch", "epoch"
        found: Granularity | None = self._of_pair(column) if name != column else self._told_by_rows(column)
        return ("epoch", "reported") if found is None else (found, found)

    def _of_pair(self, column: str) -> Granularity | None:
        """Tell a column that has a twin by its name; None if it has none."""
        for suffix in ("_step", "_epoch"):
            if column.endswith(suffix) and column.removesuffix(suffix) in self._pairs:
                return "batch" if suffix == "_step" else "epoch"
        return None

    def _told_by_rows(self, column: str) -> Granularity | None:
        """Tell a column by the rows it stands in, if they do."""
        rows = [(index, place, values) for index, (place, values) in enumerate(self._rows) if column in values]
        for _, _, values in rows:
            for other in values:
                # Batches' values of the training are in one row, those of its epochs in another.
                if not _is_evaluation(other) and (found := self._of_pair(other)) is not None:
                    return found
        epochs = {place.epoch for _, place, _ in rows}
        if len(epochs) < len(rows) or any(place.step < self._last_step[place.epoch] for _, place, _ in rows):
            return "batch"
        # One at the end of each epoch: an epoch's mean comes after the validation, its last batch before.
        after = {index > self._evaluated[place] if place in self._evaluated else None for index, place, _ in rows}
        if len(after) == 1 and None not in after:
            return "epoch" if after.pop() else "batch"
        return None


@cache
def _split_and_metric(name: str) -> tuple[Split, str]:
    """Take a name apart; what is of the test is no training either, and is drawn by its own name."""
    split, metric = parsed(name)
    if split is None and (found := re.fullmatch(r"test[_/.\- ](.+)", metric, re.IGNORECASE)):
        return "validation", "loss" if found[1].lower() == "loss" else found[1]
    return split or "train", metric


def _is_evaluation(column: str) -> bool:
    return _split_and_metric(column)[0] == "validation"


# Hugging Face -----------------------------------------------------------------------------------------------------


_KINDS: dict[str, Kind] = {"loss": "window", "grad_norm": "batch"}


class _Entry(NamedTuple):
    """What the Trainer logged at once: when, in epochs if it told, and the numbers in it."""

    step: int
    epoch: float | None
    values: dict[str, float]
    evaluates: str


def _trainer_state(source: _Source) -> tuple[_Reading, Status]:
    text = source.text()
    try:
        state = json.loads(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError):
            raise source.refusal(f"it is no JSON: {error}") from None
        raise source.refusal(f"it cannot be read: {shortly(str(error))}") from None
    log = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(log, list) or not log:
        raise source.refusal("there is no log_history in it")
    reading = _Reading()
    read = [_entry(source, number, one) for number, one in enumerate(log)]
    entries = [entry for entry in read if entry is not None]
    if not any(entry.values for entry in entries):
        raise source.refusal("there are no values in its log_history")
    if any(after.step < before.step for before, after in pairwise(entries)):
        raise source.refusal("the steps in its log_history go back")
    for series in dict.fromkeys(_trainer_series(entries)):
        reading.declare(series)
    total = max(_whole(state.get("global_step")) or 0, entries[-1].step)
    _by_steps(entries, total, _steps_per_epoch(state, entries), reading)
    took = next((one["train_runtime"] for one in reversed(log) if "train_runtime" in one), 0)
    if _is_number(took) and isfinite(took) and took > 0:
        reading.time = float(took)
    planned = _whole(state.get("max_steps"))
    return reading, "stopped" if planned is not None and total < planned else "completed"


def _entry(source: _Source, number: int, logged: Any) -> _Entry | None:
    """Read one entry of the log; what sums up the training at its end is none."""
    step = _whole(logged.get("step")) if isinstance(logged, dict) else None
    if step is None:
        raise source.refusal(f"entry {number} of its log_history tells no step")
    loss, epoch = logged.get("loss"), logged.get("epoch")
    if not isinstance(loss, float | int | None) or isinstance(loss, bool):
        raise source.refusal(f"entry {number} of its log_history: the loss {shortly(loss)} is no number")
    epoch = float(epoch) if _is_number(epoch) and 0 <= epoch < _LARGEST else None
    if "train_runtime" in logged and "loss" not in logged:
        return None
    timed = [name.removesuffix("_runtime") for name in logged if name.endswith("_runtime")]
    evaluates = min(timed, key=len, default="") if "loss" not in logged else ""
    if not evaluates and any(name.startswith("eval_") for name in logged):
        evaluates = "eval"
    no_metrics = ("step", "epoch", "total_flos", "num_input_tokens_seen")
    times = ("_runtime", "_per_second", "_model_preparation_time")
    values = {
        name: float(value)
        for name, value in logged.items()
        if name.strip() and name not in no_metrics and not name.endswith(times) and _is_number(value)
    }
    return _Entry(step, epoch, values, evaluates)


def _trainer_series(entries: list[_Entry]) -> Iterable[Series]:
    """Say what each name stands for."""
    for entry in entries:
        for name in entry.values:
            if entry.evaluates:
                split: Split = "train" if entry.evaluates.rsplit("_", maxsplit=1)[-1] == "train" else "validation"
                yield Series(name, "epoch", "epoch", name.removeprefix(f"{entry.evaluates}_") or name, split)
                continue
            usual = Series.of(name, "batch")
            yield Series(name, "batch", _KINDS.get(name, "reported"), usual.metric.removeprefix("train_"), usual.split)


def _steps_per_epoch(state: Mapping[str, Any], entries: list[_Entry]) -> int | None:
    """Return how many steps an epoch has, if all that the file says of it agrees."""
    at_end, step = state.get("epoch"), _whole(state.get("global_step"))
    last = float(at_end) if _is_number(at_end) else nan
    if not step or not 0 < last < _LARGEST:
        return None
    length = round(step / last)
    told = [(entry.step, entry.epoch) for entry in entries if entry.epoch is not None]
    # Where gradients are accumulated, a step is not the same part of every epoch; and it may have been rounded.
    # More epochs than anybody trains would take all memory here.
    is_so = (
        length > 0 and step / length < 1e5 and all(abs(at - epoch * length) <= 1 + 0.01 * length for at, epoch in told)
    )
    return length if is_so else None


def _ends(entries: list[_Entry], total: int, length: int | None) -> dict[int, int]:
    """Return the last step of each epoch: of the length that the file tells, else of the last entry that is in it."""
    if length is not None:
        return {epoch: (epoch + 1) * length for epoch in range(max(ceil(total / length), 1))}
    ends, epoch = {}, 0
    for entry in entries:
        epoch = max(ceil(entry.epoch or 0) - 1, epoch)
        ends[epoch] = entry.step
    return ends


def _by_steps(entries: list[_Entry], total: int, length: int | None, reading: _Reading) -> None:
    """Put the entries in their epochs."""
    ends = _ends(entries, total, length)
    by_step: dict[int, list[_Entry]] = {entry.step: [] for entry in entries}
    for entry in entries:
        by_step[entry.step].append(entry)
    for end in (total, *(end for end in ends.values() if end < total)):
        by_step.setdefault(end, [])
    first, done, steps, last_epoch = 0, 0, sorted(by_step), max(ends)
    for epoch, end in ends.items():
        reading.begin_epoch(epoch, first, batches=length)
        until = len(steps) if epoch == last_epoch else bisect_right(steps, end)
        for step in steps[done:until]:
            logged: dict[str, float] = {}
            evaluations: list[dict[str, float]] = []
            for entry in by_step[step]:
                if entry.evaluates:
                    _add(entry.values, evaluations)
                else:
                    logged.update(entry.values)
            if step > 0:
                reading.batch(step, logged)
            if step == end and (length is not None or evaluations):
                reading.end_epoch(evaluations.pop(0) if evaluations else {})
            for evaluation in evaluations:
                reading.evaluated(evaluation)
        first, done = end, until


def _is_number(value: Any) -> TypeGuard[float]:
    if isinstance(value, int):  # JSON has larger ones than a float can be
        return not isinstance(value, bool) and abs(value) < _LARGEST
    return isinstance(value, float)


def _whole(value: Any) -> int | None:
    """Return a count of the file's, or None if it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST else None


# TensorBoard ------------------------------------------------------------------------------------------------------


class _Scalar(NamedTuple):
    """One value of a tag; ``wall`` is when it was written, in seconds since 1970."""

    step: int
    wall: float
    value: float


def _tensorboard(logdir: StrPath) -> tuple[_Reading, Path]:
    if not isinstance(logdir, (str, os.PathLike)):
        raise TypeError(f"from_tensorboard() needs the path of a folder, got {shortly(logdir)}.")
    path = checked_path("from_tensorboard", logdir).resolve()
    if not path.is_dir() and not path.is_file():
        raise FileNotFoundError(f"There is no folder {str(path)!r}; expected were event files of TensorBoard's.")
    source = _Source(path, "a folder of one training's event files for TensorBoard")
    if path.is_file() or _has_events(path):
        return _reported(_scalars(source)), path
    within = sorted(folder for folder in path.iterdir() if folder.is_dir() and _has_events(folder))
    if "train" in [folder.name for folder in within]:
        scalars = {folder.name: _scalars(source._replace(path=folder)) for folder in within}
        if any(tag.startswith(_EPOCH) for tag in scalars["train"]):
            return _of_keras(source, scalars), path
    if within:
        names = shortly([folder.name for folder in within])
        raise source.refusal(f"there are several in it, so give one of its folders {names}")
    raise source.refusal("there are no event files in it")


_EPOCH = "epoch_"


def _has_events(folder: Path) -> bool:
    return any(_is_of_events(file) for file in folder.iterdir())


def _is_of_events(file: Path) -> bool:
    return "tfevents" in file.name and file.is_file()


def _is_whole(file: Path) -> bool:
    """Tell whether TensorBoard reads all there is, for it stops at a record that is damaged without a word.

    A record is its length, a checksum of that, as many bytes, and a checksum of these. The last may still be written.
    """
    from tensorboard.backend.event_processing import event_file_loader  # noqa: PLC0415
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c  # noqa: PLC0415

    read = sum(1 for _ in event_file_loader.RawEventFileLoader(str(file)).Load())
    size, there = file.stat().st_size, 0
    with file.open("rb") as records:
        while len(head := records.read(12)) == 12:
            length, checksum = struct.unpack("<QI", head)
            if masked_crc32c(head[:8]) != checksum:
                return False
            end = records.tell() + length + 4
            if end > size:
                break
            records.seek(end)
            there += 1
    return read == there


def _scalars(source: _Source) -> dict[str, list[_Scalar]]:
    """Return the values of each tag, at rising steps."""
    try:
        from tensorboard.backend.event_processing import event_accumulator  # noqa: PLC0415
        from tensorboard.util import tensor_util  # noqa: PLC0415
    except ImportError:
        raise ImportError("ew.from_tensorboard() needs TensorBoard: pip install tensorboard.") from None
    # All scalars, which newer writers write as tensors, and as little as may be of the rest.
    kept = dict.fromkeys(event_accumulator.DEFAULT_SIZE_GUIDANCE, 1) | {"scalars": 0, "tensors": 0}
    found: dict[str, list[_Scalar]] = {}
    files = [source.path] if source.path.is_file() else [file for file in source.path.iterdir() if _is_of_events(file)]
    for file in files:
        if not _is_whole(file):
            raise source.refusal(f"{file.name!r} is damaged")
    try:
        events = event_accumulator.EventAccumulator(str(source.path), size_guidance=kept)
        events.Reload()
        for tag in events.Tags()["scalars"]:
            found[tag] = [_Scalar(event.step, event.wall_time, float(event.value)) for event in events.Scalars(tag)]
        for tag in events.Tags()["tensors"]:
            if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
                found[tag] = [
                    _Scalar(event.step, event.wall_time, float(tensor_util.make_ndarray(event.tensor_proto).item()))
                    for event in events.Tensors(tag)
                ]
    except Exception as error:  # whatever its protocol buffers raise
        raise source.refusal(f"TensorBoard cannot read it: {shortly(str(error))}") from None
    if not any(found.values()):
        raise source.refusal("there are no scalars in it")
    taken = {tag: of_tag for tag, scalars in found.items() if tag.strip() and (of_tag := _rising(source, tag, scalars))}
    if not taken:
        raise source.refusal("its scalars were written without steps")
    if left_out := [tag for tag in found if tag not in taken]:
        _log.warning(
            "[epochwidget] %s: left out is what was written without steps, or at steps that begin anew: %s.",
            source.path.name,
            ", ".join(left_out),
        )
    return taken


def _rising(source: _Source, tag: str, scalars: list[_Scalar]) -> list[_Scalar]:
    """Return the last value of each step, or none where the steps are none of the training's."""
    steps = [scalar.step for scalar in scalars]
    if not all(0 <= step < _LARGEST for step in steps) or not all(isfinite(scalar.wall) for scalar in scalars):
        raise source.refusal(f"a step or a time of {tag!r} is none")
    if len(steps) > 1 and len(set(steps)) == 1:
        return []
    if any(after < before for before, after in pairwise(steps)):
        if _is_evaluation(tag):  # of which each may count its own
            return []
        raise source.refusal(
            f"the steps of {tag!r} go back, as where several trainings share a folder; give one of its files"
        )
    return list({scalar.step: scalar for scalar in scalars}.values())


def _reported(scalars: dict[str, list[_Scalar]]) -> _Reading:
    """Put the values of each tag at their steps."""
    reading = _Reading(started=min(one.wall for of_tag in scalars.values() for one in of_tag))
    batches: dict[int, dict[str, float]] = {}
    walls: dict[int, float] = {}
    for tag, of_tag in scalars.items():
        split, metric = _split_and_metric(tag)
        is_rate = Series.of(re.split(r"[/\-]", metric)[0], "batch").metric == LEARNING_RATE
        reading.declare(Series(tag, "batch", "reported", LEARNING_RATE if is_rate else metric, split))
        for step, wall, value in of_tag:
            batches.setdefault(step, {})[tag] = value
            walls[step] = min(wall, walls.get(step, inf))
    # A clock does not go back. Where a tag counts other steps than the rest, nobody knows when that step was.
    steps, soonest = sorted(batches, reverse=True), inf
    for step in steps:
        if walls[step] > soonest:
            walls[step] = nan
        else:
            soonest = walls[step]
    for step in reversed(steps):
        reading.batch(step, batches[step], walls[step] - (reading.started or 0.0))
    return reading


def _of_keras(source: _Source, scalars: dict[str, dict[str, list[_Scalar]]]) -> _Reading:
    """Read what Keras's callback wrote of the epochs, which are the steps of these tags."""
    started = min(one.wall for folder in scalars.values() for of_tag in folder.values() for one in of_tag)
    reading = _Reading(started)
    by_epoch: dict[int, dict[str, float]] = {}
    walls: dict[int, float] = {}
    left_out = []
    for folder, of_folder in scalars.items():
        for tag, of_tag in of_folder.items():
            prefix = {"train": "", "validation": "val_"}.get(folder)
            if prefix is None or not tag.startswith(_EPOCH) or tag == _EPOCH:
                left_out.append(f"{folder}/{tag}")
                continue
            name = prefix + tag.removeprefix(_EPOCH)
            for epoch, wall, value in of_tag:
                by_epoch.setdefault(epoch, {})[name] = value
                walls[epoch] = max(wall, walls.get(epoch, wall))
    for epoch in sorted(by_epoch):
        reading.begin_epoch(epoch, 0)
        reading.time = max(reading.time, walls[epoch] - started)
        reading.end_epoch(by_epoch[epoch])
    if left_out:
        _log.warning(
            "[epochwidget] %s: left out is what is not of the epochs: %s.", source.path.name, ", ".join(left_out)
        )
    return reading
