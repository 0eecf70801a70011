"""Keras 3: real models, real ``fit``."""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import os
import pickle
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest

import epochwidget as ew
from epochwidget.callbacks import keras as adapter
from epochwidget.callbacks.keras import EpochCallback, _WatchedStep

from . import contract

BACKEND = keras.backend.backend()
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="of Keras on TensorFlow alone")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 5)).astype("float32")
Y = (X.sum(1) > 0).astype("float32")


def classifier(
    *, rate: Any = 0.05, metrics: list[Any] | None = None, dropout: float = 0.3, **compile_: Any
) -> keras.Model:
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(8, "relu", kernel_regularizer="l2"),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(rate),
        "binary_crossentropy",
        metrics=["accuracy", keras.metrics.AUC(name="auc"), keras.metrics.Precision(name="precision")]
        if metrics is None
        else metrics,
        **compile_,
    )
    return model


def callback() -> EpochCallback:
    return EpochCallback(bus=ew.Bus(strict=True))


def test_fit_keeps_the_contract() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    rate = keras.optimizers.schedules.ExponentialDecay(contract.FIRST_RATE, 1, contract.DECAY)
    model.compile(keras.optimizers.SGD(rate), "mse")
    bus = contract.Recorder()
    history = model.fit(
        contract.X,
        contract.Y,
        batch_size=contract.BATCH_SIZE,
        epochs=contract.EPOCHS,
        shuffle=False,
        validation_data=(contract.X_VAL, contract.Y_VAL),
        verbose=0,
        callbacks=[EpochCallback("linear", bus=bus)],
    ).history
    ours = contract.check(bus)
    assert ours.epoch["loss"].tolist() == history["loss"]
    assert ours.epoch["val_loss"].tolist() == history["val_loss"]
    assert ours.batch["running_loss"] == pytest.approx(contract.truth().running, rel=2e-6)
    assert ours.batch.series("running_loss").kind == "running"


@pytest.mark.parametrize(
    ("sample_weight", "class_weight"),
    [(None, None), (RNG.uniform(0.1, 3, size=100), None), (None, {0: 5.0, 1: 0.2})],
    ids=["plain", "sample_weight", "class_weight"],
)
def test_batch_values_running_mean_and_history_reconcile(sample_weight: Any, class_weight: Any) -> None:
    """The batch values are those of a training by hand, their running mean is the console's, its end is History's."""
    # Without dropout, whose draws are not the same in `fit` and by hand.
    model, watch = classifier(dropout=0), callback()
    kept = model.fit(
        X,
        Y,
        batch_size=32,
        epochs=2,
        shuffle=False,
        sample_weight=sample_weight,
        class_weight=class_weight,
        verbose=0,
        callbacks=[watch],
    ).history
    own, running = watch.history.batch["loss"], watch.history.batch["running_loss"]

    by_hand = classifier(dropout=0)
    expected = {name: [] for name in ("loss", "accuracy", "auc", "precision")}
    for _ in range(2):
        for start in range(0, 100, 32):
            rows = slice(start, start + 32)
            by_hand.reset_metrics()
            logs = by_hand.train_on_batch(
                X[rows],
                Y[rows],
                sample_weight=None if sample_weight is None else sample_weight[rows],
                class_weight=class_weight,
                return_dict=True,
            )
            for name, values in expected.items():
                values.append(float(logs[name]))
    for name, values in expected.items():
        assert watch.history.batch[name] == pytest.approx(values, rel=1e-5, abs=1e-6), name

    sizes = np.array([32, 32, 32, 4])
    for epoch in range(2):
        batches = slice(4 * epoch, 4 * epoch + 4)
        mean = (own[batches] * sizes).cumsum() / sizes.cumsum()
        assert running[batches] == pytest.approx(mean, rel=1e-6)
        assert running[batches][-1] == pytest.approx(kept["loss"][epoch], rel=1e-6)
    for name, values in kept.items():
        assert watch.history.epoch[name] == pytest.approx(values, rel=1e-6), name


@pytest.mark.parametrize("keyed", [True, False], ids=["dict", "list"])
@pytest.mark.parametrize("how", [{}, {"run_eagerly": True}], ids=str)
def test_several_outputs_have_their_own_losses(keyed: bool, how: dict[str, Any]) -> None:
    """Each output's loss is the batch's own too, from the first batch on, and the total is their weighted sum."""

    def fit(*callbacks: Any) -> tuple[dict[str, Any], list[Any]]:
        keras.utils.set_random_seed(3)
        inputs = keras.Input((5,))
        outputs = {name: keras.layers.Dense(1, name=name)(inputs) for name in ("a", "b")}
        model = keras.Model(inputs, outputs if keyed else list(outputs.values()))
        both = {"a": "mse", "b": "mae"}
        weights = {"a": 1, "b": 2}
        metrics = {"a": ["mae"], "b": ["mse"]}
        if keyed:
            model.compile("sgd", both, loss_weights=weights, metrics=metrics, **how)
        else:
            model.compile("sgd", [*both.values()], loss_weights=[*weights.values()], metrics=[*metrics.values()], **how)
        target = {"a": Y, "b": 1 - Y} if keyed else [Y, 1 - Y]
        kept = model.fit(
            X, target, batch_size=32, epochs=2, shuffle=False, verbose=0, callbacks=list(callbacks)
        ).history
        return kept, model.get_weights()

    watch = callback()
    kept, weights = fit(watch)
    plain, plain_weights = fit()
    assert kept == plain
    assert all(np.array_equal(one, other) for one, other in zip(weights, plain_weights, strict=True))
    batch = watch.history.batch
    assert {name: len(batch[name]) for name in kept} == dict.fromkeys(kept, 8)
    assert batch["loss"] == pytest.approx(batch["a_loss"] + 2 * batch["b_loss"], rel=1e-5)
    assert batch["a_mae"][3] != pytest.approx(batch["running_a_mae"][3], rel=1e-3)


def test_what_cannot_be_watched_is_trained_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """Should Keras change under us, the training goes on and the running means remain."""
    model, watch = classifier(), callback()
    model.make_train_function()
    watched = _WatchedStep.on(model)
    assert watched is not None
    watched._tape.write = None  # type: ignore[method-assign,assignment]  # no function any more
    kept = model.fit(X, Y, batch_size=32, epochs=1, verbose=0, callbacks=[watch]).history
    assert "the training goes on" in caplog.text
    assert watch.history.batch["running_loss"][-1] == pytest.approx(kept["loss"][0])
    assert "loss" not in watch.history.batch


def test_watching_changes_nothing() -> None:
    """Weights, optimizer and History are bit for bit the same; the model's own train function comes back."""
    outcomes = []
    for callbacks in ([], [callback()]):
        model = classifier(rate=keras.optimizers.schedules.CosineDecay(0.05, 8))
        kept = model.fit(X, Y, batch_size=32, epochs=3, validation_split=0.2, verbose=0, callbacks=callbacks).history
        variables = [*model.get_weights(), *(np.asarray(v) for v in model.optimizer.variables)]
        outcomes.append((variables, kept, len(model.variables), len(model.metrics_variables)))
    (plain, plain_kept, *plain_counts), (watched, watched_kept, *watched_counts) = outcomes
    assert all(np.array_equal(one, other) for one, other in zip(plain, watched, strict=True))
    assert plain_kept == watched_kept
    assert plain_counts == watched_counts


