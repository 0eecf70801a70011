"""What watching a training costs it, measured where it arises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import get_ident
from time import perf_counter
from typing import Any, TypeVar, cast

#: Of so much that is called for every batch one is measured. A prime number, so as not to fall in step with what is
#: done every so many batches.
SAMPLED = 61

_NO_THREAD = -1

Method = TypeVar("Method", bound=Callable[..., Any])
Clock = Callable[[], float]


class Cost:
    """The seconds that watching has taken.

    Each thread adds to a number of its own, so that none waits for another. What is measured within something that is
    measured itself counts once.

    Parameters
    ----------
    before
        What it had taken before.
    """

    __slots__ = ("_clocks", "_of_thread")

    def __init__(self, before: float = 0.0) -> None:
        self._of_thread: dict[int, float] = {_NO_THREAD: before}
        self._clocks: dict[int, Clock] = {}

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(list(self._of_thread.values()))

    @contextmanager
    def by(self, clock: Clock) -> Iterator[None]:
        """Measure what is done here, on another clock than the wall's: as of a thread for which no training waits."""
        thread = get_ident()
        self._clocks[thread] = clock
        began = self.begin()
        try:
            yield
        finally:
            self.end(began)
            del self._clocks[thread]

    def begin(self, since: float | None = None) -> float:
        """Begin to measure in this thread, or have begun at some time, and return what `end` is to be told."""
        thread = get_ident()
        now = self._clocks.get(thread, perf_counter)() if since is None else since
        return now - self._of_thread.get(thread, 0.0)

    def end(self, began: float, times: int = 1) -> None:
        """Add what this thread has taken since.

        Parameters
        ----------
        began
            What `begin` returned in this thread.
        times
            For how many of its kind a sample stands. What was measured within it stands for itself.
        """
        thread = get_ident()
        within = self._of_thread.get(thread, 0.0)
        self._of_thread[thread] = within + times * (self._clocks.get(thread, perf_counter)() - began - within)


def counted(method: Method, times: int = 1) -> Method:
    """Count what a method of something that has a ``history`` takes as watching, on the clock of the wall.

    What is called when no run goes on, as by an evaluation after the training, costs no training anything.

    Parameters
    ----------
    method
        The method.
    times
        For how many calls one stands, see `Cost.end`.
    """

    @wraps(method)
    def counting(self: Any, *args: Any, **kwargs: Any) -> Any:
        cost, now = _cost(self), perf_counter()
        began = now if cost is None else cost.begin()
        try:
            return method(self, *args, **kwargs)
        finally:
            present = _cost(self)
            if present is not None and present is not cost:  # what begins a run is the first that it costs
                present.end(now, times)
            elif cost is not None:
                cost.end(began, times)

    return cast("Method", counting)


def _cost(owner: Any) -> Cost | None:
    history: Any = getattr(owner, "history", None)
    found = getattr(history, "cost", None)
    return found if isinstance(found, Cost) and history.status == "running" else None
