"""PyTorch Ignite: ``EpochCallback().attach(trainer, evaluator, optimizer=optimizer)``.

Ignite calls the handlers of an event in the order in which they were attached. Before each run, and before each epoch,
those of the callback take the last place, so that it does not matter what was attached first: metrics have been
computed, evaluators have been run and schedulers have set the learning rate when it looks.

How a run ends is never changed, either. A handler of ``EXCEPTION_RAISED`` that does not raise swallows the exception,
and whether it has to depends on the other handlers, so there is none. A run that an exception or an interrupt has ended
is closed with its notebook cell, or when the trainer runs again.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from time import perf_counter
from typing import Any, NamedTuple

import ignite
import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint
from ignite.handlers.lr_finder import FastaiLRFinder
from ignite.metrics import Metric, MetricsLambda, RunningAverage

from ..bus import Bus, chosen
from ..errors import check_version, checked_name, harmless, harmless_for_batches, unknown_keywords
from ..history import History
from ..resuming import resumption
from ..run import Run
from ..scalars import rates, scalar
from ..series import LEARNING_RATE, Granularity, Kind, Series, Split

check_version("pytorch-ignite", ignite.__version__, "0.5", "0.6")

_TRAIN = "train"
# How many numbers a metric may have to be drawn number by number, as the precision of each class.
_WIDEST = 20
# What names of moving averages begin with in Ignite's documentation.
_AVERAGED = ("running_avg_", "running_", "avg_")
# The event that tells of a checkpoint, which Ignite has from 0.5.3 on.
_SAVED = getattr(Checkpoint, "SAVED_CHECKPOINT", None)

_log = logging.getLogger("epochwidget")


class EpochCallback:
    """Puts every batch and epoch of an Ignite trainer on the bus, once it is attached. Each ``run`` is a run.

    The values of a batch have these names in the history:

    - ``loss``: the trainer's output, where that is a number; of a dict each number under its key. They are taken to be
      of that batch alone (kind ``batch``), which they are unless the training step says otherwise;
    - ``lr``, ``lr_1``, ...: the learning rates of the optimizer's parameter groups that the batch was trained with;
    - metrics that are attached to the trainer batch by batch, under their names: ``RunningAverage`` is of kind
      ``smoothed``. One that has the name of an output is called after its kind: ``smoothed_loss``.

    Those of an epoch:

    - the metrics of the trainer under their own names;
    - those of the evaluators behind their prefix: ``val_loss``, ``val_accuracy``. An evaluation of the trainer's own
      loader is called ``train_loss``, whatever its prefix is. One in the midst of an epoch stands at its batch;
    - ``loss`` and the other outputs, if no metric has that name: the mean of the batches that the run trained in the
      epoch. Each counts by its number of samples if in every batch all tensors have the same first dimension;
      otherwise all batches count the same.

    What handlers wrote into ``state.metrics`` is of kind ``reported``. Metrics of more than one dimension, or of more
    than 20 numbers, are left out.

    What ``Checkpoint`` or ``ModelCheckpoint`` saved is marked, from Ignite 0.5.3 on, if it is attached to the trainer
    or to an evaluator that `attach` was given.

    In a distributed training the process of rank 0 alone reports.

    Parameters
    ----------
    name
        What to call the run, by default ``"run 1"``, ``"run 2"``, ...
    bus
        Where the events go, by default the shared bus.
    resume
        The history of a run in which the first ``run`` goes on, as ``ew.runs[-1]``; by default each is a run of its
        own. See `epochwidget.Run`. Epochs that are counted from 0 again are counted on from there.
    epoch
        With `resume`: the epoch, counted from 0, from whose beginning on it goes; what came after that is dropped.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these, the name is empty, or what is to go on is not there.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        bus: Bus | None = None,
        resume: Any = None,
        epoch: int | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise unknown_keywords("EpochCallback", unknown, ("name", "bus", "resume", "epoch"))
        self._name = None if name is None else checked_name("The name of a run", name)
        self._bus = chosen(bus, "EpochCallback")
        self._resumption = resumption(resume, epoch, self._name, self._bus, "EpochCallback")
        self._hooks: list[_Hook] = []
        self._trainer: Engine | None = None
        self._optimizers: dict[str, Any] = {}
        self._transform: Callable[[Any], Any] | None = None
        self._warned = False
        self._run: Run | None = None
        self._forget()

    def _forget(self) -> None:
        """Be as before the first run."""
        self._rates: dict[str, Any] = {}
        self._iteration: int | None = None  # the one that goes on
        self._epoch_open = self._epoch_over = False
        self._first = 0  # how many batches the run had when it went on
        self._means: list[str] = []
        self._uses: dict[str, _Use] = {}
        self._former: dict[str, Any] = {}
        #: Values that wait for the step they belong to, and what those of evaluators are.
        self._due: dict[str, float] = {}
        #: When the epoch had come to its end, which its evaluations may make known only later.
        self._ended: float | None = None
        self._series: dict[str, Series] = {}
        self._saved_at: int | None = None  # the step of the last checkpoint
        self._is_saved_before = False  # whether there is one of the run that is about to begin

    @property
    def history(self) -> History:
        """The history of the latest ``run`` of the trainer."""
        if self._run is None:
            raise AttributeError("there is no history yet: attach this callback to a trainer and run that first.")
        return self._run.history

    def attach(
        self,
        trainer: Engine,
        evaluator: Engine | Mapping[str, Engine] | None = None,
        *,
        optimizer: Any = None,
        output_transform: Callable[[Any], Any] | None = None,
    ) -> EpochCallback:
        """Follow a trainer from its next ``run`` on.

        A callback follows one trainer at a time, and takes the place of another one that follows this trainer on the
        same bus: a notebook cell can be run again.

        Parameters
        ----------
        trainer
            The engine that trains.
        evaluator
            The engine that evaluates: its metrics are called ``val_...``. Several by their prefixes:
            ``{"val": evaluator, "test": tester}``; ``train`` is for one that evaluates the training data.
        optimizer
            Whose learning rates to read, or several by their names: ``{"generator": ..., "critic": ...}`` gives
            ``lr_generator`` and ``lr_critic``.
        output_transform
            Makes a number, or a dict of numbers, of the trainer's output, as for Ignite's own loggers.

        Returns
        -------
        EpochCallback
            This one.

        Raises
        ------
        TypeError, ValueError
            If an argument is none of these.
        """
        evaluators = _checked_evaluators(trainer, evaluator)
        optimizers = _checked_optimizers(optimizer)
        if output_transform is not None and not callable(output_transform):
            raise TypeError(f"attach(output_transform=...) needs a function of the output, got {output_transform!r}.")
        self.detach()
        for handler, _, _ in list(trainer._event_handlers.get(Events.STARTED, ())):
            other = getattr(handler, "__self__", None)
            if isinstance(other, EpochCallback) and other._bus is self._bus:
                other.detach()
        self._trainer, self._optimizers, self._transform = trainer, optimizers, output_transform
        self._warned = False
        if idist.get_rank() > 0:
            return self
        self._hooks = [
            _Hook(trainer, Events.STARTED, self._started),
            _Hook(trainer, Events.EPOCH_STARTED, self._epoch_started),
            _Hook(trainer, Events.ITERATION_STARTED, self._iteration_started),
            _Hook(trainer, Events.ITERATION_COMPLETED, self._iteration_completed),
            _Hook(trainer, Events.EPOCH_COMPLETED, self._epoch_completed),
            _Hook(trainer, Events.INTERRUPT, self._interrupted),
            _Hook(trainer, Events.TERMINATE, self._terminated),
            _Hook(trainer, Events.COMPLETED, self._completed),
            *(_Hook(engine, Events.EPOCH_COMPLETED, self._evaluated, prefix) for prefix, engine in evaluators.items()),
        ]
        if _SAVED is not None:
            for engine in (trainer, *evaluators.values()):
                if not engine.has_registered_events(_SAVED):  # as `Checkpoint` does when it is called first
                    engine.register_events(_SAVED)
                self._hooks.append(_Hook(engine, _SAVED, self._saved))
        for hook in self._hooks:
            hook.add()
        return self

    def detach(self) -> None:
        """Follow the trainer no more; does nothing if there is none."""
        if self._run is not None:
            self._run.end("stopped")
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._trainer = [], None

    # What the trainer tells -------------------------------------------------------------------------------------

    @harmless
    def _started(self, trainer: Engine) -> None:
        self._come_last(Events.STARTED)
        is_saved = self._is_saved_before
        self._begin(trainer)
        if is_saved:
            self._saved(trainer)

    @harmless
    def _epoch_started(self, trainer: Engine) -> None:
        self._come_last(Events.EPOCH_STARTED)
        self._resume(trainer)
        self._close_epoch(over=True)  # also one that was cut short, whose end no event tells
        self._begin_epoch(trainer, done=trainer.state.iteration)
        self._hand_over_evaluations()

    @harmless_for_batches
    def _iteration_started(self, trainer: Engine) -> None:
        self._resume(trainer)
        if not self._epoch_open:  # an interrupted run goes on in the midst of its epoch
            self._begin_epoch(trainer, done=trainer.state.iteration - 1)
        self._iteration = trainer.state.iteration
        self._rates = {}
        for name, optimizer in self._optimizers.items():
            self._rates.update(rates(name, optimizer) or {})

    @harmless_for_batches
    def _iteration_completed(self, trainer: Engine) -> None:
        if self._iteration is None:
            return  # attached in the midst of it
        values = self._outputs(trainer)
        for name, use in self._uses.items():
            value = trainer.state.metrics.get(name)
            if use.granularity != "batch" or (not use.always and self._is_former(name, value)):
                continue
            for part, number in _numbers(name, value):
                label = part if part not in values else f"{use.kind}_{part}"
                self._declare(Series(label, "batch", use.kind, _metric(part, use.kind), "train"))
                values[label] = number
        self._end_batch(trainer, values)
        self._hand_over_evaluations()
        self._stop_after("batch", trainer)

    @harmless
    def _epoch_completed(self, trainer: Engine) -> None:
        self._resume(trainer)
        if not self._epoch_open:
            self._begin_epoch(trainer, done=trainer.state.iteration)
        self._end_untold(trainer)
        self._uses = _uses(trainer)  # some may have been attached since
        for name, value in trainer.state.metrics.items():
            use = self._uses.get(name)
            if use is not None and use.granularity == "batch":
                continue
            if (use is None or not use.always) and self._is_former(name, value):
                continue
            for part, number in _numbers(name, value):
                if use is not None:
                    series = Series(part, "epoch", use.kind, _metric(part, use.kind), "train")
                else:
                    told = Series.of(part, "epoch")
                    series = Series(part, "epoch", "reported", _metric(told.metric, "reported"), told.split)
                self._declare(series)
                self._due.setdefault(part, number)
        self._epoch_over = True
        self._ended = perf_counter()
        if trainer.state.epoch != trainer.state.max_epochs:
            self._stop_after("epoch", trainer)

    def _stop_after(self, ended: Granularity, trainer: Engine) -> None:
        """End the training if that was asked for, in Ignite's own way."""
        if self._run is not None and self._run.history.stopping is not None and self._run.stops_after(ended):
            trainer.terminate()

    @harmless
    def _interrupted(self, trainer: Engine) -> None:
        if self._run is not None:
            self._run.end("stopped")

    @harmless
    def _terminated(self, trainer: Engine) -> None:
        if self._run is None or self._run.status != "running":
            return
        iterations = getattr(trainer.state, "max_iters", None)
        if self._run.history.stopping is None and (iterations is None or trainer.state.iteration < iterations):
            self._run.mark("terminated")
        if trainer.should_terminate == "skip_completed":
            self._run.end()

    @harmless
    def _completed(self, trainer: Engine) -> None:
        if self._run is not None:
            self._run.end()

    @harmless
    def _saved(self, engine: Engine) -> None:
        assert self._trainer is not None, "the hooks go when the trainer does"
        if self._run is None or self._run.status != "running":
            # What saves before the first batch may have been attached before this callback, too.
            starting = self._trainer.last_event_name in (Events.STARTED, _SAVED)
            self._is_saved_before = starting and self._trainer.state.iteration == 0
            return
        # What saves when a batch has ended is called before us, who have yet to end it.
        step = self._run.step + self._is_untold(self._trainer)
        if step != self._saved_at:  # two may save at once, the last state and the best
            self._saved_at = step
            self._run.mark("checkpoint", step=step)

    # What an evaluator tells ------------------------------------------------------------------------------------

    @harmless
    def _evaluated(self, evaluator: Engine, prefix: str) -> None:
        assert self._trainer is not None, "the hooks go when the trainer does"
        running = self._run is not None and self._run.status == "running"
        # What evaluates before the first batch may have been attached before this callback.
        if not running and self._trainer.last_event_name != Events.STARTED:
            return
        if evaluator.state.dataloader is not None and evaluator.state.dataloader is self._trainer.state.dataloader:
            prefix = _TRAIN
        split: Split = "train" if prefix == _TRAIN else "validation"
        uses = _uses(evaluator)
        for name, value in evaluator.state.metrics.items():
            use = uses.get(name)
            if use is not None and use.granularity == "batch":
                continue  # of the last batch alone
            for part, number in _numbers(name, value):
                metric = part.removeprefix(f"{prefix}_")
                label = f"{prefix}_{metric}"
                self._series[label] = Series(label, "epoch", use.kind if use is not None else "reported", metric, split)
                # The first evaluation at a step is the one that goes with it: later ones may be of a restored model.
                self._due.setdefault(label, number)

    # ------------------------------------------------------------------------------------------------------------

    def _come_last(self, event: Events) -> None:
        """Have the hooks of all other events than this one called after all other handlers."""
        for hook in self._hooks:
            if hook.event != event and hook.remove():
                hook.add()

    def _begin(self, trainer: Engine) -> None:
        if self._run is not None:
            self._run.end("stopped")  # does nothing if it has ended; an exception tells nobody
        due, series = self._due, self._series
        self._forget()
        if trainer.last_event_name == Events.STARTED:
            self._due, self._series = due, series
        self._former = dict(trainer.state.metrics)
        searches = any(
            isinstance(getattr(handler, "__self__", None), FastaiLRFinder)
            for handler, _, _ in trainer._event_handlers.get(Events.STARTED, ())
        )
        former = None if searches else self._resumption
        self._run = Run(self._name, bus=self._bus, purpose="lr search" if searches else "training", resume=former)
        self._first = self._run.step
        self._run.lives_within_call(self._finish)
        self._run.is_stoppable("batch")

    def _resume(self, trainer: Engine) -> None:
        """Begin a run where none is going on: an interrupted one goes on without its ``STARTED``."""
        if self._run is None or self._run.status != "running":
            self._begin(trainer)

    def _begin_epoch(self, trainer: Engine, done: int) -> None:
        state = trainer.state
        length, iterations = state.epoch_length, getattr(state, "max_iters", None)
        epochs = state.max_epochs
        if epochs is None and iterations is not None and length is not None:
            epochs = math.ceil(iterations / length)
        batches = length
        if length is not None and done % length and self._the_run.step == self._first:
            batches = None  # a training that is resumed within an epoch, or begins the next after one that was cut
        elif length is not None and iterations is not None:
            batches = min(length, iterations - done)
        self._the_run.begin_epoch(state.epoch - 1, batches=batches, epochs=epochs)
        self._epoch_open, self._epoch_over, self._ended = True, False, None
        self._means = []
        self._uses = _uses(trainer)

    def _is_former(self, name: str, value: Any) -> bool:
        """Tell whether a metric is still the one of before: nothing clears it until it is computed again."""
        former = self._former.get(name, self)
        self._former[name] = value
        return value is former

    def _outputs(self, trainer: Engine) -> dict[str, Any]:
        """Return the numbers of the trainer's output, as floats or tensors that can wait."""
        output = trainer.state.output
        if self._transform is not None:
            try:
                output = self._transform(output)
            except Exception:
                self._warn("output_transform failed, so the batch has no values; the training goes on.", traceback=True)
                return {}
        named = output if isinstance(output, Mapping) else {"loss": output}
        values = {str(name): scalar(str(name), value) for name, value in named.items() if _is_number(value)}
        if not values:
            self._warn(
                "the trainer's output has no number in it (%s): attach(..., output_transform=...) makes one of it, "
                "or a dict of several, as in output_transform=lambda output: {'loss': output[-1]}.",
                type(output).__name__,
            )
        for name in values:
            if name not in self._means:
                self._means.append(name)
                self._declare(Series(name, "batch", "batch", _metric(name, "batch"), "train"))
        return values

    def _warn(self, text: str, *args: Any, traceback: bool = False) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(f"[epochwidget] {text}", *args, exc_info=traceback)

    def _end_batch(self, trainer: Engine, values: dict[str, Any]) -> None:
        self._iteration = None
        self._the_run.batch_ended({**values, **self._rates}, size=_size(trainer.state.batch))

    def _end_untold(self, trainer: Engine) -> None:
        """End the batch of which another handler has kept us: one that failed, as it may for NaN, was called first."""
        if self._is_untold(trainer):
            self._end_batch(trainer, self._outputs(trainer))

    def _is_untold(self, trainer: Engine) -> bool:
        """Tell whether a batch has been trained that has not been ended here."""
        state = trainer.state
        return self._iteration is not None and self._iteration == state.iteration and state.output is not None

    def _hand_over_evaluations(self) -> None:
        """Put the evaluations in the midst of an epoch, or before the first one, on the bus."""
        if self._due:
            for name in self._due:
                if name in self._series:
                    self._declare(self._series[name])
            self._the_run.evaluated(self._due)
            self._due = {}

    def _close_epoch(self, *, over: bool) -> None:
        if not self._epoch_open:
            return
        if not over:
            self._hand_over_evaluations()
            return
        values = {}
        for name in self._means:
            mean = self._the_run.history.epoch_mean(name)
            if mean is not None and name not in self._due:
                self._declare(Series(name, "epoch", "epoch", _metric(name, "epoch"), "train"))
                values[name] = mean
        for name in self._due:
            if name in self._series:
                self._declare(self._series[name])
        self._the_run.end_epoch({**values, **self._due}, at=self._ended)
        self._epoch_open, self._due = False, {}

    def _finish(self) -> None:
        """Hand over what an end that no event told has left."""
        assert self._trainer is not None, "the trainer goes after the run"
        self._end_untold(self._trainer)
        in_validation = self._trainer.last_event_name == Events.EPOCH_COMPLETED
        self._close_epoch(over=self._epoch_over or in_validation)

    def _declare(self, series: Series) -> None:
        if Series.of(series.name, series.granularity).metric != LEARNING_RATE:
            self._the_run.declare(
                series.name,
                metric=series.metric,
                kind=series.kind,
                granularity=series.granularity,
                split=series.split,
            )

    @property
    def _the_run(self) -> Run:
        assert self._run is not None, "every hook that comes here has begun one"
        return self._run


