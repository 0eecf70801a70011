"""Keras 3: ``model.fit(..., callbacks=[EpochCallback()])``.

What Keras hands to ``on_train_batch_end`` is the mean since the epoch began, not the batch's value. The mean cannot
be taken apart again: its float32 sums lose the batch in a long epoch, and after one NaN they say nothing more. So the
batch's own values are taken where they arise. While a run is watched, ``model.train_function`` is one whose step

1. notes the learning rate, before the step changes it,
2. takes Keras's own training step, in which each metric counts the batch from zero, gives its result over that batch
   alone, and then adds what it has counted to its state: ``logs`` and ``History`` are bit for bit what they would have
   been, for ``0 + batch`` is exact,
3. hands these numbers and its logs out in one tensor, and nothing of it changes the training.

On TensorFlow Keras reads the logs after every batch: one tensor of all numbers costs no more than the logs do alone. On
PyTorch, and on TensorFlow where one execution has several steps, the tensors wait on the device and are read about
every 0.1 s. There Keras may leave the end of a batch to other threads while the next one is trained, unless a callback
has a hook for it. None of ours is needed where the step is watched, and so Keras is told (``async_safe``).

The model's weights, optimizer, metrics and compiled state are untouched, and the train function that was there comes
back when the run ends.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Container, Mapping
from functools import partial
from math import isnan
from time import perf_counter
from types import FrameType, FunctionType
from typing import Any
from weakref import ref

import keras
import numpy as np
from keras import ops

from ..bus import Bus, chosen
from ..errors import check_version, checked_name, harmless, harmless_for_batches, unknown_keywords
from ..history import History
from ..resuming import resumption
from ..run import Run
from ..series import LEARNING_RATE, Kind, Series

check_version("keras", keras.__version__, "3.8", "4")

# When what has ended is read: after so many seconds, or so many steps.
_READ_EVERY = 0.1
_ROOM = 512

# What is used here of a model and not promised by Keras.
_NEEDED = ("_loss_tracker", "_compile_loss", "_compile_metrics", "train_function", "make_train_function")

_NOTHING: Mapping[str, Any] = {}

# The attribute of a train function that holds the step that stands in for it.
_STEP = "_epochwidget_step"

_log = logging.getLogger("epochwidget")


class EpochCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Puts every batch and epoch of ``model.fit`` on the bus. Each ``fit`` is a run.

    The values of a batch have these names in the history:

    - ``loss``, ``accuracy``, ...: of that batch alone;
    - ``running_loss``, ...: the mean since the epoch began, which the console shows;
    - ``lr``: the learning rate that the batch was trained with, or ``learning_rate`` if a metric is called ``lr``.

    Those of an epoch are Keras's own: ``loss``, ``val_loss``, ... What other callbacks add to the logs of an epoch, as
    ``ReduceLROnPlateau`` does, is among them if those callbacks stand before this one.

    With ``steps_per_execution`` each of an execution's batches has its values, the running mean too, which Keras itself
    tells of the last alone.

    What ``EarlyStopping`` did is marked: where it stopped, and the end of the epoch whose weights it brought back; and
    so is what ``ModelCheckpoint`` saved, at the batch after which it did.

    Where Keras leaves no way to a batch's own value, only what is known is there, under its own kind:

    - the running means alone on the JAX backend, under a distribution strategy, and where PyTorch compiles the step;
    - the running means alone where the train function is not as Keras makes it: a class has a ``make_train_function``
      of its own, or somebody wrapped ``model.train_function``;
    - the running value alone of a metric that is not Keras's own, and of ``F1Score``, ``FBetaScore`` and ``R2Score``;
    - what the step returns, as of kind ``"reported"``, of a model with a ``train_step`` of its own;
    - the running means alone for a second callback of this class in the same ``fit``.

    In the first two and the last of these cases the learning rate is read about every 0.1 s. A step that leaves the
    model's optimizer alone has none.

    A metric of several numbers has each under a name of its own: ``f1_score_0``, ``f1_score_1``, ...

    Parameters
    ----------
    name
        What to call the run, by default the model's name.
    bus
        Where the events go, by default the shared bus.
    resume
        The history of a run in which the first ``fit`` goes on, as ``ew.runs[-1]``; by default each is a run of its
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
        super().__init__()
        self._name = None if name is None else checked_name("The name of a run", name)
        self._bus = chosen(bus, "EpochCallback")
        self._resumption = resumption(resume, epoch, self._name, self._bus, "EpochCallback")
        self._run: Run | None = None
        self._step: _WatchedStep | None = None
        self._ended: list[tuple[float, int, Mapping[str, Any]]] = []  # when, which batch, what Keras reported
        self._names: dict[str, str] = {}
        self._due = 0.0
        self._batches = 0
        self._rate: float | None = None
        self._rate_name = "lr"
        self._iterations: int | None = None
        self._stoppers: list[keras.callbacks.EarlyStopping] = []
        self._after_savers: _AfterSavers | None = None
        self._call: ref[Any] | None = None
        self._trained: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is for another training: it takes along what it was made of.
        return partial(type(self), self._name, bus=self._bus), ()

    @property
    def async_safe(self) -> bool:
        """Whether Keras may call the hooks of a batch's end in a thread of its own, what it asks before a training."""
        hooks = ("on_batch_end", "on_train_batch_end", "on_test_batch_end", "on_predict_batch_end")
        return all(getattr(type(self), hook) is getattr(EpochCallback, hook) for hook in hooks)

    @property
    def history(self) -> History:
        """The history of the latest ``fit``."""
        if self._run is None:
            raise AttributeError("there is no history yet: give this callback to model.fit(callbacks=[...]) first.")
        return self._run.history

    @harmless
    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._run is not None:  # does nothing if it has ended; after an interrupt no hook has told
            self._run.end("stopped")
        self._run = Run(self._name or _name_of(self.model), bus=self._bus, resume=self._resumption)
        self._run.lives_within_call(self._finish)
        self._ended, self._names, self._due = [], {}, 0.0
        self._rate_name = "lr"
        fit, is_of_keras = _callbacks_of_fit()
        others = [] if fit is None else fit.callbacks
        self._stoppers = [one for one in others if isinstance(one, keras.callbacks.EarlyStopping)]
        savers = [one for one in others if isinstance(one, keras.callbacks.ModelCheckpoint)]
        # It lives as long as the call of `fit`, of whose end by an exception no hook tells.
        self._call = None if fit is None else ref(fit, self._over)
        if savers:
            self._after_savers = _AfterSavers(savers, self._mark_checkpoint)
            fit.callbacks.append(self._after_savers)
        self._trained = self.model
        _take_off(self.model)  # what an interrupt may have left there of an earlier run
        self._watch(fit)
        if is_of_keras:  # a loop of somebody's own need not look at `stop_training`
            self._run.is_stoppable("batch")
        else:
            _hear_ends_at_once(fit)

    def _watch(self, fit: Any) -> None:
        self._step = _WatchedStep.on(self.model, fit)
        if self._step is None:
            _hear_ends_at_once(fit)
        else:
            self._step.begin(self._collect)

    @harmless
    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        # Where Keras cannot count the batches beforehand, the epoch before tells.
        steps = self.params.get("steps") or (self._batches or None)
        self._the_run.begin_epoch(epoch, batches=steps, epochs=self.params.get("epochs"))
        self._batches = 0
        if self._step is not None:
            self._step.is_expecting = False  # where Keras cannot count them, the batch after the last begins, too

    # Where the step is watched, these two do next to nothing: they run between the steps, in cold caches.

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        step = self._step
        if step is None or step.is_expecting or self._trained.train_function is not step.watched:
            self._begin_batch(batch)
        else:
            step.is_expecting = True

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if self._step is None or self._step.is_expecting:
            self._take_logs(batch, logs or {})
        run = self._run
        if run is not None and run.history.stopping is not None and run.stops_after("batch"):
            self.model.stop_training = True

    @harmless_for_batches
    def _begin_batch(self, batch: int) -> None:
        """Begin a batch that may not come to the watched step, or whose predecessor has not."""
        if self._step is not None and (self._step.is_expecting or self._step.is_replaced):
            self._hand_over()
            now = perf_counter()
            while self._batches < batch:
                self._end_batch({}, now)
            self._watch_anew()
        if self._step is not None:  # it may be within a train function of somebody's own
            self._step.is_expecting = True
            return
        if perf_counter() >= self._due:
            self._rate = _learning_rate(self.model)
            self._iterations = _iterations(self.model)

    def _watch_anew(self) -> None:
        """Watch the train function that the model has now, or go by the logs from now on if it is somebody's own.

        What was kept so far has to be handed over.
        """
        assert self._step is not None
        is_replaced = self._step.is_replaced
        _hear_ends_at_once(self._fit)
        self._step.end()
        self._step = None
        if is_replaced:  # as by who makes it anew to thaw a layer
            self._watch(self._fit)

    @harmless_for_batches
    def _take_logs(self, batch: int, logs: Mapping[str, Any]) -> None:
        """Take note of a batch that did not come to the watched step, by the logs alone."""
        if self._step is not None and getattr(self._fit, "_async_train", False):
            return  # for this may be another thread, and what is expected the next batch
        now = perf_counter()
        self._ended.append((now, batch, dict(logs)))
        if self._step is not None:
            self._hand_over()
            self._watch_anew()
        elif now >= self._due:
            self._hand_over()
            self._due = perf_counter() + _READ_EVERY

    @harmless
    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._hand_over()
        values = _numbers(logs or {})
        own = _has_own_step(self.model)
        for name in values:
            # A rate that was not logged per batch is one that another callback put there.
            if name in self._names if _looks_like_rate(name) else own and not name.startswith("val_"):
                # What a step of the person's own returned is mostly that of the last batch.
                self._the_run.declare(name, metric=name, kind="reported" if own else "epoch", granularity="epoch")
        self._the_run.end_epoch(values)
        epochs = self.params.get("epochs")
        if (epochs is None or epoch + 1 < epochs) and self._the_run.stops_after("epoch"):
            self.model.stop_training = True

    @harmless
    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        for stopper in self._stoppers:
            if stopper.stopped_epoch > 0:
                self._the_run.mark("early stopping")
            if stopper.restore_best_weights and stopper.best_weights is not None:
                best = self._the_run.numbered(stopper.best_epoch)
                for span in reversed(self._the_run.history.spans):
                    if span.epoch == best:
                        self._the_run.mark("weights restored from here", step=span.first + (span.batches or 0))
                        break
        self._the_run.end()

    def _mark_checkpoint(self) -> None:
        self._hand_over()  # then it stands behind the last of the batches
        self._the_run.mark("checkpoint")

    @property
    def _fit(self) -> Any:
        return None if self._call is None else self._call()

    @property
    def _the_run(self) -> Run:
        assert self._run is not None, "Keras calls on_train_begin first"
        return self._run

    def _over(self, _fit: Any) -> None:
        if self._run is not None:  # does nothing if it has ended, as it has unless something was raised
            self._run.end("stopped")

    def _finish(self) -> None:
        try:
            self._hand_over()
        finally:
            if self._step is not None:
                self._step.end()
            # The list may be the person's own.
            fit = self._fit
            if fit is not None and self._after_savers in fit.callbacks:
                fit.callbacks.remove(self._after_savers)
            self._after_savers = None

    def _collect(self, since: float, times: int) -> None:
        """Put on the bus what the watched step has kept so many times; it took from `since` on to do that once."""
        cost = self.history.cost
        cost.end(cost.begin(since), times)
        self._hand_over()

    @harmless
    def _hand_over(self) -> None:
        """Put the batches that have ended since on the bus."""
        if self._step is not None:
            self._hand_over_rows(self._step)
        if self._ended:
            self._hand_over_logs()

    def _hand_over_rows(self, step: _WatchedStep) -> None:
        """Put on the bus what the watched step has kept."""
        ended, rows = step.read()
        if not ended:
            return
        kind = self._kind
        self._name_rate(step.logged)
        names = [self._named(metric, kind) for metric in step.logged] + [name or self._rate_name for name in step.own]
        for name in step.own:
            if _looks_like_rate(name):  # by its name alone
                self._the_run.declare(name, metric=name, kind="batch")
        batches = [dict(zip(names, row, strict=True)) for row in rows]
        if kind == "reported":
            for values in batches:
                if isnan(values.get(self._rate_name, 0.0)):
                    del values[self._rate_name]  # the optimizer has taken no step
        first = 0
        for at, count, others in ended:
            of_execution = batches[first : first + count] or [{}]
            first += count
            if others:
                self._put(others, kind, of_execution[-1])
            for values in of_execution:
                self._end_batch(values, at)

    def _hand_over_logs(self) -> None:
        """Put on the bus what Keras reported of batches that did not come to the watched step."""
        ended, self._ended = self._ended, []
        self._name_rate(ended[0][2])
        if self._iterations == _iterations(self.model):
            self._rate = None  # a step of the person's own may leave the model's optimizer alone, as a GAN's does
        for at, batch, logs in ended:
            values: dict[str, float] = {}
            self._put(logs, self._kind, values)
            self._batch_ended(values, batch, at)

    @property
    def _kind(self) -> Kind:
        return "reported" if _has_own_step(self.model) else "running"

    def _name_rate(self, logged: Container[str]) -> None:
        if "lr" in logged:  # a metric of the person's, who knows no other way to see the rate
            self._rate_name = "learning_rate"

    def _batch_ended(self, logs: dict[str, float], batch: int, at: float) -> None:
        # One call may stand for several steps, and the index of the last overshoots where an epoch ends earlier.
        steps = self.params.get("steps")
        done = batch + 1 if steps is None else min(batch + 1, steps)
        while self._batches < done - 1:
            self._end_batch({}, at)
        if self._rate is not None:
            logs[self._rate_name], self._rate = self._rate, None
        self._end_batch(logs, at)

    def _end_batch(self, values: dict[str, float], at: float) -> None:
        self._batches += 1
        self._the_run.batch_ended(values, at=at)

    def _put(self, logs: Mapping[str, Any], kind: Kind, values: dict[str, float]) -> None:
        """Put what Keras reported of a batch into its values, named after its kind."""
        for metric, value in logs.items():
            if type(value) is float and metric in self._names:  # as a rule; this is done for every batch
                values[self._names[metric]] = value
                continue
            for part, number in _numbers({metric: value}).items():
                values[self._named(part, kind)] = number

    def _named(self, metric: str, kind: Kind) -> str:
        """Return the name of what Keras reported of a metric, and declare it when it is new."""
        if metric not in self._names:
            name = self._names[metric] = f"running_{metric}" if kind == "running" else metric
            self._the_run.declare(name, metric=metric, kind=kind)
        return self._names[metric]


