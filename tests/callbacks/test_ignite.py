"""PyTorch Ignite: real engines, real ``run``."""

from __future__ import annotations

import copy
import importlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ignite
import ignite.distributed as idist
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import (
    Checkpoint,
    EarlyStopping,
    FastaiLRFinder,
    LRScheduler,
    ModelCheckpoint,
    global_step_from_engine,
)
from ignite.handlers.time_profilers import BasicTimeProfiler
from ignite.metrics import Accuracy, Average, Loss, MetricGroup, Precision, RunningAverage
from ignite.metrics.metric import BatchWise, SingleEpochRunningBatchWise
from IPython.core.interactiveshell import InteractiveShell
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from traitlets.config import Config

import epochwidget as ew
from epochwidget.callbacks import ignite as adapter
from epochwidget.callbacks.ignite import EpochCallback

from . import contract

RNG = np.random.default_rng(0)
X = torch.from_numpy(RNG.normal(size=(100, 5)).astype("float32"))
Y = (X.sum(1) > 0).long()
SIZES = np.array([32, 32, 32, 4])
FAILED = "not all of the training can be shown"


@pytest.fixture(autouse=True)
def nothing_of_ours_failed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Failures are logged and not raised, so that none would be seen."""
    yield
    assert not [record for record in caplog.get_records("call") if FAILED in record.message]


@pytest.fixture(autouse=True)
def quiet_and_quick() -> Iterator[None]:
    """One thread, for small steps on a busy machine are slower with more; no log of failures that are meant."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    logging.getLogger("ignite").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("ignite").setLevel(logging.NOTSET)
    torch.set_num_threads(threads)


class Setting:
    """A classifier with dropout, its trainer, its evaluator and their data."""

    def __init__(self, *, step: Any = None, rate: float = 0.05, **how: Any) -> None:
        torch.manual_seed(7)
        self.model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))
        self.optimizer = torch.optim.Adam(self.model.parameters(), rate)
        self.loss = nn.CrossEntropyLoss()
        self.loader = DataLoader(TensorDataset(X, Y), batch_size=32)
        self.val_loader = DataLoader(TensorDataset(X[:40], Y[:40]), batch_size=16)
        if step is None:
            self.trainer = create_supervised_trainer(self.model, self.optimizer, self.loss, **how)
        else:
            self.trainer = Engine(lambda engine, batch: step(self, batch))
        metrics = {"accuracy": Accuracy(), "loss": Loss(self.loss)}
        self.evaluator = create_supervised_evaluator(self.model, metrics=metrics)
        self.outputs: list[Any] = []
        self.trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: self.outputs.append(engine.state.output)
        )

    def validate_each_epoch(self) -> list[dict[str, float]]:
        """Evaluate after each epoch; return where what the evaluator reports is going to be."""
        reported: list[dict[str, float]] = []

        @self.trainer.on(Events.EPOCH_COMPLETED)
        def validate() -> None:
            self.evaluator.run(self.val_loader)
            reported.append(dict(self.evaluator.state.metrics))

        return reported

    def weights(self) -> np.ndarray:
        return torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()]).numpy()


def callback(name: str | None = None) -> EpochCallback:
    return EpochCallback(name, bus=ew.Bus(strict=True))


def told(series: Any) -> tuple[str, str, str]:
    return series.metric, series.split, series.kind


@pytest.mark.parametrize("ours_first", [True, False], ids=["first", "last"])
def test_run_keeps_the_contract_whatever_was_attached_first(ours_first: bool) -> None:
    net = nn.Linear(3, 1)
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    optimizer = torch.optim.SGD(net.parameters(), lr=contract.FIRST_RATE)
    trainer = create_supervised_trainer(net, optimizer, nn.MSELoss())
    evaluator = create_supervised_evaluator(net, metrics={"loss": Loss(nn.MSELoss())})
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, contract.DECAY)
    bus = contract.Recorder()

    def others() -> None:
        @trainer.on(Events.ITERATION_COMPLETED)
        def next_rate() -> None:
            scheduler.step()

        data = DataLoader(TensorDataset(torch.from_numpy(contract.X_VAL), torch.from_numpy(contract.Y_VAL)))
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(data))

    if not ours_first:
        others()
    EpochCallback("linear", bus=bus).attach(trainer, evaluator, optimizer=optimizer)
    if ours_first:
        others()
    data = TensorDataset(torch.from_numpy(contract.X), torch.from_numpy(contract.Y))
    trainer.run(DataLoader(data, batch_size=contract.BATCH_SIZE), max_epochs=contract.EPOCHS)
    history = contract.check(bus)
    assert history.name == "linear"
    assert (list(history.batch), list(history.epoch)) == (["loss", "lr"], ["loss", "val_loss"])


