"""XGBoost: ``xgboost.train(..., callbacks=[EpochCallback()])`` and ``XGBClassifier(callbacks=[EpochCallback()])``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import xgboost
from xgboost.callback import (
    CallbackContainer,
    EarlyStopping,
    EvaluationMonitor,
    TrainingCallback,
    TrainingCheckPoint,
)

from ..bus import Bus, chosen
from ..errors import check_version, checked_name, unknown_keywords
from ..history import History
from ..iterations import Harmless, Iterations, Result
from ..resuming import resumption
from ..watching import counted

check_version("xgboost", xgboost.__version__, "2.1", "4")

_ADVICE = "give xgboost.train(evals=[(data, name), ...]), or fit(eval_set=[(x, y), ...])"


class EpochCallback(TrainingCallback):  # type: ignore[misc]
    """Puts every iteration of ``xgboost.train``, ``xgboost.cv`` or ``fit`` on the bus. Each of them is a run.

    The iterations are the epochs; there are no batches. Continued from another model (``xgb_model=``), they go on
    counting where that ended.

    The values of an iteration have these names in the history. All but ``lr`` are of kind ``evaluation``: of the whole
    set, once the iteration has ended. There are no batches, so they stand at step 0 and have epochs instead:
    ``history.epoch.epochs(name)``.

    - ``train_logloss``, ``validation_0_auc``, ...: what XGBoost reports of each set and metric, and calls
      ``train-logloss`` and ``validation_0-auc``. The metric is ``history.epoch.series(name).metric``; what stands
      before it is the name of the set.
    - ``test_logloss_mean`` and ``test_logloss_std``: the mean over the folds of ``xgboost.cv``, and their standard
      deviation.
    - ``lr``: the learning rate (``eta``) that the iteration used. Left out where a callback after this one may set
      another before the iteration.

    The data that the model is trained on, and any set called ``train``, are of split ``train``, all others of split
    ``validation``.

    A training that ends before its last iteration is ``completed``, and marked ``early stopping``. After an exception,
    of which XGBoost tells no callback, the run is closed with its notebook cell, or once the exception was handled.

    scikit-learn's searches train copies of the estimator: each of their fits is a run in ``epochwidget.runs``, and the
    callback given to the estimator has no history of its own.

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
        super().__init__()
        self._name = None if name is None else checked_name("The name of a run", name)
        self._bus = chosen(bus, "EpochCallback")
        self._resumption = resumption(resume, epoch, self._name, self._bus, "EpochCallback")
        self._iterations: Iterations | None = None
        self._harmless = Harmless()
        self._first = 0
        self._begun: int | None = None
        self._rate: float | None = None
        self._reads_rate = self._rate_changes = False
        self._log: Mapping[str, Any] = {}
        self._logged = 0

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is for another training: it takes along what it was made of.
        return partial(type(self), self._name, bus=self._bus), ()

    @property
    def history(self) -> History:
        """The history of the latest training."""
        if self._iterations is None:
            raise AttributeError(
                "there is no history yet: give this callback to xgboost.train(callbacks=[...]) or to an estimator and "
                "train that first. Fits of a copy, as in a search, are in epochwidget.runs."
            )
        return self._iterations.run.history

    @counted
    def before_training(self, model: Any) -> Any:
        if self._iterations is not None:
            self._iterations.run.end("stopped")  # does nothing if it has ended; after an exception no hook has told
        self._harmless = Harmless()
        with self._harmless:
            self._begin(model)
        return model

    @counted
    def before_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Any]) -> bool:
        with self._harmless:
            self._begun, self._log = epoch, evals_log
            self._the_iterations.begin(self._first + epoch)
            if self._reads_rate and (self._rate is None or self._rate_changes):
                self._rate = _learning_rate(model)
        return False

    @counted
    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Any]) -> bool:
        with self._harmless:
            self._end_iteration(epoch)
        return self._iterations is not None and self._iterations.stops()

    @counted
    def after_training(self, model: Any) -> Any:
        with self._harmless:
            # A callback before this one that stops the training keeps its last iteration from those after it.
            if self._begun is not None and _count(self._log) > self._logged:
                self._end_iteration(self._begun)
            self._the_iterations.complete()
        return model

    # ------------------------------------------------------------------------------------------------------------

    def _begin(self, model: Any) -> None:
        container, call = _callers()
        self._first = model.num_boosted_rounds()
        self._begun, self._rate, self._log, self._logged = None, None, {}, 0
        planned, data = call.get("num_boost_round"), call.get("dtrain")
        self._iterations = Iterations(
            self._name,
            self._bus,
            first=self._first,
            resume=self._resumption,
            end=None if planned is None else self._first + int(planned),
            trained_on=[name for one, name in call.get("evals") or () if one is data],
            advice=_ADVICE,
        )
        callbacks = [] if container is None else list(container.callbacks)
        # To read it takes longer than a small tree.
        self._rate_changes = any(type(one) not in _LEAVE_RATE for one in callbacks)
        self._reads_rate = self in callbacks and not _sets_rate_later(callbacks[callbacks.index(self) + 1 :])
        if container is not None:
            self._iterations.lasts_as_long_as(container, lambda: False)

    def _end_iteration(self, epoch: int) -> None:
        self._begun, self._logged = None, _count(self._log)
        self._the_iterations.ended(self._first + epoch, _results(self._log), rate=self._rate)

    @property
    def _the_iterations(self) -> Iterations:
        assert self._iterations is not None, "XGBoost calls before_training first"
        return self._iterations


# None of these sets a parameter.
_LEAVE_RATE = (EpochCallback, EarlyStopping, EvaluationMonitor, TrainingCheckPoint)


def _results(log: Mapping[str, Any]) -> Iterator[Result]:
    """Return the latest of what XGBoost keeps: ``{set: {metric: [value or (mean, deviation), ...]}}``."""
    for of, metrics in log.items():
        for metric, values in metrics.items():
            latest = values[-1]
            yield Result(of, metric, *latest) if isinstance(latest, tuple) else Result(of, metric, latest)


def _count(log: Mapping[str, Any]) -> int:
    return sum(len(values) for metrics in log.values() for values in metrics.values())


def _callers() -> tuple[CallbackContainer | None, Mapping[str, Any]]:
    """Return who calls the callbacks, and the arguments of the call that trains, which callbacks are not told."""
    container = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module == "xgboost.callback" and isinstance(frame.f_locals.get("self"), CallbackContainer):
            container = frame.f_locals["self"]
        elif module == "xgboost.training" and "num_boost_round" in frame.f_locals:
            return container, dict(frame.f_locals)
        frame = frame.f_back
    return container, {}


def _sets_rate_later(later: list[TrainingCallback]) -> bool:
    """Tell whether one of the callbacks after our own might set another learning rate before an iteration."""
    return any(
        type(one) not in _LEAVE_RATE and type(one).before_iteration is not TrainingCallback.before_iteration
        for one in later
    )


def _learning_rate(model: Any) -> float | None:
    """Read the learning rate that the next iteration is going to use; the models of all folds have the same."""
    booster = model.cvfolds[0].bst if hasattr(model, "cvfolds") else model
    configured = json.loads(booster.save_config())["learner"]["gradient_booster"]
    if configured["name"] == "dart":
        configured = configured["gbtree"]
    if configured["name"] == "gblinear":
        parameters = configured["updater"]["linear_train_param"]
    else:
        parameters = configured["tree_train_param"]
    # It is of single precision, and the shortest number that means it is the one that was given.
    return float(str(np.float32(parameters["learning_rate"])))
