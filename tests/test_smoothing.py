import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochwidget.smoothing import smoothed

numbers = st.floats(-1e300, 1e300) | st.just(float("nan")) | st.just(float("inf"))
points = st.lists(st.tuples(st.integers(1, 3) | st.integers(1, 10**6), numbers), max_size=60)


def one_by_one(steps, values, weight):
    """Average as the page does it (js/src/smoothing.ts), one point after the other."""
    total = norm = 0.0
    before, found = None, []
    for step, value in zip(steps, values, strict=True):
        if not np.isfinite(value):
            found.append(np.nan)
            continue
        kept = weight ** (1 if before is None else max(1, step - before))
        total, norm, before = total * kept + value * (1 - kept), norm * kept + (1 - kept), step
        found.append(total / norm)
    return np.array(found)


@given(points, st.floats(0.001, 0.999))
def test_it_is_the_average_of_the_page(pairs, weight):
    steps = np.cumsum([gap for gap, _ in pairs], dtype=float)
    values = np.array([value for _, value in pairs])
    found = smoothed(steps, values, weight)
    largest = np.abs(values[np.isfinite(values)]).max(initial=0)
    np.testing.assert_allclose(found, one_by_one(steps, values, weight), rtol=1e-9, atol=1e-9 * largest)


@pytest.mark.parametrize("weight", [0.3, 0.9, 0.999])
def test_of_consecutive_steps_it_is_the_closed_form(weight):
    n = 3000
    values = np.random.default_rng(0).normal(size=n)
    weights = weight ** np.arange(n)[::-1]
    found = smoothed(np.arange(1.0, n + 1), values, weight)
    for k in (1, 2, 700, n):
        assert found[k - 1] == pytest.approx((weights[-k:] * values[:k]).sum() / weights[-k:].sum(), rel=1e-10)


def test_the_weight_nought_changes_nothing():
    values = np.array([1.0, np.nan, np.inf, -2.0])
    np.testing.assert_array_equal(smoothed(np.arange(4.0), values, 0), [1.0, np.nan, np.nan, -2.0])
