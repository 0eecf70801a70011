import gc
import json
import threading
import time
from pathlib import Path

import comm
import numpy as np
import pytest
from comm.base_comm import BaseComm
from ipywidgets import DOMWidget
from traitlets import TraitError

import epochwidget
from epochwidget import Bus, EpochWidget, Panel, Run, wire
from epochwidget.settings import Settings
from epochwidget.wire import SNAPSHOT_LIMIT
from tests.frames import Page, read


class Tap:
    """Everything that widgets send over their comms, in the place of a front end."""

    def __init__(self):
        self.sent = []
        self.fails = False

    def comm(self, **arguments):
        tap = self

        class Comm(BaseComm):
            def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
                if tap.fails:
                    raise ConnectionError("the front end has gone")
                tap.sent.append((self.comm_id, msg_type, data, buffers))

        return Comm(**arguments)

    def appends(self, widget):
        for comm_id, kind, data, buffers in list(self.sent):
            if comm_id == widget.model_id and kind == "comm_msg" and data["method"] == "custom":
                assert data["content"] == {"type": "append"}
                (frame,) = buffers
                yield bytes(frame)

    def pages(self, widget):
        """Return, of each run, the page that the messages alone make."""
        pages = {}
        for frame in self.appends(widget):
            for run in read(frame)["runs"]:
                pages.setdefault(run["id"], Page()).take(run)
        return pages


@pytest.fixture
def tap(monkeypatch):
    made = Tap()
    monkeypatch.setattr(comm, "create_comm", made.comm)
    return made


@pytest.fixture
def show(tap, bus):
    """Make widgets that are closed in the end."""
    made = []

    def show(**keywords):
        made.append(EpochWidget(**{"bus": bus, **keywords}))
        return made[-1]

    yield show
    for widget in made:
        widget.close()


def snapshot(widget):
    pages = {}
    for run in read(widget._snapshot)["runs"]:
        pages[run["id"]] = Page()
        pages[run["id"]].take(run)
    return pages


def losses(page):
    return [value for value, _, _ in page.drawn().get(("batch", "loss"), [])]


def senders():
    return [thread for thread in threading.enumerate() if thread.name == "epochwidget-sender"]


# --- keywords ----------------------------------------------------------------------------------------------------


def test_an_unknown_keyword_names_the_nearest(bus):
    with pytest.raises(TypeError) as raised:
        EpochWidget(bus=bus, granulrity="epoch", q=2)
    assert str(raised.value).startswith(
        "EpochWidget() does not know 'granulrity' (did you mean 'granularity'?), 'q'; it takes bus, "
    )


@pytest.mark.parametrize("keyword", ["_snapshot", "_esm", "_bus", "comm"])
def test_what_is_ours_is_no_keyword(bus, keyword):
    with pytest.raises(TypeError, match=rf"^EpochWidget\(\) does not know '{keyword}'"):
        EpochWidget(bus=bus, **{keyword: None})


def test_the_bus_has_to_be_one():
    with pytest.raises(TypeError, match=r"^EpochWidget\(bus=\.\.\.\) needs an epochwidget\.Bus, got 'shared'\.$"):
        EpochWidget(bus="shared")


@pytest.mark.parametrize(
    ("trait", "bad"),
    [
        ("granularity", "batches"),
        ("x_axis", "hour"),
        ("theme", "solarized"),
        ("log_scale", "yes"),
        ("height", 10),
        ("height", 100_000),
        ("hidden", [3]),
        ("hidden", ["loss"]),
        ("hidden", "loss"),
        ("panels", [{"title": "x"}]),
        ("title", 3),
        ("run", None),
        ("zoom", [3, 1]),
        ("zoom", [1]),
        ("zoom", [1, float("inf")]),
        ("zoom", ["1", "2"]),
        ("smoothing", 1),
        ("smoothing", float("nan")),
        ("means_at", "begin"),
        ("follow", "yes"),
        ("gap", "yes"),
        ("compact", "yes"),
        ("last", 0),
        ("closed", [1]),
        ("order", [1]),
        ("unclipped", [1]),
        ("enlarged", 1),
        ("scales", ["log"]),
        ("panels", ["loss"]),
        ("runs", 3),
        ("runs", ["no such run"]),
        ("pinned", ["no such run"]),
        ("hidden_runs", ["no such run"]),
        ("names", {"no such run": "mine"}),
    ],
)
def test_a_bad_value_is_refused_when_the_widget_is_made_and_later(bus, show, trait, bad):
    with pytest.raises(TraitError, match=trait):
        EpochWidget(bus=bus, **{trait: bad})
    widget = show()
    before = getattr(widget, trait)
    with pytest.raises(TraitError, match=trait):
        setattr(widget, trait, bad)
    assert getattr(widget, trait) == before


