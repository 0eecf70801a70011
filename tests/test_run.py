import gc
import math
import threading
import tracemalloc

import numpy as np
import pytest
import torch

import epochwidget
from epochwidget import (
    BatchEnded,
    Bus,
    EpochEnded,
    EpochStarted,
    EpochWidget,
    Marked,
    Run,
    RunEnded,
    RunStarted,
    Series,
)


def spans(run):
    return [(span.epoch, span.first, span.batches) for span in run.history.spans]


def batch(run, name="loss"):
    return list(
        zip(run.history.batch.epochs(name), run.history.batch.steps(name), run.history.batch[name], strict=True)
    )


def test_a_loop_of_ones_own(bus):
    """The loop of the documentation, with everything that it makes."""
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    heard = []
    bus.subscribe(heard.append)
    with Run("resnet18", bus=bus) as run:
        for epoch in run.epochs(2):
            for at, x in enumerate(run.batches([torch.ones(1, 1)] * 2)):
                loss = model(x).sum() * 0 + (10 * epoch + at)
                run.log(loss=loss, accuracy=np.float32(0.5), lr=optimizer)
            run.log_epoch(val_loss=torch.tensor(epoch + 0.25))
    history = run.history
    assert (run.status, history.status, history.name, history.error) == ("completed", "completed", "resnet18", None)
    assert batch(run) == [(0, 1, 0), (0, 2, 1), (1, 3, 10), (1, 4, 11)]
    assert history.batch["lr"].tolist() == [0.5] * 4
    assert list(history.batch) == ["loss", "accuracy", "lr"]
    assert list(history.epoch) == ["loss", "accuracy", "val_loss"]
    assert history.epoch["loss"].tolist() == [0.5, 10.5]
    assert history.epoch["val_loss"].tolist() == [0.25, 1.25]
    assert history.epoch.steps("val_loss").tolist() == [2, 4]
    assert history.epoch.epochs("val_loss").tolist() == [0, 1]
    assert spans(run) == [(0, 0, 2), (1, 2, 2)]
    assert history.epochs == 2
    kinds = [type(event) for event in heard]
    epoch_events = [EpochStarted, BatchEnded, BatchEnded, EpochEnded]
    assert kinds == [RunStarted, *epoch_events, *epoch_events, RunEnded]
    times = [event.time for event in heard if not isinstance(event, RunStarted)]
    assert times == sorted(times)
    assert [(event.batch, event.step) for event in heard if isinstance(event, BatchEnded)] == [
        (0, 1),
        (1, 2),
        (0, 3),
        (1, 4),
    ]


def test_the_first_epochs_mean_needs_nobody_to_have_looked(bus):
    with Run("a", bus=bus) as run:
        for _ in run.epochs(1):
            for loss in run.batches([1.0, 2.0]):
                run.log(loss=loss)
    assert run.history.epoch["loss"].tolist() == [1.5]


# --- names and arguments -----------------------------------------------------------------------------------------


def test_runs_are_numbered_unless_they_are_named(bus):
    runs = [Run(bus=bus), Run("b", bus=bus), Run(bus=bus)]
    assert [run.name for run in runs] == ["run 1", "b", "run 3"]
    for run in runs:
        run.end()
    bus.runs.clear()
    assert Run(bus=bus).name == "run 4"


def test_a_run_is_on_the_shared_bus_unless_told_otherwise():
    with Run("mine") as run:
        assert epochwidget.runs[-1] is run.history
    with Run("other", bus=Bus()) as run:
        assert run.history not in list(epochwidget.runs)


def test_an_unknown_keyword_names_the_nearest(bus):
    with pytest.raises(
        TypeError, match=r"^Run\(\) does not know 'epoches' \(did you mean 'epochs'\?\); it takes bus, "
    ):
        Run("a", bus=bus, epoches=3)


