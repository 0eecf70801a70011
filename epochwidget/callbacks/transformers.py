"""Hugging Face ``Trainer``: ``callback = EpochCallback.attach(trainer)``, then ``trainer.train()``.

A ``Trainer`` hands no loss to its callbacks but what it logs: every 500 steps by default, the mean since the last log,
in which it replaces NaN by what had been there before. The loss of a step passes through ``trainer.training_step``,
once for each micro-batch that the step accumulates, already divided by their number, or by that of the items in all of
them: the sum over them is what the step's gradient is of, and what the ``Trainer`` itself adds up for its log. So an
attached callback listens there, and only while ``trainer.train`` runs.

What a ``Trainer`` logs of a step, and what it finds in the evaluation behind it, comes after the step has ended, at an
epoch's end even after that. The callback holds a step back until the next one begins, so that each value stands where
it belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, update_wrapper
from math import ceil
from time import perf_counter
from typing import Any
from weakref import ref

import transformers
from transformers import TrainerCallback

from ..bus import Bus, chosen
from ..errors import check_version, checked_name, harmless, harmless_for_batches, unknown_keywords
from ..history import History
from ..resuming import resumption
from ..run import Run
from ..scalars import rates, scalar
from ..series import Granularity, Kind, Series, Split

check_version("transformers", transformers.__version__, at_least="5", below="6")

# What is logged beside the metrics.
_NO_METRICS = ("epoch", "step", "total_flos", "num_input_tokens_seen")
_TIMES = ("_runtime", "_per_second", "_model_preparation_time")


class EpochCallback(TrainerCallback):  # type: ignore[misc]
    """Puts every optimizer step, evaluation and epoch of ``trainer.train`` on the bus. Each ``train`` is a run.

    ::

        callback = EpochCallback.attach(trainer)
        trainer.train()

    A step is one of the optimizer, as in ``state.global_step``, however many micro-batches it accumulates. Its values
    have these names in the history:

    - ``loss``: of that step alone, which its gradient is of, and NaN where that is NaN. Under gradient accumulation it
      is the mean over the micro-batches, or over all the items in them where the model is handed
      ``num_items_in_batch`` and divides by it. Several models of Transformers' are handed it and do not divide: they
      are trained on the sum over the micro-batches, and this is what the log and ``loss`` are then;
    - ``window_loss``: the ``loss`` that the ``Trainer`` logs, which is the mean since its last log (of kind
      ``"window"``), at the step where it was logged;
    - ``lr``: the learning rate that the step used, ``lr_1``, ... those of further parameter groups;
    - ``grad_norm``: the norm of that step's gradient before clipping, where it was logged.

    Without the trainer, as ``Trainer(callbacks=[EpochCallback()])``, nobody tells a step's own loss: then ``loss`` is
    the one that the ``Trainer`` logs, of kind ``"window"``, and there is none of an epoch. Whatever else is logged
    with ``trainer.log`` keeps its name and is of kind ``"reported"``.

    The values of an epoch are ``loss``, the mean over its samples, and the evaluation's ``eval_loss``, ..., or
    ``eval_<name>_loss``, ... where there are several sets for it, at the step where the ``Trainer`` evaluated.

    A training taken up from a checkpoint is a run of its own that begins with step 1, in the epoch where it is, unless
    it is told to go on in another (`resume`). Where several processes train, the first tells of its own share of each
    step.

    In a notebook the ``Trainer`` draws a table of its own below the cell that trains, which grows with every log. It
    does not touch the widget. To do without it::

        from transformers.utils.notebook import NotebookProgressCallback

        trainer.remove_callback(NotebookProgressCallback)

    Parameters
    ----------
    name
        What to call the run, by default the ``run_name`` of the training arguments, or else the model's class.
    bus
        Where the events go, by default the shared bus.
    resume
        The history of a run in which the first ``train`` goes on, as ``ew.runs[-1]``; by default each is a run of its
        own. See `epochwidget.Run`. Epochs that are counted from 0 again are counted on from there.
    epoch
        With `resume`: the epoch, counted from 0, from whose beginning on it goes; what came after that is dropped.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these, or the name is empty.
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
        self._name = None if name is None else checked_name("The name of a run", name)
        self._bus = chosen(bus, "EpochCallback")
        self._resumption = resumption(resume, epoch, self._name, self._bus, "EpochCallback")
        self._run: Run | None = None
        # Weak, for whoever deletes a trainer wants its memory back at once.
        self._attached: Callable[[], transformers.Trainer | None] = _nobody
        self._watched: Callable[..., Any] | None = None
        self._unwatched: Callable[..., Any] | None = None
        self._start_over()

    def __getstate__(self) -> dict[str, Any]:
        # A copy hears nothing of the trainer that this one is attached to.
        return {**vars(self), "_attached": _nobody, "_watched": None, "_unwatched": None}

    def _start_over(self) -> None:
        # Of the step that goes on: the micro-batches' shares of its loss, and how many samples they have.
        self._shares: list[Any] | None = None
        self._samples: list[int | None] = []
        self._has_own_loss = False
        # What waits for the next step: a step's values and when it ended, and the evaluations behind it.
        self._values: dict[str, Any] = {}
        self._size: int | None = None
        self._ended: float | None = None
        self._evaluated: dict[str, float] = {}
        # When the last of what an epoch's end waits for had come.
        self._idle_since: float | None = None
        self._timed: tuple[str, dict[str, Any]] | None = None
        # Steps are counted by the Trainer here, epochs from 0; the run has so many steps more.
        self._resumed = self._offset = 0
        self._epoch: int | None = None
        self._epoch_first = 0
        self._epoch_length: int | None = None
        self._epoch_over = False

    @classmethod
    def attach(
        cls, trainer: transformers.Trainer, name: str | None = None, *, bus: Bus | None = None, **unknown: Any
    ) -> EpochCallback:
        """Make a callback that hears the loss of each step of `trainer`, and add it there.

        While ``trainer.train`` runs, ``trainer.training_step`` is wrapped; an error in it ends the run at once. A
        callback of this class that `trainer` already has, as after a notebook's cell was run again, makes room.

        Parameters
        ----------
        trainer
            It is going to train.
        name, bus, **unknown
            As for the class, and so are ``resume`` and ``epoch``.

        Returns
        -------
        EpochCallback
            With the ``history``.

        Raises
        ------
        TypeError, ValueError
            If `trainer` is no ``Trainer``, or an argument is none of these.
        """
        if not all(callable(getattr(trainer, method, None)) for method in ("training_step", "pop_callback")):
            raise TypeError(f"EpochCallback.attach() needs a transformers.Trainer, got {trainer!r}.")
        callback = cls(name, bus=bus, **unknown)
        while (earlier := trainer.pop_callback(cls)) is not None:
            if (run := earlier._open) is not None:
                run.end("stopped")
        callback._attached = ref(trainer)
        trainer.add_callback(callback)
        return callback

    @property
    def history(self) -> History:
        """The history of the latest ``train``."""
        if self._run is None:
            raise AttributeError("there is no history yet: add this callback to a Trainer and call trainer.train().")
        return self._run.history

    @property
    def _open(self) -> Run | None:
        """The run that goes on. The hooks are called by ``trainer.evaluate`` as well, when there is none."""
        return self._run if self._run is not None and self._run.status == "running" else None

    @harmless
    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._run is not None:  # does nothing if it has ended; after an interrupt no hook has told
            self._run.end("stopped")
        self._run = None
        self._start_over()
        if not state.is_world_process_zero:
            return
        name = self._name or str(state.trial_name or args.run_name or "").strip() or type(kwargs.get("model")).__name__
        self._run = Run(name, bus=self._bus, resume=self._resumption)
        self._run.lives_within_call(self._finish)
        self._run.is_stoppable("batch")
        self._resumed = state.global_step
        self._offset = self._run.step - state.global_step
        self._epoch_length = _steps_per_epoch(args, kwargs.get("train_dataloader"))
        self._watch()

    @harmless
    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        run = self._open
        if run is None:
            return
        first = self._epoch is None
        if self._epoch is None:
            self._epoch = 0 if self._epoch_length is None else state.global_step // self._epoch_length
            # What had been trained of the epoch before a checkpoint is skipped, unless the person wants it again.
            skipped = 0 if self._epoch_length is None else self._epoch * self._epoch_length
            self._epoch_first = state.global_step if args.ignore_data_skip else skipped
        else:
            if self._epoch_length is None:  # where nobody can count the batches beforehand, the epoch before tells
                self._epoch_length = state.global_step - self._epoch_first or None
            self._hand_over()
            self._epoch += 1
            self._epoch_first = state.global_step
        batches = epochs = None
        if self._epoch_length is not None:
            batches = min(self._epoch_first + self._epoch_length, state.max_steps) - state.global_step
            left = ceil((state.max_steps - self._epoch_first) / self._epoch_length)
            epochs = min(self._epoch + left, state.num_train_epochs)
        run.begin_epoch(self._epoch, batches=batches, epochs=epochs)
        if first and self._resumed:
            run.mark(f"resumed after step {self._resumed}")

    @harmless_for_batches
    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._hand_over()
        self._shares, self._samples = [], []

    @harmless_for_batches
    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
        try:
            self._values.update(rates("lr", optimizer) or {})
        except (TypeError, ValueError):  # Adafactor computes its own
            return

    @harmless_for_batches
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        shares, self._shares = self._shares, None
        if shares:
            self._has_own_loss = True
            self._values["loss"] = sum(shares[1:], start=shares[0])
            counts = [count for count in self._samples if count is not None]
            self._size = sum(counts) if len(counts) == len(shares) else None
        self._ended = perf_counter()
        run = self._run
        if run is not None and run.history.stopping is not None and run.stops_after("batch"):
            control.should_training_stop = True

    @harmless
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if self._open is None or not logs:
            return
        told = {name: one for name, one in logs.items() if name not in _NO_METRICS and not name.endswith(_TIMES)}
        timed = [name for name in logs if name.endswith("_runtime")]
        if timed and "loss" not in logs:
            # An evaluation, or the summary of the whole training: `on_evaluate` tells.
            self._timed = min(timed, key=len).removesuffix("_runtime"), told
            return
        for name, value in told.items():
            if name.startswith("eval_"):
                self._put_evaluation(name, value, "eval")
            else:
                self._put_logged(name, value)

    @harmless
    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._idle_since = perf_counter()
        if self._open is not None and self._timed is not None:
            prefix, told = self._timed
            for name, value in told.items():
                self._put_evaluation(name, value, prefix)
        self._timed = None

    @harmless
    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._idle_since = perf_counter()
        self._epoch_over = True  # its evaluation is yet to come
        if (run := self._open) is not None and state.global_step < state.max_steps and run.stops_after("epoch"):
            control.should_training_stop = True

    @harmless
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if (run := self._open) is not None:
            run.mark("checkpoint", step=state.global_step + self._offset)

    @harmless
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        run = self._open
        if run is None:
            return
        self._hand_over()
        if state.global_step < state.max_steps and run.history.stopping is None:
            run.mark("stopped early")
        if args.load_best_model_at_end and state.best_model_checkpoint is not None:
            best = state.best_global_step or 0
            if best + self._offset > 0:
                run.mark("weights restored from here", step=best + self._offset)
        run.end()

    def _watch(self) -> None:
        """Listen to the training step of the trainer, where that is known."""
        trainer = self._attached()
        if trainer is not None:
            self._unwatched = vars(trainer).get("training_step")
            step = trainer.training_step
            self._watched = trainer.training_step = update_wrapper(partial(self._take, step), step)

    def _unwatch(self) -> None:
        """Leave the trainer as it was. Should others have wrapped the training step since, nothing listens in it."""
        trainer = self._attached()
        if trainer is not None and self._watched is not None and vars(trainer).get("training_step") is self._watched:
            del trainer.training_step
            if self._unwatched is not None:
                trainer.training_step = self._unwatched
        self._watched = self._unwatched = None

    def _take(self, step: Callable[..., Any], model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Take the training step of a micro-batch, and hear what it returns."""
        try:
            loss = step(model, inputs, *args, **kwargs)
        except BaseException as error:
            if self._open is not None:
                self._open.end_by(error)
            raise
        self._hear(loss, inputs)
        return loss

    @harmless_for_batches
    def _hear(self, loss: Any, inputs: Any) -> None:
        if self._shares is not None:
            try:
                self._shares.append(scalar("loss", loss))
                self._samples.append(_count_samples(inputs))
            except (TypeError, ValueError):  # a training step of the person's own: then nobody knows the step's loss
                self._shares = None

    def _finish(self) -> None:
        try:
            self._hand_over()
        finally:
            self._shares = None
            self._unwatch()

    def _put_logged(self, name: str, value: Any) -> None:
        """Add what was logged to the step that has ended, or to the one that goes on."""
        number = _number(name, value)
        if number is None:
            return
        if name == "learning_rate":  # what the step used, as `lr` is
            self._values.setdefault("lr", number)
            return
        usual = Series.of(name, "batch")
        if name == "loss":
            name = "window_loss" if self._has_own_loss else "loss"
            self._declare(name, "batch", "window", "loss", "train")
        elif name != "grad_norm":
            self._declare(name, "batch", "reported", usual.metric.removeprefix("train_"), usual.split)
        self._values[name] = number

    def _put_evaluation(self, name: str, value: Any, prefix: str) -> None:
        number = _number(name, value)
        if number is None:
            return
        # Whoever wants the metrics of the training set evaluates that as well.
        split: Split = "train" if prefix.rsplit("_", maxsplit=1)[-1] == "train" else "validation"
        self._declare(name, "epoch", "epoch", name.removeprefix(f"{prefix}_"), split)
        self._evaluated[name] = float(number)

    def _declare(self, name: str, granularity: Granularity, kind: Kind, metric: str, split: Split) -> None:
        if self._run is not None:
            self._run.declare(name, metric=metric, kind=kind, granularity=granularity, split=split)

    def _hand_over(self) -> None:
        """Put on the bus what waits: a step, the evaluations behind it, an epoch's end."""
        run = self._open
        if run is None:
            return
        if self._ended is not None:
            run.batch_ended(self._values, size=self._size, at=self._ended)
            self._values, self._size, self._ended = {}, None, None
        evaluated, self._evaluated = self._evaluated, {}
        if self._epoch_over:
            self._epoch_over = False
            mean = run.history.epoch_mean("loss") if self._has_own_loss else None
            run.end_epoch(evaluated if mean is None else {"loss": mean, **evaluated}, at=self._idle_since)
        elif evaluated:
            run.evaluated(evaluated, at=self._idle_since)


def _nobody() -> None:
    """Return the trainer of a callback that is attached to none."""


def _steps_per_epoch(args: Any, batches: Any) -> int | None:
    """Return how many optimizer steps an epoch has, or None where the data do not know their length."""
    try:
        length = len(batches)
    except (TypeError, AttributeError, RuntimeError):
        return None
    return ceil(length / args.gradient_accumulation_steps) or None


def _count_samples(inputs: Any) -> int | None:
    """Return the length of the first array of a batch, by which the ``Trainer`` counts samples as well."""
    for value in inputs.values() if isinstance(inputs, Mapping) else ():
        shape: Any = getattr(value, "shape", ())
        if len(shape):
            return int(shape[0])
    return None


def _number(name: str, value: Any) -> Any:
    """Return what was logged if it is a number; some log texts and tables, too."""
    try:
        return scalar(name, value)
    except (TypeError, ValueError):
        return None
