import sys
import threading
import time

import numpy as np
import pytest

from epochwidget import (
    BatchEnded,
    Bus,
    EpochEnded,
    EpochStarted,
    Evaluated,
    History,
    Marked,
    Run,
    RunEnded,
    RunStarted,
    Series,
    SeriesDeclared,
)


def history(*events, started=0.0, epochs=None):
    made = History(RunStarted("a", "resnet18", started, epochs))
    for event in events:
        made.add(event)
    return made


def began(epoch, step=0, *, batches=None, epochs=None, at=0.0):
    return EpochStarted("a", epoch, step, at, batches, epochs)


def ended(step, values, *, epoch=0, size=None, at=None):
    return BatchEnded("a", epoch, 0, step, float(step if at is None else at), values, size)


def finished(epoch, step, values, *, at=None):
    return EpochEnded("a", epoch, step, float(step if at is None else at), values)


def test_a_history_is_made_of_its_events():
    made = history(
        began(0, batches=2, epochs=3),
        ended(1, {"loss": 4.0}),
        ended(2, {"loss": 3.0}),
        finished(0, 2, {"loss": 3.5, "val_loss": 3.25}),
        Marked("a", 2, 2.5, "here"),
        began(1, 2, batches=2),
        ended(3, {"loss": 2.0}, epoch=1),
        RunEnded("a", 3, 4.0, "failed", "ValueError: no"),
        started=100.0,
    )
    assert made.batch["loss"].tolist() == [4, 3, 2]
    assert made.batch.steps("loss").tolist() == [1, 2, 3]
    assert made.batch.epochs("loss").tolist() == [0, 0, 1]
    assert dict(made.epoch).keys() == {"loss", "val_loss"}
    assert made.epoch["val_loss"].tolist() == [3.25]
    assert made.epoch.steps("val_loss").tolist() == [2]
    assert made.epoch.epochs("val_loss").tolist() == [0]
    assert [(span.epoch, span.first, span.batches) for span in made.spans] == [(0, 0, 2), (1, 2, 2)]
    assert [mark.text for mark in made.marks] == ["here"]
    assert (made.status, made.error, made.epochs, made.step) == ("failed", "ValueError: no", 3, 3)
    assert (made.started, made.elapsed, made.remaining) == (100, 4, None)
    assert all(values.dtype == np.float64 for table in (made.batch, made.epoch) for values in table.values())


def test_reading_gives_everything_up_to_the_last_batch_however_many_wait():
    made = history(began(0))
    for step in range(1, 5_001):
        made.add(ended(step, {"loss": float(step)}))
        if step in (1, 1_023, 1_024, 1_025):
            assert made.batch["loss"].tolist() == list(range(1, step + 1))
    assert made.step == 5_000
    assert made.batch["loss"].tolist() == list(range(1, 5_001))


def test_a_series_that_is_logged_now_and_then_keeps_its_own_steps():
    made = history(began(0, batches=3), *(ended(step, {"grad": 1.0} if step % 3 == 0 else {}) for step in range(1, 7)))
    assert made.batch.steps("grad").tolist() == [3, 6]
    assert made.step == 6


def test_nan_and_infinity_are_kept_where_they_are():
    made = history(began(0), *(ended(step, {"loss": [1.0, np.nan, np.inf, -np.inf][step - 1]}) for step in range(1, 5)))
    np.testing.assert_array_equal(made.batch["loss"], [1, np.nan, np.inf, -np.inf])


def test_what_is_read_is_the_readers_own():
    made = history(began(0), ended(1, {"loss": 1.0}))
    made.batch["loss"][:] = 9
    made.batch.steps("loss")[:] = 9
    assert (made.batch["loss"].tolist(), made.batch.steps("loss").tolist()) == ([1], [1])


def test_a_batch_of_which_nobody_knows_when_it_ended_is_on_no_clock():
    made = history(
        began(0),
        ended(1, {"loss": 1.0}, at=np.nan),
        ended(2, {"loss": 2.0}, at=5.0),
        ended(3, {"loss": 3.0}, at=np.nan),
        finished(0, 3, {"val_loss": 1.0}, at=9.0),
        RunEnded("a", 3, 9.0, "completed"),
    )
    assert made.batch["loss"].tolist() == [1, 2, 3]
    assert (made.clock.steps.array().tolist(), made.clock.values.array().tolist()) == ([2], [5])
    assert (made.elapsed, made.validating) == (9, 0)


