"""fastai 2: real learners, real fits."""

from __future__ import annotations

import copy
import importlib
import pickle
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from weakref import ref

import fastai
import numpy as np
import pandas as pd
import pytest
import torch
from fastai.callback.core import (
    Callback,
    CancelBatchException,
    CancelEpochException,
    CancelFitException,
    CancelTrainException,
    CancelValidException,
    FetchPredsCallback,
)
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.progress import ProgressCallback
from fastai.callback.schedule import ParamScheduler
from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback, TerminateOnNaNCallback
from fastai.callback.training import GradientAccumulation, ShortEpochCallback
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.data.transforms import Normalize
from fastai.learner import AvgLoss, Learner, Metric, Recorder, ValueMetric, load_learner
from fastai.optimizer import SGD, Adam, OptimWrapper
from fastai.tabular.core import Categorify
from fastai.tabular.data import TabularDataLoaders
from fastai.tabular.learner import tabular_learner
from fastai.torch_core import set_seed
from fastcore.basics import noop
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import epochwidget as ew
from epochwidget.callbacks import fastai as adapter
from epochwidget.callbacks.fastai import EpochCallback

from . import contract

# fastai's tabular data, of a recent pandas.
pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")

torch.set_num_threads(1)  # two threads on a busy machine take many times as long

RNG = np.random.default_rng(0)
X = RNG.normal(size=(42, 5)).astype("float32")
Y = (X.sum(1, keepdims=True) > 0).astype("float32")
X_VAL, Y_VAL = X[:17], Y[:17]
BATCH_SIZE, BATCHES = 8, 6  # the last one has two samples
SIZES = np.array([8, 8, 8, 8, 8, 2])


