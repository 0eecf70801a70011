"""Hugging Face ``Trainer``: real models, real ``train``."""

from __future__ import annotations

import copy
import gc
import json
import math
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    EarlyStoppingCallback,
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

import epochwidget as ew
from epochwidget.callbacks.transformers import EpochCallback

from . import contract

pytestmark = pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.. before .optimizer.step:UserWarning")
torch.set_num_threads(1)

RNG = np.random.default_rng(0)
X = torch.from_numpy(RNG.normal(size=(10, 5)).astype("float32"))
Y = (X.sum(1, keepdim=True) > 0).float()
DATA = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]


class Classifier(torch.nn.Module):
    """A model that returns its loss, as a ``Trainer`` wants it."""

    main_input_name = "x"

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Dropout(dropout), torch.nn.Linear(8, 1))

    def forward(self, x: Any, labels: Any = None) -> dict[str, Any]:
        logits = self.net(x)
        if labels is None:
            return {"logits": logits}
        return {"loss": torch.nn.functional.binary_cross_entropy_with_logits(logits, labels), "logits": logits}


@pytest.fixture(autouse=True)
def _aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainer makes its output directory, whether it saves or not."""
    monkeypatch.chdir(tmp_path)


def arguments(**more: Any) -> TrainingArguments:
    usual = {
        "output_dir": "out",
        "per_device_train_batch_size": 2,
        "num_train_epochs": 2,
        "learning_rate": 0.05,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return TrainingArguments(**{**usual, **more})


def make(
    model: torch.nn.Module | None = None, data: Any = DATA, *, kind: type[Trainer] = Trainer, seed: int = 7, **more: Any
) -> Trainer:
    """Return a trainer; keywords of `Trainer` go to it, all others to its arguments."""
    own = ("compute_metrics", "compute_loss_func", "optimizers", "callbacks", "model_init", "data_collator")
    of_trainer = {name: more.pop(name) for name in own if name in more}
    evaluation = more.pop("eval_dataset", DATA[:6])
    set_seed(seed)
    model = Classifier() if model is None and "model_init" not in of_trainer else model
    return kind(model, arguments(**more), train_dataset=data, eval_dataset=evaluation, **of_trainer)


def attached(trainer: Trainer) -> EpochCallback:
    return EpochCallback.attach(trainer, bus=ew.Bus(strict=True))


class Linear(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = torch.nn.Linear(3, 1)
        for parameter in self.parameters():
            torch.nn.init.zeros_(parameter)

    def forward(self, x: Any, labels: Any) -> tuple[Any, ...]:
        prediction = self.dense(x)
        return torch.nn.functional.mse_loss(prediction, labels), prediction


def test_train_keeps_the_contract() -> None:
    model = Linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=contract.FIRST_RATE)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, contract.DECAY)
    rows = [{"x": x, "labels": y} for x, y in zip(contract.X, contract.Y, strict=True)]
    trainer = make(
        model,
        rows,
        eval_dataset=[{"x": x, "labels": y} for x, y in zip(contract.X_VAL, contract.Y_VAL, strict=True)],
        optimizers=(optimizer, scheduler),
        train_sampling_strategy="sequential",
        per_device_train_batch_size=contract.BATCH_SIZE,
        num_train_epochs=contract.EPOCHS,
        max_grad_norm=0,
        eval_strategy="epoch",
    )
    bus = contract.Recorder()
    callback = EpochCallback.attach(trainer, "linear", bus=bus)
    trainer.train()
    ours = contract.check(bus, validation="eval_loss")
    assert ours is callback.history
    assert set(ours.batch) == {"loss", "lr"}


def logged(trainer: Trainer, name: str) -> list[tuple[int, float]]:
    """Return what the trainer itself reports: the steps and the values."""
    return [(log["step"], log[name]) for log in trainer.state.log_history if name in log]


def ours(table: Any, name: str) -> list[tuple[int, float]]:
    return list(zip(table.steps(name).astype(int).tolist(), table[name].tolist(), strict=True))


def check_log_history(trainer: Trainer, history: ew.History) -> None:
    """Assert that everything in the trainer's own log is in ours at its step, and nothing in ours is made up."""
    window = "window_loss" if "window_loss" in history.batch else "loss"
    in_batches = {"loss": window, "grad_norm": "grad_norm"}
    times = {"runtime", "second", "flos", "epoch", "step", "seen"}
    names = {name for log in trainer.state.log_history for name in log if name.split("_")[-1] not in times}
    evaluated = {name for name in names if name.startswith("eval_")}
    for name in names - {"train_loss", "learning_rate"}:
        kept = ours(history.epoch, name) if name in evaluated else ours(history.batch, in_batches[name])
        theirs = logged(trainer, name)
        assert [step for step, _ in kept] == [step for step, _ in theirs], name
        assert [value for _, value in kept] == pytest.approx([value for _, value in theirs], rel=1e-6, nan_ok=True)
    rates = dict(ours(history.batch, "lr"))
    for step, rate in logged(trainer, "learning_rate"):
        assert rates[step] == pytest.approx(rate, rel=1e-6)
    assert set(history.epoch) - {"loss"} == evaluated


