"""The mean of an epoch's values, put together of parts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .columns import Floats


class Mean(NamedTuple):
    """The mean of some batches' values, in which each counts as one, or by its size where all sizes are known.

    Attributes
    ----------
    batches : int
        How many there are.
    plain : float
        Their mean where each counts as one.
    size : float or None
        The sum of their sizes, or None where not all are known.
    weighted : float
        Their mean where each counts by its size; NaN where not all are known.
    """

    batches: int
    plain: float
    size: float | None
    weighted: float

    @classmethod
    def of(cls, values: Floats, sizes: Floats | None) -> Mean:
        """Reckon it.

        Parameters
        ----------
        values : numpy.ndarray, shape (at least 1,)
        sizes : numpy.ndarray, shape as values, or None
        """
        plain = _mean(values, np.ones(len(values)))
        if sizes is None:
            return cls(len(values), plain, None, np.nan)
        return cls(len(values), plain, float(sizes.sum()), _mean(values, sizes))

    @property
    def value(self) -> float:
        """The one of the two that is meant."""
        return self.plain if self.size is None else self.weighted

    def and_of(self, others: Mean) -> Mean:
        """Return the mean of these batches and others."""
        batches = self.batches + others.batches
        plain = self.plain * (self.batches / batches) + others.plain * (others.batches / batches)
        if self.size is None or others.size is None:
            return Mean(batches, plain, None, np.nan)
        size = self.size + others.size
        return Mean(batches, plain, size, self.weighted * (self.size / size) + others.weighted * (others.size / size))


def _mean(values: Floats, weights: Floats) -> float:
    # Losses may be infinite, and near the largest float their sum is.
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float((values * weights).sum() / weights.sum())
        if np.isinf(mean) and np.isfinite(values).all():
            mean = float((values * (weights / weights.sum())).sum())
    return mean