@pytest.mark.parametrize(
    ("error", "arguments", "sentence"),
    [
        (TypeError, {"name": 3}, "The name of a run has to be a text, got 3."),
        (ValueError, {"name": " "}, "The name of a run is empty: give it a name that can be read on a plot."),
        (TypeError, {"bus": "shared"}, "Run(bus=...) needs an epochwidget.Bus, got 'shared'."),
        (TypeError, {"epochs": True}, "The number of epochs has to be a whole number, got True."),
        (TypeError, {"epochs": 2.0}, "The number of epochs has to be a whole number, got 2.0."),
        (ValueError, {"epochs": 0}, "The number of epochs has to be 1 or more, got 0."),
    ],
)
def test_a_bad_argument_is_refused_and_begins_no_run(bus, error, arguments, sentence):
    with pytest.raises(error) as raised:
        Run(**{"name": "a", "bus": bus, **arguments})
    assert str(raised.value) == sentence
    assert len(bus.runs) == 0


# --- epochs ------------------------------------------------------------------------------------------------------


def test_epochs_may_be_told_to_the_run(bus):
    run = Run("a", epochs=3, bus=bus)
    assert run.history.epochs == 3
    assert list(run.epochs()) == [0, 1, 2]


def test_a_range_of_epochs_takes_a_run_up_again(bus):
    with Run("a", bus=bus) as run:
        for _ in run.epochs(range(5, 7)):
            for _ in run.batches([0]):
                run.log(loss=1.0)
    assert spans(run) == [(5, 0, 1), (6, 1, 1)]
    assert run.history.epochs == 7
    assert run.history.epoch.epochs("loss").tolist() == [5, 6]


@pytest.mark.parametrize(
    ("epochs", "error", "sentence"),
    [
        (None, TypeError, "run.epochs() has to be told how many epochs there are, for example run.epochs(3)."),
        (0, ValueError, "The number of epochs has to be 1 or more, got 0."),
        (-2, ValueError, "The number of epochs has to be 1 or more, got -2."),
        (True, TypeError, "The number of epochs has to be a whole number, got True."),
        (3.0, TypeError, "The number of epochs has to be a whole number, got 3.0."),
        ("3", TypeError, "The number of epochs has to be a whole number, got '3'."),
        (range(3, 3), ValueError, "A range of epochs counts up from 0 or more by one, got range(3, 3)."),
        (
            range(5, 0, -1),
            ValueError,
            "A range of epochs counts up from 0 or more by one, got range(5, 0, -1).",
        ),
    ],
)
def test_bad_epochs_are_refused_at_once_and_not_at_the_first_epoch(bus, epochs, error, sentence):
    run = Run("a", bus=bus)
    with pytest.raises(error) as raised:
        run.epochs(epochs)
    assert str(raised.value) == sentence


def test_epochs_without_batches_take_each_log_for_a_batch(bus):
    with Run("a", bus=bus) as run:
        for _ in run.epochs(2):
            run.log(loss=1.0)
            run.log(loss=3.0)
    assert spans(run) == [(0, 0, 2), (1, 2, 2)]
    assert run.history.epoch["loss"].tolist() == [2, 2]


def test_an_epoch_without_any_value_is_an_epoch_nevertheless(bus):
    with Run("a", bus=bus) as run:
        for _ in run.epochs(2):
            pass
    assert spans(run) == [(0, 0, 0), (1, 0, 0)]


def test_a_break_in_the_epochs_keeps_the_epoch_that_it_left(bus):
    with Run("a", bus=bus) as run:
        for epoch in run.epochs(5):
            for loss in run.batches([1.0, 3.0]):
                run.log(loss=loss)
            run.log_epoch(val_loss=1.0)
            if epoch == 1:
                break
    assert run.history.status == "completed"
    assert run.history.epoch["loss"].tolist() == [2, 2]
    assert run.history.epoch["val_loss"].tolist() == [1, 1]
    assert spans(run) == [(0, 0, 2), (1, 2, 2)]


