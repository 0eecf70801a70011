import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epochwidget import Bus, Run, wire
from epochwidget.events import BatchEnded, EpochEnded, EpochStarted, Marked, RunEnded, RunStarted
from epochwidget.history import History
from tests.frames import Page, body_size, numbers_named, read

NAMES = ("loss", "accuracy", "lr", "val_loss", "<b>", "خسارة")
SEND = "send"

values = st.dictionaries(st.sampled_from(NAMES), st.floats(), max_size=4)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("batch"), values),
        st.tuples(st.just("epoch"), values),
        st.tuples(st.just("begin"), st.none() | st.integers(1, 9)),
        st.tuples(st.just("mark"), st.text(max_size=8)),
        st.tuples(st.just("many"), st.integers(1, 300)),
        st.just((SEND, None)),
    ),
    max_size=40,
)


def play(actions, send):
    """Make a history of the actions, calling ``send(history)`` where they say so and at its end."""
    history = History(RunStarted("a", "name", 0.0))
    step, epoch = 0, 0
    history.add(EpochStarted("a", 0, 0, 0.0))
    for action, told in actions:
        match action:
            case "batch":
                step += 1
                history.add(BatchEnded("a", epoch, 0, step, step / 4, told))
            case "many":
                for _ in range(told):
                    step += 1
                    history.add(BatchEnded("a", epoch, 0, step, step / 4, {"loss": 1 / step}))
            case "epoch":
                history.add(EpochEnded("a", epoch, step, step / 4, told))
                epoch += 1
                history.add(EpochStarted("a", epoch, step, step / 4))
            case "begin":
                history.add(EpochStarted("a", epoch, step, step / 4, told, 9))
            case "mark":
                history.add(Marked("a", step, step / 4, told))
            case _:
                send(history)
    history.add(RunEnded("a", step, step / 4, "completed"))
    send(history)
    return history


def drawn(history):
    """Return what a page that was told everything has."""
    lines = {}
    for name in history.batch:
        lines["batch", name] = [
            (value, step, None)
            for value, step in zip(history.batch[name].tolist(), history.batch.steps(name).tolist(), strict=True)
        ]
    for name in history.epoch:
        table = history.epoch
        lines["epoch", name] = list(
            zip(table[name].tolist(), table.steps(name).tolist(), table.epochs(name).tolist(), strict=True)
        )
    return lines


def assert_same(told, wanted):
    # Compared as text: NaN equals NaN, and 0.0 is not -0.0.
    assert {key: repr(points) for key, points in told.items()} == {key: repr(points) for key, points in wanted.items()}


@given(actions)
@settings(deadline=None)
def test_the_frames_in_order_make_the_page_the_history_whenever_they_were_sent(actions):
    page, sent, frames = Page(), wire.Sent(), []

    def send(history):
        while (frame := wire.append(history, sent)) is not None:
            frames.append(frame)
            (run,) = read(frame)["runs"]
            page.take(run)
            if not wire.behind(history, sent):
                break

    history = play(actions, send)
    assert_same(page.drawn(), drawn(history))
    assert page.spans == [[span.epoch, span.first, span.batches] for span in history.spans]
    marks = [{"step": mark.step, "text": mark.text, "epoch": mark.epoch} for mark in history.marks]
    assert page.marks == marks
    assert page.facts["status"] == "completed"
    assert wire.append(history, sent) is None
    assert not wire.behind(history, sent)
    # No point went over the wire twice.
    points = sum(column["count"] for frame in frames for run in read(frame)["runs"] for column in run["columns"])
    assert points == sum(map(len, history.points)) + len(history.clock)
    for frame in frames:
        assert body_size(frame) == 8 * numbers_named(frame)


@given(actions)
@settings(deadline=None)
def test_a_frame_that_comes_twice_or_after_a_snapshot_changes_nothing(actions):
    page, sent = Page(), wire.Sent()

    def send(history):
        (run,) = read(wire.snapshot([history])[0])["runs"]
        page.take(run)
        frame = wire.append(history, sent)
        for _ in range(2 if frame is not None else 0):
            page.take(read(frame)["runs"][0])

    history = play(actions, send)
    assert_same(page.drawn(), drawn(history))


@given(actions)
@settings(deadline=None)
def test_a_snapshot_with_room_for_everything_holds_everything_and_says_so(actions):
    history = play(actions, lambda _: None)
    frame, complete = wire.snapshot([history], 10_000_000)
    page = Page()
    page.take(read(frame)["runs"][0])
    assert_same(page.drawn(), drawn(history))
    assert wire.append(history, complete["a"]) is None
    assert body_size(frame) == 8 * numbers_named(frame)


