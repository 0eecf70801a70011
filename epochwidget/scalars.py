"""From whatever a training loop calls a number to a float, without importing any framework.

A tensor on an accelerator is not read when it is logged, for that would make the processor wait for the device in
every batch. It is kept, detached, until somebody needs the number; then all that have gathered are read together.

Whether an object is a framework's tensor is told by ``sys.modules``: where nobody imported the framework, nobody can
have its tensors.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .columns import Floats

_log = logging.getLogger("epochwidget")


def scalar(name: str, value: Any) -> Any:
    """Check one logged value, and make a float of it if that makes no device wait.

    Parameters
    ----------
    name
        What it was logged as, for the error.
    value
        A number, or an array or tensor of any framework with exactly one element.

    Returns
    -------
    float or tensor
        A tensor only if it lives on an accelerator: detached, and a copy that later changes in place do not reach.

    Raises
    ------
    TypeError
        If it is no number at all.
    ValueError
        If it has more than one element, or none.
    """
    if type(value) is float:  # as learning rates are, of which there may be one in every batch
        return value
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        if value.numel() != 1:
            raise _not_one(name, tuple(value.shape))
        if value.is_complex() or value.is_meta:
            raise _no_number(name, value)
        return float(value.item()) if value.is_cpu else value.detach().clone().reshape(())
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(value, jax.Array):
        if value.size != 1:
            raise _not_one(name, tuple(value.shape))
        return value.reshape(()) if hasattr(value, "block_until_ready") else _to_float(name, value)
    shape = getattr(value, "shape", ())
    if shape is not None and (elements := _count(shape)) != 1:
        raise _not_one(name, tuple(shape)) if elements is not None else _no_number(name, value)
    if not isinstance(value, (int, float)) and callable(getattr(value, "numpy", None)):
        value = value.numpy()  # an eager TensorFlow tensor, a tf.Variable, a Keras variable
    if isinstance(value, (np.ndarray, np.complexfloating)):
        value = value.reshape(()).item()
    return _to_float(name, value)


def to_floats(values: Sequence[Any]) -> Floats:
    """Turn values that `scalar` let through into float64 numbers, tensors of one device in a single read."""
    if set(map(type, values)) <= {float}:
        return np.array(values, dtype=np.float64)
    tensors = [value for value in values if type(value) is not float]
    numbers = iter(_read(tensors))
    return np.array([value if type(value) is float else next(numbers) for value in values], dtype=np.float64)


def rates(name: str, optimizer: Any) -> dict[str, Any] | None:
    """Read the learning rates of a PyTorch optimizer, or of a Keras one.

    Returns
    -------
    dict or None
        ``{name: rate}`` with one more entry ``name_1``, ``name_2``, ... for each further parameter group; None if
        `optimizer` is no optimizer.
    """
    groups = getattr(optimizer, "param_groups", None)
    if isinstance(groups, list):
        return {
            name if index == 0 else f"{name}_{index}": scalar(name, group["lr"]) for index, group in enumerate(groups)
        }
    if hasattr(optimizer, "apply_gradients") and hasattr(optimizer, "learning_rate"):
        return {name: scalar(name, optimizer.learning_rate)}
    return None


def _read(tensors: list[Any]) -> Iterable[float]:
    torch = sys.modules.get("torch")
    try:
        # Only what is of one type is stacked: not every device has float64, and float32 rounds integers.
        if (
            torch is not None
            and all(isinstance(tensor, torch.Tensor) for tensor in tensors)
            and len({(tensor.device, tensor.dtype) for tensor in tensors}) == 1
        ):
            numbers: list[float] = torch.stack(tensors).tolist()
            return numbers
        return [float(tensor) for tensor in tensors]
    except Exception:
        # The training is about to fail of the same cause. What was read of it before has to outlive it.
        _log.exception("[epochwidget] a device did not give back logged values; what cannot be read counts as NaN.")
        return [_read_or_nan(tensor) for tensor in tensors]


def _read_or_nan(tensor: Any) -> float:
    try:
        return float(tensor)
    except Exception:
        return float("nan")


def _count(shape: Any) -> int | None:
    try:
        return int(np.prod([int(length) for length in shape], dtype=np.int64))
    except (TypeError, ValueError):
        return None


def _to_float(name: str, value: Any) -> float:
    if isinstance(value, (str, bytes, bytearray)):  # which `float` would read, an array's or a tensor's as well
        raise _no_number(name, value)
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"log({name}=...): the number is larger than a float can be; log its logarithm.") from error
    except (TypeError, ValueError) as error:
        if hasattr(value, "dtype") and hasattr(value, "shape"):  # traced by tf.function or jax.jit
            raise TypeError(
                f"log({name}=...): a {type(value).__name__} inside a compiled function has no value yet; "
                f"return it from the function and log it outside."
            ) from error
        raise _no_number(name, value) from error


def _no_number(name: str, value: Any) -> TypeError:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return TypeError(
        f"log({name}={shown}): {type(value).__name__} is no number; give a number or a tensor with one element."
    )


def _not_one(name: str, shape: tuple[int, ...]) -> ValueError:
    return ValueError(
        f"log({name}=...): the value has the shape {shape}, but one number is wanted; reduce it first, "
        f"for example by .mean()."
    )