def test_keywords_are_traits(show):
    widget = show(granularity="epoch", log_scale=True, height=200, title="mine", hidden=["batch:loss"], theme="dark")
    state = widget.get_state()
    assert (state["granularity"], state["log_scale"], state["height"], state["title"]) == ("epoch", True, 200, "mine")
    assert (state["hidden"], state["theme"], state["x_axis"], state["run"]) == (["batch:loss"], "dark", "epoch", "")


def test_what_the_page_chooses_is_known_in_python_and_the_other_way_round(bus, show):
    with Run("resnet18", bus=bus) as run:
        run.log(loss=1.0)
    chosen = {
        "x_axis": "wall",
        "zoom": [1.5, 2.5],
        "follow": True,
        "smoothing": 0.97,
        "means_at": "end",
        "scales": {"loss": "log"},
        "unclipped": ["loss"],
        "gap": True,
        "directions": {"bleu": "max"},
        "panels": [{"title": "Gradients", "metrics": ["grad_norm"], "scale": "log"}],
        "order": ["accuracy"],
        "closed": ["learning rate"],
        "enlarged": "loss",
        "runs": [run.id],
        "last": 5,
        "pinned": [run.id],
        "hidden_runs": [run.id],
        "names": {run.id: "the good one"},
        "compact": True,
        "table": True,
    }
    widget = show()
    widget.set_state(chosen)
    assert {name: widget.get_state()[name] for name in chosen} == chosen
    again = show(**{name: getattr(widget, name) for name in chosen})
    assert {name: again.get_state()[name] for name in chosen} == chosen
    assert set(chosen) < set(widget.get_state())


def test_the_page_knows_every_setting_and_its_default(show):
    """`js/src/settings.ts` is tested against the same file."""
    page = json.loads((Path(__file__).parent / "wire" / "settings.json").read_text(encoding="utf-8"))
    ours = set(Settings.class_trait_names(sync=True)) - set(DOMWidget.class_trait_names())
    assert {name: show().get_state()[name] for name in ours} == page


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"scales": {"loss": "logarithmic"}}, "scales['loss'] has to be 'log' or 'linear', got 'logarithmic'."),
        ({"directions": {"bleu": "up"}}, "directions['bleu'] has to be 'min' or 'max', got 'up'."),
        ({"directions": {3: "min"}}, "directions names a metric by its text, got 3."),
        (
            {"zoom": (2, 2)},
            "zoom has to be [from, to] in units of x_axis, two finite numbers of which the first is smaller, "
            "or [] for all there is; got (2, 2).",
        ),
        ({"smoothing": 1}, "smoothing has to be a number from 0 to 0.999, got 1."),
        (
            {"hidden": ["loss"]},
            "hidden names lines by granularity and series, as 'batch:loss' to hide one or '!batch:running_loss' to "
            "show one; got 'loss'.",
        ),
        (
            {"panels": [{"title": "x"}]},
            "panels holds {'title': 'x'}: a panel has a title and metrics, and a scale if need be.",
        ),
        (
            {"runs": ["resnet"]},
            "runs knows no run 'resnet' (did you mean 'resnet18'?); on this bus there are: 'resnet18 · run 1'.",
        ),
        (
            {"panels": [Panel("a", ["loss"]), Panel("a", ["lr"])]},
            "panels: Two panels have the title 'a': give each a title of its own.",
        ),
        (
            {"panels": [Panel("a", ["loss"]), Panel("b", ["lr", "loss"])]},
            "panels: 'loss' is on two panels: a metric has one place.",
        ),
    ],
)
def test_what_is_refused_is_told_with_what_is_accepted(bus, show, keywords, sentence):
    Run("resnet18", bus=bus).end()
    with pytest.raises(TraitError) as raised:
        show(**keywords)
    assert str(raised.value) == sentence


