"""Which points are kept of too many: no spike is lost, and of a column that grows nothing is looked at twice."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from epochwidget.columns import Column
from epochwidget.spikes import Spikes, are_many, extremes


@given(st.lists(st.floats(), max_size=400), st.integers(1, 100))
def test_extremes_rise_and_hold_the_ends_and_the_lowest_and_the_highest(plain, keep):
    array = np.array(plain, dtype=np.float64)
    chosen = extremes(array, keep)
    assert (np.diff(chosen) > 0).all()
    assert len(chosen) <= max(keep, 3) + 2
    if len(array) <= keep:
        assert chosen.tolist() == list(range(len(array)))
        return
    assert (chosen[0], chosen[-1]) == (0, len(array) - 1)
    finite = np.isfinite(array)
    if finite.any():
        assert array[finite].min() in array[chosen]
        assert array[finite].max() in array[chosen]
    if not finite.all():
        assert np.argmin(finite) in chosen


@given(st.integers(200, 2_000), st.integers(20, 100), st.data())
def test_every_spike_that_stands_alone_is_kept(n, keep, data):
    apart = -(-n // (keep // 2)) + 1  # farther than a stretch is long
    count = data.draw(st.integers(1, n // apart))
    first = data.draw(st.integers(0, n - 1 - apart * (count - 1)))
    at = [first + apart * index for index in range(count)]
    array = np.zeros(n)
    array[at] = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=count, max_size=count))
    assert set(at) <= set(extremes(array, keep).tolist())


@given(st.data(), st.integers(4, 40))
def test_the_spikes_of_a_column_that_grows_are_those_of_all_of_it(data, keep):
    pattern = data.draw(st.lists(st.floats(), min_size=1, max_size=60))
    lengths = sorted(data.draw(st.lists(st.integers(1, 9_000), min_size=1, max_size=6)))
    numbers = np.resize(np.array(pattern), lengths[-1]) * np.resize([1, 0.5, 0.25], lengths[-1])
    column, found = Column(), Spikes()
    for length in lengths:
        column.extend(numbers[len(column) : length])
        found = found.grown(column, length)
        whole = Spikes().grown(column, length)
        assert (found.end, found.at.tolist()) == (whole.end, whole.at.tolist())
        assert found.values.tobytes() == column.at(found.at).tobytes()
    chosen = found.extremes(column, lengths[-1], keep)
    assert (np.diff(chosen) > 0).all()
    assert len(chosen) <= max(keep, 3) + 2
    assert {0, lengths[-1] - 1} <= set(chosen.tolist())
    finite = np.isfinite(numbers)
    if finite.any():
        assert numbers[finite].min() in numbers[chosen]
        assert numbers[finite].max() in numbers[chosen]
    if not finite.all():
        assert np.argmin(finite) in chosen


@given(st.integers(20_000, 60_000), st.integers(40, 100), st.data())
def test_of_blocks_too_every_spike_that_stands_alone_is_kept(n, keep, data):
    assert are_many(n, keep)
    apart = -(-n // (keep // 2)) + 64  # farther than a stretch is long
    count = data.draw(st.integers(1, n // apart))
    first = data.draw(st.integers(0, n - 1 - apart * (count - 1)))
    at = [first + apart * index for index in range(count)]
    numbers = np.zeros(n)
    numbers[at] = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=count, max_size=count))
    column = Column()
    column.extend(numbers)
    chosen = Spikes().grown(column, n).extremes(column, n, keep)
    assert set(at) <= set(chosen.tolist())
    assert len(chosen) <= keep + 2