def test_what_ignite_reports_is_what_we_have() -> None:
    """Outputs, metrics of the trainer and of the evaluators, each under its name, kind and split."""
    here, watch = Setting(), callback()
    tester = create_supervised_evaluator(here.model, metrics={"val_loss": Loss(here.loss)})
    watch.attach(here.trainer, {"val": here.evaluator, "test": tester}, optimizer=here.optimizer)
    here.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: tester.run(here.val_loader))
    reported = here.validate_each_epoch()
    # All that computes after this callback was attached.
    Average(output_transform=lambda loss: loss).attach(here.trainer, "train_loss")
    RunningAverage(output_transform=lambda loss: loss).attach(here.trainer, "loss")
    RunningAverage(output_transform=lambda loss: 2 * loss).attach(here.trainer, "running_avg_double")
    Average(output_transform=lambda loss: loss).attach(here.trainer, "own", usage=BatchWise())
    Average(output_transform=lambda loss: loss).attach(here.trainer, "so_far", usage=SingleEpochRunningBatchWise())
    smoothed: list[float] = []
    here.trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: smoothed.append(engine.state.metrics["loss"])
    )
    means: list[float] = []
    here.trainer.add_event_handler(
        Events.EPOCH_COMPLETED, lambda engine: means.append(engine.state.metrics["train_loss"])
    )
    here.trainer.run(here.loader, max_epochs=3)

    batch, epoch = watch.history.batch, watch.history.epoch
    assert batch["loss"].tolist() == here.outputs
    assert batch["own"] == pytest.approx(here.outputs)
    assert batch["smoothed_loss"].tolist() == smoothed
    assert batch["so_far"][:4] == pytest.approx(np.cumsum(here.outputs[:4]) / np.arange(1, 5), rel=1e-6)
    assert epoch["train_loss"].tolist() == means
    assert epoch["loss"] == pytest.approx((np.reshape(here.outputs, (3, 4)) * SIZES).sum(1) / 100, rel=1e-6)
    for name in ("loss", "accuracy"):
        assert epoch[f"val_{name}"].tolist() == [one[name] for one in reported]
    assert epoch["test_val_loss"].tolist() == [one["loss"] for one in reported]
    assert {name: told(batch.series(name)) for name in batch} == {
        "loss": ("loss", "train", "batch"),
        "own": ("own", "train", "batch"),
        "smoothed_loss": ("loss", "train", "smoothed"),
        "running_avg_double": ("double", "train", "smoothed"),
        "so_far": ("so_far", "train", "running"),
        "lr": ("learning rate", "train", "batch"),
    }
    assert {name: told(epoch.series(name)) for name in epoch} == {
        "loss": ("loss", "train", "epoch"),
        "train_loss": ("loss", "train", "epoch"),
        "val_loss": ("loss", "validation", "epoch"),
        "val_accuracy": ("accuracy", "validation", "epoch"),
        "test_val_loss": ("val_loss", "validation", "epoch"),
    }


def test_watching_changes_nothing() -> None:
    """Weights, metrics and random state are bit for bit those of a training that nobody watches."""
    outcomes = []
    for watched in (False, True):
        here = Setting()
        reported = here.validate_each_epoch()
        if watched:
            callback().attach(here.trainer, here.evaluator, optimizer=here.optimizer)
        loader = DataLoader(TensorDataset(X, Y), batch_size=32, shuffle=True)
        here.trainer.run(loader, max_epochs=3)
        outcomes.append((here.weights(), here.outputs, reported, torch.rand(3).tolist()))
    (plain, *plain_rest), (seen, *seen_rest) = outcomes
    assert np.array_equal(plain, seen)
    assert plain_rest == seen_rest


