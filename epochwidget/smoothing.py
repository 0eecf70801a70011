"""The exponential average over batches, debiased as TensorBoard's. Twin: ``js/src/smoothing.ts``."""

from __future__ import annotations

import numpy as np

from .columns import Floats

# Within so many decades a float64 keeps all its digits beside the average's own range.
_DECADES = 100.0


def smoothed(steps: Floats, values: Floats, weight: float) -> Floats:
    """Return the average at each point.

    With the weight ``w``, the average after the values ``v[0] ... v[n]`` of consecutive steps is
    ``sum(w**(n-k) * v[k]) / sum(w**(n-k))``. A value that comes ``d`` steps after the one before counts as if it had
    been there ``d`` times. NaN and infinities are passed over.

    Parameters
    ----------
    steps : numpy.ndarray, shape (n,)
        How many batches had ended at each point; rising.
    values : numpy.ndarray, shape (n,)
    weight
        From 0 (the values themselves) to below 1.

    Returns
    -------
    numpy.ndarray, shape (n,)
        NaN where a value is no finite number.
    """
    result = np.full(len(values), np.nan)
    finite = np.flatnonzero(np.isfinite(values))
    if weight <= 0 or not len(finite):
        result[finite] = values[finite]
        return result
    at = steps[finite]
    # Values near the largest float would leave its range under the weights below.
    scale = float(np.abs(values[finite]).max()) or 1.0
    numbers = values[finite] / scale
    gaps = np.maximum(np.diff(at, prepend=at[0] - 1), 1)
    new = 1 - weight**gaps
    age = np.cumsum(gaps)
    total = norm = before = 0.0
    start = 0
    # In stretches over which the weights stay within the range of a float.
    longest = _DECADES / -np.log10(weight)
    while start < len(at):
        end = int(age.searchsorted(before + longest, side="right"))
        part = slice(start, max(end, start + 1))
        if end > start:
            fade = weight ** (age[part] - before)
            sums = fade * (total + np.cumsum(numbers[part] * new[part] / fade))
            norms = fade * (norm + np.cumsum(new[part] / fade))
        else:  # so much later that nothing is left of what came before
            sums, norms = numbers[part] * new[part], new[part]
        result[finite[part]] = sums / norms * scale
        total, norm, before = float(sums[-1]), float(norms[-1]), float(age[part][-1])
        start = part.stop
    return result
