"""`Run`: the one handle by which values get on the bus, used by loops of one's own and by every callback."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from math import inf
from time import perf_counter
from types import TracebackType
from typing import Any, TypeVar, get_args
from uuid import uuid4
from weakref import WeakValueDictionary

from . import cell, marimo
from .bus import Bus, chosen
from .errors import checked_count, checked_name, unknown_keywords
from .events import (
    BatchEnded,
    EpochEnded,
    EpochStarted,
    Evaluated,
    Marked,
    Purpose,
    RunEnded,
    RunResumed,
    RunStarted,
    SeriesDeclared,
    Status,
)
from .history import History
from .resuming import Resumption, resumption
from .scalars import rates, scalar
from .series import LEARNING_RATE, Granularity, Kind, Series, Split
from .watching import SAMPLED, counted

Batch = TypeVar("Batch")

_LONGEST_ERROR = 500

# The handles of runs by the identity of their history: a run that goes on has a new one, and the former has to end.
_handles: WeakValueDictionary[int, Run] = WeakValueDictionary()

_log = logging.getLogger("epochwidget")


class Run:
    """One training run, from its first batch to its end.

    ::

        with ew.Run("resnet18") as run:
            for epoch in run.epochs(3):
                for x, y in run.batches(loader):
                    ...
                    run.log(loss=loss, accuracy=accuracy, lr=optimizer)
                run.log_epoch(val_loss=val_loss)

    Without ``epochs`` and ``batches`` each `log` is a batch and each `log_epoch` ends an epoch. Without ``with``,
    call `end`; in a notebook the end of the cell does so too where `epochs` has come to its end or an error ended the
    cell.

    Parameters
    ----------
    name
        What to call it on the plot, by default ``"run 1"``, ``"run 2"``, ...
    epochs
        How many epochs there are going to be, if `epochs` is not to say so.
    bus
        Where the events go, by default the shared bus.
    purpose
        ``"training"``, or ``"lr search"`` for a run that raises the learning rate to see what the loss does: it is
        drawn over the learning rate.
    resume
        A run to go on with instead of beginning a new one: its history, for example ``ew.runs[-1]``. Its steps, epochs
        and clock go on where they ended; the time in between is not of the run. Is it still going on, it is stopped.
    epoch
        With `resume`: go on from the beginning of that epoch, counted from 0, and drop from the history what lies at
        or after it.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these, the name is empty, `epochs` is below 1, or what is to go on is not on the bus
        or has not come to `epoch`.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        epochs: int | None = None,
        bus: Bus | None = None,
        purpose: Purpose = "training",
        resume: Any = None,
        epoch: int | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise unknown_keywords("Run", unknown, ("name", "epochs", "bus", "purpose", "resume", "epoch"))
        if purpose not in get_args(Purpose):
            raise ValueError(f"Run(purpose=...) has to be 'training' or 'lr search', got {purpose!r}.")
        self.bus = chosen(bus, "Run")
        # A callback has checked what it was given when it was made.
        given = resume if isinstance(resume, Resumption) else resumption(resume, epoch, name, self.bus, "Run")
        former = None if given is None else given.once()
        if former is not None:
            name = former.history.name
        self.name = f"run {self.bus.runs.begun + 1}" if name is None else checked_name("The name of a run", name)
        self._planned = None if epochs is None else checked_count("The number of epochs", epochs)
        self._status: Status = "running"
        self._step = 0
        self._names: set[str] = set()
        self._declared: set[tuple[Granularity, str]] = set()
        self._epoch: int | None = None
        self._epoch_first = 0
        self._epoch_values: dict[str, float] = {}
        self._epoch_due = 0
        self._epoch_counted = False
        self._epoch_walked = False
        self._in_epochs = False
        self._epochs_done = False
        self._before_end: list[Callable[[], object]] = []
        # Whether the training was told that it is to end because somebody asked for that.
        self._is_told_to_stop = False
        self._batch: dict[str, Any] | None = None
        self._batch_size: float | None = None
        #: The first epoch of this handle's, and by how much it differs from how a framework counts it, once known.
        self._first_epoch = 0
        self._shift: int | None = 0
        self._origin = began = perf_counter()
        self.history: History = self._begin(purpose) if former is None else self._go_on(former)
        self._steps = count(self._step + 1)
        cell.watch(self)
        _handles[id(self.history)] = self
        self.history.cost.end(began)
        if _in_child_process():
            _log.warning(
                "[epochwidget] %r trains in a child process, from which nothing reaches the widget in the notebook; "
                "its history is in that process alone.",
                self.name,
            )

    def _begin(self, purpose: Purpose) -> History:
        self.id = uuid4().hex
        self.bus.emit(RunStarted(self.id, self.name, time.time(), self._planned, purpose))
        history = self.bus.runs.find(self.id)
        assert history is not None, "a bus keeps the history of every run"
        return history

    def _go_on(self, former: Resumption) -> History:
        history = former.history
        self.id = history.run
        handle = _handles.get(id(history))
        if handle is not None:  # of a training that was left by an exception which no hook told of
            handle.end("stopped")
        if former.epoch is None:
            self._step, at, self._first_epoch = history.step, history.last_time, history.due
        else:
            self._step, at = history.beginning(former.epoch)
            self._first_epoch = former.epoch
        self._epoch_due = self._first_epoch
        self._shift = None
        self._origin -= at
        history.stopping = history.stoppable = None  # that was the training before
        self.bus.emit(RunResumed(self.id, self._step, at, time.time(), former.epoch, self._planned))
        self._planned = history.epochs
        return history

    def __repr__(self) -> str:
        return f"<Run {self.name!r}: {self.status}, {self._step} steps>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of what holds a run, as of a callback, has none: two handles would write into one history.
        return type(None), ()

    @property
    def status(self) -> Status:
        """``"running"``, ``"completed"``, ``"stopped"`` or ``"failed"``."""
        return self._status

    @property
    def step(self) -> int:
        """How many batches have ended."""
        return self._step

    def stop(self, after: Granularity = "batch") -> None:
        """Ask the training to end after the present batch, or after the present epoch; see `History.stop`."""
        self.history.stop(after)

    @property
    def stopping(self) -> bool:
        """Whether the loop is to end here, because somebody clicked Stop or called `stop`.

        `epochs` and `batches` end by themselves then. A loop without them asks after each batch, or each epoch::

            run.log(loss=loss)
            if run.stopping:
                break

        Where the run was to end with an epoch this is true once `log_epoch` has ended that.
        """
        self.is_stoppable("batch")
        return self.stops_after("batch" if self._epoch is not None else "epoch")

    @property
    def epochs_done(self) -> bool:
        """Whether `epochs` has gone through all of them."""
        return self._epochs_done

    @property
    def last_active(self) -> float:
        """When anything last happened, on the clock of ``time.perf_counter``."""
        return self._origin + self.history.last_time

    def __del__(self) -> None:
        # A handle that nobody holds any more, as after its cell was run again, can get no further batch.
        if getattr(self, "_status", "completed") == "running" and hasattr(self, "history"):
            self.end("stopped")

    # For a loop of one's own -----------------------------------------------------------------------------------

    def epochs(self, epochs: int | range | None = None) -> Iterator[int]:
        """Go through the epochs: ``for epoch in run.epochs(3)``.

        Parameters
        ----------
        epochs
            How many, or a ``range`` where they do not begin at 0, by default what was given to `Run`. In a run that
            goes on (``Run(resume=history)``) it is how many there are to be in all: those that were are left out.

        Returns
        -------
        iterator of int
            The epochs, counted from 0. At the end of each, the mean of every value that was logged per batch is
            added to what `log_epoch` was told, unless it was told that name itself: the mean over the samples if
            `log` was given ``batch_size``, else over the batches.
        """
        if epochs is None:
            epochs = self._planned
        if epochs is None:
            raise TypeError("run.epochs() has to be told how many epochs there are, for example run.epochs(3).")
        first = self._first_epoch
        plan = epochs if isinstance(epochs, range) else range(first, checked_count("The number of epochs", epochs))
        if not plan and not isinstance(epochs, range):
            raise ValueError(
                f"run.epochs({epochs}): the run {self.name!r} has had {first} epochs and none is left; say how many "
                f"there are to be in all, for example run.epochs({first + 1})."
            )
        if not plan or plan.step != 1 or plan.start < 0:
            raise ValueError(f"A range of epochs counts up from 0 or more by one, got {epochs!r}.")
        self._check_running("epochs")
        self.is_stoppable("epoch")
        self._planned = plan[-1] + 1
        self._epochs_done = False
        return self._go_through(plan)

    def _go_through(self, plan: range) -> Iterator[int]:
        for epoch in plan:
            self._close_epoch()
            self._epoch_due = epoch
            self._in_epochs = True
            yield epoch
            # Not reached after a break or an exception, which look alike from here: then `end`, or the next epoch,
            # decides whether this one counts.
            self._begin_due_epoch()
            self._close_epoch()
            if epoch != plan[-1] and self.stops_after("epoch"):
                break
        self._in_epochs = False
        self._epochs_done = True

    def batches(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Go through the training batches of an epoch: ``for x, y in run.batches(loader)``.

        Whatever is logged between one batch and the next belongs to that batch, in one `log` or in several. If
        `batches` knows its length, the page knows the progress.
        """
        self._check_running("batches")
        self.is_stoppable("batch")
        if not hasattr(batches, "__iter__") and not hasattr(batches, "__getitem__"):
            raise TypeError(f"run.batches() needs the batches themselves, as a DataLoader or a list, got {batches!r}.")
        try:
            length: int | None = len(batches)  # type: ignore[arg-type]
        except TypeError:
            length = None
        return self._walk(batches, length)

    def _walk(self, batches: Iterable[Batch], length: int | None) -> Iterator[Batch]:
        self._leave_batch()
        if self.history.stopping is not None:  # asked for while an epoch was going on, or a walk before this one
            is_between = not self._in_epochs and self._step > 0 and (self._epoch is None or self._epoch_walked)
            if self.stops_after("epoch" if is_between else "batch"):
                return
        if self._epoch_walked:  # without `epochs` each walk is an epoch
            self._close_epoch()
        if self._epoch is None:
            self._begin_due_epoch(length)
        elif length is not None:
            self._begin_epoch(self._epoch, self._step - self._epoch_first + length)
        values: dict[str, Any] | None = None
        try:
            for batch in batches:
                self._batch = values = {}
                yield batch
                if self._batch is values:
                    self._close_batch()
                if self.history.stopping is not None and self.stops_after("batch"):
                    break
            if not self._in_epochs:
                self._epoch_counted = self._epoch_walked = True
        finally:
            # After a break or an exception what had been logged stays. An iterator that somebody holds comes here
            # late, when the batch may be another's.
            if self._batch is values:
                self._leave_batch()

    def log(self, /, *, batch_size: float | None = None, **values: Any) -> None:
        """Log values of one batch: ``run.log(loss=loss, accuracy=accuracy, lr=optimizer)``.

        Parameters
        ----------
        batch_size
            How many samples the batch has, as the weight of its values in the epoch's mean.
        **values
            Numbers, or arrays or tensors with one element. Tensors on an accelerator are not waited for. For a
            PyTorch optimizer the learning rate of each of its parameter groups is taken: log it before
            ``scheduler.step()``, which already sets the next batch's.

        Raises
        ------
        TypeError, ValueError
            If a value is not one number, or a name is empty.
        RuntimeError
            If the run has ended.
        """
        step = self._step
        began = self.history.cost.begin() if step < SAMPLED or not step % SAMPLED else None
        for name, value in values.items():
            if type(value) is not float or name not in self._names:
                values = self._checked(values)
                break
        if self._status != "running":
            self._check_running("log")
        if batch_size is not None:
            batch_size = float(scalar("batch_size", batch_size))
            if not 0 < batch_size < inf:
                raise ValueError(f"log(batch_size={batch_size:g}): a batch has one sample or more.")
        if self._batch is not None:
            self._batch.update(values)
            if batch_size is not None:
                self._batch_size = batch_size
        else:
            if self._epoch is None:
                self._begin_due_epoch()
            self.batch_ended(values, size=batch_size)
        if began is not None:
            self.history.cost.end(began, 1 if step < SAMPLED else SAMPLED)

    @counted
    def log_epoch(self, /, **values: Any) -> None:
        """Log values of the epoch: ``run.log_epoch(val_loss=val_loss)``; ``val_`` marks validation.

        Inside `epochs` they wait for the end of the epoch; elsewhere they end it.
        """
        self._check_running("log_epoch")
        checked = self._checked(values)
        self._begin_due_epoch()
        self._epoch_values.update({name: float(value) for name, value in checked.items()})
        self._epoch_counted = True
        if not self._in_epochs:
            self._close_epoch()

    @counted
    def mark(self, text: str, *, step: int | None = None) -> None:
        """Draw a line with this text: ``run.mark("unfroze the encoder")``.

        Parameters
        ----------
        text
            A few words.
        step
            Where: how many batches had ended, by default the present batch.

        Raises
        ------
        TypeError, ValueError
            If `text` is no text or empty, or `step` is no whole number or below 0.
        """
        self._check_running("mark")
        at = self._step if step is None else checked_count("The step of a mark", step, least=0)
        reached = self._epoch_due if self._epoch is None else self._epoch
        epoch = reached if self._step == 0 else None
        self.bus.emit(Marked(self.id, at, self._now(), checked_name("The text of a mark", text), epoch))

    @counted
    def end(self, status: Status = "completed", error: BaseException | str | None = None) -> None:
        """End the run; does nothing if it has ended.

        Parameters
        ----------
        status
            ``"completed"``, ``"stopped"`` or ``"failed"``.
        error
            What ended it. Only its last line is kept.
        """
        if status not in ("completed", "stopped", "failed"):
            raise ValueError(f"A run ends as 'completed', 'stopped' or 'failed', got {status!r}.")
        if self._status != "running":
            return
        while self._before_end:
            try:
                self._before_end.pop()()
            except Exception:
                _log.exception("[epochwidget] the last batches of the run %r could not be read.", self.name)
        self._leave_batch()
        if status == "completed" or self._epoch_values:
            self._close_epoch()
        if status == "completed" and self._is_told_to_stop:
            status = "stopped"
        self._status = status
        text = None if error is None else _one_line(error)
        self.bus.emit(RunEnded(self.id, self._step, self._now(), status, text))

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.end()
        else:
            self.end_by(error)

    # For callbacks ---------------------------------------------------------------------------------------------

    def lives_within_call(self, before_end: Callable[[], object]) -> None:
        """Say that the run lives within one call, as that of ``model.fit``.

        Then it has ended once the notebook cell has, whatever ended it.

        Parameters
        ----------
        before_end
            Called when the run is about to end, by a hook, an error or an interrupt: the last chance to hand over
            what was held back.
        """
        self._before_end.append(before_end)
        cell.watch(self, within_call=True)

    def is_stoppable(self, after: Granularity) -> None:
        """Say that the training looks at `stops_after`, after each batch or only after each epoch."""
        if self.history.stoppable != "batch":
            self.history.stoppable = after

    def stops_after(self, ended: Granularity) -> bool:
        """Tell whether the training is to end now that a batch, or an epoch, has ended; then it has to.

        A run that completes after this was true is one that was stopped.
        """
        asked = self.history.stopping
        if asked is None or (asked == "epoch" and ended == "batch"):
            return False
        self._is_told_to_stop = True
        return True

    def declare(
        self,
        name: str,
        *,
        metric: str,
        kind: Kind,
        granularity: Granularity = "batch",
        split: Split = "train",
    ) -> None:
        """Say what a name stands for, where ``val_`` and ``lr`` do not tell; before its first value.

        Said again, it changes nothing.
        """
        if (granularity, name) in self._declared:
            return
        self._declared.add((granularity, name))
        self.bus.emit(SeriesDeclared(self.id, Series(name, granularity, kind, metric, split)))

    def begin_epoch(self, epoch: int, *, batches: int | None = None, epochs: int | None = None) -> None:
        """Begin an epoch, or tell more of the one that has begun.

        Parameters
        ----------
        epoch
            Counted from 0. In a run that goes on, a framework that counts from 0 again is counted on from where the
            run was, see `numbered`; one that says where it goes on is believed.
        batches
            How many batches it is going to have, if known.
        epochs
            Where the epochs are going to end, if known: a run of epochs 5 and 6 ends at 7.
        """
        # Frameworks count in NumPy's integers, too, which are no JSON.
        epoch, batches = int(epoch), None if batches is None else int(batches)
        if self._shift is None:
            self._shift = self._first_epoch if epoch == 0 else 0
        planned = None if epochs is None else self.numbered(int(epochs))
        self._begin_epoch(self.numbered(epoch), batches, planned)

    def numbered(self, epoch: int) -> int:
        """Return the number, counted from 0, that the run gives to what a framework calls so."""
        return epoch + (self._shift or 0)

    @counted
    def _begin_epoch(self, epoch: int, batches: int | None = None, epochs: int | None = None) -> None:
        if epochs is not None:
            self._planned = epochs
        if self._epoch != epoch:
            self._epoch, self._epoch_first = epoch, self._step
            self._epoch_counted = self._epoch_walked = False
        self.bus.emit(EpochStarted(self.id, epoch, self._step, self._now(), batches, self._planned))

    def batch_ended(self, values: Mapping[str, Any], *, size: float | None = None, at: float | None = None) -> None:
        """End a batch with these values.

        Parameters
        ----------
        values
            By name: floats, or whatever `epochwidget.scalars.scalar` returned.
        size
            How many samples it had.
        at
            When it ended, on the clock of ``time.perf_counter``, by default now.
        """
        if at is None:
            at = perf_counter()
        self._step = step = next(self._steps)
        first = self._epoch_first
        self.bus.emit(BatchEnded(self.id, self._epoch or 0, step - first - 1, step, at - self._origin, values, size))

    @counted
    def evaluated(self, values: Mapping[str, float], *, at: float | None = None) -> None:
        """Add an evaluation in the midst of an epoch, at the present step; what `end_epoch` gets is not for here.

        Parameters
        ----------
        values
            By name.
        at
            When it had been made, on the clock of ``time.perf_counter``, by default now.
        """
        self.bus.emit(Evaluated(self.id, self._epoch or 0, self._step, self._now(at), dict(values)))

    @counted
    def end_epoch(self, values: Mapping[str, float], *, at: float | None = None) -> None:
        """End the epoch with these values; `at` says when that was, see `evaluated`."""
        if self._epoch is None:
            return
        self.bus.emit(EpochEnded(self.id, self._epoch, self._step, self._now(at), dict(values)))
        self._epoch_due, self._epoch = self._epoch + 1, None

    def end_by(self, error: BaseException) -> None:
        """End the run by the exception that ended the training: an interrupt stops it, anything else fails it."""
        stopped = isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit))
        self.end("stopped" if stopped else "failed", error)

    # -----------------------------------------------------------------------------------------------------------

    def _now(self, at: float | None = None) -> float:
        """Return the time in the run, now or at a moment on the clock of ``time.perf_counter``."""
        return (perf_counter() if at is None else at) - self._origin

    def _begin_due_epoch(self, batches: int | None = None) -> None:
        if self._epoch is None and self._status == "running":
            self._begin_epoch(self._epoch_due, batches)
            self._epoch_counted = self._in_epochs

    @counted
    def _close_epoch(self) -> None:
        self._leave_batch()
        if self._epoch is None or not self._epoch_counted or self._status != "running":
            return
        self.history.fold()
        means = {}
        for points in list(self.history.points):
            series = points.series
            if series.granularity == "batch" and series.kind == "batch" and series.metric != LEARNING_RATE:
                mean = self.history.epoch_mean(series.name)
                if mean is not None:
                    means[series.name] = mean
        values, self._epoch_values = {**means, **self._epoch_values}, {}
        self.end_epoch(values)

    def _close_batch(self) -> None:
        step = self._step
        began = self.history.cost.begin() if step < SAMPLED or not step % SAMPLED else None
        values, self._batch = self._batch, None
        size, self._batch_size = self._batch_size, None
        if self._status == "running":
            self._begin_due_epoch()
            self.batch_ended(values or {}, size=size)
        if began is not None:
            self.history.cost.end(began, 1 if step < SAMPLED else SAMPLED)

    def _leave_batch(self) -> None:
        """End the batch that its loop has left, if anything was logged in it."""
        if self._batch:
            self._close_batch()
        self._batch = None

    def _checked(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the values as floats, or as tensors that can wait."""
        checked = {}
        for name, value in values.items():
            if name not in self._names:
                checked_name("The name of a value", name)
            optimizer = rates(name, value) if hasattr(value, "__dict__") else None
            if optimizer is not None:
                checked.update(optimizer)
            else:
                checked[name] = value if type(value) is float else scalar(name, value)
        self._names.update(checked)
        return checked

    def _check_running(self, what: str) -> None:
        if self._status != "running":
            raise RuntimeError(
                f"run.{what}() came after the run {self.name!r} had ended ({self._status}); "
                f"begin a new one with ew.Run(...), or go on with ew.Run(resume=...)."
            )


def _in_child_process() -> bool:
    """Tell whether a framework or a pool has started this process, by fork or by spawn."""
    multiprocessing = sys.modules.get("multiprocessing")
    return multiprocessing is not None and multiprocessing.parent_process() is not None and not marimo.is_notebook()


def _last_line(error: BaseException) -> str:
    told = traceback.TracebackException(type(error), error, None)
    told.__notes__ = None  # hints, which would come last
    return list(told.format_exception_only())[-1]


def _one_line(error: BaseException | str) -> str:
    text = error if isinstance(error, str) else _last_line(error)
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_ERROR else f"{line[: _LONGEST_ERROR - 3]}..."
