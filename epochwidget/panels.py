"""Which series goes on which panel, and what tells it from its neighbours there."""

from __future__ import annotations

from .series import Series

# What frameworks write around the name of a metric to tell its split and granularity, which the series knows anyway.
_PREFIXES = ("", "train_", "training_", "val_", "valid_", "validation_", "eval_", "running_", "smooth_")
_SUFFIXES = ("", "_step", "_epoch")


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