class Watch(TrainerCallback):
    """Calls a function at a hook."""

    def __init__(self, **hooks: Callable[..., object]) -> None:
        for name, hook in hooks.items():
            setattr(self, name, partial(self._call, hook))

    def _call(self, hook: Callable[..., object], args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        hook(state, **kwargs)


def llama() -> LlamaForCausalLM:
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=17, **sizes))


def sentences() -> list[dict[str, Any]]:
    """Tokens of which each sentence has another number to predict; nothing predicts the first."""
    tokens, at = torch.randint(17, (10, 8), generator=torch.Generator().manual_seed(0)), torch.arange(8)
    return [
        {"input_ids": row, "labels": torch.where((at > 0) & (at < 3 + index % 5), row, -100)}
        for index, row in enumerate(tokens)
    ]


def summed(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    loss = torch.nn.functional.binary_cross_entropy_with_logits(outputs["logits"], labels, reduction="sum")
    return loss / num_items_in_batch


class Indifferent(Classifier):
    """Takes the keywords of a loss, and is handed no labels by that name."""

    def forward(self, x: Any, target: Any, **kwargs: Any) -> dict[str, Any]:
        return super().forward(x, target)


class Heedless(Classifier):
    """Takes the keywords of a loss, and does not divide by the number of items."""

    def forward(self, x: Any, labels: Any, **kwargs: Any) -> dict[str, Any]:
        return super().forward(x, labels)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("case", ["plain", "items", "function", "keywords"])
def test_the_loss_is_that_of_the_step_under_gradient_accumulation(case: str, size: int) -> None:
    """By hand: of the weights before each step, over all of its micro-batches, of which the last step has fewer."""
    model, data, more = Classifier(dropout=0), DATA, {}
    if case == "items":
        model, data = llama(), sentences()
    elif case == "function":
        more["compute_loss_func"] = summed
    elif case == "keywords":
        model, data = Indifferent(dropout=0), [{"x": row["x"], "target": row["labels"]} for row in DATA]
        more["label_names"] = ["target"]
    before: list[torch.nn.Module] = []
    trainer = make(
        model,
        data,
        eval_dataset=None,
        train_sampling_strategy="sequential",
        per_device_train_batch_size=size,
        gradient_accumulation_steps=2,
        logging_steps=1,
        callbacks=[Watch(on_step_begin=lambda state, model, **_: before.append(copy.deepcopy(model)))],
        **more,
    )
    watch = attached(trainer)
    trainer.train()

    micro = [data[start : start + size] for start in range(0, 10, size)]
    steps = [micro[start : start + 2] for start in range(0, len(micro), 2)] * 2
    expected = []
    for weights, step in zip(before, steps, strict=True):
        batches = step
        if case in ("items", "function"):  # the mean over all that is predicted in the step
            batches = [[row for batch in step for row in batch]]
        losses = []
        for batch in batches:
            rows = {name: torch.stack([row[name] for row in batch]) for name in batch[0]}
            with torch.no_grad():
                losses.append(float(weights(**rows)["loss"]))
        expected.append(np.mean(losses))
    history = watch.history
    assert history.batch["loss"] == pytest.approx(expected, rel=1e-5)
    assert history.batch["loss"] == pytest.approx([value for _, value in logged(trainer, "loss")], rel=1e-6)
    samples = [sum(len(batch) for batch in batches) for batches in steps]
    half = len(steps) // 2
    means = [np.average(expected[:half], weights=samples[:half]), np.average(expected[half:], weights=samples[half:])]
    assert history.epoch["loss"] == pytest.approx(means, rel=1e-5)
    check_log_history(trainer, history)


def test_a_model_that_does_not_heed_the_number_of_items_is_told_as_it_is_trained() -> None:
    """Transformers leaves the division to such a model: the gradient is that of the sum, and the log says the same."""
    trainer = make(
        Heedless(dropout=0), train_sampling_strategy="sequential", gradient_accumulation_steps=5, logging_steps=1
    )
    watch = attached(trainer)
    trainer.train()
    check_log_history(trainer, watch.history)
    with torch.no_grad():
        mean = float(make(Heedless(dropout=0)).model(X, Y)["loss"])
    assert watch.history.batch["loss"][0] == pytest.approx(5 * mean, rel=1e-5)
    assert watch.history.batch["loss"].tolist() == pytest.approx(watch.history.batch["window_loss"].tolist())


def test_every_step_has_its_loss_before_the_trainer_logs_any() -> None:
    trainer = make(num_train_epochs=3)
    watch = attached(trainer)
    trainer.train()
    assert not logged(trainer, "loss")
    assert watch.history.batch.steps("loss").tolist() == list(range(1, 16))
    assert watch.history.batch.series("loss").kind == "batch"
    assert np.mean(watch.history.batch["loss"]) == pytest.approx(logged(trainer, "train_loss")[0][1], rel=1e-6)


def test_without_the_trainer_the_loss_is_the_logged_one() -> None:
    """Of kind ``window`` at the steps where it was logged; the summary's ``train_loss`` is of no step."""
    watch = EpochCallback(bus=ew.Bus(strict=True))
    trainer = make(callbacks=[watch], logging_steps=3, eval_strategy="epoch")
    trainer.train()
    history = watch.history
    assert history.batch.steps("loss").tolist() == [3, 6, 9]
    said = history.batch.series("loss")
    assert (said.kind, said.metric, said.split) == ("window", "loss", "train")
    assert set(history.batch) == {"loss", "grad_norm", "lr", "lr_1"}
    assert set(history.epoch) == {"eval_loss"}
    assert history.batch.steps("lr").tolist() == list(range(1, 11))
    check_log_history(trainer, history)


class Target(torch.nn.Module):
    """A loss that is its target, and the weights stay as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = torch.nn.Linear(5, 1)

    def forward(self, x: Any, labels: Any) -> dict[str, Any]:
        return {"loss": (labels + 0 * self.dense(x)).mean()}


def test_nan_is_nan_where_the_trainer_logs_zero() -> None:
    losses = [1.0, math.nan, 3.0, math.inf, 5.0]
    data = [{"x": torch.ones(5), "labels": torch.tensor([loss])} for loss in losses]
    trainer = make(Target(), data, train_sampling_strategy="sequential", per_device_train_batch_size=1, logging_steps=1)
    watch = attached(trainer)
    trainer.train()
    assert [value for _, value in logged(trainer, "loss")] == [1, 0, 3, 0, 5] * 2
    assert np.array_equal(watch.history.batch["loss"], losses * 2, equal_nan=True)
    assert watch.history.batch["window_loss"].tolist() == [1, 0, 3, 0, 5] * 2
    assert np.isnan(watch.history.epoch["loss"]).all()


def accuracy(outputs: Any) -> dict[str, float]:
    return {"accuracy": float(((outputs.predictions > 0) == outputs.label_ids).mean())}


@pytest.mark.parametrize(
    "how",
    [
        {"eval_strategy": "epoch", "logging_strategy": "epoch"},
        {"eval_strategy": "steps", "eval_steps": 2, "logging_steps": 2},
        {"eval_strategy": "steps", "eval_steps": 5, "logging_strategy": "epoch"},
        {"eval_strategy": "epoch", "logging_steps": 1, "eval_on_start": True, "max_grad_norm": 0.1},
        {"eval_strategy": "steps", "eval_steps": 3, "logging_steps": 2, "gradient_accumulation_steps": 2},
        {"eval_strategy": "epoch", "logging_steps": 0.3, "logging_first_step": True, "num_train_epochs": 1.5},
        {
            "eval_strategy": "steps",
            "eval_steps": 3,
            "max_steps": 7,
            "logging_steps": 2,
            "include_num_input_tokens_seen": "all",
        },
    ],
    ids=str,
)
@pytest.mark.parametrize("plain", [False, True], ids=["attached", "plain"])
def test_what_the_trainer_logs_is_in_the_history_at_its_step(how: dict[str, Any], plain: bool) -> None:
    """The same steps and values as in ``log_history``, evaluations in the midst of an epoch included, each once."""
    trainer = make(compute_metrics=accuracy, **how)
    watch = EpochCallback(bus=ew.Bus(strict=True))
    if plain:
        trainer.add_callback(watch)
    else:
        watch = attached(trainer)
    trainer.train()
    history = watch.history
    check_log_history(trainer, history)
    for name, metric in (("eval_loss", "loss"), ("eval_accuracy", "accuracy")):
        said = history.epoch.series(name)
        assert (said.metric, said.split, said.kind) == (metric, "validation", "epoch")
    assert not [name for name in (*history.batch, *history.epoch) if "runtime" in name or "second" in name]
    if how.get("eval_on_start"):
        assert history.epoch.epochs("eval_loss").tolist() == [0, 0, 1]
        assert history.epoch.steps("eval_loss").tolist() == [0, 5, 10]


def test_evaluations_in_the_midst_of_an_epoch_are_told_as_such() -> None:
    bus = contract.Recorder()
    trainer = make(eval_strategy="steps", eval_steps=2)
    EpochCallback.attach(trainer, bus=bus)
    trainer.train()
    told = [
        (event.epoch, event.step, "eval_loss" in event.values)
        for event in bus.events
        if isinstance(event, ew.Evaluated)
    ]
    assert told == [(0, 2, True), (0, 4, True), (1, 6, True), (1, 8, True)]
    ended = [(event.step, sorted(event.values)) for event in bus.events if isinstance(event, ew.EpochEnded)]
    assert ended == [(5, ["loss"]), (10, ["eval_loss", "loss"])]


def test_several_evaluation_sets_have_a_series_each() -> None:
    sets = {"a": DATA[:4], "b": DATA[4:], "train": DATA}
    trainer = make(eval_dataset=sets, compute_metrics=accuracy, eval_strategy="epoch")
    watch = attached(trainer)
    trainer.train()
    check_log_history(trainer, watch.history)
    series = {name: watch.history.epoch.series(name) for name in watch.history.epoch}
    assert set(series) == {"loss"} | {f"eval_{one}_{metric}" for one in sets for metric in ("loss", "accuracy")}
    assert {(name, one.split) for name, one in series.items() if one.metric == "loss"} == {
        ("loss", "train"),
        ("eval_a_loss", "validation"),
        ("eval_b_loss", "validation"),
        ("eval_train_loss", "train"),
    }


def test_an_evaluation_on_the_training_set_is_no_summary() -> None:
    """Many evaluate the training set, too, under ``train_``; the summary at the end has the same names."""
    trainer = make(eval_strategy="epoch")
    trainer.add_callback(Watch(on_epoch_end=lambda state, **_: trainer.evaluate(DATA, metric_key_prefix="train")))
    watch = attached(trainer)
    trainer.train()
    evaluated = [log for log in trainer.state.log_history if "train_loss" in log and "total_flos" not in log]
    assert watch.history.epoch["train_loss"] == pytest.approx([log["train_loss"] for log in evaluated])
    assert watch.history.epoch.series("train_loss") == ew.Series("train_loss", "epoch", "epoch", "loss", "train")
    assert len(evaluated) == 2


def test_values_that_a_training_step_logs_itself_are_reported_values_of_that_step() -> None:
    class Logs(Trainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            if self.model.training:
                self.log({"share": float(self.state.global_step), "train_share": 0.5, "text": "no number"})
            return super().compute_loss(model, inputs, *args, **kwargs)

    trainer = make(kind=Logs)
    watch = attached(trainer)
    trainer.train()
    batch = watch.history.batch
    assert ours(batch, "share") == [(step + 1, step) for step in range(10)]
    assert batch.series("share").kind == batch.series("train_share").kind == "reported"
    assert batch.series("train_share").metric == "share"
    assert "text" not in batch


class Endless(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    """Data that do not know their length."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(DATA)


@pytest.mark.parametrize(
    ("how", "spans", "planned"),
    [
        ({}, [(0, 0, 5), (1, 5, 5)], [(5, 2), (5, 2)]),
        ({"num_train_epochs": 1.5}, [(0, 0, 5), (1, 5, 3)], [(5, 2), (3, 2)]),
        ({"max_steps": 7}, [(0, 0, 5), (1, 5, 2)], [(5, 2), (2, 2)]),
        ({"max_steps": 3}, [(0, 0, 3)], [(3, 1)]),
        ({"gradient_accumulation_steps": 2}, [(0, 0, 3), (1, 3, 3)], [(3, 2), (3, 2)]),
        ({"data": Endless(), "max_steps": 12}, [(0, 0, 5), (1, 5, 5), (2, 10, 2)], [(None, None), (5, 3), (2, 3)]),
    ],
    ids=str,
)
def test_epochs_begin_and_end_where_the_trainer_s_do(how: dict[str, Any], spans: Any, planned: Any) -> None:
    bus = contract.Recorder()
    steps: list[tuple[int, int]] = []
    trainer = make(**how)
    watch = EpochCallback.attach(trainer, bus=bus)
    # Another step begins when the one before has been told.
    trainer.add_callback(Watch(on_step_begin=lambda state, **_: steps.append((state.global_step, watch.history.step))))
    trainer.train()
    assert [one for one, _ in steps] == [other for _, other in steps]
    assert watch.history.step == trainer.state.global_step
    assert [(span.epoch, span.first, span.batches) for span in watch.history.spans] == spans
    begun = [(event.batches, event.epochs) for event in bus.events if isinstance(event, ew.EpochStarted)]
    assert begun == planned
    assert sum(isinstance(event, ew.EpochEnded) for event in bus.events) == len(spans)
    assert watch.history.status == "completed"
    assert not watch.history.marks


def test_micro_batches_that_end_an_epoch_without_a_step_are_of_no_step() -> None:
    """Where the length is unknown the trainer adds them to the next step's log, which then is no mean."""
    trainer = make(
        Classifier(dropout=0), Endless(), max_steps=4, gradient_accumulation_steps=2, learning_rate=0, logging_steps=1
    )
    watch = attached(trainer)
    trainer.train()
    batch = watch.history.batch
    assert batch["loss"][2:] == pytest.approx(batch["loss"][:2])
    assert batch["window_loss"][2] > batch["window_loss"][0] + 0.1
    check_log_history(trainer, watch.history)


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("at", [3, 5, 8])
def test_a_resumed_training_goes_on_in_its_epoch(at: int, skip: bool) -> None:
    how = {
        "num_train_epochs": 3,
        "logging_steps": 2,
        "eval_strategy": "epoch",
        "train_sampling_strategy": "sequential",
        "save_steps": at,
    }
    whole = make(Classifier(dropout=0), save_strategy="steps", **how)
    first = attached(whole)
    whole.train()
    rest = make(Classifier(dropout=0), ignore_data_skip=not skip, **how)
    watch = attached(rest)
    rest.train(resume_from_checkpoint=f"out/checkpoint-{at}")
    history = watch.history
    assert rest.state.global_step == 15
    assert history.step == 15 - at
    assert [(mark.step, mark.text) for mark in history.marks] == [(0, f"resumed after step {at}")]
    begun = at // 5
    assert [span.epoch for span in history.spans] == list(range(begun, 3))
    assert history.epochs == 3
    if skip:
        assert history.spans[0].batches == 5 * (begun + 1) - at
        assert history.batch["loss"] == pytest.approx(first.history.batch["loss"][at:], rel=1e-5)
        assert history.epoch["loss"][1:] == pytest.approx(first.history.epoch["loss"][begun + 1 :], rel=1e-5)
        assert history.epoch["eval_loss"] == pytest.approx(first.history.epoch["eval_loss"][begun:], rel=1e-5)
        assert history.epoch.epochs("eval_loss").tolist() == list(range(begun, 3))
        theirs = [(step - at, value) for step, value in logged(rest, "loss") if step > at]
        assert ours(history.batch, "window_loss") == theirs


def test_nothing_is_left_to_resume_of_a_training_that_was_complete() -> None:
    make(save_strategy="epoch").train()
    trainer = make()
    watch = attached(trainer)
    trainer.train(resume_from_checkpoint="out/checkpoint-10")
    assert watch.history.status == "completed"
    assert (watch.history.step, watch.history.spans) == (0, [])


def test_evaluate_and_predict_are_no_runs() -> None:
    trainer = make()
    watch = attached(trainer)
    trainer.evaluate()
    trainer.predict(DATA)
    assert len(watch._bus.runs) == 0
    with pytest.raises(AttributeError, match=r"trainer\.train"):
        _ = watch.history
    trainer.train()
    ended = pickle.dumps((watch.history.batch, watch.history.epoch, watch.history.spans))
    trainer.evaluate()
    trainer.predict(DATA)
    assert len(watch._bus.runs) == 1
    assert pickle.dumps((watch.history.batch, watch.history.epoch, watch.history.spans)) == ended


def test_a_second_train_is_a_second_run() -> None:
    trainer = make(num_train_epochs=1)
    watch = attached(trainer)
    trainer.train()
    first = watch.history
    trainer.args.num_train_epochs = 3
    trainer.train()
    assert [history.status for history in watch._bus.runs] == ["completed", "completed"]
    assert (first.step, watch.history.step) == (5, 15)
    assert watch.history.epochs == 3


def test_checkpoints_are_marked_where_they_were_saved() -> None:
    trainer = make(save_strategy="steps", save_steps=4, num_train_epochs=1)
    watch = attached(trainer)
    trainer.train()
    saved = [(mark.step, mark.text) for mark in watch.history.marks]
    assert saved == [(4, "checkpoint"), (watch.history.step, "checkpoint")]


def test_early_stopping_and_the_best_weights_are_marked() -> None:
    trainer = make(
        num_train_epochs=9,
        learning_rate=1e-9,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        callbacks=[EarlyStoppingCallback(2, early_stopping_threshold=1)],
    )
    watch = attached(trainer)
    trainer.train()
    history = watch.history
    assert (history.status, history.step, len(history.spans)) == ("completed", 15, 3)
    best = trainer.state.best_global_step
    assert [(mark.step, mark.text) for mark in history.marks] == [
        (5, "checkpoint"),
        (10, "checkpoint"),
        (15, "checkpoint"),
        (15, "stopped early"),
        (best, "weights restored from here"),
    ]
    check_log_history(trainer, history)


class Fails(Classifier):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error, self.calls = error, 0

    def forward(self, x: Any, labels: Any) -> dict[str, Any]:
        self.calls += 1
        if self.calls == 4:
            raise self.error
        return super().forward(x, labels)


ERRORS = pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("no such token"), "failed"), (KeyboardInterrupt(), "stopped"), (SystemExit(1), "stopped")],
    ids=["ValueError", "KeyboardInterrupt", "SystemExit"],
)


