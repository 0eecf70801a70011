"""Every framework trains in a thread of `background`, with the numbers that it has in a cell."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

import epochwidget as ew

from . import (
    test_catboost,
    test_fastai,
    test_ignite,
    test_jax,
    test_keras,
    test_lightgbm,
    test_lightning,
    test_loop,
    test_skorch,
    test_tensorflow,
    test_transformers,
    test_xgboost,
)


def kept(tests: ModuleType, test: str, **given: Any) -> Any:
    marks = getattr(tests, "pytestmark", ())
    return pytest.param(getattr(tests, test), given, marks=marks, id=tests.__name__.rpartition("test_")[2])


@pytest.mark.parametrize(
    ("test", "given"),
    [
        kept(test_catboost, "test_fit_keeps_the_contract", continued=False),
        kept(test_fastai, "test_fit_keeps_the_contract"),
        kept(test_ignite, "test_run_keeps_the_contract_whatever_was_attached_first", ours_first=True),
        kept(test_jax, "test_a_flax_linen_loop_keeps_the_contract"),
        kept(test_keras, "test_fit_keeps_the_contract"),
        kept(test_lightgbm, "test_train_keeps_the_contract"),
        kept(test_lightning, "test_fit_keeps_the_contract", framework=test_lightning.pl),
        kept(test_loop, "test_a_plain_pytorch_loop_keeps_the_contract"),
        kept(test_skorch, "test_fit_keeps_the_contract"),
        kept(test_tensorflow, "test_a_gradient_tape_loop_keeps_the_contract"),
        kept(test_transformers, "test_train_keeps_the_contract"),
        kept(test_xgboost, "test_train_keeps_the_contract"),
    ],
)
def test_the_contract_is_kept_in_a_thread(test: Any, given: dict[str, Any]) -> None:
    ew.background(test, **given).result(120)