def test_a_watched_model_saves_and_trains_on_as_before(tmp_path: Path) -> None:
    model, watch = classifier(), callback()
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[watch])
    assert not {"train_step", "compute_metrics"} & set(vars(model))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    assert not np.isnan(model.fit(X, Y, epochs=1, verbose=0).history["loss"][0])
    assert len(watch._bus.runs) == 1


def test_metrics_of_the_person_are_never_given_out_as_the_batch_s_own() -> None:
    """Of a metric whose state need not add up, only the running value is there."""

    @keras.saving.register_keras_serializable("epochwidget-tests")
    class Highest(keras.metrics.Metric):
        def __init__(self, name: str = "highest", **kwargs: Any) -> None:
            super().__init__(name=name, **kwargs)
            self.value = self.add_variable(shape=(), initializer="zeros", name="value")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.value.assign(keras.ops.maximum(self.value, keras.ops.max(y_pred)))

        def result(self) -> Any:
            return self.value

    model, watch = classifier(metrics=["accuracy", Highest()]), callback()
    kept = model.fit(X, Y, epochs=2, batch_size=32, verbose=0, callbacks=[watch]).history
    assert "highest" not in watch.history.batch
    assert watch.history.batch["running_highest"][3::4].tolist() == kept["highest"]
    assert "accuracy" in watch.history.batch


def test_after_a_nan_batch_the_next_batches_have_their_values_again() -> None:
    """The running mean is lost for the rest of the epoch; the batches' own values are not."""
    target = Y.copy()
    target[40] = np.nan
    model, watch = classifier(), callback()
    # The loss is the target, and its gradient zero: the weights stay as they are.
    model.compile("sgd", lambda y_true, y_pred: y_true + 0 * y_pred)
    model.fit(X, target, batch_size=32, epochs=1, shuffle=False, verbose=0, callbacks=[watch])
    assert np.isnan(watch.history.batch["loss"]).tolist() == [False, True, False, False]
    assert np.isnan(watch.history.batch["running_loss"]).tolist() == [False, True, True, True]


@on_tensorflow
def test_a_long_epoch_stays_exact() -> None:
    """The last of 20,000 batches are as exact as the first; the running mean could not give them back."""
    n = 20_000
    x = np.random.default_rng(5).exponential(size=(n, 1)).astype("float32")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.0), "mae", steps_per_execution=100)
    watch = callback()
    model.fit(x, 0 * x, batch_size=1, epochs=1, shuffle=False, verbose=0, callbacks=[watch])
    own = watch.history.batch["loss"]
    assert own == pytest.approx(x[:, 0].astype(np.float64), rel=1e-7)
    assert watch.history.step == n


@on_tensorflow
@pytest.mark.parametrize("how", [{"run_eagerly": True}, {"jit_compile": True}, {"steps_per_execution": 3}], ids=str)
def test_each_way_of_running_the_step_gives_each_batch_s_own_value(how: dict[str, Any]) -> None:
    expected, watch = callback(), callback()
    classifier(dropout=0).fit(X, Y, batch_size=32, epochs=2, shuffle=False, verbose=0, callbacks=[expected])
    classifier(dropout=0, **how).fit(X, Y, batch_size=32, epochs=2, shuffle=False, verbose=0, callbacks=[watch])
    assert watch.history.step == 8
    for name in ("loss", "accuracy", "auc", "lr"):
        assert watch.history.batch[name] == pytest.approx(expected.history.batch[name], rel=1e-4), name
        assert watch.history.batch.epochs(name).tolist() == [0] * 4 + [1] * 4
    assert watch.history.batch["running_loss"] == pytest.approx(expected.history.batch["running_loss"], rel=1e-4)
    assert watch.history.batch.steps("running_loss").tolist() == list(range(1, 9))


def test_the_learning_rate_is_the_one_each_batch_used() -> None:
    """Read from the weights: a model whose gradient is 1 moves by its learning rate."""

    class Weight(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[float] = []

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.seen.append(float(np.asarray(self.model.get_weights()[0]).item()))

    def rates(rate: Any, *callbacks: Any) -> tuple[np.ndarray, np.ndarray]:
        inputs = keras.Input((1,))
        model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(inputs))
        model.compile(keras.optimizers.SGD(rate), lambda y_true, y_pred: y_pred)
        weight, watch = Weight(), callback()
        ones = np.ones((6, 1), "float32")
        model.fit(ones, ones, batch_size=2, epochs=3, verbose=0, callbacks=[watch, *callbacks, weight])
        return watch.history.batch["lr"], -np.diff([0, *weight.seen])

    falling = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.9)
    by_epoch = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))
    on_plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)
    for ours, used in (rates(0.1), rates(falling), rates(0.1, by_epoch), rates(0.1, on_plateau)):
        assert ours == pytest.approx(used, rel=1e-4)
        assert len(ours) == 9
    assert rates(0.1, on_plateau)[0].tolist() == pytest.approx([0.1] * 6 + [0.05] * 3)


@on_tensorflow
def test_a_loss_scaling_optimizer_has_the_rate_of_the_one_within() -> None:
    inner = keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5))
    keras.utils.set_random_seed(7)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.LossScaleOptimizer(inner), "binary_crossentropy")
    model.fit(X, Y, batch_size=32, epochs=1, verbose=0, callbacks=[watch := callback()])
    assert watch.history.batch["lr"] == pytest.approx([0.1, 0.05, 0.025, 0.0125])


def test_a_cell_that_is_run_again_gives_its_run_the_same_name() -> None:
    def fit(model: Any) -> str:
        model.compile("sgd", "mse")
        watching = callback()
        model.fit(np.ones((2, 3)), np.ones((2, 1)), verbose=0, callbacks=[watching])
        return watching.history.name

    class TwoTowers(keras.Sequential):  # type: ignore[misc]
        pass

    layers = [keras.Input((3,)), keras.layers.Dense(1)]
    assert {fit(keras.Sequential(layers)) for _ in range(2)} == {"sequential"}
    assert {fit(TwoTowers(layers)) for _ in range(2)} == {"two_towers"}
    assert fit(keras.Sequential(layers, name="resnet_18")) == "resnet_18", "what the person called it"


def test_a_second_fit_is_a_second_run_and_needs_no_new_compilation() -> None:
    model, watch = classifier(), callback()
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[watch])
    first, step = watch.history, watch._step
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[watch])
    assert watch._step is step
    assert [history.status for history in watch._bus.runs] == ["completed", "completed"]
    assert len(first.epoch["loss"]) == 1
    assert len(watch.history.epoch["loss"]) == 2
    model.compile("sgd", "mse")
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[watch])
    assert watch._step is not step
    assert len(watch.history.batch["loss"]) == 4


