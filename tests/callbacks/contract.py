"""What "supported" means: every producer puts exactly this on the bus.

The task is a linear regression so small that its truth is computed here in float64 without any framework: 10 samples in
batches of 4, 4 and 2, two epochs, a learning rate that falls with every step, a validation set. A framework's test
trains it in the framework's own way, starting from zero weights and without shuffling, and calls `check`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import epochwidget as ew
from epochwidget.events import Event
from epochwidget.scalars import scalar

EPOCHS, BATCH_SIZE = 2, 4
X = np.random.default_rng(1).normal(size=(10, 3)).astype("float32")
Y = (X @ [[1.0], [-2.0], [0.5]] + 0.3).astype("float32")
X_VAL = np.random.default_rng(2).normal(size=(5, 3)).astype("float32")
Y_VAL = (X_VAL @ [[1.0], [-2.0], [0.5]] + 0.3).astype("float32")
BATCHES = [slice(start, min(start + BATCH_SIZE, len(X))) for start in range(0, len(X), BATCH_SIZE)]
STEPS = EPOCHS * len(BATCHES)
FIRST_RATE, DECAY = 0.1, 0.8
RATES = [FIRST_RATE * DECAY**step for step in range(STEPS)]


@dataclass
class Truth:
    """The losses (mean squared errors) as they have to be reported."""

    batch: list[float] = field(default_factory=list)
    running: list[float] = field(default_factory=list)
    epoch: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)


def truth() -> Truth:
    """Train by hand."""
    weights, bias = np.zeros((3, 1)), np.zeros(1)
    found = Truth()
    for epoch in range(EPOCHS):
        total = count = 0.0
        for index, rows in enumerate(BATCHES):
            x, y = X[rows].astype(np.float64), Y[rows].astype(np.float64)
            error = x @ weights + bias - y
            loss = float((error**2).mean())
            total, count = total + loss * len(x), count + len(x)
            found.batch.append(loss)
            found.running.append(total / count)
            rate = RATES[epoch * len(BATCHES) + index]
            weights = weights - rate * 2 * x.T @ error / len(x)
            bias = bias - rate * 2 * error.mean(0)
        found.epoch.append(total / count)
        found.validation.append(float(((X_VAL @ weights + bias - Y_VAL) ** 2).mean()))
    return found


class Recorder(ew.Bus):
    """A bus that raises what its subscribers raise and keeps every event."""

    def __init__(self) -> None:
        super().__init__(strict=True)
        self.events: list[Event] = []
        self.subscribe(self.events.append)


def note_reads(monkeypatch: pytest.MonkeyPatch, bus: ew.Bus) -> list[int]:
    """Return the steps after which this package asks a tensor of PyTorch for its number, as a list that grows.

    That makes a processor wait for its device. There is none here, so every tensor is taken for one of a device's.
    """
    import torch

    reads: list[int] = []
    ended = [0]

    def count(_: ew.BatchEnded) -> None:
        ended[0] += 1

    def noting(read: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            frame = sys._getframe(1)
            while frame is not None and not frame.f_globals["__name__"].startswith("epochwidget."):
                frame = frame.f_back  # type: ignore[assignment]
            if frame is not None:
                reads.append(ended[0])
            return read(*args, **kwargs)

        return noted

    def of_device(name: str, value: Any) -> Any:
        tensor = isinstance(value, torch.Tensor) and value.numel() == 1
        return value.detach().clone().reshape(()) if tensor else scalar(name, value)

    bus.subscribe(count, ew.BatchEnded)
    for module in [module for name, module in sys.modules.items() if name.startswith("epochwidget.")]:
        if hasattr(module, "scalar"):
            monkeypatch.setattr(module, "scalar", of_device)
    for name in ("item", "tolist", "__float__", "__bool__", "__int__", "cpu", "numpy", "__array__"):
        monkeypatch.setattr(torch.Tensor, name, noting(getattr(torch.Tensor, name)))
    return reads


def check(bus: Recorder, *, train: str = "loss", validation: str = "val_loss") -> ew.History:
    """Assert that the training put the one right sequence of events on the bus, and return its history.

    `train` and `validation` are what the framework itself calls the losses of an epoch.
    """
    n = len(BATCHES)
    # A declaration may stand anywhere before the first value it speaks of; what it says shows in the series below.
    events = [event for event in bus.events if not isinstance(event, ew.SeriesDeclared)]
    epoch = [ew.EpochStarted, *[ew.BatchEnded] * n, ew.EpochEnded]
    assert [type(event) for event in events] == [ew.RunStarted, *epoch * EPOCHS, ew.RunEnded]
    assert len({event.run for event in events}) == 1
    times = [event.time for event in events[1:]]
    assert times == sorted(times)
    assert times[0] >= 0

    started = [event for event in events if isinstance(event, ew.EpochStarted)]
    assert [(e.epoch, e.step, e.batches, e.epochs) for e in started] == [(0, 0, n, EPOCHS), (1, n, n, EPOCHS)]
    batches = [event for event in events if isinstance(event, ew.BatchEnded)]
    assert [(e.epoch, e.batch, e.step) for e in batches] == [(i // n, i % n, i + 1) for i in range(STEPS)]
    ended = [event for event in events if isinstance(event, ew.EpochEnded)]
    assert [(e.epoch, e.step) for e in ended] == [(0, n), (1, 2 * n)]
    assert (events[-1].status, events[-1].error, events[-1].step) == ("completed", None, STEPS)

    right = truth()
    close = {"rel": 2e-6, "abs": 1e-7}  # float32 against float64
    assert [float(e.values["loss"]) for e in batches] == pytest.approx(right.batch, **close)
    assert [float(e.values["lr"]) for e in batches] == pytest.approx(RATES, **close)
    assert [e.values[train] for e in ended] == pytest.approx(right.epoch, **close)
    assert [e.values[validation] for e in ended] == pytest.approx(right.validation, **close)

    history = bus.runs[-1]
    assert history.status == "completed"
    assert history.watching > 0
    assert 0 < history.validating < history.elapsed
    assert history.batch["loss"] == pytest.approx(right.batch, **close)
    assert history.batch["loss"].dtype == history.epoch[train].dtype == np.float64
    assert history.batch.steps("loss").tolist() == list(range(1, STEPS + 1))
    assert history.epoch.epochs(validation).tolist() == [0, 1]
    said = [
        (series.metric, series.split, series.kind)
        for series in (
            history.batch.series("loss"),
            history.epoch.series(train),
            history.epoch.series(validation),
            history.batch.series("lr"),
        )
    ]
    assert said == [
        ("loss", "train", "batch"),
        ("loss", "train", "epoch"),
        ("loss", "validation", "epoch"),
        ("learning rate", "train", "batch"),
    ]
    return history


# For gradient boosting, which has iterations for epochs and no batches.
ITERATIONS = 8
TREES_X = np.random.default_rng(3).normal(size=(90, 4)).astype("float32")
TREES_Y = (np.sin(2 * TREES_X[:, 0]) + TREES_X[:, 1] * TREES_X[:, 2]).astype("float32")
SETS = {"train": slice(0, 50), "first": slice(50, 70), "second": slice(70, 90)}


def check_iterations(
    bus: Recorder,
    *,
    names: dict[str, str],
    metric: str,
    reported: dict[str, list[float]],
    predict: Callable[[np.ndarray, int], np.ndarray],
    rates: list[float],
    first: int = 0,
) -> ew.History:
    """Assert that boosting on `SETS` put the one right sequence of events on the bus, and return its history.

    `names` says what the root of the mean squared error on each of the sets is called in the history and `metric` what
    the framework calls it; `reported` is what the framework itself reports, under our names. `predict` gives the
    predictions that the model makes with so many of its trees. `first` is the number of the first iteration.
    """
    iterations = list(range(first, first + ITERATIONS))
    events = [event for event in bus.events if not isinstance(event, ew.SeriesDeclared)]
    assert [type(event) for event in events] == [
        ew.RunStarted,
        *[ew.EpochStarted, ew.EpochEnded] * ITERATIONS,
        ew.RunEnded,
    ]
    assert len({event.run for event in events}) == 1
    times = [event.time for event in events[1:]]
    assert times == sorted(times)
    assert times[0] >= 0

    end = first + ITERATIONS
    started = [event for event in events if isinstance(event, ew.EpochStarted)]
    assert [(e.epoch, e.step, e.batches, e.epochs) for e in started] == [(i, 0, None, end) for i in iterations]
    ended = [event for event in events if isinstance(event, ew.EpochEnded)]
    assert [(e.epoch, e.step) for e in ended] == [(i, 0) for i in iterations]
    assert (events[0].epochs, events[-1].status, events[-1].error) == (end, "completed", None)

    # What the framework reports is taken over bit for bit, and it belongs to the iteration at which it stands.
    assert reported.keys() == set(names.values())
    for event, *values in zip(ended, *reported.values(), strict=True):
        assert {name: value for name, value in event.values.items() if name != "lr"} == dict(
            zip(reported, values, strict=True)
        )
    for of, name in names.items():
        x, y = TREES_X[SETS[of]], TREES_Y[SETS[of]].astype(np.float64)
        right = [float(np.sqrt(((predict(x, i + 1) - y) ** 2).mean())) for i in iterations]
        assert [e.values[name] for e in ended] == pytest.approx(right, rel=1e-5), name
    assert [e.values["lr"] for e in ended] == pytest.approx(rates, rel=1e-6)

    history = bus.runs[-1]
    assert (history.status, history.step, list(history.batch)) == ("completed", 0, [])
    assert history.watching > 0
    for of, name in names.items():
        series = history.epoch.series(name)
        split = "train" if of == "train" else "validation"
        assert (series.metric, series.split, series.kind) == (metric, split, "evaluation")
        assert history.epoch[name].tolist() == reported[name]
        assert history.epoch[name].dtype == np.float64
        assert history.epoch.epochs(name).tolist() == iterations
    assert history.epoch.series("lr").metric == "learning rate"
    return history
