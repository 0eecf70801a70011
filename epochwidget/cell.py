"""What cells tell: their end to runs that nothing else ends and to widgets, their next run to what they showed.

Most frameworks call no hook when training is interrupted or raises. IPython's ``post_run_cell`` event still comes,
with the exception that ended the cell; marimo is asked, see `end_runs_left`. And a cell that is run again loses its
output, of which the front end can tell a busy kernel nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary, WeakMethod, WeakSet

from . import marimo, shell

if TYPE_CHECKING:
    from .run import Run

# The runs that may still go on, with the thread each was begun in, the cell if it is marimo's, and whether it ends with
# the call that began it.
_open: WeakKeyDictionary[Run, tuple[int, marimo.Execution | None, bool]] = WeakKeyDictionary()
# Whom to tell that a cell, named by its identifier, is about to be run.
_awaiting: dict[str, list[WeakMethod[Callable[[str], None]]]] = {}
# Who does something once a cell has ended, after its runs have.
_followers: WeakSet[Follower] = WeakSet()
_cell_began = 0.0
_running_in: int | None = None
_hooked: Any = None


class Follower(Protocol):
    """Somebody to be told of the end of cells."""

    def cell_ended(self) -> None:
        """Do what was left for the end of the cell."""


def follow(follower: Follower) -> None:
    """Tell `follower` of the end of every cell, as long as it lives."""
    if _hook() is not None:
        _followers.add(follower)


def is_running() -> bool:
    """Whether this is the thread in which a cell is being run, whose end is going to be told."""
    return _hook() is not None and _running_in == threading.get_ident()


def has_kernel() -> bool:
    """Whether what is displayed goes to a notebook, where it can be replaced later."""
    return getattr(_hook(), "kernel", None) is not None


def watch(run: Run, *, within_call: bool = False) -> None:
    """End `run` when the cell that trains it ends by an exception, or with the last of its epochs.

    Parameters
    ----------
    within_call
        The run lives within one call, as that of ``model.fit``: once the cell has ended it is over in any case.
    """
    _hook()
    _open[run] = threading.get_ident(), marimo.present(), within_call


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
    global _hooked, _running_in
    ipython = shell.present()
    if ipython is not None and ipython is not _hooked:
        ipython.events.register("pre_run_cell", _before_cell)
        ipython.events.register("post_run_cell", _after_cell)
        _hooked = ipython
        if threading.current_thread() is threading.main_thread():
            _running_in = threading.get_ident()  # it is a cell that asks
    return ipython


def _before_cell(info: Any) -> None:
    global _cell_began, _running_in
    _cell_began, _running_in = perf_counter(), threading.get_ident()
    cell = str(getattr(info, "cell_id", ""))
    for reference in _awaiting.pop(cell, []):
        tell = reference()
        if tell is not None:
            tell(cell)


def end_runs(error: BaseException | None = None, *, since: float = 0.0, for_good: bool = False) -> None:
    """End the runs of this thread that nothing else ends, now that what trained them has ended.

    Parameters
    ----------
    error
        What ended it, if it was an exception.
    since
        On the clock of ``time.perf_counter``: runs that have not been active since have nothing to do with the error.
    for_good
        Whether nothing of this thread comes after: then a run without a last epoch has ended, too.
    """
    for run, (thread, _, within_call) in list(_open.items()):
        # One of another thread trains there and goes on.
        if thread == threading.get_ident() or run.status != "running":
            _end(run, within_call, error if run.last_active >= since else None, for_good=for_good)


def end_runs_left() -> None:
    """End the runs that cells of marimo have left open. To be called now and then."""
    for run, (_, execution, within_call) in list(_open.items()):
        if execution is not None and execution.ended:
            _end(run, within_call, execution.error)
            _open.pop(run, None)  # if it goes on in another cell, that cell is not known


def _end(run: Run, within_call: bool, error: BaseException | None, *, for_good: bool = False) -> None:
    if run.status != "running":
        _open.pop(run, None)
    elif error is not None:
        run.end_by(error)
    elif within_call:
        run.end("stopped")
    elif run.epochs_done or for_good:
        run.end()


def _after_cell(result: Any) -> None:
    global _running_in
    end_runs(getattr(result, "error_in_exec", None), since=_cell_began)
    _running_in = None
    for follower in list(_followers):
        follower.cell_ended()
