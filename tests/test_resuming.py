"""A run that goes on: nothing of it is lost, or what is dropped is dropped everywhere."""

import gc
import pickle
import sys
import threading
import time

import pytest

from epochwidget import Bus, EpochWidget, Run, wire
from epochwidget.events import RunResumed
from tests.frames import Page, read


def train(run, epochs, batches=2, loss=1.0):
    for epoch in run.epochs(epochs):
        for batch in run.batches(range(batches)):
            run.log(loss=loss + epoch + batch / 10)
        run.log_epoch(val_loss=loss + epoch)


@pytest.fixture
def past(bus):
    """A run of three epochs of two batches each."""
    with Run("resnet18", bus=bus) as run:
        train(run, 3)
    return run.history


def spans(history):
    return [(span.epoch, span.first, span.batches) for span in history.spans]


def test_by_default_a_run_is_a_new_one(bus, past):
    with Run("resnet18", bus=bus) as run:
        train(run, 1)
    assert len(bus.runs) == 2
    assert len(past.batch["loss"]) == 6


def test_a_run_goes_on_with_its_steps_and_epochs(bus, past):
    with Run(bus=bus, resume=past) as run:
        assert (run.history, run.id, run.name, run.step, past.status) == (past, past.run, "resnet18", 6, "running")
        train(run, 5)
    assert len(bus.runs) == bus.runs.begun == 1
    assert past.batch["loss"].tolist() == [1, 1.1, 2, 2.1, 3, 3.1, 4, 4.1, 5, 5.1]
    assert past.batch.steps("loss").tolist() == list(range(1, 11))
    assert past.batch.epochs("loss").tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert past.epoch["val_loss"].tolist() == [1, 2, 3, 4, 5]
    assert past.epoch["loss"].tolist() == pytest.approx([1.05, 2.05, 3.05, 4.05, 5.05])
    assert past.epoch.epochs("val_loss").tolist() == [0, 1, 2, 3, 4]
    assert spans(past) == [(epoch, 2 * epoch, 2) for epoch in range(5)]
    assert (past.status, past.epochs, past.generation) == ("completed", 5, 0)
    assert [resumed.step for resumed in past.resumed] == [6]


def test_a_run_goes_on_from_an_epoch_and_what_came_after_it_is_dropped(bus, past):
    with Run(bus=bus, resume=past, epoch=1) as run:
        assert (run.step, past.batch["loss"].tolist(), past.epoch["val_loss"].tolist()) == (2, [1, 1.1], [1])
        train(run, 3, loss=0.5)
    assert past.batch["loss"].tolist() == [1, 1.1, 1.5, 1.6, 2.5, 2.6]
    assert past.batch.steps("loss").tolist() == list(range(1, 7))
    assert past.epoch["val_loss"].tolist() == [1, 1.5, 2.5]
    assert past.epoch.epochs("val_loss").tolist() == [0, 1, 2]
    assert spans(past) == [(0, 0, 2), (1, 2, 2), (2, 4, 2)]
    assert len(past.clock) == 6
    assert (past.step, past.epochs, past.generation) == (6, 3, 1)


def test_a_run_may_go_on_from_its_beginning_or_right_after_its_end(bus, past):
    with Run(bus=bus, resume=past, epoch=3) as run:
        train(run, 4)
    assert past.epoch["val_loss"].tolist() == [1, 2, 3, 4]
    with Run(bus=bus, resume=past, epoch=0) as run:
        assert (run.step, past.spans, list(past.batch), len(past.clock)) == (0, [], [], 0)
        train(run, 1, loss=7.0)
    assert past.batch["loss"].tolist() == [7, 7.1]
    assert past.epoch["val_loss"].tolist() == [7]


def test_an_epoch_that_was_not_ended_comes_again(bus):
    run = Run("a", bus=bus)
    for _ in run.epochs(3):
        for batch in run.batches(range(4)):
            run.log(loss=float(batch))
            if run.step >= 6:
                break
        if run.step >= 6:
            break
    run.end("stopped")
    history = run.history
    assert spans(history) == [(0, 0, 4), (1, 4, 4)]
    assert history.due == 1
    with Run(bus=bus, resume=history) as goes_on:
        train(goes_on, 2)
    assert [(span.epoch, span.first) for span in history.spans] == [(0, 0), (1, 4), (1, 7)]
    with Run(bus=bus, resume=history, epoch=1) as again:
        train(again, 2)
    assert spans(history) == [(0, 0, 4), (1, 4, 2)]


def test_marks_and_series_of_what_is_dropped_go_with_it(bus):
    with Run("a", bus=bus) as run:
        for epoch in run.epochs(3):
            run.log(loss=1.0)
            run.mark(f"epoch {epoch}")
            if epoch == 2:
                run.mark("the best was here", step=1)
                run.log(grad_norm=1.0)
    history = run.history
    Run(bus=bus, resume=history, epoch=2).end()
    assert [mark.text for mark in history.marks] == ["epoch 0", "epoch 1"]
    assert list(history.batch) == ["loss"]