def test_no_value_is_read_while_batches_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would make a processor wait for its device is read when an epoch has ended."""

    def step(here: Setting, batch: Any) -> dict[str, torch.Tensor]:
        here.optimizer.zero_grad()
        loss = here.loss(here.model(batch[0]), batch[1])
        loss.backward()
        here.optimizer.step()
        return {"loss": loss.detach(), "double": loss.detach() * 2}

    here, watch = Setting(step=step), callback()
    watch.attach(here.trainer, here.evaluator, optimizer=here.optimizer)
    here.validate_each_epoch()
    reads = contract.note_reads(monkeypatch, watch._bus)
    here.trainer.run(here.loader, max_epochs=2)
    monkeypatch.undo()
    batches = len(here.loader)
    assert set(reads) <= {batches, 2 * batches}
    assert watch.history.batch["loss"].tolist() == [float(output["loss"]) for output in here.outputs]


def test_the_rate_is_the_one_each_batch_was_trained_with() -> None:
    """Read from the weights: a parameter whose gradient is 1 moves by its learning rate, one of each group."""
    ones = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    groups = [{"params": [one], "lr": rate} for one, rate in zip(ones, (0.1, 0.3), strict=True)]
    optimizer = torch.optim.SGD(groups)
    seen = [(0.0, 0.0)]

    def step(engine: Engine, batch: Any) -> float:
        optimizer.zero_grad()
        (ones[0] + ones[1]).backward()
        optimizer.step()
        seen.append((ones[0].item(), ones[1].item()))
        return 1.0

    trainer, watch = Engine(step), callback()
    watch.attach(trainer, optimizer=optimizer)
    # Ignite's own way, which sets the rate before a batch, and another one after it.
    trainer.add_event_handler(
        Events.ITERATION_STARTED, LRScheduler(torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7))
    )

    @trainer.on(Events.ITERATION_COMPLETED)
    def halve() -> None:
        optimizer.param_groups[1]["lr"] /= 2

    trainer.run(range(3), max_epochs=2)
    moved = -np.diff(np.array(seen), axis=0)
    assert watch.history.batch["lr"] == pytest.approx(moved[:, 0], rel=1e-5)
    assert watch.history.batch["lr_1"] == pytest.approx(moved[:, 1], rel=1e-5)
    assert len(set(watch.history.batch["lr"])) == len(set(watch.history.batch["lr_1"])) == 6


def test_several_optimizers_have_rates_of_their_names() -> None:
    one, other = (torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate) for rate in (0.1, 0.2))
    trainer, watch = Engine(lambda engine, batch: None), callback()
    watch.attach(trainer, optimizer={"generator": one, "critic": other}, output_transform=lambda output: 3)
    trainer.run(range(2))
    batch = watch.history.batch
    assert {name: batch[name][0] for name in batch} == {"loss": 3, "lr_generator": 0.1, "lr_critic": 0.2}
    assert batch.series("lr_critic").metric == "learning rate"


def test_gradient_accumulation_leaves_the_loss_of_a_batch_whole() -> None:
    whole = [callback(), callback()]
    for watch, steps in zip(whole, (1, 4), strict=True):
        here = Setting(rate=0.0, gradient_accumulation_steps=steps)
        watch.attach(here.trainer)
        here.trainer.run(here.loader)
    assert whole[1].history.batch["loss"] == pytest.approx(whole[0].history.batch["loss"], rel=1e-6)


def test_a_dict_of_outputs_and_a_tensor_with_its_graph() -> None:
    """Numbers are taken under their keys, all else is left out; nothing keeps the graph."""

    def step(here: Setting, batch: Any) -> dict[str, Any]:
        here.optimizer.zero_grad()
        predicted = here.model(batch[0])
        loss = here.loss(predicted, batch[1])
        loss.backward()
        here.optimizer.step()
        return {"train_loss": loss, "size": len(batch[0]), "y_pred": predicted, "skipped": False, "text": "x"}

    here, watch = Setting(step=step), callback()
    watch.attach(here.trainer)
    here.trainer.run(here.loader)
    assert list(watch.history.batch) == ["train_loss", "size"]
    assert told(watch.history.batch.series("train_loss")) == ("loss", "train", "batch")
    assert watch.history.batch["train_loss"] == pytest.approx([one["train_loss"].item() for one in here.outputs])
    assert list(watch.history.epoch) == ["train_loss", "size"]


def test_a_tuple_asks_once_for_a_transform_and_trains_on(caplog: pytest.LogCaptureFixture) -> None:
    def step(here: Setting, batch: Any) -> tuple[Any, Any, float]:
        return batch[0], batch[1], 0.5

    here, watch = Setting(step=step), callback()
    watch.attach(here.trainer)
    here.trainer.run(here.loader)
    assert [record.message.count("output_transform=lambda output: {'loss'") for record in caplog.records] == [1]
    assert watch.history.step == 4
    watch.attach(here.trainer, output_transform=lambda output: {"loss": output[2]})
    here.trainer.run(here.loader)
    assert watch.history.batch["loss"].tolist() == [0.5] * 4


def test_a_transform_that_fails_does_not_stop_the_training(caplog: pytest.LogCaptureFixture) -> None:
    here, watch = Setting(), callback()
    watch.attach(here.trainer, output_transform=lambda output: output["loss"])
    here.trainer.run(here.loader)
    assert [record.message.count("the training goes on") for record in caplog.records] == [1]
    assert (watch.history.status, watch.history.step) == ("completed", 4)


def test_batches_whose_size_nobody_knows_count_the_same() -> None:
    """Where the tensors of a batch disagree, as a sequence with its length first does, the mean is over batches."""
    losses = iter([1.0, 2.0, 6.0] * 2)
    batches = [(torch.zeros(7, size), torch.zeros(size)) for size in (1, 2, 3)]
    trainer, watch = Engine(lambda engine, batch: next(losses)), callback()
    watch.attach(trainer)
    trainer.run(batches)
    assert watch.history.epoch["loss"].tolist() == [3.0]
    trainer.run([{"x": tensor, "y": tensor} for _, tensor in batches])
    assert watch.history.epoch["loss"] == pytest.approx([(1 + 4 + 18) / 6])


@pytest.mark.parametrize("ours_first", [True, False], ids=["first", "last"])
def test_evaluations_land_at_their_step(ours_first: bool) -> None:
    """Before the first batch, in the midst of an epoch, at its end and after the last one."""
    here, watch = Setting(), callback()
    if ours_first:
        watch.attach(here.trainer, here.evaluator)
    reported: list[float] = []

    @here.trainer.on(Events.STARTED | Events.ITERATION_COMPLETED(once=2) | Events.EPOCH_COMPLETED)
    def validate() -> None:
        here.evaluator.run(here.val_loader)
        reported.append(here.evaluator.state.metrics["loss"])

    tester = create_supervised_evaluator(here.model, metrics={"loss": Loss(here.loss)})
    here.trainer.add_event_handler(Events.COMPLETED, lambda: tester.run(here.val_loader))
    if not ours_first:
        watch.attach(here.trainer, {"val": here.evaluator, "test": tester})
    here.trainer.run(here.loader, max_epochs=2)
    epoch = watch.history.epoch
    assert epoch["val_loss"].tolist() == reported
    assert epoch.steps("val_loss").tolist() == [0, 2, 4, 8]
    assert epoch.epochs("val_loss").tolist() == [0, 0, 0, 1]
    assert epoch.steps("loss").tolist() == [4, 8]
    if not ours_first:
        assert (epoch["test_loss"].tolist(), epoch.steps("test_loss").tolist()) == (reported[-1:], [8])


def test_an_evaluation_of_a_restored_model_takes_no_epoch_s_place() -> None:
    here, watch = Setting(), callback()
    reported = here.validate_each_epoch()
    watch.attach(here.trainer, here.evaluator)

    @here.trainer.on(Events.COMPLETED)
    def restore_and_evaluate() -> None:
        for parameter in here.model.parameters():
            parameter.data.zero_()
        here.evaluator.run(here.val_loader)

    here.trainer.run(here.loader, max_epochs=2)
    assert watch.history.epoch["val_loss"].tolist() == [one["loss"] for one in reported]


def test_an_evaluation_of_the_training_data_is_not_called_validation() -> None:
    """One evaluator for both, as in Ignite's own examples."""
    here, watch = Setting(), callback()
    watch.attach(here.trainer, here.evaluator)
    losses: dict[str, list[float]] = {"train": [], "val": []}

    @here.trainer.on(Events.EPOCH_COMPLETED)
    def evaluate() -> None:
        for name, loader in (("train", here.loader), ("val", here.val_loader)):
            losses[name].append(here.evaluator.run(loader).metrics["loss"])

    here.trainer.run(here.loader, max_epochs=2)
    for name, split in (("train", "train"), ("val", "validation")):
        assert watch.history.epoch[f"{name}_loss"].tolist() == losses[name]
        assert told(watch.history.epoch.series(f"{name}_loss")) == ("loss", split, "epoch")


