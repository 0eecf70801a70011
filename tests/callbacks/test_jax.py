"""Loops with JAX, Flax and Optax, through `epochwidget.Run`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import epochwidget as ew

from . import contract

STAIRS = optax.exponential_decay(contract.FIRST_RATE, 1, contract.DECAY)


def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return iter([(contract.X[rows], contract.Y[rows]) for rows in contract.BATCHES])


def loop(run: ew.Run, step: Callable[..., Any], validate: Callable[[], Any]) -> None:
    """A loop as a person writes it: `step` and `validate` are compiled, what is logged is logged outside of them."""
    taken = 0
    for _ in run.epochs(contract.EPOCHS):
        for x, y in run.batches(list(batches())):
            run.log(loss=step(x, y), lr=STAIRS(taken), batch_size=len(x))
            taken += 1
        run.log_epoch(val_loss=validate())


def test_a_flax_linen_loop_keeps_the_contract() -> None:
    bus = contract.Recorder()
    net = linen.Dense(1, kernel_init=linen.initializers.zeros)
    state = {"weights": net.init(jax.random.key(0), contract.X)}
    optimizer = optax.sgd(STAIRS)
    state["optimizer"] = optimizer.init(state["weights"])

    def loss_of(weights: Any, x: Any, y: Any) -> Any:
        return ((net.apply(weights, x) - y) ** 2).mean()

    @jax.jit
    def compiled(weights: Any, kept: Any, x: Any, y: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(weights, x, y)
        updates, kept = optimizer.update(gradients, kept)
        return optax.apply_updates(weights, updates), kept, loss

    def step(x: Any, y: Any) -> Any:
        state["weights"], state["optimizer"], loss = compiled(state["weights"], state["optimizer"], x, y)
        return loss

    with ew.Run("linen", bus=bus) as run:
        loop(run, step, lambda: jax.jit(loss_of)(state["weights"], contract.X_VAL, contract.Y_VAL))
    contract.check(bus)


def test_a_flax_nnx_loop_keeps_the_contract() -> None:
    bus = contract.Recorder()
    net = nnx.Linear(3, 1, kernel_init=nnx.initializers.zeros, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(net, optax.sgd(STAIRS), wrt=nnx.Param)

    def loss_of(net: Any, x: Any, y: Any) -> Any:
        return ((net(x) - y) ** 2).mean()

    @nnx.jit
    def compiled(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss, gradients = nnx.value_and_grad(loss_of)(net, x, y)
        optimizer.update(net, gradients)
        return loss

    with ew.Run("nnx", bus=bus) as run:
        loop(
            run,
            lambda x, y: compiled(net, optimizer, x, y),
            lambda: nnx.jit(loss_of)(net, contract.X_VAL, contract.Y_VAL),
        )
    contract.check(bus)


def test_watching_a_loop_changes_no_weight() -> None:
    """With the same key the weights are bit for bit those of the loop that nobody watches."""

    def train(run: ew.Run | None) -> list[np.ndarray]:
        net = nnx.Sequential(
            nnx.Linear(8, 16, rngs=(rngs := nnx.Rngs(3))), nnx.Dropout(0.5, rngs=rngs), nnx.Linear(16, 1, rngs=rngs)
        )
        optimizer = nnx.Optimizer(net, optax.adam(1e-2), wrt=nnx.Param)

        @nnx.jit
        def step(net: Any, optimizer: Any, x: Any) -> Any:
            loss, gradients = nnx.value_and_grad(lambda net: (net(x) ** 2).mean())(net)
            optimizer.update(net, gradients)
            return loss

        for x in jax.random.normal(jax.random.key(1), (20, 4, 8)):
            loss = step(net, optimizer, x)
            if run is not None:
                run.log(loss=loss)
        return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(net, nnx.Param))]

    widget = ew.EpochWidget(bus=ew.Bus())
    with ew.Run("watched", bus=widget._bus) as run:
        watched = train(run)
    widget.close()
    assert len(run.history.batch["loss"]) == 20
    assert all(np.array_equal(one, other) for one, other in zip(watched, train(None), strict=True))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int32", "bool"])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_device_arrays_of_any_type_with_one_element_are_welcome(dtype: str, shape: tuple[int, ...]) -> None:
    with ew.Run("values", bus=ew.Bus(strict=True)) as run:
        run.log(loss=jnp.ones(shape, dtype))
        run.log_epoch(val_loss=jnp.ones(shape, dtype))
    assert (run.history.batch["loss"].tolist(), run.history.epoch["val_loss"].tolist()) == ([1.0], [1.0])


def test_not_a_number_and_infinity_are_data() -> None:
    with ew.Run("values", bus=ew.Bus(strict=True)) as run:
        for value in (jnp.nan, jnp.inf, -jnp.inf):
            run.log(loss=jnp.asarray(value))
    assert run.history.batch["loss"].tolist() == pytest.approx([np.nan, np.inf, -np.inf], nan_ok=True)


def test_a_rate_that_the_optimizer_keeps_is_the_one_of_the_next_step() -> None:
    """`optax.inject_hyperparams` keeps the rate that the latest update used."""
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=STAIRS)
    weight = jnp.zeros(())
    kept = optimizer.init(weight)
    used = []
    with ew.Run("rates", bus=ew.Bus(strict=True)) as run:
        for _ in range(4):
            updates, kept = jax.jit(optimizer.update)(jnp.ones(()), kept)
            used.append(-float(updates))
            run.log(lr=kept.hyperparams["learning_rate"])
    assert run.history.batch["lr"].tolist() == pytest.approx(used, rel=1e-6)
    assert used == pytest.approx([float(STAIRS(step)) for step in range(4)], rel=1e-6)


@pytest.mark.parametrize("made", [jax.jit, jax.grad, jax.vmap, lambda f: jax.jit(jax.value_and_grad(f))])
def test_a_value_inside_a_traced_function_is_refused_in_one_sentence(made: Callable[[Any], Any]) -> None:
    """It is no number yet, and in a compiled function it would be logged but once."""
    with ew.Run("traced", bus=ew.Bus(strict=True)) as run:

        def loss_of(x: Any) -> Any:
            loss = (x**2).mean()
            run.log(loss=loss)
            return loss

        with pytest.raises(TypeError) as refused:
            made(loss_of)(jnp.ones(3))
        sentence, *of_jax = str(refused.value).splitlines()  # JAX adds a word about its own frames
        assert re.fullmatch(r"log\(loss=\.\.\.\): .* has no value yet; return it .* and log it outside\.", sentence)
        assert not of_jax or "JAX" in of_jax[1]
    assert list(run.history.batch) == []


def test_a_compiled_function_can_have_its_values_logged_by_a_callback() -> None:
    with ew.Run("called", bus=ew.Bus(strict=True)) as run:

        @jax.jit
        def step(x: Any) -> Any:
            loss = (x**2).mean()
            jax.debug.callback(lambda loss: run.log(loss=loss), loss, ordered=True)
            return x * 2

        x = jnp.ones(3)
        for _ in range(3):
            x = step(x)
        jax.effects_barrier()
    assert run.history.batch["loss"].tolist() == [1.0, 4.0, 16.0]


def test_an_array_with_several_elements_is_refused() -> None:
    """What `vmap` or `pmap` gives, for one."""
    with ew.Run("values", bus=ew.Bus(strict=True)) as run, pytest.raises(ValueError, match=r"shape \(2,\)"):
        run.log(loss=jnp.ones(2))