def test_where_nobody_tells_of_epochs_they_are_nan():
    made = history(ended(1, {"loss": 1.0}), ended(2, {"loss": 1.0}))
    np.testing.assert_array_equal(made.batch.epochs("loss"), [np.nan, np.nan])


def test_a_second_start_of_an_epoch_tells_more_of_the_same():
    made = history(began(0), ended(1, {}), began(0, 1, batches=9, epochs=4))
    assert [(span.epoch, span.first, span.batches) for span in made.spans] == [(0, 0, 9)]
    assert made.epochs == 4


def test_an_epoch_that_was_broken_off_keeps_its_plan_and_the_next_begins_where_it_stopped():
    made = history(began(0, batches=10), ended(1, {"loss": 1.0}), began(1, 1, batches=10), ended(2, {"loss": 2.0}))
    assert [(span.epoch, span.first, span.batches) for span in made.spans] == [(0, 0, 10), (1, 1, 10)]
    assert made.batch.epochs("loss").tolist() == [0, 1]


def test_an_epoch_that_has_ended_may_come_again():
    """As in a second ``fit`` that goes on in the same run."""
    made = history(
        began(0), ended(1, {"loss": 1.0}), finished(0, 1, {"loss": 1.0}), began(0, 1), ended(2, {"loss": 2.0})
    )
    assert [(span.epoch, span.first) for span in made.spans] == [(0, 0), (0, 1)]
    assert made.batch.epochs("loss").tolist() == [0, 0]


def test_an_epochs_true_length_replaces_the_planned_one():
    made = history(began(0, batches=10), ended(1, {}), ended(2, {}), finished(0, 2, {}))
    assert made.spans[0].batches == 2


def evaluated(step, values, *, at):
    return Evaluated("a", 0, step, at, values)


def test_validation_lasts_from_the_last_batch_to_the_end_of_the_epoch():
    made = history(
        began(0),
        ended(1, {"loss": 1.0}, at=1),
        ended(2, {"loss": 1.0}, at=2),
        finished(0, 2, {"val_loss": 1.0}, at=2.5),
        began(1, 2, at=10),
        ended(3, {"loss": 1.0}, epoch=1, at=11),
        finished(1, 3, {"val_loss": 1.0}, at=11.25),
    )
    assert made.validating == 0.75


def test_evaluations_in_the_midst_of_an_epoch_are_validation_and_no_time_counts_twice():
    made = history(
        began(0),
        ended(1, {"loss": 1.0}, at=1),
        evaluated(1, {"val_loss": 1.0}, at=1.5),
        ended(2, {"loss": 1.0}, at=4),
        evaluated(2, {"val_loss": 1.0}, at=4.5),
        evaluated(2, {"val_accuracy": 1.0}, at=4.75),
        finished(0, 2, {"val_loss": 1.0}, at=5),
    )
    assert made.validating == 1.5


@pytest.mark.parametrize(
    "events",
    [
        [began(0), ended(1, {"loss": 1.0}), finished(0, 1, {"loss": 1.0}, at=9)],  # nothing was validated
        [began(0), finished(0, 0, {"val_loss": 1.0}, at=9)],  # an iteration that has no batches
        [began(0), evaluated(0, {"val_loss": 1.0}, at=9)],  # before the first batch
        [began(0), ended(1, {}), began(1, 1, at=8), finished(1, 1, {"val_loss": 1.0}, at=9)],  # a broken-off epoch
    ],
)
def test_what_nobody_knows_to_be_validation_is_none(events):
    assert history(*events).validating == 0


def test_the_mean_of_the_present_epoch_forgets_the_one_before():
    made = history(began(0), ended(1, {"loss": 10.0}), finished(0, 1, {}), began(1, 1))
    assert made.epoch_mean("loss") is None
    made.add(ended(2, {"loss": 1.0}))
    made.add(ended(3, {"loss": 2.0}))
    assert made.epoch_mean("loss") == 1.5
    assert made.epoch_mean("other") is None