def test_a_run_is_named_by_what_is_at_hand(bus, show):
    first, second = Run("resnet18", bus=bus), Run("resnet18", bus=bus)
    for given in (first, first.history, first.id, "resnet18 · run 1"):
        assert show(runs=[given]).runs == [first.id]
    assert show(runs=["resnet18"]).runs == [second.id]  # the newest of that name
    widget = show(runs=bus.runs, names={first: "the first"})
    assert (widget.runs, widget.names) == ([first.id, second.id], {first.id: "the first"})
    widget.runs = bus.runs[:1]
    assert widget.runs == [first.id]
    for run in (first, second):
        run.end()


def test_a_run_that_the_bus_has_forgotten_may_be_named_by_a_page_that_has_it(bus, show):
    with Run("a", bus=bus) as run:
        run.log(loss=1.0)
    widget = show()
    bus.runs.clear()
    widget.hidden_runs = [run.id]
    assert widget.hidden_runs == [run.id]


def test_the_text_of_a_widget_is_the_same_before_during_and_after_a_run(bus, show):
    """So that a saved notebook does not change by itself."""
    widget, texts = show(), []

    def look():
        texts.extend([repr(widget), widget._repr_mimebundle_()[0]["text/plain"].partition(": ")[0]])

    look()
    with Run("a", bus=bus) as run:
        run.log(loss=1.0)
        look()
    look()
    assert set(texts) == {"EpochWidget()"}


# --- what reaches the page ---------------------------------------------------------------------------------------


def test_the_end_of_a_run_leaves_nothing_unsent(bus, tap, show):
    widget = show()
    with Run("a", bus=bus) as run:
        for _ in run.epochs(2):
            for loss in run.batches([1.0, 2.0]):
                run.log(loss=loss)
            run.log_epoch(val_loss=0.5)
    for page in (tap.pages(widget)[run.id], snapshot(widget)[run.id]):
        assert losses(page) == [1, 2, 1, 2]
        assert page.drawn()["epoch", "val_loss"] == [(0.5, 2, 0), (0.5, 4, 1)]
        assert page.facts["status"] == "completed"
        assert page.spans == [[0, 0, 2], [1, 2, 2]]


def test_ten_thousand_batches_are_few_messages_and_every_point_goes_once(bus, tap, show):
    widget = show()
    began = time.perf_counter()
    run = Run("a", bus=bus)
    run.begin_epoch(0)
    for at in range(10_000):
        run.log(loss=float(at))
        if at % 100 == 0:
            time.sleep(0.005)
    run.end()
    taken = time.perf_counter() - began
    frames = list(tap.appends(widget))
    assert losses(tap.pages(widget)[run.id]) == list(range(10_000))
    # One every 50 ms, one for the run's end, and one for a sender that was about to.
    assert 1 < len(frames) <= taken * 20 + 2
    points = [column for frame in frames for told in read(frame)["runs"] for column in told["columns"]]
    assert sum(column["count"] for column in points if column["series"] == 1) == 10_000


def test_the_tail_is_sent_though_nothing_more_is_logged(bus, tap, show):
    """A slow batch must not keep the batches before it off the page."""
    widget = show()
    run = Run("a", bus=bus)
    run.log(loss=7.0)
    sent = threading.Event()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not sent.wait(0.01):
        if any(losses(page) == [7] for page in tap.pages(widget).values()):
            sent.set()
    assert sent.is_set()
    assert run.status == "running"
    run.end()


def test_a_widget_made_late_has_everything_at_once(bus, show):
    done = Run("a", bus=bus)
    done.log(loss=1.0)
    done.end("failed", "no")
    goes_on = Run("b", bus=bus)
    goes_on.log(loss=2.0)
    pages = snapshot(show())
    assert list(pages) == [done.id, goes_on.id]
    assert [losses(page) for page in pages.values()] == [[1], [2]]
    assert pages[done.id].facts["error"] == "no"
    goes_on.end()


