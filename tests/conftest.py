import signal

import pytest

from epochwidget import Bus, Run

from .saved import train


@pytest.fixture
def bus():
    """A bus of the test's own, on which no failure of a subscriber stays hidden."""
    return Bus(strict=True)


@pytest.fixture
def past(bus):
    """A run of two epochs of three batches that is over."""
    with Run("resnet18", bus=bus) as run:
        train(run)
        run.mark("here")
    return run.history


# Where the tests are started in the background, a shell makes them deaf to interrupts, of which some tests tell.
signal.signal(signal.SIGINT, signal.default_int_handler)
