"""Interrupts where a page has no other way to a busy kernel."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from epochwidget import Run, interrupts


@pytest.fixture(autouse=True)
def as_before():
    former = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, former)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)


def test_the_first_interrupt_stops_and_the_second_is_one(bus):
    with Run(bus=bus) as run:
        interrupts.guard(run.history)
        run.is_stoppable("batch")
        interrupt()
        assert run.history.stopping == "batch"
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("ended", [False, True])
def test_a_run_that_does_not_look_or_is_over_is_interrupted_at_once(bus, ended):
    run = Run(bus=bus)
    interrupts.guard(run.history)
    if ended:
        run.is_stoppable("batch")
        run.end()
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert run.history.stopping is None
    run.end()


def test_two_runs_are_both_guarded(bus):
    with Run(bus=bus) as one, Run(bus=bus) as other:
        for run in (one, other):
            run.is_stoppable("batch")
            interrupts.guard(run.history)
        interrupt()
        assert other.history.stopping == "batch"
        interrupt()
        assert one.history.stopping == "batch"
        with pytest.raises(KeyboardInterrupt):
            interrupt()


def test_another_thread_guards_nothing(bus):
    former = signal.getsignal(signal.SIGINT)
    with Run(bus=bus) as run:
        thread = threading.Thread(target=interrupts.guard, args=(run.history,))
        thread.start()
        thread.join()
    assert signal.getsignal(signal.SIGINT) is former


def test_a_handler_that_ignores_is_put_back_as_it_was(bus):
    code = """
import os, signal, epochwidget as ew
from epochwidget import interrupts
signal.signal(signal.SIGINT, signal.SIG_IGN)
run = ew.Run()
interrupts.guard(run.history)
os.kill(os.getpid(), signal.SIGINT)
print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
run.end()
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