def train(series=1, batches=1_000, epochs=1, value=lambda at: 1.0 / (1 + at), bus=None, name="a"):
    bus = bus or Bus(strict=True)
    run = Run(name, bus=bus)
    names = [f"metric {number}" for number in range(series)]
    at = 0
    for epoch in range(epochs):
        run.begin_epoch(epoch, batches=batches)
        for _ in range(batches):
            run.log(**dict.fromkeys(names, value(at)))
            at += 1
        run.end_epoch({f"val_{each}": 1.0 for each in names})
    run.end()
    return run.history


@given(
    series=st.sampled_from([1, 3, 40, 400]),
    batches=st.sampled_from([1, 50, 3_000]),
    epochs=st.sampled_from([1, 30]),
    limit=st.integers(2_000, 60_000),
)
@settings(deadline=None, max_examples=25)
def test_a_snapshot_never_exceeds_its_limit(series, batches, epochs, limit):
    if series * batches * epochs > 100_000:
        batches = epochs = 1
    history = train(series, batches, epochs)
    frame, _ = wire.snapshot([history], limit)
    assert len(frame) <= limit
    assert [run["id"] for run in read(frame)["runs"]] == [history.run]


@pytest.mark.parametrize(
    "history",
    [
        lambda: train(2_000, 3, 2),
        lambda: train(1, 1, 20_000),
        lambda: train(3, 100_000),
    ],
    ids=["2,000 series", "20,000 epochs", "100,000 batches"],
)
def test_the_snapshot_of_an_unusual_run_is_bounded_and_still_useful(history):
    made = history()
    frame, complete = wire.snapshot([made])
    assert len(frame) <= wire.SNAPSHOT_LIMIT
    assert len(frame) > wire.SNAPSHOT_LIMIT / 3
    (run,) = read(frame)["runs"]
    assert run["columns"]
    assert run["spans"]["start"] + len(run["spans"]["items"]) == len(made.spans)
    assert complete == {}


def test_ten_thousand_marks_do_not_burst_the_snapshot():
    run = Run("a", bus=Bus(strict=True))
    for at in range(10_000):
        run.mark(f"mark {at} with some words of its own")
    frame, complete = wire.snapshot([run.history])
    assert len(frame) <= wire.SNAPSHOT_LIMIT
    (told,) = read(frame)["runs"]
    assert told["marks"]["items"][-1]["text"].startswith("mark 9999 ")
    assert told["marks"]["start"] + len(told["marks"]["items"]) == 10_000
    assert complete == {}


def test_where_runs_are_too_many_the_oldest_are_left_out():
    bus = Bus(strict=True)
    histories = [train(20, 10, bus=bus, name=f"run {number}") for number in range(50)]
    frame, complete = wire.snapshot(histories, 50_000)
    assert len(frame) <= 50_000
    told = [run["id"] for run in read(frame)["runs"]]
    assert 1 < len(told) < 50
    assert told == [history.run for history in histories[-len(told) :]]
    assert set(complete) <= set(told)


def test_short_series_are_whole_beside_long_ones():
    run = Run("a", bus=Bus(strict=True))
    for at in range(50_000):
        run.log(loss=1.0, **({"grad": float(at)} if at % 1_000 == 0 else {}))
    frame, _ = wire.snapshot([run.history], 20_000)
    (told,) = read(frame)["runs"]
    names = {series["id"]: series["name"] for series in told["series"]}
    by_name = {names[column["series"]]: column for column in told["columns"]}
    assert "indices" not in by_name["grad"]
    assert by_name["grad"]["values"] == [float(at) for at in range(0, 50_000, 1_000)]
    assert len(by_name["loss"]["indices"]) < 50_000 == by_name["loss"]["length"]


@given(st.data())
@settings(deadline=None, max_examples=30)
def test_a_thinned_series_keeps_its_ends_its_extremes_and_a_lonely_nan(data):
    n = data.draw(st.integers(2_000, 6_000))
    spikes = data.draw(st.dictionaries(st.integers(0, n - 1), st.sampled_from([1e308, -1e308, 9.0, -9.0]), max_size=5))
    odd = data.draw(st.none() | st.tuples(st.integers(0, n - 1), st.sampled_from([math.nan, math.inf, -math.inf])))
    plain = [spikes.get(at, math.sin(at)) for at in range(n)]
    if odd is not None:
        plain[odd[0]] = odd[1]
    history = train(1, n, value=plain.__getitem__)
    frame, _ = wire.snapshot([history], 8_000)
    assert len(frame) <= 8_000
    (run,) = read(frame)["runs"]
    (column,) = [column for column in run["columns"] if column["series"] == 1]
    indices = [int(index) for index in column["indices"]]
    assert indices == sorted(set(indices))
    assert repr(column["values"]) == repr([plain[index] for index in indices])
    assert column["steps"] == [index + 1 for index in indices]
    assert column["length"] == n
    assert (indices[0], indices[-1]) == (0, n - 1)
    finite = [value for value in plain if math.isfinite(value)]
    assert min(finite) in column["values"]
    assert max(finite) in column["values"]
    assert odd is None or odd[0] in indices