def test_a_mean_is_of_what_came_after_the_cut(bus, past):
    with Run(bus=bus, resume=past, epoch=1) as run:
        assert past.epoch_mean("loss") is None
        for _ in run.epochs(2):
            run.log(loss=9.0)
    assert past.epoch["loss"].tolist() == pytest.approx([1.05, 9])


def test_the_time_between_is_not_of_the_run(bus):
    with Run("a", bus=bus) as run:
        run.log(loss=1.0)
        time.sleep(0.02)
    ended = run.history.elapsed
    time.sleep(0.3)
    with Run(bus=bus, resume=run.history) as again:
        assert ended <= run.history.elapsed < ended + 0.2
        again.log(loss=2.0)
    clock = run.history.clock.values.array()
    assert ended <= clock[1] <= run.history.elapsed < ended + 0.2
    (resumed,) = run.history.resumed
    assert resumed.time == pytest.approx(ended, abs=1e-3)
    assert resumed.at - run.history.started >= ended + 0.3


def test_what_was_spent_on_what_is_dropped_is_dropped(bus):
    def wait(_):
        time.sleep(0.01)

    with Run("a", bus=bus) as run:
        for epoch in run.epochs(2):
            if epoch == 1:
                bus.subscribe(wait)
            for _ in run.batches(range(5)):
                run.log(loss=1.0)
            time.sleep(0.02)
            run.log_epoch(val_loss=1.0)
    bus.unsubscribe(wait)
    history = run.history
    watching, validating, elapsed = history.watching, history.validating, history.elapsed
    Run(bus=bus, resume=history, epoch=1).end()
    assert 0 < history.watching < watching - 0.05
    assert 0.02 <= history.validating < validating - 0.02
    assert history.elapsed < elapsed - 0.07


def test_a_handle_that_was_left_open_is_ended_first(bus):
    left = Run("a", bus=bus)
    left.log(loss=1.0)
    with Run(bus=bus, resume=left.history) as run:
        assert (left.status, left.history.status) == ("stopped", "running")
        with pytest.raises(RuntimeError):
            left.log(loss=9.0)
        run.log(loss=2.0)
    del left
    gc.collect()
    assert (run.history.batch["loss"].tolist(), run.history.status) == ([1, 2], "completed")


def test_a_handle_of_a_copy_that_is_elsewhere_is_left_alone(bus, past):
    """As when a run is watched on one bus and a copy of it goes on on another."""
    other = Bus(strict=True)
    copied = other.take(pickle.loads(pickle.dumps(past)))
    with Run(bus=bus, resume=past) as run, Run(bus=other, resume=copied) as elsewhere:
        assert (run.status, elsewhere.status) == ("running", "running")


def test_a_failed_run_that_goes_on_has_not_failed(bus):
    with pytest.raises(ZeroDivisionError), Run("a", bus=bus) as run:
        _ = 1 / 0
    assert run.history.error is not None
    with Run(bus=bus, resume=run) as again:  # a handle has a history, too
        again.log(loss=1.0)
    assert (run.history.status, run.history.error) == ("completed", None)


def test_a_framework_that_counts_from_zero_again_is_counted_on(bus, past):
    run = Run(bus=bus, resume=past)
    for epoch in range(2):
        run.begin_epoch(epoch, batches=1, epochs=2)
        run.batch_ended({"loss": 1.0})
        run.end_epoch({"val_loss": 1.0})
    assert run.numbered(1) == 4
    run.end()
    assert past.epoch.epochs("val_loss").tolist() == [0, 1, 2, 3, 4]
    assert past.epochs == 5


def test_a_framework_that_says_where_it_goes_on_is_believed(bus, past):
    run = Run(bus=bus, resume=past, epoch=2)
    run.begin_epoch(2, epochs=4)
    run.end_epoch({"val_loss": 9.0})
    run.end()
    assert past.epoch.epochs("val_loss").tolist() == [0, 1, 2]
    assert past.epoch["val_loss"].tolist() == [1, 2, 9]
    assert past.epochs == 4


def test_epochs_that_are_told_by_a_range_are_taken_as_they_are(bus, past):
    with Run(bus=bus, resume=past, epoch=1) as run:
        assert list(run.epochs(range(1, 3))) == [1, 2]
    assert [span.epoch for span in past.spans] == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"resume": 3}, TypeError, "Run(resume=...) needs a history, as ew.runs[-1] is one, got 3."),
        (
            {"epoch": 1},
            TypeError,
            "Run(epoch=1) says from where a run goes on: give resume=history as well.",
        ),
        (
            {"resume": "past", "epoch": 4},
            ValueError,
            "Run(epoch=4): the run 'resnet18 · run 1' can go on from epoch 0 to 3, counted from 0.",
        ),
        (
            {"resume": "past", "epoch": 1.0},
            TypeError,
            "Run(epoch=...) has to be a whole number, got 1.0.",
        ),
        (
            {"resume": "past", "name": "other"},
            ValueError,
            "Run(name='other', resume=...): a run that goes on keeps its name, 'resnet18'; leave name out.",
        ),
    ],
)
def test_what_cannot_go_on_is_refused_and_nothing_is_touched(bus, past, arguments, error, sentence):
    if arguments.get("resume") == "past":
        arguments = {**arguments, "resume": past}
    with pytest.raises(error) as raised:
        Run(bus=bus, **arguments)
    assert str(raised.value) == sentence
    assert (len(bus.runs), past.status, past.resumed) == (1, "completed", [])


