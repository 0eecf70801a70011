"""The points of one series, and the tables by which people read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .buckets import Buckets, Merged
from .columns import Column, Floats
from .series import Granularity, Series
from .spikes import Spikes

if TYPE_CHECKING:
    from .history import History

#: What the clock of a run is, whose values are the seconds of the run at which each batch ended.
CLOCK = Series("time", "batch", "clock", "time", "train")

_NOTHING, _NO_SPIKES = Merged(), Spikes()


class Points:
    """The points of one series: all there were, or where the oldest were merged, what is kept of these and all others.

    Attributes
    ----------
    series : Series
        What they are.
    steps, values : Column
        Where they stand and what they are, one number each a point.
    epochs : Column
        Their epochs, counted from 0; filled only for granularity ``"epoch"``.
    merged : Merged
        What was made of the oldest.
    spikes : Spikes
        Those of its values, as far as anybody has looked for them.
    """

    __slots__ = ("epochs", "merged", "series", "spikes", "steps", "values")

    def __init__(self, series: Series) -> None:
        self.series = series
        self.steps = Column()
        self.values = Column()
        self.epochs = Column()
        self.merged = _NOTHING
        self.spikes = _NO_SPIKES

    def __len__(self) -> int:
        return len(self.values)

    @property
    def left_out(self) -> int:
        """How many points there were that are not kept."""
        return self.merged.count - self.merged.kept

    @property
    def length(self) -> int:
        """How many points there were in all."""
        return len(self) + self.left_out

    def indices(self, start: int, stop: int) -> Floats:
        """Return the indices, among all points that there were, of those from `start` up to `stop`.

        Returns
        -------
        numpy.ndarray, shape (stop - start,), float64
        """
        found = self.left_out + np.arange(start, stop, dtype=np.float64)
        if start < self.merged.kept:
            of_merged = Column(self.merged.chunks("indices")).array(start, stop)
            found[: len(of_merged)] = of_merged
        return found

    def indices_at(self, positions: npt.NDArray[np.intp]) -> Floats:
        """Return the indices, among all points that there were, of those at some positions, which rise."""
        found = self.left_out + positions.astype(np.float64)
        early = int(positions.searchsorted(self.merged.kept))
        if early:
            found[:early] = Column(self.merged.chunks("indices")).at(positions[:early])
        return found

    def position(self, index: int) -> int:
        """Return where the first point is kept of those that have this index or a higher one."""
        if index >= self.merged.count:
            return index - self.left_out
        return int(self.indices(0, self.merged.kept).searchsorted(index))

    def until(self, count: int, step: float) -> Points:
        """Return the first so many of its points, of which none is past `step`, as points of their own.

        Of a bucket that reaches past the step nothing is known any more but the points that were kept.
        """
        kept = self._with(self.merged.until(step), len(self))
        for own, column in zip(kept.columns, self.columns, strict=True):
            own.extend(column.array(len(own), count))
        return kept

    def averaged(self, count: int) -> tuple[Floats, Floats]:
        """Return what an average over the first so many points is made of: themselves, and of those merged the means.

        Returns
        -------
        steps, values : numpy.ndarray, shape (buckets + points not merged,), float64
            A bucket stands at its last step.
        """
        buckets, kept = self.merged.buckets(), self.merged.kept
        steps, values = self.steps.array(kept, count), self.values.array(kept, count)
        return np.concatenate([buckets.last, steps]), np.concatenate([buckets.mean, values])

    def exceeds(self, limit: int) -> bool:
        """Tell whether it keeps more points than `limit`, or may with the next."""
        return self.series.granularity == "batch" and self.merged.most + len(self) - self.merged.kept > limit

    def thinned(self, limit: int, room: int) -> Points:
        """Return what takes its place, with no more points than `room`; who reads this one is not disturbed."""
        merged = self.merged.thinned(self.steps, self.values, limit, room)
        return self._with(merged, self.merged.kept + merged.count - self.merged.count)

    def _with(self, merged: Merged, count: int) -> Points:
        """Return points that begin with these in the place of the first so many."""
        made = Points(self.series)
        made.merged = merged
        made.steps = self.steps.with_front(count, merged.chunks("steps"))
        made.values = self.values.with_front(count, merged.chunks("values"))
        return made

    @property
    def columns(self) -> tuple[Column, ...]:
        """All of its columns."""
        return self.steps, self.values, self.epochs


class Table(Mapping[str, Floats]):
    """The series of one granularity: ``table["loss"]`` is a float64 array with one number for each point.

    Where older points were merged, see `Bus`, it is one for each that is kept, and `buckets` tells of the others. While
    such a run goes on in another thread, read what belongs together, as values and steps, within ``history.held()``.
    """

    def __init__(self, history: History, granularity: Granularity) -> None:
        self._history = history
        self._granularity = granularity

    def __getitem__(self, name: str) -> Floats:
        return self._points(name).values.array()

    def __iter__(self) -> Iterator[str]:
        return iter([points.series.name for points in self._all()])

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        columns = ", ".join(
            f"{points.series.name} ({len(points)}{f' of {points.length}' if points.left_out else ''})"
            for points in self._all()
        )
        return f"<{self._granularity} values: {columns or 'none yet'}>"

    def steps(self, name: str) -> Floats:
        """Return how many batches had ended at each point of the series `name`; shape as ``table[name]``."""
        return self._points(name).steps.array()

    def epochs(self, name: str) -> Floats:
        """Return the epoch, counted from 0, of each point of the series `name`; shape as ``table[name]``."""
        points = self._points(name)
        if self._granularity == "epoch":
            return points.epochs.array()
        return self._history.epoch_of(points.steps.array())

    def series(self, name: str) -> Series:
        """Return what the series `name` stands for: its metric, split and kind."""
        return self._points(name).series

    def buckets(self, name: str) -> Buckets:
        """Return what the older points of the series `name` were merged into, and the means of those not kept.

        Returns
        -------
        Buckets
            ``first`` and ``last`` step, ``count``, how many of these are ``finite``, and of those the ``lowest``,
            ``mean`` and ``highest``: float64 arrays of one shape ``(buckets,)``, oldest first. They are empty where
            nothing was merged, as always of epochs. All points that are newer than the last of them are kept.
        """
        return self._points(name).merged.buckets()

    def _all(self) -> list[Points]:
        self._history.fold()
        return [
            points
            for points in self._history.points
            if points.series.granularity == self._granularity and points.series is not CLOCK
        ]

    def _points(self, name: str) -> Points:
        self._history.fold()
        found = self._history.find(name, self._granularity)
        if found is None:
            known = ", ".join(self) or "none yet"
            raise KeyError(f"no {self._granularity} values of {name!r}; there are: {known}")
        return found