def test_a_long_history_goes_in_pieces_of_bounded_size():
    history = train(1, wire.MESSAGE_POINTS * 2 + 5)
    sent, starts = wire.Sent(), []
    while (frame := wire.append(history, sent)) is not None:
        starts += [column["start"] for column in read(frame)["runs"][0]["columns"] if column["series"] == 1]
        assert all(column["count"] <= wire.MESSAGE_POINTS for column in read(frame)["runs"][0]["columns"])
        if not wire.behind(history, sent):
            break
    assert starts == [0, wire.MESSAGE_POINTS, 2 * wire.MESSAGE_POINTS]


def test_an_update_costs_the_new_points_and_little_else_however_long_the_run_is():
    sizes = []
    for before in (1_000, 100_000):
        run, sent = Run("a", bus=Bus(strict=True)), wire.Sent()
        run.begin_epoch(0, batches=200_000)
        for _ in range(before):
            run.log(loss=1.0, accuracy=1.0, lr=1.0)
        while wire.append(run.history, sent) is not None:
            pass
        for _ in range(10):
            run.log(loss=1.0, accuracy=1.0, lr=1.0)
        frame = wire.append(run.history, sent)
        assert body_size(frame) == 8 * 10 * 4  # three series and the clock
        assert len(frame) - body_size(frame) <= 1_000
        sizes.append(len(frame))
    assert abs(sizes[1] - sizes[0]) <= 48


def test_batches_out_of_order_keep_their_own_steps():
    """As when several threads log at once."""
    history = History(RunStarted("a", "name", 0.0))
    for step in (1, 3, 2, 4):
        history.add(BatchEnded("a", 0, 0, step, 1.0, {"loss": float(step)}))
    (run,) = read(wire.append(history, wire.Sent()))["runs"]
    assert [column["steps"] for column in run["columns"]] == [[1, 3, 2, 4]] * 2


def test_no_number_of_the_header_can_be_nan():
    """NaN in a fact is a fault of ours, which has to show here and not in the page's ``JSON.parse``."""
    history = train()
    history.started = math.nan
    with pytest.raises(ValueError, match="not JSON compliant"):
        wire.append(history, wire.Sent())


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_text_survives_the_wire(name, mark):
    history = History(RunStarted("a", name, 0.0), 7)
    history.add(Marked("a", 0, 0.0, mark))
    history.add(BatchEnded("a", 0, 0, 1, 0.1, {name: 1.0}))
    history.add(RunEnded("a", 1, 0.2, "failed", mark))
    frame = wire.append(history, wire.Sent())
    (run,) = read(frame)["runs"]
    assert run["name"] == f"{name} · run 7"
    assert run["error"] == run["marks"]["items"][0]["text"] == mark
    assert run["series"][1]["name"] == name
    header = frame[8 : len(frame) - body_size(frame)]
    assert json.loads(header)["runs"][0]["series"][1]["name"] == name


def test_the_facts_of_a_run_follow_it():
    history = History(RunStarted("a", "name", 5.0, 3))
    sent = wire.Sent()

    def facts():
        (run,) = read(wire.append(history, sent))["runs"]
        return [run[name] for name in ("epoch", "epochs", "batch", "batches", "status", "error")]

    assert facts() == [None, 3, 0, None, "running", None]
    history.add(EpochStarted("a", 0, 0, 0.0, 4))
    assert facts() == [0, 3, 0, 4, "running", None]
    history.add(BatchEnded("a", 0, 0, 1, 0.1, {"loss": 1.0}))
    assert facts() == [0, 3, 1, 4, "running", None]
    history.add(EpochEnded("a", 0, 1, 0.2, {"loss": 1.0}))
    history.add(EpochStarted("a", 1, 1, 0.3, 4))
    assert facts() == [1, 3, 0, 4, "running", None]
    history.add(RunEnded("a", 1, 0.4, "failed", "no"))
    assert facts() == [1, 3, 0, 4, "failed", "no"]
    assert wire.append(history, sent) is None


@pytest.mark.parametrize("runs", [1, 2, 3, 4, 5])
def test_a_snapshot_holds_every_point_as_long_as_there_is_room(runs):
    """Points one step apart take eight bytes each."""
    bus = Bus(strict=True)
    for _ in range(runs):
        run = Run("a", bus=bus)
        for at in range(1000):
            run.batch_ended({"loss": float(at), "accuracy": 0.5, "lr": 0.1})
        run.end()
    frame, complete = wire.snapshot(bus.runs)
    columns = [column for told in read(frame)["runs"] for column in told["columns"]]
    assert [column["count"] for column in columns] == [1000] * 4 * runs
    assert len(complete) == runs
    assert len(frame) <= wire.SNAPSHOT_LIMIT