@pytest.mark.parametrize("how", ["force", "none"])
def test_a_train_function_that_was_made_anew_is_watched_anew(how: str) -> None:
    """Keras wants it made anew after a layer was frozen: what was compiled before would go on to train it."""

    def fit(*callbacks: Any) -> tuple[np.ndarray, list[Any]]:
        model = classifier()
        model.fit(X, Y, epochs=1, shuffle=False, verbose=0, callbacks=list(callbacks))
        model.layers[0].trainable = False
        if how == "force":
            model.make_train_function(force=True)
        else:
            model.train_function = None
        before = model.layers[0].get_weights()[0]
        model.fit(X, Y, epochs=1, shuffle=False, verbose=0, callbacks=list(callbacks))
        return model.layers[0].get_weights()[0] - before, model.get_weights()

    (moved, weights), (_, plain) = fit(watch := callback()), fit()
    assert not moved.any()
    assert all(np.array_equal(one, other) for one, other in zip(weights, plain, strict=True))
    assert len(watch.history.batch["loss"]) == 4


def test_a_watched_model_is_let_go() -> None:
    def train() -> weakref.ref[Any]:
        model = classifier()
        model.fit(X, Y, epochs=1, verbose=0, callbacks=[callback()])
        return weakref.ref(model)

    models = [train(), train()]
    keras.backend.clear_session()
    gc.collect()
    assert [model() for model in models] == [None, None]


