"""One run folded into numpy columns, at full resolution, and the list of all runs."""

from __future__ import annotations

import os
import time
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_args, overload

import numpy as np

from .buckets import LEAST, room
from .columns import Column, Floats
from .errors import checked_count
from .events import (
    BatchEnded,
    EpochEnded,
    EpochStarted,
    Evaluated,
    Event,
    Marked,
    Purpose,
    RunEnded,
    RunResumed,
    RunStarted,
    SeriesDeclared,
    Status,
)
from .means import Mean
from .points import CLOCK, Points, Table
from .scalars import to_floats
from .series import Granularity, Series
from .spikes import Spikes
from .watching import Cost

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# How many batches may wait to be folded: few enough that no device's memory fills with values that wait to be read, and
# that Python does not look for garbage among them: each is two objects, and by default it looks after 700.
_WAITING = 256
# How many are folded at a time: a thread that trains meanwhile waits for no longer than that takes.
_AT_ONCE = 1024

# Of how many batches the means are summed up at once, in a run whose points are merged.
_SUMMED = 16_384

# What an event changes beside what it appends.
_STATE = (
    "clock",
    "cost",
    "epochs",
    "error",
    "generation",
    "marks",
    "points",
    "resumed",
    "spans",
    "status",
    "validating",
    "_epoch_began",
    "_epoch_means",
    "_epoch_open",
    "_idle_since",
    "_index",
    "_size_steps",
    "_sizes",
    "_step",
    "_time",
)

_E = TypeVar("_E", bound=Event)


@dataclass(slots=True)
class Span:
    """One epoch's place among the batches.

    ``first`` is the number of batches that had ended when it began, ``batches`` its length: the planned one while
    it lasts, the true one afterwards, None while nobody knows. ``time``, ``watching`` and ``validating`` are the
    seconds that the run had taken when the epoch began, and what of these was spent so.
    """

    epoch: int
    first: int
    batches: int | None
    time: float = 0.0
    watching: float = 0.0
    validating: float = 0.0


class Parts(NamedTuple):
    """What a run is made of at one moment: nothing in here is ever cut, though it may grow."""

    generation: int
    points: list[Points]
    spans: list[Span]
    marks: list[Marked]


