"""PyTorch Lightning 2: real modules, real ``fit``, by either of its packages."""

from __future__ import annotations

import copy
import gc
import importlib
import importlib.util
import json
import os
import pickle
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import pytorch_lightning
import torch
from lightning.pytorch.callbacks import (
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelCheckpoint,
)
from lightning.pytorch.loggers import Logger
from lightning.pytorch.tuner import Tuner
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torchmetrics.classification import BinaryAccuracy

import epochwidget as ew
from epochwidget.callbacks import lightning as adapter
from epochwidget.callbacks.lightning import EpochCallback

from . import contract

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        ".*does not have many workers",
        ".*Consider increasing the value of the `num_workers` argument",
        ".*`isinstance.treespec, LeafSpec.` is deprecated",
        ".*`training_step` returned `None`",
        ".*Trainer was signaled to stop",
        ".*You're resuming from a checkpoint that ended before the epoch ended",
        ".*`max_epochs` was not set",
        ".*Checkpoint directory .* exists and is not empty",
        ".*The `LightningModule` .* a `val_dataloader` but no `validation_step`",
        ".*You defined a `validation_step` but have no `val_dataloader`",
    )
]

torch.set_num_threads(1)
X = torch.from_numpy(np.random.default_rng(0).normal(size=(18, 3)).astype("float32"))
Y = (X.sum(1, keepdim=True) > 0).float()
BATCHES = 5  # of 4, the last of 2


