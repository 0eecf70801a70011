"""What can happen to a run. Producers say it, the bus carries it, everything else listens.

The records are plain and slotted, for one of them is made for every batch. Two numbers run through all of them:

``step``
    How many batches have ended since the run began, the one spoken of included: the first batch is step 1, and
    an epoch of 10 batches ends at step 10.
``time``
    Seconds since the run began, from a clock that never goes back. That of a batch is NaN where nobody knows it,
    as in a run that was read from a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .series import Series

Status = Literal["running", "completed", "stopped", "failed"]

#: ``"lr search"``: not to train, but to see at which learning rate the loss falls fastest, as fastai's ``lr_find``.
Purpose = Literal["training", "lr search"]

#: One value: a float, or a tensor with one element that still waits on its device.
Value = Any


@dataclass(slots=True)
class RunStarted:
    """A run has begun.

    ``started`` is in seconds since 1970; ``epochs`` is where the epochs are to end, if anybody knows.
    """

    run: str
    name: str
    started: float
    epochs: int | None = None
    purpose: Purpose = "training"


@dataclass(slots=True)
class RunResumed:
    """A run that had ended goes on, after `step` batches and `time` seconds of its own.

    ``at`` is when, in seconds since 1970: what passed in between is not of the run. With an ``epoch``, whatever lies
    at or after the beginning of that epoch is dropped. ``epochs`` is where the epochs are to end, if anybody knows.
    """

    run: str
    step: int
    time: float
    at: float
    epoch: int | None = None
    epochs: int | None = None


@dataclass(slots=True)
class SeriesDeclared:
    """The producer says what a name stands for, where the name alone does not tell (see `Series.of`)."""

    run: str
    series: Series


@dataclass(slots=True)
class EpochStarted:
    """An epoch has begun, or more is known of it: a second event for the same epoch replaces the first.

    ``batches`` is the number of batches that the epoch is going to have and ``epochs`` where the epochs are going
    to end; both are None where nobody knows.
    """

    run: str
    epoch: int
    step: int
    time: float
    batches: int | None = None
    epochs: int | None = None


@dataclass(slots=True)
class BatchEnded:
    """A batch has ended. ``size`` is its number of samples where the producer was told."""

    run: str
    epoch: int
    batch: int
    step: int
    time: float
    values: Mapping[str, Value]
    size: float | None = None


@dataclass(slots=True)
class Evaluated:
    """The model was evaluated in the midst of an epoch: values of granularity ``"epoch"`` at this step."""

    run: str
    epoch: int
    step: int
    time: float
    values: Mapping[str, float]


@dataclass(slots=True)
class EpochEnded:
    """An epoch has ended, its validation included."""

    run: str
    epoch: int
    step: int
    time: float
    values: Mapping[str, float]


@dataclass(slots=True)
class Marked:
    """Something worth a line on the plot, in the words of whoever saw it.

    ``epoch`` tells its place in a run that has epochs and no batches: how far they had come, counted from 0.
    """

    run: str
    step: int
    time: float
    text: str
    epoch: int | None = None


@dataclass(slots=True)
class RunEnded:
    """A run is over; ``error`` says in one line what ended it, if anything did."""

    run: str
    step: int
    time: float
    status: Status
    error: str | None = None


@dataclass(slots=True)
class RunLoaded:
    """A run that had been elsewhere, as in a file, is among the bus's runs now, with all that is known of it."""

    run: str


Event = (
    RunStarted
    | RunResumed
    | RunLoaded
    | SeriesDeclared
    | EpochStarted
    | BatchEnded
    | Evaluated
    | EpochEnded
    | Marked
    | RunEnded
)
EVENTS: tuple[type[Event], ...] = (
    RunStarted,
    RunResumed,
    RunLoaded,
    SeriesDeclared,
    EpochStarted,
    BatchEnded,
    Evaluated,
    EpochEnded,
    Marked,
    RunEnded,
)