@ERRORS
def test_what_ends_a_training_step_ends_the_run_at_once(error: BaseException, status: str) -> None:
    trainer = make(Fails(error))
    watch = attached(trainer)
    with pytest.raises(type(error)):
        trainer.train()
    history = watch.history
    assert history.status == status
    assert history.error is not None
    assert type(error).__name__ in history.error
    assert history.batch.steps("loss").tolist() == [1, 2, 3]
    assert "training_step" not in vars(trainer)
    assert len(history.epoch) == 0


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """An IPython of our own, as a notebook has one."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    made = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    yield made
    made.reset()
    made.restore_sys_module_state()
    InteractiveShell.clear_instance()


@ERRORS
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("where", ["callback", "evaluation"])
def test_what_ends_a_cell_ends_the_run_with_all_that_was_told(
    error: BaseException, status: str, where: str, shell: InteractiveShell
) -> None:
    """No hook tells of an error elsewhere; the end of the notebook's cell does."""

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    more: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 3}
    if where == "callback":
        more["callbacks"] = [Watch(on_step_begin=lambda state, **_: state.global_step == 3 and fail())]
    else:
        more["compute_metrics"] = fail
    trainer = make(**more)
    watch = attached(trainer)
    shell.push({"trainer": trainer})
    assert isinstance(shell.run_cell("trainer.train()").error_in_exec, type(error))
    history = watch.history
    assert history.status == status
    assert history.batch.steps("loss").tolist() == [1, 2, 3]
    assert ("eval_loss" in history.epoch) == (where == "callback")
    assert "training_step" not in vars(trainer)