def test_an_evaluation_outside_of_a_run_is_no_run() -> None:
    here, watch = Setting(), callback()
    watch.attach(here.trainer, here.evaluator)
    here.evaluator.run(here.val_loader)
    with pytest.raises(AttributeError, match="no history yet"):
        _ = watch.history
    here.trainer.run(here.loader)
    here.evaluator.run(here.val_loader)
    assert len(watch._bus.runs) == 1
    assert list(watch.history.epoch) == ["loss"]


def test_values_of_former_epochs_are_not_taken_for_new_ones() -> None:
    """What is computed every second epoch, or was written by hand once, has no value in the others."""
    here, watch = Setting(), callback()
    watch.attach(here.trainer)
    every = Average(output_transform=lambda loss: loss)
    here.trainer.add_event_handler(Events.EPOCH_STARTED, every.reset)
    here.trainer.add_event_handler(Events.ITERATION_COMPLETED, every.iteration_completed)
    here.trainer.add_event_handler(Events.EPOCH_COMPLETED(every=2), every.completed, "every")
    here.trainer.add_event_handler(Events.ITERATION_COMPLETED(every=3), every.completed, "third")

    @here.trainer.on(Events.EPOCH_COMPLETED(once=3))
    def write(engine: Engine) -> None:
        engine.state.metrics["by_hand"] = 5
        engine.state.metrics["val_by_hand"] = 6.0

    here.trainer.run(here.loader, max_epochs=4)
    epoch = watch.history.epoch
    assert epoch.epochs("every").tolist() == [1, 3]
    assert watch.history.batch.steps("third").tolist() == [3, 6, 9, 12, 15]
    assert watch.history.batch.series("third").kind == "reported"
    assert epoch.epochs("by_hand").tolist() == [2]
    assert told(epoch.series("by_hand")) == ("by_hand", "train", "reported")
    assert told(epoch.series("val_by_hand")) == ("by_hand", "validation", "reported")
    here.trainer.state.max_epochs = None
    here.trainer.run(here.loader, max_epochs=1)
    assert list(watch.history.epoch) == ["loss"]


def test_metrics_with_several_numbers() -> None:
    """A vector has its numbers, a group its metrics; a matrix is no line."""
    here, watch = Setting(), callback()
    Precision(average=False).attach(here.evaluator, "precision")
    MetricGroup({"mean_precision": Precision(average=True)}).attach(here.evaluator, "group")
    here.evaluator.add_event_handler(
        Events.EPOCH_COMPLETED, lambda engine: engine.state.metrics.update(matrix=torch.ones(2, 2))
    )
    here.validate_each_epoch()
    watch.attach(here.trainer, here.evaluator)
    here.trainer.run(here.loader)
    state, epoch = here.evaluator.state, watch.history.epoch
    assert [epoch[f"val_precision_{k}"][0] for k in range(2)] == pytest.approx(state.metrics["precision"].tolist())
    assert epoch["val_mean_precision"].tolist() == [state.metrics["mean_precision"]]
    assert epoch.series("val_mean_precision").kind == "epoch"
    assert not [name for name in epoch if "matrix" in name or "group" in name]


