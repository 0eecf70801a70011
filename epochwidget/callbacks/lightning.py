"""PyTorch Lightning 2: ``Trainer(callbacks=[EpochCallback()])``, from ``lightning`` or from ``pytorch_lightning``.

Lightning hands a batch's loss to callbacks divided by ``accumulate_grad_batches``, and its learning rate when the
scheduler has set the next one: both are taken here where they are right.

What a module logs is in ``trainer.callback_metrics``, which never forgets: a value stays under its name until another
comes, and one name may hold a batch's value or an epoch's, that of training or that of validation. Which of them a
value is, and whether it is new, only Lightning's own results tell. They are read here and never computed, for that may
make a device wait, or one process for the others. So

- a batch ends for us when the next thing begins, for the module may log of it in its ``on_train_batch_end``;
- an epoch ends when the next one begins, or the training ends: after the callbacks were told of an epoch's end
  Lightning computes its means, and the module logs in its ``on_train_epoch_end``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from importlib import import_module
from math import inf, isclose, isnan
from time import perf_counter
from typing import Any

import numpy as np
from torch import Tensor

from ..bus import Bus, chosen
from ..errors import check_version, checked_name, harmless, harmless_for_batches, unknown_keywords
from ..history import History
from ..resuming import resumption
from ..run import Run
from ..scalars import rates, scalar, to_floats
from ..series import LEARNING_RATE, Granularity, Kind, Series, Split, parsed

_log = logging.getLogger("epochwidget")


def _callbacks() -> list[Any]:
    """Return the class ``Callback`` of each package that may train here.

    Who has imported both may train with either, and before version 2.6 each refuses the other's callbacks. None is
    imported that is not needed, for that takes seconds.
    """
    packages = {"lightning.pytorch": "lightning", "pytorch_lightning": "pytorch-lightning"}
    found: list[Any] = []
    for module in sorted(packages, key=lambda module: not sys.modules.get(module)):
        if found and not sys.modules.get(module):
            break
        try:
            package = import_module(module)
        except ModuleNotFoundError as error:
            if error.name not in ("lightning", *packages):
                raise
            continue
        check_version(packages[module], package.__version__, "2.2", "3")
        found.append(package.Callback)
    if not found:
        raise ImportError("epochwidget.callbacks.lightning needs PyTorch Lightning: pip install 'lightning>=2.2,<3'.")
    return found


class EpochCallback(*_callbacks()):  # type: ignore[misc]
    """Puts every batch and epoch of ``trainer.fit`` on the bus. Each ``fit`` is a run.

    The values of a batch have these names in the history, all of kind ``"batch"``:

    - ``loss``: the loss that ``training_step`` returned, undivided where gradients are accumulated. With manual
      optimisation nobody knows what a step returns: there is a ``loss`` if the module logs one.
    - ``returned_loss``: the same, if the module logs another number as ``loss``, which then has that name. That is told
      by the first batch of which it logs one; and where it logs a mean of each epoch alone, by these means, too.
    - ``lr``: the learning rate that the batch was trained with; ``lr_1``, ``lr_2``, ... those of further parameter
      groups; ``lr_optimizer1``, ``lr_optimizer1_1``, ... those of further optimizers.
    - what the module logs with ``on_step``, under the name that it gives, without ``_step``.

    Those of an epoch are of kind ``"epoch"``:

    - what the module logs with ``on_epoch``, in training and in validation, under the name that it gives, without
      ``_epoch``, as Lightning computes it. What it adds up, or takes the least or greatest of, is of kind
      ``"reported"``.
    - ``loss``, unless the module logs it: the mean of the batches' losses over the samples (as Lightning counts them:
      the length of the batch's first tensor), or over the batches where those cannot be counted.

    The split is told by ``train_``, ``val_``, ``valid_``, ... before or after a name (``val/loss``, ``loss_val``), else
    by the step that logs it. If both steps log one name without any of these, validation's has ``val_`` before it.

    Validation in the midst of an epoch stands at the batch after which it was made. Where ``EarlyStopping`` stopped is
    marked, and so is each checkpoint. Of several processes the first one's values are shown.

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
        super().__init__()
        self._name = None if name is None else checked_name("The name of a run", name)
        self._bus = chosen(bus, "EpochCallback")
        self._resumption = resumption(resume, epoch, self._name, self._bus, "EpochCallback")
        self._run: Run | None = None
        self._fit: _Fit | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is for another training: it takes along what it was made of.
        return partial(type(self), self._name, bus=self._bus), ()

    @property
    def history(self) -> History:
        """The history of the latest ``fit``."""
        if self._run is None:
            raise AttributeError(
                "there is no history yet: give this callback to Trainer(callbacks=[...]) and call trainer.fit first. "
                "If that trained in processes of its own, the history was in the first of them."
            )
        return self._run.history

    @harmless
    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if stage == "fit" and self._run is not None:
            self._run.end("stopped")  # does nothing if it has ended

    @harmless
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self._run = Run(self._name or type(pl_module).__name__, bus=self._bus, resume=self._resumption)
            self._fit = _Fit(trainer, self._run)

    @harmless_for_batches
    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if fit := self._open_fit:
            fit.begin_batch(batch_idx)

    @harmless_for_batches
    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        if fit := self._open_fit:
            fit.note_divisor()

    @harmless_for_batches
    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if fit := self._open_fit:
            fit.note_rates(optimizer)

    @harmless_for_batches
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if fit := self._open_fit:
            fit.leave_batch(outputs, batch)
            if fit.history.stopping is not None and fit.run.stops_after("batch"):
                fit.stop()

    @harmless
    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        if fit := self._open_fit:
            fit.end_batch()

    @harmless
    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if fit := self._open_fit:
            fit.take_evaluation()

    @harmless
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if fit := self._open_fit:
            fit.leave_epoch()
            if trainer.current_epoch + 1 != trainer.max_epochs and fit.run.stops_after("epoch"):
                fit.stop()

    @harmless
    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if fit := self._open_fit:
            fit.end_epoch()

    @harmless
    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        if fit := self._open_fit:
            fit.mark_checkpoint()

    @harmless
    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if fit := self._open_fit:
            fit.end_epoch()
            if trainer.should_stop and any(fit.was_stopped_by(one) for one in trainer.early_stopping_callbacks):
                fit.run.mark("early stopping")

    @harmless
    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        # The last hook of all: what fails before, fails the fit.
        if stage == "fit" and self._run is not None:
            self._run.end()
            self._let_go()

    @harmless
    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        if self._run is not None:
            self._run.end_by(exception)
            self._let_go()

    def _let_go(self) -> None:
        """Forget the trainer and the module: whoever keeps the callback for its history need not keep them."""
        if self._fit is not None:
            self._fit.put_back()
        self._fit = None
        for given in ("log", "log_dict"):  # the module's methods, which Lightning gives to callbacks
            self.__dict__.pop(given, None)

    @property
    def _open_fit(self) -> _Fit | None:
        """The fit that goes on; None outside of one, and in all processes but the first."""
        fit = self._fit
        return fit if fit is not None and fit.history.status == "running" else None


