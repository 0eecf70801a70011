"""skorch: ``NeuralNetClassifier(..., callbacks=[EpochCallback()])``."""

from __future__ import annotations

from numbers import Real
from time import perf_counter
from typing import Any

import skorch
import torch
from skorch import NeuralNet
from skorch.callbacks import BatchScoring, Callback, EarlyStopping, EpochScoring, PassthroughScoring
from torch.utils.data import DataLoader

from ..bus import Bus, chosen
from ..errors import check_version, checked_name, harmless, harmless_for_batches, unknown_keywords
from ..history import History
from ..resuming import Resumption, resumption
from ..run import Run
from ..scalars import rates, scalar
from ..series import LEARNING_RATE, Granularity, Kind, Series, Split

check_version("skorch", skorch.__version__, "1.0", "2")

# What skorch keeps of an epoch and of a batch besides losses and scores.
_COUNTS = {"epoch", "dur", "batches", "train_batch_count", "valid_batch_count"}
_OF_BATCH = {"train_loss", "train_batch_size"}
_PREFIXES: dict[str, Split] = {"train_": "train", "valid_": "validation", "val_": "validation"}


class EpochCallback(Callback):  # type: ignore[misc]
    """Puts every batch and epoch of a skorch net on the bus. Each ``fit`` and each ``partial_fit`` is a run.

    The values of a batch have these names in the history:

    - ``loss``: of that batch alone, which skorch calls ``train_loss``;
    - ``lr``, ``lr_1``, ...: the learning rates of the optimizer's parameter groups that the batch was trained with;
      ``lr_`` and its name for those of any further optimizer;
    - what callbacks that stand before this one record of the batch, as ``BatchScoring(..., on_train=True)``.

    Those of an epoch are the numbers in ``net.history`` under skorch's own names, wherever the callbacks that record
    them stand: ``train_loss`` (the mean over the epoch's samples), ``valid_loss``, ``valid_acc``, ... What is neither
    loss nor score but a callback's own record is of kind ``reported``. Durations, counts, ``..._best`` and
    ``event_...`` are left out.

    The epochs go on counting where ``partial_fit`` and ``warm_start`` continue a history.

    skorch tells no callback of an interrupt, which ``fit`` swallows. A run that ends within an epoch was ``stopped``;
    one that ends after an epoch is ``completed``, early stopping included. After an exception, of which no hook tells,
    the run is closed with its notebook cell, or by the next ``fit``.

    scikit-learn's searches train copies of the net: each of their fits is a run in ``epochwidget.runs``, and the
    callback given to the net has no history of its own.

    Parameters
    ----------
    name
        What to call the run, by default the name of the module's class.
    bus
        Where the events go, by default the shared bus.
    resume
        The history of a run in which the first ``fit`` goes on, as ``ew.runs[-1]``; by default each is a run of its
        own. See `epochwidget.Run`. Epochs that are counted from 0 again are counted on from there.
    epoch
        With `resume`: the epoch, counted from 0, from whose beginning on it goes; what came after that is dropped.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these, the name is empty, or what is to go on is not there.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        bus: Bus | None = None,
        resume: Any = None,
        epoch: int | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise unknown_keywords("EpochCallback", unknown, ("name", "bus", "resume", "epoch"))
        # As scikit-learn has it: parameters stay what was given, and the names of all else end with an underscore.
        self.name = name
        self.bus = bus
        self.resume = resume
        self.epoch = epoch
        self.resumption_: Resumption | None = None
        self._check()
        self.run_: Run | None = None
        self._forget()

    def _forget(self) -> None:
        """Be as before the first epoch."""
        self.planned_: int | None = None
        self.length_: int | None = None
        #: What skorch keeps of the epoch that goes on, whether it has validation, and whether its end was told.
        self.row_: dict[str, Any] | None = None
        self.validates_ = self.told_ = False
        self.ended_: float | None = None
        self.rates_: dict[str, Any] = {}
        self.scores_: dict[str, Split] = {}

    def set_params(self, **params: Any) -> None:
        super().set_params(**params)
        self._check()

    @property
    def history(self) -> History:
        """The history of the latest ``fit``."""
        if self.run_ is None:
            raise AttributeError(
                "there is no history yet: give this callback to a net and fit that first. "
                "Fits of a copy, as in a search, are in epochwidget.runs."
            )
        return self.run_.history

    @harmless
    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:  # noqa: N803
        self._begin(net)

    @harmless
    def on_epoch_begin(
        self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        if self.run_ is None or self.run_.status != "running":
            self._begin(net)  # `fit_loop` was called by itself
        self._close_epoch()
        epoch = len(net.history) - 1
        if self.planned_ is None:
            self.planned_ = epoch + net.max_epochs
            self.length_ = _length(net, dataset_train)
        self._the_run.begin_epoch(epoch, batches=self.length_, epochs=self.planned_)
        self.row_ = net.history[-1]
        self.validates_ = dataset_valid is not None
        self.told_ = False
        self.ended_ = None
        self.scores_ = _scores(net)

    @harmless_for_batches
    def on_batch_begin(self, net: NeuralNet, batch: Any = None, training: bool | None = None, **kwargs: Any) -> None:
        if training:
            self._read_rates(net)

    @harmless_for_batches
    def on_grad_computed(
        self,
        net: NeuralNet,
        named_parameters: Any,
        X: Any = None,  # noqa: N803
        y: Any = None,
        training: bool | None = None,
        **kwargs: Any,
    ) -> None:
        # Right before the step: a callback after this one may have set another rate. Not every training step calls it.
        self._read_rates(net)

    @harmless_for_batches
    def on_batch_end(
        self, net: NeuralNet, batch: Any = None, training: bool | None = None, loss: Any = None, **kwargs: Any
    ) -> None:
        if not training or self.run_ is None or self.row_ is None:
            return
        row = self.row_["batches"][-1]
        # The number that skorch has read; a history that several processes share has it only later.
        loss = row.get("train_loss", loss)
        values = {}
        if loss is not None:
            values["loss"] = scalar("loss", loss)
        for name, value in row.items():
            if name not in _OF_BATCH and (number := _number(name, value)) is not None:
                self._declare(name, "batch")
                values[name] = number
        values.update(self.rates_)
        self.run_.batch_ended(values, size=row.get("train_batch_size"))
        self._stop_after("batch")

    @harmless
    def on_epoch_end(self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        # Callbacks after this one have their scores yet to record: the epoch is closed when the next begins.
        self.told_ = True
        self.ended_ = perf_counter()
        if self.planned_ is None or len(net.history) < self.planned_:
            self._stop_after("epoch")

    @harmless
    def on_train_end(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:  # noqa: N803
        if self.run_ is None or self.run_.status != "running":
            return
        early = self.row_ is not None and any(
            isinstance(callback, EarlyStopping) and callback.misses_ == callback.patience
            for _, callback in net.callbacks_
        )
        if early:
            self.run_.mark("early stopping")
        self.run_.end("completed" if self.row_ is None or self.told_ or early else "stopped")

    # ------------------------------------------------------------------------------------------------------------

    def _stop_after(self, ended: Granularity) -> None:
        """End the fit if that was asked for, as skorch's own callbacks do: ``fit`` takes an interrupt for its end."""
        if self.run_ is not None and self.run_.history.stopping is not None and self.run_.stops_after(ended):
            raise KeyboardInterrupt

    def _check(self) -> None:
        if self.name is not None:
            checked_name("The name of a run", self.name)
        bus = chosen(self.bus, "EpochCallback")
        self.resumption_ = resumption(self.resume, self.epoch, self.name, bus, "EpochCallback")

    def _begin(self, net: NeuralNet) -> None:
        if self.run_ is not None:
            self.run_.end("stopped")  # does nothing if it has ended; after an exception no hook has told
        self._forget()
        self.run_ = Run(self.name or _name(net), bus=chosen(self.bus, "EpochCallback"), resume=self.resumption_)
        self.run_.lives_within_call(self._close_epoch)
        self.run_.is_stoppable("batch")

    def _close_epoch(self) -> None:
        """Put the values of the epoch on the bus if it has come to its end."""
        row = self.row_
        if row is None or self.run_ is None:
            return
        # Early stopping interrupts at the end of an epoch, and those after it are not told that there was one.
        ended = "train_batch_count" in row and (not self.validates_ or "valid_batch_count" in row)
        if not (ended or self.told_):
            return
        values = {}
        for name, value in row.items():
            if name not in _COUNTS and (number := _number(name, value)) is not None:
                self._declare(name, "epoch")
                values[name] = float(number)
        self.run_.end_epoch(values, at=self.ended_)
        if any(saved is True for name, saved in row.items() if name.startswith("event_")):  # as `Checkpoint` records
            self.run_.mark("checkpoint")
        self.length_ = row.get("train_batch_count", self.length_)

    def _read_rates(self, net: NeuralNet) -> None:
        self.rates_ = {}
        for name in net._optimizers:
            of_one = rates("lr" if name == "optimizer" else f"lr_{name}", getattr(net, f"{name}_", None))
            self.rates_.update(of_one or {})

    def _declare(self, name: str, granularity: Granularity) -> None:
        """Say what a name of skorch's history stands for."""
        if Series.of(name, granularity).metric == LEARNING_RATE:
            return
        split: Split = "train"
        metric = name
        for prefix, meant in _PREFIXES.items():
            if name.startswith(prefix) and name != prefix:
                metric, split = name.removeprefix(prefix), meant
        kind: Kind = "reported"
        if name in self.scores_:
            kind, split = granularity, self.scores_[name]
        self._the_run.declare(name, metric=metric, kind=kind, granularity=granularity, split=split)

    @property
    def _the_run(self) -> Run:
        assert self.run_ is not None, "a run has begun before its first epoch"
        return self.run_


