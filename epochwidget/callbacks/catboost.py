"""CatBoost: ``model.fit(..., callbacks=[EpochCallback()])``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from types import FrameType
from typing import Any

import catboost

from ..bus import Bus, chosen
from ..errors import check_version, checked_name, unknown_keywords
from ..history import History
from ..iterations import Harmless, Iterations, Result
from ..resuming import resumption
from ..watching import counted

check_version("catboost", catboost.__version__, "1.2", "2")

_ADVICE = "give fit(eval_set=(x, y)), and a metric_period that is not above the number of iterations"

_DEFAULT_ITERATIONS = 1000


class EpochCallback:
    """Puts every iteration of ``fit`` on the bus. Each ``fit`` is a run.

    The iterations are the epochs; there are no batches. CatBoost counts them anew in every ``fit``, also where that
    continues another model (``init_model=``).

    The values of an iteration have these names in the history. All but ``lr`` are of kind ``evaluation``: of the whole
    set, once the iteration has ended. There are no batches, so they stand at step 0 and have epochs instead:
    ``history.epoch.epochs(name)``.

    - ``learn_Logloss``, ``validation_Logloss``, ``validation_0_AUC``, ...: what CatBoost reports of each set and
      metric. The metric is ``history.epoch.series(name).metric``; what stands before it is the name of the set. With
      ``metric_period`` there are values of the iterations in which CatBoost computes them.
    - ``lr``: the learning rate, if it was given. One that CatBoost chooses is known after ``fit`` only, as
      ``model.learning_rate_``.

    ``learn`` is of split ``train``, all other sets of split ``validation``.

    A training that ends before its last iteration is ``completed``, and marked ``early stopping``. After an exception
    the run is closed with its notebook cell, or once the exception was handled.

    CatBoost takes callbacks on the CPU only, and has none in ``catboost.train`` and ``catboost.cv``.

    Parameters
    ----------
    name
        What to call the run, by default ``"run 1"``, ``"run 2"``, ...
    bus
        Where the events go, by default the shared bus.
    resume
        The history of a run in which the first ``fit`` goes on, as ``ew.runs[-1]``; by default each is a run of its
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
        self._last = 0
        self._rate: float | None = None
        self._counts: dict[tuple[str, str], int] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is for another training: it takes along what it was made of.
        return partial(type(self), self._name, bus=self._bus), ()

    @property
    def history(self) -> History:
        """The history of the latest ``fit``."""
        if self._iterations is None:
            raise AttributeError("there is no history yet: give this callback to model.fit(callbacks=[...]) first.")
        return self._iterations.run.history

    @counted
    def after_iteration(self, info: Any) -> bool:
        """Take in one iteration; CatBoost calls this."""
        goes_on = self._iterations is not None and self._iterations.run.status == "running"
        if not goes_on or info.iteration <= self._last:
            self._harmless = Harmless()
        try:
            with self._harmless:
                if self._iterations is None or not goes_on or info.iteration <= self._last:
                    self._iterations = self._begun(info.iteration - 1)
                self._iterations.ended(info.iteration - 1, self._results(info.metrics), rate=self._rate)
                self._last = info.iteration
        except BaseException as interrupt:
            # CatBoost makes an error of its own of an interrupt that comes while a callback is at work.
            if self._iterations is not None:
                self._iterations.run.end_by(interrupt)
            raise
        # Anything that is not true stops the training.
        return self._iterations is None or not self._iterations.stops()

    def _begun(self, first: int) -> Iterations:
        if self._iterations is not None:
            self._iterations.run.end("stopped")  # does nothing if it has ended; after an exception no hook has told
        self._counts = {}
        wrapper, model, parameters = _callers()
        rate = parameters.get("learning_rate")
        self._rate = None if rate is None else float(rate)
        end = int(parameters.get("iterations", _DEFAULT_ITERATIONS)) if parameters else None
        iterations = Iterations(self._name, self._bus, first=first, end=end, resume=self._resumption, advice=_ADVICE)
        if wrapper is not None:
            # An exception keeps what the call has of its own longer than `fit` lasts.
            iterations.lasts_as_long_as(wrapper, lambda: _is_fitting(model))
        return iterations

    def _results(self, metrics: Any) -> Iterator[Result]:
        """Return what is new in ``{set: {metric: [value, ...]}}``."""
        for of, series in metrics.items():
            for metric, values in series.items():
                if len(values) > self._counts.get((of, metric), 0):
                    self._counts[of, metric] = len(values)
                    yield Result(of, metric, values[-1])


def _catboost_frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == "catboost.core":
            yield frame
        frame = frame.f_back


def _callers() -> tuple[Any, Any, dict[str, Any]]:
    """Return who calls the callbacks, the model and its parameters, which callbacks are not told."""
    wrapper = None
    for frame in _catboost_frames():
        if frame.f_code.co_name == "after_iteration":
            wrapper = frame.f_locals.get("self")
        elif isinstance(parameters := frame.f_locals.get("params"), dict):
            return wrapper, frame.f_locals.get("self"), parameters
    return None, None, {}


def _is_fitting(model: Any) -> bool:
    return any(frame.f_locals.get("self") is model for frame in _catboost_frames())