@pytest.fixture(autouse=True)
def _no_failure_stays_hidden(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The callback lets no failure through to the training, so look at what it logged."""
    yield
    assert not [record for record in caplog.get_records("call") if record.name == "epochwidget" and record.exc_info]


def loader(x: Tensor = X, y: Tensor = Y, size: int = 4) -> DataLoader[Any]:
    return DataLoader(TensorDataset(x, y), batch_size=size)


class Net(pl.LightningModule):
    """A small classifier with dropout, which logs nothing but its validation loss."""

    rate = 0.1

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))
        self.losses: list[float] = []

    def loss_of(self, batch: Any) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(self.net(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.loss_of(batch)
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss_of(batch))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.rate)


def trainer(*callbacks: Any, framework: Any = pl, **options: Any) -> Any:
    plain = {
        "accelerator": "cpu",
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    if "max_steps" in options:
        del plain["max_epochs"]
    return framework.Trainer(**plain | options, callbacks=list(callbacks))


def callback() -> EpochCallback:
    return EpochCallback(bus=ew.Bus(strict=True))


def fit(module: Any, *callbacks: Any, validation: Any = None, data: Any = None, **options: Any) -> ew.History:
    """Train, and return what was seen of it."""
    watch = callback()
    validation = validation if validation is not None else loader()
    trainer(watch, *callbacks, **options).fit(module, data if data is not None else loader(), validation)
    return watch.history


class Reported(Logger):
    """Keeps what Lightning reports to a logger, which is each value once, as it is."""

    name, version = "reported", 0

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, list[float]] = {}

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        for name, value in metrics.items():
            self.values.setdefault(name, []).append(value)


# The contract --------------------------------------------------------------------------------------------------------


def linear(framework: Any) -> Any:
    """The contract's model, a module of `framework`."""

    class Linear(framework.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(3, 1)
            nn.init.zeros_(self.net.weight)
            nn.init.zeros_(self.net.bias)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return nn.functional.mse_loss(self.net(batch[0]), batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", nn.functional.mse_loss(self.net(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=contract.FIRST_RATE)
            falling = torch.optim.lr_scheduler.ExponentialLR(optimizer, contract.DECAY)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": falling, "interval": "step"}}

    return Linear()


@pytest.mark.parametrize("framework", [pl, pytorch_lightning], ids=["lightning", "pytorch_lightning"])
def test_fit_keeps_the_contract(framework: Any) -> None:
    """One callback serves the Trainers of both packages."""
    bus = contract.Recorder()
    data = loader(torch.from_numpy(contract.X), torch.from_numpy(contract.Y), contract.BATCH_SIZE)
    validation = loader(torch.from_numpy(contract.X_VAL), torch.from_numpy(contract.Y_VAL), 2)
    trainer(EpochCallback(bus=bus), framework=framework, max_epochs=contract.EPOCHS).fit(
        linear(framework), data, validation
    )
    history = contract.check(bus)
    assert history.name == "Linear"


# What the module logs ------------------------------------------------------------------------------------------------


class Logs(Net):
    """Logs numbers and a metric in every mix of ``on_step`` and ``on_epoch``."""

    def __init__(self) -> None:
        super().__init__()
        self.accuracy, self.counted = BinaryAccuracy(), BinaryAccuracy()
        self.maxima: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        self.log("by_step", loss * 2)
        self.log("by_epoch", loss * 3, on_step=False, on_epoch=True)
        prediction = self.net(batch[0])
        self.accuracy(prediction, batch[1])
        self.counted.update(prediction, batch[1])
        self.log("train_acc", self.accuracy, on_step=True, on_epoch=True)
        self.log("counted", self.counted, on_step=False, on_epoch=True)
        self.log("highest", loss, on_step=False, on_epoch=True, reduce_fx="max")
        if batch_idx % 2 == 0:
            self.log("even", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        self.log("val_twice", self.loss_of(batch) * 2, on_step=True, on_epoch=True)


def test_values_are_those_that_lightning_reports_each_under_its_kind_and_once() -> None:
    reported = Reported()
    module = Logs()
    history = fit(module, max_epochs=3, logger=reported, log_every_n_steps=1)
    told = reported.values

    of_batches = {
        "train_loss": "train_loss_step",
        "by_step": "by_step",
        "train_acc": "train_acc_step",
        "even": "even",
    }
    assert set(history.batch) == {"loss", "lr", *of_batches}
    for name, theirs in of_batches.items():
        assert history.batch.series(name).kind == "batch"
        if name != "even":  # of which their loggers get the old value again and again
            assert history.batch[name] == pytest.approx(told[theirs], rel=1e-6), name
    assert history.batch["loss"] == pytest.approx(module.losses, rel=1e-6)
    assert history.batch.steps("even").tolist() == [1, 3, 5, 6, 8, 10, 11, 13, 15]

    of_epochs = {
        "train_loss": "train_loss_epoch",
        "by_epoch": "by_epoch",
        "train_acc": "train_acc_epoch",
        "counted": "counted",
        "highest": "highest",
        "val_loss": "val_loss",
        "val_twice": "val_twice_epoch",
    }
    assert set(history.epoch) == {"loss", *of_epochs}
    for name, theirs in of_epochs.items():
        assert history.epoch[name] == pytest.approx(told[theirs], rel=1e-6), name
        assert history.epoch.epochs(name).tolist() == [0, 1, 2]
        assert history.epoch.series(name).kind == ("reported" if name == "highest" else "epoch")
    # Ours is Lightning's mean of the same values.
    assert history.epoch["loss"] == pytest.approx(told["train_loss_epoch"], rel=1e-6)


def test_names_of_one_metric_meet_on_one_panel() -> None:
    history = fit(Logs())
    for table, name, metric, split in (
        (history.batch, "loss", "loss", "train"),
        (history.batch, "train_loss", "loss", "train"),
        (history.epoch, "train_loss", "loss", "train"),
        (history.epoch, "val_loss", "loss", "validation"),
        (history.epoch, "train_acc", "acc", "train"),
        (history.epoch, "val_twice", "twice", "validation"),
    ):
        assert (table.series(name).metric, table.series(name).split) == (metric, split)


def test_what_the_module_logs_when_the_epoch_has_ended_belongs_to_that_epoch() -> None:
    """The hook of the module comes after the callbacks'. What it logs every second epoch is not repeated."""

    class Ends(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            self.log("rare", loss)  # the same name per batch is no mean of the epoch
            return loss

        def on_train_epoch_end(self) -> None:
            self.log("train_mean", float(self.current_epoch))
            if self.current_epoch % 2:
                self.log("rare", float(self.current_epoch))

        def on_validation_epoch_end(self) -> None:
            if self.current_epoch % 2 == 0:
                self.log("val_rare", float(self.current_epoch))

    history = fit(Ends(), max_epochs=5)
    epoch = history.epoch
    assert epoch["train_mean"].tolist() == epoch.epochs("train_mean").tolist() == [0, 1, 2, 3, 4]
    assert epoch.steps("train_mean").tolist() == [5, 10, 15, 20, 25]
    assert epoch["rare"].tolist() == epoch.epochs("rare").tolist() == [1, 3]
    assert epoch["val_rare"].tolist() == epoch.epochs("val_rare").tolist() == [0, 2, 4]
    assert len(history.batch["rare"]) == 25


def test_it_does_not_matter_who_else_reads_the_metrics() -> None:
    """Lightning computes them for whoever asks, and then they are there before their time."""

    class Reads(pl.Callback):
        def read(self, trainer: Any, *args: Any) -> None:
            assert trainer.callback_metrics is not None
            assert trainer.progress_bar_metrics is not None

        on_train_epoch_start = on_train_batch_start = on_train_batch_end = on_validation_start = read
        on_validation_end = on_train_epoch_end = on_train_end = read

    class Graph(Logs):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            if self.current_epoch != 1:
                self.log("graph", loss, on_step=True, on_epoch=True, enable_graph=True)
            return loss

    found = []
    for before, after in (([], []), ([Reads()], [Reads()])):
        watch = callback()
        trainer(*before, watch, *after, max_epochs=3).fit(Graph(), loader(), loader())
        tables = (watch.history.batch, watch.history.epoch)
        found.append(
            [(name, values.tolist(), table.steps(name).tolist()) for table in tables for name, values in table.items()]
        )
    assert found[0] == found[1]
    assert watch.history.epoch.epochs("graph").tolist() == [0, 2]


def test_what_is_logged_around_a_batch_belongs_to_that_batch() -> None:
    class Around(Net):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            self.log("start", float(batch_idx), on_step=True, on_epoch=False)

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx != 1:
                self.log("end", float(batch_idx), on_step=True, on_epoch=False)
            self.log("twice", 2.0, on_step=True, on_epoch=False)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            self.log("twice", 1.0)
            return super().training_step(batch, batch_idx)

    class Early(pl.Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            self.log("early", float(batch_idx), on_step=True, on_epoch=False)

    watch = callback()
    trainer(Early(), watch).fit(Around(), loader())
    batch = watch.history.batch
    assert batch["start"].tolist() == batch["early"].tolist() == [0, 1, 2, 3, 4] * 2
    assert batch.steps("start").tolist() == batch.steps("early").tolist() == list(range(1, 11))
    assert batch["twice"].tolist() == [2] * 10
    assert batch["end"].tolist() == [0, 2, 3, 4] * 2
    assert batch.steps("end").tolist() == [1, 3, 4, 5, 6, 8, 9, 10]


def test_one_name_logged_by_both_steps_is_kept_apart() -> None:
    """In ``callback_metrics`` one overwrites the other; here validation's has its mark."""

    class Same(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            self.log("mean", loss, on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            for name in ("mean", "loss", "only"):
                self.log(name, 7.0)

        def on_train_epoch_end(self) -> None:
            self.log("only", 5.0)

    epoch = fit(Same()).epoch
    assert epoch["val_mean"].tolist() == epoch["val_loss"].tolist() == epoch["only"].tolist() == [7, 7]
    assert epoch["mean"] == pytest.approx(epoch["loss"], rel=1e-6)
    assert epoch["train_only"].tolist() == [5, 5]
    assert {name: epoch.series(name).split for name in epoch} == {
        "mean": "train",
        "loss": "train",
        "train_only": "train",
        "val_mean": "validation",
        "val_loss": "validation",
        "only": "validation",
    }
    assert epoch.series("train_only").metric == epoch.series("only").metric == "only"


def test_each_validation_loader_has_its_own_series() -> None:
    class Two(Net):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            self.log("val_loss", float(dataloader_idx))

    history = fit(Two(), validation=[loader(), loader()])
    assert {name: values.tolist() for name, values in history.epoch.items() if name != "loss"} == {
        "val_loss/dataloader_idx_0": [0, 0],
        "val_loss/dataloader_idx_1": [1, 1],
    }
    assert {history.epoch.series(name).metric for name in history.epoch} == {"loss"}


def test_a_rate_that_the_module_logs_does_not_take_the_place_of_the_true_one() -> None:
    class Other(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            self.log("lr", 3.0, on_step=True, on_epoch=True)
            return self.loss_of(batch)

    history = fit(Other())
    assert set(history.batch["lr"]) == {0.1}
    # Of an epoch the module's own is what Lightning reports.
    assert history.epoch["lr"].tolist() == [3, 3]
    assert history.epoch.series("lr").metric == "learning rate"


@pytest.mark.parametrize("how", [{"on_step": True}, {"on_epoch": True}, {"on_step": True, "on_epoch": True}], ids=str)
def test_another_loss_than_the_returned_one_has_the_name_that_the_module_gives_it(how: dict[str, bool]) -> None:
    class Other(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            self.log("loss", loss * 2, **{"on_step": False, "on_epoch": False, **how})
            return loss

    module = Other()
    history = fit(module, accumulate_grad_batches=2)
    assert history.batch["returned_loss"] == pytest.approx(module.losses)
    assert history.batch.series("returned_loss").metric == history.epoch.series("returned_loss").metric == "loss"
    assert ("loss" in history.batch) == how.get("on_step", False)
    if how.get("on_step"):
        assert history.batch["loss"] == pytest.approx(2 * history.batch["returned_loss"])
    assert ("loss" in history.epoch) == how.get("on_epoch", False)
    if how.get("on_epoch"):
        assert history.epoch["loss"] == pytest.approx(2 * history.epoch["returned_loss"])


@pytest.mark.parametrize("how", [{"on_step": True}, {"on_epoch": True}, {"on_step": True, "on_epoch": True}], ids=str)
def test_the_returned_loss_that_is_logged_as_loss_is_one(how: dict[str, bool]) -> None:
    class Same(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            self.log("loss", loss, **{"on_step": False, "on_epoch": False, **how})
            return loss

    module = Same()
    history = fit(module, accumulate_grad_batches=2)
    assert history.batch["loss"] == pytest.approx(module.losses)
    assert (set(history.batch), set(history.epoch)) == ({"loss", "lr"}, {"loss", "val_loss"})


class Penalised(Net):
    """Logs its loss without a penalty that it returns with it, which is nothing yet in the first batch."""

    hook = "training_step"

    def __init__(self, **how: bool) -> None:
        super().__init__()
        self.how = how
        self.logged: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.loss_of(batch)
        self.logged.append(loss.item())
        returned = loss + self.penalty
        self.losses.append(returned.item())
        if self.hook == "training_step":
            self.log("loss", loss, **self.how)
        return returned

    @property
    def penalty(self) -> float:
        return 0.1 * len(self.losses)

    def means(self, losses: list[float]) -> list[float]:
        return [np.average(losses[first : first + 5], weights=[4, 4, 4, 4, 2]) for first in range(0, len(losses), 5)]


@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize("on_epoch", [False, True])
def test_what_the_module_logs_as_loss_of_the_batches_is_their_loss_for_good(on_epoch: bool, accumulated: int) -> None:
    module = Penalised(on_step=True, on_epoch=on_epoch)
    history = fit(module, max_epochs=3, accumulate_grad_batches=accumulated)
    assert history.batch["loss"] == pytest.approx(module.logged, rel=1e-6)
    assert history.epoch["loss"] == pytest.approx(module.means(module.logged), rel=1e-6)
    assert set(history.batch) == {"loss", "lr"}


def test_a_loss_that_is_logged_when_the_batch_has_ended_is_compared_with_the_returned_one() -> None:
    class Late(Penalised):
        hook = "on_train_batch_end"
        penalty = 1.0

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.log("loss", self.logged[-1], on_step=True, on_epoch=True)

    module = Late()
    history = fit(module)
    assert history.batch["loss"] == pytest.approx(module.logged, rel=1e-6)
    assert history.batch["returned_loss"] == pytest.approx(module.losses, rel=1e-6)
    assert history.epoch["returned_loss"] == pytest.approx(module.means(module.losses), rel=1e-6)


@pytest.mark.parametrize("same", [True, False])
def test_a_loss_that_is_logged_now_and_then_is_compared_where_it_comes_first(same: bool) -> None:
    class Rare(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            if batch_idx % 3 == 1:
                self.log("loss", loss if same else loss * 2)
            return loss

    module = Rare()
    history = fit(module)
    if same:
        assert history.batch["loss"] == pytest.approx(module.losses, rel=1e-6)
        assert "returned_loss" not in history.batch
    else:
        # Before, nobody could know.
        assert history.batch.steps("loss").tolist() == [1, 2, 5, 7, 10]
        assert history.batch["loss"][1:] == pytest.approx([2 * module.losses[at] for at in (1, 4, 6, 9)])
        assert history.batch["returned_loss"] == pytest.approx(module.losses[1:])
        # Of the first epoch not every batch has that name.
        assert history.epoch.epochs("returned_loss").tolist() == [1]
        assert "loss" not in history.epoch


def test_a_mean_that_parts_from_the_returned_losses_later_is_told_and_they_get_a_name_of_their_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    module = Penalised(on_step=False, on_epoch=True)
    history = fit(module, max_epochs=3)
    assert history.epoch["loss"] == pytest.approx(module.means(module.logged), rel=1e-6)
    assert history.epoch["returned_loss"] == pytest.approx(module.means(module.losses), rel=1e-6)
    assert history.batch["loss"] == pytest.approx(module.losses[:5], rel=1e-6)
    assert history.batch["returned_loss"] == pytest.approx(module.losses[5:], rel=1e-6)
    assert caplog.text.count("the mean that 'Penalised' logs as 'loss' is not that of the losses it returned") == 1


@pytest.mark.parametrize("plain", [True, False])
def test_a_mean_of_the_returned_losses_is_their_mean_with_whatever_weights(
    plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Means(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            self.log("loss", loss, on_step=False, on_epoch=True, batch_size=1 if plain else None)
            return loss

    history = fit(Means(), max_epochs=3)
    assert set(history.batch) == {"loss", "lr"}
    assert set(history.epoch) == {"loss", "val_loss"}
    assert "returned_loss" not in caplog.text


@pytest.mark.parametrize("how", [{"on_step": True}, {"on_step": False, "on_epoch": True}], ids=str)
def test_of_a_loss_that_is_logged_one_value_is_read_while_the_first_batch_is_trained(
    how: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Logged(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = self.loss_of(batch)
            self.log("loss", loss, **how)
            return loss

    watch = callback()
    reads = contract.note_reads(monkeypatch, watch._bus)
    trainer(watch).fit(Logged(), loader(), loader())
    monkeypatch.undo()
    assert reads.count(0) == 1
    assert set(reads) == {0, 5, 10}


# Batches -------------------------------------------------------------------------------------------------------------


def test_the_loss_is_whole_where_gradients_are_accumulated() -> None:
    """Also in a last accumulation of fewer batches, and when a callback changes how many there are."""
    module = Net()
    history = fit(module, accumulate_grad_batches=3)
    assert history.batch["loss"] == pytest.approx(module.losses, rel=1e-6)
    assert history.epoch["loss"] == pytest.approx(
        [np.average(module.losses[first : first + 5], weights=[4, 4, 4, 4, 2]) for first in (0, 5)], rel=1e-6
    )

    class Changes(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            trainer.accumulate_grad_batches += 1

    module = Net()
    watch = callback()
    trainer(Changes(), watch, GradientAccumulationScheduler({0: 1, 1: 4}), max_epochs=3).fit(module, loader())
    assert watch.history.batch["loss"] == pytest.approx(module.losses, rel=1e-6)


def test_a_batch_without_a_loss_is_a_batch() -> None:
    class Skips(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            return None if batch_idx == 1 else {"loss": loss * (float("nan") if batch_idx == 3 else 1), "other": "text"}

    module = Skips()
    history = fit(module, max_epochs=1)
    assert history.step == BATCHES
    assert history.batch.steps("loss").tolist() == [1, 3, 4, 5]
    assert history.batch["loss"] == pytest.approx([*module.losses[:1], module.losses[2], np.nan, np.nan], nan_ok=True)
    assert len(history.batch["lr"]) == BATCHES


class Weight(pl.LightningModule):
    """A model whose gradient is 1: its weight falls by the learning rate of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.weight * 1

    def on_train_batch_end(self, *args: Any) -> None:
        self.seen.append(self.weight.item())

    @property
    def used(self) -> np.ndarray:
        return -np.diff([0, *self.seen])


def test_the_learning_rate_is_the_one_each_batch_used() -> None:
    class ByStep(Weight):
        interval = "step"

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
            return [optimizer], [{"scheduler": scheduler, "interval": self.interval}]

    class ByEpoch(ByStep):
        interval = "epoch"

    class WarmUp(ByEpoch):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            self.optimizers().param_groups[0]["lr"] = 0.01 * (self.trainer.global_step + 1)

    class InBackward(ByEpoch):
        def on_after_backward(self) -> None:
            self.trainer.optimizers[0].param_groups[0]["lr"] = 0.02 * (self.trainer.global_step + 1)

    for model in (ByStep, ByEpoch, WarmUp, InBackward):
        module = model()
        watch = callback()
        trainer(watch, max_epochs=3).fit(module, loader())
        assert watch.history.batch["lr"] == pytest.approx(module.used, rel=1e-4), model
        assert len(set(module.used.round(5))) > 1


def test_a_batch_whose_gradients_are_only_accumulated_has_the_rate_of_its_time() -> None:
    class ByStep(Weight):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    watch = callback()
    trainer(watch, max_epochs=1, accumulate_grad_batches=2).fit(ByStep(), loader())
    assert watch.history.batch["lr"].tolist() == [0.1, 0.1, 0.05, 0.05, 0.025]


class Manual(Net):
    """Two optimizers, the first with two parameter groups, stepped by hand; the first gets a third group later."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.other = nn.Linear(3, 1)
        self.late = nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Any, batch_idx: int) -> None:
        first, second = self.optimizers()
        loss = self.loss_of(batch)
        first.zero_grad()
        self.manual_backward(loss)
        first.step()
        if batch_idx % 2 == 0:
            other = self.other(batch[0]).square().mean()
            second.zero_grad()
            self.manual_backward(other)
            second.step()
        first.param_groups[0]["lr"] *= 0.5
        self.log_dict({"g_loss": loss, "d_loss": loss * 2})

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 1:
            self.trainer.optimizers[0].add_param_group({"params": [self.late], "lr": 0.7})

    def configure_optimizers(self) -> Any:
        layers = [{"params": self.net[0].parameters(), "lr": 0.2}, {"params": self.net[3].parameters(), "lr": 0.3}]
        return torch.optim.SGD(layers), torch.optim.Adam(self.other.parameters(), lr=0.01)


def test_manual_optimisation_shows_what_the_module_logs_and_every_optimizer_s_rates() -> None:
    history = fit(Manual())
    assert set(history.batch) == {"g_loss", "d_loss", "lr", "lr_1", "lr_2", "lr_optimizer1"}
    assert history.batch["lr"] == pytest.approx([0.2 * 0.5**step for step in range(10)])
    assert history.batch["lr_1"].tolist() == [0.3] * 10
    assert history.batch["lr_optimizer1"].tolist() == [0.01] * 10
    assert history.batch["lr_2"].tolist() == [0.7] * 5
    assert history.batch.steps("lr_2").tolist() == [6, 7, 8, 9, 10]
    assert {history.batch.series(name).metric for name in history.batch if name.startswith("lr")} == {"learning rate"}
    assert history.batch["d_loss"] == pytest.approx(2 * history.batch["g_loss"])
    assert set(history.epoch) == {"val_loss"}


def test_what_a_manual_step_returns_is_not_taken_for_the_loss() -> None:
    class Returns(Manual):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:  # type: ignore[override]
            super().training_step(batch, batch_idx)
            self.log("loss", 4.0, on_step=True, on_epoch=False)
            return torch.tensor(5.0)

    history = fit(Returns(), accumulate_grad_batches=1)
    assert set(history.batch["loss"]) == {4}
    assert "loss" not in history.epoch


# Epochs and validation -----------------------------------------------------------------------------------------------


def recorded(module: Any, *, data: Any = None, **options: Any) -> contract.Recorder:
    bus = contract.Recorder()
    trainer(EpochCallback(bus=bus), **options).fit(module, data if data is not None else loader(), loader())
    return bus


def test_the_sanity_check_is_no_validation_of_the_run() -> None:
    class Counts(Net):
        validations = 0

        def on_validation_epoch_end(self) -> None:
            self.log("val_count", float(self.validations))
            self.validations += 1

    bus = recorded(Counts(), num_sanity_val_steps=2)
    assert bus.runs[-1].epoch["val_count"].tolist() == [1, 2]
    assert len(bus.runs) == 1


@pytest.mark.parametrize(
    ("options", "steps", "amid"),
    [
        ({"val_check_interval": 0.4}, [2, 4, 7, 9], [2, 4, 7, 9]),
        ({"val_check_interval": 0.5, "limit_train_batches": 4}, [2, 4, 6, 8], [2, 6]),
        ({"val_check_interval": 3, "check_val_every_n_epoch": None}, [3, 6, 9], [3, 6, 9]),
        ({"val_check_interval": 5, "check_val_every_n_epoch": None}, [5, 10], []),
        ({"check_val_every_n_epoch": 2}, [10], []),
    ],
    ids=str,
)
def test_validation_stands_where_it_was_made(options: dict[str, Any], steps: list[int], amid: list[int]) -> None:
    """In the midst of an epoch it is an evaluation there; at the epoch's end it is the epoch's, and not both."""

    class Counts(Net):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_step", float(self.trainer.fit_loop.total_batch_idx + 1))

    bus = recorded(Counts(), **options)
    epoch = bus.runs[-1].epoch
    assert epoch["val_step"].tolist() == epoch.steps("val_step").tolist() == steps
    assert [event.step for event in bus.events if isinstance(event, ew.Evaluated)] == amid
    assert len(epoch["loss"]) == 2
    order = [type(event).__name__ for event in bus.events if not isinstance(event, ew.SeriesDeclared)]
    assert order.count("EpochEnded") == order.count("EpochStarted") == 2
    assert order[-2:] == ["EpochEnded", "RunEnded"]


def test_a_second_fit_of_one_trainer_goes_on_with_the_epochs_and_a_new_one_begins_anew() -> None:
    class Once(Net):
        def on_train_epoch_end(self) -> None:
            if self.current_epoch == 0:
                self.log("once", 1.0)

    module, watch = Once(), callback()
    first = trainer(watch, max_epochs=1)
    first.fit(module, loader(), loader())
    first.fit(module, loader(), loader())  # nothing is left to train
    assert len(watch._bus.runs) == 1
    first.fit_loop.max_epochs = 3
    first.fit(module, loader(), loader())
    trainer(watch, max_epochs=1).fit(module, loader(), loader())
    assert [history.status for history in watch._bus.runs] == ["completed"] * 3
    assert [history.epoch.epochs("loss").tolist() for history in watch._bus.runs] == [[0], [1, 2], [0]]
    assert [history.epochs for history in watch._bus.runs] == [1, 3, 1]
    assert ["once" in history.epoch for history in watch._bus.runs] == [True, False, True]
    assert watch.history is watch._bus.runs[-1]


def test_a_resumed_training_goes_on_with_the_epochs(tmp_path: Path) -> None:
    first = trainer(max_epochs=2)
    first.fit(Net(), loader(), loader())
    first.save_checkpoint(tmp_path / "epoch.ckpt")
    watch = callback()
    trainer(watch, max_epochs=4).fit(Net(), loader(), loader(), ckpt_path=tmp_path / "epoch.ckpt")
    assert watch.history.epoch.epochs("loss").tolist() == watch.history.epoch.epochs("val_loss").tolist() == [2, 3]
    assert [(span.epoch, span.first, span.batches) for span in watch.history.spans] == [(2, 0, 5), (3, 5, 5)]


def test_an_epoch_that_is_resumed_in_its_midst_has_no_mean_of_its_batches(tmp_path: Path) -> None:
    """Nobody knows here what the batches before were."""

    class Saves(pl.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if trainer.current_epoch == 1 and batch_idx == 2:
                trainer.save_checkpoint(tmp_path / "amid.ckpt")

    trainer(Saves()).fit(Net(), loader(), loader())
    bus = contract.Recorder()
    trainer(EpochCallback(bus=bus), max_epochs=3).fit(Net(), loader(), loader(), ckpt_path=tmp_path / "amid.ckpt")
    history = bus.runs[-1]
    started = [event for event in bus.events if isinstance(event, ew.EpochStarted)]
    assert [(event.epoch, event.batches) for event in started] == [(1, 2), (2, 5)]
    assert [(span.epoch, span.first, span.batches) for span in history.spans] == [(1, 0, 2), (2, 2, 5)]
    assert history.epoch.epochs("loss").tolist() == [2]
    assert history.epoch.epochs("val_loss").tolist() == [1, 2]
    assert len(history.batch["loss"]) == 7


def test_how_many_epochs_is_told_where_it_is_known() -> None:
    assert recorded(Net(), max_epochs=3).runs[-1].epochs == 3
    by_steps = recorded(Net(), max_steps=7).runs[-1]
    assert by_steps.epochs is None
    assert (by_steps.step, by_steps.status) == (7, "completed")
    assert by_steps.epoch.steps("loss").tolist() == [5, 7]
    assert recorded(Net(), max_steps=7, max_epochs=9).runs[-1].epochs is None


def test_the_length_of_a_stream_is_told_by_the_epoch_before() -> None:
    class Stream(IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            return iter(zip(X, Y, strict=True))

    bus = recorded(Net(), data=DataLoader(Stream(), batch_size=4), max_epochs=3)
    started = [event for event in bus.events if isinstance(event, ew.EpochStarted)]
    assert [(event.epoch, event.batches) for event in started] == [(0, None), (1, 5), (2, 5)]
    assert bus.runs[-1].epoch.steps("val_loss").tolist() == [5, 10, 15]


def test_stopping_early_ends_the_epoch_and_the_run() -> None:
    class Stops(pl.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            trainer.should_stop = trainer.current_epoch == 1 and batch_idx == 1

    history = fit(Net(), Stops(), max_epochs=9)
    assert (history.status, history.step) == ("completed", 7)
    assert history.epoch.steps("loss").tolist() == history.epoch.steps("val_loss").tolist() == [5, 7]
    assert [span.batches for span in history.spans] == [5, 2]

    history = fit(Net(), EarlyStopping("val_loss", patience=1, min_delta=9.0), max_epochs=9)
    assert (history.status, len(history.epoch["val_loss"])) == ("completed", 2)


def test_the_rest_of_an_epoch_that_the_module_skips_is_no_batch() -> None:
    class Skips(Net):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
            return -1 if self.current_epoch == 1 or batch_idx == 3 else None

    history = fit(Skips(), max_epochs=3)
    assert history.status == "completed"
    assert [(span.epoch, span.first, span.batches) for span in history.spans] == [(0, 0, 3), (1, 3, 0), (2, 3, 3)]
    assert len(history.batch["loss"]) == 6
    assert history.epoch.epochs("loss").tolist() == [0, 2]


def test_training_without_a_validation_has_none() -> None:
    watch = callback()
    trainer(watch).fit(Net(), loader())
    assert list(watch.history.epoch) == ["loss"]
    assert len(watch.history.epoch["loss"]) == 2


# Ends ----------------------------------------------------------------------------------------------------------------


def raising(error: BaseException, hook: str, epoch: int = 1, batch: int = 2) -> type[Net]:
    """Return a module whose `hook` raises in that epoch, and in that batch if it has one."""

    def raises(self: Any, *args: Any) -> Any:
        index = args[-1] if args else batch
        if self.current_epoch == epoch and index == batch:
            raise error
        return getattr(Net, hook)(self, *args)

    return type("Raises", (Net,), {hook: raises})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), "stopped"),  # of which Lightning makes a SystemExit
        (SystemExit(3), "stopped"),
        (RuntimeError("out of data"), "failed"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_ends_a_fit_ends_its_run_with_every_batch(error: BaseException, status: str) -> None:
    watch = callback()
    with pytest.raises((type(error), SystemExit)):
        trainer(watch).fit(raising(error, "training_step")(), loader(), loader())
    history = watch.history
    assert history.status == status
    assert history.error is not None
    assert type(error).__name__ in history.error
    assert len(history.batch["loss"]) == history.step == 7
    assert history.epoch.epochs("loss").tolist() == history.epoch.epochs("val_loss").tolist() == [0]
    trainer(watch).fit(Net(), loader(), loader())
    assert [run.status for run in watch._bus.runs] == [status, "completed"]


def test_a_failure_between_the_hooks_loses_nothing_and_repeats_nothing() -> None:
    """Whatever was reported before it is there, and no value of an earlier epoch stands for a later one."""

    class Logs(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            self.log("both", loss, on_step=True, on_epoch=True)
            return loss

    def failed(hook: str, **options: Any) -> ew.History:
        watch = callback()
        module = type("Fails", (raising(RuntimeError("no"), hook), Logs), {})()
        with pytest.raises(RuntimeError, match="no"):
            trainer(watch, **options).fit(module, loader(), loader())
        assert watch.history.status == "failed"
        return watch.history

    history = failed("on_train_epoch_end")
    assert (history.step, len(history.batch["both"])) == (10, 10)
    assert history.epoch.steps("val_loss").tolist() == [5, 10]
    assert history.epoch.epochs("loss").tolist() == [0, 1]
    assert history.epoch.epochs("both").tolist() == [0]  # Lightning had not come to the second mean

    history = failed("on_validation_epoch_end")
    assert (history.step, len(history.batch["both"])) == (10, 10)
    assert history.epoch.steps("val_loss").tolist() == history.epoch.steps("loss").tolist() == [5]

    history = failed("on_validation_batch_start", val_check_interval=0.4)
    assert history.step == 7
    assert history.epoch.steps("val_loss").tolist() == [2, 4]


def test_a_fit_that_fails_in_its_last_hook_is_not_completed() -> None:
    class Fails(Net):
        def on_fit_end(self) -> None:
            raise RuntimeError("no place left")

    watch = callback()
    with pytest.raises(RuntimeError, match="no place left"):
        trainer(watch).fit(Fails(), loader(), loader())
    assert watch.history.status == "failed"
    assert watch.history.epoch.epochs("val_loss").tolist() == [0, 1]


def test_a_validation_that_an_interrupt_followed_is_kept() -> None:
    class Interrupts(Net):
        def on_validation_end(self) -> None:
            if self.trainer.fit_loop.total_batch_idx == 3:
                raise KeyboardInterrupt

    watch = callback()
    with pytest.raises(SystemExit):
        trainer(watch, val_check_interval=0.4).fit(Interrupts(), loader(), loader())
    assert watch.history.status == "stopped"
    assert watch.history.epoch.steps("val_loss").tolist() == [2, 4]


# What is no training -------------------------------------------------------------------------------------------------


def test_evaluation_and_prediction_are_no_runs() -> None:
    class All(Net):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            self.validation_step(batch, batch_idx)

        def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self.net(batch[0])

    module, watch = All(), callback()
    with_it = trainer(watch, limit_train_batches=0)
    with_it.validate(module, loader())
    with_it.test(module, loader())
    with_it.predict(module, loader())
    with_it.fit(module, loader())  # which has no batch
    assert len(watch._bus.runs) == 0
    with pytest.raises(AttributeError, match=r"Trainer\(callbacks="):
        _ = watch.history

    with_it.limit_train_batches = 1.0
    with_it.fit(module, loader(), loader())
    with_it.validate(module, loader())
    with_it.test(module, loader())
    assert len(watch._bus.runs) == 1
    assert len(watch.history.epoch["val_loss"]) == 2


def test_the_search_for_a_learning_rate_is_no_run(tmp_path: Path) -> None:
    class Finds(Net):
        lr = 0.1

    watch = callback()
    finding = trainer(watch, default_root_dir=tmp_path)
    module = Finds()
    Tuner(finding).lr_find(module, loader(), loader(), num_training=20)
    assert len(watch._bus.runs) == 0
    finding.fit(module, loader(), loader())
    assert len(watch._bus.runs) == 1
    assert watch.history.batch.steps("loss").tolist() == list(range(1, 11))

    within = callback()
    trainer(LearningRateFinder(num_training_steps=20), within, default_root_dir=tmp_path).fit(Finds(), loader())
    assert len(within._bus.runs) == 1
    assert (within.history.step, within.history.status) == (10, "completed")


# Nothing is changed --------------------------------------------------------------------------------------------------


def test_watching_changes_nothing(tmp_path: Path) -> None:
    """Weights and optimizer are bit for bit the same, and a checkpoint has nothing of the callback."""
    checkpoints = []
    for callbacks in ([], [callback()]):
        torch.manual_seed(3)
        training = trainer(*callbacks, max_epochs=3, accumulate_grad_batches=2, gradient_clip_val=0.5)
        module = Logs()
        module.configure_optimizers = lambda module=module: torch.optim.Adam(module.parameters(), lr=0.05)  # type: ignore[method-assign]
        training.fit(module, loader(), loader())
        training.save_checkpoint(tmp_path / "whole.ckpt")
        checkpoints.append(torch.load(tmp_path / "whole.ckpt", weights_only=False))
    plain, watched = checkpoints
    assert plain["callbacks"] == watched["callbacks"] == {}
    for one, other in zip(plain["state_dict"].values(), watched["state_dict"].values(), strict=True):
        assert torch.equal(one, other)
    (one,), (other,) = plain["optimizer_states"], watched["optimizer_states"]
    assert str(one) == str(other)
    assert str(plain["loops"]) == str(watched["loops"])


@pytest.mark.parametrize("stops", [False, True], ids=["goes on", "stops"])
def test_where_early_stopping_stopped_is_marked(stops: bool) -> None:
    stopper = EarlyStopping("val_loss", min_delta=9.0 if stops else -9.0, patience=2)
    history = fit(Net(), stopper, max_epochs=6)
    assert [(mark.text, mark.step) for mark in history.marks] == ([("early stopping", 15)] if stops else [])
    assert len(history.epoch["val_loss"]) == (3 if stops else 6)


class Told(Net):
    """Its validation loss is what the test says of the epoch."""

    def __init__(self, *told: float) -> None:
        super().__init__()
        self.told = told

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.told[self.current_epoch])


def marked(history: ew.History) -> list[tuple[str, int]]:
    return [(mark.text, mark.step) for mark in history.marks]


@pytest.mark.parametrize("knows_reasons", [True, False])
@pytest.mark.parametrize("stopping", [{"check_finite": True}, {"patience": 0, "check_finite": False}], ids=str)
def test_a_stop_in_the_first_epoch_is_marked(stopping: dict[str, Any], knows_reasons: bool) -> None:
    """`stopped_epoch` is 0 then, as it is of one that has stopped nothing."""

    class Stopper(EarlyStopping):
        def on_train_end(self, trainer: Any, module: Any) -> None:
            if not knows_reasons:  # as before Lightning 2.6
                del self.stopping_reason

    if not knows_reasons and "patience" not in stopping:
        pytest.skip("nobody can know")
    stopper = Stopper("val_loss", **{"patience": 3} | stopping)
    history = fit(Told(*[float("nan")] * 4), stopper, max_epochs=4, num_sanity_val_steps=0)
    assert marked(history) == [("early stopping", 5)]

    class Asks(pl.Callback):
        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            trainer.should_stop = True

    other = Stopper("val_loss", patience=3, check_finite=False)
    assert marked(fit(Told(1.0), Asks(), other, max_epochs=4)) == []


def test_a_stop_of_an_earlier_fit_is_not_marked_again(tmp_path: Path) -> None:
    def train(stopper: Any, module: Any, **options: Any) -> tuple[Any, ew.History]:
        watch = callback()
        training = trainer(stopper, watch, max_epochs=5, num_sanity_val_steps=0)
        training.fit(module, loader(), loader(), **options)
        return training, watch.history

    stopper = EarlyStopping("val_loss", patience=1)
    training, history = train(stopper, Told(1.0, 1.0))
    assert marked(history) == [("early stopping", 10)]
    training.save_checkpoint(tmp_path / "stopped.ckpt")
    falling = [-float(epoch) for epoch in range(1, 6)]
    for options in ({}, {"ckpt_path": tmp_path / "stopped.ckpt"}):
        again = EarlyStopping("val_loss", patience=1) if options else stopper
        _, history = train(again, Told(*falling), **options)
        assert again.stopped_epoch == 1
        assert marked(history) == []
    _, history = train(EarlyStopping("val_loss"), Told(*[1.0] * 5), ckpt_path=tmp_path / "stopped.ckpt")
    assert marked(history) == [("early stopping", 5)]


def test_checkpoints_are_marked_where_they_were_saved(tmp_path: Path) -> None:
    saves = ModelCheckpoint(tmp_path, every_n_train_steps=3, save_top_k=-1)
    history = fit(Net(), saves, enable_checkpointing=True)
    assert [(mark.text, mark.step) for mark in history.marks] == [("checkpoint", step) for step in (3, 6, 9)]
    assert len(list(tmp_path.iterdir())) == 3


def test_no_value_is_read_while_batches_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would make a processor wait for its device is read when a validation or an epoch has ended."""

    class Quiet(Logs):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = self.loss_of(batch)
            self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True)
            return loss

    watch = callback()
    reads = contract.note_reads(monkeypatch, watch._bus)
    trainer(watch, accumulate_grad_batches=2).fit(Quiet(), loader(), loader())
    monkeypatch.undo()
    assert set(reads) == {5, 10}
    assert watch.history.batch["loss"] == pytest.approx(watch.history.batch["train_loss"], rel=1e-6)


def test_a_failure_of_ours_does_not_reach_the_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*args: Any) -> Any:
        raise ValueError("of ours")

    monkeypatch.setattr(adapter, "scalar", fails)
    module = Logs()
    history = fit(module)
    assert len(module.losses) == 10
    assert history.status == "completed"
    assert history.step == 10
    assert caplog.text.count("not all of the training can be shown; it goes on") == 1
    caplog.clear()


def test_a_callback_that_is_kept_for_its_history_keeps_no_model() -> None:
    watch, module = callback(), Net()
    held = weakref.ref(module)
    trainer(watch).fit(module, loader(), loader())
    del module
    gc.collect()
    assert held() is None
    assert watch.history.step == 10


def test_a_copy_is_for_another_training() -> None:
    watch = EpochCallback("named", bus=ew.Bus(strict=True))
    trainer(watch).fit(Net(), loader())
    copied, pickled = copy.deepcopy(watch), pickle.loads(pickle.dumps(watch))
    assert copied._bus is watch._bus
    for other in (copied, pickled):
        with pytest.raises(AttributeError, match="no history yet"):
            _ = other.history
        trainer(other).fit(Net(), loader())
        assert other.history.name == "named"
    assert len(watch._bus.runs) == 2
    assert watch.history is watch._bus.runs[0]

    class Copies(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            copies.append(copy.deepcopy(trainer.callbacks[0]))
            copies.append(pickle.loads(pickle.dumps(trainer.callbacks[0])))

    class Local(Net):
        """A module that cannot be pickled, as those of a notebook."""

    copies: list[Any] = []
    trainer(watch, Copies()).fit(Local(), loader())
    assert {type(copied) for copied in copies} == {EpochCallback}
    assert watch.history.status == "completed"


# Processes and packages ----------------------------------------------------------------------------------------------

_IN_PROCESSES = """
import json, os, sys
import torch
import lightning.pytorch as pl
import epochwidget as ew
from epochwidget.callbacks.lightning import EpochCallback

torch.set_num_threads(1)

def note(event):
    with open(os.environ["NOTED"], "a") as file:
        print(json.dumps([os.getpid(), os.environ["LOCAL_RANK"], type(event).__name__]), file=file)

ew.bus.subscribe(note, ew.RunStarted, ew.BatchEnded, ew.EpochEnded, ew.RunEnded)

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(3, 1)

    def training_step(self, batch, batch_idx):
        loss = self.net(batch[0]).square().mean()
        self.log("train_loss", loss, on_epoch=True, sync_dist=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.net(batch[0]).square().mean(), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

if __name__ == "__main__":
    print("parent", os.getpid())
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(16, 3)), batch_size=4)
    for strategy in ("ddp_spawn", "ddp_fork"):
        os.environ["NOTED"] = os.path.join(sys.argv[1], strategy)
        callback = EpochCallback()
        pl.Trainer(
            accelerator="cpu", devices=2, strategy=strategy, max_epochs=2, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, callbacks=[callback],
        ).fit(Net(), data, data)
        try:
            callback.history
        except AttributeError as error:
            print(error)
"""


def test_of_several_processes_the_first_has_a_run_and_the_person_is_told(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(_IN_PROCESSES)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stderr.count("'Net' trains in a child process") == 2
    assert done.stdout.count("processes of its own") == 2
    parent = int(done.stdout.split()[1])
    epoch = ["BatchEnded", "BatchEnded", "EpochEnded"]
    for strategy in ("ddp_spawn", "ddp_fork"):
        events = [json.loads(line) for line in (tmp_path / strategy).read_text().splitlines()]
        processes, ranks, kinds = (list(column) for column in zip(*events, strict=True))
        assert len(set(processes)) == 1
        assert processes[0] != parent
        assert set(ranks) == {"0"}
        assert kinds == ["RunStarted", *epoch, *epoch, "RunEnded"]


def another_copy() -> Any:
    """Import the adapter a second time, as if nobody had before."""
    spec = importlib.util.spec_from_file_location("epochwidget.callbacks.another", adapter.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_of_the_packages_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {pl.Callback, pytorch_lightning.Callback}

    def bases() -> set[type]:
        return both & set(another_copy().EpochCallback.__mro__)

    assert bases() == both
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    assert bases() == {pytorch_lightning.Callback}
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    with pytest.raises(ImportError, match=r"needs PyTorch Lightning: pip install 'lightning>=2\.2,<3'"):
        another_copy()
    monkeypatch.setitem(sys.modules, "lightning.pytorch", pl)
    assert bases() == {pl.Callback}
    # What nobody has imported stays so.
    monkeypatch.delitem(sys.modules, "pytorch_lightning")
    assert bases() == {pl.Callback}
    assert "pytorch_lightning" not in sys.modules
    monkeypatch.undo()
    # A package that is there and breaks is not passed over in silence.
    monkeypatch.setattr(importlib, "import_module", _breaks)
    with pytest.raises(ModuleNotFoundError, match="torchvision"):
        another_copy()


def _breaks(name: str) -> Any:
    raise ModuleNotFoundError("No module named 'torchvision'", name="torchvision")


def test_a_version_that_is_not_supported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl, "__version__", "1.9.5")
    with pytest.raises(ImportError, match=r"needs lightning 2\.2 or newer, but below 3; 1\.9\.5 is installed"):
        another_copy()
    monkeypatch.setattr(pl, "__version__", "3.0.0")
    with pytest.raises(ImportError, match="below 3; 3"):
        another_copy()


def test_bad_arguments_are_refused_in_one_sentence() -> None:
    with pytest.raises(TypeError, match=r"EpochCallback\(\) does not know 'nane' \(did you mean 'name'\?\)"):
        EpochCallback(nane="x")
    with pytest.raises(ValueError, match="name of a run is empty"):
        EpochCallback(" ")
    with pytest.raises(TypeError, match="bus"):
        EpochCallback(bus="bus")  # type: ignore[arg-type]


def test_a_resumed_training_may_go_on_in_the_former_run(tmp_path: Path) -> None:
    watch = callback()
    first = trainer(watch, max_epochs=3)
    first.fit(Net(), loader(), loader())
    first.save_checkpoint(tmp_path / "three.ckpt")
    history, bus = watch.history, watch._bus
    again = EpochCallback(bus=bus, resume=history)
    trainer(again, max_epochs=4).fit(Net(), loader(), loader(), ckpt_path=tmp_path / "three.ckpt")
    assert again.history is history
    assert len(bus.runs) == 1
    assert history.epoch.epochs("val_loss").tolist() == history.epoch.epochs("loss").tolist() == [0, 1, 2, 3]
    assert [(span.epoch, span.first, span.batches) for span in history.spans] == [(at, 5 * at, 5) for at in range(4)]
    back = EpochCallback(bus=bus, resume=history, epoch=3)
    trainer(back, max_epochs=5).fit(Net(), loader(), loader(), ckpt_path=tmp_path / "three.ckpt")
    assert history.epoch.epochs("val_loss").tolist() == [0, 1, 2, 3, 4]
    assert history.batch.steps("loss").tolist() == list(range(1, 26))
    assert (history.status, history.epochs, history.generation) == ("completed", 5, 1)


def test_the_time_of_validation_is_told_without_that_of_the_next_batchs_data() -> None:
    class Slow(Net):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            time.sleep(0.02)
            super().validation_step(batch, batch_idx)

    class SlowData(TensorDataset):
        def __getitem__(self, index: Any) -> Any:
            time.sleep(0.05)
            return super().__getitem__(index)

    history = fit(Slow(), data=DataLoader(SlowData(X[:4], Y[:4]), batch_size=1), validation=loader())
    # Five batches of validation twice; four samples take 0.2 s an epoch.
    assert 0.2 <= history.validating < history.elapsed - 0.3