class _Hook(NamedTuple):
    """A handler of ours."""

    engine: Engine
    event: Any
    handler: Callable[..., None]
    prefix: str | None = None

    def add(self) -> None:
        self.engine.add_event_handler(self.event, self.handler, *([] if self.prefix is None else [self.prefix]))

    def remove(self) -> bool:
        """Remove it, and tell whether it was there: Ignite's profilers put others in the place of all handlers."""
        there: bool = self.engine.has_event_handler(self.handler, self.event)
        if there:
            self.engine.remove_event_handler(self.handler, self.event)
        return there


class _Use(NamedTuple):
    """How a metric is attached: how often it has a value, of which kind, and whether every time."""

    granularity: Granularity
    kind: Kind
    always: bool


def _uses(engine: Engine) -> dict[str, _Use]:
    """Return the use of each metric that is attached to an engine, by name."""
    started: dict[int, Any] = {}
    completed: list[tuple[str, Metric, Any, bool]] = []
    for event, handlers in engine._event_handlers.items():
        for handler, args, _ in handlers:
            own = inspect.unwrap(handler)  # a filtered event wraps its handler
            metric, method = getattr(own, "__self__", None), getattr(own, "__name__", None)
            if not isinstance(metric, Metric):
                continue
            if method == "started":
                started[id(metric)] = event
            elif method == "completed" and args:
                completed.append((args[-1], metric, event, own is handler))
    uses = {}
    for name, metric, event, always in completed:
        if event not in (Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED):
            continue
        granularity: Granularity = "batch" if event == Events.ITERATION_COMPLETED else "epoch"
        uses[name] = use = _Use(granularity, _kind(metric, granularity, started), always)
        # A metric with several results has each of them among the metrics, too.
        several = engine.state.metrics.get(name)
        if isinstance(several, Mapping):
            uses.update({str(part): use for part in several if part not in uses})
    return uses


