"""Small trainings of each framework, and what people watch them with: ours, and each of its peers at its defaults.

Each function prepares a training and returns ``(train, ways)``: ``train(way)`` trains and returns the seconds of its
steps and the number of steps; ``ways`` names them. The first way is to watch nothing. What a peer prints and draws goes
to the cell, as it does for people.
"""

from __future__ import annotations

import os
import tempfile
from time import perf_counter

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "WANDB_MODE": "offline", "WANDB_SILENT": "true"}

import numpy as np

import epochwidget as ew

X = np.random.default_rng(0).normal(size=(6400, 64)).astype("float32")
Y = np.random.default_rng(1).integers(0, 10, len(X))
BATCH = 32
EPOCHS = 5
STEPS = EPOCHS * len(X) // BATCH


def keras_(schedule=False):
    """A small dense model, about 1 ms a step: Keras on TensorFlow."""
    import keras
    from livelossplot import PlotLossesKeras
    from trainplot import TrainPlotKerasCallback
    from wandb.integration.keras import WandbMetricsLogger

    from epochwidget.callbacks.keras import EpochCallback

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(64, "relu"), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((64,)), *layers])
    rate = keras.optimizers.schedules.CosineDecay(1e-3, 100_000) if schedule else 1e-3
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])

    class Clock(keras.callbacks.Callback):
        """The epochs with all that callbacks do at their ends, without the start and the end of `fit`."""

        took = 0.0

        def on_epoch_begin(self, epoch, logs=None):
            self.began = perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.took += perf_counter() - self.began

    class Empty(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            pass

        def on_train_batch_end(self, batch, logs=None):
            pass

    def wandb_():
        import wandb

        wandb.init(project="benchmark", dir=tempfile.mkdtemp(), reinit="finish_previous")
        return [WandbMetricsLogger(log_freq="batch")]

    callback = EpochCallback()
    ways = {
        "nothing": list,
        "epochwidget": lambda: [callback],
        "an empty callback": lambda: [Empty()],
        "TensorBoard, every batch": lambda: [keras.callbacks.TensorBoard(tempfile.mkdtemp(), update_freq="batch")],
        "the Keras progress bar": None,
        "livelossplot": lambda: [PlotLossesKeras()],
        "trainplot": lambda: [TrainPlotKerasCallback()],
        "wandb offline, every batch": wandb_,
    }

    def train(way):
        clock = Clock()
        callbacks = [] if ways[way] is None else ways[way]()
        verbose = 1 if ways[way] is None else 0
        model.fit(X, Y, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=verbose, callbacks=[*callbacks, clock])
        return clock.took, STEPS

    return train, list(ways)


def keras_schedule():
    """The same with a learning rate that falls at every step."""
    train, ways = keras_(schedule=True)
    return train, ways[:3]


def _net():
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    layers = [
        torch.nn.Linear(64, 64),
        torch.nn.ReLU(),
        torch.nn.Linear(64, 64),
        torch.nn.ReLU(),
        torch.nn.Linear(64, 10),
    ]
    return torch, torch.nn.Sequential(*layers)


def lightning():
    """PyTorch Lightning, the same net; it logs its loss at every step."""
    torch, net = _net()
    import logging

    import lightning
    from lightning.pytorch.loggers import TensorBoardLogger

    from epochwidget.callbacks.lightning import EpochCallback

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net

        def training_step(self, batch, index):
            x, y = batch
            loss = torch.nn.functional.cross_entropy(self.net(x), y)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-3)

    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH)
    ways = {
        "nothing": dict,
        "epochwidget": lambda: {"callbacks": [EpochCallback()]},
        "an empty callback": lambda: {"callbacks": [lightning.Callback()]},
        "TensorBoard, every batch": lambda: {"logger": TensorBoardLogger(tempfile.mkdtemp()), "log_every_n_steps": 1},
        "the Lightning progress bar": lambda: {"enable_progress_bar": True},
    }

    def train(way):
        usual = {"enable_progress_bar": False, "logger": False, "accelerator": "cpu", "max_epochs": EPOCHS}
        usual |= {"enable_checkpointing": False, "enable_model_summary": False}
        trainer = lightning.Trainer(**(usual | ways[way]()))
        began = perf_counter()
        trainer.fit(Module(), loader)
        return perf_counter() - began, STEPS

    return train, list(ways)


def fastai():
    """fastai, the same net."""
    torch, net = _net()
    from fastai.basics import Callback, DataLoader, DataLoaders, Learner
    from fastai.callback.progress import ProgressCallback, ShowGraphCallback

    from epochwidget.callbacks.fastai import EpochCallback

    data = list(zip(torch.from_numpy(X), torch.from_numpy(Y), strict=True))
    loaders = DataLoaders(DataLoader(data, bs=BATCH), DataLoader(data[:BATCH], bs=BATCH))
    ways = {
        "nothing": list,
        "epochwidget": lambda: [EpochCallback()],
        "an empty callback": lambda: [Callback()],
        "the fastai progress bar": lambda: [ProgressCallback()],
        "fastai's ShowGraphCallback": lambda: [ProgressCallback(), ShowGraphCallback()],
    }

    def train(way):
        learn = Learner(loaders, net, loss_func=torch.nn.CrossEntropyLoss())
        learn.remove_cb(ProgressCallback)
        learn.recorder.silent = True
        began = perf_counter()
        with learn.no_logging():
            learn.fit(EPOCHS, 1e-3, cbs=ways[way]())
        return perf_counter() - began, STEPS

    return train, list(ways)


