"""What the page asks of the kernel: exact points, also while a cell runs; and what is no question."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_client.manager import start_new_kernel

from epochwidget import EpochWidget, Run, control, wire
from epochwidget.control import Detail, Stop

from .frames import Page, read

ASKED = {"type": "detail", "question": 1, "run": "a", "generation": 0, "ranges": [[0, 0, 16_384], [2, 5, 6]]}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


def test_a_question_is_read():
    assert control.read(ASKED) == Detail(1, "a", 0, [(0, 0, 16_384), (2, 5, 6)])
    assert control.read({**ASKED, "more": 1}) == control.read(ASKED)


@pytest.mark.parametrize("after", ["batch", "epoch"])
def test_a_wish_to_stop_is_read(after):
    assert control.read({"type": "stop", "run": "a", "after": after}) == Stop("a", after)


@pytest.mark.parametrize("change", [{"run": 1}, {"run": None}, {"after": "now"}, {"after": ["batch"]}, {"after": None}])
def test_what_is_no_wish_is_refused(change):
    assert control.read({"type": "stop", "run": "a", "after": "batch", **change}) is None


def test_a_widget_passes_the_wish_on_to_the_run_that_is_meant_and_goes_on(bus):
    widget = EpochWidget(bus=bus)
    with Run("a", bus=bus) as one, Run("b", bus=bus) as other:
        widget._hear({"type": "stop", "run": "nobody", "after": "batch"})
        widget._hear({"type": "stop", "run": other.id, "after": "epoch"})
        assert (one.history.stopping, other.history.stopping) == (None, "epoch")
    widget._hear({"type": "stop", "run": one.id, "after": "batch"})
    assert one.history.stopping is None, "it is over"
    widget.close()


def test_a_widget_of_other_runs_stops_none(bus):
    with Run("a", bus=bus) as shown, Run("b", bus=bus) as hidden:
        widget = EpochWidget(bus=bus, runs=[shown])
        widget._hear({"type": "stop", "run": hidden.id, "after": "batch"})
        assert hidden.history.stopping is None
        widget.close()
    assert hidden.status == "completed"


@pytest.mark.parametrize(
    "change",
    [
        {"type": "details"},
        {"type": None},
        {"question": "1"},
        {"question": -1},
        {"question": True},
        {"run": 1},
        {"generation": 0.0},
        {"generation": 10**400},
        {"ranges": []},
        {"ranges": {}},
        {"ranges": [[0, 0, 16_385]]},
        {"ranges": [[0, 5, 5]]},
        {"ranges": [[0, 6, 5]]},
        {"ranges": [[-1, 0, 5]]},
        {"ranges": [[0, 0, 2**60]]},
        {"ranges": [[0, 0, True]]},
        {"ranges": [[0, 0, float("nan")]]},
        {"ranges": [[0, 0]]},
        {"ranges": [[0, 0, 1], 3]},
        {"ranges": [[0, 0, 1]] * 9},
    ],
)
def test_what_is_no_question_is_refused(change):
    assert control.read({**ASKED, **change}) is None


@given(JSON | st.fixed_dictionaries({name: st.just(value) | JSON for name, value in ASKED.items()}))
def test_anything_else_is_refused_or_is_within_bounds(content):
    question = control.read(content)
    if question is not None:
        assert 0 < len(question.ranges) <= 8
        assert all(0 <= start < stop <= start + wire.MESSAGE_POINTS for _, start, stop in question.ranges)


def test_the_answer_holds_the_points_that_were_asked_for(bus):
    with Run("a", bus=bus) as run:
        for step in range(100):
            run.log(loss=float(step), lr=0.1)
        run.log_epoch(val_loss=1.0)
    history = run.history
    (all_of_it,) = read(wire.snapshot([history])[0])["runs"]
    ids = {(series["granularity"], series["name"]): series["id"] for series in all_of_it["series"]}
    loss, rate, mean = ids["batch", "loss"], ids["batch", "lr"], ids["epoch", "val_loss"]
    asked = [(loss, 10, 13), (mean, 0, 5), (rate, 98, 200), (99, 0, 5), (loss, 100, 101)]
    (told,) = read(wire.detail(history, 0, asked))["runs"]
    found = {column["series"]: (column["start"], column["count"]) for column in told["columns"]}
    assert found == {loss: (10, 3), mean: (0, 1), rate: (98, 2)}
    page = Page()
    page.take(all_of_it)
    before = page.drawn(), page.spans[:], page.marks[:]
    page.take(told)
    assert (page.drawn(), page.spans, page.marks) == before, "they are the same points"
    assert wire.detail(history, 1, [(0, 10, 13)]) is None, "of another generation"


CELL = """
import time
import epochwidget as ew
widget = ew.EpochWidget(bus=(bus := ew.Bus()))
with ew.Run("long", bus=bus) as run:
    for step in range(40_000):
        run.log(loss=float(step))
print(widget._uid, run.history.run)
"""
# Other threads have their turn, but no message of the shell is read.
BUSY = "began = time.time()\nwhile time.time() - began < 60 and not stop: time.sleep(0.01)"


def test_a_kernel_answers_over_its_control_channel_while_a_cell_runs():
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        told = []
        client.execute_interactive(CELL, timeout=120, output_hook=lambda message: told.append(message["content"]))
        uid, run = next(content["text"] for content in told if "text" in content).split()
        client.execute("stop = False")
        busy = client.execute(BUSY)

        def ask(uid, content):
            data = {"method": "custom", "content": content}
            client.control_channel.send(client.session.msg("comm_msg", {"comm_id": uid, "data": data}))

        ask("nobody", ASKED)
        ask(uid, {"type": "detail"})
        ask(uid, {**ASKED, "question": 7, "run": "another", "ranges": [[0, 0, 1]]})
        ask(uid, {**ASKED, "question": 8, "run": run, "ranges": [[1, 20_000, 36_000]]})
        answers = {}
        while len(answers) < 2:
            message = client.get_iopub_msg(timeout=30)
            content = message["content"]
            assert not (message["parent_header"].get("msg_id") == busy and content.get("execution_state") == "idle")
            if message["msg_type"] == "comm_msg" and content["data"].get("content", {}).get("type") == "detail":
                answers[content["data"]["content"]["question"]] = message["buffers"]
        assert answers[7] == []
        (told,) = read(bytes(answers[8][0]))["runs"]
        (column,) = told["columns"]
        assert (column["series"], column["start"], column["count"]) == (1, 20_000, 16_000)
        assert list(column["values"][:3]) == [20_000, 20_001, 20_002]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_widget_answers_what_comes_over_its_comm(bus):
    with Run("a", bus=bus) as run:
        run.log(loss=1.0)
    widget = EpochWidget(bus=bus)
    sent = []
    widget.send = lambda content, buffers=None: sent.append((content, buffers))
    other = EpochWidget(bus=bus, runs=[run.history])
    assert widget._uid != other._uid
    asked = {"method": "custom", "content": {**ASKED, "run": run.history.run}}
    widget._handle_msg({"content": {"data": asked}, "buffers": []})
    deadline = time.monotonic() + 60
    while not sent and time.monotonic() < deadline:
        time.sleep(0.01)
    ((content, buffers),) = sent
    assert content == {"type": "detail", "question": 1}
    assert read(buffers[0])["runs"][0]["columns"]
    widget.close()
    assert widget._uid not in control._listeners
    other.close()
