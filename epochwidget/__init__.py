"""Watch models train in a notebook: live loss, metrics and learning rate, per batch and per epoch.

>>> import epochwidget as ew
>>> from epochwidget.callbacks.keras import EpochCallback  # doctest: +SKIP
>>> ew.EpochWidget()  # doctest: +SKIP
>>> model.fit(x, y, epochs=10, callbacks=[EpochCallback()])  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

from .background import Background, background
from .bus import Bus, bus
from .events import (
    BatchEnded,
    EpochEnded,
    EpochStarted,
    Evaluated,
    Marked,
    RunEnded,
    RunLoaded,
    RunResumed,
    RunStarted,
    SeriesDeclared,
)
from .files import load
from .history import History, Runs
from .panels import Panel
from .run import Run
from .series import Series
from .widget import EpochWidget

if TYPE_CHECKING:
    from .importers import from_fastai, from_keras, from_lightning, from_tensorboard, from_transformers

__version__ = "0.1.0"

#: The histories of all runs on the shared bus, oldest first.
runs: Runs = bus.runs

__all__ = [
    "Background",
    "BatchEnded",
    "Bus",
    "EpochEnded",
    "EpochStarted",
    "EpochWidget",
    "Evaluated",
    "History",
    "Marked",
    "Panel",
    "Run",
    "RunEnded",
    "RunLoaded",
    "RunResumed",
    "RunStarted",
    "Runs",
    "Series",
    "SeriesDeclared",
    "background",
    "bus",
    "from_fastai",
    "from_keras",
    "from_lightning",
    "from_tensorboard",
    "from_transformers",
    "load",
    "runs",
]


def __getattr__(name: str) -> Any:
    # Who reads no files of the past waits for nothing that does.
    if name.startswith("from_") and name in __all__:
        from . import importers  # noqa: PLC0415

        return getattr(importers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