@pytest.fixture(autouse=True)
def no_failure_stays_hidden(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What the callback keeps from fastai is an error here."""
    yield
    assert "[epochwidget]" not in caplog.text


def mse(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.mse_loss(prediction, target)


def accuracy(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return ((prediction > 0.5) == (target > 0.5)).float().mean()


def loaders(x: Any = X, y: Any = Y, x_val: Any = X_VAL, y_val: Any = Y_VAL, size: int = BATCH_SIZE) -> DataLoaders:
    return DataLoaders(
        *[
            DataLoader(list(zip(torch.tensor(xs), torch.tensor(ys), strict=True)), bs=size, num_workers=0)
            for xs, ys in ((x, y), (x_val, y_val))
        ]
    )


def net(dropout: float = 0.3) -> torch.nn.Module:
    torch.manual_seed(7)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Dropout(dropout), torch.nn.Linear(8, 1), torch.nn.Sigmoid()
    )


def learner(model: Any = None, dls: DataLoaders | None = None, *, metrics: Any = accuracy, **given: Any) -> Learner:
    given = {"loss_func": mse, "lr": 0.01, "metrics": metrics, **given}
    made = Learner(dls or loaders(), model or net(), **given)
    made.remove_cb(ProgressCallback)
    made.logger = noop
    return made


def callback(name: str | None = None) -> EpochCallback:
    return EpochCallback(name, bus=ew.Bus(strict=True))


def floats(values: Any) -> list[float]:
    return [float(torch.as_tensor(value).detach()) for value in values]


def test_fit_keeps_the_contract() -> None:
    model = torch.nn.Linear(3, 1)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    dls = loaders(contract.X, contract.Y, contract.X_VAL, contract.Y_VAL, contract.BATCH_SIZE)
    rate = ParamScheduler({"lr": lambda done: contract.FIRST_RATE * contract.DECAY ** (contract.STEPS * done)})
    bus = contract.Recorder()
    learn = learner(model, dls, opt_func=SGD)
    learn.fit(contract.EPOCHS, cbs=[rate, EpochCallback("linear", bus=bus)])
    ours = contract.check(bus, validation="valid_loss")
    assert ours.name == "linear"
    assert ours.batch["smooth_loss"].tolist() == floats(learn.recorder.losses)


def test_every_value_the_recorder_keeps_is_there_under_its_name_and_kind() -> None:
    learn = learner(metrics=[accuracy, mse])
    learn.fit_one_cycle(3, cbs=(watch := callback()))
    batch, epoch, recorder = watch.history.batch, watch.history.epoch, learn.recorder
    assert batch["smooth_loss"].tolist() == floats(recorder.losses)
    assert batch["lr"].tolist() == recorder.lrs
    assert batch["mom"].tolist() == recorder.hps["mom"]
    names = list(recorder.metric_names[1:-1])
    assert names == ["train_loss", "valid_loss", "accuracy", "mse"]
    assert list(epoch) == ["loss", *names]
    for name, values in zip(names, zip(*recorder.values, strict=True), strict=True):
        assert epoch[name] == pytest.approx(values, rel=1e-6), name
        assert epoch.epochs(name).tolist() == [0, 1, 2]
        assert epoch.steps(name).tolist() == [6, 12, 18]
    said = {
        (name, table.series(name).metric, table.series(name).split, table.series(name).kind)
        for table in (batch, epoch)
        for name in table
    }
    assert said == {
        ("loss", "loss", "train", "batch"),
        ("smooth_loss", "loss", "train", "smoothed"),
        ("lr", "learning rate", "train", "batch"),
        ("mom", "momentum", "train", "batch"),
        ("loss", "loss", "train", "epoch"),
        ("train_loss", "loss", "train", "smoothed"),
        ("valid_loss", "loss", "validation", "epoch"),
        ("accuracy", "accuracy", "validation", "epoch"),
        ("mse", "mse", "validation", "epoch"),
    }
    assert watch.history.name == "Sequential"
    assert [(span.first, span.batches) for span in watch.history.spans] == [(0, 6), (6, 6), (12, 6)]


def test_the_three_losses_of_training_are_told_apart() -> None:
    """The batches' own give fastai's moving average and the epoch's mean, which are far from each other."""
    learn = learner(metrics=[mse])
    learn.remove_cb(Recorder)
    learn.add_cb(Recorder(train_metrics=True))
    learn.fit(2, 0.05, cbs=(watch := callback()))
    own, average = watch.history.batch["loss"], 0.0
    for step, loss in enumerate(own, start=1):
        average = 0.98 * average + 0.02 * loss
        assert watch.history.batch["smooth_loss"][step - 1] == pytest.approx(average / (1 - 0.98**step), rel=1e-5)
    means = [np.average(own[first : first + BATCHES], weights=SIZES) for first in (0, BATCHES)]
    assert watch.history.epoch["loss"] == pytest.approx(means, rel=1e-12)
    # fastai's own mean over the samples, of the same function.
    assert watch.history.epoch["loss"] == pytest.approx(watch.history.epoch["train_mse"], rel=1e-6)
    assert watch.history.epoch["train_loss"].tolist() == watch.history.batch["smooth_loss"][[5, 11]].tolist()
    assert watch.history.epoch["train_loss"][1] > 1.05 * watch.history.epoch["loss"][1]


@pytest.mark.parametrize(
    ("how", "names"),
    [
        ({"train_metrics": True}, ["train_loss", "train_accuracy", "valid_loss", "valid_accuracy"]),
        ({"train_metrics": True, "valid_metrics": False, "add_time": False}, ["train_loss", "accuracy"]),
        ({"valid_metrics": False}, ["train_loss"]),
    ],
    ids=str,
)
def test_metrics_of_the_training_meet_their_twins_of_the_validation(how: dict[str, Any], names: list[str]) -> None:
    learn = learner(cbs=(watch := callback()))
    learn.remove_cb(Recorder)
    learn.add_cb(Recorder(**how))
    learn.fit(2)
    epoch = watch.history.epoch
    assert list(epoch) == ["loss", *names]
    for name, values in zip(names, zip(*learn.recorder.values, strict=True), strict=True):
        assert epoch[name] == pytest.approx(values, rel=1e-6), name
        series = epoch.series(name)
        assert series.metric == name.removeprefix("train_").removeprefix("valid_")
        assert series.split == ("validation" if name.startswith("valid_") else "train")
        assert series.kind == ("smoothed" if name == "train_loss" else "epoch")


def test_each_parameter_group_has_the_rate_and_momentum_its_batches_were_trained_with() -> None:
    """Read from the weights: two groups whose gradient is 1, under a schedule, and one that changes it afterwards."""

    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.first + self.second + 0 * x.sum()

    class Weights(Callback):
        def __init__(self) -> None:
            self.seen: list[list[float]] = []

        def after_step(self) -> None:
            self.seen.append(floats(self.learn.model.parameters()))

    class NextRate(Callback):
        """A scheduler that sets the next batch's rate when a batch ends, as PyTorch's do."""

        def after_batch(self) -> None:
            if self.training:
                self.learn.opt.set_hyper("lr", [0.1 / (self.train_iter + 1), 0.2 / (self.train_iter + 1)])

    def check(fit: Any) -> ew.History:
        watch, weights = callback(), Weights()
        learn = learner(
            Two(),
            opt_func=partial(SGD, mom=0.9),
            splitter=lambda model: [[model.first], [model.second]],
            loss_func=lambda prediction, _: prediction.sum(),
            metrics=[],
        )
        fit(learn, cbs=[watch, weights])
        batch, at, speed = watch.history.batch, np.zeros(2), np.zeros(2)
        assert [name for name in batch if name not in ("loss", "smooth_loss")] == ["lr", "mom", "lr_1", "mom_1"]
        assert len(weights.seen) == len(batch["lr"]) == 2 * BATCHES
        for step, seen in enumerate(weights.seen):
            speed = np.array([batch["mom"][step], batch["mom_1"][step]]) * speed + 1
            at -= np.array([batch["lr"][step], batch["lr_1"][step]]) * speed
            assert at == pytest.approx(seen, rel=1e-5)
        assert {batch.series(name).metric for name in ("lr", "lr_1")} == {"learning rate"}
        assert {batch.series(name).metric for name in ("mom", "mom_1")} == {"momentum"}
        assert {batch.series(name).kind for name in ("lr", "lr_1", "mom", "mom_1")} == {"batch"}
        return watch.history

    cycled = check(lambda learn, cbs: learn.fit_one_cycle(2, slice(0.01, 0.1), cbs=cbs))
    assert cycled.batch["lr_1"] == pytest.approx(10 * cycled.batch["lr"])
    assert cycled.batch["mom"].min() < 0.9 < cycled.batch["mom"].max()
    changed = check(lambda learn, cbs: learn.fit(2, slice(0.1, 0.2), cbs=[*cbs, NextRate()]))
    assert changed.batch["lr"] == pytest.approx([0.1 / step for step in range(1, 13)])


def test_an_optimizer_of_pytorch_has_its_rate_and_momentum() -> None:
    learn = learner(opt_func=partial(OptimWrapper, opt=torch.optim.AdamW))
    learn.fit_one_cycle(2, 0.02, cbs=(watch := callback()))
    assert watch.history.batch["lr"] == pytest.approx(learn.recorder.lrs)
    assert watch.history.batch["mom"] == pytest.approx(learn.recorder.hps["mom"])


def test_fine_tune_is_two_runs() -> None:
    def split(model: Any) -> Any:
        return [list(model[0].parameters()), list(model[3].parameters())]

    learn = learner(splitter=split)
    learn.fine_tune(2, freeze_epochs=1, cbs=(watch := callback()))
    frozen, unfrozen = watch._bus.runs
    assert (len(frozen.epoch["loss"]), len(unfrozen.epoch["loss"])) == (1, 2)
    assert (frozen.status, unfrozen.status) == ("completed", "completed")
    assert watch.history is unfrozen
    assert unfrozen.epoch["valid_loss"].tolist() == [row[1] for row in learn.recorder.values]
    assert unfrozen.batch.steps("loss").tolist() == list(range(1, 13))


@pytest.mark.parametrize("early", [False, True], ids=["all iterations", "diverged"])
def test_lr_find_is_a_search_and_brings_the_weights_back(tmp_path: Path, early: bool) -> None:
    watch = callback()
    learn = learner(torch.nn.Linear(5, 1), cbs=watch, path=tmp_path, opt_func=SGD, metrics=[])
    before = copy.deepcopy(learn.model.state_dict())
    learn.lr_find(num_it=20, stop_div=early, end_lr=1e4, show_plot=False, suggest_funcs=None)
    history, recorder = watch.history, learn.recorder
    assert (history.purpose, history.status, history.marks) == ("lr search", "completed", [])
    assert history.batch["smooth_loss"] == pytest.approx(floats(recorder.losses), nan_ok=True)
    assert history.batch["lr"].tolist() == recorder.lrs
    assert len(history.batch["loss"]) == len(recorder.losses)
    assert (len(recorder.losses) < 20) is early
    assert not [points for points in history.points if points.series.split == "validation"]
    assert all(torch.equal(before[name], now) for name, now in learn.model.state_dict().items())
    learn.fit(1)
    assert [run.purpose for run in watch._bus.runs] == ["lr search", "training"]


def cancelling(hook: str, error: type[Exception], at: int = 0, *, order: int = 0) -> Callback:
    """A callback that raises in this hook, in training at the batch `at` of the whole fit, else once."""
    seen = []

    def raises(self: Callback) -> None:
        seen.append(self)
        if len(seen) == at + 1:
            raise error

    made = Callback(**{hook: raises})
    made.order, made.run_valid = order, False
    return made


@pytest.mark.parametrize("order", [0, 52, 70])
@pytest.mark.parametrize("hook", ["after_batch", "after_loss", "after_step"])
def test_cancelling_the_fit_keeps_every_loss_and_says_who_it_was(hook: str, order: int) -> None:
    learn = learner()
    learn.fit(3, cbs=[watch := callback(), cancelling(hook, CancelFitException, 8, order=order)])
    history = watch.history
    assert history.status == "completed"
    assert [(mark.text, mark.step) for mark in history.marks] == [("stopped by Callback", 9)]
    assert history.batch.steps("loss").tolist() == list(range(1, 10))
    assert history.batch["smooth_loss"].tolist() == floats(learn.recorder.losses)
    assert len(history.epoch["loss"]) == len(learn.recorder.values) == 1


def test_the_nan_that_ends_a_fit_is_kept() -> None:
    x = X.copy()
    x[20] = np.nan
    learn = learner(dls=loaders(x))
    learn.fit(2, cbs=[watch := callback(), TerminateOnNaNCallback()])
    assert np.isnan(watch.history.batch["loss"]).tolist() == [False, False, True]
    assert [mark.text for mark in watch.history.marks] == ["stopped by TerminateOnNaNCallback"]
    assert len(watch.history.batch["smooth_loss"]) == len(learn.recorder.losses) == 2


@pytest.mark.parametrize("first", [True, False], ids=["before EarlyStopping", "after it"])
def test_early_stopping_leaves_its_last_epoch_and_a_mark(first: bool, capsys: pytest.CaptureFixture[str]) -> None:
    watch, stopping = callback(), EarlyStoppingCallback(min_delta=9, patience=2)
    learn = learner()
    learn.fit(9, cbs=[watch, stopping] if first else [stopping, watch])
    assert watch.history.epoch["valid_loss"].tolist() == [row[1] for row in learn.recorder.values]
    assert [(mark.text, mark.step) for mark in watch.history.marks] == [("early stopping", 18)]
    assert watch.history.epochs == 9


def marks(watch: EpochCallback) -> list[tuple[str, int]]:
    return [(mark.text, mark.step) for mark in watch.history.marks]


class Scored(Metric):
    """Is what the test says for each epoch."""

    name = "score"

    def __init__(self, scores: list[float]) -> None:
        self.scores, self.measured = scores, 0

    def reset(self) -> None: ...

    def accumulate(self, learn: Learner) -> None: ...

    @property
    def value(self) -> float:
        self.measured += 1
        return self.scores[self.measured - 1]


# Behind the Recorder in any case, of which a saver asks the metrics.
in_either_order = pytest.mark.parametrize("order", [50.5, None, 99], ids=["before ours", "as it is", "after all"])


def saving(order: float | None, **how: Any) -> SaveModelCallback:
    made = SaveModelCallback(**how)
    if order is not None:
        made.order = order
    return made


@in_either_order
@pytest.mark.parametrize("every", [True, 2])
@pytest.mark.parametrize("whole", [False, True], ids=["the model", "with its optimizer"])
def test_what_is_saved_every_so_many_epochs_is_marked(tmp_path: Path, every: Any, whole: bool, order: float) -> None:
    learn = learner(path=tmp_path)
    learn.fit(4, cbs=[watch := callback(), saving(order, every_epoch=every, with_opt=whole)])
    saved = sorted(int(path.stem.removeprefix("model_")) for path in (tmp_path / "models").iterdir())
    assert saved == list(range(0, 4, every))
    assert marks(watch) == [("checkpoint", BATCHES * (epoch + 1)) for epoch in saved]


@in_either_order
@pytest.mark.parametrize("of_learner", [False, True], ids=["of the fit", "of the learner"])
def test_the_best_is_marked_where_it_was_saved_and_not_where_it_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], of_learner: bool, order: float
) -> None:
    """All are saved under one name."""
    learn, watch = learner(path=tmp_path, metrics=Scored([3.0, 4.0, 4.0, 1.0, 5.0, 7.0, 6.0, 8.0])), callback()
    cbs = [saving(order, monitor="score"), watch]
    if of_learner:
        learn.add_cbs(cbs)
    for epochs, best in ((5, [0, 1, 4]), (3, [0, 2])):
        learn.fit(epochs, cbs=None if of_learner else cbs)
        told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Better model")]
        assert [int(line.split()[5]) for line in told] == best
        assert marks(watch) == [("checkpoint", BATCHES * (epoch + 1)) for epoch in best]


