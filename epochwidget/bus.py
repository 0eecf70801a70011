"""The event bus: producers emit, any number of subscribers listen, neither knows the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any, TypeVar

from .buckets import LEAST
from .errors import checked_count
from .events import EVENTS, Event, RunLoaded
from .history import History, Runs

Subscriber = TypeVar("Subscriber", bound=Callable[[Any], object])
_Subscribers = tuple[Callable[[Any], object], ...]

_log = logging.getLogger("epochwidget")


class Bus:
    """Carries every event to every subscriber, at once and in the thread that emits it.

    A subscriber that raises is logged once and dropped, since a plot never stops a training run.

    Parameters
    ----------
    max_points
        See the attribute.
    strict
        Let the exceptions of subscribers through to the producer; for tests.

    Attributes
    ----------
    runs : Runs
        Everything that has happened on this bus, one `History` for each run.
    max_points : int or None
        How many points the runs keep of each series of batches, 1,000 or more; by default None, for all of them. It
        can be set, ``ew.bus.max_points = 1_000_000``, and holds for the runs that begin, or are loaded, from then on.
        A run that becomes longer merges its older points into buckets that keep every spike, see `History`, and takes
        some 35 bytes for each of so many points.

    Raises
    ------
    TypeError, ValueError
        If `max_points` is neither None nor a whole number of 1,000 or more.
    """

    def __init__(self, max_points: int | None = None, *, strict: bool = False) -> None:
        self._strict = strict
        self._lock = RLock()
        # Tuples that are replaced and never changed: `emit` walks them without a lock.
        self._subscribers: dict[type[Event], _Subscribers] = dict.fromkeys(EVENTS, ())
        self.runs = Runs()
        self.max_points = max_points
        # A run that was loaded has been recorded.
        self._recorder = self.subscribe(self.runs.add, *(kind for kind in EVENTS if kind is not RunLoaded))
        self._recorder_failed = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Bus:
        # A callback that is copied, as scikit-learn's `clone` does, goes on telling the same subscribers.
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Subscribers stay where they are. In another process the shared bus is that process's own.
        return (chosen, (None, "Bus")) if self is bus else (Bus, (self.max_points,))

    @property
    def max_points(self) -> int | None:
        """How many points the runs that begin from now on keep of each series of batches; None for all."""
        return self.runs.max_points

    @max_points.setter
    def max_points(self, most: int | None) -> None:
        self.runs.max_points = None if most is None else checked_count("max_points, if not None,", most, least=LEAST)

    def subscribe(self, subscriber: Subscriber, *event_types: type[Event]) -> Subscriber:
        """Call `subscriber` with every event from now on, or with those of the given types.

        Works as a decorator, too::

            @ew.bus.subscribe
            def tell(event):
                print(event)

        Parameters
        ----------
        subscriber
            Called with one event, in the thread of the training loop: it should be quick.
        *event_types
            Classes from `epochwidget.events`, by default all of them.

        Returns
        -------
        subscriber
            What was given, for `unsubscribe`.

        Raises
        ------
        TypeError
            If `subscriber` cannot be called, or an event type is none.
        """
        if not callable(subscriber):
            raise TypeError(f"subscribe() needs a function that takes one event, got {subscriber!r}.")
        for event_type in event_types:
            if event_type not in EVENTS:
                names = ", ".join(kind.__name__ for kind in EVENTS)
                raise TypeError(f"subscribe() knows no event type {event_type!r}; there are {names}.")
        for kind in event_types or EVENTS:
            self._change(kind, lambda present: (*present, subscriber))
        return subscriber

    def unsubscribe(self, subscriber: Callable[[Any], object]) -> None:
        """Call `subscriber` no more. Does nothing if it does not listen."""
        for kind in EVENTS:
            self._change(kind, lambda present: tuple(one for one in present if one != subscriber))

    def _change(self, kind: type[Event], change: Callable[[_Subscribers], _Subscribers]) -> None:
        with self._lock:
            while True:
                present = self._subscribers[kind]
                changed = change(present)
                # Garbage that is collected meanwhile may have unsubscribed, in this very thread.
                if self._subscribers[kind] is present:
                    self._subscribers[kind] = changed
                    return

    @contextmanager
    def subscribed(self, subscriber: Subscriber, *event_types: type[Event]) -> Iterator[Subscriber]:
        """Subscribe for the length of a ``with`` block."""
        self.subscribe(subscriber, *event_types)
        try:
            yield subscriber
        finally:
            self.unsubscribe(subscriber)

    def emit(self, event: Event) -> None:
        """Hand `event` to everybody who listens to its type."""
        try:
            subscribers = self._subscribers[type(event)]
        except KeyError:
            names = ", ".join(kind.__name__ for kind in EVENTS)
            raise TypeError(f"emit() needs an event, one of {names}, got {event!r}.") from None
        for subscriber in subscribers:
            try:
                subscriber(event)
            except Exception:
                if self._strict:
                    raise
                if subscriber == self._recorder:
                    # The history of one run failed. Without it there would be no other run in this kernel.
                    if not self._recorder_failed:
                        _log.exception("[epochwidget] not all of a run could be recorded; the training goes on.")
                    self._recorder_failed = True
                    continue
                self.unsubscribe(subscriber)
                _log.exception(
                    "[epochwidget] %r raised on %s and is not called again; the training goes on.",
                    subscriber,
                    type(event).__name__,
                )

    def take(self, history: History) -> History:
        """Take in a run that was elsewhere, as in a file, and tell everybody who listens by a `RunLoaded`.

        Parameters
        ----------
        history
            Of a run that has ended, and on no other bus.

        Returns
        -------
        History
            What is among `runs` from now on: `history`, or what was there of the same run, which stays as it is.
        """
        kept = self.runs.take(history)
        if kept is history:
            self.emit(RunLoaded(history.run))
        return kept


def chosen(given: Bus | None, owner: str) -> Bus:
    """Return the bus that `owner` was given, by default the shared one; raise if it is none."""
    if given is None:
        return bus
    if not isinstance(given, Bus):
        raise TypeError(f"{owner}(bus=...) needs an epochwidget.Bus, got {given!r}.")
    return given


#: The bus that everything uses unless told otherwise.
bus = Bus()

#: The histories of all runs on it, oldest first.
runs = bus.runs