class _AfterSavers(keras.callbacks.Callback):  # type: ignore[misc]
    """The last callback of a ``fit``, which looks whether one before it has saved, for no hook tells of that.

    It is there only where something saves, so that other trainings have nothing to look for after each batch.
    """

    def __init__(self, savers: list[keras.callbacks.ModelCheckpoint], mark: Callable[[], None]) -> None:
        super().__init__()
        self._of_epochs = [saver for saver in savers if saver.save_freq == "epoch"]
        self._of_batches = [saver for saver in savers if saver.save_freq != "epoch"]
        # As they were when they were last looked at.
        self._bests = {saver: saver.best for saver in savers}
        self._mark = mark
        self._is_marked = False

    @harmless_for_batches
    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._is_marked = False
        # What a saver counts is 0 after a batch only if that was one to save at.
        due = [one for one in self._of_batches if getattr(one, "_batches_seen_since_last_saving", None) == 0]
        if due:
            self._look(due, logs or {})

    @harmless
    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._look(self._of_epochs, logs or {})

    def _look(self, due: list[keras.callbacks.ModelCheckpoint], logs: Mapping[str, Any]) -> None:
        """Mark a checkpoint, once at a step, if one of those whose turn it was has saved."""
        saved = [saver for saver in due if _has_saved(saver, self._bests[saver], logs)]
        self._bests.update((saver, saver.best) for saver in saved)
        if saved and not self._is_marked:
            self._is_marked = True
            self._mark()