def test_what_a_late_widgets_snapshot_cannot_hold_follows_by_message(bus, tap, show):
    run = Run("a", bus=bus)
    run.begin_epoch(0)
    for at in range(60_000):
        run.log(loss=float(at))
    widget = show()
    assert len(widget._snapshot) <= SNAPSHOT_LIMIT
    assert len(losses(snapshot(widget)[run.id])) < 60_000
    assert losses(tap.pages(widget)[run.id]) == list(range(60_000))
    run.end()


def test_the_points_of_a_complete_snapshot_are_not_sent_again(bus, tap, show):
    run = Run("a", bus=bus)
    run.log(loss=1.0)
    widget = show()
    assert list(tap.appends(widget)) == []
    run.end()
    columns = [column for frame in tap.appends(widget) for told in read(frame)["runs"] for column in told["columns"]]
    assert columns == []


def test_two_widgets_on_one_bus_show_the_same(bus, tap, show):
    first, second = show(), show(granularity="epoch")
    with Run("a", bus=bus) as run:
        run.log(loss=1.0)
    assert losses(tap.pages(first)[run.id]) == losses(tap.pages(second)[run.id]) == [1]


def test_two_buses_know_nothing_of_each_other(tap, show):
    one, other = Bus(strict=True), Bus(strict=True)
    here, there = show(bus=one), show(bus=other)
    with Run("a", bus=one) as run:
        run.log(loss=1.0)
    assert list(tap.pages(here)) == [run.id]
    assert list(tap.pages(there)) == []
    assert snapshot(there) == {}


def test_without_a_bus_a_widget_follows_the_shared_one(tap):
    widget = EpochWidget()
    with Run("mine") as run:
        run.log(loss=1.0)
    assert run.history in list(epochwidget.runs)
    assert losses(snapshot(widget)[run.id]) == [1]
    widget.close()


def test_runs_side_by_side_are_all_sent(bus, tap, show):
    widget = show()
    runs = [Run(f"run {number}", bus=bus) for number in range(3)]
    for at in range(10):
        for number, run in enumerate(runs):
            run.log(loss=float(10 * number + at))
    for run in runs:
        run.end()
    pages = tap.pages(widget)
    assert [losses(pages[run.id]) for run in runs] == [[10.0 * number + at for at in range(10)] for number in range(3)]


def test_a_widget_of_chosen_runs_sends_nothing_of_the_others(bus, tap, show):
    past = Run("past", bus=bus)
    past.log(loss=1.0)
    past.end()
    present = Run("present", bus=bus)
    widget = show(runs=[present])
    present.log(loss=2.0)
    with Run("other", bus=bus) as other:
        other.log(loss=3.0)
    present.end()
    assert {run["id"] for frame in tap.appends(widget) for run in read(frame)["runs"]} == {present.id}
    assert {run: losses(page) for run, page in snapshot(widget).items()} == {present.id: [2]}


def test_a_run_that_is_chosen_later_is_sent_then(bus, tap, show):
    runs = [Run(name, bus=bus) for name in ("first", "second")]
    for run in runs:
        run.log(loss=float(len(run.name)))
        run.end()
    widget = show(runs=[runs[0]])
    assert list(snapshot(widget)) == [runs[0].id]
    widget.runs = [runs[1]]
    for thread in senders():
        thread.join(10)
    assert list(snapshot(widget)) == [runs[1].id]
    assert losses(tap.pages(widget)[runs[1].id]) == [6]
    widget.runs = []
    for thread in senders():
        thread.join(10)
    assert list(snapshot(widget)) == [run.id for run in runs]


def test_a_run_that_goes_on_from_its_beginning_is_sent_though_it_had_been_taken_up_as_often_before(bus, tap, show):
    """Going on from an earlier epoch drops also where the run was taken up after it."""
    widget = show()
    with Run("a", bus=bus) as run:
        run.log(loss=9.0)
    for epoch in (None, None, None, 0):
        with Run(bus=bus, resume=run, epoch=epoch) as again:
            again.log(loss=float(again.step))
    assert (run.history.generation, len(run.history.resumed)) == (1, 1)
    assert losses(tap.pages(widget)[run.id]) == run.history.batch["loss"].tolist() == [0]