def test_the_mean_is_weighted_by_the_sizes_of_the_batches_where_all_are_known():
    events = [began(0), ended(1, {"loss": 1.0}, size=30), ended(2, {"loss": 3.0}, size=10)]
    assert history(*events).epoch_mean("loss") == 1.5
    assert history(*events, ended(3, {"other": 5.0})).epoch_mean("loss") == 1.5
    assert history(*events, ended(3, {"loss": 5.0})).epoch_mean("loss") == 3
    sparse = history(began(0), ended(1, {}, size=99), ended(2, {"f1": 1.0}, size=1), ended(3, {"f1": 4.0}, size=2))
    assert sparse.epoch_mean("f1") == 3


def test_a_declared_series_is_what_its_producer_says():
    series = Series("train_loss", "batch", "smoothed", "loss", "train")
    made = history(SeriesDeclared("a", series), began(0), ended(1, {"train_loss": 1.0, "val_loss": 2.0, "lr_1": 3.0}))
    assert made.batch.series("train_loss") is series
    assert made.batch.series("val_loss") == Series("val_loss", "batch", "batch", "loss", "validation")
    assert made.batch.series("lr_1") == Series("lr_1", "batch", "batch", "learning rate", "train")


def test_a_name_may_stand_for_a_batch_series_and_an_epoch_series():
    made = history(began(0), ended(1, {"loss": 1.0}), finished(0, 1, {"loss": 2.0}))
    assert (made.batch["loss"].tolist(), made.epoch["loss"].tolist()) == ([1], [2])
    assert (made.batch.series("loss").kind, made.epoch.series("loss").kind) == ("batch", "epoch")


def test_a_metric_may_be_called_time():
    made = history(began(0), ended(1, {"time": 7.0}))
    assert list(made.batch) == ["time"]
    assert made.batch["time"].tolist() == [7]


def test_an_unknown_name_is_answered_with_the_known_ones():
    made = history(began(0), ended(1, {"loss": 1.0, "accuracy": 1.0}))
    for read in (made.batch.__getitem__, made.batch.steps, made.batch.epochs, made.batch.series):
        with pytest.raises(KeyError) as raised:
            read("los")
        assert raised.value.args == ("no batch values of 'los'; there are: loss, accuracy",)
    with pytest.raises(KeyError) as raised:
        made.epoch["loss"]
    assert raised.value.args == ("no epoch values of 'loss'; there are: none yet",)


def test_a_table_is_a_mapping():
    made = history(began(0), ended(1, {"loss": 1.0}))
    assert "loss" in made.batch
    assert "val_loss" not in made.batch
    assert (len(made.batch), len(made.epoch)) == (1, 0)
    assert made.batch.get("val_loss") is None
    assert repr(made.batch) == "<batch values: loss (1)>"
    assert repr(made.epoch) == "<epoch values: none yet>"
    assert repr(made) == "<History of 'resnet18': running, 1 epochs, 1 steps>"


def test_the_time_left_follows_the_pace_of_the_batches():
    made = history(began(0, batches=10, epochs=3))
    assert made.remaining is None
    # The first batch takes 100 seconds for the compiler, each further one takes 2.
    for step in range(1, 6):
        made.add(ended(step, {"loss": 1.0}, at=100 + 2 * (step - 1)))
    made.fold()
    assert made.remaining == pytest.approx(2 * 25)
    for step in range(6, 11):
        made.add(ended(step, {"loss": 1.0}, at=100 + 2 * (step - 1)))
    made.add(finished(0, 10, {}, at=118))
    assert made.remaining == pytest.approx(2 * 20)
    made.add(RunEnded("a", 10, 120.0, "stopped"))
    assert made.remaining is None


def test_the_time_left_counts_from_the_epoch_that_a_run_was_taken_up_at():
    made = history(began(5, batches=10, epochs=7))
    for step in range(1, 11):
        made.add(ended(step, {"loss": 1.0}, epoch=5))
    made.add(finished(5, 10, {}))
    assert made.remaining == pytest.approx(10)


@pytest.mark.parametrize(("batches", "epochs"), [(None, 3), (10, None), (0, 3)])
def test_nobody_knows_the_time_left_without_the_lengths(batches, epochs):
    made = history(began(0, batches=batches, epochs=epochs), *(ended(step, {}) for step in range(1, 4)))
    made.fold()
    assert made.remaining is None