class _Fit:
    """One ``fit``: what is kept between the hooks."""

    def __init__(self, trainer: Any, run: Run) -> None:
        self.run, self.history = run, run.history
        self._trainer = trainer
        self._module = trainer.lightning_module
        self._names: dict[tuple[Granularity, Split, str], str] = {}
        # The batch that goes on, and when it ended with how many samples if it only waits for what may be logged yet.
        self._values: dict[str, Any] = {}
        self._logged: dict[str, Any] = {}
        self._divisor = 1
        # The loss that the batch returned, what it is called and since which step, and whether that was compared with
        # what the module logs as the loss.
        self._returned: Any = None
        self._own = "loss"
        self._own_since = 0
        self._is_compared = False
        self._returns = False
        self._ended: tuple[float, int | None] | None = None
        # Of what is logged per batch, by Lightning's key, the newest that was seen.
        self._seen: dict[str, Any] = {}
        # The epoch that goes on, and what had been reported when only its means were to come.
        self._epoch: int | None = None
        self._last_epoch: int | None = None
        self._first_step = 0
        self._is_whole = True
        self._before_means: dict[str, Any] | None = None
        self._last_length: int | None = None
        # A validation that may be the one at the epoch's end, or may not.
        self._evaluation: dict[str, float] = {}
        # When the last of what an epoch's end waits for had come.
        self._idle_since: float | None = None
        # The least of epochs and of steps that the person wants, while a stop goes before that.
        self._least: tuple[Any, Any] | None = None
        run.lives_within_call(self.end_epoch)
        run.is_stoppable("batch")

    def stop(self) -> None:
        """End the training with this batch, or epoch, as Lightning does: ``trainer.should_stop``."""
        loop = self._trainer.fit_loop
        if self._least is None:
            self._least = loop.min_epochs, loop.epoch_loop.min_steps
            loop.min_epochs = loop.epoch_loop.min_steps = None
        self._trainer.should_stop = True

    def put_back(self) -> None:
        """Leave the trainer as it was given, for its next ``fit``."""
        if self._least is not None:
            loop = self._trainer.fit_loop
            (loop.min_epochs, loop.epoch_loop.min_steps), self._least = self._least, None

    def begin_batch(self, index: int) -> None:
        """Begin a batch, and an epoch if there is none."""
        if self._ended is not None:
            self.end_batch()
        if self._evaluation:
            self._put_evaluation()
        if self._epoch is None:
            self._begin_epoch(index)
        self._values, self._logged, self._returned = {}, {}, None
        self._divisor = self._trainer.accumulate_grad_batches
        # The optimizer makes no step in this batch if its gradients are only accumulated, or the module makes none.
        if self._divisor != 1 or not self._is_automatic:
            for optimizer in self._trainer.optimizers:
                self.note_rates(optimizer)

    def note_divisor(self) -> None:
        """Keep by how much Lightning divides the loss; right before `backward` it just has, and it may be changed."""
        self._divisor = self._trainer.accumulate_grad_batches

    def note_rates(self, optimizer: Any) -> None:
        """Keep the learning rates of an optimizer, which right before its step are those of the step."""
        optimizers = self._trainer.optimizers
        if len(optimizers) == 1 and len(optimizer.param_groups) == 1:  # as a rule
            rate = optimizer.param_groups[0]["lr"]
            self._values["lr"] = rate if type(rate) is float else scalar("lr", rate)
            return
        for index, one in enumerate(optimizers):
            if one is optimizer:
                self._values.update(rates(f"lr_optimizer{index}" if index else "lr", optimizer) or {})

    def leave_batch(self, outputs: Any, batch: Any) -> None:
        """Keep what is known of the batch at its end."""
        self._ended = perf_counter(), _samples(batch)
        loss = outputs.get("loss") if isinstance(outputs, Mapping) and self._is_automatic else None
        if loss is not None:
            self._returned = scalar("loss", loss) * self._divisor
        self._take_logged()

    def end_batch(self) -> None:
        """Put the batch that has ended on the bus."""
        if self._ended is None:
            return
        (at, size), self._ended = self._ended, None
        try:
            self._take_logged(but="on_train_batch_start")  # what was logged there since is the next batch's
            self._put_returned()
        finally:
            # What was used as a rate need not be what was logged as such.
            self.run.batch_ended({**self._logged, **self._values}, size=size, at=at)

    def mark_checkpoint(self) -> None:
        """Mark that a checkpoint was saved; the batch before it may only wait for what is still logged of it."""
        self.run.mark("checkpoint", step=self.run.step + (self._ended is not None))

    def take_evaluation(self) -> None:
        """Keep the values of a validation that has ended."""
        self._idle_since = perf_counter()
        results = self._trainer.fit_loop.epoch_loop.val_loop._results
        logged = [result for result in results.values() if result.meta.on_epoch and not result.has_reset]
        names = [results._forked_name(result, on_step=False)[0] for result in logged]  # each data loader has its own
        self._evaluation.update(self._numbers(zip(names, logged, strict=True), self._reported, "validation"))

    def leave_epoch(self) -> None:
        """Keep what has been reported before the means of the epoch."""
        self.end_batch()
        self._idle_since = perf_counter()
        if self._epoch is not None:
            self._last_length = self.run.step - self._first_step if self._is_whole else None
            # Another callback may have asked for them already.
            means = {id(result._computed) for result in self._training.values() if not result.has_reset}
            self._before_means = {name: value for name, value in self._reported.items() if id(value) not in means}

    def end_epoch(self) -> None:
        """End the epoch, if it came to its end; after an interrupt, put what there is of it on the bus."""
        self.end_batch()
        before, self._before_means = self._before_means, None
        if before is None:
            self._put_evaluation()
            return
        values, self._evaluation = self._evaluation, {}
        self._epoch = None
        self._seen.clear()
        try:
            # A value that was not reported again is the same object.
            new = {name: value for name, value in self._reported.items() if value is not before.get(name)}
            logged = [result for result in self._training.values() if result.meta.on_epoch]
            values.update(self._numbers([(result.meta.name, result) for result in logged], new, "train"))
            # Of an epoch in whose midst the name was changed only a part has it.
            if self._returns and self._is_whole and self._own_since <= self._first_step:
                mean = self.run.history.epoch_mean(self._own)
                if mean is not None and self._own == "loss" and self._logs_another_mean(mean, values.get("loss")):
                    self._call_it_returned_loss()
                    _log.warning(
                        "[epochwidget] the mean that %r logs as 'loss' is not that of the losses it returned: those "
                        "are called 'returned_loss' from now on.",
                        type(self._module).__name__,
                    )
                if mean is not None:
                    values.setdefault(self._own, mean)
        finally:
            self.run.end_epoch(values, at=self._idle_since)

    def was_stopped_by(self, stopper: Any) -> bool:
        """Tell whether an ``EarlyStopping`` stopped in the epoch that was the last; it keeps that for good."""
        if stopper.stopped_epoch != self._last_epoch:
            return False
        if stopper.stopped_epoch > 0:
            return True
        # 0 may also be that of one that has stopped nothing.
        reason = getattr(stopper, "stopping_reason", None)  # since Lightning 2.6
        if reason is not None:
            return bool(reason.name != "NOT_STOPPED")
        return bool(stopper.wait_count >= stopper.patience)

    @property
    def _is_automatic(self) -> bool:
        return bool(self._module.automatic_optimization)

    @property
    def _training(self) -> Any:
        """Lightning's results of what is logged in training; reset, but for their names, when an epoch has ended."""
        return self._trainer.fit_loop.epoch_loop._results

    @property
    def _reported(self) -> dict[str, Any]:
        """What is in ``trainer.callback_metrics``, without computing it anew."""
        reported: dict[str, Any] = self._trainer._logger_connector._callback_metrics
        return reported

    def _begin_epoch(self, index: int) -> None:
        trainer = self._trainer
        self._epoch = self._last_epoch = trainer.current_epoch
        self._first_step = self.run.step
        self._is_whole = index == 0  # or the training goes on from a checkpoint in the midst of it
        length = trainer.num_training_batches
        self.run.begin_epoch(
            trainer.current_epoch,
            # Where Lightning cannot count the batches beforehand, the epoch before tells.
            batches=self._last_length if length == inf else length - index,
            # Steps may run out before the epochs do.
            epochs=trainer.max_epochs if trainer.max_epochs != -1 and trainer.max_steps == -1 else None,
        )

    def _put_evaluation(self) -> None:
        """Put a validation on the bus that was not at the epoch's end."""
        values, self._evaluation = self._evaluation, {}
        if values:
            self.run.evaluated(values, at=self._idle_since)

    def _take_logged(self, but: str | None = None) -> None:
        """Add what was logged of the batch since the last time, `but` what a hook of that name logged."""
        for key, result in self._training.items():
            meta = result.meta
            if not meta.on_step or result.has_reset or meta.fx == but:
                continue
            value = result._forward_cache  # a new object each time
            if value is None or value is self._seen.get(key):
                continue
            self._seen[key] = value
            if not isinstance(value, Tensor):
                continue
            name = self._name(meta.name, "batch", "train", "batch")
            self._logged[name] = scalar(name, value)

    def _put_returned(self) -> None:
        """Put the loss that the batch returned under its name, unless it was logged there."""
        returned, self._returned = self._returned, None
        if returned is None:
            return
        self._returns = True
        if not self._is_compared:
            logged = self._loss_as_logged()
            if logged is not None:
                self._is_compared = True
                if not _are_alike(*to_floats([returned, logged]).tolist()):  # the one time that a device is waited for
                    self._call_it_returned_loss()
        if self._own != "loss" or "loss" not in self._logged:
            self._values[self._own] = returned

    def _loss_as_logged(self) -> Any:
        """Return what the module logs of the batch as its loss, if that is the first time; None if it logs none."""
        if "loss" in self._logged:
            return self._logged["loss"]
        for result in self._training.values():
            meta = result.meta
            if meta.name != "loss" or meta.on_step or result.has_reset or meta.fx == "on_train_batch_start":
                continue
            logged = result._forward_cache
            if logged is None and result.is_tensor and meta.is_mean_reduction:
                logged = result.value / result.cumulated_batch_size
            if isinstance(logged, Tensor) and logged.numel() == 1:
                return scalar("loss", logged)
        return None

    def _call_it_returned_loss(self) -> None:
        """Leave the name ``loss`` to what the module logs."""
        self._own, self._own_since = "returned_loss", self.run.step
        for granularity in ("batch", "epoch"):
            self.run.declare("returned_loss", metric="loss", kind=granularity, granularity=granularity)

    def _logs_another_mean(self, mean: float, logged: float | None) -> bool:
        """Tell whether what the module logs of the epochs alone is not the mean of the losses it returned."""
        results = [result for result in self._training.values() if result.meta.name == "loss"]
        if logged is None or any(result.meta.on_step for result in results) or self._trainer.world_size > 1:
            return False
        if any(result.is_tensor and not result.meta.is_mean_reduction for result in results):
            return False
        # The module may give each batch the same weight.
        batch = self.run.history.batch
        plain = batch["loss"][batch.steps("loss") > self._first_step]
        is_of_all = len(plain) == self.run.step - self._first_step
        return is_of_all and not _are_alike(mean, logged) and not _are_alike(float(np.mean(plain)), logged)

    def _numbers(self, named: Iterable[tuple[str, Any]], reported: Mapping[str, Any], split: Split) -> dict[str, float]:
        """Return what was reported of some of Lightning's results, under the names that it has in the history."""
        values: dict[str, Any] = {}
        for original, result in named:
            value = reported.get(original)
            if isinstance(value, Tensor) and value.numel() == 1:
                is_mean = not result.is_tensor or result.meta.is_mean_reduction
                name = self._name(original, "epoch", split, "epoch" if is_mean else "reported")
                values[name] = scalar(name, value)
        return dict(zip(values, to_floats(list(values.values())).tolist(), strict=True))

    def _name(self, original: str, granularity: Granularity, split: Split, kind: Kind) -> str:
        """Return the name in the history of what is logged in training or validation, declared."""
        key = granularity, split, original
        if key not in self._names:
            marked, metric = parsed(original)
            name = original
            if marked is None and split == "validation" and self._is_of_training(original):
                name = f"val_{original}"
            elif marked is None and split == "train" and self._names.get(("epoch", "validation", original)) == original:
                name = f"train_{original}"  # validation was quicker
            self._names[key] = name
            split = marked or split
            if Series.of(name, granularity).metric == LEARNING_RATE:
                metric, split = LEARNING_RATE, "train"
            self.run.declare(name, metric=metric, kind=kind, granularity=granularity, split=split)
        return self._names[key]

    def _is_of_training(self, name: str) -> bool:
        return name == "loss" or any(result.meta.name == name for result in self._training.values())


def _are_alike(one: float, other: float) -> bool:
    """Tell whether two numbers are the same loss, but for how it was rounded."""
    return isclose(one, other, rel_tol=1e-3) or (isnan(one) and isnan(other))


def _samples(batch: Any) -> int | None:
    """Return how many samples a batch has: the length of its first tensor."""
    if isinstance(batch, Tensor):
        return int(batch.shape[0]) or None if batch.ndim else None
    if isinstance(batch, (list, tuple, Mapping)):
        for part in batch.values() if isinstance(batch, Mapping) else batch:
            found = _samples(part)
            if found is not None:
                return found
    return None
