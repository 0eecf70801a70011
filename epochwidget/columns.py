"""A column of numbers that grows without ever copying what it holds."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_SMALLEST, _LARGEST = 256, 65_536


class Column:
    """Float64 numbers in chunks: appending never moves what is there, so that no batch waits for a copy.

    Chunks start small, for a run may have thousands of series, and grow with the column up to 512 kB, so that no more
    than a fifth of a long one is empty.

    Parameters
    ----------
    chunks : iterable of numpy.ndarray, shape (at least 1,), float64
        What it begins with; the arrays are not copied.
    """

    __slots__ = ("_chunks", "_length", "_starts")

    def __init__(self, chunks: Iterable[Floats] = ()) -> None:
        self._chunks: list[Floats] = list(chunks)
        *self._starts, self._length = accumulate(map(len, self._chunks), initial=0)

    def __len__(self) -> int:
        return self._length

    def extend(self, numbers: Sequence[float] | Floats) -> None:
        """Append numbers."""
        fresh = np.asarray(numbers, dtype=np.float64)
        while len(fresh):
            room = self._starts[-1] + len(self._chunks[-1]) - self._length if self._chunks else 0
            if not room:
                room = min(max(_SMALLEST, self._length // 4), _LARGEST)
                # The start first: who reads meanwhile counts the chunks and looks up the start of each.
                self._starts.append(self._length)
                self._chunks.append(np.empty(room))
            taken = fresh[:room]
            at = self._length - self._starts[-1]
            self._chunks[-1][at : at + len(taken)] = taken
            self._length += len(taken)
            fresh = fresh[room:]

    def cut(self, length: int) -> None:
        """Forget all but the first numbers."""
        kept = bisect_left(self._starts, length)
        self._length = min(length, self._length)
        del self._chunks[kept:], self._starts[kept:]

    def with_front(self, count: int, chunks: Sequence[Floats]) -> Column:
        """Return a column that has these chunks in the place of the first `count` numbers.

        Nothing is copied: all that follows is in both. This one still holds what it held, but must not grow any more.
        """
        column = Column(chunks)
        if count < self._length:
            at = bisect_right(self._starts, count) - 1
            behind = [self._chunks[at][count - self._starts[at] :], *self._chunks[at + 1 :]]
            starts = accumulate(map(len, behind[:-1]), initial=column._length)
            column._starts.extend(starts)
            column._chunks.extend(behind)
            column._length += self._length - count
        return column

    def array(self, start: int = 0, stop: int | None = None) -> Floats:
        """Copy the numbers from `start` up to `stop`, by default all of them, into one array.

        Returns
        -------
        numpy.ndarray, shape (stop - start,), float64
        """
        stop = self._length if stop is None else min(stop, self._length)
        if start >= stop:
            return np.empty(0)
        parts = []
        for index in range(bisect_right(self._starts, start) - 1, len(self._chunks)):
            first = self._starts[index]
            if first >= stop:
                break
            parts.append(self._chunks[index][max(start - first, 0) : stop - first])
        return np.concatenate(parts)

    def at(self, indices: npt.NDArray[np.intp]) -> Floats:
        """Copy the numbers at some indices, which rise.

        Parameters
        ----------
        indices : numpy.ndarray, shape (n,)

        Returns
        -------
        numpy.ndarray, shape (n,), float64
        """
        found = np.empty(len(indices))
        starts = self._starts[:]
        bounds = np.searchsorted(indices, [*starts, self._length])
        for number, start in enumerate(starts):
            part = slice(bounds[number], bounds[number + 1])
            found[part] = self._chunks[number][indices[part] - start]
        return found

    def last(self) -> float:
        """Return the newest number, or NaN where there is none."""
        return float(self._chunks[-1][self._length - self._starts[-1] - 1]) if self._length else float("nan")