def transformers():
    """The Hugging Face ``Trainer``, the same net; its own bar is at its default, which draws in a notebook."""
    torch, net = _net()
    from transformers import Trainer, TrainerCallback, TrainingArguments
    from transformers.utils import logging

    from epochwidget.callbacks.transformers import EpochCallback

    logging.set_verbosity_error()

    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x, labels):
            logits = self.net(x)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    data = [{"x": x, "labels": int(y)} for x, y in zip(torch.from_numpy(X), Y, strict=True)]
    quiet = {"disable_tqdm": True, "logging_strategy": "no"}
    ways = {
        "nothing": dict,
        "epochwidget": lambda: {"ours": True},
        "an empty callback": lambda: {"callbacks": [TrainerCallback()]},
        "its bar, loss every 10 steps": lambda: {
            "disable_tqdm": False,
            "logging_strategy": "steps",
            "logging_steps": 10,
        },
        "TensorBoard, every step": lambda: {
            "report_to": ["tensorboard"],
            "logging_strategy": "steps",
            "logging_steps": 1,
        },
    }

    def train(way):
        more = ways[way]()
        ours = more.pop("ours", False)
        usual = {"output_dir": tempfile.mkdtemp(), "per_device_train_batch_size": BATCH, "num_train_epochs": EPOCHS}
        usual |= {"save_strategy": "no", "report_to": [], "use_cpu": True, "label_names": ["labels"], **quiet}
        callbacks = more.pop("callbacks", None)
        trainer = Trainer(Classifier(), TrainingArguments(**(usual | more)), train_dataset=data, callbacks=callbacks)
        if ours:
            EpochCallback.attach(trainer)
        began = perf_counter()
        trainer.train()
        return perf_counter() - began, STEPS

    return train, list(ways)


def loop():
    """A PyTorch loop with steps of 2 ms, whatever the machine; each way gets three values a step."""
    torch, _ = _net()
    from livelossplot import PlotLosses
    from torch.utils.tensorboard import SummaryWriter
    from tqdm.auto import tqdm
    from trainplot import TrainPlot

    a = torch.randn(64, 64)
    steps, epochs = 200, 2

    def step():
        until = perf_counter() + 0.002
        while perf_counter() < until:
            torch.mm(a, a)

    def nothing():
        for _ in range(epochs * steps):
            step()

    def epochwidget():
        with ew.Run("loop") as run:
            for _ in run.epochs(epochs):
                for _ in run.batches(range(steps)):
                    step()
                    run.log(loss=0.1, accuracy=0.2, lr=0.3)

    def tensorboard():
        with SummaryWriter(tempfile.mkdtemp()) as writer:
            for index in range(epochs * steps):
                step()
                writer.add_scalar("loss", 0.1, index)
                writer.add_scalar("accuracy", 0.2, index)
                writer.add_scalar("lr", 0.3, index)

    def bar():
        for _ in tqdm(range(epochs * steps)):
            step()

    def livelossplot():
        plot = PlotLosses()
        for _ in range(epochs):
            for _ in range(steps):
                step()
            plot.update({"loss": 0.1, "accuracy": 0.2, "lr": 0.3})
            plot.send()

    def trainplot():
        plot = TrainPlot()
        for _ in range(epochs * steps):
            step()
            plot(loss=0.1, accuracy=0.2, lr=0.3)
        plot.close()

    def wandb_():
        import wandb

        with wandb.init(project="benchmark", dir=tempfile.mkdtemp(), reinit="finish_previous") as run:
            began = perf_counter()
            for _ in range(epochs * steps):
                step()
                run.log({"loss": 0.1, "accuracy": 0.2, "lr": 0.3})
            return perf_counter() - began

    ways = {
        "nothing": nothing,
        "epochwidget": epochwidget,
        "three add_scalar of TensorBoard": tensorboard,
        "tqdm": bar,
        "livelossplot, every epoch": livelossplot,
        "trainplot": trainplot,
        "wandb offline": wandb_,
    }

    def train(way):
        began = perf_counter()
        took = ways[way]()
        return took or perf_counter() - began, epochs * steps

    return train, list(ways)


TRAININGS = {
    "Keras on TensorFlow": keras_,
    "Keras, cosine schedule": keras_schedule,
    "Lightning": lightning,
    "fastai": fastai,
    "Hugging Face Trainer": transformers,
    "PyTorch loop, 2 ms steps": loop,
}


def compare(name, rounds):
    """Train in every way, so many times in turn, and return the seconds a step of each round."""
    train, ways = TRAININGS[name]()
    for way in ways:  # what is compiled, imported or downloaded is so once
        train(way)
    times = {way: [] for way in ways}
    for turn in range(rounds):
        for at in np.random.default_rng(turn).permutation(len(ways)):
            seconds, steps = train(ways[at])
            times[ways[at]].append(seconds / steps)
        ew.runs.clear()
    return times