def test_a_run_that_is_loaded_is_shown_by_widgets_that_are_there_already(bus, tap, show, tmp_path):
    with Run("a", bus=bus) as run:
        for _ in run.epochs(2):
            for loss in run.batches([1.0, 2.0]):
                run.log(loss=loss)
    run.history.save(tmp_path / "a.npz")
    other = Bus(strict=True)
    widget = show(bus=other)
    with Run("b", bus=other) as newer:
        newer.log(loss=3.0)
        epochwidget.load(tmp_path / "a.npz", bus=other)  # while another trains
        for pages in (tap.pages(widget), snapshot(widget), snapshot(show(bus=other))):
            assert losses(pages[run.id]) == [1, 2, 1, 2]
            assert pages[run.id].drawn()["epoch", "loss"] == [(1.5, 2, 0), (1.5, 4, 1)]
            assert (pages[run.id].facts["name"], pages[run.id].facts["status"]) == ("a · run 2", "completed")
    assert losses(tap.pages(widget)[newer.id]) == [3]


def test_what_a_page_has_of_a_forgotten_run_gives_way_to_what_is_loaded_of_it(bus, tap, show, tmp_path):
    widget = show()
    run = Run("a", bus=bus)
    run.log(loss=1.0)
    run.history.save(tmp_path / "early.npz")
    run.log(loss=2.0)
    run.end()
    assert losses(tap.pages(widget)[run.id]) == [1, 2]
    bus.runs.clear()
    loaded = epochwidget.load(tmp_path / "early.npz", bus=bus)
    assert losses(tap.pages(widget)[run.id]) == [1]
    with Run(bus=bus, resume=loaded) as again:
        again.log(loss=3.0)
    for thread in senders():
        thread.join(10)
    assert losses(tap.pages(widget)[run.id]) == losses(snapshot(widget)[run.id]) == [1, 3]


# --- its end -----------------------------------------------------------------------------------------------------


def test_a_closed_widget_follows_nothing_more_and_the_training_goes_on(bus, tap, show):
    widget = show()
    run = Run("a", bus=bus)
    run.log(loss=1.0)
    listeners = sum(len(subscribers) for subscribers in bus._subscribers.values())
    widget.close()
    for thread in senders():
        thread.join(10)
    assert senders() == []
    assert sum(len(subscribers) for subscribers in bus._subscribers.values()) == listeners - 4
    count = len(tap.sent)
    run.log(loss=2.0)
    run.end()
    Run("b", bus=bus).end()
    assert len(tap.sent) == count
    assert run.history.batch["loss"].tolist() == [1, 2]


def test_a_widget_may_be_closed_twice(show):
    widget = show()
    widget.close()
    widget.close()


def test_nobody_sends_when_nothing_trains(bus, tap, show):
    show()
    with Run("a", bus=bus) as run:
        run.log(loss=1.0)
    for thread in senders():
        thread.join(10)
    assert senders() == []


def test_a_second_run_is_sent_after_the_sender_of_the_first_has_gone(bus, tap, show):
    widget = show()
    for _ in range(2):
        with Run("a", bus=bus) as run:
            run.log(loss=1.0)
        for thread in senders():
            thread.join(10)
    assert [losses(page) for page in tap.pages(widget).values()] == [[1], [1]]


def test_a_front_end_that_has_gone_costs_no_batch(tap, caplog):
    bus = Bus()
    widget = EpochWidget(bus=bus)
    with Run("a", bus=bus) as run:
        run.log(loss=1.0)
        tap.fails = True
        run.log(loss=2.0)
    assert (run.history.status, run.history.batch["loss"].tolist()) == ("completed", [1, 2])
    assert all(record.message.startswith("[epochwidget] ") for record in caplog.records)
    assert caplog.records
    tap.fails = False
    widget.close()


