"""fastai 2: ``Learner(..., cbs=EpochCallback())``, or ``learn.fit_one_cycle(3, cbs=EpochCallback())``.

fastai computes the loss of each batch and shows it nowhere: what its ``Recorder`` keeps for each batch, and calls
``train_loss`` at an epoch's end, is a moving average. The batch's own loss is in ``learn.loss`` when the batch ends.

Any callback may end a batch, an epoch or the fit in any hook, and then those behind it are not called. This one stands
right behind the ``Recorder``, whose numbers are then of this batch and this epoch, and before those that end a fit, as
``LRFinder`` and ``EarlyStoppingCallback``. What another one cuts off is made up for in the hooks of the cancelling.
The learning rate is read as soon as the loss is there: what is scheduled for the batch has been set by then, and what
is scheduled for the next one has not.

No hook tells of a checkpoint either, and ``SaveModelCallback`` comes after this callback. It keeps the path to which it
has saved, a new object each time. That is looked at before the next batch ends, and when the run does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import count
from math import inf
from typing import Any
from weakref import ReferenceType, ref

import fastai
import numpy as np
import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.learner import Recorder
from fastai.torch_core import find_bs, get_model, rank_distrib

from ..bus import Bus, chosen
from ..errors import check_version, checked_name, harmless, harmless_for_batches, unknown_keywords
from ..events import Purpose
from ..history import History
from ..resuming import resumption
from ..run import Run
from ..scalars import scalar
from ..series import Granularity, Kind, Series, Split

check_version("fastai", fastai.__version__, at_least="2.7", below="3")

_NO_HISTORY = "there is no history yet: give this callback to a Learner or to one of its fits first."


class EpochCallback(Callback):  # type: ignore[misc]
    """Puts every batch and epoch of ``learn.fit`` on the bus. Each ``fit`` is a run, so that ``fine_tune`` is two.

    In the learner it is called ``epochwidget``: ``learn.epochwidget.history``.

    The values of a batch have these names in the history:

    - ``loss``: of that batch alone;
    - ``smooth_loss``: fastai's moving average over the batches of all epochs, as in ``learn.recorder.losses``;
    - ``lr``, ``mom``: the learning rate and the momentum that the batch was trained with, those of the first parameter
      group; ``lr_1``, ``mom_1``, ... are those of further groups, of which ``learn.recorder.lrs`` has the last alone.

    Those of an epoch:

    - ``loss``: the mean over the samples of the epoch, each batch measured when it was trained;
    - ``train_loss``: what fastai calls so, the moving average at the epoch's last batch;
    - ``valid_loss`` and the metrics, under fastai's names: of the validation at the epoch's end;
    - ``train_accuracy``, ``valid_accuracy``, ... with ``Recorder(train_metrics=True)``.

    A metric with several numbers, as one for each class, has a series for each: ``f1_score_0``, ... Of metrics that
    fastai gives one name the second is called ``accuracy_1``, and so is a metric that is called ``loss``.

    ``lr_find`` is a run of its own kind, ``"lr search"``. Validation and prediction outside of a fit are no runs. A fit
    that a callback ended has a mark that says which, and what ``SaveModelCallback`` saved is marked. Of several
    processes the first tells of its own share of a batch.

    An exported learner takes the callback along if it was given to the ``Learner``, and then needs epochwidget where it
    is loaded; ``learn.remove_cb(EpochCallback)`` before the export takes it out.

    Parameters
    ----------
    name
        What to call the run, by default the model's class.
    bus
        Where the events go, by default the shared bus.
    resume
        The history of a run in which the first fit goes on, as ``ew.runs[-1]``; by default each is a run of its
        own. See `epochwidget.Run`. Epochs that are counted from 0 again are counted on from there.
    epoch
        With `resume`: the epoch, counted from 0, from whose beginning on it goes; what came after that is dropped.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these, the name is empty, or what is to go on is not there.
    """

    order = Recorder.order + 1
    run_valid = False
    # fastai would call it "epoch", which is the learner's own count of the epochs.
    name = "epochwidget"
    # Of these a copy has its own.
    _stateattrs = (
        "_run",
        "_resumption",
        "_columns",
        "_rates",
        "_seen",
        "_smoothed",
        "_logged",
        "_reported",
        "_in_epoch",
        "_savers",
    )
    # Its order, while it has another one.
    _former_order: float | None = None

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
        self._init_state()
        self._resumption = resumption(resume, epoch, self._name, self._bus, "EpochCallback")

    def _init_state(self) -> None:
        super()._init_state()
        self._run: Run | None = None
        self._resumption = None
        self._forget()

    def _forget(self) -> None:
        # What the Recorder reports of each epoch, in its order.
        self._columns: dict[Split, list[Series]] = {"train": [], "validation": []}
        # The rates of the batch that goes on, once they are settled.
        self._rates: dict[str, Any] = {}
        # What belongs to what is over: the last loss, which is not kept alive with its graph, the last of the
        # Recorder's moving averages, and how much there is in its log.
        self._seen: ReferenceType[torch.Tensor] | None = None
        self._smoothed: Any = None
        self._logged = 0
        # What the Recorder has reported of the epoch that goes on.
        self._reported: dict[str, float] = {}
        self._in_epoch = False
        # What saves, with the path it saved to last when it was looked at.
        self._savers: list[tuple[Any, Any]] = []

    def __setattr__(self, name: str, value: Any) -> None:
        # No hook tells that a fit has raised, but a callback that was given to that fit is taken out.
        if name == "learn" and value is None and self._is_running and (error := sys.exception()) is not None:
            self._the_run.end_by(error)
        # Past fastai's own, which warns of every name that the learner or the model has as well.
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name == "history":  # its own AttributeError leads here, and would lead on to the learner
            raise AttributeError(_NO_HISTORY)
        return super().__getattr__(name)

    def __call__(self, event_name: str) -> None:
        # Some ten times a batch. For a hook that is not there fastai searches the learner and the model, and its way to
        # one that is there takes longer than the hook.
        if event_name in ("after_loss", "after_batch"):
            learn = self.learn  # None once this was taken out, as one that was given twice is
            if learn is not None and learn.training and self.run and self.run_train:
                getattr(self, event_name)()
                if event_name == "after_batch":
                    self._stop_after("batch")
            return
        if event_name == "before_epoch":  # what saves the model comes after this callback at the end of the one before
            self._stop_after("epoch")
        if hasattr(type(self), event_name):
            self._hear(event_name)

    def _stop_after(self, ended: Granularity) -> None:
        """End the fit if that was asked for, as fastai's own callbacks do: the hooks of its end are called."""
        run = self._run
        if run is None or run.history.stopping is None or not self._is_watching:
            return
        if run.stops_after(ended):
            raise CancelFitException

    @harmless
    def _hear(self, event_name: str) -> None:
        super().__call__(event_name)

    @property
    def history(self) -> History:
        """The history of the latest fit."""
        if self._run is None:
            raise AttributeError(_NO_HISTORY)
        return self._run.history

    def before_fit(self) -> None:
        self._come_in_turn()
        if self._is_watching:  # the fit before has raised
            self._the_run.end("stopped")

    def before_train(self) -> None:
        # The first sign of a training: `validate`, `get_preds` and `tta` begin as a fit does.
        if self._is_aside or rank_distrib() > 0:
            return
        if not self._is_running:
            self._begin_run()
        self._begin_epoch(len(self.learn.dl))
        self._new_loss()
        self._logged = len(self._log)

    @harmless_for_batches
    def after_loss(self) -> None:
        if self._is_watching and len(self.learn.yb) > 0:
            if self._savers:
                self._mark_saved()
            self._rates = self._read_rates()

    @harmless_for_batches
    def after_batch(self) -> None:
        if self._is_watching:
            self._end_batch()

    def after_cancel_train(self) -> None:
        self.after_batch()

    def after_train(self) -> None:
        self._take("train")

    def before_validate(self) -> None:
        if self._is_watching:
            self._logged = len(self._log)

    def after_validate(self) -> None:
        self._take("validation")

    def after_cancel_epoch(self) -> None:
        self.after_batch()

    def after_epoch(self) -> None:
        if self._is_watching:
            self._end_epoch()
            if self.learn.epoch + 1 >= self.learn.n_epoch:
                self._come_after_savers()

    def after_cancel_fit(self) -> None:
        if self._is_watching:
            self._end_batch()
            if self._reported:  # the epoch's training was over
                self._end_epoch()
            if self.history.purpose == "training" and self.history.stopping is None:
                self._the_run.mark(_who_ended(sys.exception()))
            self._come_after_savers()

    def after_fit(self) -> None:
        self._come_in_turn()
        if self._is_watching:
            self._the_run.end()

    # -----------------------------------------------------------------------------------------------------------

    @property
    def _is_running(self) -> bool:
        return self._run is not None and self._run.status == "running"

    @property
    def _is_aside(self) -> bool:
        """Tell whether the learner validates or predicts, be it in the midst of a fit, or is not there any more."""
        return self.learn is None or self.learn.lock.locked()

    @property
    def _is_watching(self) -> bool:
        run = self._run
        return run is not None and run.status == "running" and not self._is_aside

    @property
    def _the_run(self) -> Run:
        assert self._run is not None, "asked for while it is watched"
        return self._run

    @property
    def _recorder(self) -> Recorder | None:
        # Not by `getattr`, which goes on to the model.
        found = vars(self.learn).get("recorder")
        return found if isinstance(found, Recorder) else None

    @property
    def _log(self) -> Sequence[Any]:
        """What the Recorder has logged of this epoch by now."""
        recorder = self._recorder
        return () if recorder is None else vars(recorder).get("log", ())

    def _begin_run(self) -> None:
        learn = self.learn
        schedule = sys.modules.get("fastai.callback.schedule")
        searches = schedule is not None and any(isinstance(callback, schedule.LRFinder) for callback in learn.cbs)
        purpose: Purpose = "lr search" if searches else "training"
        name = self._name or type(get_model(learn.model)).__name__
        former = None if searches else self._resumption
        self._run = run = Run(name, bus=self._bus, purpose=purpose, resume=former)
        self._forget()
        run.lives_within_call(self._finish)
        run.is_stoppable("batch")
        run.declare("smooth_loss", metric="loss", kind="smoothed")
        for group in range(len(learn.opt.hypers)):
            run.declare(_of_group("mom", group), metric="momentum", kind="batch")
        if self._recorder is not None:
            self._columns = _columns(self._recorder, learn.metrics)
        tracker = sys.modules.get("fastai.callback.tracker")
        if tracker is not None:
            savers = [callback for callback in learn.cbs if isinstance(callback, tracker.SaveModelCallback)]
            self._savers = [(saver, _saved_last(saver)) for saver in savers]

    def _finish(self) -> None:
        self._mark_saved()
        self._forget()

    def _mark_saved(self) -> None:
        """Mark a checkpoint if one was saved since the last look."""
        if any(_saved_last(saver) is not path for saver, path in self._savers):
            self._the_run.mark("checkpoint")
            self._savers = [(saver, _saved_last(saver)) for saver, _ in self._savers]

    def _come_after_savers(self) -> None:
        """Be the last to hear that the fit is over, if one of the savers saves only then."""
        if self._former_order is None and any(saver.at_end for saver, _ in self._savers):
            self._former_order, self.order = self.order, inf

    def _come_in_turn(self) -> None:
        if self._former_order is not None and not self._is_aside:
            self.order, self._former_order = self._former_order, None

    def _begin_epoch(self, batches: int | None = None) -> None:
        if not self._in_epoch:
            self._in_epoch = True
            self._the_run.begin_epoch(self.learn.epoch, batches=batches, epochs=self.learn.n_epoch)

    def _end_epoch(self) -> None:
        values, self._reported = self._reported, {}
        if values:  # it may not have begun, if its training was cancelled beforehand
            self._begin_epoch()
        if self._in_epoch:  # else it was skipped
            self._in_epoch = False
            mean = self._the_run.history.epoch_mean("loss")
            self._the_run.end_epoch(values if mean is None else {"loss": mean, **values})

    def _read_rates(self) -> dict[str, Any]:
        rates = {}
        for group, hypers in enumerate(self.learn.opt.hypers):
            for name in ("lr", "mom"):
                if name in hypers:
                    rates[_of_group(name, group) if group else name] = scalar(name, hypers[name])
        return rates

    def _new_loss(self) -> torch.Tensor | None:
        """Return the learner's loss, but None if it was asked for before: then it is not of this batch."""
        loss = self.learn.loss
        if loss is None or (self._seen is not None and loss is self._seen()):
            return None
        self._seen = ref(loss)
        return loss

    def _end_batch(self) -> None:
        """End the batch, if there is one of which anything is known."""
        if not self.learn.training:  # a validation was cancelled
            return
        values: dict[str, Any] = {}
        rates, self._rates = self._rates, {}
        if (loss := self._new_loss()) is not None:
            values["loss"] = scalar("loss", loss if loss.numel() == 1 else loss.detach().mean())  # as in the Recorder
        recorder = self._recorder
        if recorder is not None and recorder.losses:
            smoothed = recorder.losses[-1]
            # Before the Recorder's turn it is of the batch before.
            if smoothed is not self._smoothed and self.order > recorder.order:
                values["smooth_loss"] = scalar("smooth_loss", smoothed)
            self._smoothed = smoothed
        if values:
            self._the_run.batch_ended(values | rates, size=_samples(self.learn.yb))

    def _take(self, split: Split) -> None:
        """Take what the Recorder has logged at the end of this part of the epoch: nothing if that was cancelled."""
        if not self._is_watching:
            return
        log = self._log
        new, self._logged = log[self._logged :], len(log)
        for series, value in zip(self._columns[split], new, strict=False):
            for part, number in _numbers(value).items():
                name = series.name + part
                self._the_run.declare(
                    name, metric=series.metric + part, kind=series.kind, granularity="epoch", split=split
                )
                self._reported[name] = number