def test_length_is_unknown_until_an_iterator_has_ended() -> None:
    class Stream(IterableDataset):  # type: ignore[misc]
        def __iter__(self) -> Iterator[Any]:
            return iter(zip(X[:10], Y[:10], strict=True))

    here, watch = Setting(), callback()
    watch.attach(here.trainer)
    seen: list[Any] = []
    watch._bus.subscribe(lambda event: seen.append((event.epoch, event.batches, event.epochs)), ew.EpochStarted)
    here.trainer.run(DataLoader(Stream(), batch_size=4), max_epochs=2)
    assert seen == [(0, None, 2), (1, 3, 2)]
    assert [span.batches for span in watch.history.spans] == [3, 3]
    here.trainer.run(here.loader, max_epochs=2, epoch_length=3)
    assert [span.batches for span in watch.history.spans] == [3, 3]


def test_a_number_of_iterations_instead_of_epochs() -> None:
    here, watch = Setting(), callback()
    watch.attach(here.trainer)
    here.trainer.run(here.loader, max_iters=6)
    assert watch.history.epochs == 2
    assert (watch.history.step, watch.history.status) == (6, "completed")
    assert [(span.first, span.batches) for span in watch.history.spans] == [(0, 4), (4, 2)]
    assert watch.history.marks == []


def test_each_run_is_a_run_and_a_resumed_one_counts_on() -> None:
    here, watch = Setting(), callback()
    watch.attach(here.trainer)
    here.trainer.run(here.loader, max_epochs=2)
    here.trainer.run(here.loader, max_epochs=4)
    here.trainer.state.max_epochs = None
    here.trainer.run(here.loader, max_epochs=1)
    here.trainer.load_state_dict({"epoch": 3, "max_epochs": 5, "epoch_length": 4})
    here.trainer.run(here.loader)
    here.trainer.load_state_dict({"iteration": 6, "max_epochs": 3, "epoch_length": 4})
    here.trainer.run(here.loader)
    runs = watch._bus.runs
    spans = [[(span.epoch, span.first, span.batches) for span in history.spans] for history in runs]
    assert spans[0] == [(0, 0, 4), (1, 4, 4)]
    assert spans[2] == [(0, 0, 4)]
    assert spans[3] == [(3, 0, 4), (4, 4, 4)]
    assert spans[4] == [(1, 0, 2), (2, 2, 4)]
    assert [history.epochs for history in runs] == [2, 4, 1, 5, 3]
    assert {history.status for history in runs} == {"completed"}


def test_terminate_and_terminate_epoch() -> None:
    """What was begun is there; a termination is marked, and nothing that did not happen is told."""
    here, watch = Setting(), callback()
    watch.attach(here.trainer)
    here.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), here.trainer.terminate_epoch)
    here.trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=7), lambda: here.trainer.terminate_epoch(skip_epoch_completed=True)
    )
    here.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=10), here.trainer.terminate)
    here.trainer.run(here.loader, max_epochs=4)
    history = watch.history
    assert [(span.epoch, span.first) for span in history.spans] == [(0, 0), (1, 2), (2, 6), (3, 7)]
    assert (history.step, history.status) == (10, "completed")
    assert [(mark.text, mark.step) for mark in history.marks] == [("terminated", 10)]
    assert history.batch["loss"].tolist() == here.outputs
    assert history.epoch["loss"][0] == pytest.approx(np.mean(here.outputs[:2]))
    here.trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=12), lambda: here.trainer.terminate(skip_completed=True)
    )
    here.trainer.run(here.loader)
    assert watch.history is not history
    assert (watch.history.step, watch.history.status) == (2, "completed")


def test_early_stopping_keeps_its_last_epoch() -> None:
    here, watch = Setting(), callback()
    watch.attach(here.trainer, here.evaluator)
    reported = here.validate_each_epoch()
    here.evaluator.add_event_handler(Events.COMPLETED, EarlyStopping(2, lambda engine: 0.0, here.trainer))
    here.trainer.run(here.loader, max_epochs=10)
    assert watch.history.epoch["val_loss"].tolist() == [one["loss"] for one in reported]
    assert len(reported) == 3
    assert watch.history.status == "completed"
    assert [mark.text for mark in watch.history.marks] == ["terminated"]


def marks(watch: EpochCallback) -> list[tuple[str, int]]:
    return [(mark.text, mark.step) for mark in watch.history.marks]


in_either_order = pytest.mark.parametrize("ours_first", [True, False], ids=["first", "last"])


@in_either_order
@pytest.mark.parametrize(
    ("event", "saved"),
    [
        (Events.ITERATION_COMPLETED(every=3), [3, 6, 9, 12]),
        (Events.ITERATION_STARTED(every=3), [2, 5, 8, 11]),
        (Events.EPOCH_STARTED, [0, 4, 8]),
        (Events.EPOCH_COMPLETED(every=2), [8]),
        (Events.EPOCH_COMPLETED | Events.COMPLETED, [4, 8, 12]),
        (Events.STARTED, [0]),
        (Events.COMPLETED, [12]),
    ],
    ids=str,
)
def test_checkpoints_are_marked_where_they_were_saved(
    tmp_path: Path, event: Any, saved: list[int], ours_first: bool
) -> None:
    here, watch = Setting(), callback()
    if ours_first:
        watch.attach(here.trainer, here.evaluator)
    saver = ModelCheckpoint(tmp_path, n_saved=None)
    here.trainer.add_event_handler(event, saver, {"model": here.model})
    if not ours_first:
        watch.attach(here.trainer, here.evaluator)
    here.validate_each_epoch()
    here.trainer.run(here.loader, max_epochs=3)
    assert marks(watch) == [("checkpoint", step) for step in saved]
    assert len(list(tmp_path.iterdir())) == len(saved)