def _kind(metric: Metric, granularity: Granularity, started: Mapping[int, Any]) -> Kind:
    """Return what each value of a metric is: that depends on when it begins anew."""
    if isinstance(metric, RunningAverage):
        return "smoothed"
    if isinstance(metric, MetricsLambda):
        parts = [part for part in (*metric.args, *metric.kwargs.values()) if isinstance(part, Metric)]
        kinds = {_kind(part, granularity, started) for part in parts}
        return kinds.pop() if len(kinds) == 1 else "reported"
    since = started.get(id(metric))
    if since is not None and since == Events.ITERATION_STARTED and granularity == "batch":
        return "batch"
    if since is not None and since == Events.EPOCH_STARTED:
        return "running" if granularity == "batch" else "epoch"
    return "reported"


def _metric(name: str, kind: Kind) -> str:
    """Return what a value of the trainer measures."""
    plain = name.removeprefix(f"{_TRAIN}_")
    if kind == "smoothed":
        for prefix in _AVERAGED:
            if plain.startswith(prefix):
                plain = plain.removeprefix(prefix)
                break
    return plain or name


def _is_number(value: Any) -> bool:
    if type(value) is float:  # as a rule; this is asked for every batch
        return True
    if isinstance(value, torch.Tensor):
        return value.numel() == 1 and not value.is_complex() and not value.is_meta
    return isinstance(value, Real) and not isinstance(value, bool)


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """Go through the numbers of a metric, those of several under names of their own."""
    if _is_number(value):
        yield name, float(scalar(name, value))
    elif not isinstance(value, (str, bytes, Mapping)) and hasattr(value, "__len__"):
        shape = getattr(value, "shape", (len(value),))
        if len(shape) == 1 and shape[0] <= _WIDEST:
            for index, one in enumerate(value):
                if _is_number(one):
                    yield f"{name}_{index}", float(scalar(name, one))


