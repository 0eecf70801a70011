"""The end of a notebook cell, told to the runs that nothing else ends.

Most frameworks call no hook when training is interrupted or raises. IPython's ``post_run_cell`` event still comes,
with the exception that ended the cell.
"""

from __future__ import annotations

import sys
import threading
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from .run import Run

# The runs that may still go on, with the thread each was begun in and whether it ends with the call that began it.
_open: WeakKeyDictionary[Run, tuple[int, bool]] = WeakKeyDictionary()
_cell_began = 0.0
_hooked: Any = None


def watch(run: Run, *, within_call: bool = False) -> None:
    """End `run` when the cell that trains it ends by an exception, or with the last of its epochs.

    Parameters
    ----------
    within_call
        The run lives within one call, as that of ``model.fit``: once the cell has ended it is over in any case.
    """
    global _hooked
    shell = _shell()
    if shell is None:
        return
    if shell is not _hooked:
        shell.events.register("pre_run_cell", _before_cell)
        shell.events.register("post_run_cell", _after_cell)
        _hooked = shell
    _open[run] = threading.get_ident(), within_call


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def _before_cell(_info: Any) -> None:
    global _cell_began
    _cell_began = perf_counter()


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