@in_either_order
@pytest.mark.parametrize("every", [Events.EPOCH_COMPLETED, Events.ITERATION_COMPLETED(every=2)], ids=str)
def test_the_best_of_an_evaluator_is_marked_only_if_it_was_saved(every: Any, ours_first: bool) -> None:
    here, watch, saved, scores = Setting(), callback(), [], iter([0.3, 0.2, 0.5, 0.1, 0.5, 0.7])
    if ours_first:
        watch.attach(here.trainer, here.evaluator)
    here.trainer.add_event_handler(every, lambda: here.evaluator.run(here.val_loader))
    best = Checkpoint(
        {"model": here.model},
        lambda *_: saved.append(here.trainer.state.iteration),
        score_function=lambda _: next(scores),
        global_step_transform=global_step_from_engine(here.trainer),
    )
    here.evaluator.add_event_handler(Events.COMPLETED, best)
    if not ours_first:
        watch.attach(here.trainer, here.evaluator)
    here.trainer.run(here.loader, max_epochs=6 if every == Events.EPOCH_COMPLETED else 3)
    assert saved == ([4, 12, 24] if every == Events.EPOCH_COMPLETED else [2, 6, 12])
    assert marks(watch) == [("checkpoint", step) for step in saved]
    scores = iter([9.0])
    here.evaluator.run(here.val_loader)
    assert len(saved) == 4
    assert len(marks(watch)) == 3  # the training is over


@in_either_order
def test_what_is_saved_at_one_step_has_one_mark(tmp_path: Path, ours_first: bool) -> None:
    """The untrained model, too, which is evaluated before the first batch."""
    here, watch = Setting(), callback()
    if ours_first:
        watch.attach(here.trainer, {"val": here.evaluator})
    here.trainer.add_event_handler(Events.STARTED, lambda: here.evaluator.run(here.val_loader))
    here.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: here.evaluator.run(here.val_loader))
    last = ModelCheckpoint(tmp_path, "last", n_saved=1)
    here.trainer.add_event_handler(Events.EPOCH_COMPLETED, last, {"model": here.model})
    step = global_step_from_engine(here.trainer, Events.ITERATION_COMPLETED)
    each = ModelCheckpoint(tmp_path, "each", n_saved=None, global_step_transform=step)
    here.evaluator.add_event_handler(Events.COMPLETED, each, {"model": here.model})
    if not ours_first:
        watch.attach(here.trainer, {"val": here.evaluator})
    for _ in range(2):
        here.trainer.run(here.loader, max_epochs=2)
        assert marks(watch) == [("checkpoint", 0), ("checkpoint", 4), ("checkpoint", 8)]
    assert sorted(path.name for path in tmp_path.glob("each*")) == [f"each_model_{at}.pt" for at in (0, 4, 8)]


def test_what_nobody_watches_any_more_or_not_yet_is_not_marked(tmp_path: Path) -> None:
    here, watch = Setting(), callback()
    here.trainer.add_event_handler(Events.EPOCH_COMPLETED, ModelCheckpoint(tmp_path), {"model": here.model})
    here.evaluator.add_event_handler(Events.COMPLETED, ModelCheckpoint(tmp_path, "val"), {"model": here.model})
    watch.attach(here.trainer, here.evaluator)
    here.evaluator.run(here.val_loader)
    here.trainer.run(here.loader, max_epochs=1)
    assert marks(watch) == [("checkpoint", 4)]
    watch.detach()
    here.trainer.run(here.loader, max_epochs=2)
    assert marks(watch) == [("checkpoint", 4)]
    # Ignite's own saver finds the event that ours has made known.
    assert here.trainer.has_registered_events(Checkpoint.SAVED_CHECKPOINT)


def test_an_interrupted_run_goes_on_as_another_one() -> None:
    """Ignite's own `interrupt` gives control back in the midst of an epoch and goes on there."""
    here, watch = Setting(), callback()
    watch.attach(here.trainer, optimizer=here.optimizer)
    here.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), here.trainer.interrupt)
    here.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=2), here.trainer.interrupt)
    for _ in range(3):
        here.trainer.run(here.loader, max_epochs=3)
    runs = watch._bus.runs
    assert [history.status for history in runs] == ["stopped", "stopped", "completed"]
    assert [[(span.epoch, span.first) for span in history.spans] for history in runs] == [
        [(0, 0)],
        [(0, 0), (1, 2)],
        [(2, 0)],
    ]
    assert [value for history in runs for value in history.batch["loss"]] == here.outputs
    assert runs[1].epoch.epochs("loss").tolist() == [0, 1]


def ends(here: Setting, **how: Any) -> tuple[Any, ...]:
    """Run, and return all that can be told of how the run ended."""
    try:
        state = here.trainer.run(here.loader, max_epochs=3)
    except BaseException as error:
        return type(error), str(error), here.trainer.state.iteration, len(here.outputs)
    return "returned", state.epoch, state.iteration, len(here.outputs)