@pytest.mark.parametrize("eager", [False, True], ids=["", "eagerly"])
def test_the_train_function_of_a_class_of_the_person_s_own_is_called(eager: bool) -> None:
    """It may do more than to take the step. So it stays, and the running means are what can be known."""

    class Decays(keras.Sequential):
        def make_train_function(self, force: bool = False) -> Any:
            super().make_train_function(force)
            inner = self.train_function

            def train(data: Any) -> Any:
                logs = inner(data)
                for weight in self.trainable_weights:
                    weight.assign(weight * 0.99)
                return logs

            self.train_function = train

    def fit(*callbacks: Any) -> list[Any]:
        keras.utils.set_random_seed(5)
        model = Decays([keras.Input((5,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse", run_eagerly=eager, jit_compile=False)
        model.fit(X, Y, epochs=1, shuffle=False, verbose=0, callbacks=list(callbacks))
        weights: list[Any] = model.get_weights()
        return weights

    for one, other in zip(fit(watch := callback()), fit(), strict=True):
        assert np.array_equal(one, other)
    assert set(watch.history.batch) == {"running_loss", "lr"}


@pytest.mark.parametrize("eager", [False, True], ids=["", "eagerly"])
@pytest.mark.parametrize("wraps", [lambda function: lambda inner: inner, functools.wraps], ids=["plain", "wraps"])
def test_a_train_function_that_somebody_wrapped_is_called(wraps: Any, eager: bool) -> None:
    model, watch = classifier(run_eagerly=eager, jit_compile=False), callback()
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[watch])
    assert "loss" in watch.history.batch
    function, calls = model.train_function, []

    @wraps(function)
    def counting(data: Any) -> Any:
        calls.append(data)
        return function(data)

    model.train_function = counting
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[watch])
    assert model.train_function is counting
    assert len(calls) == len(watch.history.batch["running_loss"]) == 4
    assert "loss" not in watch.history.batch


def test_a_second_callback_has_the_running_means_and_the_train_function_comes_back() -> None:
    model, watch, other = classifier(), callback(), callback()
    model.make_train_function()
    function = model.train_function
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[watch, other])
    assert model.train_function is function
    assert len(watch.history.batch["loss"]) == len(other.history.batch["running_loss"]) == 4
    assert "loss" not in other.history.batch


def test_a_fit_that_somebody_still_holds_does_not_keep_the_train_function() -> None:
    """An exception that is kept keeps the call of `fit`, so that nothing tells of its end."""

    class Fails(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            raise RuntimeError("out of data")

    model, held, watch = classifier(), callback(), callback()
    model.make_train_function()
    function = model.train_function
    with pytest.raises(RuntimeError) as raised:
        model.fit(X, Y, epochs=1, verbose=0, callbacks=[held, Fails()])
    assert held.history.status == "running"
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[watch])
    assert model.train_function is function
    assert len(watch.history.batch["loss"]) == 4
    del raised


@pytest.mark.parametrize(
    ("owner", "method"),
    [
        (adapter._OwnResults, "enter"),
        (adapter._OwnResults, "named"),
        (adapter._WatchedStep, "_make"),
        # On TensorFlow it takes long, and there it is the same.
        *(
            [
                (adapter._OwnResults, "_watch"),
                (adapter._OwnResults, "leave"),
                (adapter._UsedRate, "enter"),
                (adapter._UsedRate, "leave"),
                (adapter._WatchedStep, "_take"),
                (adapter._WatchedStep, "begin"),
                (adapter._WatchedStep, "end"),
            ]
            if BACKEND == "torch"
            else []
        ),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_an_interrupt_leaves_nothing_of_ours_wherever_it_comes(owner: Any, method: str) -> None:
    """At each line of these methods, after which the model evaluates and trains as one that was never watched."""

    def state(model: keras.Model) -> list[set[str]]:
        metrics = adapter._single(model.metrics)
        return [set(vars(thing)) for thing in (model, model.optimizer, *metrics)]

    def interrupt_at(line: int) -> Any:
        code = getattr(owner, method).__code__

        def trace(frame: Any, event: str, argument: Any) -> Any:
            def of_lines(frame: Any, event: str, argument: Any) -> Any:
                nonlocal reached
                if event == "line" and frame.f_lineno == line and not reached:
                    reached = True
                    raise KeyboardInterrupt
                return of_lines

            return of_lines if frame.f_code is code else None

        reached = False
        return trace

    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model = classifier(rate=rate, dropout=0, metrics=["mae"], run_eagerly=BACKEND == "tensorflow", jit_compile=False)
    data = {"x": X[:8], "y": Y[:8], "verbose": 0}
    model.fit(**data)
    model.evaluate(**data)
    clean, function = state(model), model.train_function
    lines = sorted({line for *_, line in getattr(owner, method).__code__.co_lines() if line is not None})
    for line in lines[1:]:
        # Each time it is made anew, for `_make` is called once.
        vars(function).pop(adapter._STEP, None)
        watch, tracing = callback(), sys.gettrace()
        sys.settrace(interrupt_at(line))
        with contextlib.suppress(KeyboardInterrupt):
            model.fit(**data, callbacks=[watch])
        sys.settrace(tracing)
        gc.collect()
        if watch._run is not None:
            watch._run.end("stopped")
        model.fit(**data, callbacks=[watch := callback()])
        assert state(model) == clean, line
        assert model.train_function is function, line
        assert {len(watch.history.batch[name]) for name in ("loss", "mae", "lr")} == {1}, line
        error = np.abs(np.asarray(keras.ops.convert_to_numpy(model(X[:8])))[:, 0] - Y[:8]).mean()
        assert model.evaluate(**data, return_dict=True)["mae"] == pytest.approx(error, rel=1e-4), line


def test_an_exception_leaves_every_batch_and_the_run_ends_once_it_was_handled() -> None:
    """No hook tells of an exception; what the call of `fit` held does."""

    class Fails(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 2:
                raise RuntimeError("out of data")

    model, watch = classifier(), callback()
    with pytest.raises(RuntimeError, match="out of data"):
        model.fit(X, Y, epochs=2, batch_size=32, verbose=0, callbacks=[watch, Fails()])
    gc.collect()  # what the exception held
    failed = watch.history
    assert failed.status == "stopped"
    assert model.train_function is not watch._step.watched  # type: ignore[union-attr]
    model.fit(X, Y, epochs=1, batch_size=32, verbose=0, callbacks=[watch])
    assert failed.status == "stopped"
    assert len(failed.batch["loss"]) == 3
    assert watch.history.status == "completed"
    assert len(watch.history.batch["loss"]) == 4


def test_what_other_callbacks_train_is_no_batch_of_the_fit() -> None:
    """Each value stands at its own batch, though the same train function was called in between."""

    class TrainsMore(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.train_on_batch(X[:8], 1 - Y[:8])
            self.model.evaluate(X[:8], Y[:8], verbose=0)

    for first in (True, False):
        # Nothing is learned, so that each batch has the loss it would have had.
        expected, watch = callback(), callback()
        data = {"x": X, "y": Y, "batch_size": 32, "epochs": 2, "shuffle": False, "verbose": 0}
        classifier(rate=0.0, dropout=0).fit(**data, callbacks=[expected])
        model = classifier(rate=0.0, dropout=0)
        model.fit(**data, callbacks=[watch, TrainsMore()] if first else [TrainsMore(), watch])
        for name in ("loss", "accuracy"):
            assert watch.history.batch[name] == pytest.approx(expected.history.batch[name], rel=1e-5), (first, name)


class SeesFit(keras.callbacks.Callback):
    """Whether Keras calls the hooks of a batch's end in threads of its own."""

    async_safe = True

    def on_train_begin(self, logs: Any = None) -> None:
        self.fit = adapter._callbacks_of_fit()[0]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.leaves_ends_to_threads = self.fit._async_train


def test_keras_goes_on_leaving_the_ends_of_batches_to_threads_of_its_own() -> None:
    """What that saves is some per cent of a small model's step. Who needs the hook in time has it in time."""

    class Hears(EpochCallback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            super().on_train_batch_end(batch, logs)
            heard.append(threading.current_thread())

    class Loop(keras.Sequential):
        def make_train_function(self, force: bool = False) -> Any:  # so that there is no way to watch the step
            return super().make_train_function(force)

    heard: list[threading.Thread] = []
    threads = keras.src.backend.IS_THREAD_SAFE
    for model, watch, leaves in (
        (classifier(), callback(), threads),
        (classifier(), Hears(bus=ew.Bus(strict=True)), False),
        (Loop(classifier().layers), callback(), False),
    ):
        model.compile("adam", "binary_crossentropy")
        model.fit(X, Y, batch_size=32, epochs=2, verbose=0, callbacks=[watch, sees := SeesFit()])
        assert sees.leaves_ends_to_threads == leaves
        assert watch.history.batch.steps("running_loss").tolist() == list(range(1, 9))
    assert set(heard) == {threading.main_thread()}


def test_a_loop_that_trains_in_its_own_way_has_what_it_reports() -> None:
    """Whoever calls the hooks need not train by the model's train function. Where that is called, it is watched."""
    for by_model in (True, False):
        model, watch = classifier(dropout=0), callback()
        hooks = keras.callbacks.CallbackList([watch], model=model, epochs=1, steps=4)
        told = []
        model.make_train_function()
        hooks.on_train_begin()
        hooks.on_epoch_begin(0)
        for batch in range(4):
            hooks.on_train_batch_begin(batch)
            if by_model:
                logs = model.train_on_batch(X[batch * 25 :][:25], Y[batch * 25 :][:25], return_dict=True)
            else:
                logs = {"loss": 4.0 - batch}
            told.append(float(logs["loss"]))
            hooks.on_train_batch_end(batch, logs)
        hooks.on_epoch_end(0, {"loss": 0.5})
        hooks.on_train_end()
        assert watch.history.batch["running_loss"].tolist() == pytest.approx(told)
        assert ("loss" in watch.history.batch) == by_model
        assert watch.history.step == 4


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_train_batch_begin"])
def test_a_train_function_that_is_made_anew_is_watched_anew(hook: str, first: bool) -> None:
    """Keras asks for that where layers are frozen or thawed."""

    class Thaws(keras.callbacks.Callback):
        def thaw(self, index: int, logs: Any = None) -> None:
            if index == 1 and not done:
                done.append(index)
                self.model.make_train_function(force=True)

    setattr(Thaws, hook, Thaws.thaw)
    done: list[int] = []
    model, watch = classifier(dropout=0), callback()
    callbacks = [Thaws(), watch] if first else [watch, Thaws()]
    kept = model.fit(X, Y, batch_size=25, epochs=3, shuffle=False, verbose=0, callbacks=callbacks).history
    expected = callback()
    classifier(dropout=0).fit(X, Y, batch_size=25, epochs=3, shuffle=False, verbose=0, callbacks=[expected])
    assert done
    assert watch.history.epoch["loss"].tolist() == kept["loss"]
    assert [span.batches for span in watch.history.spans] == [4, 4, 4]
    steps = {name: list(range(1, 13)) for name in ("loss", "running_loss", "lr")}
    if hook == "on_train_batch_begin" and not first:  # then the batch had begun
        steps["loss"].remove(2)
        steps["lr"].remove(2)
        if keras.src.backend.IS_THREAD_SAFE:  # where Keras tells of its end when the next one has begun
            steps["running_loss"].remove(2)
    for name, there in steps.items():
        assert watch.history.batch.steps(name).tolist() == there
        right = expected.history.batch[name][np.array(there) - 1]
        assert watch.history.batch[name] == pytest.approx(right, rel=1e-5)


def test_a_train_function_of_somebody_s_own_in_mid_run_leaves_the_running_means() -> None:
    class Takes(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch == 1 and not taken:
                taken.append(self.model.train_function)
                self.model.make_train_function(force=True)
                self.model.train_function = functools.partial(self.model.train_function)

    taken: list[Any] = []
    model, watch = classifier(), callback()
    kept = model.fit(X, Y, batch_size=25, epochs=3, verbose=0, callbacks=[Takes(), watch]).history
    assert watch.history.step == 12
    assert watch.history.batch.steps("loss").tolist() == [1]
    assert set(range(3, 13)) <= set(watch.history.batch.steps("running_loss").tolist())
    assert watch.history.batch["running_loss"][-1] == pytest.approx(kept["loss"][-1])


def test_evaluate_is_no_run() -> None:
    model, watch = classifier(), callback()
    model.evaluate(X, Y, verbose=0, callbacks=[watch])
    assert len(watch._bus.runs) == 0
    with pytest.raises(AttributeError, match=r"model\.fit"):
        _ = watch.history


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_unknown_length_is_told_by_the_epoch_before() -> None:
    def batches() -> Any:
        while True:
            yield X[:10], Y[:10]

    class Sized(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Any:
            return X[:10], Y[:10]

    bus = contract.Recorder()
    model = classifier()
    model.fit(batches(), steps_per_epoch=3, epochs=1, shuffle=False, verbose=0, callbacks=[EpochCallback(bus=bus)])
    model.fit(Sized(), epochs=2, initial_epoch=1, verbose=0, callbacks=[EpochCallback(bus=bus)])
    finite = ((X[:10], Y[:10]) for _ in range(20))
    model.fit(finite, epochs=1, shuffle=False, verbose=0, callbacks=[EpochCallback(bus=bus)])
    spans = [[(span.epoch, span.first, span.batches) for span in history.spans] for history in bus.runs]
    assert spans == [[(0, 0, 3)], [(1, 0, 3)], [(0, 0, 20)]]
    assert bus.runs[1].epochs == 2


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_a_length_that_tensorflow_does_not_know_is_known_from_the_second_epoch_on() -> None:
    """Each epoch but the first begins with the length of the one before; the true one stands there afterwards."""
    if BACKEND != "tensorflow":
        pytest.skip("tf.data belongs to TensorFlow")
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((X, Y)).filter(lambda x, y: True).batch(32)
    bus = contract.Recorder()
    kept = (
        classifier().fit(data, epochs=3, shuffle=False, verbose=0, callbacks=[watch := EpochCallback(bus=bus)]).history
    )
    assert [e.batches for e in bus.events if isinstance(e, ew.EpochStarted)] == [None, 4, 4]
    assert [(span.first, span.batches) for span in watch.history.spans] == [(0, 4), (4, 4), (8, 4)]
    assert watch.history.epoch["loss"].tolist() == kept["loss"]
    assert [len(watch.history.batch[name]) for name in ("loss", "running_loss", "lr")] == [12, 12, 12]


def test_validation_of_some_epochs_stands_at_those() -> None:
    """`History` does not say which epochs its validation values are of; ours does."""
    model, watch = classifier(), callback()
    kept = model.fit(
        X, Y, batch_size=32, epochs=5, validation_split=0.2, validation_freq=2, verbose=0, callbacks=[watch]
    ).history
    assert watch.history.epoch["val_loss"].tolist() == kept["val_loss"]
    assert watch.history.epoch.epochs("val_loss").tolist() == [1, 3]
    assert watch.history.epoch.steps("val_loss").tolist() == [6, 12]
    assert len(watch.history.epoch["loss"]) == 5


@pytest.mark.parametrize("first", [True, False], ids=["before EarlyStopping", "after it"])
def test_early_stopping_and_the_weights_it_restores_are_marked(first: bool) -> None:
    model, watch = classifier(rate=0.0, dropout=0), callback()
    stopping = keras.callbacks.EarlyStopping("loss", patience=2, min_delta=1, restore_best_weights=True)
    callbacks = [watch, stopping] if first else [stopping, watch]
    model.fit(X, Y, batch_size=32, epochs=9, verbose=0, callbacks=callbacks)
    assert watch.history.status == "completed"
    assert [(mark.text, mark.step) for mark in watch.history.marks] == [
        ("early stopping", 12),
        ("weights restored from here", 4),
    ]
    assert (stopping.stopped_epoch, stopping.best_epoch) == (2, 0)


@pytest.mark.parametrize("first", [True, False], ids=["before ModelCheckpoint", "after it"])
@pytest.mark.parametrize("best_only", [False, True], ids=["each epoch", "the best"])
def test_checkpoints_are_marked_at_the_epochs_that_were_saved(tmp_path: Path, best_only: bool, first: bool) -> None:
    class Scores(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["score"] = [1.0, 3.0, 2.0, 4.0][epoch]

    model, watch = classifier(), callback()
    saves = keras.callbacks.ModelCheckpoint(
        tmp_path / "{epoch}.keras", monitor="score", mode="max", save_best_only=best_only
    )
    both = [watch, saves] if first else [saves, watch]
    model.fit(X, Y, batch_size=50, epochs=4, verbose=0, callbacks=[Scores(), *both])
    saved = sorted(2 * int(path.stem) for path in tmp_path.iterdir())
    assert saved == ([2, 4, 8] if best_only else [2, 4, 6, 8])
    assert [(mark.text, mark.step) for mark in watch.history.marks] == [("checkpoint", step) for step in saved]


def marks(watch: EpochCallback) -> list[tuple[str, int]]:
    return [(mark.text, mark.step) for mark in watch.history.marks]


@pytest.mark.parametrize("first", [True, False], ids=["before ModelCheckpoint", "after it"])
@pytest.mark.parametrize("together", [1, pytest.param(2, marks=on_tensorflow)], ids=["batch by batch", "two at once"])
@pytest.mark.parametrize("name", ["{epoch}-{batch}.keras", "{epoch}-{batch}.weights.h5"])
def test_checkpoints_amid_an_epoch_are_marked_at_their_batch(
    tmp_path: Path, name: str, together: int, first: bool
) -> None:
    model, watch = classifier(steps_per_execution=together), callback()
    saves = keras.callbacks.ModelCheckpoint(tmp_path / name, save_freq=3, save_weights_only=name.endswith("h5"))
    model.fit(X, Y, batch_size=20, epochs=3, verbose=0, callbacks=[watch, saves] if first else [saves, watch])
    places = [map(int, path.name.split(".")[0].split("-")) for path in tmp_path.iterdir()]
    saved = sorted(5 * (epoch - 1) + batch for epoch, batch in places)
    assert len(saved) > 2
    if together == 1:
        assert saved == [3, 6, 9, 12, 15]
        assert marks(watch) == [("checkpoint", step) for step in saved]
    else:  # an epoch's last execution has one batch, which Keras counts as two
        assert marks(watch) == [("checkpoint", min(step, 5 * -(-(step - 1) // 5))) for step in saved]


@pytest.mark.parametrize("first", [True, False], ids=["before ModelCheckpoint", "after it"])
def test_of_a_saver_of_the_best_a_batch_is_marked_only_if_it_was_saved(tmp_path: Path, first: bool) -> None:
    scores = [0.0, 0.0, 1.0, 0.0, 0.0, 3.0, 0.0, 0.0, float("nan"), 0.0, 0.0, 2.0, 0.0, 0.0, 4.0]

    class Scores(keras.callbacks.Callback):
        left = iter(scores)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            logs["score"] = next(self.left)

    model, watch = classifier(), callback()
    # Keras can compare only once it has ended an epoch: more often than once within the first one, it fails.
    saves = keras.callbacks.ModelCheckpoint(
        tmp_path / "{score}.keras", "score", mode="max", save_best_only=True, save_freq=3
    )
    both = [watch, saves] if first else [saves, watch]
    model.fit(X, Y, batch_size=20, epochs=3, verbose=0, callbacks=[Scores(), *both])
    saved = sorted(scores.index(float(path.stem)) + 1 for path in tmp_path.iterdir())
    assert saved == [3, 6, 15]
    assert marks(watch) == [("checkpoint", step) for step in saved]


@pytest.mark.parametrize("freq", ["epoch", 2], ids=str)
def test_a_saver_that_saves_for_want_of_a_score_is_marked(tmp_path: Path, freq: Any) -> None:
    """Keras warns, and saves."""
    model, watch = classifier(), callback()
    name = "{epoch}.keras" if freq == "epoch" else "{epoch}-{batch}.keras"
    saves = keras.callbacks.ModelCheckpoint(tmp_path / name, "absent", mode="max", save_best_only=True, save_freq=freq)
    with pytest.warns(UserWarning, match="Can save best model only with absent available"):
        model.fit(X, Y, batch_size=25, epochs=2, verbose=0, callbacks=[watch, saves])
    assert marks(watch) == [("checkpoint", step) for step in ([4, 8] if freq == "epoch" else [2, 4, 6, 8])]
    assert len(list(tmp_path.iterdir())) == len(marks(watch))


def test_a_best_that_is_nan_is_marked_once(tmp_path: Path) -> None:
    """NaN is better than nothing to Keras, and nothing is better than NaN."""

    class Scores(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["score"] = float("nan") if epoch == 0 else 1.0

    model, watch = classifier(), callback()
    saves = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras", "score", mode="max", save_best_only=True)
    model.fit(X, Y, batch_size=50, epochs=3, verbose=0, callbacks=[Scores(), watch, saves])
    assert [path.name for path in tmp_path.iterdir()] == ["1.keras"]
    assert marks(watch) == [("checkpoint", 2)]


def test_what_is_saved_at_one_step_has_one_mark_and_a_backup_none(tmp_path: Path) -> None:
    model, watch = classifier(), callback()
    savers = [
        keras.callbacks.ModelCheckpoint(tmp_path / "batch.keras", save_freq=2),
        keras.callbacks.ModelCheckpoint(tmp_path / "epoch.keras"),
    ]
    model.fit(X, Y, batch_size=25, epochs=2, verbose=0, callbacks=[*savers, watch])
    assert marks(watch) == [("checkpoint", step) for step in (2, 4, 6, 8)]
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=2)
    model.fit(X, Y, batch_size=25, epochs=2, verbose=0, callbacks=[backup, watch])
    assert marks(watch) == []


def test_a_list_of_callbacks_is_left_as_it_was(tmp_path: Path) -> None:
    """Keras takes a list of its own class as it is; ours looks from its end on, as long as the training lasts."""

    class Fails(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise RuntimeError("on purpose")

    model, watch = classifier(), callback()
    saves = keras.callbacks.ModelCheckpoint(tmp_path / "now.keras", save_freq=3)
    fits = keras.callbacks.CallbackList([saves, watch], add_history=True, model=model, epochs=1, steps=4, verbose=0)
    before = list(fits.callbacks)
    for _ in range(2):
        model.fit(X, Y, batch_size=25, epochs=1, verbose=0, callbacks=fits)
        assert fits.callbacks == before
    assert marks(watch) == [("checkpoint", 2)]  # it counts on from the fit before
    fits.callbacks.append(Fails())
    with pytest.raises(RuntimeError, match="on purpose"):
        model.fit(X, Y, batch_size=25, epochs=1, verbose=0, callbacks=fits)
    fits.callbacks[:] = [one for one in fits.callbacks if not isinstance(one, Fails)]
    model.fit(X, Y, batch_size=25, epochs=1, verbose=0, callbacks=fits)
    assert fits.callbacks == before


def test_a_fit_without_early_stopping_has_no_marks() -> None:
    model, watch = classifier(), callback()
    patient = keras.callbacks.EarlyStopping("loss", patience=50)
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[watch, patient])
    assert watch.history.marks == []


def test_a_second_fit_may_continue_the_epochs() -> None:
    model, watch = classifier(), callback()
    model.fit(X, Y, batch_size=32, epochs=2, verbose=0, callbacks=[watch])
    model.fit(X, Y, batch_size=32, initial_epoch=2, epochs=4, verbose=0, callbacks=[watch])
    assert watch.history.epoch.epochs("loss").tolist() == [2, 3]
    assert watch.history.batch.epochs("loss").tolist() == [2] * 4 + [3] * 4
    assert watch.history.batch.steps("loss").tolist() == list(range(1, 9))
    assert watch.history.epochs == 4


def test_a_copy_of_a_callback_watches_on_its_own() -> None:
    """Copies are made by whoever trains the same thing again; the first's model and run stay with the first."""
    model, watch = classifier(), EpochCallback("mine")
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[watch])
    for again in (copy.deepcopy(watch), pickle.loads(pickle.dumps(watch))):
        with pytest.raises(AttributeError):
            _ = again.history
        model.fit(X, Y, epochs=2, verbose=0, callbacks=[again])
        assert len(again.history.epoch["loss"]) == 2
        assert again.history.name == "mine"
        assert again._bus is ew.bus
    assert len(watch.history.epoch["loss"]) == 1
    ew.runs.clear()


def test_another_keras_is_refused_by_name() -> None:
    script = (
        "import keras; keras.__version__ = '2.15.0'\n"
        "try:\n    import epochwidget.callbacks.keras\nexcept ImportError as error:\n    print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "keras 3.8 or newer, but below 4; 2.15.0 is installed" in told


def test_a_metric_that_a_model_not_yet_built_updates_itself_is_watched(caplog: pytest.LogCaptureFixture) -> None:
    """Keras calls such a model once only to learn its shapes."""

    class Watches(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(1, "sigmoid")
            self.mean = keras.metrics.Mean(name="activation")

        def call(self, x: Any) -> Any:
            out = self.dense(x)
            self.mean.update_state(out)
            return out

    def fit(*callbacks: Any) -> dict[str, Any]:
        keras.utils.set_random_seed(5)
        model = Watches()
        model.compile("sgd", "binary_crossentropy")
        kept: dict[str, Any] = model.fit(X, Y, epochs=2, verbose=0, callbacks=list(callbacks)).history
        return kept

    watch = callback()
    assert fit(watch) == fit()
    assert caplog.text == ""
    assert len(watch.history.batch["loss"]) == 8
    if BACKEND == "tensorflow":
        assert watch.history.batch["activation"][0] == pytest.approx(watch.history.batch["running_activation"][0])
        assert watch.history.batch["activation"][3] != watch.history.batch["running_activation"][3]


def test_every_metric_of_keras_ends_as_without_us() -> None:
    """History is the same with each of them, and what is given as the batch's own is that of the batch alone."""
    names = [
        "AUC", "BinaryAccuracy", "CategoricalAccuracy", "CategoricalCrossentropy", "ConcordanceCorrelation",
        "CosineSimilarity", "F1Score", "FBetaScore", "FalseNegatives", "Hinge", "KLDivergence", "LogCoshError",
        "MeanAbsoluteError", "MeanSquaredLogarithmicError", "OneHotMeanIoU", "PearsonCorrelation", "Poisson",
        "Precision", "R2Score", "Recall", "RootMeanSquaredError", "SensitivityAtSpecificity", "TruePositives",
    ]  # fmt: skip
    target = keras.utils.to_categorical(Y, 2).astype("float32")
    special = {"OneHotMeanIoU": {"num_classes": 2}, "SensitivityAtSpecificity": {"specificity": 0.5}}

    def model() -> keras.Model:
        keras.utils.set_random_seed(5)
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2, "softmax")])
        metrics = [getattr(keras.metrics, name)(name=name, **special.get(name, {})) for name in names]
        model.compile("sgd", "categorical_crossentropy", metrics=metrics)
        return model

    def fit(*callbacks: Any) -> dict[str, Any]:
        kept = model().fit(X, target, batch_size=50, epochs=2, shuffle=False, verbose=0, callbacks=list(callbacks))
        return {name: np.asarray(values).tolist() for name, values in kept.history.items()}

    watch = callback()
    assert fit(watch) == fit()
    by_hand, expected = model(), []
    for _ in range(2):
        for rows in (slice(50), slice(50, 100)):
            by_hand.reset_metrics()
            expected.append(by_hand.train_on_batch(X[rows], target[rows], return_dict=True))
    own = set(names) & set(watch.history.batch)
    assert own >= set(names) - {"F1Score", "FBetaScore", "R2Score"}
    for name in own:
        right = [float(logs[name]) for logs in expected]
        assert watch.history.batch[name] == pytest.approx(right, rel=1e-4, abs=1e-6), name


@on_tensorflow
def test_what_passes_through_the_logs_unpacked_is_still_there() -> None:
    """A metric that is no single number, and one of another type, reach Keras as they would have."""
    target = keras.utils.to_categorical(Y, 2).astype("float32")

    def fit(*callbacks: Any) -> dict[str, Any]:
        keras.utils.set_random_seed(5)
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2, "softmax")])
        model.compile("sgd", "categorical_crossentropy", metrics=[keras.metrics.F1Score(name="f1"), "accuracy"])
        kept: dict[str, Any] = model.fit(X, target, epochs=2, verbose=0, callbacks=list(callbacks)).history
        return kept

    kept, plain = fit(watch := callback()), fit()
    assert {name: np.asarray(values).tolist() for name, values in kept.items()} == {
        name: np.asarray(values).tolist() for name, values in plain.items()
    }
    assert watch.history.epoch["f1_1"].tolist() == [float(scores[1]) for scores in kept["f1"]]
    assert watch.history.batch["running_f1_0"][-1] == kept["f1"][-1][0]


def test_a_model_with_its_own_step_is_reported_as_that_step_says() -> None:
    """Nobody can know what a training step of the person's own returns, so it is called neither batch nor running."""

    class Own(keras.Sequential):
        def train_step(self, *args: Any) -> Any:
            logs = super().train_step(*args)
            return {"loss": logs["loss"], "mine": logs["loss"] * 2} if BACKEND != "jax" else logs

    model = Own([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    watch = callback()
    model.fit(X, Y, batch_size=50, epochs=1, verbose=0, callbacks=[watch])
    assert watch.history.batch.series("mine").kind == watch.history.epoch.series("mine").kind == "reported"
    assert watch.history.batch["mine"] == pytest.approx(2 * watch.history.batch["loss"])
    assert watch.history.batch["lr"][0] == pytest.approx(0.01)


@pytest.mark.parametrize(
    "how",
    [{}, {"run_eagerly": True}, {"jit_compile": True}, {"steps_per_execution": 3}] if BACKEND == "tensorflow" else [{}],
    ids=str,
)
def test_a_model_with_its_own_step_has_the_rate_of_every_batch(how: dict[str, Any]) -> None:
    """Whatever the step returns, Keras gets that, and the weights are those of a training without us."""

    class Own(keras.Sequential):
        def train_step(self, *args: Any) -> Any:
            logs = super().train_step(*args)
            loss = logs["loss"]
            return {"of": {"another": loss * 2}, "double": keras.ops.cast(loss, "float64"), "whole": 3, "loss": loss}

    def fit(*callbacks: Any) -> tuple[Any, list[Any]]:
        keras.utils.set_random_seed(5)
        model = Own([keras.Input((5,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)), "mse", **how)
        kept = model.fit(X, Y, batch_size=25, epochs=2, shuffle=False, verbose=0, callbacks=list(callbacks)).history
        return kept, model.get_weights()

    (kept, weights), (plain, others) = fit(watch := callback()), fit()
    assert kept == plain
    assert all((one == other).all() for one, other in zip(weights, others, strict=True))
    assert watch.history.batch["lr"] == pytest.approx(0.1 * 0.5 ** np.arange(8))
    assert {"loss", "another", "double", "whole"} <= set(watch.history.epoch)
    assert set(watch.history.batch) == {"loss", "another", "double", "whole", "lr"}


@pytest.mark.parametrize("own", [False, True], ids=["", "own step"])
def test_a_metric_called_lr_keeps_its_name(own: bool) -> None:
    """People write one to see the rate; what it says is the next one's."""

    class Model(keras.Sequential):
        if own:

            def train_step(self, *args: Any) -> Any:
                return super().train_step(*args)

    optimizer = keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5))

    def lr(y_true: Any, y_pred: Any) -> Any:
        return optimizer.learning_rate

    model = Model([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse", metrics=[lr])
    kept = model.fit(X, Y, batch_size=25, epochs=2, verbose=0, callbacks=[watch := callback()]).history
    batch, epoch = watch.history.batch, watch.history.epoch
    assert batch["learning_rate"] == pytest.approx(0.1 * 0.5 ** np.arange(8))
    assert epoch["lr"].tolist() == kept["lr"]
    of_metric = [table.series(name) for table in (batch, epoch) for name in table if name in ("lr", "running_lr")]
    assert {series.metric for series in of_metric} == {"lr"}
    assert batch.series("learning_rate").metric == "learning rate"
    if not own:
        assert batch["lr"] == pytest.approx(0.1 * 0.5 ** np.arange(1, 9))


def test_an_output_called_lr_has_metrics_and_no_rates() -> None:
    """A callback that adds its rate to the logs of an epoch adds no metric."""
    keras.utils.set_random_seed(5)
    inputs = keras.Input((5,))
    model = keras.Model(inputs, {name: keras.layers.Dense(1, name=name)(inputs) for name in ("lr", "ud")})
    model.compile("sgd", {"lr": "mse", "ud": "mse"}, metrics={"lr": ["mae"], "ud": ["mae"]})
    plateau = keras.callbacks.ReduceLROnPlateau("loss")
    kept = model.fit(
        X, {"lr": Y, "ud": 1 - Y}, epochs=2, validation_split=0.2, verbose=0, callbacks=[plateau, watch := callback()]
    ).history
    tables = {"batch": watch.history.batch, "epoch": watch.history.epoch}
    found = {
        kind: {name: table.series(name).metric for name in table if "lr" in name or "rate" in name}
        for kind, table in tables.items()
    }
    assert found["batch"] == {
        "lr": "learning rate",
        "lr_loss": "lr_loss",
        "lr_mae": "lr_mae",
        "running_lr_loss": "lr_loss",
        "running_lr_mae": "lr_mae",
    }
    assert found["epoch"] == {
        "learning_rate": "learning rate",
        "lr_loss": "lr_loss",
        "lr_mae": "lr_mae",
        "val_lr_loss": "lr_loss",
        "val_lr_mae": "lr_mae",
    }
    assert watch.history.epoch["lr_loss"].tolist() == kept["lr_loss"]
    assert tables["batch"].series("lr_loss").kind == "batch"
    assert tables["epoch"].series("lr_loss").kind == "epoch"


@on_tensorflow
@pytest.mark.parametrize("how", [{}, {"run_eagerly": True}, {"jit_compile": True}, {"steps_per_execution": 2}], ids=str)
def test_a_rate_that_a_step_sets_before_it_applies_is_that_of_its_batch(how: dict[str, Any]) -> None:
    import tensorflow as tf

    class WarmUp(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.learning_rate.assign(0.01 * tf.cast(self.optimizer.iterations + 1, "float32"))
            self.optimizer.apply(gradients, self.trainable_variables)
            return {"loss": loss}

    model = WarmUp([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), "mse", **how)
    model.fit(X, Y, batch_size=25, epochs=2, verbose=0, callbacks=[watch := callback()])
    assert watch.history.batch["lr"] == pytest.approx(0.01 * np.arange(1, 9))
    assert "apply" not in vars(model.optimizer)


@on_tensorflow
@pytest.mark.parametrize("how", ["cond", "function", "function, eagerly"])
def test_a_step_that_applies_in_a_graph_of_its_own_has_the_rate_from_before_it(how: str) -> None:
    """From there no tensor can be taken."""
    import tensorflow as tf

    class Branches(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            gradients = tape.gradient(loss, self.trainable_variables)

            def apply() -> Any:
                self.optimizer.apply(gradients, self.trainable_variables)
                return tf.constant(0.0)

            if how == "cond":
                tf.cond(loss > -1, apply, lambda: tf.constant(0.0))
            else:
                tf.function(apply)()
            return {"loss": loss}

    model = Branches([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.25), "mse", run_eagerly="eagerly" in how, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    model.fit(X, Y, batch_size=25, epochs=1, verbose=0, callbacks=[watch := callback()])
    assert watch.history.batch["lr"].tolist() == [0.25] * 4


@pytest.mark.skipif(BACKEND != "torch", reason="of Keras on PyTorch alone")
def test_a_rate_that_a_pytorch_step_sets_before_it_applies_is_that_of_its_batch() -> None:
    import torch

    class WarmUp(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            x, y = data
            self.zero_grad()
            loss = self.compute_loss(x, y, self(x, training=True))
            loss.backward()
            self.optimizer.learning_rate.assign(0.01 * (float(self.optimizer.iterations) + 1))
            with torch.no_grad():
                self.optimizer.apply([one.value.grad for one in self.trainable_weights], self.trainable_weights)
            self.optimizer.learning_rate.assign(7.0)
            return {"loss": loss}

    model = WarmUp([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    model.fit(X, Y, batch_size=25, epochs=2, verbose=0, callbacks=[watch := callback()])
    assert watch.history.batch["lr"] == pytest.approx(0.01 * np.arange(1, 9))


def test_a_step_that_uses_its_optimizer_now_and_then_has_a_rate_then() -> None:
    """So do the critic and the generator of a GAN take turns."""

    class Turns(keras.Sequential):
        batch = 0

        def train_step(self, *args: Any) -> Any:
            self.batch += 1
            return super().train_step(*args) if self.batch % 2 else {"loss": keras.ops.convert_to_tensor(0.0)}

    model = Turns([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.25), "mse", run_eagerly=True, jit_compile=False)
    model.fit(X, Y, batch_size=25, epochs=1, verbose=0, callbacks=[watch := callback()])
    assert watch.history.batch["lr"].tolist() == [0.25, 0.25]
    assert watch.history.batch.steps("lr").tolist() == [1, 3]


@pytest.mark.parametrize("scaled", [False, True], ids=["", "loss scaling"])
def test_a_rate_of_an_own_step_is_there_while_gradients_accumulate(scaled: bool) -> None:
    class Own(keras.Sequential):
        def train_step(self, *args: Any) -> Any:
            return super().train_step(*args)

    model = Own([keras.Input((5,)), keras.layers.Dense(1)])
    optimizer: Any = keras.optimizers.SGD(0.25, gradient_accumulation_steps=None if scaled else 2)
    model.compile(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer, "mse")
    model.fit(X, Y, batch_size=25, epochs=1, verbose=0, callbacks=[watch := callback()])
    assert watch.history.batch["lr"].tolist() == [0.25] * 4


def test_the_rate_of_an_optimizer_that_a_step_does_not_use_is_not_shown() -> None:
    """Such a model has its optimizers elsewhere, and Keras's default one in their place."""

    class Idle(keras.Sequential):
        def train_step(self, *args: Any) -> Any:
            return {"score": keras.ops.convert_to_tensor(1.0)}

    model = Idle([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    model.fit(X, Y, batch_size=50, epochs=1, verbose=0, callbacks=[watch := callback()])
    assert watch.history.batch["score"].tolist() == [1.0, 1.0]
    assert "lr" not in watch.history.batch


def test_bad_arguments_are_refused_in_one_sentence() -> None:
    with pytest.raises(TypeError, match=r"EpochCallback\(\) does not know 'nane' \(did you mean 'name'\?\)"):
        EpochCallback(nane="x")
    with pytest.raises(ValueError, match="name of a run is empty"):
        EpochCallback(" ")


@on_tensorflow
def test_all_this_holds_on_the_pytorch_backend() -> None:
    """Keras chooses its backend once for a process, so another one runs this file again."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        env=os.environ | {"KERAS_BACKEND": "torch"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_a_fit_may_go_on_in_a_former_run_and_drop_what_came_after_an_epoch() -> None:
    model, first = classifier(), callback()
    how = {"batch_size": 32, "verbose": 0, "validation_data": (X, Y)}
    model.fit(X, Y, epochs=3, callbacks=[first], **how)
    history, bus = first.history, first._bus
    before = history.batch["loss"]
    again = EpochCallback(bus=bus, resume=history, epoch=1)
    model.fit(X, Y, initial_epoch=1, epochs=3, callbacks=[again], **how)
    assert again.history is history
    assert len(bus.runs) == 1
    assert history.epoch.epochs("val_loss").tolist() == [0, 1, 2]
    assert history.batch.steps("loss").tolist() == list(range(1, 13))
    assert history.batch["loss"][:4].tolist() == before[:4].tolist()
    assert (history.batch["loss"][4:] != before[4:]).all()
    assert (history.status, history.epochs) == ("completed", 3)
    # Keras counts from 0 again unless it is told otherwise, and a second `fit` is a run of its own.
    on = EpochCallback(bus=bus, resume=history)
    model.fit(X, Y, epochs=2, callbacks=[on], **how)
    assert history.epoch.epochs("val_loss").tolist() == [0, 1, 2, 3, 4]
    assert history.epochs == 5
    model.fit(X, Y, epochs=1, callbacks=[on], **how)
    assert len(bus.runs) == 2


def test_weights_that_are_restored_in_a_run_that_goes_on_are_marked_at_its_own_epoch() -> None:
    model, first = classifier(), callback()
    model.fit(X, Y, batch_size=32, epochs=2, verbose=0, callbacks=[first])
    again = EpochCallback(bus=first._bus, resume=first.history)
    stopper = keras.callbacks.EarlyStopping(monitor="loss", mode="max", patience=1, restore_best_weights=True)
    model.fit(X, Y, batch_size=32, epochs=5, verbose=0, callbacks=[stopper, again])
    best = again.history.spans[2 + stopper.best_epoch]
    (mark,) = [mark for mark in again.history.marks if mark.text == "weights restored from here"]
    assert mark.step == best.first + 4


def test_what_cannot_go_on_is_refused_when_the_callback_is_made() -> None:
    with pytest.raises(TypeError, match=r"^EpochCallback\(resume=\.\.\.\) needs a history, .* got 3\.$"):
        EpochCallback(resume=3)
    with pytest.raises(TypeError, match=r"^EpochCallback\(epoch=3\) says from where"):
        EpochCallback(epoch=3)
