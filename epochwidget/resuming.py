"""Which run a training goes on in, and from where."""

from __future__ import annotations

from typing import Any

from .bus import Bus
from .errors import checked_count, checked_name
from .history import History


class Resumption:
    """A run that is to go on, once.

    Parameters
    ----------
    history
        What the person gave: a `History`, or something that has one.
    epoch
        The epoch, counted from 0, from which on what there is is dropped; None to drop nothing.
    name
        What the person wants to call the run: it has its name.
    bus
        Where it has to be.
    owner
        Who was told, for the errors.

    Raises
    ------
    TypeError
        If `history` has no history, or `epoch` is no whole number.
    ValueError
        If the run is not on `bus`, has another name, or has not come as far as that epoch.
    """

    def __init__(self, history: Any, epoch: Any, name: str | None, bus: Bus, owner: str) -> None:
        found = history if isinstance(history, History) else getattr(history, "history", None)
        if not isinstance(found, History):
            raise TypeError(f"{owner}(resume=...) needs a history, as ew.runs[-1] is one, got {history!r}.")
        on_bus = bus.runs.find(found.run)  # what was given may be a copy of it
        if on_bus is None:
            there_are = ", ".join(repr(one.title) for one in bus.runs) or "none"
            raise ValueError(
                f"{owner}(resume=...): the run {found.title!r} is not on this bus any more, or never was; "
                f"there are: {there_are}."
            )
        found = on_bus
        if name is not None and checked_name("The name of a run", name) != found.name:
            raise ValueError(
                f"{owner}(name={name!r}, resume=...): a run that goes on keeps its name, {found.name!r}; "
                f"leave name out."
            )
        if epoch is not None:
            epoch = checked_count(f"{owner}(epoch=...)", epoch, least=0)
            first = found.spans[0].epoch if found.spans else 0
            if not first <= epoch <= found.due:
                raise ValueError(
                    f"{owner}(epoch={epoch}): the run {found.title!r} can go on from epoch {first} to {found.due}, "
                    f"counted from 0."
                )
        self.history = found
        self.epoch: int | None = epoch
        self._is_due = True

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of what holds it, as of a callback, is for another training.
        return type(None), ()

    def once(self) -> Resumption | None:
        """Return itself the first time it is asked, then None: what is trained after that is a run of its own."""
        due, self._is_due = self._is_due, False
        return self if due else None


def resumption(history: Any, epoch: Any, name: str | None, bus: Bus, owner: str) -> Resumption | None:
    """Return what goes on, or None if a new run is to begin."""
    if history is None:
        if epoch is not None:
            raise TypeError(f"{owner}(epoch={epoch!r}) says from where a run goes on: give resume=history as well.")
        return None
    return Resumption(history, epoch, name, bus, owner)
