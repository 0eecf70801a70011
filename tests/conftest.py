import pytest

from epochwidget import Bus


@pytest.fixture
def bus():
    """A bus of the test's own, on which no failure of a subscriber stays hidden."""
    return Bus(strict=True)