@in_either_order
def test_a_model_that_is_saved_when_the_fit_is_over_is_marked_there(tmp_path: Path, order: float) -> None:
    """It ends the run late, whose place in the order is its own again afterwards."""
    learn, watch = learner(path=tmp_path), callback()
    learn.add_cb(watch)
    saver = saving(order, comp=np.equal, at_end=True)  # nothing is the best to it
    path = tmp_path / "models" / "model.pth"
    for _ in range(2):
        path.unlink(missing_ok=True)
        learn.fit(2, cbs=saver)
        assert path.exists()
        assert marks(watch) == [("checkpoint", 2 * BATCHES)]
        assert (watch.history.status, watch.order) == ("completed", EpochCallback.order)
    path.unlink()
    learn.fit(2, cbs=[saver, cancelling("after_batch", CancelFitException, 8)])
    assert path.exists()
    assert marks(watch) == [("stopped by Callback", 9), ("checkpoint", 9)]
    assert watch.order == EpochCallback.order
    learn.fit(2)
    assert marks(watch) == []


def test_a_fit_that_saves_nothing_has_no_mark(tmp_path: Path) -> None:
    """A saver of the best brings it back when the fit is over, and fails if there is none."""
    learn = learner(path=tmp_path, metrics=Scored([float("nan")] * 2))
    with pytest.raises(FileNotFoundError):
        learn.fit(2, cbs=[saving(None, monitor="score"), watch := callback()])
    assert (marks(watch), watch.history.status) == ([], "completed")