def _has_saved(saver: keras.callbacks.ModelCheckpoint, best: Any, logs: Mapping[str, Any]) -> bool:
    """Tell whether a saver whose turn it was has saved, of which it may keep the best alone."""
    if not saver.save_best_only or saver.best is not best:  # not by `!=`, which NaN is to itself
        return True
    # Where it cannot tell what is best it saves and warns.
    monitored = logs.get(saver.monitor)
    return monitored is None or len(getattr(monitored, "shape", ())) > 0


class _WatchedStep:
    """A model's training step that keeps each batch's own values and learning rate.

    Of a model with a step of its own it keeps the rate alone: what such a step counts, nobody knows.
    """

    @classmethod
    def on(cls, model: Any, fit: Any = None) -> _WatchedStep | None:
        """Return the watched step of a model that this `fit` trains, or None where Keras leaves no way to one."""
        left = getattr(getattr(model, "train_function", None), _STEP, None)
        if left is not None and left.watched is model.train_function:
            if fit is not None and left._fit() is fit:
                return None  # another callback of this `fit` has it
            left.end()  # of a `fit` that somebody still holds; whoever watched that may read what it has yet
            vars(model.train_function).pop(_STEP, None)
        if not _can_be_watched(model):
            return None
        # It is kept by the very function that it stands in for, so that a second `fit` need not compile it again, and a
        # function that was made anew, as after a layer was frozen, has none.
        known: _WatchedStep | None = vars(model.train_function).get(_STEP)
        # `compile` makes a new loss tracker: a step that was compiled before is no longer this model's.
        if known is None or known._tracker is not model._loss_tracker:
            known = cls(model, keras.backend.backend())
            setattr(model.train_function, _STEP, known)
        known._fit = (lambda: None) if fit is None else ref(fit)
        return known

    def __init__(self, model: Any, backend: str) -> None:
        # Called when the model is trained, so it is there then.
        self._model: Callable[[], Any] = ref(model)
        self._fit: Callable[[], Any] = lambda: None
        self._tracker = model._loss_tracker
        self._unwatched: Any = model.train_function
        self._is_making = False
        #: The train function that takes this step.
        self.watched: Any = None
        self._steps: int = model.steps_per_execution
        self._room = max(_ROOM // self._steps, 1)
        self._collect: Callable[[float, int], None] = _ignore
        self._due = 0.0
        # When each execution ended, how many rows it has, or more than it has if an epoch ended, and its other logs.
        self._ended: list[tuple[float, int, Mapping[str, Any]]] = []
        #: Whether an execution of the `fit` is to come: what callbacks train by ``train_on_batch`` comes here, too.
        self.is_expecting = False
        #: What the numbers of a row are: first logs, then the batch's own values, where the rate has no name.
        self.logged: list[str] = []
        self.own: list[str] = []
        self._has_own_results = not _has_own_step(model)
        self._has_rate = _learning_rate(model) is not None
        self._applies = False
        self._tape: _TorchTape | _OutputTape | _VariableTape
        if backend == "torch":
            self._tape = _TorchTape()
        elif model.steps_per_execution == 1:
            self._tape = _OutputTape()
        else:
            self._tape = _VariableTape(2 * self._room * self._steps)

    def begin(self, collect: Callable[[float, int], None]) -> None:
        """Train by this step from now on.

        About every 0.1 s `collect` is told to `read`, when the last execution ended, and how many there were. It must
        not raise.
        """
        model = self._model()
        self._collect = collect
        self.is_expecting = False
        if self.watched is None:
            watched = self._make(model)
            setattr(watched, _STEP, self)
            self.watched = watched
        model.train_function = self.watched
        self.read()  # what was trained meanwhile is of no run
        self._due = 0.0

    def _make(self, model: Any) -> Any:
        """Return a train function that takes this step."""
        if keras.backend.backend() == "torch":
            return self._collecting(lambda batches: self._take(batches[0]))
        # `make_train_function` takes the step that it finds on the model. There it stays no longer than that.
        self._is_making = True  # and so it stays if an interrupt comes between these lines
        try:
            model.train_step = self._take
            model.make_train_function(force=True)
            made = model.train_function
        finally:
            model.train_function = self._unwatched
            _take_off(model)
        self._is_making = False
        return self._collecting(made)

    def _collecting(self, train_function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return a train function whose logs are Keras's own again, and which tells of each execution."""
        take_off = self._tape.take_off

        def train(batches: Any) -> Any:
            logs = train_function(batches)
            now = perf_counter()
            is_one, self.is_expecting = self.is_expecting, False
            has_rows = take_off(logs, is_one)
            if is_one:
                if has_rows and type(logs) is dict and len(logs) == len(self.logged):
                    self._ended.append((now, self._steps, _NOTHING))
                else:
                    self._ended.append((now, self._steps if has_rows else 0, self._others(logs, has_rows)))
                if now >= self._due or len(self._ended) >= self._room:
                    self._collect(now, len(self._ended))
                    self._due = perf_counter() + _READ_EVERY
            return logs

        return train

    def _others(self, logs: Any, has_rows: bool) -> Mapping[str, Any]:
        """Return the logs that no row holds."""
        in_row = self.logged if has_rows else ()
        return {name: log for name, log in _arrays(logs).items() if name not in in_row}

    @property
    def is_replaced(self) -> bool:
        """Whether the model has got another train function since, and one that may be watched as well."""
        model = self._model()
        return model.train_function is not self.watched and _is_made_by_keras(model)

    def end(self) -> None:
        """Train as before."""
        self._collect = _ignore
        model = self._model()
        if model is None:
            return
        if self._is_making or (self.watched is not None and model.train_function is self.watched):
            model.train_function = self._unwatched
        _take_off(model)

    def read(self) -> tuple[list[tuple[float, int, Mapping[str, Any]]], list[list[float]]]:
        """Return the executions since the last call and their rows."""
        ended, self._ended = self._ended, []
        return ended, self._tape.read()

    def _take(self, data: Any) -> Any:
        model = self._model()
        own = _OwnResults(model) if self._has_own_results else None
        rate = _UsedRate(model.optimizer, by_keras=own is not None) if self._has_rate else None
        try:
            if own is not None:
                own.enter()
            if rate is not None:
                rate.enter(applies=self._applies)
            # Between these two lines all is Keras's or the person's; what fails there would have failed without us.
            logs = type(model).train_step(model, data)
        finally:
            if own is not None:
                own.leave()
            if rate is not None:
                rate.leave()
        try:
            values = {} if own is None else own.named()
            if rate is not None:
                values[""] = rate.used()  # which is no name of a metric
                self._applies = self._applies or rate.is_of_apply
            logged = {name: log for name, log in logs.items() if _is_number(log)} if isinstance(logs, dict) else {}
            # A graph that is traced again may know more names. They come too late for the tape.
            if not self.own:
                self.logged, self.own = list(logged), list(values)
            if set(self.logged) <= logged.keys():
                numbers = [logged[name] for name in self.logged]
                numbers += [values.get(name, float("nan")) for name in self.own]
                logs = self._tape.write(logs, self.logged, numbers)
        except Exception:
            _log.exception("[epochwidget] the batches' own values cannot be had; the training goes on.")
        return logs


def _ignore(_since: float, _times: int) -> None:
    """Collect nothing."""


class _UsedRate:
    """The learning rate with which an optimizer takes its next step."""

    _COMPUTES = "_get_current_learning_rate"

    def __init__(self, optimizer: Any, *, by_keras: bool) -> None:
        self._optimizer = optimizer
        self._by_keras = by_keras
        self._before: Any = None
        self._rate: Any = None
        self._heard: list[Any] = []

    def enter(self, *, applies: bool) -> None:
        """Hear the rate from now on; `applies` tells that earlier steps of the person's own called ``apply``."""
        optimizer = self._optimizer
        if not self._by_keras:
            # A step of the person's own may leave the model's optimizer alone, as a GAN's does, and it may set the rate
            # before it applies. The rate from before the step is for one that goes another way.
            self._before = ops.copy(ops.convert_to_tensor(_steps_taken(optimizer)))
            # Not by `setattr`, for which Keras looks at each value whether it is a variable.
            vars(optimizer).setdefault("apply", self._apply)
            if not applies:
                self._rate = self._now()
        # To compute a schedule costs a small model some per cent of its step. The optimizer does it anyway: hear what
        # it gets, unless it may be in a branch of the graph, from which nothing can be taken.
        elif (
            isinstance(getattr(optimizer, "_learning_rate", None), keras.optimizers.schedules.LearningRateSchedule)
            and not optimizer.gradient_accumulation_steps
            and hasattr(optimizer, self._COMPUTES)
        ):
            setattr(optimizer, self._COMPUTES, self._compute)
        else:
            self._rate = self._now()

    def _now(self) -> Any:
        # A copy, for a rate may be a variable, which the step changes.
        return ops.copy(ops.convert_to_tensor(self._optimizer.learning_rate))

    def _compute(self) -> Any:
        rate = getattr(type(self._optimizer), self._COMPUTES)(self._optimizer)
        self._heard.append(rate)
        return rate

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        if not self._heard:
            try:
                self._heard.append(self._now())
            except Exception:  # the step's own failure, if it is one, comes from where it would have come
                self._heard.append(None)
        return type(self._optimizer).apply(self._optimizer, *args, **kwargs)

    def leave(self) -> None:
        """Leave the optimizer as it was."""
        _take_off_one(self._optimizer, self._COMPUTES, "apply")

    @property
    def is_of_apply(self) -> bool:
        """Whether the rate was heard where the step applied, and can be had outside of there."""
        rate = self._heard[0] if self._heard else None
        # A branch of the graph, or a function within the step, is a graph of its own.
        return not self._by_keras and rate is not None and _graph(rate) is _graph(self._before)

    def used(self) -> Any:
        """Return the rate, after the step; NaN if the optimizer has taken none."""
        heard = self._heard if self._by_keras or self.is_of_apply else ()
        rate = heard[0] if heard else self._rate
        if rate is None:
            return float("nan")
        if self._before is None:
            return rate
        return ops.where(ops.convert_to_tensor(_steps_taken(self._optimizer)) > self._before, rate, float("nan"))


class _OwnResults:
    """The results of a model's metrics over a single batch, taken as the batch is counted."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._results: dict[int, Any] = {}
        self._watched: list[Any] = []

    def enter(self) -> None:
        """Watch the model's metrics from now on."""
        model = self._model
        # The metrics of `compile` come to be with the first batch, and this may be the first: they are built, and
        # watched, right before Keras would build them.
        model.compute_loss = self._compute_loss
        model.compute_metrics = self._compute_metrics
        collections = (model._compile_metrics, model._compile_loss)
        self._watch([metric for metric in model.metrics if metric not in collections])

    def _compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *rest: Any, **more: Any) -> Any:
        self._build(self._model._compile_loss, y, y_pred)
        return type(self._model).compute_loss(self._model, x, y, y_pred, *rest, **more)

    def _compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        self._build(self._model._compile_metrics, y, y_pred)
        return type(self._model).compute_metrics(self._model, x, y, y_pred, sample_weight)

    def _build(self, collection: Any, y: Any, y_pred: Any) -> None:
        if collection is not None:
            if not collection.built:
                collection.build(y, y_pred)
            self._watch(collection.metrics)

    def _watch(self, metrics: list[Any]) -> None:
        for metric in _single(metrics):
            if _is_additive(metric) and metric not in self._watched:
                self._watched.append(metric)
                metric.update_state = partial(self._update, metric)

    def _update(self, metric: Any, *args: Any, **kwargs: Any) -> None:
        del metric.update_state
        variables = list(metric.variables)
        counted = result = None
        try:
            if variables:  # F1Score has none before it has seen its first batch, which it has to see in its own way
                zero = [ops.zeros(variable.shape, variable.dtype) for variable in variables]
                counted = metric.stateless_update_state(zero, *args, **kwargs)
                result = metric.stateless_result(counted)
        except Exception:  # some metrics of some versions of Keras cannot do this: then no own result
            counted = None
        if counted is None or len(counted) != len(variables):
            metric.update_state(*args, **kwargs)
            return
        if getattr(getattr(result, "graph", None), "name", "") == "scratch_graph":
            # Keras only looks what shapes a model has that it has not built yet. The batch is still to come.
            metric.update_state(*args, **kwargs)
            metric.update_state = partial(self._update, metric)
            return
        # A copy, for a result may be the very tensor that is counted on.
        copied = {name: ops.copy(one) for name, one in result.items()} if isinstance(result, dict) else ops.copy(result)
        self._results[id(metric)] = copied
        for variable, more in zip(variables, counted, strict=True):
            variable.assign_add(more)

    def named(self) -> dict[str, Any]:
        """Return the results under the names that Keras gives them, those alone that were taken and are numbers."""
        others = [metric.name for metric in _single(self._model.metrics) if id(metric) not in self._results]
        watched = [metric for metric in self._watched if id(metric) in self._results]
        try:
            for metric in watched:
                metric.result = partial(self._result, metric)
            logs = self._model.get_metrics_result()
        finally:
            for metric in watched:
                _take_off_one(metric, "result")
        return {
            name: value
            for name, value in logs.items()
            if len(getattr(value, "shape", ())) == 0 and not any(other in name for other in others)
        }

    def _result(self, metric: Any) -> Any:
        return self._results[id(metric)]

    def leave(self) -> None:
        """Leave the model and its metrics as they were."""
        _take_off_one(self._model, "compute_loss", "compute_metrics")
        for metric in self._watched:
            _take_off_one(metric, "update_state")


def _take_off_one(thing: Any, *names: str) -> None:
    """Take attributes of ours off a thing; what somebody else has put there stays."""
    attributes = vars(thing)
    for name in names:
        if name in attributes:
            method = attributes[name]
            owner = getattr(getattr(method, "func", method), "__self__", None)
            if isinstance(owner, (_WatchedStep, _OwnResults, _UsedRate)):
                del attributes[name]


def _take_off(model: Any) -> None:
    """Take all that is ours off a model, its metrics and its optimizer, wherever an interrupt struck."""
    _take_off_one(model, "train_step", "compute_loss", "compute_metrics")
    for metric in _single(model.metrics):
        _take_off_one(metric, "update_state", "result")
    for optimizer in (model.optimizer, getattr(model.optimizer, "inner_optimizer", None)):
        if hasattr(optimizer, "__dict__"):
            _take_off_one(optimizer, _UsedRate._COMPUTES, "apply")


# A tape takes a step's logs and a row of numbers, of which the first are logs, and returns the logs with which the step
# is to end. `take_off`, outside of any graph, leaves the logs as they were, and tells whether there are rows of them.

_ROW = "epochwidget"


class _TorchTape:
    """Rows that wait on the device, to be read together."""

    def __init__(self) -> None:
        import torch  # noqa: PLC0415 - Keras has imported the backend that it uses, and no other

        self._torch = torch
        self._waiting: list[Any] = []

    def write(self, logs: Any, logged: list[str], numbers: list[Any]) -> Any:
        if not isinstance(logs, dict):  # of a step of the person's own
            return logs
        # `stack` copies, so that no later step changes what was written.
        with self._torch.no_grad():
            tensors = [self._torch.as_tensor(number).detach().reshape(()) for number in numbers]
            device = tensors[-1].device
            return {**logs, _ROW: self._torch.stack([tensor.to(device).double() for tensor in tensors])}

    def take_off(self, logs: Any, keep: bool) -> bool:
        row = logs.pop(_ROW, None) if isinstance(logs, dict) else None
        if keep and row is not None:
            self._waiting.append(row)
        return row is not None

    def read(self) -> list[list[float]]:
        waiting, self._waiting = self._waiting, []
        rows: list[list[float]] = self._torch.stack(waiting).tolist() if waiting else []
        return rows


class _OutputTape:
    """Rows that leave TensorFlow's graph with the logs of their step.

    Keras waits for the logs of every step, each of them a tensor, and makes numbers of them. Those that the rows hold
    leave as numbers alone.
    """

    def __init__(self) -> None:
        self._logged: list[str] = []
        self._waiting: list[list[float]] = []

    def write(self, logs: Any, logged: list[str], numbers: list[Any]) -> Any:
        if not isinstance(logs, dict):
            return logs
        self._logged = logged
        return {name: log for name, log in logs.items() if name not in logged} | {_ROW: _row(numbers)}

    def take_off(self, logs: Any, keep: bool) -> bool:
        row = logs.pop(_ROW, None) if isinstance(logs, dict) else None
        if row is None:
            return False
        numbers = row.numpy().tolist()
        logs.update(zip(self._logged, numbers, strict=False))
        if keep:
            self._waiting.append(numbers)
        return True

    def read(self) -> list[list[float]]:
        waiting, self._waiting = self._waiting, []
        return waiting


class _VariableTape:
    """The last rows of numbers in a variable on the device, written by TensorFlow's graph and read by Python."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._ring: Any = None
        self._written: Any = None
        self._seen = 0

    def write(self, logs: Any, logged: list[str], numbers: list[Any]) -> Any:
        import tensorflow as tf  # noqa: PLC0415

        if self._ring is None:
            with tf.init_scope():  # the first step that writes may just be traced
                self._ring = tf.Variable(tf.zeros((self._rows, len(numbers)), _tensorflow_float()), trainable=False)
                self._written = tf.Variable(0, dtype="int64", trainable=False)
        at = tf.math.floormod(self._written.read_value(), self._rows)
        tf.raw_ops.ResourceScatterUpdate(resource=self._ring.handle, indices=at, updates=_row(numbers))
        self._written.assign_add(1, read_value=False)
        return logs

    def take_off(self, logs: Any, keep: bool) -> bool:
        return self._ring is not None  # into which the graph writes every row, without asking

    def read(self) -> list[list[float]]:
        written = self._seen if self._written is None else int(self._written.numpy())
        if written == self._seen:
            return []
        ring = self._ring.numpy()
        rows: list[list[float]] = ring[np.arange(self._seen, written) % self._rows].tolist()
        self._seen = written
        return rows


def _tensorflow_float() -> str:
    """Return the type that holds every number of Keras's metrics."""
    return "float64" if keras.config.floatx() == "float64" else "float32"


def _is_number(log: Any) -> bool:
    """Tell whether a log is a single number that loses nothing in a row; of a step of the person's own it may be all.

    What is a number of Python's in a graph was read when the graph was traced, and is none of the batch.
    """
    if keras.backend.backend() == "tensorflow":
        return bool(ops.is_tensor(log) and log.dtype == _tensorflow_float() and log.shape.rank == 0)
    return isinstance(log, float) or bool(ops.is_tensor(log) and log.ndim == 0)


def _row(numbers: list[Any]) -> Any:
    """Return a vector of these numbers, in no more ops than that takes."""
    import tensorflow as tf  # noqa: PLC0415

    scalars = [tf.cast(number, _tensorflow_float()) for number in numbers]
    return tf.stack([scalar if scalar.shape.rank == 0 else tf.reshape(scalar, ()) for scalar in scalars])


def _graph(tensor: Any) -> Any:
    """Return the graph of TensorFlow that a tensor belongs to, or None where it is just a value."""
    return getattr(tensor, "graph", None)


def _can_be_watched(model: Any) -> bool:
    """Tell whether Keras leaves a way to a step of ours."""
    # Not all that is needed here is promised by Keras: another version may not have it.
    if not all(hasattr(model, name) for name in _NEEDED) or not _is_made_by_keras(model):
        return False
    if {"train_step", "compute_loss"} & vars(model).keys():
        return False
    if _has_own_step(model) and _learning_rate(model) is None:
        return False
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return bool(model.distribute_strategy.num_replicas_in_sync == 1)
    return backend == "torch" and not model.jit_compile


def _is_made_by_keras(model: Any) -> bool:
    """Tell whether the train function is the one that Keras makes, so that another may stand in for it.

    That of a class of the person's own, or one that somebody wrapped, does more than to take the step.
    """
    function = model.train_function
    return (
        "make_train_function" not in vars(model)
        and type(model).make_train_function is keras.Model.make_train_function
        # Its module is no sign: `functools.wraps` copies that.
        and isinstance(function, FunctionType)
        and str(function.__globals__.get("__name__")).startswith("keras.src.")
    )


def _has_own_step(model: Any) -> bool:
    """Tell whether the model was written to train otherwise than Keras does."""
    return any(
        name in vars(model) or getattr(type(model), name) is not getattr(keras.Model, name)
        for name in ("train_step", "compute_metrics", "get_metrics_result")
    )


def _name_of(model: Any) -> str:
    """Return a model's name, without the number that Keras gave it if it made up the name.

    Whoever runs a cell again trains ``sequential_1``; its run belongs beside that of ``sequential``.
    """
    name = str(model.name)
    made_up = re.sub(r"_\d+$", "", name)
    return made_up if made_up.replace("_", "") == type(model).__name__.lower() else name


def _callbacks_of_fit() -> tuple[Any, bool]:
    """Return the list that is calling a callback, for Keras tells none of the others, and whether `fit` calls the list.

    A loop of the person's own may have such a list, too, and train by another step than the model's.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList):
            by = frame.f_back
            if by is None or by.f_code.co_name != "fit":
                return caller, False
            return caller, str(by.f_globals.get("__name__")).startswith("keras.src.")
        frame = frame.f_back
    return None, False


def _hear_ends_at_once(fit: Any) -> None:
    """Have Keras call the hooks of a batch's end before the next batch, in the thread of the training."""
    if getattr(fit, "_async_train", False):
        fit._flush_futures()
        fit._async_train = False


def _arrays(logs: Any) -> dict[str, Any]:
    """Return the logs as arrays that no later step changes; those of a step of the person's own may be nested."""
    arrays: dict[str, Any] = {}
    for name, log in logs.items() if isinstance(logs, Mapping) else ():
        arrays.update(_arrays(log) if isinstance(log, Mapping) else {name: ops.convert_to_numpy(log)})
    return arrays


def _single(metrics: list[Any]) -> list[Any]:
    """Return the metrics with each collection, as that of ``compile``, replaced by what it holds."""
    return [one for metric in metrics for one in getattr(metric, "metrics", None) or [metric]]


def _is_additive(metric: Any) -> bool:
    """Tell whether a metric's state over two batches is the sum of its states over each.

    It is for all of Keras's own: they count and sum. Of others nobody knows.
    """
    return str(type(metric).update_state.__module__).startswith("keras.src.metrics.")


def _looks_like_rate(name: str) -> bool:
    """Tell whether a series of that name is taken for a learning rate if nobody says otherwise."""
    return Series.of(name, "batch").metric == LEARNING_RATE


def _learning_rate(model: Any) -> float | None:
    """Return the rate that the next step is going to use, or None where there is not one."""
    try:
        return float(model.optimizer.learning_rate)
    except (AttributeError, TypeError, ValueError):
        return None


def _steps_taken(optimizer: Any) -> Any:
    """Return how many steps an optimizer has taken, those included that only accumulated."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    return inner._iterations if hasattr(inner, "_iterations") else inner.iterations


def _iterations(model: Any) -> int | None:
    """Return how many steps the model's optimizer has taken, or None where there is not one."""
    try:
        return int(_steps_taken(model.optimizer))
    except (AttributeError, TypeError, ValueError):
        return None


def _numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    """Return the logs as floats; a metric with several numbers has each under its own name."""
    numbers: dict[str, float] = {}
    for name, value in logs.items():
        array = np.asarray(value, dtype=np.float64)
        if array.ndim == 0:
            numbers[name] = float(array)
        else:
            numbers.update({f"{name}_{index}": float(number) for index, number in enumerate(array.flat)})
    return numbers
