"""Stop: each framework ends in its own way, at the batch or the epoch that was asked for, and leaves a whole model."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import epochwidget as ew

# Of Lightning, about its own doings.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        ".*does not have many workers",
        ".*`isinstance.treespec, LeafSpec.` is deprecated",
        ".*Trainer was signaled to stop",
    )
]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 3)).astype("float32")
Y = (X.sum(1) > 0).astype("float32")
#: Batches in an epoch.
BATCHES = 8
EPOCHS = 4
#: Somebody clicks in the midst of this batch, counted from 1, or of the second iteration of a booster.
CLICKED = 6

Click = Callable[[], None]


class Trained(NamedTuple):
    """What a training leaves."""

    #: What the framework called at its end.
    told: list[str]
    predict: Callable[[], Any]


def _callback(framework: str, bus: ew.Bus) -> Any:
    return importlib.import_module(f"epochwidget.callbacks.{framework}").EpochCallback("a", bus=bus)


def _net() -> Any:
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1), torch.nn.Flatten(0))


def keras(bus: ew.Bus, click: Click) -> Trained:
    import keras

    told = []

    class Clicks(keras.callbacks.Callback):
        batches = 0

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.batches += 1
            if self.batches == CLICKED:
                click()

        def on_train_end(self, logs: Any = None) -> None:
            told.append("on_train_end")

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    watch = _callback("keras", bus)
    data = {"x": X, "y": Y, "validation_data": (X[:8], Y[:8]), "batch_size": 8, "verbose": 0}
    model.fit(**data, epochs=EPOCHS, callbacks=[Clicks(), watch])
    return Trained(told, lambda: model.predict(X, verbose=0))


def lightning(bus: ew.Bus, click: Click, **how: Any) -> Trained:
    import lightning.pytorch as pl
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    told = []

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = _net()

        def training_step(self, batch: Any, index: int) -> Any:
            x, y = batch
            return torch.nn.functional.mse_loss(self.net(x), y)

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", self.training_step(batch, index))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    class Clicks(pl.Callback):
        batches = 0
        least: Any = None

        def on_train_start(self, trainer: Any, *_: Any) -> None:
            self.least = trainer.fit_loop.min_epochs, trainer.fit_loop.min_steps

        def on_train_batch_start(self, *_: Any) -> None:
            self.batches += 1
            if self.batches == CLICKED:
                click()

        def on_train_end(self, *_: Any) -> None:
            told.append("on_train_end")

    module = Module()
    loader = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=8)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    clicks = Clicks()
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        enable_model_summary=False,
        callbacks=[clicks, _callback("lightning", bus)],
        **{**quiet, **how},
    )
    trainer.fit(module, loader, loader)
    assert (trainer.fit_loop.min_epochs, trainer.fit_loop.min_steps) == clicks.least
    return Trained(told, lambda: module.net(torch.from_numpy(X)).detach().numpy())


def fastai(bus: ew.Bus, click: Click) -> Trained:
    import torch
    from fastai.basics import Callback, DataLoader, DataLoaders, Learner

    told = []

    class Clicks(Callback):
        batches = 0

        def before_batch(self) -> None:
            if self.training:
                self.batches += 1
                if self.batches == CLICKED:
                    click()

        def after_fit(self) -> None:
            told.append("after_fit")

    pairs = list(zip(torch.from_numpy(X), torch.from_numpy(Y), strict=True))
    loaders = DataLoaders(DataLoader(pairs, bs=8), DataLoader(pairs[:8], bs=8))
    learn = Learner(loaders, _net(), loss_func=torch.nn.MSELoss())
    with learn.no_logging():
        learn.fit(EPOCHS, 1e-3, cbs=[Clicks(), _callback("fastai", bus)])
    return Trained(told, lambda: np.array(learn.get_preds(dl=loaders.valid)[0]))


def transformers(bus: ew.Bus, click: Click) -> Trained:
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    told = []

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = _net()

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            return {"loss": torch.nn.functional.mse_loss(self.net(x), labels)}

    class Clicks(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == CLICKED - 1:
                click()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            told.append("on_train_end")

    data = [{"x": x, "labels": y} for x, y in zip(torch.from_numpy(X), torch.from_numpy(Y), strict=True)]
    how = {"num_train_epochs": EPOCHS, "per_device_train_batch_size": 8, "use_cpu": True, "report_to": []}
    quiet = {"disable_tqdm": True, "logging_strategy": "no", "save_strategy": "no", "eval_strategy": "epoch"}
    args = TrainingArguments(output_dir="trained", label_names=["labels"], **how, **quiet)
    trainer = Trainer(Model(), args, train_dataset=data, eval_dataset=data[:8], callbacks=[Clicks()])
    importlib.import_module("epochwidget.callbacks.transformers").EpochCallback.attach(trainer, "a", bus=bus)
    trainer.train()
    return Trained(told, lambda: trainer.model.net(torch.from_numpy(X)).detach().numpy())


def ignite(bus: ew.Bus, click: Click) -> Trained:
    import torch
    from ignite.engine import Engine, Events
    from torch.utils.data import DataLoader, TensorDataset

    told = []
    net = _net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def step(_: Any, batch: Any) -> float:
        x, y = batch
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    trainer = Engine(step)
    trainer.add_event_handler(Events.ITERATION_STARTED(once=CLICKED), click)
    trainer.add_event_handler(Events.COMPLETED, lambda: told.append("COMPLETED"))
    _callback("ignite", bus).attach(trainer)
    trainer.run(DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=8), max_epochs=EPOCHS)
    return Trained(told, lambda: net(torch.from_numpy(X)).detach().numpy())


def skorch(bus: ew.Bus, click: Click) -> Trained:
    from skorch import NeuralNetRegressor
    from skorch.callbacks import Callback

    told = []

    class Clicks(Callback):
        batches = 0

        def on_batch_begin(self, net: Any, batch: Any = None, training: bool | None = None, **_: Any) -> None:
            if training:
                self.batches += 1
                if self.batches == CLICKED:
                    click()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            told.append("on_train_end")

    callbacks = [("clicks", Clicks()), ("watch", _callback("skorch", bus))]
    net = NeuralNetRegressor(_net(), max_epochs=EPOCHS, batch_size=8, train_split=None, verbose=0, callbacks=callbacks)
    net.fit(X, Y)
    return Trained(told, lambda: net.predict(X))


def loop(bus: ew.Bus, click: Click) -> Trained:
    told = []
    weight = 0.0
    batches = 0
    with ew.Run("a", bus=bus) as run:
        for _ in run.epochs(EPOCHS):
            for x in run.batches(np.split(X, BATCHES)):
                batches += 1
                if batches == CLICKED:
                    click()
                weight += float(x.mean())
                run.log(loss=weight)
            run.log_epoch(val_loss=weight)
        told.append("after the loop")
    return Trained(told, lambda: np.array(weight))


def xgboost(bus: ew.Bus, click: Click) -> Trained:
    import xgboost

    told = []

    class Clicks(xgboost.callback.TrainingCallback):
        def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            if epoch == 1:
                click()
            return False

        def after_training(self, model: Any) -> Any:
            told.append("after_training")
            return model

    data = xgboost.DMatrix(X, Y)
    callbacks = [Clicks(), _callback("xgboost", bus)]
    model = xgboost.train({}, data, EPOCHS, evals=[(data, "train")], verbose_eval=False, callbacks=callbacks)
    return Trained(told, lambda: model.predict(data))


def lightgbm(bus: ew.Bus, click: Click) -> Trained:
    import lightgbm

    told: dict[str, Any] = {}

    def clicks(env: Any) -> None:
        if env.iteration == 1:
            click()

    clicks.before_iteration = True  # type: ignore[attr-defined]
    data = lightgbm.Dataset(X, Y)
    callbacks = [clicks, lightgbm.record_evaluation(told), _callback("lightgbm", bus)]
    model = lightgbm.train(
        {"verbosity": -1}, data, EPOCHS, valid_sets=[data], valid_names=["train"], callbacks=callbacks
    )
    # Those that come after ours have heard of the last iteration, too.
    assert len(told["train"]["l2"]) == model.num_trees() == (model.best_iteration or EPOCHS)
    return Trained(["the end"], lambda: model.predict(X))


def catboost(bus: ew.Bus, click: Click) -> Trained:
    import catboost

    class Clicks:
        def after_iteration(self, info: Any) -> bool:
            if info.iteration == 2:
                click()
            return True

    model = catboost.CatBoostRegressor(iterations=EPOCHS, verbose=False, allow_writing_files=False)
    model.fit(X, Y, callbacks=[Clicks(), _callback("catboost", bus)])
    assert model.tree_count_ == len(bus.runs[-1].spans)
    return Trained(["the end"], lambda: model.predict(X))


OF_BATCHES = [keras, lightning, fastai, transformers, ignite, skorch, loop]
BOOSTERS = [xgboost, lightgbm, catboost]


@pytest.fixture(autouse=True)
def aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def nothing_of_ours_failed(caplog: pytest.LogCaptureFixture) -> Any:
    yield
    assert not [record for record in caplog.get_records("call") if record.name == "epochwidget"]


def clicked(bus: ew.Bus, after: Any) -> Click:
    return lambda: bus.runs[-1].stop(after)


def check(trained: Trained) -> None:
    assert len(trained.told) == 1, "the framework's own end was reached, once"
    assert np.isfinite(trained.predict()).all()


@pytest.mark.parametrize("train", OF_BATCHES, ids=lambda train: train.__name__)
def test_stop_ends_with_the_batch_that_goes_on_and_the_next_training_is_whole(
    train: Callable[..., Trained], bus: ew.Bus
) -> None:
    check(train(bus, clicked(bus, "batch")))
    history = bus.runs[-1]
    assert history.stoppable == "batch"
    assert (history.status, history.step) == ("stopped", CLICKED)
    assert len(history.batch["loss"]) == CLICKED
    assert [mark.text for mark in history.marks] == [], "that it was stopped, its status tells"
    check(train(bus, lambda: None))
    history = bus.runs[-1]
    assert (history.status, history.step, history.stopping) == ("completed", BATCHES * EPOCHS, None)


@pytest.mark.parametrize("train", OF_BATCHES, ids=lambda train: train.__name__)
def test_stop_after_the_epoch_ends_with_the_epoch_and_its_validation(
    train: Callable[..., Trained], bus: ew.Bus
) -> None:
    check(train(bus, clicked(bus, "epoch")))
    history = bus.runs[-1]
    assert (history.status, history.step) == ("stopped", BATCHES)
    assert [span.batches for span in history.spans] == [BATCHES]
    assert len(history.epoch["train_loss" if train is skorch else "loss"]) == 1
    assert [mark.text for mark in history.marks] == []


@pytest.mark.parametrize("after", ["batch", "epoch"])
@pytest.mark.parametrize("train", BOOSTERS, ids=lambda train: train.__name__)
def test_a_booster_stops_with_the_iteration(train: Callable[..., Trained], bus: ew.Bus, after: str) -> None:
    check(train(bus, clicked(bus, after)))
    history = bus.runs[-1]
    assert (history.status, history.stoppable, len(history.spans)) == ("stopped", "epoch", 2)
    assert [mark.text for mark in history.marks] == []
    check(train(bus, lambda: None))
    assert (bus.runs[-1].status, len(bus.runs[-1].spans)) == ("completed", EPOCHS)


@pytest.mark.parametrize("least", [{"min_epochs": 3}, {"min_steps": 20}])
def test_stop_goes_before_what_a_lightning_trainer_is_to_do_at_least(bus: ew.Bus, least: dict[str, int]) -> None:
    check(lightning(bus, clicked(bus, "batch"), **least))
    assert (bus.runs[-1].status, bus.runs[-1].step) == ("stopped", CLICKED)


@pytest.mark.parametrize("train", [*OF_BATCHES, *BOOSTERS], ids=lambda train: train.__name__)
def test_who_asks_in_the_last_epoch_for_its_end_gets_a_training_that_was_completed(
    train: Callable[..., Trained], bus: ew.Bus
) -> None:
    @bus.subscribe
    def click(event: Any) -> None:
        if isinstance(event, ew.EpochStarted) and event.epoch == EPOCHS - 1:
            bus.runs[-1].stop("epoch")

    check(train(bus, lambda: None))
    assert bus.runs[-1].status == "completed"


def test_a_stopped_lightgbm_keeps_the_best_iteration_of_its_early_stopping(bus: ew.Bus) -> None:
    import lightgbm

    def clicks(env: Any) -> None:
        if env.iteration == 29:
            bus.runs[-1].stop()

    clicks.before_iteration = True  # type: ignore[attr-defined]
    x, y = RNG.normal(size=(200, 3)), RNG.normal(size=200)  # of which nothing can be learned
    best = []
    for rounds, more in ((30, []), (50, [clicks, _callback("lightgbm", bus)])):
        data = lightgbm.Dataset(x[:100], y[:100])
        callbacks = [*more, lightgbm.early_stopping(200, verbose=False)]
        valid = data.create_valid(x[100:], y[100:])
        model = lightgbm.train({"verbosity": -1}, data, rounds, valid_sets=[valid], callbacks=callbacks)
        best.append(model.best_iteration)
    assert best[0] == best[1] < 30
    assert (bus.runs[-1].status, len(bus.runs[-1].spans)) == ("stopped", 30)