def test_runs_that_have_ended_are_encoded_no_more(bus, show, monkeypatch):
    """A notebook gathers runs; those that are over cost the present one nothing."""
    encoded = []
    append = epochwidget.wire.append
    monkeypatch.setattr(
        epochwidget.wire, "append", lambda history, sent: encoded.append(history.name) or append(history, sent)
    )
    show()
    for name in ("first", "second"):
        with Run(name, bus=bus) as run:
            run.log(loss=1.0)
    encoded.clear()
    with Run("third", bus=bus) as run:
        run.log(loss=1.0)
    assert set(encoded) == {"third"}


def test_many_short_runs_do_not_make_a_snapshot_each_and_the_last_has_all(bus, show, monkeypatch):
    """What a snapshot costs grows with the runs there are, so it must not be paid at the end of every one."""
    taken = []
    take = epochwidget.wire.snapshot
    monkeypatch.setattr(epochwidget.wire, "snapshot", lambda runs: taken.append(len(runs)) or take(runs))
    widget = show()
    for number in range(200):
        with Run(f"run of number {number}", bus=bus) as run:
            run.log(loss=float(number))
    for thread in senders():
        thread.join(30)
    assert len(taken) < 100
    assert losses(snapshot(widget)[run.id]) == [199]


def test_a_widget_that_was_refused_touches_no_bus_when_it_is_forgotten(monkeypatch):
    """It is forgotten wherever garbage is collected: in the midst of what another widget does with the bus."""
    touched = []
    monkeypatch.setattr(Bus, "unsubscribe", lambda *_: touched.append(1))
    with pytest.raises(TypeError):
        EpochWidget(bus="shared")
    with pytest.raises(TraitError):
        EpochWidget(height="tall")
    gc.collect()
    assert not touched


def test_a_run_that_ends_while_another_is_sent_is_sent_complete(bus, tap, show, monkeypatch):
    """The last reference to it goes, say, when garbage is collected in the midst of that."""
    widget = show()
    first, second = Run("first", bus=bus), Run("second", bus=bus)
    encode, ends = wire._column, [second.end]

    def encoded(*arguments):
        while ends:
            ends.pop()()
        return encode(*arguments)

    for run in (first, second):
        run.batch_ended({"loss": 1.0})
    monkeypatch.setattr(wire, "_column", encoded)
    first.end()
    for thread in senders():
        thread.join(10)
    pages = tap.pages(widget)
    assert [losses(pages[run.id]) for run in (first, second)] == [[1], [1]]
    assert [pages[run.id].facts["status"] for run in (first, second)] == ["completed", "completed"]
    assert [losses(snapshot(widget)[run.id]) for run in (first, second)] == [[1], [1]]
    told = [run for frame in tap.appends(widget) for run in read(frame)["runs"]]
    assert sum(column["count"] for run in told for column in run["columns"]) == 2 * len(["time", "loss"])


def test_the_run_in_the_header_may_be_given_as_any_other(bus, show):
    with Run("a", bus=bus) as first, Run("b", bus=bus):
        pass
    for given in (first, first.history, first.id, "a"):
        assert show(run=given).run == first.id
    widget = show(run="b")
    widget.run = ""
    with pytest.raises(TraitError, match="'c'"):
        widget.run = "c"


def test_a_zoom_may_be_an_array(show):
    assert show(zoom=np.array([1, 2])).zoom == [1.0, 2.0]


def test_a_panel_names_a_metric_once():
    with pytest.raises(ValueError, match=r"^The panel 'a' names 'x' twice\.$"):
        Panel("a", ["x", "x"])


def test_a_zoom_is_dropped_with_the_axis_it_was_told_on_but_for_a_page_that_knows_it_on_the_new_one(bus):
    widget = EpochWidget(bus=bus, x_axis="step", zoom=[10, 20])
    assert widget.zoom == [10, 20]
    widget.set_state({"x_axis": "epoch", "zoom": [1.0, 2.0]})
    assert (widget.x_axis, widget.zoom) == ("epoch", [1.0, 2.0])
    widget.x_axis = "time"
    assert widget.zoom == []
    widget.close()
