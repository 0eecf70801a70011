import pickle
import threading
import time

import pytest

from epochwidget import BatchEnded, EpochWidget, Run
from epochwidget.errors import harmless
from epochwidget.watching import Cost


def burn(seconds):
    """Keep a processor busy."""
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        pass


def test_what_is_measured_within_something_measured_counts_once():
    cost = Cost()
    outer = cost.begin()
    time.sleep(0.02)
    inner = cost.begin()
    time.sleep(0.02)
    cost.end(inner)
    cost.end(outer)
    assert 0.04 <= cost.seconds < 0.08


def test_a_sample_stands_for_many_and_what_was_measured_within_for_itself():
    cost = Cost()
    outer = cost.begin()
    time.sleep(0.01)
    inner = cost.begin()
    time.sleep(0.05)
    cost.end(inner)
    cost.end(outer, times=10)
    assert 0.15 <= cost.seconds < 0.3


def test_what_threads_take_at_once_adds_up():
    cost = Cost()

    def take():
        began = cost.begin()
        time.sleep(0.05)
        cost.end(began)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.2 <= cost.seconds < 0.4
    assert pickle.loads(pickle.dumps(cost)).seconds == cost.seconds


@pytest.mark.parametrize("batches", [30, 200])
@pytest.mark.parametrize("walks", [True, False])
def test_a_slow_subscriber_is_counted_and_the_training_is_not(bus, batches, walks):
    bus.subscribe(lambda _: time.sleep(0.001), BatchEnded)
    run = Run("a", bus=bus)
    for _ in run.batches(range(batches)) if walks else range(batches):
        time.sleep(0.004)
        run.log(loss=1.0)
    run.end()
    history = run.history
    # A sleep takes longer than it was told, and much longer on a busy machine; samples leave up to 60 batches out.
    assert 0.8 * 0.001 * batches < history.watching < 0.6 * history.elapsed


def test_several_logs_in_one_batch_are_all_counted(bus):
    class Slow:
        def __float__(self):
            time.sleep(0.001)
            return 1.0

    with Run("a", bus=bus) as run:
        for _ in run.batches(range(200)):
            run.log(loss=Slow())
            run.log(accuracy=Slow())
    assert 0.3 < run.history.watching < 1.5


def test_the_ends_of_epochs_and_of_the_run_are_counted(bus):
    bus.subscribe(lambda event: None if isinstance(event, BatchEnded) else time.sleep(0.01))
    with Run("a", bus=bus) as run:  # the first
        for _ in run.epochs(3):  # and the second and third of each
            run.log(loss=1.0)
        run.mark("here")
    assert 0.09 <= run.history.watching < 0.3


def test_a_hook_is_counted_for_the_run_that_it_is_of(bus):
    class Callback:
        @property
        def history(self):
            return self.run.history

        @harmless
        def begin(self):
            self.run = Run("a", bus=bus)
            time.sleep(0.02)

        @harmless
        def hook(self):
            time.sleep(0.01)
            self.run.batch_ended({"loss": 1.0})

        @harmless
        def fails(self):
            time.sleep(0.01)
            raise KeyError

    callback = Callback()
    callback.begin()
    first = callback.history
    for _ in range(10):
        callback.hook()
    callback.run.end()
    counted = first.watching
    assert 0.12 <= first.watching < 0.3
    harmless(lambda callback: time.sleep(0.01))(callback)  # after the training
    assert first.watching == counted
    callback.begin()
    callback.fails()
    assert first.watching == counted
    assert 0.03 <= callback.history.watching < 0.1
    callback.run.end()


def test_what_a_widgets_sender_takes_of_the_processor_is_counted(bus):
    sent = []

    class Slow(EpochWidget):
        def send(self, content, buffers=None):
            if threading.current_thread().name == "epochwidget-sender":
                burn(0.02)
                sent.append(1)

    widget = Slow(bus=bus)
    with Run("a", bus=bus) as run:
        run.log(loss=1.0)
        deadline = time.monotonic() + 30
        while len(sent) < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        count = len(sent)
        time.sleep(0.05)
        watching = run.history.watching
    widget.close()
    assert count
    assert 0.02 * count <= watching < 0.02 * len(sent) + 0.1


def test_on_another_clock_all_within_is_measured_by_that():
    """As for a sender, which waits for the interpreter while the training has it."""
    cost = Cost()
    with cost.by(time.thread_time):
        began = cost.begin()
        time.sleep(0.05)
        cost.end(began)
    assert cost.seconds < 0.02
    began = cost.begin()
    time.sleep(0.05)
    cost.end(began)
    assert cost.seconds > 0.05
