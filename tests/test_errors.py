import numpy as np
import pytest

from epochwidget.errors import checked_count, checked_name, unknown_keywords


def test_an_unknown_keyword_is_answered_with_the_nearest_known_one():
    error = unknown_keywords("Run", ["epoch", "zzz"], ["name", "epochs", "bus"])
    assert isinstance(error, TypeError)
    assert str(error) == "Run() does not know 'epoch' (did you mean 'epochs'?), 'zzz'; it takes bus, epochs, name."


@pytest.mark.parametrize("count", [1, 7, np.int64(3), np.uint8(2)])
def test_whole_numbers_above_zero_are_counts(count):
    checked = checked_count("It", count)
    assert (type(checked), checked) == (int, int(count))


@pytest.mark.parametrize("count", [True, np.True_, 2.0, np.float64(2), "3", None, [1], np.array([3]), np.array(3.0)])
def test_what_is_no_whole_number_is_no_count(count):
    with pytest.raises(TypeError) as raised:
        checked_count("The number of epochs", count)
    assert str(raised.value) == f"The number of epochs has to be a whole number, got {count!r}."


@pytest.mark.parametrize("count", [0, -1, np.int64(0)])
def test_a_count_begins_at_one(count):
    with pytest.raises(ValueError, match=rf"^It has to be 1 or more, got {count}\.$"):
        checked_count("It", count)


@pytest.mark.parametrize("name", ["", " ", "\t\n"])
def test_a_name_shows_something(name):
    with pytest.raises(ValueError, match=r"^The name is empty: give it a name that can be read on a plot\.$"):
        checked_name("The name", name)


@pytest.mark.parametrize("name", [None, 3, b"loss"])
def test_a_name_is_a_text(name):
    with pytest.raises(TypeError) as raised:
        checked_name("The name", name)
    assert str(raised.value) == f"The name has to be a text, got {name!r}."


def test_any_other_text_is_a_name():
    assert checked_name("The name", "<b>خسارة 🔥") == "<b>خسارة 🔥"
