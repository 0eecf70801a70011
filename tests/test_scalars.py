import logging
import math
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from epochwidget import Run
from epochwidget.scalars import rates, scalar, to_floats


class OnDevice(torch.Tensor):
    """A tensor that says it lives on an accelerator and counts how often it is waited for."""

    reads = 0
    stacks = 0

    @staticmethod
    def __new__(cls, value, dtype=torch.float32):
        return torch.as_tensor(value, dtype=dtype).as_subclass(cls)

    @property
    def device(self):
        return torch.device("cuda", 0)

    @property
    def is_cpu(self):
        return False

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), keywords=None):
        name = getattr(function, "__name__", "")
        if name in {"item", "tolist", "__float__", "__int__", "__bool__", "numpy", "__array__", "cpu"}:
            OnDevice.reads += 1
        if name in {"double", "float"}:
            raise TypeError("this device has no such type")
        OnDevice.stacks += name == "stack"
        return super().__torch_function__(function, types, arguments, keywords or {})


@pytest.fixture(autouse=True)
def counted():
    OnDevice.reads = OnDevice.stacks = 0


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1.5, 1.5),
        (3, 3.0),
        (True, 1.0),
        (2**70, float(2**70)),
        (10**308, 1e308),
        (-(10**308), -1e308),
        (1e308, 1e308),
        (5e-324, 5e-324),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
        (Decimal("1.5"), 1.5),
        (Fraction(1, 4), 0.25),
        (np.float16(1.5), 1.5),
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.int64(7), 7.0),
        (np.uint8(255), 255.0),
        (np.bool_(True), 1.0),
        (np.array(2.5), 2.5),
        (np.array([2.5]), 2.5),
        (np.array([[[4]]]), 4.0),
        (torch.tensor(2.5), 2.5),
        (torch.tensor([[2.5]]), 2.5),
        (torch.tensor(2.5, requires_grad=True) * 2, 5.0),
        (torch.nn.Parameter(torch.tensor(2.5)), 2.5),
        (torch.tensor(1.5, dtype=torch.bfloat16), 1.5),
        (torch.tensor(1.5, dtype=torch.float16), 1.5),
        (torch.tensor(0.1, dtype=torch.float64), 0.1),
        (torch.tensor(7), 7.0),
        (torch.tensor(True), 1.0),
    ],
    ids=repr,
)
def test_whatever_a_loop_calls_a_number_becomes_a_float(value, number):
    made = scalar("loss", value)
    assert (type(made), made) == (float, number)


@pytest.mark.parametrize("value", [math.nan, np.float32("nan"), np.array(np.nan), torch.tensor(math.nan)], ids=repr)
def test_nan_is_a_number_here(value):
    assert math.isnan(scalar("loss", value))


def test_tensorflow_and_keras_values_become_floats():
    tf = pytest.importorskip("tensorflow")
    keras = pytest.importorskip("keras")
    for value in (tf.constant(2.5), tf.constant([[2.5]]), tf.Variable(2.5), keras.Variable(2.5), tf.constant(2.5) * 1):
        made = scalar("loss", value)
        assert (type(made), made) == (float, 2.5)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        scalar("loss", tf.zeros(3))
    with pytest.raises(TypeError, match="is no number"):
        scalar("loss", tf.constant(1 + 2j))
    with pytest.raises(TypeError, match="is no number"):
        scalar("loss", tf.constant("1.5"))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0.5", "'0.5': str"),
        (b"1", "b'1': bytes"),
        (None, "None: NoneType"),
        (1 + 2j, "(1+2j): complex"),
        (np.complex64(1 + 2j), "(1+2j): complex"),
        (np.array(1 + 2j), "(1+2j): complex"),
        (np.array(None), "None: NoneType"),
        (np.array("0.5"), "'0.5': str"),
        ([0.5], "[0.5]: list"),
        ({}, "{}: dict"),
        (print, "<built-in function print>: builtin_function_or_method"),
    ],
)
def test_what_is_no_number_is_refused_in_one_sentence(value, shown):
    with pytest.raises(TypeError) as raised:
        scalar("loss", value)
    assert (
        str(raised.value)
        == f"log(loss={shown.replace(': ', '): ', 1)} is no number; give a number or a tensor with one element."
    )


@pytest.mark.parametrize("value", [torch.tensor(1 + 2j), torch.empty((), device="meta")], ids=["complex", "meta"])
def test_a_tensor_without_a_real_number_is_refused(value):
    with pytest.raises(TypeError, match=r"^log\(loss=.*\): Tensor is no number; give a number or .* one element\.$"):
        scalar("loss", value)