def test_values_of_a_broken_off_epoch_are_kept_when_another_loop_follows(bus):
    with Run("a", bus=bus) as run:
        for _ in run.epochs(2):
            run.log(loss=1.0)
            break
        for _ in run.epochs(range(1, 2)):
            run.log(loss=2.0)
    assert run.history.epoch["loss"].tolist() == [1, 2]
    assert spans(run) == [(0, 0, 1), (1, 1, 1)]


# --- batches -----------------------------------------------------------------------------------------------------


def test_batches_that_know_their_length_tell_it_at_once(bus):
    run = Run("a", bus=bus)
    for _ in run.epochs(1):
        walk = run.batches(range(7))
        next(walk)
        assert run.history.spans[-1].batches == 7


def test_batches_of_unknown_length_leave_it_unknown_until_the_epoch_ends(bus):
    run = Run("a", bus=bus)
    for _ in run.epochs(1):
        for _ in run.batches(x for x in range(3)):
            assert run.history.spans[-1].batches is None
            run.log(loss=1.0)
    assert run.history.spans[-1].batches == 3


def test_two_walks_in_one_epoch_are_one_epoch(bus):
    with Run("a", bus=bus) as run:
        for _ in run.epochs(1):
            for _ in run.batches([1, 2]):
                run.log(loss=1.0)
            for _ in run.batches([1, 2, 3]):
                assert run.history.spans[-1].batches == 5
                run.log(loss=2.0)
    assert spans(run) == [(0, 0, 5)]
    assert run.history.epoch["loss"].tolist() == [1.6]


def test_batches_without_epochs_are_an_epoch_each(bus):
    with Run("a", bus=bus) as run:
        for _ in range(2):
            for loss in run.batches([1.0, 3.0]):
                run.log(loss=loss)
    assert spans(run) == [(0, 0, 2), (1, 2, 2)]
    assert run.history.epoch["loss"].tolist() == [2, 2]


def test_a_batch_in_which_nothing_was_logged_counts(bus):
    with Run("a", bus=bus) as run:
        for _ in run.epochs(1):
            for x in run.batches(range(4)):
                if x % 2:
                    run.log(loss=float(x))
    assert batch(run) == [(0, 2, 1), (0, 4, 3)]
    assert run.step == 4
    assert spans(run) == [(0, 0, 4)]


def test_several_logs_in_one_batch_are_one_batch(bus):
    with Run("a", bus=bus) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(2)):
                run.log(loss=1.0, accuracy=0.25)
                run.log(accuracy=0.5, lr=0.1)
    assert run.step == 2
    assert {name: values.tolist() for name, values in run.history.batch.items()} == {
        "loss": [1, 1],
        "accuracy": [0.5, 0.5],
        "lr": [0.1, 0.1],
    }


@pytest.mark.parametrize("bound", [False, True], ids=["iterator in the loop", "iterator bound to a name"])
def test_a_break_in_the_batches_keeps_what_was_logged(bus, bound):
    """Whether anybody still holds the broken-off iterator makes no difference."""
    held = []
    with Run("a", bus=bus) as run:
        for epoch in run.epochs(2):
            batches = run.batches([1, 2, 3])
            if bound:
                held.append(batches)
            for x in batches:
                run.log(loss=10.0 * epoch + x)
                if x == 2:
                    break
            del batches
            run.log_epoch(val_loss=0.5)
        held.clear()
    assert batch(run) == [(0, 1, 1), (0, 2, 2), (1, 3, 11), (1, 4, 12)]
    assert spans(run) == [(0, 0, 2), (1, 2, 2)]
    assert run.history.epoch["loss"].tolist() == [1.5, 11.5]


def test_an_iterator_that_dies_late_takes_nothing_from_the_batch_that_goes_on(bus):
    with Run("a", bus=bus) as run:
        for _ in run.epochs(1):
            left = run.batches([1, 2])
            next(left)
            run.log(loss=1.0)
            for _ in run.batches([3]):
                run.log(loss=2.0)
                left.close()
                run.log(accuracy=0.5)
    assert batch(run) == [(0, 1, 1), (0, 2, 2)]
    assert batch(run, "accuracy") == [(0, 2, 0.5)]