def test_what_was_saved_before_a_fit_failed_is_marked(tmp_path: Path) -> None:
    learn = learner(path=tmp_path)
    fails = cancelling("after_epoch", RuntimeError("on purpose"), 1, order=80)
    with pytest.raises(RuntimeError, match="on purpose"):
        learn.fit(3, cbs=[watch := callback(), saving(None, every_epoch=True), fails])
    assert marks(watch) == [("checkpoint", BATCHES), ("checkpoint", 2 * BATCHES)]
    assert watch.history.status == "failed"


class Exports(Callback):
    """Exports the learner in the midst of the end of a fit, when this callback waits for what is saved then."""

    order = 59

    def after_fit(self) -> None:
        self.learn.export("learner.pkl")


@pytest.mark.filterwarnings("ignore:load_learner")
def test_a_learner_that_saves_may_be_exported(tmp_path: Path) -> None:
    saver = SaveModelCallback(comp=np.equal, at_end=True)  # nothing is the best to it
    learn = tabular_learner(tables(), layers=[4], cbs=[watch := EpochCallback(), saver], path=tmp_path)
    learn.remove_cb(ProgressCallback)
    learn.fit(1, cbs=Exports())
    loaded = load_learner(tmp_path / "learner.pkl")
    loaded.remove_cb(Exports)
    loaded.dls = tables()
    for each in (learn, loaded):
        each.fit(2)
        saved = [(mark.text, mark.step) for mark in each.epochwidget.history.marks]
        assert saved == [("checkpoint", each.epochwidget.history.step)]
        assert each.epochwidget.order == EpochCallback.order
    assert len(ew.runs) == 3
    assert watch is learn.epochwidget
    ew.runs.clear()


def test_an_epoch_that_was_over_when_the_fit_was_cancelled_is_kept() -> None:
    """A callback in front of the Recorder keeps the epoch from it; what was measured is there all the same."""
    learn = learner()
    learn.fit(3, cbs=[watch := callback(), cancelling("after_epoch", CancelFitException, 1)])
    assert len(learn.recorder.values) == 1
    assert watch.history.epoch["valid_loss"].tolist() == [learn.recorder.values[0][1], learn.recorder.log[2]]
    assert len(watch.history.epoch["loss"]) == 2


@pytest.mark.parametrize("order", [0, 70])
def test_a_cancelled_training_puts_nothing_under_a_wrong_name(order: int) -> None:
    """Without its training an epoch's row in the Recorder begins with the validation loss."""
    learn = learner()
    learn.fit(2, cbs=[watch := callback(), cancelling("after_batch", CancelTrainException, 8, order=order)])
    values, epoch = learn.recorder.values, watch.history.epoch
    assert [len(row) for row in values] == [3, 2]
    assert epoch["train_loss"].tolist() == [values[0][0]]
    assert epoch["valid_loss"].tolist() == [values[0][1], values[1][0]]
    assert epoch["accuracy"].tolist() == [values[0][2], values[1][1]]
    own = watch.history.batch["loss"]
    assert len(own) == 9
    assert epoch["loss"][1] == pytest.approx(own[6:].mean())
    assert watch.history.spans[1].batches == 3


def test_short_epochs_count_the_batches_that_were_trained() -> None:
    learn = learner()
    learn.fit(2, cbs=[watch := callback(), ShortEpochCallback(0.5)])
    assert watch.history.batch.epochs("loss").tolist() == [0] * 4 + [1] * 4
    assert watch.history.epoch.epochs("loss").tolist() == [0, 1]
    assert [name for name in watch.history.epoch if name != "loss"] == []


