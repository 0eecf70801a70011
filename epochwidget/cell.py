"""What cells tell: their end to the runs that nothing else ends, their next run to the widgets that they showed.

Most frameworks call no hook when training is interrupted or raises. IPython's ``post_run_cell`` event still comes,
with the exception that ended the cell. And a cell that is run again loses its output, of which the front end can tell
a busy kernel nothing.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakMethod

if TYPE_CHECKING:
    from .run import Run

# The runs that may still go on, with the thread each was begun in and whether it ends with the call that began it.
_open: WeakKeyDictionary[Run, tuple[int, bool]] = WeakKeyDictionary()
# Whom to tell that a cell, named by its identifier, is about to be run.
_awaiting: dict[str, list[WeakMethod[Callable[[str], None]]]] = {}
_cell_began = 0.0
_hooked: Any = None


def watch(run: Run, *, within_call: bool = False) -> None:
    """End `run` when the cell that trains it ends by an exception, or with the last of its epochs.

    Parameters
    ----------
    within_call
        The run lives within one call, as that of ``model.fit``: once the cell has ended it is over in any case.
    """
    if _hook() is not None:
        _open[run] = threading.get_ident(), within_call


def present() -> str | None:
    """Return the identifier of the cell that is being run, or None where the front end gives none."""
    parent: dict[str, Any] = getattr(_hook(), "get_parent", dict)()
    found = parent.get("metadata", {}).get("cellId")
    return found if isinstance(found, str) else None


def when_run_again(cell: str, tell: Callable[[str], None]) -> None:
    """Call the method `tell` once, with the cell's identifier, when that cell is about to be run again."""
    _awaiting.setdefault(cell, []).append(WeakMethod(tell))


def _hook() -> Any:
    """Listen to the IPython that runs here, and return it; None where there is none."""
    global _hooked
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None and shell is not _hooked:
        shell.events.register("pre_run_cell", _before_cell)
        shell.events.register("post_run_cell", _after_cell)
        _hooked = shell
    return shell


def _before_cell(info: Any) -> None:
    global _cell_began
    _cell_began = perf_counter()
    cell = str(getattr(info, "cell_id", ""))
    for reference in _awaiting.pop(cell, []):
        tell = reference()
        if tell is not None:
            tell(cell)


def _after_cell(result: Any) -> None:
    error = getattr(result, "error_in_exec", None)
    for run, (thread, within_call) in list(_open.items()):
        if run.status != "running":
            _open.pop(run, None)
        elif thread != threading.get_ident():
            continue  # it trains in a thread of its own and goes on
        elif error is not None and run.last_active >= _cell_began:
            run.end_by(error)
        elif within_call:
            run.end("stopped")
        elif run.epochs_done:
            run.end()