def test_a_train_after_an_exception_closes_the_run_that_no_hook_did() -> None:
    watch = EpochCallback(bus=ew.Bus(strict=True))
    trainer = make(Fails(ValueError("no such token")), callbacks=[watch])
    with pytest.raises(ValueError, match="no such token"):
        trainer.train()
    failed = watch.history
    assert failed.status == "running"
    trainer.train()
    assert failed.status == "stopped"
    assert failed.step == 3
    assert watch.history.status == "completed"


def state_of(trainer: Trainer, checkpoint: str) -> dict[str, Any]:
    """Return what the trainer has saved, without what depends on the time."""
    state = json.loads(Path(checkpoint, "trainer_state.json").read_text())
    for log in state["log_history"]:
        for name in [name for name in log if "runtime" in name or "second" in name]:
            del log[name]
    return state


def test_watching_changes_nothing() -> None:
    """Weights, optimizer, log and saved state are bit for bit the same, and the trainer's methods are its own."""
    outcomes = []
    config = BertConfig(vocab_size=17, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    data = [{"input_ids": row["input_ids"], "labels": index % 2} for index, row in enumerate(sentences())]
    for how in ("bare", "plain", "attached"):
        set_seed(3)
        trainer = make(
            BertForSequenceClassification(config),
            data,
            eval_dataset=data,
            output_dir=how,
            gradient_accumulation_steps=2,
            eval_strategy="epoch",
            save_strategy="epoch",
            logging_steps=2,
            callbacks=[EpochCallback(bus=ew.Bus(strict=True))] if how == "plain" else None,
        )
        if how == "attached":
            attached(trainer)
        trainer.train()
        assert "training_step" not in vars(trainer)
        weights = [parameter.detach().numpy() for parameter in trainer.model.parameters()]
        moments = [one for state in trainer.optimizer.state_dict()["state"].values() for one in state.values()]
        drawn = torch.rand(3).tolist()
        outcomes.append((weights, moments, drawn, state_of(trainer, f"{how}/checkpoint-6")))
    bare = outcomes[0]
    for other in outcomes[1:]:
        for kind in (0, 1):
            assert all(np.array_equal(a, b) for a, b in zip(bare[kind], other[kind], strict=True))
        assert other[2] == bare[2]
        assert other[3] == bare[3]


def test_no_value_is_read_while_steps_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would make a processor wait for its device is read when an epoch has ended."""
    trainer = make(eval_strategy="epoch")
    watch = attached(trainer)
    reads = contract.note_reads(monkeypatch, watch._bus)
    trainer.train()
    monkeypatch.undo()
    steps = watch.history.step // 2
    # The last step of an epoch is told when the evaluation was made, whose series is declared first.
    assert set(reads) <= {steps - 1, steps, 2 * steps}
    assert len(watch.history.batch["loss"]) == 2 * steps > 8


def test_the_learning_rate_is_the_one_each_step_used() -> None:
    """Read from the weights: parameters whose gradient is 1 move by the rate of their group."""

    class Falling(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = (torch.nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in range(2))

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            return {"loss": (self.a + self.b).sum()}

    for how in (
        {"lr_scheduler_type": "cosine", "warmup_steps": 3},
        {"lr_scheduler_type": "linear", "gradient_accumulation_steps": 2},
        {
            "lr_scheduler_type": "reduce_lr_on_plateau",
            "lr_scheduler_kwargs": {"patience": 0, "threshold": 1e9},
            "eval_strategy": "epoch",
            "metric_for_best_model": "loss",
        },
    ):
        model = Falling()
        optimizer = torch.optim.SGD([{"params": [model.a], "lr": 0.5}, {"params": [model.b], "lr": 0.25}])
        seen = [(0.0, 0.0)]

        def look(state: Any, model: Any, seen: list[tuple[float, float]] = seen, **_: Any) -> None:
            seen.append((model.a.item(), model.b.item()))

        trainer = make(
            model,
            optimizers=(optimizer, None),
            max_grad_norm=0,
            logging_steps=1,
            callbacks=[Watch(on_step_end=look)],
            **how,
        )
        watch = attached(trainer)
        trainer.train()
        used = -np.diff(seen, axis=0)
        assert len(set(used[:, 0].round(6))) > 1
        assert watch.history.batch["lr"] == pytest.approx(used[:, 0])
        assert watch.history.batch["lr_1"] == pytest.approx(used[:, 1])
        check_log_history(trainer, watch.history)


def test_an_optimizer_without_a_rate_is_trained_all_the_same() -> None:
    class Rateless(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                group["lr"] = 0.1
            super().step(closure)
            for group in self.param_groups:
                group["lr"] = None

    model = Classifier()
    optimizer = Rateless(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1)
    scheduler.step = lambda *_: optimizer.param_groups[0].update(lr=None)  # type: ignore[method-assign]
    optimizer.param_groups[0]["lr"] = None
    trainer = make(model, optimizers=(optimizer, scheduler), logging_steps=2)
    watch = attached(trainer)
    trainer.train()
    # Then the rate that is logged is all there is.
    assert ours(watch.history.batch, "lr") == logged(trainer, "learning_rate")
    assert len(watch.history.batch["loss"]) == 10


def test_a_training_step_of_the_person_s_own_is_told_as_the_trainer_counts_it() -> None:
    class Doubled(Trainer):
        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            return 2 * super().training_step(*args, **kwargs)

    trainer = make(kind=Doubled, logging_steps=1)
    patched = trainer.training_step
    trainer.training_step = lambda *args, **kwargs: patched(*args, **kwargs) + 1
    its_own = trainer.training_step
    watch = attached(trainer)
    trainer.train()
    assert trainer.training_step is its_own
    assert watch.history.batch["loss"] == pytest.approx([value for _, value in logged(trainer, "loss")], rel=1e-6)


def test_copies_of_a_callback_watch_on_their_own() -> None:
    trainer = make(num_train_epochs=1)
    watch = attached(trainer)
    trainer.train()
    for copied in (copy.deepcopy(watch), pickle.loads(pickle.dumps(watch))):
        with pytest.raises(AttributeError, match="no history yet"):
            _ = copied.history
        other = make(num_train_epochs=1, callbacks=[copied], logging_steps=2)
        other.train()
        assert copied.history.batch.steps("loss").tolist() == [2, 4]
    assert copy.deepcopy(watch)._bus is watch._bus
    assert len(watch.history.batch["loss"]) == 5
    assert isinstance(pickle.loads(pickle.dumps(EpochCallback("named"))), EpochCallback)


def test_a_copied_trainer_does_not_tell_the_callback_of_the_other() -> None:
    trainer = make(num_train_epochs=1, logging_steps=2)
    watch = attached(trainer)
    copied = copy.deepcopy(trainer)
    copied.train()
    assert len(watch._bus.runs) == 1
    with pytest.raises(AttributeError, match="no history yet"):
        _ = watch.history
    trainer.train()
    assert len(watch.history.batch["loss"]) == 5


def test_a_watched_trainer_is_freed_with_its_last_name() -> None:
    """Its memory, as that of an accelerator, comes back without the garbage collector."""
    trainer = make(num_train_epochs=1)
    watch = attached(trainer)
    trainer.train()
    model = weakref.ref(trainer.model)
    gc.collect()
    gc.disable()
    try:
        del trainer
        assert model() is None
    finally:
        gc.enable()
    assert len(watch.history.batch["loss"]) == 5


def test_attaching_again_replaces_the_callback() -> None:
    """As when a notebook's cell is run again: one train is one run."""
    bus = ew.Bus(strict=True)
    trainer = make(num_train_epochs=1, callbacks=[EpochCallback(bus=bus)])
    EpochCallback.attach(trainer, bus=bus)
    watch = EpochCallback.attach(trainer, "third", bus=bus)
    trainer.train()
    assert [history.name for history in bus.runs] == ["third"]
    assert watch.history.batch.steps("loss").tolist() == [1, 2, 3, 4, 5]
    trainer.remove_callback(watch)
    trainer.train()
    assert len(bus.runs) == 1


def test_a_run_is_named_after_the_arguments_or_the_model() -> None:
    names = []
    for how in ({}, {"run_name": "first try"}):
        trainer = make(max_steps=1, **how)
        watch = attached(trainer)
        trainer.train()
        names.append(watch.history.name)
    assert names == ["Classifier", "first try"]


def test_only_the_first_process_tells() -> None:
    def second(state: Any, **_: Any) -> None:
        state.is_world_process_zero = False

    bus = ew.Bus(strict=True)
    trainer = make(callbacks=[Watch(on_train_begin=second)], eval_strategy="epoch", logging_steps=1)
    EpochCallback.attach(trainer, bus=bus)
    trainer.train()
    assert len(bus.runs) == 0


def test_the_table_of_notebooks_takes_no_value_away(capsys: pytest.CaptureFixture[str]) -> None:
    """Transformers' notebook callback empties the metrics of what it does not show, wherever it stands."""
    from transformers.utils.notebook import NotebookProgressCallback

    for first in (True, False):
        trainer = make(eval_strategy="epoch", logging_steps=2, compute_metrics=accuracy)
        if first:
            trainer.add_callback(NotebookProgressCallback)
        watch = attached(trainer)
        if not first:
            trainer.add_callback(NotebookProgressCallback)
        trainer.train()
        check_log_history(trainer, watch.history)
        trainer.remove_callback(NotebookProgressCallback)
    assert "HTML" in capsys.readouterr().out


def test_bad_arguments_are_refused_in_one_sentence() -> None:
    with pytest.raises(TypeError, match=r"EpochCallback\(\) does not know 'nane' \(did you mean 'name'\?\)"):
        EpochCallback(nane="x")
    with pytest.raises(ValueError, match="name of a run is empty"):
        EpochCallback(" ")
    with pytest.raises(TypeError, match=r"attach\(\) needs a transformers\.Trainer, got"):
        EpochCallback.attach(torch.nn.Linear(1, 1))
    trainer = make()
    with pytest.raises(TypeError, match="does not know 'nane'"):
        EpochCallback.attach(trainer, nane="x")
    assert not any(isinstance(one, EpochCallback) for one in trainer.callback_handler.callbacks)


def test_another_version_is_refused_by_name() -> None:
    code = "import transformers; transformers.__version__ = '4.57.6'; import epochwidget.callbacks.transformers"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(ew.__file__).parents[1]
    )
    assert done.returncode == 1
    assert "epochwidget needs transformers 5 or newer, but below 6; 4.57.6 is installed" in done.stderr


def test_a_resumed_training_may_go_on_in_the_former_run() -> None:
    how = {"eval_strategy": "epoch", "save_strategy": "epoch"}
    whole = make(num_train_epochs=3, **how)
    first = attached(whole)
    whole.train()
    history, bus = first.history, first._bus
    before = history.batch["loss"]
    rest = make(num_train_epochs=4, load_best_model_at_end=True, **how)
    again = EpochCallback.attach(rest, bus=bus, resume=history, epoch=2)
    rest.train(resume_from_checkpoint="out/checkpoint-10")
    assert again.history is history
    assert len(bus.runs) == 1
    assert history.epoch.epochs("eval_loss").tolist() == [0, 1, 2, 3]
    assert history.epoch.steps("eval_loss").tolist() == [5, 10, 15, 20]
    assert history.batch.steps("loss").tolist() == list(range(1, 21))
    assert history.batch["loss"][:10].tolist() == before[:10].tolist()
    assert [(mark.text, mark.step) for mark in history.marks if mark.text != "checkpoint"] == [
        ("resumed after step 10", 10),
        ("weights restored from here", rest.state.best_global_step),
    ]
    assert (history.status, history.epochs) == ("completed", 4)