def test_a_training_cancelled_before_its_first_batch_has_its_validation() -> None:
    learn = learner()
    learn.fit(3, cbs=[watch := callback(), cancelling("before_train", CancelTrainException, 1)])
    epoch = watch.history.epoch
    assert epoch.epochs("valid_loss").tolist() == [0, 1, 2]
    assert epoch["valid_loss"].tolist() == [row[-2] for row in learn.recorder.values]
    assert epoch.epochs("loss").tolist() == epoch.epochs("train_loss").tolist() == [0, 2]


def test_a_cancelled_validation_is_left_out() -> None:
    learn = learner()
    learn.fit(2, cbs=[watch := callback(), cancelling("before_validate", CancelValidException)])
    epoch = watch.history.epoch
    assert epoch.epochs("train_loss").tolist() == [0, 1]
    assert epoch.epochs("valid_loss").tolist() == epoch.epochs("accuracy").tolist() == [1]
    assert epoch["valid_loss"].tolist() == [learn.recorder.values[1][1]]


@pytest.mark.parametrize("order", [0, 52])
@pytest.mark.parametrize("error", [CancelEpochException, CancelFitException])
def test_no_loss_of_a_cancelled_validation_is_one_of_the_training(error: type[Exception], order: int) -> None:
    cancel = cancelling("after_batch", error, 1, order=order)
    cancel.run_train, cancel.run_valid = False, True
    learn = learner()
    learn.fit(2, cbs=[watch := callback(), cancel])
    rounds = 2 if error is CancelEpochException else 1
    assert watch.history.batch["smooth_loss"].tolist() == floats(learn.recorder.losses)
    assert len(watch.history.batch["loss"]) == 6 * rounds
    assert len(watch.history.epoch["loss"]) == len(watch.history.epoch["train_loss"]) == rounds
    assert (
        len(watch.history.epoch["valid_loss"]) == rounds - 1 if rounds == 2 else "valid_loss" not in watch.history.epoch
    )


@pytest.mark.parametrize(
    ("hook", "steps", "names"),
    [
        ("before_epoch", 6, {"train_loss": 1, "valid_loss": 1, "loss": 1}),
        ("after_batch", 7, {"train_loss": 1, "valid_loss": 1, "loss": 2}),
        ("before_validate", 12, {"train_loss": 2, "valid_loss": 1, "loss": 2}),
    ],
)
@pytest.mark.parametrize("order", [0, 52, 70])
def test_a_cancelled_epoch_has_what_was_known_by_then(hook: str, steps: int, names: dict[str, int], order: int) -> None:
    learn = learner()
    at = 6 if hook == "after_batch" else 1
    # Where it missed the beginning of an epoch, the Recorder has the row of the one before again.
    rows = slice(1 if (hook, order) == ("before_epoch", 0) else None)
    learn.fit(2, cbs=[watch := callback(), cancelling(hook, CancelEpochException, at, order=order)])
    assert watch.history.status == "completed"
    assert watch.history.step == steps
    assert {name: len(watch.history.epoch[name]) for name in names} == names
    for index, name in enumerate(("train_loss", "valid_loss")):
        assert watch.history.epoch[name].tolist() == [
            row[index] for row in learn.recorder.values[rows] if len(row) > index
        ]


@pytest.mark.parametrize("order", [0, 70])
@pytest.mark.parametrize("at", [2, 6], ids=["within an epoch", "first of an epoch"])
def test_a_batch_cancelled_before_its_loss_has_none(at: int, order: int) -> None:
    """fastai's Recorder counts the loss of the batch before once more, be it of the validation; we do not."""
    learn = learner()
    learn.fit(2, cbs=[watch := callback(), cancelling("before_batch", CancelBatchException, at, order=order)])
    batch, epoch = watch.history.batch, watch.history.epoch
    steps = np.delete(np.arange(1, 13), at)
    assert batch.steps("loss").tolist() == batch.steps("lr").tolist() == steps.tolist()
    assert batch["smooth_loss"].tolist() == floats(learn.recorder.losses)
    for number, mean in enumerate(epoch["loss"]):
        of_epoch = batch.epochs("loss") == number
        weights = SIZES[(steps[of_epoch] - 1) % BATCHES]
        assert mean == pytest.approx(np.average(batch["loss"][of_epoch], weights=weights))


def test_gradient_accumulation_leaves_the_losses_of_the_batches_their_own() -> None:
    def fit(*cbs: Any) -> Any:
        learn = learner(net(dropout=0))
        learn.fit(2, 0.0, cbs=[*cbs])
        return learn

    plain, accumulated = callback(), callback()
    fit(plain)
    learn = fit(GradientAccumulation(n_acc=16), accumulated)
    assert accumulated.history.batch["loss"].tolist() == plain.history.batch["loss"].tolist()
    assert len(accumulated.history.batch["lr"]) == 12
    assert accumulated.history.batch["smooth_loss"].tolist() == floats(learn.recorder.losses)


@pytest.mark.filterwarnings("ignore:.*(CUDA|cuda).*")
def test_mixed_precision_leaves_the_losses_unscaled() -> None:
    def fit(*cbs: Any) -> ew.History:
        watch = callback()
        learner(net(dropout=0)).fit(2, 0.0, cbs=[watch, *cbs])
        return watch.history

    plain, mixed = fit(), fit(MixedPrecision())
    assert mixed.batch["loss"] == pytest.approx(plain.batch["loss"], rel=1e-2)
    assert len(mixed.batch["lr"]) == 12


