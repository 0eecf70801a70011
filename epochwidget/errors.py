"""Errors to the person: one sentence that says what was given, what is accepted and what to do."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from itertools import count
from operator import index
from pathlib import Path
from typing import Any, TypeVar, cast
from weakref import WeakSet

from .watching import SAMPLED, counted

Hook = TypeVar("Hook", bound=Callable[..., Any])

_failed: WeakSet[Any] = WeakSet()
_log = logging.getLogger("epochwidget")


def check_version(package: str, installed: str, at_least: str, below: str | None = None) -> None:
    """Raise unless `package` is of a version that what needs it was written for.

    Parameters
    ----------
    package
        Its name for ``pip``.
    installed
        Its version here.
    at_least, below
        The first version that is supported, and the first that is not any more; None for none.

    Raises
    ------
    ImportError
        Naming what is installed and what is supported.
    """
    if _numbers(installed) < _numbers(at_least) or (below is not None and _numbers(installed) >= _numbers(below)):
        newest, limit = (f", but below {below}", f",<{below}") if below is not None else ("", "")
        raise ImportError(
            f"epochwidget needs {package} {at_least} or newer{newest}; {installed} is installed: "
            f"pip install '{package}>={at_least}{limit}'."
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, without what follows them in a pre-release or a local one."""
    found = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    return tuple(numbers + [0] * (4 - len(numbers)))


def harmless(hook: Hook) -> Hook:
    """Let no failure of a callback's hook end the training; the first of each callback is logged.

    What the hook takes is counted as watching.
    """

    @counted
    @wraps(hook)
    def hook_or_log(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return hook(self, *args, **kwargs)
        except Exception:
            _log_first(self)

    return cast("Hook", hook_or_log)


def harmless_for_batches(hook: Hook) -> Hook:
    """As `harmless`, for a short hook of every batch: to measure it takes longer than itself.

    One call in 61 is counted, for all of them. What now and then takes longer has to be `watching.counted` by itself.
    """
    sampled = counted(hook, SAMPLED)
    calls = count(1)

    @wraps(hook)
    def hook_or_log(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            if next(calls) % SAMPLED:
                return hook(self, *args, **kwargs)
            return sampled(self, *args, **kwargs)
        except Exception:
            _log_first(self)

    return cast("Hook", hook_or_log)


def _log_first(owner: Any) -> None:
    """Log the exception that is being handled, if it is the first of its owner."""
    if owner not in _failed:
        _failed.add(owner)
        _log.exception("[epochwidget] not all of the training can be shown; it goes on.")


def unknown_keywords(owner: str, unknown: Iterable[str], known: Iterable[str]) -> TypeError:
    """Name the nearest known keyword for each that `owner` does not take."""
    known = sorted(known)
    given = []
    for name in unknown:
        near = get_close_matches(name, known, n=1)
        given.append(f"{name!r} (did you mean {near[0]!r}?)" if near else repr(name))
    return TypeError(f"{owner}() does not know {', '.join(given)}; it takes {', '.join(known)}.")


def checked_name(what: str, name: Any) -> str:
    """Return `name` if it is a text that shows something, else raise."""
    if not isinstance(name, str):
        raise TypeError(f"{what} has to be a text, got {name!r}.")
    if not name.strip():
        raise ValueError(f"{what} is empty: give it a name that can be read on a plot.")
    return name


def checked_path(owner: str, path: Any) -> Path:
    """Return `path` as one if a file may be there; `owner` is who was given it, as ``"load"``."""
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise TypeError(f"{owner}() needs the path of a file, got {path!r}.")
    if "\0" in os.fspath(path):
        raise ValueError(f"{owner}() needs the path of a file, and {os.fspath(path)!r} can be none.")
    return Path(path)


def checked_count(what: str, count: Any, *, least: int = 1) -> int:
    """Return `count` if it is a whole number, `least` or more, else raise."""
    try:
        number = index(count)  # NumPy's integers, too
    except TypeError:
        number = None
    if number is None or isinstance(count, bool):
        raise TypeError(f"{what} has to be a whole number, got {count!r}.")
    if number < least:
        raise ValueError(f"{what} has to be {least} or more, got {number}.")
    return number
