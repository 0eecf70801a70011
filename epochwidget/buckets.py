"""What is kept of old points that are too many: in each bucket of them its spikes, and aside what it held.

The newest half of what may be kept is never touched. What is older lies in buckets of equal numbers of points, and
whenever these become too many, the finest of them are doubled, oldest first: what is old stays at about one resolution,
half as fine each time the run has become twice as long. Work is done by the block of at most 1,024 buckets, so that no
training waits, however much may be kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from .columns import Column, Floats
from .spikes import spikes

#: How few points may be asked to be kept of each series.
LEAST = 1_000

# How many points the first bucket of each takes, as a power of two. Three are kept of it at most.
_FIRST_LEVEL = 3
# How many buckets are made, or doubled, at a time, and what share of all points they are made of at most.
_MOST_AT_ONCE, _SHARE = 1024, 128
# How many series take turns. The points of one block's first buckets come with so many folds of 1,024 batches.
_TURNS = 8


@dataclass(frozen=True, slots=True)
class Buckets:
    """Points that were merged: one number for each bucket, oldest first.

    Attributes
    ----------
    first, last : numpy.ndarray, shape (buckets,), float64
        The lowest and the highest step of a bucket's points.
    count, finite : numpy.ndarray, shape (buckets,), float64
        How many points it was made of, and how many of these are finite numbers.
    lowest, mean, highest : numpy.ndarray, shape (buckets,), float64
        Of the finite ones; NaN where there is none.
    """

    first: Floats
    last: Floats
    count: Floats
    finite: Floats
    lowest: Floats
    mean: Floats
    highest: Floats

    def __len__(self) -> int:
        return len(self.count)


@dataclass(frozen=True, slots=True)
class Block:
    """Adjacent buckets of about one size, and the points that are kept of them.

    Attributes
    ----------
    level : int
        How many points its buckets are made of, as a power of two.
    begin : int
        The index of its first point among all that ever were.
    steps, values, indices : numpy.ndarray, shape (points kept,), float64
        What is kept: of each bucket, one to three points.
    first, last, count, finite, mean : numpy.ndarray, shape (buckets,), float64
        See `Buckets`.
    """

    level: int
    begin: int
    steps: Floats
    values: Floats
    indices: Floats
    first: Floats
    last: Floats
    count: Floats
    finite: Floats
    mean: Floats

    @classmethod
    def of(cls, steps: Floats, values: Floats, begin: int) -> Block:
        """Return a bucket for each of some points."""
        each = np.ones(len(values))
        finite = np.isfinite(values)
        mean = np.where(finite, values, np.nan)
        indices = begin + np.arange(len(values), dtype=np.float64)
        return cls(0, begin, steps, values, indices, steps, steps, each, finite.astype(np.float64), mean)

    def __len__(self) -> int:
        return len(self.count)

    @property
    def end(self) -> int:
        """One past the index of its last point."""
        return self.begin + int(self.count.sum())

    @property
    def most(self) -> int:
        """How many points can be kept of so many buckets like these; how few are, is chance."""
        return len(self) * (2 if bool((self.finite == self.count).all()) else 3)

    def starts(self) -> npt.NDArray[np.intp]:
        """Return where in `values` the points of each bucket begin."""
        return self.indices.searchsorted(self.begin + np.cumsum(self.count) - self.count)

    def coarser(self, levels: int = 1) -> Block:
        """Return the same points in buckets of two of these each, or of two of those, so many times."""
        at = np.arange(0, len(self), 2**levels)
        kept, lowest, highest = spikes(self.values, self.starts()[at])
        finite = np.add.reduceat(self.finite, at)
        share = self.finite / np.maximum(finite, 1).repeat(2**levels)[: len(self)]
        with np.errstate(over="ignore"):
            mean = np.add.reduceat(np.where(self.finite > 0, self.mean, 0) * share, at)
        return Block(
            self.level + levels,
            self.begin,
            self.steps[kept],
            self.values[kept],
            self.indices[kept],
            np.minimum.reduceat(self.first, at),
            np.maximum.reduceat(self.last, at),
            np.add.reduceat(self.count, at),
            finite,
            # By rounding, the mean of the largest floats would be infinite.
            np.minimum(np.maximum(mean, lowest), highest),
        )

    def part(self, start: int, stop: int, starts: npt.NDArray[np.intp]) -> Block:
        """Return its buckets from `start` up to `stop`, of which there is one at least; `starts` is `starts()`."""
        bounds = np.append(starts[start : stop + 1], len(self.values))[[0, stop - start]]
        points, buckets = slice(*bounds), slice(start, stop)
        return Block(
            self.level,
            self.begin + int(self.count[:start].sum()),
            *(column[points] for column in (self.steps, self.values, self.indices)),
            *(column[buckets] for column in (self.first, self.last, self.count, self.finite, self.mean)),
        )


def _joined(blocks: Sequence[Block]) -> Block:
    """Return the buckets of adjacent blocks as one block's."""
    columns = [field.name for field in fields(Block)[2:]]
    return Block(
        max(block.level for block in blocks),
        blocks[0].begin,
        *(np.concatenate([getattr(block, name) for block in blocks]) for name in columns),
    )