def test_a_fit_that_starts_at_a_later_epoch_has_no_points_before() -> None:
    learn = learner()
    learn.fit(3, start_epoch=1, cbs=(watch := callback()))
    assert watch.history.epoch.epochs("loss").tolist() == watch.history.epoch.epochs("valid_loss").tolist() == [1, 2]
    assert watch.history.epoch["valid_loss"].tolist() == [row[1] for row in learn.recorder.values[1:]]
    assert [(span.epoch, span.first) for span in watch.history.spans] == [(1, 0), (2, 6)]
    assert watch.history.epochs == 3


FRAME = pd.DataFrame(X, columns=[*"abcde"]).assign(y=np.where(Y[:, 0] > 0, "yes", "no"))


def tables() -> DataLoaders:
    return TabularDataLoaders.from_df(
        FRAME, procs=[Categorify, Normalize], cont_names=[*"abcde"], y_names="y", bs=8, seed=3
    )


def test_validation_and_prediction_are_no_runs_and_touch_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def use(*cbs: Any) -> tuple[list[Any], list[float]]:
        set_seed(1)
        learn = tabular_learner(tables(), layers=[4], cbs=[*cbs])
        with learn.no_bar(), learn.no_logging():
            validated = [learn.validate()]
            learn.fit(2)
            rows, losses = copy.deepcopy(learn.recorder.values), floats(learn.recorder.losses)
            learn.predict(FRAME.iloc[0])
            learn.get_preds()
            learn.show_results()
            validated += [learn.validate(), learn.recorder.values, floats(learn.recorder.losses)]
        return [validated, rows, losses], losses

    watch = callback()
    known, losses = use(watch)
    assert known == use()[0]
    assert len(watch._bus.runs) == 1
    assert watch.history.status == "completed"
    assert watch.history.batch["smooth_loss"].tolist() == losses


def test_nothing_is_there_before_the_first_fit() -> None:
    watch = callback()
    with pytest.raises(AttributeError, match="no history yet: give this callback to a Learner"):
        _ = watch.history
    learn = learner(cbs=watch)
    learn.validate()
    with learn:
        pass
    learn.fit(0)
    assert len(watch._bus.runs) == 0
    with pytest.raises(AttributeError, match="no history yet: give this callback to a Learner"):
        _ = watch.history


class Predicts(Callback):
    """A callback that predicts while the fit goes on, at places where the Recorder hears of it, too."""

    order = 80

    def after_train(self) -> None:
        self.learn.get_preds(inner=True)

    def after_epoch(self) -> None:
        self.learn.get_preds(inner=True)


