"""Training in a thread of its own, which leaves the notebook free for other cells, for reloads and for clicks."""

from __future__ import annotations

import contextvars
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, ParamSpec, TypeVar

from . import cell

P = ParamSpec("P")
R = TypeVar("R")


class Background(Future[R], Generic[R]):
    """A function that runs in a thread: a `concurrent.futures.Future`.

    ``result()`` waits, and returns what the function returned or raises what it raised; ``done()`` tells whether it has
    ended. Interrupting a cell that waits ends the waiting alone.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __repr__(self) -> str:
        if not self.done():
            return f"<background {self._name}: running>"
        error = self.exception()
        return f"<background {self._name}: {'finished' if error is None else f'failed, {type(error).__name__}'}>"


def background(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Background[R]:
    """Run a function in a thread of its own: ``training = ew.background(train, model, epochs=10)``.

    The cell ends at once. Meanwhile other cells can be run and the page can be reloaded; what the function prints goes
    to the cell that began it, as long as the page is not reloaded, and so does the traceback if it raises. Runs that it
    leaves open end with it.

    Threads share one interpreter. Beside an idle kernel the training is as fast as in a cell. Each time it comes back
    from compiled code it waits for a cell that computes in plain Python, up to ``sys.getswitchinterval()``, by default
    5 ms: loops of small steps take several times as long. And the model must not be used by both.

    An interrupt of the kernel does not reach it. Random seeds do, and PyTorch's default device and gradient mode, which
    each thread has its own of, do not: set them in the function. Frameworks that fork (``ddp_notebook``) or that want
    signals (Lightning's requeueing) are for the main thread.

    Parameters
    ----------
    function
        Called with what follows.
    *args, **kwargs
        For the function.

    Returns
    -------
    Background
        ``result()`` waits for the end, and returns or raises what the function did.

    Raises
    ------
    TypeError
        If `function` cannot be called.
    """
    if not callable(function):
        raise TypeError(
            f"background() needs a function and its arguments, got {function!r}: write background(train, model), "
            f"not background(train(model))."
        )
    training = Background[R](getattr(function, "__name__", type(function).__name__))
    training.set_running_or_notify_cancel()
    # By its context a kernel knows which cell's output this is.
    context = contextvars.copy_context()

    def body() -> None:
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            traceback.print_exc()
            cell.end_runs(error, for_good=True)
            training.set_exception(error)
        else:
            cell.end_runs(for_good=True)
            training.set_result(result)

    # A kernel that is shut down waits for nobody.
    threading.Thread(target=context.run, args=(body,), name=f"epochwidget-{training._name}", daemon=True).start()
    return training