def test_batches_have_to_be_something_to_go_through(bus):
    run = Run("a", bus=bus)
    with pytest.raises(TypeError) as raised:
        run.batches(100)
    assert str(raised.value) == "run.batches() needs the batches themselves, as a DataLoader or a list, got 100."


def test_batches_pass_through_unchanged(bus):
    run = Run("a", bus=bus)
    loader = torch.utils.data.DataLoader(torch.arange(6.0), batch_size=4)
    assert [x.tolist() for x in run.batches(loader)] == [[0, 1, 2, 3], [4, 5]]
    marker = object()
    assert [*run.batches([marker, None])] == [marker, None]


# --- log ---------------------------------------------------------------------------------------------------------


def test_without_epochs_and_batches_each_log_is_a_batch_of_one_endless_epoch(bus):
    with Run("a", bus=bus) as run:
        for loss in (3.0, 2.0, 1.0):
            run.log(loss=loss)
    assert batch(run) == [(0, 1, 3), (0, 2, 2), (0, 3, 1)]
    assert len(run.history.epoch) == 0


def test_without_epochs_log_epoch_ends_the_epoch(bus):
    with Run("a", bus=bus) as run:
        for epoch in range(2):
            run.log(loss=1.0 + epoch)
            run.log(loss=3.0 + epoch)
            run.log_epoch(val_loss=0.5)
    assert spans(run) == [(0, 0, 2), (1, 2, 2)]
    assert run.history.epoch["loss"].tolist() == [2, 3]
    assert run.history.epoch["val_loss"].tolist() == [0.5, 0.5]
    assert run.history.epoch.epochs("val_loss").tolist() == [0, 1]


def test_log_epoch_in_the_middle_of_batches_ends_the_epoch_with_the_batch_it_is_in(bus):
    with Run("a", bus=bus) as run:
        for x in run.batches(range(1, 6)):
            run.log(loss=float(x))
            if x % 2 == 0:
                run.log_epoch(val_loss=0.5)
    assert batch(run) == [(0, 1, 1), (0, 2, 2), (1, 3, 3), (1, 4, 4), (2, 5, 5)]
    assert [(epoch, first) for epoch, first, _ in spans(run)] == [(0, 0), (1, 2), (2, 4)]
    assert run.history.epoch["loss"].tolist() == [1.5, 3.5, 5]


def test_log_epoch_within_epochs_waits_for_the_end_of_the_epoch_and_wins_over_the_mean(bus):
    with Run("a", bus=bus) as run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
            run.log_epoch(loss=9.0, val_loss=1.0)
            run.log(loss=2.0)
            run.log_epoch(val_loss=2.0)
            assert len(run.history.epoch) == 0
    assert run.history.epoch["loss"].tolist() == [9]
    assert run.history.epoch["val_loss"].tolist() == [2]
    assert spans(run) == [(0, 0, 2)]


def test_the_epochs_mean_is_over_samples_where_the_batch_size_is_told(bus):
    with Run("a", bus=bus) as run:
        for _ in run.epochs(1):
            for size, loss in run.batches([(30, 1.0), (torch.tensor(10), 3.0)]):
                run.log(loss=loss, batch_size=size)
    assert run.history.epoch["loss"].tolist() == [1.5]


@pytest.mark.parametrize("size", [0, -4, math.nan, math.inf])
def test_a_batch_has_a_sample(bus, size):
    run = Run("a", bus=bus)
    with pytest.raises(ValueError, match=r"^log\(batch_size=.*\): a batch has one sample or more\.$"):
        run.log(loss=1.0, batch_size=size)
    assert run.step == 0


def test_learning_rates_and_declared_kinds_have_no_mean(bus):
    run = Run("a", bus=bus)
    run.declare("so_far", metric="loss", kind="running")
    for _ in run.epochs(1):
        run.log(loss=1.0, lr=0.1, learning_rate=0.2, so_far=3.0)
    assert list(run.history.epoch) == ["loss"]
    assert run.history.batch.series("so_far") == Series("so_far", "batch", "running", "loss", "train")
    assert run.history.batch.series("lr").metric == "learning rate"


