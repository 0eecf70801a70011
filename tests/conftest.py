import signal

import pytest

from epochwidget import Bus


@pytest.fixture
def bus():
    """A bus of the test's own, on which no failure of a subscriber stays hidden."""
    return Bus(strict=True)


# Where the tests are started in the background, a shell makes them deaf to interrupts, of which some tests tell.
signal.signal(signal.SIGINT, signal.default_int_handler)
