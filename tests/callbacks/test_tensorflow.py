"""TensorFlow loops of one's own, with `tf.GradientTape`, through `epochwidget.Run`."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
import tensorflow as tf

import epochwidget as ew

from . import contract


def test_a_gradient_tape_loop_keeps_the_contract() -> None:
    """Eager tensors and variables are logged as they are; the rate is read before the optimizer takes its step."""
    bus = contract.Recorder()
    weights, bias = tf.Variable(tf.zeros((3, 1))), tf.Variable(tf.zeros(1))
    rate = tf.Variable(contract.FIRST_RATE)
    data = tf.data.Dataset.from_tensor_slices((contract.X, contract.Y)).batch(contract.BATCH_SIZE)
    with ew.Run("tape", bus=bus) as run:
        for _ in run.epochs(contract.EPOCHS):
            for x, y in run.batches(data):
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean((x @ weights + bias - y) ** 2)
                gradients = tape.gradient(loss, [weights, bias])
                run.log(loss=loss, lr=rate, batch_size=len(x))
                weights.assign_sub(rate * gradients[0])
                bias.assign_sub(rate * gradients[1])
                rate.assign(rate * contract.DECAY)
            run.log_epoch(val_loss=tf.reduce_mean((contract.X_VAL @ weights + bias - contract.Y_VAL) ** 2))
    contract.check(bus)


def train(run: ew.Run | None) -> list[np.ndarray]:
    """Train by a compiled step and a Keras optimizer whose rate falls with every step."""
    keras.utils.set_random_seed(4)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.3), keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5))
    accuracy = keras.metrics.MeanSquaredError()

    @tf.function
    def step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            prediction = model(x, training=True)
            loss = tf.reduce_mean((prediction - y) ** 2)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )
        accuracy.update_state(y, prediction)
        return loss

    for _ in range(3):
        for rows in contract.BATCHES:
            rate = optimizer.learning_rate
            loss = step(contract.X[rows], contract.Y[rows])
            if run is not None:
                run.log(loss=loss, lr=rate, mse=accuracy.result(), iterations=optimizer.iterations)
    return [*model.get_weights(), *(np.asarray(variable) for variable in optimizer.variables)]


def test_watching_a_tensorflow_loop_changes_nothing() -> None:
    """With the same seed weights and optimizer are bit for bit those of the loop that nobody watches."""
    with ew.Run("watched", bus=ew.Bus(strict=True)) as run:
        watched = train(run)
    assert all(np.array_equal(one, other) for one, other in zip(watched, train(None), strict=True))
    assert run.history.batch["lr"] == pytest.approx([0.1 * 0.5**step for step in range(9)])
    assert run.history.batch["iterations"].tolist() == list(range(1, 10))
    assert not np.isnan(run.history.batch["mse"]).any()


def test_a_value_logged_inside_a_graph_is_refused_in_one_sentence() -> None:
    """Inside `tf.function` a tensor has no value yet."""

    @tf.function
    def step(run: ew.Run) -> None:
        run.log(loss=tf.constant(1.0) * 2)

    with ew.Run("graph", bus=ew.Bus(strict=True)) as run, pytest.raises(TypeError, match="return it from the function"):
        step(run)