class History:
    """One run, made of nothing but its events.

    Batches are queued as they come and folded into columns when somebody reads: the training loop pays for one
    ``list.append``.

    Parameters
    ----------
    started
        How it began.
    number
        Its place among the runs of its bus.
    max_points
        See the attribute.

    Attributes
    ----------
    run : str
        The run's identifier.
    name : str
        What the person calls it.
    number : int
        Its place among the runs of its bus, from 1.
    started : float
        When it began, in seconds since 1970.
    status : str
        ``"running"``, ``"completed"``, ``"stopped"`` or ``"failed"``.
    error : str or None
        What ended it, in one line.
    epochs : int or None
        Where the epochs are to end.
    purpose : str
        ``"training"`` or ``"lr search"``.
    batch, epoch : Table
        ``history.batch["loss"]`` and ``history.epoch["val_loss"]`` are float64 arrays.
    points : list of Points
        All series in the order of their first value.
    spans : list of Span
        The epochs begun so far.
    marks : list of Marked
        What was marked.
    resumed : list of RunResumed
        Where the run was taken up again.
    generation : int
        How often something was dropped for that.
    validating : float
        Seconds spent in validation: from the last batch to each evaluation in the midst of an epoch, and to the end of
        each epoch that has values of validation. What else was done in that time is in it.
    cost : Cost
        Where those who watch the run count what they take.
    stopping : "batch", "epoch" or None
        After what the training was asked to end, see `stop`.
    stoppable : "batch", "epoch" or None
        After what it ends once it is asked: as soon as after each batch, or only after each epoch. None as long as
        nobody knows that it looks.
    max_points : int or None
        How many points are kept of each series of batches, 1,000 or more, or None for all. Where they become more,
        older ones are merged into buckets, of each of which the lowest and the highest point and the first that is no
        finite number are kept, just where they were; ``history.batch.buckets("loss")`` tells of the rest. The newest
        half is kept whole, and so is every value of an epoch.
    """

    def __init__(self, started: RunStarted, number: int = 1, *, max_points: int | None = None) -> None:
        self.run = started.run
        self.name = started.name
        self.number = number
        self.started = started.started
        self.epochs = started.epochs
        self.purpose: Purpose = started.purpose
        self.status: Status = "running"
        self.error: str | None = None
        self.stopping: Granularity | None = None
        self.stoppable: Granularity | None = None
        self.batch = Table(self, "batch")
        self.epoch = Table(self, "epoch")
        self.points: list[Points] = []
        self.spans: list[Span] = []
        self.marks: list[Marked] = []
        self.resumed: list[RunResumed] = []
        self.generation = 0
        self.clock = Points(CLOCK)
        self.validating = 0.0
        self.cost = Cost()
        self.max_points = max_points
        self._declared: dict[tuple[Granularity, str], Series] = {}
        self._index: dict[tuple[Granularity, str], Points] = {}
        self._size_steps, self._sizes = Column(), Column()
        # Of each series of batches, at which index the present epoch began, or what of it is not yet in its mean.
        self._epoch_began: dict[str, int] = {}
        self._epoch_means: dict[str, Mean] = {}
        self._epoch_open = False
        self._queue: list[BatchEnded] = []
        self._others: list[Event] = []
        self._settling = False
        self._lock = RLock()
        self._time = 0.0
        self._step = 0
        # Since when nothing has been trained; None where no batch of the epoch came before.
        self._idle_since: float | None = None

    def __repr__(self) -> str:
        return f"<History of {self.name!r}: {self.status}, {len(self.spans)} epochs, {self.step} steps>"

    def __getstate__(self) -> dict[str, Any]:
        self.fold()
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=RLock())

    @property
    def max_points(self) -> int | None:
        """How many points are kept of each series of batches, or None for all."""
        return self._max_points

    @max_points.setter
    def max_points(self, most: int | None) -> None:
        self._max_points = None if most is None else checked_count("max_points, if not None,", most, least=LEAST)

    @property
    def title(self) -> str:
        """The run's name and number, which tell it from others of the same name."""
        numbered = f"run {self.number}"
        return self.name if self.name == numbered else f"{self.name} · {numbered}"

    @property
    def step(self) -> int:
        """How many batches have ended."""
        queue = self._queue
        try:
            return queue[-1].step
        except IndexError:
            return self._step

    @property
    def last_time(self) -> float:
        """When anything last happened, in seconds since the run began."""
        queue = self._queue
        try:
            return max(self._time, queue[-1].time)
        except IndexError:
            return self._time

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, or how long it took; without those between its end and its going on."""
        if self.status != "running":
            return self._time
        if self.resumed:
            return self.resumed[-1].time + time.time() - self.resumed[-1].at
        return time.time() - self.started

    @property
    def remaining(self) -> float | None:
        """Seconds until the run will have ended at its present pace, or None where nobody can know.

        The first batch is left out of the pace, since frameworks compile and warm up in it.
        """
        spans, clock = self.spans, self.clock
        if self.status != "running" or not spans or self.epochs is None or len(clock) < 2:
            return None
        now, batches = spans[-1], spans[-1].batches
        if not batches:
            return None
        first = spans[0].epoch
        done = now.epoch - first + min((self._step - now.first) / batches, 1)
        warm = float(clock.values.array(0, 1)[0])
        paced = done - 1 / batches
        if paced <= 0 or self.epochs <= first + done:
            return None
        return (self._time - warm) / paced * (self.epochs - first - done)

    @property
    def watching(self) -> float:
        """Seconds of the training that watching it has taken so far.

        Measured, on the clock of the wall, are the hooks of the callbacks, the calls of a `Run` with all that listens
        to the bus, and moving values into the columns, where tensors are waited for. What the widgets' senders take
        of a processor is added, since they hold the lock of the interpreter meanwhile. Of `Run.log` and
        `Run.batches` the first 61 batches are measured and then one in 61, which stands for as many, and of the short
        hooks of Keras's batches one in 61: there it is an estimate.

        Not in it is what a framework itself does more because somebody watches, such as a training step that hands
        out the batch's own values.
        """
        return self.cost.seconds

    def stop(self, after: Granularity = "batch") -> None:
        """Ask the training to end, as the button in the page does: ``ew.runs[-1].stop()``.

        It ends in its framework's own way, so that the model is whole and what comes after the training runs. A loop of
        one's own ends through `Run.epochs` and `Run.batches`, or by looking at `Run.stopping`. What was asked of a run
        that is over is forgotten.

        Parameters
        ----------
        after
            ``"batch"``: as soon as the present batch has ended. ``"epoch"``: with the present epoch.

        Raises
        ------
        ValueError
            If `after` is neither.
        """
        if after not in get_args(Granularity):
            raise ValueError(f"stop(after=...) has to be 'batch' or 'epoch', got {after!r}.")
        if self.status == "running" and self.stopping != "batch":
            self.stopping = after

    def plot(
        self,
        granularity: Literal["both", "batch", "epoch"] = "both",
        *,
        x_axis: Literal["epoch", "step"] = "epoch",
        smoothing: float = 0.9,
        log: bool = False,
    ) -> Figure:
        """Draw loss and metrics, training beside validation, and the learning rate: a figure of matplotlib.

        Parameters
        ----------
        granularity
            Which values.
        x_axis
            What the x axis counts.
        smoothing
            The weight, 0 to 0.999, of what came before in the average drawn over values of batches.
        log
            Draw the loss and the learning rate, and what spans two decades, on a logarithmic axis.

        Returns
        -------
        matplotlib.figure.Figure
            To be shown as a cell's last expression, saved (``figure.savefig("run.pdf")``) or drawn on.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError, ValueError
            If an argument is none of these.
        """
        from . import pictures  # noqa: PLC0415 - for those who ask for a picture

        return pictures.shown_by_ipython(
            pictures.draw(self, pictures.View.of("plot", granularity, x_axis=x_axis, smoothing=smoothing, log=log))
        )

    def add(self, event: Event) -> None:
        """Take in one event of this run."""
        if type(event) is BatchEnded:
            self._queue.append(event)
            # Another thread that holds the lock takes them in, and the training does not wait for it.
            if len(self._queue) >= _WAITING and self._lock.acquire(blocking=False):
                try:
                    self._settle(_AT_ONCE)
                finally:
                    self._lock.release()
            return
        with self._lock:
            self._others.append(event)
            self._settle()

    @property
    def due(self) -> int:
        """The epoch that comes next, counted from 0; one that did not come to its end comes again."""
        spans = self.spans
        if not spans:
            return 0
        return spans[-1].epoch if self._epoch_open else spans[-1].epoch + 1

    def beginning(self, epoch: int) -> tuple[int, float]:
        """Return how many batches and seconds the run had taken when an epoch began, or until now if it has not."""
        for span in self.spans:
            if span.epoch >= epoch:
                return span.first, span.time
        return self.step, self.last_time

    def parts(self) -> Parts:
        """Return all points folded so far, the clock's first, all epochs and all marks: what belongs together."""
        with self._lock:
            return Parts(self.generation, [self.clock, *self.points], list(self.spans), list(self.marks))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Take in all that waits and let nothing more in, for the length of a ``with`` block."""
        with self._lock:
            self.fold()
            yield

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run to a file, from which `epochwidget.load` makes it again, every number bit for bit.

        A run that goes on is written as it is at this moment, and loaded as one that was stopped.

        Parameters
        ----------
        path
            Where to. ``"run.parquet"`` becomes a table that all programs of the field read, by pyarrow, see
            `epochwidget.parquet`; with any other suffix it is an archive of NumPy's, see `epochwidget.npz`. A file
            that is there is replaced, and only once the new one is complete.

        Raises
        ------
        OSError
            If the file cannot be written. What was at `path` is as it was.
        ValueError
            If the run holds what no file can: a time that is no finite number, say, which no `Run` ever tells.
        ImportError
            If the suffix is ``.parquet`` and there is no pyarrow.
        """
        from .files import save  # noqa: PLC0415 - which makes histories

        save(self, path)

    def fold(self, *, briefly: bool = False) -> None:
        """Move the waiting batches into the columns.

        Parameters
        ----------
        briefly
            If there are very many, leave the rest to the thread that trains, which is faster at it than another.
        """
        if self._queue or self._others:
            with self._lock:
                self._settle(_AT_ONCE if briefly else None)

    # To take along ---------------------------------------------------------------------------------------------

    def to_frame(self, granularity: Granularity = "epoch") -> pd.DataFrame:
        """Return the values as a pandas frame: a column for each series, under its name.

        Parameters
        ----------
        granularity
            ``"epoch"``: a row for each epoch. The index is ``epoch``, counted from 0; the first column is ``step``, how
            many batches had ended. An epoch in whose midst there were evaluations has a row for each of them before
            that of its end, so that its number stands there more than once:
            ``frame.groupby("epoch").last()`` has each once, with the last value of every series.

            ``"batch"``: a row for each step. The index is ``step``, counted from 1; the first columns are ``epoch`` and
            ``time``, in seconds since the run began and NaN where nobody knows. Of steps whose points were merged,
            see `max_points`, those have a row of which any point is kept.

        Returns
        -------
        pandas.DataFrame, shape (rows, series + 1 or 2)
            Float64, NaN where a series has no value; steps and epochs are int64. Epochs that nobody knows, as where
            TensorBoard's files were read, are NaN. A series that is called as one of the first columns, or as the
            index, has ``_`` behind its name.

        Raises
        ------
        ImportError
            If there is no pandas.
        ValueError
            If `granularity` is none of the two.
        """
        from . import exports  # noqa: PLC0415

        return exports.to_frame(self, granularity)

    @overload
    def to_csv(self, path: None = None, granularity: Granularity = "epoch") -> str: ...
    @overload
    def to_csv(self, path: str | os.PathLike[str], granularity: Granularity = "epoch") -> None: ...
    def to_csv(self, path: str | os.PathLike[str] | None = None, granularity: Granularity = "epoch") -> str | None:
        """Write the rows and columns of `to_frame` as CSV, without pandas.

        Parameters
        ----------
        path
            Where to, in UTF-8. What is there is replaced at once when all has been written, so that it stays as it
            was if that fails.
        granularity
            ``"epoch"`` or ``"batch"``, see `to_frame`.

        Returns
        -------
        str or None
            The text if there is no `path`. A line of names, then a line for each row. Every number is read as the same
            float again; ``nan``, ``inf`` and ``-inf`` are values, and where a series has none the cell is empty.

        Raises
        ------
        ValueError
            If `granularity` is none of the two.
        OSError
            If the file cannot be written, for example since its folder is not there.
        """
        from . import exports  # noqa: PLC0415

        return exports.to_csv(self, path, granularity)

    @overload
    def to_json(self, path: None = None) -> str: ...
    @overload
    def to_json(self, path: str | os.PathLike[str]) -> None: ...
    def to_json(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """Write all there is as JSON: every series with its kind, the epochs, the marks, when each batch ended.

        It is one object: what the attributes of `History` say, and

        - ``"format"``, which is ``"epochwidget history"``, and ``"version"``, which is 1;
        - ``"spans"``, ``"marks"``, ``"resumed"``: lists of objects, see `Span`, `Marked` and `RunResumed`;
        - ``"clock"``: ``"steps"`` and, in seconds since the run began, ``"values"``;
        - ``"series"``: of each, in the order of their first values, ``"name"``, ``"granularity"``, ``"kind"``,
          ``"metric"``, ``"split"`` and, with one number for each point, ``"steps"``, ``"values"`` and, if it is of
          granularity ``"epoch"``, ``"epochs"``. Of points that were merged, see `max_points`, it is those kept.

        JSON has no word for what is no finite number: the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"`` stand
        for these, which JavaScript's ``Number`` and Python's ``float`` read. All else is read as the same float again.

        Parameters
        ----------
        path
            Where to, see `to_csv`.

        Returns
        -------
        str or None
            The text if there is no `path`.

        Raises
        ------
        OSError
            If the file cannot be written, for example since its folder is not there.
        """
        from . import exports  # noqa: PLC0415

        return exports.to_json(self, path)

    def to_keras_history(self) -> dict[str, list[float]]:
        """Return the series of the epochs in the shape of ``keras.callbacks.History.history``.

        Returns
        -------
        dict of str to list of float
            By name, in the order of the epochs. As with Keras, an epoch in which a series has no value is left out of
            its list. Of several evaluations in one epoch the last is there.
        """
        from . import exports  # noqa: PLC0415

        return exports.to_keras_history(self)

    # -----------------------------------------------------------------------------------------------------------

    def _settle(self, most: int | None = None) -> None:
        """Take in all that waits, in its order, or if it is batches alone at most so many of them."""
        # Garbage that is collected in the midst of this may end the run; what comes of it is taken in below.
        if self._settling:
            return
        try:
            self._settling = True
            while True:
                # No more than wait now: another thread may log faster than this one takes in.
                waiting = len(self._queue)
                self._fold_batches(waiting if most is None or self._others else min(waiting, most))
                if not self._others:
                    break
                with self._counted():
                    self._take_first(1, self._others, self._take_others)
        finally:
            self._settling = False

    def _fold_batches(self, count: int) -> None:
        while count > 0:
            with self._counted():
                self._take_first(min(count, _AT_ONCE), self._queue, self._take_batches)
                if self._max_points is not None:
                    self._thin(self._max_points)
            count -= _AT_ONCE
            if count > 0:
                time.sleep(0)  # gives the interpreter to whoever trains

    @contextmanager
    def _counted(self) -> Iterator[None]:
        cost = self.cost
        began = cost.begin()
        try:
            yield
        finally:
            cost.end(began)

    def _take_first(self, count: int, waiting: list[_E], take: Callable[[list[_E]], None]) -> None:
        """Take in the first events of a list and remove them from it, or do neither if an interrupt comes."""
        columns = [column for points in [*self.points, self.clock] for column in points.columns]
        columns += [self._size_steps, self._sizes]
        lengths = [len(column) for column in columns]
        lists: list[list[Any]] = [self.spans, self.marks, self.resumed]
        ends = [len(each) for each in lists]
        known = len(self.points)
        state = {name: getattr(self, name) for name in _STATE}
        try:
            take(waiting[:count])
            del waiting[:count]
        except BaseException as error:
            vars(self).update(state)
            for column, length in zip(columns, lengths, strict=True):
                column.cut(length)
            for points in self.points:
                points.spikes = Spikes()  # somebody may have looked at what is gone
            for points in self.points[known:]:
                del self._index[points.series.granularity, points.series.name]
            del self.points[known:]
            for each, end in zip(lists, ends, strict=True):
                del each[end:]
            if isinstance(error, Exception):  # what failed once fails again
                del waiting[:count]
            raise

    def _take_others(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case EpochStarted():
                    self._start_epoch(event)
                case Evaluated():
                    self._add_to_epoch(event)
                case EpochEnded():
                    self._end_epoch(event)
                case SeriesDeclared(series=series):
                    self._declared[series.granularity, series.name] = series
                case Marked():
                    self.marks.append(event)
                    self._time = max(self._time, event.time)
                case RunResumed():
                    self._resume(event)
                case RunEnded():
                    self.status, self.error = event.status, event.error
                    self._time = event.time

    def _take_batches(self, events: list[BatchEnded]) -> None:
        # By `map`, for this is done for every batch of every training.
        steps = np.array(list(map(attrgetter("step"), events)), dtype=np.float64)
        times = np.array(list(map(attrgetter("time"), events)), dtype=np.float64)
        known = ~np.isnan(times)
        self.clock.steps.extend(steps[known])
        self.clock.values.extend(times[known])
        logged = list(map(attrgetter("values"), events))
        names = logged[0].keys()
        try:
            # As a rule every batch has the same names: as many as the first and none of those missing.
            if set(map(len, logged)) != {len(names)}:
                raise KeyError
            columns = {name: list(map(itemgetter(name), logged)) for name in names}
        except KeyError:
            columns = None
        if columns is not None:
            for name, values in columns.items():
                self._extend(name, steps, values)
        else:
            sparse: dict[str, tuple[list[float], list[Any]]] = {}
            for event in events:
                for name, value in event.values.items():
                    at, values = sparse.setdefault(name, ([], []))
                    at.append(event.step)
                    values.append(value)
            for name, (at, values) in sparse.items():
                self._extend(name, at, values)
        sizes = list(map(attrgetter("size"), events))
        if sizes.count(None) < len(sizes):
            self._size_steps.extend([event.step for event in events if event.size is not None])
            self._sizes.extend([size for size in sizes if size is not None])
        self._step = events[-1].step
        self._idle_since = events[-1].time
        self._time = max(self._time, events[-1].time)

    def find(self, name: str, granularity: Granularity) -> Points | None:
        """Return the points of a series, or None."""
        return self._index.get((granularity, name))

    def epoch_of(self, steps: Floats) -> Floats:
        """Return the epoch, counted from 0, that each step fell in; NaN in a run that tells of no epochs."""
        if not self.spans:
            return np.full(len(steps), np.nan)
        firsts, epochs = Column(), Column()
        firsts.extend([span.first for span in self.spans])
        epochs.extend([span.epoch for span in self.spans])
        at = (firsts.array().searchsorted(steps, side="left") - 1).clip(min=0)
        found: Floats = epochs.array()[at]
        return found

    def epoch_mean(self, name: str) -> float | None:
        """Return the mean of a series' values in the epoch that goes on, weighted by the batches' sizes if known.

        Returns
        -------
        float or None
            None if the epoch has no value of that name.
        """
        with self._lock:
            self.fold()
            mean = self._epoch_mean(name)
            return None if mean is None else mean.value

    def _epoch_mean(self, name: str) -> Mean | None:
        points, earlier = self.find(name, "batch"), self._epoch_means.get(name)
        start = 0 if points is None else points.position(self._epoch_began.get(name, 0))
        if points is None or len(points) == start:
            return earlier
        steps, size_steps, sizes = points.steps.array(start), self._size_steps.array(), self._sizes.array()
        at = size_steps.searchsorted(steps).clip(max=max(len(sizes) - 1, 0))
        are_known = len(sizes) and (size_steps[at] == steps).all()
        mean = Mean.of(points.values.array(start), sizes[at] if are_known else None)
        return mean if earlier is None else earlier.and_of(mean)

    def _thin(self, limit: int) -> None:
        """Merge what is too much, or do nothing if an interrupt comes."""
        batches = [points for points in self.points if points.series.granularity == "batch"]
        # Long before points are merged they are in the mean of their epoch, so that this is as if none were.
        most = min(_SUMMED, limit // 4)
        unsummed = [points.length - self._epoch_began.get(points.series.name, 0) for points in batches]
        if max([*unsummed, len(self._sizes)], default=0) >= most:
            names = [points.series.name for points in batches]
            means = {name: mean for name in names if (mean := self._epoch_mean(name)) is not None}
            began = {points.series.name: points.length for points in batches}
            vars(self).update(_epoch_means=means, _epoch_began=began, _size_steps=Column(), _sizes=Column())
        rooms = [(points, room(limit, number)) for number, points in enumerate((self.clock, *self.points))]
        if any(points.exceeds(most) for points, most in rooms):
            clock, *thinned = (
                points.thinned(limit, most) if points.exceeds(most) else points for points, most in rooms
            )
            index = {(points.series.granularity, points.series.name): points for points in thinned}
            vars(self).update(clock=clock, points=thinned, _index=index)

    def _extend(self, name: str, steps: Sequence[float] | Floats, values: Sequence[Any]) -> None:
        points = self._points("batch", name)
        points.steps.extend(steps)
        points.values.extend(to_floats(values))

    def _points(self, granularity: Granularity, name: str) -> Points:
        key = granularity, name
        points = self._index.get(key)
        if points is None:
            series = self._declared.get(key) or Series.of(name, granularity)
            points = self._index[key] = Points(series)
            self.points.append(points)
        return points

    def _start_epoch(self, event: EpochStarted) -> None:
        self._time = max(self._time, event.time)
        if event.epochs is not None:
            self.epochs = event.epochs
        if self._epoch_open and self.spans[-1].epoch == event.epoch:
            self.spans[-1].batches = event.batches
            return
        self._epoch_open = True
        self._idle_since = None
        self.spans.append(Span(event.epoch, event.step, event.batches, event.time, self.cost.seconds, self.validating))
        self._begin_means()

    def _begin_means(self) -> None:
        """Let the means of the present epoch begin here."""
        self._epoch_began = {
            points.series.name: points.length for points in self.points if points.series.granularity == "batch"
        }
        self._epoch_means = {}
        self._size_steps, self._sizes = Column(), Column()

    def _add_to_epoch(self, event: Evaluated | EpochEnded) -> None:
        self._time = max(self._time, event.time)
        for name, value in event.values.items():
            points = self._points("epoch", name)
            points.steps.extend([event.step])
            points.epochs.extend([event.epoch])
            points.values.extend(to_floats([value]))
        if self._idle_since is not None:
            validated = isinstance(event, Evaluated) or any(
                self._points("epoch", name).series.split == "validation" for name in event.values
            )
            # In this order, for where nobody knows when the batch ended the difference is NaN.
            self.validating += max(0.0, event.time - self._idle_since) if validated else 0.0
            self._idle_since = event.time

    def _end_epoch(self, event: EpochEnded) -> None:
        self._add_to_epoch(event)
        self._idle_since = None
        if self._epoch_open and self.spans[-1].epoch == event.epoch:
            self._epoch_open = False
            self.spans[-1].batches = event.step - self.spans[-1].first

    def _resume(self, event: RunResumed) -> None:
        self.cost = Cost(self.cost.seconds)  # whoever goes on with the run has measured nothing of it yet
        if event.epoch is not None:
            self._drop(event.epoch, event.step, event.time)
        self._begin_means()
        self._epoch_open, self._idle_since = False, None
        self._step, self._time = event.step, event.time
        if event.epochs is not None:
            self.epochs = event.epochs
        self.resumed.append(event)
        self.status, self.error = "running", None

    def _drop(self, epoch: int, step: int, time: float) -> None:
        """Drop what lies at or after the beginning of an epoch.

        What is kept is copied: who sends at this moment goes on with what was.
        """

        def before(points: Points) -> Points:
            by_epoch = points.series.granularity == "epoch"
            late = points.epochs.array() >= epoch if by_epoch else points.steps.array() > step
            return points.until(int(late.argmax()) if late.any() else len(points), step)

        kept = [span.epoch < epoch for span in self.spans]
        first = kept.index(False) if False in kept else len(kept)
        if first < len(kept):
            self.cost = Cost(self.spans[first].watching)
            self.validating = self.spans[first].validating
        self.points = [points for points in map(before, self.points) if len(points)]
        self._index = {(points.series.granularity, points.series.name): points for points in self.points}
        self.clock = before(self.clock)
        self.spans = self.spans[:first]
        self.marks = [mark for mark in self.marks if mark.time < time]
        self.resumed = [resumed for resumed in self.resumed if resumed.time < time]
        self.generation += 1


class Runs(Sequence[History]):
    """The histories of all runs of a bus, oldest first: ``ew.runs[-1]`` is the newest.

    A run that was loaded stands where it began.

    Attributes
    ----------
    max_points : int or None
        What those have that begin from now on, see `History`.
    """

    def __init__(self) -> None:
        self.max_points: int | None = None
        self._histories: list[History] = []
        self._by_run: dict[str, History] = {}
        # By run, how often points of one that was forgotten had been dropped: a page may still have these.
        self._forgotten: dict[str, int] = {}
        self._count = 0

    @overload
    def __getitem__(self, index: int) -> History: ...
    @overload
    def __getitem__(self, index: slice) -> list[History]: ...
    def __getitem__(self, index: int | slice) -> History | list[History]:
        if not self._histories and isinstance(index, int):
            raise IndexError("there are no runs yet: train with an EpochCallback or an ew.Run first.")
        return self._histories[index]

    def __len__(self) -> int:
        return len(self._histories)

    @property
    def begun(self) -> int:
        """How many runs there have been, those included that `clear` forgot; the highest number of a run."""
        return self._count

    def __repr__(self) -> str:
        return f"<Runs: {', '.join(repr(history) for history in self._histories) or 'none yet'}>"

    def find(self, run: str) -> History | None:
        """Return the history of the run with that identifier, or None."""
        return self._by_run.get(run)

    def add(self, event: Event) -> None:
        """Take in one event; the first of each run makes its history."""
        history = self._by_run.get(event.run)
        if history is not None:
            history.add(event)
        elif isinstance(event, RunStarted):
            self._count += 1
            history = self._by_run[event.run] = History(event, self._count, max_points=self.max_points)
            self._histories.append(history)

    def take(self, history: History) -> History:
        """Add a run that was elsewhere, unless it is here; see `Bus.take`, which tells everybody.

        It keeps its number if no other run here has that.
        """
        kept = self._by_run.setdefault(history.run, history)
        if kept is history:
            if history.number in [one.number for one in self._histories]:
                history.number = self._count + 1
            self._count = max(self._count, history.number)
            if history.max_points is None:  # it may go on
                history.max_points = self.max_points
            if history.run in self._forgotten:  # pages that have more of it, or other points, take this instead
                history.generation = max(history.generation, self._forgotten[history.run]) + 1
            insort(self._histories, history, key=lambda one: one.started)
        return kept

    def clear(self) -> None:
        """Forget all runs that have ended."""
        for history in self._histories:
            if history.status != "running":
                self._forgotten[history.run] = history.generation
        self._histories = [history for history in self._histories if history.status == "running"]
        self._by_run = {history.run: history for history in self._histories}
