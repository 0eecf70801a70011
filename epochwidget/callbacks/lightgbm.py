"""LightGBM: ``lightgbm.train(..., callbacks=[EpochCallback()])`` and ``fit(..., callbacks=[EpochCallback()])``."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from functools import partial
from types import FrameType
from typing import Any

import lightgbm
from lightgbm.callback import EarlyStopException

from ..bus import Bus, chosen
from ..errors import check_version, checked_name, unknown_keywords
from ..history import History
from ..iterations import Harmless, Iterations, Result
from ..resuming import resumption
from ..watching import counted

check_version("lightgbm", lightgbm.__version__, "4.0", "5")

_ADVICE = "give lightgbm.train(valid_sets=[...]), or fit(eval_set=[(x, y), ...])"

_RATES = ("learning_rate", "shrinkage_rate", "eta")
_BOOSTINGS = ("boosting", "boosting_type", "boost")
_DEFAULT_RATE = 0.1


class EpochCallback:
    """Puts every iteration of ``lightgbm.train``, ``lightgbm.cv`` or ``fit`` on the bus. Each of them is a run.

    The iterations are the epochs; there are no batches. Continued from another model (``init_model=``), they go on
    counting where that ended.

    The values of an iteration have these names in the history. All but ``lr`` are of kind ``evaluation``: of the whole
    set, once the iteration has ended. There are no batches, so they stand at step 0 and have epochs instead:
    ``history.epoch.epochs(name)``.

    - ``training_auc``, ``valid_0_l2``, ...: what LightGBM reports of each set and metric, and prints as
      ``training's auc`` and ``valid_0's l2``. The metric is ``history.epoch.series(name).metric``; what stands before
      it is the name of the set.
    - ``valid_l2_mean`` and ``valid_l2_std``: the mean over the folds of ``lightgbm.cv``, and their standard deviation.
    - ``lr``: the learning rate that the iteration used. Left out where trees are weighted otherwise (``dart``,
      ``rf``), or where it was given under several names that differ.

    The data that the model is trained on, and any set called ``train``, ``training`` or ``learn``, are of split
    ``train``, all others of split ``validation``.

    A training that ends before its last iteration is ``completed``, and marked ``early stopping``. After an exception
    the run is closed with its notebook cell, or once the exception was handled.

    Parameters
    ----------
    name
        What to call the run, by default ``"run 1"``, ``"run 2"``, ...
    bus
        Where the events go, by default the shared bus.
    resume
        The history of a run in which the first training goes on, as ``ew.runs[-1]``; by default each is a run of its
        own. See `epochwidget.Run`. Iterations that are counted from 0 again are counted on from there.
    epoch
        With `resume`: the iteration, counted from 0, from whose beginning on it goes; what came after that is dropped.

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
        self._iterations: Iterations | None = None
        self._harmless = Harmless()
        # What LightGBM calls after each iteration, in its order; None where that was not found.
        self._callbacks: list[Any] | None = None
        # LightGBM sorts callbacks by this. One that stops the training keeps the iteration from those after it.
        self.order = -math.inf
        self.before_iteration = False

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is for another training: it takes along what it was made of.
        return partial(type(self), self._name, bus=self._bus), ()

    @property
    def history(self) -> History:
        """The history of the latest training."""
        if self._iterations is None:
            raise AttributeError(
                "there is no history yet: give this callback to lightgbm.train(callbacks=[...]) or "
                "fit(callbacks=[...]) first."
            )
        return self._iterations.run.history

    @counted
    def __call__(self, env: Any) -> None:
        """Take in one iteration; LightGBM calls this."""
        if env.iteration == env.begin_iteration:
            self._harmless = Harmless()
        with self._harmless:
            if env.iteration == env.begin_iteration or self._iterations is None:
                self._iterations = self._begun(env)
            self._iterations.ended(env.iteration, _results(env.evaluation_result_list), rate=_learning_rate(env))
        if self._callbacks is None:
            self._stop_if_asked(env)

    def _stop_if_asked(self, env: Any) -> None:
        """End the training if that was asked for, as LightGBM's own callbacks do."""
        if self._iterations is not None and self._iterations.stops():
            best, scores = env.iteration, env.evaluation_result_list
            for one in self._callbacks or ():
                if getattr(one, "best_iter", None) and getattr(one, "best_score_list", None):
                    # As its early stopping does at the end of a training that it did not stop.
                    best, scores = one.best_iter[0], one.best_score_list[0] or scores
            raise EarlyStopException(best, scores)

    def _begun(self, env: Any) -> Iterations:
        if self._iterations is not None:
            self._iterations.run.end("stopped")  # does nothing if it has ended; after an exception no hook has told
        model = env.model
        iterations = Iterations(
            self._name,
            self._bus,
            first=env.begin_iteration,
            resume=self._resumption,
            end=env.end_iteration,
            # LightGBM's own early stopping tells the training data by this name.
            trained_on=[model._train_data_name] if hasattr(type(model), "set_train_data_name") else [],
            advice=_ADVICE,
        )
        # No hook tells of the end, nor of an early stop: that is an exception of a callback after this one, which
        # leaves the model with another best iteration.
        call, callbacks = _of_call()
        best = model.best_iteration
        if call is not None:
            iterations.lasts_as_long_as(call, lambda: model.best_iteration != best)
        # Whoever stops comes last, for those behind it are not told of the iteration.
        self._callbacks = None if callbacks is None else list(callbacks)
        if callbacks is not None:
            callbacks.append(self._stop_if_asked)
        return iterations


def _results(evaluated: Any) -> Iterator[Result]:
    """Return what LightGBM reports: ``(set, metric, value, is higher better)``, and of folds the deviation."""
    for of, metric, value, *more in evaluated or ():
        if of == "cv_agg":  # with the set in the metric, which is how older versions report folds
            of, _, metric = metric.partition(" ")  # noqa: PLW2901
        yield Result(of, metric, value, more[1] if len(more) > 1 else None)


def _of_call() -> tuple[Any, list[Any] | None]:
    """Return an object that lives as long as the call that trains, and its list of callbacks; None if not found."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == "lightgbm.engine" and "callbacks_set" in frame.f_locals:
            callbacks = frame.f_locals.get("callbacks_after_iter")
            return frame.f_locals["callbacks_set"], callbacks if isinstance(callbacks, list) else None
        frame = frame.f_back
    return None, None


def _learning_rate(env: Any) -> float | None:
    """Return the learning rate that the iteration used, or None where nobody can know."""
    boosters = [env.model] if isinstance(env.model, lightgbm.Booster) else env.model.boosters
    parameters = {**env.params, **boosters[0].params}
    if any(parameters.get(name) in ("dart", "rf", "random_forest") for name in _BOOSTINGS):
        return None
    given = {float(parameters[name]) for name in _RATES if name in parameters}
    if len(given) > 1:
        return None
    return given.pop() if given else _DEFAULT_RATE
