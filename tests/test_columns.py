import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from epochwidget.columns import Column

numbers = st.lists(st.floats(), max_size=700)


@given(st.lists(numbers, max_size=6), st.data())
def test_a_column_equals_the_list_that_was_appended(parts, data):
    column, plain = Column(), []
    for part in parts:
        column.extend(part)
        plain += part
    start = data.draw(st.integers(0, len(plain) + 2))
    stop = data.draw(st.none() | st.integers(0, len(plain) + 2))
    assert len(column) == len(plain)
    assert column.array().dtype == np.float64
    np.testing.assert_array_equal(column.array(), plain)
    np.testing.assert_array_equal(column.array(start, stop), plain[start:stop])
    assert np.array_equal(column.last(), plain[-1] if plain else math.nan, equal_nan=True)


def test_a_column_keeps_its_numbers_over_many_chunks():
    column = Column()
    for start in range(0, 300_000, 1_000):
        column.extend(np.arange(start, start + 1_000))
    assert (column.array() == np.arange(300_000)).all()
    assert column.array(131_071, 131_074).tolist() == [131_071, 131_072, 131_073]
    assert column.array(299_999).tolist() == [299_999]


def test_one_long_array_is_taken_at_once():
    column = Column()
    column.extend(np.arange(200_000.0))
    column.extend([-1])
    assert column.array()[[0, 199_999, 200_000]].tolist() == [0, 199_999, -1]


def test_an_array_is_a_copy():
    column = Column()
    column.extend([1, 2])
    column.array()[:] = 9
    column.array(0, 1)[:] = 9
    assert column.array().tolist() == [1, 2]


def test_what_was_read_does_not_change_when_the_column_grows():
    column = Column()
    column.extend([1])
    read = column.array()
    column.extend([2] * 1_000)
    assert read.tolist() == [1]


@given(st.lists(st.integers(1, 3_000), max_size=5), st.data())
def test_numbers_at_indices_are_those_of_the_array(lengths, data):
    column = Column()
    for length in lengths:
        column.extend(np.arange(len(column), len(column) + length))
    at = sorted(data.draw(st.sets(st.integers(0, max(len(column) - 1, 0)), max_size=20))) if len(column) else []
    assert column.at(np.array(at, dtype=np.intp)).tolist() == at