@pytest.mark.parametrize("swallows", [False, True], ids=["raises", "swallows"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["step", Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED, Events.STARTED], ids=str)
def test_an_exception_leaves_the_run_exactly_as_without_us(
    where: Any, error: type[BaseException], swallows: bool
) -> None:
    """Whether somebody handles exceptions, which swallows them, or nobody does."""
    endings = []
    for watch in (None, callback()):
        here = Setting()
        calls = iter(range(100))

        def fail(*_: Any, calls: Iterator[int] = calls) -> None:
            if next(calls) == (6 if where in ("step", Events.ITERATION_COMPLETED) else 0):
                raise error("now")

        if watch is not None:
            watch.attach(here.trainer, here.evaluator, optimizer=here.optimizer)
        if where == "step":
            here.model.register_forward_pre_hook(fail)
        else:
            here.trainer.add_event_handler(where, fail)
        if swallows:
            here.trainer.add_event_handler(Events.EXCEPTION_RAISED, lambda error: None)
        endings.append(ends(here))
        if watch is not None and where != Events.STARTED:
            failed = watch.history
            watch.detach()  # as the next run and the end of a notebook's cell do
            assert failed.status in ("stopped", "completed")
            assert failed.batch["loss"].tolist() == here.outputs
    assert endings[0] == endings[1]
    assert (endings[1][0] == "returned") is swallows


def test_the_next_run_closes_one_that_failed() -> None:
    """The batch whose own handler raised is there, too, where the run can be resumed."""
    here, watch = Setting(), callback()
    watch.attach(here.trainer)

    @here.trainer.on(Events.ITERATION_COMPLETED(once=6))
    def fail() -> None:
        raise RuntimeError("now")

    with pytest.raises(RuntimeError, match="now"):
        here.trainer.run(here.loader, max_epochs=3)
    failed = watch.history
    assert failed.status == "running"
    while failed.status == "running":  # after an exception, `run` itself does nothing once
        here.trainer.run(here.loader)
    assert failed.status == "stopped"
    assert (len(failed.batch["loss"]), len(failed.epoch["loss"])) == (6, 1)
    assert watch.history.status == "completed"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """An IPython of our own."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    yield InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    InteractiveShell.clear_instance()


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "failed"), (KeyboardInterrupt, "stopped")], ids=["error", "interrupt"]
)
@pytest.mark.parametrize("event", [Events.ITERATION_COMPLETED(once=6), Events.EPOCH_COMPLETED(once=2)], ids=str)
def test_a_cell_that_fails_ends_its_run_with_every_batch(
    event: Any, error: type[BaseException], status: str, shell: InteractiveShell
) -> None:
    """That of the handler that raised included, and the mean of an epoch whose evaluation raised."""
    here, watch = Setting(), callback()

    @here.trainer.on(event)
    def fail() -> None:
        raise error("now")

    watch.attach(here.trainer)
    shell.push({"here": here})
    shell.run_cell("here.trainer.run(here.loader, max_epochs=3)")
    assert watch.history.status == status
    assert "now" in (watch.history.error or "")
    assert watch.history.batch["loss"].tolist() == here.outputs
    assert len(watch.history.epoch["loss"]) == (1 if len(here.outputs) == 6 else 2)


def test_nan_is_data() -> None:
    losses = iter([1.0, float("nan"), float("inf")])
    trainer, watch = Engine(lambda engine, batch: next(losses)), callback()
    watch.attach(trainer)
    trainer.run(range(3))
    assert np.array_equal(watch.history.batch["loss"], [1.0, np.nan, np.inf], equal_nan=True)


def test_a_search_for_a_rate_is_a_run_of_its_kind() -> None:
    here, watch = Setting(), callback()
    watch.attach(here.trainer, optimizer=here.optimizer)
    before, finder = here.weights(), FastaiLRFinder()
    used: list[float] = []
    here.model.register_forward_pre_hook(lambda *_: used.append(here.optimizer.param_groups[0]["lr"]))
    to_save = {"model": here.model, "optimizer": here.optimizer}
    with (
        pytest.warns(UserWarning, match="without loss diverging"),
        finder.attach(here.trainer, to_save, num_iter=8, start_lr=1e-4, end_lr=1e-2) as searcher,
    ):
        searcher.run(here.loader, max_epochs=3)
    assert np.array_equal(before, here.weights())
    assert watch.history.purpose == "lr search"
    assert watch.history.batch["lr"].tolist() == used
    assert len(used) > 7
    here.trainer.state.max_epochs = here.trainer.state.max_iters = None
    here.trainer.run(here.loader, max_epochs=1)
    assert watch.history.purpose == "training"


def test_a_profiler_that_wraps_all_handlers_does_no_harm() -> None:
    here, watch = Setting(), callback()
    watch.attach(here.trainer, here.evaluator)
    reported = here.validate_each_epoch()
    profiler = BasicTimeProfiler()
    profiler.attach(here.trainer)
    here.trainer.run(here.loader, max_epochs=2)
    assert watch.history.batch["loss"].tolist() == here.outputs
    assert watch.history.epoch["val_loss"].tolist() == [one["loss"] for one in reported]


def test_attaching_again_does_not_report_twice() -> None:
    """A notebook cell that attaches can be run again; a bus of one's own stays apart."""
    here, bus, other = Setting(), ew.Bus(strict=True), callback("other")
    other.attach(here.trainer)
    first = EpochCallback("first", bus=bus).attach(here.trainer)
    second = EpochCallback("second", bus=bus).attach(here.trainer)
    second.attach(here.trainer)
    here.trainer.run(here.loader)
    assert [history.name for history in bus.runs] == ["second"]
    assert [history.name for history in other._bus.runs] == ["other"]
    assert bus.runs[0].step == other.history.step == 4
    with pytest.raises(AttributeError, match="no history yet"):
        _ = first.history
    second.detach()
    here.trainer.run(here.loader)
    assert len(bus.runs) == 1


def test_a_copy_has_no_run() -> None:
    here, watch = Setting(), callback("one")
    watch.attach(here.trainer)
    here.trainer.run(here.loader)
    copied = copy.deepcopy(callback("two"))
    copied.attach(here.trainer)
    here.trainer.run(here.loader)
    assert (copied.history.name, watch.history.name) == ("two", "one")


def _train_on_each_rank(rank: int, folder: str) -> None:
    here = Setting()
    bus = ew.Bus()
    EpochCallback(bus=bus).attach(here.trainer, here.evaluator)
    here.trainer.run(here.loader)
    Path(folder, str(idist.get_rank())).write_text(str(len(bus.runs)), encoding="utf-8")


def test_rank_zero_alone_reports(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Ignite forks where it sees IPython, and a fork of a process with the threads of every framework may never answer.
    here = (str(tmp_path),)
    idist.spawn("gloo", _train_on_each_rank, here, nproc_per_node=2, master_port=port, start_method="spawn")
    assert [(tmp_path / rank).read_text(encoding="utf-8") for rank in ("0", "1")] == ["1", "0"]


def test_a_failure_of_ours_is_logged_once_and_the_training_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    here, watch = Setting(), callback()
    watch.attach(here.trainer)

    def fail(event: Any) -> None:
        raise RuntimeError("of the subscriber")

    watch._bus.subscribe(fail, ew.BatchEnded, ew.EpochEnded)
    here.trainer.run(here.loader, max_epochs=2)
    assert len(here.outputs) == 8
    assert caplog.text.count(FAILED) == 1
    caplog.clear()


def test_attaching_in_the_midst_of_a_run_begins_with_the_next_batch() -> None:
    here, watch = Setting(), callback()
    here.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: watch.attach(here.trainer))
    here.trainer.run(here.loader, max_epochs=2)
    assert watch.history.batch["loss"].tolist() == here.outputs[2:]
    assert watch.history.batch.epochs("loss").tolist() == [0, 0, 1, 1, 1, 1]


def test_bad_arguments_are_refused_in_one_sentence() -> None:
    here = Setting()
    with pytest.raises(TypeError, match=r"EpochCallback\(\) does not know 'nane' \(did you mean 'name'\?\)"):
        EpochCallback(nane="x")
    with pytest.raises(ValueError, match="name of a run is empty"):
        EpochCallback(" ")
    watch = callback()
    for wrong, match in (
        ((here.model,), "needs the trainer"),
        ((here.trainer, here.loader), "evaluator=.*needs an ignite"),
        ((here.trainer, {"": here.evaluator}), "prefix of an evaluator is empty"),
        ((here.trainer, here.trainer), "one engine twice"),
        ((here.trainer, {"a": here.evaluator, "b": here.evaluator}), "one engine twice"),
    ):
        with pytest.raises((TypeError, ValueError), match=match):
            watch.attach(*wrong)
    with pytest.raises(TypeError, match="needs a PyTorch optimizer"):
        watch.attach(here.trainer, optimizer=here.model)
    with pytest.raises(TypeError, match="needs a function"):
        watch.attach(here.trainer, output_transform=3)  # type: ignore[arg-type]
    assert watch._hooks == []


@pytest.mark.parametrize("version", ["0.4.13", "0.6.0"])
def test_another_version_is_refused_by_both_names(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ignite, "__version__", version)
    match = rf"needs pytorch-ignite 0\.5 or newer, but below 0\.6; {version} is installed"
    with pytest.raises(ImportError, match=match):
        importlib.reload(adapter)


def test_a_run_may_go_on_in_a_former_one() -> None:
    here, watch = Setting(), callback()
    watch.attach(here.trainer, here.evaluator)
    reported = here.validate_each_epoch()
    here.trainer.run(here.loader, max_epochs=3)
    history, bus = watch.history, watch._bus
    EpochCallback(bus=bus, resume=history).attach(here.trainer, here.evaluator)
    here.trainer.run(here.loader, max_epochs=4)  # Ignite goes on counting
    assert history.epoch.epochs("val_loss").tolist() == [0, 1, 2, 3]
    assert history.epoch["val_loss"].tolist() == [one["loss"] for one in reported]
    back = EpochCallback(bus=bus, resume=history, epoch=2)
    back.attach(here.trainer, here.evaluator)
    here.trainer.load_state_dict({"epoch": 2, "max_epochs": 3, "epoch_length": 4})
    here.trainer.run(here.loader)
    assert back.history is history
    assert len(bus.runs) == 1
    assert history.epoch.epochs("val_loss").tolist() == [0, 1, 2]
    assert [(span.epoch, span.first, span.batches) for span in history.spans] == [(at, 4 * at, 4) for at in range(3)]
    assert (history.status, history.epochs) == ("completed", 3)