def test_a_running_run_has_taken_until_now_and_an_ended_one_until_its_end():
    made = history(began(0), started=time.time() - 50)
    assert 50 <= made.elapsed < 500
    made.add(RunEnded("a", 0, 7.0, "completed"))
    assert made.elapsed == 7


def test_titles_tell_runs_of_one_name_apart(bus):
    for name in ("a", "a", None):
        Run(name, bus=bus).end()
    assert [run.title for run in bus.runs] == ["a · run 1", "a · run 2", "run 3"]


def test_runs_are_a_sequence_with_the_newest_last(bus):
    with pytest.raises(IndexError, match=r"^there are no runs yet: train with an EpochCallback or an ew\.Run first\.$"):
        bus.runs[-1]
    first, second = Run("a", bus=bus), Run("b", bus=bus)
    assert bus.runs[-1] is second.history
    assert bus.runs[:1] == [first.history]
    assert len(bus.runs) == 2
    assert bus.runs.find(first.id) is first.history
    assert bus.runs.find("nobody") is None


def test_clearing_forgets_the_runs_that_have_ended_and_no_other(bus):
    first, second = Run("a", bus=bus), Run("b", bus=bus)
    first.end()
    bus.runs.clear()
    assert list(bus.runs) == [second.history]
    assert bus.runs.find(first.id) is None
    second.log(loss=1.0)
    assert bus.runs[-1].batch["loss"].tolist() == [1]


def test_a_reader_in_another_thread_sees_a_growing_prefix_and_never_a_torn_one(bus):
    run = Run("a", bus=bus)
    run.begin_epoch(0)
    done = threading.Event()
    faults = []

    def read():
        seen = 0
        while True:
            last = done.is_set()
            try:
                values = run.history.batch["loss"] if "loss" in run.history.batch else np.empty(0)
                steps = run.history.batch.steps("loss")[: len(values)] if len(values) else np.empty(0)
                if not ((values == np.arange(len(values))).all() and (steps == values + 1).all()):
                    faults.append("torn")
                if len(values) < seen:
                    faults.append("shrunk")
                seen = len(values)
            except Exception as error:
                faults.append(repr(error))
            if last:
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for loss in range(30_000):
        run.log(loss=float(loss))
    done.set()
    for reader in readers:
        reader.join()
    assert faults == []
    assert run.history.batch["loss"].tolist() == list(range(30_000))


def test_two_thousand_series_are_two_thousand_series(bus):
    names = [f"metric {number}" for number in range(2_000)]
    with Run("a", bus=bus) as run:
        for _ in run.epochs(2):
            for value in run.batches([1.0, 3.0]):
                run.log(**dict.fromkeys(names, value))
    assert list(run.history.batch) == names
    assert all(run.history.epoch[name].tolist() == [2, 2] for name in names)


class Meanwhile:
    """A number that is on a device, and something that happens once when it is read."""

    def __init__(self, number, happens):
        self.number, self.happens = number, happens

    def __float__(self):
        happens, self.happens = self.happens, lambda: None
        happens()
        return self.number


def test_a_run_that_ends_while_its_batches_are_taken_in_ends_behind_them(bus):
    """The last reference to it goes, say, when garbage is collected in the midst of that."""
    run = Run("a", bus=bus)
    run.begin_epoch(0)
    run.log(loss=1.0)

    def end():
        run.batch_ended({"loss": 3.0})
        run.end_epoch({"val_loss": 4.0})
        run.end("stopped")

    run.batch_ended({"loss": Meanwhile(2.0, end)})
    assert run.history.batch["loss"].tolist() == [1, 2, 3]
    assert run.history.batch.steps("loss").tolist() == [1, 2, 3]
    assert run.history.epoch["val_loss"].tolist() == [4]
    assert (run.history.status, run.history.spans[0].batches) == ("stopped", 3)


