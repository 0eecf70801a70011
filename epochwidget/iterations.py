"""Runs of iterations, as gradient boosting has them: no batches, and after each iteration the evaluation of whole sets.

What the callbacks of XGBoost, LightGBM and CatBoost have in common, and nothing of these frameworks themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from types import TracebackType
from typing import Any, ClassVar, NamedTuple
from weakref import WeakSet, ref

from .bus import Bus
from .resuming import Resumption
from .run import Run
from .series import Split

# What the frameworks call the set that is trained on, where nothing else tells.
_TRAIN = ("train", "training", "learn")

_log = logging.getLogger("epochwidget")


class Result(NamedTuple):
    """What one set gave in one metric: a value, or the mean and the standard deviation over the folds."""

    of: str
    metric: str
    value: float
    deviation: float | None = None


class Iterations:
    """One training, whose iterations are the epochs of a run.

    Series are named after set and metric, ``valid_0_auc``, with ``_mean`` and ``_std`` over folds. Sets that are
    trained on are of split ``train``, all others of split ``validation``.

    Parameters
    ----------
    name, bus
        As for `Run`.
    first
        The number of the first iteration, counted from 0.
    end
        Where the iterations are going to end, if known: 12 of them that begin with iteration 5 end at 17.
    resume
        The run to go on with, if any.
    trained_on
        Names of sets that are trained on, besides those which are called so.
    advice
        Says how to have sets evaluated, for whoever evaluates none.
    """

    # Whom it was told already: a search trains many models.
    _advised: ClassVar[WeakSet[Bus]] = WeakSet()

    def __init__(
        self,
        name: str | None,
        bus: Bus,
        *,
        first: int = 0,
        end: int | None = None,
        trained_on: Collection[str] = (),
        resume: Resumption | None = None,
        advice: str,
    ) -> None:
        self.run = Run(name, epochs=None if resume is not None else end or None, bus=bus, resume=resume)
        self.run.lives_within_call(lambda: None)
        self.run.is_stoppable("epoch")
        self._next, self._end = first, end
        self._begun: int | None = None
        self._trained_on = {*trained_on, *_TRAIN}
        self._advice = advice
        self._names: dict[tuple[str, str, str], str] = {}
        self._lifetime: ref[Any] | None = None

    def lasts_as_long_as(self, call: Any, has_returned: Callable[[], bool]) -> None:
        """End the run when an object ends that lives as long as the call that trains, for lack of a hook.

        Parameters
        ----------
        call
            Some object of the call's own.
        has_returned
            Tells, when that has ended, whether the call was left by its end and not by an exception.
        """

        def over(_: Any) -> None:
            if self.run.status == "running":
                if self._is_done or has_returned():
                    self.complete()
                else:
                    self.run.end("stopped")

        self._lifetime = ref(call, over)

    def begin(self, iteration: int) -> None:
        """Begin an iteration, where the framework tells of that."""
        self._begun = iteration
        self.run.begin_epoch(iteration, epochs=self._end)

    def ended(self, iteration: int, results: Iterable[Result], *, rate: float | None = None) -> None:
        """End an iteration with what was evaluated after it, and the learning rate it used if that is known."""
        values = {}
        for of, metric, value, deviation in results:
            if deviation is None:
                values[self._name(of, metric)] = float(value)
            else:
                values[self._name(of, metric, "mean")] = float(value)
                values[self._name(of, metric, "std")] = float(deviation)
        if not values and not self._names and self.run.bus not in self._advised:
            self._advised.add(self.run.bus)
            _log.warning(
                "[epochwidget] %r evaluates nothing, so there is its progress and no more to see: %s.",
                self.run.name,
                self._advice,
            )
        if rate is not None:
            values["lr"] = rate
        if self._begun != iteration:
            self.begin(iteration)
        self.run.end_epoch(values)
        self._next = iteration + 1
        if self._is_done and self._lifetime is None:
            self.run.end()

    def stops(self) -> bool:
        """Tell whether the training is to end after this iteration, for somebody has asked for that; then it has to."""
        if self.run.status != "running" or self._is_done or not self.run.stops_after("epoch"):
            return False
        self.run.end()
        return True

    def complete(self) -> None:
        """End the run at the end of its training; before the last iteration that is an early stop."""
        if self.run.status == "running" and self._end is not None and not self._is_done:
            self.run.mark("early stopping")
        self.run.end()

    @property
    def _is_done(self) -> bool:
        return self._end is not None and self._next >= self._end

    def _name(self, of: str, metric: str, part: str = "") -> str:
        """Return the name of a series, declared."""
        key = of, metric, part
        if key not in self._names:
            name = "_".join(filter(None, key))
            while name == "lr" or name in self._names.values():  # the metric b_c of a set a, and c of a_b
                name += "_"
            self._names[key] = name
            split: Split = "train" if of in self._trained_on else "validation"
            # How much folds differ is another quantity than what they measure.
            measured = f"{metric} std" if part == "std" else metric
            self.run.declare(name, metric=measured, kind="evaluation", granularity="epoch", split=split)
        return self._names[key]


class Harmless:
    """``with harmless:`` lets no failure within reach the training; the first is logged."""

    def __init__(self) -> None:
        self._has_failed = False

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        if not self._has_failed:
            self._has_failed = True
            _log.error("[epochwidget] not all of the training can be shown; it goes on.", exc_info=error)
        return True