@pytest.mark.parametrize("value", [10**400, -(10**5_000)], ids=["400 digits", "5,000 digits"])
def test_an_integer_that_no_float_holds_is_refused_as_too_large(value):
    with pytest.raises(ValueError, match=r"^log\(loss=\.\.\.\): the number is larger than a float can be; "):
        scalar("loss", value)


@pytest.mark.parametrize("shape", [(3,), (2, 2), (0,), (1, 0)])
@pytest.mark.parametrize("make", [np.zeros, torch.zeros], ids=["numpy", "torch"])
def test_more_or_less_than_one_number_is_refused_with_its_shape_and_the_way_out(make, shape):
    with pytest.raises(ValueError, match="shape") as raised:
        scalar("loss", make(shape))
    assert str(raised.value) == (
        f"log(loss=...): the value has the shape {shape}, but one number is wanted; reduce it first, "
        f"for example by .mean()."
    )


def test_the_error_does_not_show_a_whole_book():
    with pytest.raises(TypeError) as raised:
        scalar("loss", "x" * 10_000)
    assert len(str(raised.value)) < 250


def test_logging_a_tensor_on_a_device_waits_for_nothing_and_reading_reads_all_at_once(bus):
    run = Run("a", bus=bus)
    run.begin_epoch(0)
    for loss in range(100):
        run.log(loss=OnDevice(loss / 8))
    assert OnDevice.reads == 0
    assert run.history.batch["loss"].tolist() == [loss / 8 for loss in range(100)]
    assert (OnDevice.stacks, OnDevice.reads) == (1, 1)
    run.end()


def test_a_tensor_that_changes_in_place_after_it_was_logged_does_not_change_the_history(bus):
    total, array = OnDevice(0.0), np.zeros(())
    run = Run("a", bus=bus)
    for _ in range(3):
        total.add_(1)
        array += 1
        run.log(loss=total, other=array)
    total.zero_()
    run.end()
    assert run.history.batch["loss"].tolist() == [1, 2, 3]
    assert run.history.batch["other"].tolist() == [1, 2, 3]


def test_a_logged_tensor_keeps_no_graph_alive():
    kept = scalar("loss", OnDevice(2.0).requires_grad_() * 2)
    assert kept.grad_fn is None
    assert not kept.requires_grad


def test_integers_on_a_device_are_not_rounded_by_their_neighbours():
    values = [OnDevice(2**24 + 1, torch.int64), OnDevice(0.5), 2.0]
    assert to_floats(values).tolist() == [2**24 + 1, 0.5, 2.0]


def test_floats_and_tensors_keep_their_order():
    assert to_floats([1.0, OnDevice(2.0), 3.0, OnDevice(4.0)]).tolist() == [1, 2, 3, 4]
    assert to_floats([]).tolist() == []


class Broken:
    """What a device leaves of its values when it fails."""

    def __float__(self):
        raise RuntimeError("device-side assert triggered")


def test_a_device_that_fails_costs_its_values_and_not_the_history(bus, caplog):
    run = Run("a", bus=bus)
    run.log(loss=1.0)
    run.batch_ended({"loss": Broken()})
    run.batch_ended({"loss": 3.0})
    run.end("failed", "device-side assert triggered")
    np.testing.assert_array_equal(run.history.batch["loss"], [1, math.nan, 3])
    assert run.history.batch.steps("loss").tolist() == [1, 2, 3]
    assert run.history.status == "failed"
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message.startswith("[epochwidget] ")


def test_the_rates_of_every_parameter_group_of_a_torch_optimizer():
    first, second, third = (torch.nn.Parameter(torch.zeros(1)) for _ in range(3))
    optimizer = torch.optim.SGD(
        [{"params": [first], "lr": 0.1}, {"params": [second]}, {"params": [third], "lr": 0.3}], 0.2
    )
    assert rates("lr", optimizer) == {"lr": 0.1, "lr_1": 0.2, "lr_2": 0.3}
    assert rates("lr", torch.optim.Adam([first], lr=torch.tensor(0.5))) == {"lr": 0.5}


def test_the_rate_of_a_keras_optimizer():
    keras = pytest.importorskip("keras")
    assert rates("lr", keras.optimizers.SGD(0.25)) == {"lr": 0.25}
    assert rates("lr", keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.5))) == {"lr": 0.5}


@pytest.mark.parametrize("value", [1.5, torch.tensor(1.0), SimpleNamespace(param_groups=3), torch.nn.Linear(1, 1)])
def test_what_is_no_optimizer_has_no_rates(value):
    assert rates("lr", value) is None