def test_a_run_of_another_bus_cannot_go_on(past):
    with pytest.raises(ValueError, match=r"the run 'resnet18 · run 1' is not on this bus any more, or never was"):
        Run(bus=Bus(strict=True), resume=past)


def test_no_epoch_is_left_of_those_that_were_planned(bus, past):
    with (
        Run(bus=bus, resume=past) as run,
        pytest.raises(ValueError, match=r"has had 3 epochs and none is left; .* for example run\.epochs\(4\)\.$"),
    ):
        run.epochs()


def test_subscribers_are_told(bus, past):
    heard = []
    bus.subscribe(heard.append, RunResumed)
    Run(bus=bus, resume=past, epoch=2).end()
    (event,) = heard
    assert (event.run, event.step, event.epoch) == (past.run, 4, 2)


# --- what the page gets ------------------------------------------------------------------------------------------


def send(history, sent, page):
    while (frame := wire.append(history, sent)) is not None:
        page.take(read(frame)["runs"][0])
        if not wire.behind(history, sent):
            return


def losses(page):
    return [value for value, _, _ in page.drawn().get(("batch", "loss"), [])]


def test_a_page_drops_what_the_history_dropped(bus, past):
    page, sent = Page(), wire.Sent()
    send(past, sent, page)
    assert losses(page) == [1, 1.1, 2, 2.1, 3, 3.1]
    old = wire.snapshot([past])[0]
    run = Run(bus=bus, resume=past, epoch=1)
    send(past, sent, page)
    assert (losses(page), page.facts["status"], page.facts["generation"]) == ([1, 1.1], "running", 1)
    assert page.spans == [[0, 0, 2]]
    train(run, 2, loss=0.5)
    page.take(read(old)["runs"][0])  # a snapshot that comes late
    send(past, sent, page)
    assert losses(page) == [1, 1.1, 1.5, 1.6]
    assert page.drawn()["epoch", "val_loss"] == [(1, 2, 0), (1.5, 4, 1)]
    run.end()
    fresh = Page()
    frame, complete = wire.snapshot([past])
    fresh.take(read(frame)["runs"][0])
    send(past, sent, page)
    assert page.drawn() == fresh.drawn()
    assert wire.append(past, complete[past.run]) is None


def test_of_a_run_that_goes_on_only_what_is_new_is_sent(bus, past):
    page, sent = Page(), wire.Sent()
    send(past, sent, page)
    with Run(bus=bus, resume=past) as run:
        train(run, 4)
        frame = wire.append(past, sent)
        (told,) = read(frame)["runs"]
        page.take(told)
        assert (told["status"], told["generation"]) == ("running", 0)
        assert [column["count"] for column in told["columns"]] == [2, 2, 1, 1]
        ((step, clock, at),) = told["resumed"]
        assert step == 6
        assert clock == pytest.approx(past.resumed[0].time, abs=1e-5)
        assert at == past.resumed[0].at
    assert losses(page) == [1, 1.1, 2, 2.1, 3, 3.1, 4, 4.1]


def test_who_sends_while_a_run_is_cut_sends_nothing_wrong(bus, past):
    pages, over = [], threading.Event()

    def keep_sending():
        page, sent = Page(), wire.Sent()
        while not over.is_set():
            send(past, sent, page)
        send(past, sent, page)
        pages.append(page)

    threads = [threading.Thread(target=keep_sending) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for turn in range(300):
            with Run(bus=bus, resume=past, epoch=turn % 3) as run:
                train(run, 3, loss=float(turn))
        over.set()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(interval)
    assert len(pages) == len(threads)
    for page in pages:
        assert losses(page) == past.batch["loss"].tolist()


@pytest.mark.parametrize("epoch", [None, 1])
def test_a_widget_that_had_done_with_a_run_shows_how_it_goes_on(bus, epoch):
    widget = EpochWidget(bus=bus)
    with Run("a", bus=bus) as run:
        train(run, 2)
    with Run(bus=bus, resume=run, epoch=epoch) as again:
        train(again, 3, loss=7.0)
    for thread in threading.enumerate():
        if thread.name == "epochwidget-sender":
            thread.join(10)
    page = Page()
    page.take(read(widget._snapshot)["runs"][0])
    assert losses(page) == run.history.batch["loss"].tolist()
    assert page.facts["status"] == "completed"
    assert len(losses(page)) == 6
    widget.close()
