"""Interrupts, where they are the only way in which a page reaches a busy kernel.

A page whose Stop no control channel takes interrupts the kernel. While a run goes on the first interrupt is then taken
for the wish that it ends after the present batch, and the second for an interrupt. Where the control channel is there,
see `control`, an interrupt is what it always was.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from .history import History


def guard(history: History) -> None:
    """Take the first interrupt for the wish that a run ends; in any thread but that of the cells it does nothing."""
    if threading.current_thread() is threading.main_thread():
        _Guard(history)


class _Guard:
    def __init__(self, history: History) -> None:
        self._history = history
        # A kernel puts its own back at the end of each cell.
        self._former: Any = signal.signal(signal.SIGINT, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle an interrupt."""
        history = self._history
        if history.status == "running" and history.stoppable is not None and history.stopping is None:
            history.stop()
            return
        signal.signal(signal.SIGINT, self._former)
        if callable(self._former):
            self._former(number, frame)
