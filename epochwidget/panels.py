"""Which series goes on which panel, and what tells it from its neighbours there."""

from __future__ import annotations

from .series import LEARNING_RATE, Series


def panel(series: Series) -> str:
    """Return the title of the panel: the metric, so that validation lies beside training."""
    return series.metric


def label(series: Series) -> str:
    """Return what a legend calls the series: its split, or its name where a panel has several of one split."""
    return series.name if series.metric == LEARNING_RATE else series.split