@pytest.mark.parametrize("name", ["first", "second", "new"])
def test_an_interrupt_while_batches_are_taken_in_costs_none(bus, name):
    def interrupt():
        raise KeyboardInterrupt

    run = Run("a", bus=bus)
    run.batch_ended({"first": 1.0, "second": 1.0})
    assert run.history.batch["first"].tolist() == [1]
    values = {"first": 2.0, "second": 2.0, "new": 2.0}
    run.batch_ended({**values, name: Meanwhile(2.0, interrupt)})
    with pytest.raises(KeyboardInterrupt):
        _ = run.history.batch["first"]
    run.batch_ended({"first": 3.0, "second": 3.0, "new": 3.0})
    run.end("stopped")
    assert run.history.batch["first"].tolist() == run.history.batch["second"].tolist() == [1, 2, 3]
    assert run.history.batch["new"].tolist() == [2, 3]
    assert run.history.batch.steps("new").tolist() == [2, 3]
    assert len(run.history.clock) == run.history.step == 3


def test_an_interrupt_at_any_line_leaves_a_history_that_goes_on():
    """Each line of taking something in is interrupted once; whatever came before and after is there."""
    lines = set()

    def train(interrupt):
        bus = Bus(strict=True)
        run = Run("a", bus=bus)
        for epoch in range(2):
            for event in (
                lambda epoch=epoch: run.begin_epoch(epoch, batches=2),
                lambda: run.batch_ended({"loss": 1.0}, size=2),
                lambda: run.batch_ended({"loss": 2.0}, size=2),
                lambda: run.mark("here"),
                lambda: run.end_epoch({"val_loss": 3.0}),
            ):
                try:
                    event()
                except KeyboardInterrupt:
                    assert interrupt
        try:
            run.end()
        except KeyboardInterrupt:
            assert interrupt
        return run.history

    def check(history):
        assert history.batch["loss"].tolist() == [1, 2, 1, 2]
        assert history.batch.steps("loss").tolist() == [1, 2, 3, 4]
        assert history.status == "completed"
        assert [(span.epoch, span.first, span.batches) for span in history.spans] == [(0, 0, 2), (1, 2, 2)]
        assert len(history.clock) == history.step == 4

    taking = {"_take_others", "_take_batches", "_start_epoch", "_end_epoch", "_add_to_epoch", "_extend", "_points"}

    def watch(act):
        def enter(frame, event, argument):
            if frame.f_code.co_name in taking and "history" in frame.f_code.co_filename:
                return lambda frame, event, argument: act(frame) if event == "line" else None
            return None

        return enter

    sys.settrace(watch(lambda frame: lines.add((frame.f_code.co_name, frame.f_lineno))))
    history = train(interrupt=False)
    sys.settrace(None)
    check(history)
    assert len(lines) > 30, "most of what takes events in was walked through"
    for line in sorted(lines):
        left = [1]

        def interrupt(frame, line=line, left=left):
            if left and (frame.f_code.co_name, frame.f_lineno) == line:
                left.clear()
                raise KeyboardInterrupt

        sys.settrace(watch(interrupt))
        try:
            history = train(interrupt=True)
        finally:
            sys.settrace(None)
        assert not left
        check(history)


def test_the_training_does_not_wait_for_who_reads_its_history(bus):
    """However long a thread holds the history, batches are logged meanwhile, and none is lost."""
    run = Run("busy", bus=bus)
    run.log(loss=0.5)
    holds, may_go = threading.Event(), threading.Event()

    def read():
        with run.history.held():
            holds.set()
            assert may_go.wait(60)

    reader = threading.Thread(target=read)
    reader.start()
    assert holds.wait(60)
    for _ in range(4999):
        run.log(loss=0.5)
    may_go.set()
    reader.join()
    assert len(run.history.batch["loss"]) == 5000
    run.end()


def test_a_batch_folds_no_more_than_a_thousand_of_those_that_wait():
    """Many may have come to wait while another thread folded; the training catches up without a pause."""
    history = History(RunStarted("a", "a", 0.0))
    for step in range(1, 5_001):
        history._queue.append(BatchEnded("a", 0, 0, step, 0.0, {"loss": float(step)}))
    history.add(BatchEnded("a", 0, 0, 5_001, 0.0, {"loss": 0.0}))
    assert len(history._queue) == 5_001 - 1_024
    history.fold(briefly=True)
    assert len(history._queue) == 5_001 - 2 * 1_024
    history.add(RunEnded("a", 5_001, 1.0, "completed", None))
    assert history._queue == []
    assert history.batch["loss"].tolist() == [*range(1, 5_001), 0]