def _samples(targets: tuple[Any, ...]) -> int:
    """Return how many samples a batch has."""
    first = targets[0] if targets else None
    return int(first.shape[0]) if isinstance(first, torch.Tensor) and first.ndim else int(find_bs(targets))


def _saved_last(saver: Any) -> Any:
    # Not by `getattr`, which goes on to the learner.
    return vars(saver).get("last_saved_path")


def _of_group(name: str, group: int) -> str:
    return name if group == 0 else f"{name}_{group}"


def _columns(recorder: Recorder, metrics: Iterable[Any]) -> dict[Split, list[Series]]:
    """Return what a Recorder logs of an epoch's training and of its validation."""
    measured = ["loss", *(str(metric.name) for metric in metrics)]
    names = [str(name) for name in recorder.metric_names[1:]]  # without the epoch
    cut = len(measured) if recorder.train_metrics else 1
    parts: dict[Split, list[str]] = {"train": names[:cut], "validation": names[cut:]}
    columns: dict[Split, list[Series]] = {}
    taken = {"loss"}  # the mean over the epoch
    for split, part in parts.items():
        columns[split] = []
        for metric, name in zip(measured, part, strict=False):
            kind: Kind = "smoothed" if split == "train" and not columns[split] else "epoch"
            own = next(one for number in count() if (one := _of_group(name, number)) not in taken)
            taken.add(own)
            columns[split].append(Series(own, "epoch", kind, metric, split))
    return columns


def _numbers(value: Any) -> dict[str, float]:
    """Return a metric's number with an empty name, or each of its numbers with ``_0``, ``_1``, ...

    Without any there is nothing: fastai has None for the mean over no batches.
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
    if value is None or isinstance(value, (str, bytes)):
        return {}
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return {}
    if array.ndim == 0:
        return {"": float(array)}
    return {f"_{index}": float(number) for index, number in enumerate(array.flat)}


def _who_ended(error: BaseException | None) -> str:
    """Return what to mark where a fit was cancelled: the callback that did it."""
    found = None
    trace = None if error is None else error.__traceback__
    while trace is not None:
        caller = trace.tb_frame.f_locals.get("self")
        found = caller if isinstance(caller, Callback) else found
        trace = trace.tb_next
    who = "a callback" if found is None else type(found).__name__
    return "early stopping" if who == "EarlyStoppingCallback" else f"stopped by {who}"
