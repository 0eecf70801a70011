"""What marimo tells of its cells: which one is being run, and how it ended.

It has no events as IPython's, so whoever wants to know asks now and then. The names that stand behind an underscore
may go any day: where one is missing, nothing is known of cells, and all else works.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def _context() -> Any:
    """Return what marimo knows of the notebook whose cells this thread runs; None where it runs none."""
    module = sys.modules.get("marimo._runtime.context")
    return getattr(module, "safe_get_context", lambda: None)()


# The process of the notebook, if it is marimo's: one that it began as a child of its own.
_process = None if _context() is None else os.getpid()


def is_notebook() -> bool:
    """Whether this process is that of the notebook, and not one that a framework began in its turn."""
    return _process == os.getpid()


class Execution:
    """A cell that is being run, once. Running it again is another."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._execution = context.execution_context
        self._cell = context.graph.cells[context.cell_id]

    @property
    def ended(self) -> bool:
        """Whether it has come to its end, and how is known."""
        return self._context.execution_context is not self._execution and self._cell.runtime_state != "running"

    @property
    def error(self) -> BaseException | None:
        """What ended it, if it was an exception or an interrupt."""
        if self._cell.run_result_status == "interrupted":
            return KeyboardInterrupt()
        error = self._cell.exception
        return error if isinstance(error, BaseException) else None


def present() -> Execution | None:
    """Return the cell that this thread is running; None where that is not known."""
    try:
        context = _context()
        if context is None or context.execution_context is None:
            return None
        execution = Execution(context)
        # Whether they can be told at all.
        _ = execution.ended, execution.error
    except (AttributeError, KeyError):
        return None
    return execution
