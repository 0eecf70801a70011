"""Which points to keep where there are too many, so that no spike is lost."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .columns import Column, Floats

Indices = npt.NDArray[np.intp]

# Of so many points at a time the spikes are found once, and so many points are looked at at once: a training thread
# waits for no longer than that takes.
_BLOCK, _AT_ONCE = 64, 65_536
# From so many blocks in a stretch on hardly fewer points are chosen where stretches end with blocks.
_BLOCKS = 4


def spikes(values: Floats, starts: Indices) -> tuple[npt.NDArray[np.bool_], Floats, Floats]:
    """Choose what to keep of stretches of points.

    Parameters
    ----------
    values : numpy.ndarray, shape (n,)
    starts : numpy.ndarray, shape (stretches,)
        Where the stretches begin, rising, the first of them at 0.

    Returns
    -------
    kept : numpy.ndarray, shape (n,), bool
        In each stretch the first of the lowest, of the highest, and of those that are no finite numbers.
    lowest, highest : numpy.ndarray, shape (stretches,)
        Of the finite ones; NaN where there is none.
    """
    finite = np.isfinite(values)
    low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
    lowest, highest = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
    lengths = np.append(starts[1:], len(finite)) - starts
    stretch = np.arange(len(starts)).repeat(lengths)
    kept = np.zeros(len(finite), dtype=np.bool_)
    for wanted in (finite & (low == lowest.repeat(lengths)), finite & (high == highest.repeat(lengths)), ~finite):
        at = np.flatnonzero(wanted)
        here = stretch[at]
        kept[at[:1]] = True
        kept[at[1:][here[1:] != here[:-1]]] = True
    nothing = lowest > highest
    lowest[nothing] = highest[nothing] = np.nan
    return kept, lowest, highest


def extremes(values: Floats, keep: int) -> Indices:
    """Choose about `keep` indices that hold every spike.

    Parameters
    ----------
    values : numpy.ndarray, shape (n,)
    keep
        About how many indices to choose.

    Returns
    -------
    numpy.ndarray, shape (at most max(keep, 3) + 2,), int
        Rising: the first and the last index, and of each of a number of equal stretches the lowest and the highest
        finite value and the first that is no finite number.
    """
    n = len(values)
    if n <= keep:
        return np.arange(n)
    kept, _, _ = spikes(values, np.arange(0, n, _length(n, values, keep)))
    kept[[0, -1]] = True
    return np.flatnonzero(kept)


@dataclass(frozen=True, slots=True)
class Spikes:
    """The spikes of the beginning of a column that grows; it never changes.

    Attributes
    ----------
    end : int
        How many numbers of the column were looked at.
    at, values : numpy.ndarray, shape (spikes,)
        The indices of their spikes, rising, and what stands there: of every 64 numbers one to three.
    """

    end: int = 0
    at: Indices = field(default_factory=lambda: np.empty(0, np.intp))
    values: Floats = field(default_factory=lambda: np.empty(0))

    def grown(self, column: Column, length: int) -> Spikes:
        """Return those of as many of the column's first `length` numbers as there are whole blocks of."""
        end, at, values = length // _BLOCK * _BLOCK, [self.at], [self.values]
        for start in range(self.end, end, _AT_ONCE):
            numbers = column.array(start, min(start + _AT_ONCE, end))
            kept, _, _ = spikes(numbers, np.arange(0, len(numbers), _BLOCK))
            at.append(start + np.flatnonzero(kept))
            values.append(numbers[kept])
        return self if end == self.end else Spikes(end, np.concatenate(at), np.concatenate(values))

    def extremes(self, column: Column, length: int, keep: int) -> Indices:
        """Return what `extremes` does of the column's first `length` numbers, looking at these spikes alone.

        The stretches are whole numbers of blocks long, so that somewhat fewer may be chosen.
        """
        at = np.concatenate([self.at, np.arange(self.end, length)])
        values = np.concatenate([self.values, column.array(self.end, length)])
        stretch = -(-_length(length, values, keep) // _BLOCK) * _BLOCK
        kept, _, _ = spikes(values, np.flatnonzero(np.diff(at // stretch, prepend=-1)))
        chosen: Indices = np.union1d(at[kept], [0, length - 1])
        return chosen


def are_many(n: int, keep: int) -> bool:
    """Tell whether `Spikes.extremes` chooses nearly as many of `n` points as `extremes`, which looks at all of them."""
    return n >= _BLOCKS * _BLOCK * keep // 2


def _length(n: int, values: Floats, keep: int) -> int:
    """Return how long each of the stretches is in which about `keep` of `n` points are chosen."""
    return -(-n // max(keep // (2 if np.isfinite(values).all() else 3), 1))
