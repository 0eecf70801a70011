"""Watch models train in a notebook: live loss, metrics and learning rate, per batch and per epoch.

>>> import epochwidget as ew
>>> from epochwidget.callbacks.keras import EpochCallback  # doctest: +SKIP
>>> ew.EpochWidget()  # doctest: +SKIP
>>> model.fit(x, y, epochs=10, callbacks=[EpochCallback()])  # doctest: +SKIP
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .background import Background, background
    from .bus import Bus, bus, runs
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
    from .importers import from_fastai, from_keras, from_lightning, from_tensorboard, from_transformers
    from .panels import Panel
    from .run import Run
    from .series import Series
    from .widget import EpochWidget

__version__ = "0.1.0"

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


# Which module each of these is in. It is imported when one is first asked for, so that `import epochwidget` takes next
# to no time: NumPy and ipywidgets are not waited for until there is something to keep or to show.
_MODULES = {
    "background": ("Background", "background"),
    "bus": ("Bus", "bus", "runs"),
    "events": (
        "BatchEnded",
        "EpochEnded",
        "EpochStarted",
        "Evaluated",
        "Marked",
        "RunEnded",
        "RunLoaded",
        "RunResumed",
        "RunStarted",
        "SeriesDeclared",
    ),
    "files": ("load",),
    "history": ("History", "Runs"),
    "importers": ("from_fastai", "from_keras", "from_lightning", "from_tensorboard", "from_transformers"),
    "panels": ("Panel",),
    "run": ("Run",),
    "series": ("Series",),
    "widget": ("EpochWidget",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


class _Package(ModuleType):
    """The package. Its bus is called as the module that the bus is in, which must not come in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system makes each module of a package an attribute of it.
        if name not in _HOMES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
