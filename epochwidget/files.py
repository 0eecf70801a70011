"""Runs in files: `History.save` writes one, `load` reads it again.

A path that ends in ``.parquet`` becomes a Parquet file, by pyarrow (`epochwidget.parquet`), any other one of NumPy's
(`epochwidget.npz`), which needs nothing. It is the path that says so, not what is installed: a file that one machine
writes another should read. What is in both is in `epochwidget.description`.
"""

from __future__ import annotations

import os

from . import npz, parquet
from .bus import Bus, chosen
from .description import UnfitError
from .errors import checked_path
from .history import History
from .replacing import replacing


def load(path: str | os.PathLike[str], bus: Bus | None = None) -> History:
    """Read a run that `History.save` has written, and show it in every widget: ``ew.load("resnet18.npz")``.

    It stands among the runs of the bus where it began. ``ew.Run(resume=ew.load("resnet18.npz"))`` goes on in it.

    Parameters
    ----------
    path
        The file.
    bus
        Which bus's runs to add it to, by default those of the shared one.

    Returns
    -------
    History
        The run, with every number as it was. Its number, and with it its title, is another if a run of the bus has
        that number. If the run itself is on the bus, as when a file is loaded twice, nothing is added and what is
        there is returned, whether or not it has gone on since.

    Raises
    ------
    OSError
        If there is no such file, or it may not be read.
    ValueError
        If it is no such file, is damaged, or is of a newer epochwidget. Then nothing is added. Nothing in a file is
        ever executed.
    TypeError
        If `path` is no path, or `bus` no bus.
    MemoryError
        If there is not enough for it.
    ImportError
        If it is a Parquet file and there is no pyarrow.
    """
    bus = chosen(bus, "load")
    path = checked_path("load", path)
    if path.exists() and not (path.is_file() or path.is_dir()):  # a device may have no end
        raise ValueError(f"load() needs a file that history.save(path) has written; {str(path)!r} is no file.")
    with path.open("rb") as file:
        form = parquet if file.read(len(parquet.MAGIC)) == parquet.MAGIC else npz
        try:
            history = form.read(file)
        except (ImportError, MemoryError):  # nobody knows what the file is
            raise
        except Exception as error:  # a damaged file makes any of a dozen
            told = error if isinstance(error, UnfitError) else UnfitError(f"it is damaged ({type(error).__name__})")
            raise ValueError(
                f"load({os.fspath(path)!r}) needs a file that history.save(path) has written: {told}; {told.remedy}."
            ) from error
    return bus.take(history)


def save(history: History, path: str | os.PathLike[str]) -> None:
    """Write a run to a file, see `History.save`."""
    path = checked_path("save", path)
    form = parquet if path.name.lower().endswith(".parquet") else npz
    try:
        with replacing(path, f"the run {history.title!r}") as file:
            form.write(file, history)
    except UnfitError as error:
        raise ValueError(
            f"the run {history.title!r} was not saved: {error}; whoever emits events has to keep to that."
        ) from error