def test_nan_and_infinity_are_values(bus):
    with Run("a", bus=bus) as run:
        for _ in run.epochs(2):
            for loss in run.batches([1.0, math.nan, math.inf, -math.inf]):
                run.log(loss=loss, fine=1.0)
    np.testing.assert_array_equal(run.history.batch["loss"], [1, math.nan, math.inf, -math.inf] * 2)
    np.testing.assert_array_equal(run.history.epoch["loss"], [math.nan] * 2)
    assert run.history.epoch["fine"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([1e308, 1e308], 1e308),
        ([5e-324, 5e-324], 5e-324),
        ([1.0, math.inf], math.inf),
        ([math.inf, -math.inf], math.nan),
    ],
    ids=str,
)
def test_the_mean_of_extreme_values_is_right_and_warns_of_nothing(bus, values, mean):
    with Run("a", bus=bus) as run:
        for _ in run.epochs(1):
            for loss in run.batches(values):
                run.log(loss=loss)
    assert np.array_equal(run.history.epoch["loss"], [mean], equal_nan=True)


@pytest.mark.parametrize("value", ["0.5", None, 1j, [1.0]])
def test_a_value_that_is_no_number_is_refused_and_costs_no_other(bus, value):
    run = Run("a", bus=bus)
    run.log(loss=1.0)
    for log in (run.log, run.log_epoch):
        with pytest.raises(TypeError, match=r"^log\(loss=.*\): .* is no number; give a number or a tensor with one "):
            log(loss=value)
    run.log(loss=2.0)
    run.end()
    assert run.history.batch["loss"].tolist() == [1, 2]


def test_a_tensor_of_several_numbers_is_refused(bus):
    run = Run("a", bus=bus)
    with pytest.raises(ValueError, match=r"^log\(loss=\.\.\.\): the value has the shape \(3,\), .*\.mean\(\)\.$"):
        run.log(loss=torch.zeros(3))


@pytest.mark.parametrize("name", ["", "  "])
def test_a_value_needs_a_name(bus, name):
    run = Run("a", bus=bus)
    with pytest.raises(
        ValueError, match=r"^The name of a value is empty: give it a name that can be read on a plot\.$"
    ):
        run.log(**{name: 1.0})


def test_names_may_be_any_text_even_those_of_our_own_arguments(bus):
    names = [
        "self",
        "values",
        "time",
        "name",
        "val_",
        "<b>",
        "خسارة",
        "🔥",
        "a b",
        "a.b/c",
        "__proto__",
        "\ud800",
        "x" * 5000,
    ]
    with Run("a", bus=bus) as run:
        for _ in run.epochs(1):
            run.log(**{name: float(at) for at, name in enumerate(names)})
    assert list(run.history.batch) == names
    assert [values.tolist() for values in run.history.batch.values()] == [[at] for at in range(len(names))]
    assert list(run.history.epoch) == names


def test_values_of_all_makes_are_logged_side_by_side(bus):
    with Run("a", bus=bus) as run:
        for at in range(3):
            run.log(
                a=at, b=float(at), c=np.float32(at), d=torch.tensor(float(at), requires_grad=True), e=np.array([at])
            )
    assert {name: values.tolist() for name, values in run.history.batch.items()} == {
        name: [0, 1, 2] for name in "abcde"
    }


# --- marks and ends ----------------------------------------------------------------------------------------------


def test_a_mark_stands_at_the_present_batch(bus):
    run = Run("a", bus=bus)
    run.mark("begin")
    run.log(loss=1.0)
    run.mark("unfroze the encoder")
    assert [(mark.step, mark.text) for mark in run.history.marks] == [(0, "begin"), (1, "unfroze the encoder")]
    assert all(isinstance(mark, Marked) for mark in run.history.marks)
    with pytest.raises(ValueError, match=r"^The text of a mark is empty: "):
        run.mark("")
    with pytest.raises(TypeError, match=r"^The text of a mark has to be a text, got 3\.$"):
        run.mark(3)


