"""Which series goes on which panel, and what tells it from its neighbours there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from .errors import checked_name
from .series import Series

Scale = Literal["auto", "linear", "log"]

# What frameworks write around the name of a metric to tell its split and granularity, which the series knows anyway.
_PREFIXES = ("", "train_", "training_", "val_", "valid_", "validation_", "eval_", "running_", "smooth_")
_SUFFIXES = ("", "_step", "_epoch")


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel of one's own: ``EpochWidget(panels=[ew.Panel("Gradients", ["grad_norm"], scale="log")])``.

    Parameters
    ----------
    title
        What stands above it.
    metrics
        What it shows: names as in the history (``"grad_norm"``, ``"val_loss"``), or metrics (``"loss"``), which
        are the training and the validation of it.
    scale
        Its axis: ``"linear"``, ``"log"``, or ``"auto"`` for what the widget's `log_scale` says.

    Raises
    ------
    TypeError, ValueError
        If the title or a metric is no text or empty, there is no metric, or one twice, or the scale is none of these.
    """

    title: str
    metrics: Sequence[str]
    scale: Scale = "auto"

    def __post_init__(self) -> None:
        checked_name("The title of a panel", self.title)
        metrics: Any = self.metrics
        if isinstance(metrics, str) or not isinstance(metrics, Iterable):
            raise TypeError(f"The metrics of a panel have to be a list of names, got {metrics!r}.")
        names = tuple(checked_name("A metric of a panel", metric) for metric in metrics)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"The panel {self.title!r} names {twice!r} twice.")
        if not names:
            raise ValueError(f"The panel {self.title!r} shows nothing: name a metric, for example ['loss'].")
        if self.scale not in get_args(Scale):
            raise ValueError(f"The scale of a panel has to be 'auto', 'linear' or 'log', got {self.scale!r}.")
        object.__setattr__(self, "metrics", names)


def panel(series: Series) -> str:
    """Return the title of the panel: the metric, so that validation lies beside training."""
    return series.metric


def label(series: Series) -> str:
    """Return what a legend calls the series: its split, or its name where that says more.

    ``val_loss``, ``valid_loss`` and ``eval_loss`` are all "validation"; ``first_loss`` may be one of several.
    """
    plain = {f"{prefix}{series.metric}{suffix}" for prefix in _PREFIXES for suffix in _SUFFIXES}
    # A running mean belongs to the value of which it is the mean.
    return series.split if series.name in plain or series.kind == "running" else series.name