def _name(net: NeuralNet) -> str:
    name = getattr(net.module, "__name__", type(net.module).__name__)
    return str(name) if net.module is not None else type(net).__name__


def _length(net: NeuralNet, dataset: Any) -> int | None:
    """Return how many batches an epoch has, or None where only the training itself can tell."""
    # To make another iterator of PyTorch's own kind changes nothing; of any other nobody knows.
    if net.iterator_train is not DataLoader or type(net).get_iterator is not NeuralNet.get_iterator:
        return None
    try:
        return len(net.get_iterator(dataset, training=True))
    except Exception:  # a stream of unknown length, for one
        return None


def _scores(net: NeuralNet) -> dict[str, Split]:
    """Return the names that skorch's own scores have in the history, and whether they are of training."""
    return {
        getattr(callback, "name_", callback.name): "train" if callback.on_train else "validation"
        for _, callback in net.callbacks_
        if isinstance(callback, (BatchScoring, EpochScoring, PassthroughScoring))
    }


def _number(name: str, value: Any) -> Any:
    """Return what a callback recorded as a number, or None if it is no value to draw."""
    if name.startswith("event_") or isinstance(value, bool):
        return None
    if isinstance(value, torch.Tensor):
        return scalar(name, value) if value.numel() == 1 and value.dtype != torch.bool else None
    return scalar(name, value) if isinstance(value, Real) else None