def ended(run):
    return run.history.status, run.history.error


def test_an_exception_fails_the_run_and_goes_on(bus):
    with pytest.raises(ValueError, match="no"), Run("a", bus=bus) as run:  # noqa: PT012
        for _ in run.epochs(3):
            for x in run.batches(range(3)):
                run.log(loss=float(x))
                if x == 1:
                    raise ValueError("no\n  such   thing")
    assert ended(run) == ("failed", "ValueError: no such thing")
    assert batch(run) == [(0, 1, 0), (0, 2, 1)]
    assert len(run.history.epoch) == 0, "the epoch was never finished"
    assert run.step == 2


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_stops_the_run_and_keeps_the_batch_it_was_in(bus, interrupt):
    with pytest.raises(interrupt), Run("a", bus=bus) as run:  # noqa: PT012
        for _ in run.epochs(3):
            for x in run.batches(range(3)):
                run.log(loss=float(x))
                raise interrupt
    assert ended(run) == ("stopped", interrupt.__name__)
    assert batch(run) == [(0, 1, 0)]


def test_an_error_with_notes_is_told_by_what_it_is_and_not_by_its_notes(bus):
    error = ValueError("the cause")
    error.add_note("a hint")
    run = Run("a", bus=bus)
    run.end_by(error)
    assert ended(run) == ("failed", "ValueError: the cause")


def test_a_long_error_is_cut(bus):
    run = Run("a", bus=bus)
    run.end("failed", "x" * 10_000)
    assert len(run.history.error) == 500
    assert run.history.error.endswith("x...")


def test_a_run_ends_once(bus):
    heard = []
    bus.subscribe(heard.append, RunEnded)
    with Run("a", bus=bus) as run:
        run.end("stopped")
        run.end("failed", "late")
    assert [(event.status, event.error) for event in heard] == [("stopped", None)]


def test_a_run_ends_as_one_of_three(bus):
    run = Run("a", bus=bus)
    with pytest.raises(ValueError, match=r"^A run ends as 'completed', 'stopped' or 'failed', got 'done'\.$"):
        run.end("done")
    assert run.status == "running"


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("log", lambda run: run.log(loss=1.0)),
        ("log_epoch", lambda run: run.log_epoch(loss=1.0)),
        ("mark", lambda run: run.mark("here")),
        ("epochs", lambda run: run.epochs(2)),
        ("batches", lambda run: run.batches([1])),
    ],
)
def test_nothing_can_be_told_of_a_run_that_has_ended(bus, what, call):
    run = Run("a", bus=bus)
    run.log(loss=0.5)
    run.end("stopped")
    with pytest.raises(RuntimeError) as raised:
        call(run)
    assert str(raised.value) == (
        f"run.{what}() came after the run 'a' had ended (stopped); "
        "begin a new one with ew.Run(...), or go on with ew.Run(resume=...)."
    )
    assert run.history.batch["loss"].tolist() == [0.5]


def test_nothing_is_emitted_after_the_end_though_the_loops_go_on(bus):
    heard = []
    bus.subscribe(heard.append)
    run = Run("a", bus=bus)
    for epoch in run.epochs(2):
        for x in run.batches(range(3)) if epoch == 0 else []:
            if x == 0:
                run.log(loss=1.0)
                run.end("stopped")
    assert isinstance(heard[-1], RunEnded)
    assert batch(run) == [(0, 1, 1)]


def test_what_was_held_back_is_handed_over_before_the_end(bus):
    run = Run("a", bus=bus)
    run.begin_epoch(0)
    run.lives_within_call(lambda: run.batch_ended({"loss": 7.0}))
    run.end("stopped")
    assert run.history.batch["loss"].tolist() == [7]


def test_a_run_that_nobody_holds_any_more_has_stopped(bus):
    run = Run("a", bus=bus)
    run.log(loss=1.0)
    history = run.history
    del run
    assert (history.status, history.batch["loss"].tolist()) == ("stopped", [1.0])