def _size(batch: Any) -> int | None:
    """Return how many samples a batch has, or None where its tensors do not agree."""
    sizes = set(_first_dimensions(batch))
    return sizes.pop() or None if len(sizes) == 1 else None


def _first_dimensions(batch: Any) -> Iterator[int]:
    if isinstance(batch, torch.Tensor):
        if batch.ndim:
            yield len(batch)
    elif isinstance(batch, (list, tuple)):
        for part in batch:
            yield from _first_dimensions(part)
    elif isinstance(batch, Mapping):
        for part in batch.values():
            yield from _first_dimensions(part)


def _checked_evaluators(trainer: Any, given: Any) -> dict[str, Engine]:
    if not isinstance(trainer, Engine):
        raise TypeError(f"attach() needs the trainer, an ignite.engine.Engine, got {trainer!r}.")
    evaluators = dict(given) if isinstance(given, Mapping) else {} if given is None else {"val": given}
    for prefix, engine in evaluators.items():
        checked_name("The prefix of an evaluator", prefix)
        if not isinstance(engine, Engine):
            raise TypeError(f"attach(evaluator=...) needs an ignite.engine.Engine, or a dict of them, got {engine!r}.")
    engines = [trainer, *evaluators.values()]
    if len({id(engine) for engine in engines}) < len(engines):
        raise ValueError("attach() was given one engine twice: make an evaluator of its own for each set of data.")
    return evaluators


def _checked_optimizers(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    optimizers = {f"lr_{name}": one for name, one in given.items()} if isinstance(given, Mapping) else {"lr": given}
    for optimizer in optimizers.values():
        if rates("lr", optimizer) is None:
            raise TypeError(f"attach(optimizer=...) needs a PyTorch optimizer, or a dict of them, got {optimizer!r}.")
    return optimizers