class Merged:
    """The oldest points of a series, merged; it never changes.

    Attributes
    ----------
    blocks : tuple of Block
        Adjacent, oldest first, the first of them from index 0 on.
    kept, count : int
        How many points are kept of how many.
    most : int
        How many it counts for: as many as there can be kept of so many buckets.
    """

    __slots__ = ("blocks", "count", "kept", "most")

    def __init__(self, blocks: Iterable[Block] = (), most: int | None = None) -> None:
        self.blocks = tuple(blocks)
        self.kept = sum(map(len, self.chunks("values")))
        self.count = self.blocks[-1].end if self.blocks else 0
        self.most = sum(block.most for block in self.blocks) if most is None else most

    @classmethod
    def of(cls, steps: Floats, values: Floats, indices: Floats, buckets: Buckets) -> Merged:
        """Return what was merged elsewhere, as in a file.

        Parameters
        ----------
        steps, values, indices : numpy.ndarray, shape (points kept,), float64
            What is kept of it.
        buckets
            What `buckets` had returned; its lowest and highest values are not asked for.

        Raises
        ------
        ValueError
            If the points are not those of the buckets.
        """
        numbers = (buckets.first, buckets.last, buckets.count, buckets.finite, buckets.mean)
        whole = Block(0, 0, steps, values, indices, *numbers)
        starts = whole.starts()
        are_whole = len(steps) == len(values) == len(indices) and (np.diff(indices) > 0).all()
        bounds = np.append(starts, len(values))
        if not are_whole or bounds[0] != 0 or (np.diff(bounds) <= 0).any() or (indices >= whole.count.sum()).any():
            raise ValueError("the points that are kept of the buckets do not fit to these")
        levels = np.ceil(np.log2(whole.count)).astype(int)
        ends = np.flatnonzero(np.diff(levels, append=-1)) + 1
        blocks = []
        for start, stop in pairwise([0, *ends.tolist()]):
            for at in range(start, stop, _MOST_AT_ONCE):
                part = whole.part(at, min(at + _MOST_AT_ONCE, stop), starts)
                blocks.append(replace(part, level=int(levels[at])))
        return cls(blocks)

    def buckets(self) -> Buckets:
        """Return its buckets; nothing of them is shared."""
        if not self.blocks:
            return Buckets(*(np.empty(0) for _ in fields(Buckets)))
        whole = _joined(self.blocks)
        _, lowest, highest = spikes(whole.values, whole.starts())
        return Buckets(whole.first, whole.last, whole.count, whole.finite, lowest, whole.mean, highest)

    def starts(self) -> npt.NDArray[np.intp]:
        """Return where, among the points that are kept, those of each bucket begin."""
        return _joined(self.blocks).starts() if self.blocks else np.empty(0, np.intp)

    def chunks(self, name: str) -> list[Floats]:
        """Return one of the columns of its blocks."""
        return list(map(attrgetter(name), self.blocks))

    def until(self, step: float) -> Merged:
        """Return its first buckets, as many as do not reach past a step."""
        blocks = []
        for block in self.blocks:
            late = block.last > step
            whole = int(late.argmax()) if late.any() else len(block)
            if whole:
                blocks.append(block.part(0, whole, block.starts()))
            if whole < len(block):
                break
        return Merged(blocks)

    def thinned(self, steps: Column, values: Column, limit: int, room: int) -> Merged:
        """Merge as much as it takes to keep no more points than there is room for.

        Parameters
        ----------
        steps, values
            All points that are kept, its own first. The newest ``limit // 2`` of them are not merged.
        limit
            How many points may be kept.
        room
            That, or what `room` returned.
        """
        blocks, most = list(self.blocks), self.most
        taken = _at_once(limit) << _FIRST_LEVEL
        at, end = self.kept, self.count
        while most + len(values) - at > room:
            if len(values) - at - taken >= limit // 2:
                stretch = slice(len(blocks), None)
                fresh = Block.of(steps.array(at, at + taken), values.array(at, at + taken), end).coarser(_FIRST_LEVEL)
                at, end = at + taken, end + taken
            else:
                stretch = _finest_pair(blocks)
                fresh = _joined(blocks[stretch]).coarser()
            most += fresh.most - sum(block.most for block in blocks[stretch])
            blocks[stretch] = [fresh]
        return Merged(blocks, most)


def room(limit: int, number: int) -> int:
    """Return how many points the series of this number keeps where `limit` may be kept.

    Somewhat fewer than the one before it: series that grow alike are not all thinned at the same moment.
    """
    return limit - number % _TURNS * _at_once(limit)


def _at_once(limit: int) -> int:
    """Return how many buckets are made, or doubled, at a time."""
    return max(1, min(_MOST_AT_ONCE, limit // _SHARE))


def _finest_pair(blocks: Sequence[Block]) -> slice:
    """Say which adjacent blocks come next: of those of one level the finest, and of these the oldest."""
    levels = list(map(attrgetter("level"), blocks))
    # Where all levels differ, as in a run that nobody lives to see the end of, the oldest blocks come next.
    finest = min([level for level, count in Counter(levels).items() if count > 1], default=levels[0])
    at = levels.index(finest)
    return slice(at, at + 2)