@pytest.mark.parametrize("predicts", [FetchPredsCallback, Predicts])
def test_a_prediction_within_a_fit_is_no_part_of_it(predicts: type[Callback]) -> None:
    plain, watch = callback(), callback()
    for cbs in ([plain], [watch, predicts()]):
        learner(net(dropout=0)).fit(3, cbs=cbs)  # predictions draw from the same seed
    assert len(watch._bus.runs) == 1
    for table, other in ((watch.history.batch, plain.history.batch), (watch.history.epoch, plain.history.epoch)):
        assert list(table) == list(other)
        assert all(table[name].tolist() == other[name].tolist() for name in table)
        assert all(table.steps(name).tolist() == other.steps(name).tolist() for name in table)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("out of data"), ("failed", "out of data")),
        (KeyboardInterrupt(), ("stopped", "KeyboardInterrupt")),
        (SystemExit(2), ("stopped", "SystemExit: 2")),
    ],
    ids=["exception", "interrupt", "exit"],
)
def test_what_ends_a_fit_ends_its_run_at_once(error: BaseException, told: tuple[str, str]) -> None:
    """No hook is called, but fastai takes out the callbacks that it was given for the fit."""

    def broken(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if len(watch._bus.runs) and watch.history.step == 8:
            raise error
        return mse(prediction, target)

    watch = callback()
    learn = learner(loss_func=broken)
    with pytest.raises(type(error)):
        learn.fit(3, cbs=watch)
    history = watch.history
    assert history.status == told[0]
    assert told[1] in str(history.error)
    assert len(history.batch["loss"]) == 8
    assert len(history.epoch["loss"]) == 1
    assert history.epoch["valid_loss"].tolist() == [learn.recorder.values[0][1]]


def test_a_batch_cancelled_too_late_fails_the_fit_and_the_run() -> None:
    """In `after_batch` nobody catches that any more."""
    learn = learner()
    with pytest.raises(CancelBatchException):
        learn.fit(2, cbs=[watch := callback(), cancelling("after_batch", CancelBatchException, 3, order=90)])
    assert (watch.history.status, len(watch.history.batch["loss"])) == ("failed", 4)


def test_the_next_fit_ends_the_run_that_an_interrupt_left_open() -> None:
    """Of a callback that stays in the learner nothing tells it earlier, outside of notebooks."""
    watch = callback()
    learn = learner(cbs=[watch, cancelling("after_loss", KeyboardInterrupt, 8)])  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        learn.fit(3)
    interrupted = watch.history
    learn.get_preds()
    learn.validate()
    learn.fit(1)
    assert (interrupted.status, len(interrupted.batch["loss"])) == ("stopped", 8)
    assert (watch.history.status, len(watch.history.batch["loss"])) == ("completed", 6)
    assert watch.history.epoch.epochs("loss").tolist() == [0]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_in_a_notebook_the_end_of_the_cell_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    try:
        watch = callback()
        learn = learner(cbs=[watch, cancelling("after_loss", KeyboardInterrupt, 8)])  # type: ignore[arg-type]
        shell.push({"learn": learn})
        shell.run_cell("learn.fit(3)")
        assert (watch.history.status, watch.history.error) == ("stopped", "KeyboardInterrupt")
        assert watch.history.step == 8
        learn.fit(1)
        assert watch.history.status == "completed"
    finally:
        shell.reset()
        shell.restore_sys_module_state()
        InteractiveShell.clear_instance()


def test_a_fit_inside_an_exception_handler_is_not_ended_by_that_exception() -> None:
    watch = callback()
    try:
        raise RuntimeError("the first try")
    except RuntimeError:
        learner().fit(1, cbs=watch)
    assert (watch.history.status, watch.history.error) == ("completed", None)


def test_every_way_of_giving_the_callback_works() -> None:
    """Of its class fastai makes one itself; and the learner's count of the epochs stays its own."""
    ew.runs.clear()
    made = learner(cbs=EpochCallback)
    made.fit(2)
    assert len(made.epochwidget.history.epoch["loss"]) == 2
    assert made.epoch == 1
    made.remove_cb(EpochCallback)
    assert not hasattr(made, "epochwidget")
    assert made.epoch == 1
    made.fit(1, cbs=EpochCallback)
    made.fit_one_cycle(1, cbs=[EpochCallback("third")])
    added = EpochCallback("fourth")
    made.add_cb(added)
    made.fit(1)
    with made.removed_cbs(added):
        made.fit(1)
    assert [run.name for run in ew.runs] == ["Sequential", "Sequential", "third", "fourth"]
    assert added.history is ew.runs[-1]
    assert all(run.status == "completed" for run in ew.runs)
    ew.runs.clear()


def test_given_twice_it_counts_once() -> None:
    """Given to the learner and to the fit again, each hook is called twice."""
    watch = callback()
    learn = learner(cbs=watch)
    learn.fit(2, cbs=watch)
    assert watch.history.batch["smooth_loss"].tolist() == floats(learn.recorder.losses)
    assert watch.history.epoch["valid_loss"].tolist() == [row[1] for row in learn.recorder.values]
    learn.fit(1)  # fastai has taken it out, and lost it
    assert len(watch._bus.runs) == 1


def test_watching_changes_nothing() -> None:
    """With the same seeds the weights, the optimizer and what the Recorder holds are bit for bit the same."""

    def fit(*cbs: Any) -> tuple[list[torch.Tensor], list[Any]]:
        learn = learner(opt_func=Adam)
        torch.manual_seed(5)
        learn.fit_one_cycle(3, 0.05, cbs=[*cbs])
        state = [value for values in learn.opt.state.values() for value in values.values() if torch.is_tensor(value)]
        recorder = learn.recorder
        return [*learn.model.state_dict().values(), *state], [floats(recorder.losses), recorder.values, recorder.lrs]

    (tensors, kept), (watched, watched_kept) = fit(), fit(callback())
    assert len(tensors) > 4
    assert all(torch.equal(one, other) for one, other in zip(tensors, watched, strict=True))
    assert kept == watched_kept


def test_no_value_is_read_while_batches_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would make a processor wait for its device is read when an epoch has ended."""
    watch = callback()
    learn = learner()
    reads = contract.note_reads(monkeypatch, watch._bus)
    learn.fit(2, cbs=watch)
    monkeypatch.undo()
    assert set(reads) <= {BATCHES, 2 * BATCHES}
    assert watch.history.batch["smooth_loss"].tolist() == floats(learn.recorder.losses)


def test_no_tensor_and_no_graph_is_kept() -> None:
    class Remembers(Callback):
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def after_batch(self) -> None:
            self.seen.append(ref(self.learn.loss))

        def before_batch(self) -> None:
            alive.append(sum(one() is not None for one in self.seen))

    alive: list[int] = []
    bus = contract.Recorder()
    learner().fit(2, cbs=[EpochCallback(bus=bus), Remembers()])
    assert max(alive) == 1  # the learner's own
    batches = [event for event in bus.events if isinstance(event, ew.BatchEnded)]
    assert {type(value) for event in batches for value in event.values.values()} == {float}
    assert [event.size for event in batches] == [*SIZES, *SIZES]


def test_a_copy_watches_on_its_own() -> None:
    learn = learner(cbs=(watch := EpochCallback("mine")))
    learn.fit(1)
    for again in (copy.deepcopy(learn), pickle.loads(pickle.dumps(learn))):
        twin = again.epochwidget
        assert twin.learn is again
        with pytest.raises(AttributeError, match="no history yet"):
            _ = twin.history
        again.fit(2)
        assert len(twin.history.epoch["loss"]) == 2
        assert twin.history.name == "mine"
        assert twin._bus is ew.bus
    for alone in (copy.deepcopy(watch), copy.copy(watch)):
        assert alone._run is None
    assert len(watch.history.epoch["loss"]) == 1
    assert watch.learn is learn
    ew.runs.clear()


@pytest.mark.filterwarnings("ignore:load_learner")
def test_an_exported_learner_trains_on(tmp_path: Path) -> None:
    learn = tabular_learner(tables(), layers=[4], cbs=EpochCallback("exported"), path=tmp_path)
    learn.remove_cb(ProgressCallback)
    learn.fit(1)
    learn.export("learner.pkl")
    loaded = load_learner(tmp_path / "learner.pkl")
    with pytest.raises(AttributeError):
        _ = loaded.epochwidget.history
    loaded.dls = tables()
    loaded.fit(1)
    assert loaded.epochwidget.history.name == "exported"
    assert loaded.epochwidget.history.status == "completed"
    assert len(learn.epochwidget.history.epoch["loss"]) == 1
    ew.runs.clear()


@pytest.mark.parametrize("order", [-100, 0, 49, 50])
def test_where_the_recorder_comes_later_nothing_of_an_earlier_batch_is_taken(order: int) -> None:
    right, watch = callback(), callback()
    watch.order = order
    for one in (right, watch):
        learner().fit(2, 0.05, cbs=one)
    ours, theirs = watch.history, right.history
    assert ours.batch["loss"].tolist() == theirs.batch["loss"].tolist()
    assert ours.epoch["loss"].tolist() == theirs.epoch["loss"].tolist()
    assert "smooth_loss" not in ours.batch
    for name in set(ours.epoch) - {"loss"}:
        assert ours.epoch[name].tolist() == theirs.epoch[name].tolist()


def test_without_a_recorder_the_losses_are_there() -> None:
    learn = learner(cbs=(watch := callback()))
    learn.remove_cb(Recorder)
    learn.fit(2)
    assert len(watch.history.batch["loss"]) == 12
    assert list(watch.history.epoch) == ["loss"]
    assert "smooth_loss" not in watch.history.batch


def test_a_validation_set_without_samples_has_no_values() -> None:
    learn = learner(dls=loaders(x_val=X[:0], y_val=Y[:0]))
    learn.fit(2, cbs=(watch := callback()))
    assert [row[1:] for row in learn.recorder.values] == [[None, None]] * 2
    assert list(watch.history.epoch) == ["loss", "train_loss"]


class Scores(Metric):
    """A metric with a number for each class."""

    def reset(self) -> None:
        self.count = 0

    def accumulate(self, learn: Any) -> None:
        self.count += 1

    @property
    def value(self) -> Any:
        return np.array([self.count, 2.0 * self.count])


def test_metrics_of_every_form_are_told_apart_or_left_out() -> None:
    odd = [
        partial(accuracy),  # fastai names a partial after its function
        partial(accuracy),
        AvgLoss(),
        Scores(),
        ValueMetric(lambda: None, "nothing"),
        ValueMetric(lambda: "a text", "text"),
        ValueMetric(lambda: {"a": 1}, "dict"),
        ValueMetric(lambda: torch.tensor([1.0, 2.0]), "pair"),
        ValueMetric(lambda: float("nan"), "nan"),
        ValueMetric(lambda: 3, "three"),
    ]
    learn = learner(metrics=odd)
    learn.fit(2, cbs=(watch := callback()))
    epoch = watch.history.epoch
    numbers = ["accuracy", "accuracy_1", "loss_1", "scores_0", "scores_1", "pair_0", "pair_1", "nan", "three"]
    assert list(epoch) == ["loss", "train_loss", "valid_loss", *numbers]
    assert all(epoch.series(name).split == "validation" for name in numbers)
    assert {name: epoch.series(name).metric for name in ("accuracy_1", "loss_1", "scores_1")} == {
        "accuracy_1": "accuracy",
        "loss_1": "loss",
        "scores_1": "scores_1",
    }
    assert epoch["loss_1"].tolist() == epoch["valid_loss"].tolist()
    assert epoch["scores_1"].tolist() == [6, 6]
    assert epoch["pair_1"].tolist() == [2, 2]
    assert np.isnan(epoch["nan"]).all()


def test_names_that_the_model_has_as_well_are_nobody_s_trouble() -> None:
    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()
            self.history, self.recorder, self._run, self._name, self.lr_finder = ["mine"], "mine", "mine", "mine", 1

        def log(self) -> None:
            raise AssertionError("not ours to call")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)

    watch = callback()
    learn = learner(Named(), cbs=watch)
    with pytest.raises(AttributeError, match="no history yet"):
        _ = watch.history
    learn.remove_cb(Recorder)
    learn.fit(1)
    assert (watch.history.name, watch.history.purpose) == ("Named", "training")
    assert learn.model.history == ["mine"]


def test_no_failure_of_ours_ends_a_fit(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fails(_: Any) -> int:
        raise RuntimeError("no size")

    monkeypatch.setattr(adapter, "_samples", fails)
    learn = learner()
    learn.fit(2, cbs=(watch := callback()))
    assert len(learn.recorder.values) == 2
    assert caplog.text.count("[epochwidget] not all of the training can be shown; it goes on.") == 1
    caplog.clear()
    assert watch.history.status == "completed"
    assert watch.history.epoch["valid_loss"].tolist() == [row[1] for row in learn.recorder.values]


def test_other_processes_than_the_first_watch_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    learner().fit(1, cbs=(watch := callback()))
    assert len(watch._bus.runs) == 0


@pytest.mark.parametrize("version", ["2.6.3", "3.0.0"])
def test_another_fastai_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(fastai, "__version__", version)
    with pytest.raises(ImportError, match=rf"fastai 2\.7 or newer, but below 3; {version} is installed"):
        importlib.reload(adapter)


def test_bad_arguments_are_refused_in_one_sentence() -> None:
    with pytest.raises(TypeError, match=r"EpochCallback\(\) does not know 'nane' \(did you mean 'name'\?\)"):
        EpochCallback(nane="x")
    with pytest.raises(ValueError, match="name of a run is empty"):
        EpochCallback(" ")


def test_a_fit_may_go_on_in_a_former_run() -> None:
    watch = callback()
    learn = learner()
    learn.fit(2, cbs=watch)
    history, bus = watch.history, watch._bus
    again = EpochCallback(bus=bus, resume=history)
    learn.fit(2, cbs=again)  # fastai counts from 0 again
    assert again.history is history
    assert history.epoch.epochs("valid_loss").tolist() == [0, 1, 2, 3]
    assert (history.epochs, history.step, len(bus.runs)) == (4, 4 * BATCHES, 1)
    back = EpochCallback(bus=bus, resume=history, epoch=1)
    learn.fit(1, cbs=back)
    assert history.epoch.epochs("valid_loss").tolist() == [0, 1]
    assert history.batch.steps("loss").tolist() == list(range(1, 2 * BATCHES + 1))
    assert history.status == "completed"
    learn.fit(1, cbs=back)
    assert len(bus.runs) == 2
