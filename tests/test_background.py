import threading
import time

import pytest

import epochwidget as ew


def train(bus, epochs=2, fail_at=None, **log):
    with ew.Run("digits", epochs=epochs, bus=bus) as run:
        for epoch in run.epochs():
            for batch in run.batches(range(5)):
                if (epoch, batch) == fail_at:
                    raise ZeroDivisionError("no luck")
                run.log(loss=1.0, **log)
    return run.history


def test_it_returns_what_the_function_returns_and_trains_in_another_thread(bus):
    training = ew.background(lambda: (train(bus), threading.current_thread()))
    history, thread = training.result(10)
    assert thread is not threading.current_thread()
    assert thread.daemon, "a kernel that is shut down waits for nobody"
    assert history.status == "completed"
    assert len(history.batch["loss"]) == 10
    assert training.done()


def test_arguments_reach_it(bus):
    assert len(ew.background(train, bus, epochs=3, accuracy=0.5).result(10).batch["accuracy"]) == 15


def test_it_raises_what_the_function_raised_and_tells_of_it(bus, capfd):
    training = ew.background(train, bus, fail_at=(1, 2))
    with pytest.raises(ZeroDivisionError, match="no luck"):
        training.result(10)
    assert bus.runs[-1].status == "failed"
    assert len(bus.runs[-1].batch["loss"]) == 7
    assert "ZeroDivisionError: no luck" in capfd.readouterr().err
    assert repr(training) == "<background train: failed, ZeroDivisionError>"


@pytest.mark.parametrize(("fails", "status"), [(False, "completed"), (True, "failed")])
def test_a_run_that_it_leaves_open_ends_with_it(bus, fails, status):
    other = ew.Run("of this thread", bus=bus)
    other.log(loss=1.0)

    def careless():
        run = ew.Run("open", bus=bus)
        run.log(loss=1.0)
        if fails:
            raise ValueError("careless")
        return run

    training = ew.background(careless)
    training.exception(10)
    assert bus.runs[-1].status == status
    assert other.status == "running"
    other.end()


def test_its_text_says_how_it_stands():
    go_on = threading.Event()
    training = ew.background(go_on.wait)
    assert repr(training) == "<background wait: running>"
    assert not training.done()
    with pytest.raises(TimeoutError):
        training.result(0.01)
    go_on.set()
    training.result(10)
    assert repr(training) == "<background wait: finished>"


def test_what_cannot_be_called_is_refused(bus):
    with pytest.raises(
        TypeError, match=r"needs a function and its arguments, got <History of .*: write background\(train, model\)"
    ):
        ew.background(train(bus))


def test_a_widget_follows_it(bus):
    widget = ew.EpochWidget(bus=bus)
    sent = []
    widget.send = lambda content, buffers=None: sent.append(buffers)
    ew.background(train, bus, epochs=50).result(20)
    deadline = time.monotonic() + 5
    while not sent and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sent
    widget.close()
