"""What the page asks of the kernel, heard also while a cell keeps that busy.

Messages of a widget wait until the cell has ended. What comes over the kernel's control channel is read by a thread of
its own, which ipykernel has for interrupts and the debugger. It knows no messages of widgets there, so this teaches it
those of ours: a ``comm_msg`` as on the other channel, with the widget's ``_uid`` as the comm's identifier. Other
kernels have no such channel, and there a question waits.

A question is data from outside, and nothing but what stands here is taken from it::

    {"type": "stop",         the run is to end, see `Stop`
     "run": text,            the run's identifier
     "after": text}          "batch" or "epoch"

    {"type": "detail",       what stands at some points, see `Detail`
     "question": n,          its number, which the answer repeats
     "run": text,            the run's identifier
     "generation": n,        of which generation of it
     "ranges": [[series, start, stop], ...]}   at most 8, of at most 16,384 points each: indices of points
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from . import shell
from .series import Granularity
from .wire import MESSAGE_POINTS

_RANGES = 8
# No page counts further, and no series is longer.
_LARGEST = 2**53

_log = logging.getLogger("epochwidget")
#: How a page makes a kernel hear it. ``"control"``: over that channel, at all times. ``"interrupt"``: by a message
#: while no cell runs, else by an interrupt, see `interrupts`. ``"message"``: while no cell runs, and not otherwise.
Reach = Literal["control", "interrupt", "message"]

_listeners: dict[str, Callable[[Any], None]] = {}


class Detail(NamedTuple):
    """A question for points that the page does not have, for a snapshot left them out."""

    question: int
    run: str
    generation: int
    ranges: list[tuple[int, int, int]]


class Stop(NamedTuple):
    """The wish that a run ends after the present batch, or after the present epoch."""

    run: str
    after: Granularity


def read(content: object) -> Detail | Stop | None:
    """Return the question or the wish that a message from the page holds, or None if it is none.

    Parameters
    ----------
    content
        Anything; it may come from a page that is not ours.
    """
    match content:
        case {"type": "stop", "run": str(run), "after": "batch" | "epoch" as after}:
            return Stop(run, after)
        case {"type": "detail", "question": question, "run": str(run), "generation": generation, "ranges": list(asked)}:
            ranges = [_range(one) for one in asked[: _RANGES + 1]]
            if _is_count(question) and _is_count(generation) and 0 < len(ranges) <= _RANGES and None not in ranges:
                return Detail(question, run, generation, [one for one in ranges if one is not None])
    return None


def _range(value: object) -> tuple[int, int, int] | None:
    match value:
        case [int(series), int(start), int(stop)] if all(map(_is_count, (series, start, stop))):
            return (series, start, stop) if start < stop <= start + MESSAGE_POINTS else None
    return None


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


def reach() -> Reach:
    """Return how a page reaches this kernel."""
    if _handlers() is not None:
        return "control"
    return "interrupt" if getattr(shell.present(), "kernel", None) is not None else "message"


def _handlers() -> dict[str, Any] | None:
    # No documented part of ipykernel, so it may not be there.
    found = getattr(getattr(shell.present(), "kernel", None), "control_handlers", None)
    return found if isinstance(found, dict) else None


def listen(uid: str, hear: Callable[[Any], None]) -> None:
    """Let `hear` have the content of each message to a widget on the control channel.

    Parameters
    ----------
    uid
        What the page calls the widget.
    hear
        Called in the thread of the control channel, on which interrupts wait: it has to return at once.
    """
    _listeners[uid] = hear
    handlers = _handlers()
    if handlers is not None:
        handlers.setdefault("comm_msg", _handle)


def unlisten(uid: str) -> None:
    """Hear no more for a widget."""
    _listeners.pop(uid, None)


def _handle(_stream: Any, _identity: Any, message: Any) -> None:
    try:
        content = message["content"]
        hear = _listeners.get(content["comm_id"])
        if hear is not None and content["data"]["method"] == "custom":
            hear(content["data"]["content"])
    except Exception:
        _log.exception("[epochwidget] a message from the page could not be read.")