def test_the_repr_says_how_it_goes(bus):
    run = Run("a", bus=bus)
    run.log(loss=1.0)
    assert repr(run) == "<Run 'a': running, 1 steps>"


# --- for callbacks -----------------------------------------------------------------------------------------------


def test_a_callback_may_count_in_numpys_integers(bus):
    run = Run("a", bus=bus)
    run.begin_epoch(np.int64(2), batches=np.int32(5), epochs=np.int64(4))
    run.batch_ended({"loss": 1.0})
    run.end_epoch({"loss": np.float32(1.5)})
    assert spans(run) == [(2, 0, 1)]
    facts = (run.history.spans[0].epoch, run.history.epochs)
    assert [type(fact) for fact in facts] == [int, int]


def test_more_may_be_told_of_an_epoch_that_has_begun(bus):
    run = Run("a", bus=bus)
    run.begin_epoch(0)
    run.begin_epoch(0, batches=4, epochs=2)
    assert spans(run) == [(0, 0, 4)]
    assert run.history.epochs == 2


def test_logging_from_eight_threads_at_once_loses_no_point(bus):
    run = Run("a", bus=bus)
    gate = threading.Barrier(8)

    def train(number):
        gate.wait()
        for at in range(1_000):
            run.log(loss=float(1_000 * number + at))

    threads = [threading.Thread(target=train, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.end()
    assert sorted(run.history.batch["loss"]) == list(range(8_000))
    assert sorted(run.history.batch.steps("loss")) == list(range(1, 8_001))


def test_a_callback_that_fails_at_the_end_leaves_no_run_open(bus, caplog):
    """What a callback held back may be lost with its model; the run has ended all the same."""
    run = Run("a", bus=bus)

    def fails() -> None:
        raise RuntimeError("the model is gone")

    run.lives_within_call(fails)
    run.end("stopped")
    assert run.status == run.history.status == "stopped"
    assert "the last batches of the run 'a' could not be read" in caplog.text


def test_a_mark_in_a_run_without_batches_stands_at_its_epoch():
    run = Run("trees", epochs=9, bus=Bus(strict=True))
    for epoch in range(3):
        run.begin_epoch(epoch)
        run.end_epoch({"rmse": 1.0})
    run.mark("early stopping")
    run.end()
    assert [(mark.step, mark.epoch) for mark in run.history.marks] == [(0, 3)]
    with Run("batches", bus=Bus(strict=True)) as run:
        run.log(loss=1.0)
        run.mark("here")
    assert [(mark.step, mark.epoch) for mark in run.history.marks] == [(1, None)]


@pytest.mark.parametrize(
    ("step", "error", "sentence"),
    [
        ("12", TypeError, "The step of a mark has to be a whole number, got '12'."),
        (1.5, TypeError, "The step of a mark has to be a whole number, got 1.5."),
        (-4, ValueError, "The step of a mark has to be 0 or more, got -4."),
    ],
)
def test_a_mark_stands_at_a_step(bus, step, error, sentence):
    with Run("a", bus=bus) as run, pytest.raises(error) as raised:
        run.mark("here", step=step)
    assert str(raised.value) == sentence
    assert run.history.marks == []


def test_what_logging_a_batch_allocates_is_its_record_and_then_sixteen_bytes_a_value(bus):
    """Counted in bytes: what the hot path does beyond this would be seen here."""
    widget = EpochWidget(bus=bus)
    with Run("a", bus=bus) as run:

        def log(batches):
            gc.collect()
            tracemalloc.start()
            for batch in range(batches):
                run.log(loss=1.0 / (batch + 1), accuracy=0.1 * batch, lr=0.3 * batch)
            kept, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return kept / batches, (peak - kept) / batches

        log(2_000)
        run.history.fold()
        # An event, its dict, three floats, a step and a time; and nothing that is thrown away.
        waiting, thrown_away = log(200)
        assert waiting < 600
        assert thrown_away < 20
        run.history.fold()
        log(1)
        kept, _ = log(200_000)
        assert kept < 1.3 * (3 * 16 + 16)
    widget.close()


def stops_at(bus, step, after):
    """Ask for the end of the newest run in the midst of a batch."""

    @bus.subscribe
    def click(event):
        if isinstance(event, BatchEnded) and event.step == step:
            bus.runs[-1].stop(after)


@pytest.mark.parametrize(("after", "steps", "epochs"), [("batch", 5, 2), ("epoch", 6, 2)])
def test_epochs_and_batches_end_by_themselves_once_the_run_is_asked_to_stop(bus, after, steps, epochs):
    stops_at(bus, 5, after)
    with Run(bus=bus) as run:
        for _ in run.epochs(4):
            for value in run.batches([1.0, 2.0, 3.0]):
                run.log(loss=value)
            run.log_epoch(val_loss=1.0)
    history = run.history
    assert (history.status, history.error, history.step) == ("stopped", None, steps)
    assert len(history.epoch["val_loss"]) == epochs, "what comes after the batches is done nevertheless"
    assert history.epoch["loss"].tolist() == [2.0, 1.5 if after == "batch" else 2.0]


@pytest.mark.parametrize("after", ["batch", "epoch"])
def test_a_loop_of_ones_own_asks_whether_it_is_to_stop(bus, after):
    stops_at(bus, 5, after)
    with Run(bus=bus) as run:
        assert run.history.stoppable is None
        for _ in range(4):
            for value in range(3):
                run.log(loss=value)
                if run.stopping:
                    break
            run.log_epoch(val_loss=1.0)
            if run.stopping:
                break
    assert (run.history.stoppable, run.status, run.step) == ("batch", "stopped", 5 if after == "batch" else 6)


def test_sooner_wins_over_later_and_what_is_over_is_asked_for_nothing(bus):
    run = Run(bus=bus)
    run.stop("epoch")
    run.stop("batch")
    run.stop("epoch")
    assert run.history.stopping == "batch"
    run.end()
    assert run.status == "completed", "nobody had looked"
    again = Run(bus=bus)
    again.end()
    again.stop()
    assert again.history.stopping is None
    with pytest.raises(ValueError, match=r"^stop\(after=\.\.\.\) has to be 'batch' or 'epoch', got 'now'\.$"):
        run.stop("now")


def test_a_run_that_goes_on_was_not_asked_to_stop_again(bus):
    stops_at(bus, 2, "batch")
    with Run(bus=bus) as run:
        for value in run.batches([1.0, 2.0, 3.0]):
            run.log(loss=value)
    with Run(bus=bus, resume=run.history) as more:
        assert (more.history.stopping, more.history.stoppable, more.stopping) == (None, None, False)
        for value in more.batches([1.0, 2.0, 3.0]):
            more.log(loss=value)
    assert (more.status, more.step) == ("completed", 5)


def test_who_asks_in_the_last_epoch_for_its_end_gets_all_of_it(bus):
    stops_at(bus, 2, "epoch")
    with Run(bus=bus) as run:
        for _ in run.epochs(1):
            for value in run.batches([1.0, 2.0, 3.0]):
                run.log(loss=value)
    assert (run.status, run.step) == ("completed", 3)


@pytest.mark.parametrize(("after", "steps"), [("batch", 2), ("epoch", 3)])
def test_walks_without_epochs_end_as_well(bus, after, steps):
    stops_at(bus, 2, after)
    with Run(bus=bus) as run:
        for _ in range(4):
            for value in run.batches([1.0, 2.0, 3.0]):
                run.log(loss=value)
    assert (run.status, run.step) == ("stopped", steps)


def test_a_second_walk_in_the_epoch_trains_nothing_after_a_stop(bus):
    stops_at(bus, 2, "batch")
    with Run(bus=bus) as run:
        for _ in run.epochs(2):
            for _ in range(2):
                for value in run.batches([1.0, 2.0, 3.0]):
                    run.log(loss=value)
    assert (run.status, run.step) == ("stopped", 2)
