"""Stop, clicked in a real JupyterLab while a cell trains: the cell ends, the model is whole, the next cell runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from .lab import Notebook, Widget

Open = Callable[..., Notebook]

ROOT = Path(__file__).parents[2]
SHOW = "import time\nimport epochwidget as ew\nwidget = ew.EpochWidget()\nwidget"
# Steps of 20 ms, and what had been trained when the kernel heard.
TRAININGS = f"""
import json, sys, time
import numpy as np
sys.path.insert(0, {str(ROOT)!r})
from tests.callbacks import test_stop as trainings
trainings.EPOCHS, trainings.CLICKED = 100_000, 10**9
heard = []
def stop(history, after="batch", former=ew.History.stop):
    former(history, after)
    heard.append(history.step + len(history.spans))
ew.History.stop = stop
ew.bus.subscribe(lambda event: time.sleep(0.02), ew.BatchEnded, ew.EpochEnded)
def train(name):
    trained = getattr(trainings, name)(ew.bus, lambda: None)
    history = ew.runs[-1]
    more = history.step + len(history.spans) - heard[-1]
    print(json.dumps([history.status, more, len(trained.told), bool(np.isfinite(trained.predict()).all())]))
"""
LOOP = """
def loop():
    with ew.Run("loop") as run:
        for _ in run.epochs(1000):
            for _ in run.batches(range(50)):
                time.sleep(0.01)
                run.log(loss=1.0)
loop()
print(ew.runs[-1].status)
"""
# As in a kernel that has no such channel, or where what it has is called otherwise.
NO_CONTROL = "import epochwidget.control\nepochwidget.control._handlers = lambda: None\n"


def stop_button(widget: Widget, name: str = "Stop now"):  # type: ignore[no-untyped-def]
    return widget.root.get_by_role("button", name=name, exact=True)


# What of each series the page has, tells how far a training is: of boosters, after each iteration.
TORCH = {
    "lightning": "loss",
    "fastai": "loss",
    "transformers": "loss",
    "ignite": "loss",
    "skorch": "loss",
    "loop": "loss",
    "xgboost": "train_rmse",
    "lightgbm": "train_l2",
    "catboost": "learn_RMSE",
}


@pytest.mark.parametrize("frameworks", [{"keras": "loss"}, TORCH], ids=["keras", "all others"])
def test_stop_ends_the_training_of_each_framework(open_notebook: Open, frameworks: dict[str, str]) -> None:
    notebook = open_notebook(SHOW, TRAININGS, *(f"train({name!r})" for name in frameworks), "print(1 + 1)")
    notebook.run_and_wait(0)
    notebook.run_and_wait(1)
    widget = notebook.widget()
    expect(stop_button(widget)).to_be_hidden()
    for cell, (name, series) in enumerate(frameworks.items(), 2):
        boosts = "_" in series
        notebook.run(cell)
        widget.wait_for_points(10, "epoch" if boosts else "batch", series)
        expect(stop_button(widget, "Stop after epoch")).to_be_visible(visible=not boosts)
        stop_button(widget).click()
        notebook.wait_for(cell)
        status, more, told, is_whole = json.loads(notebook.text(cell).splitlines()[-1])
        assert (status, told, is_whole) == ("stopped", 1, True), name
        # Keras hands its batches over some at a time, so how many it had trained when it heard is not known exactly.
        assert more <= (40 if name == "keras" else 2), name
        stopped = re.compile("^stopped$" if boosts else "^stopped at step [0-9,]+$")
        expect(widget.root.get_by_role("status")).to_have_text(stopped)
        expect(stop_button(widget)).to_be_hidden()
    notebook.run_and_wait(2 + len(frameworks))
    assert notebook.text(2 + len(frameworks)) == "2\n"


def test_stop_after_the_epoch_can_be_changed_for_stop_now_by_keyboard(open_notebook: Open) -> None:
    notebook = open_notebook(SHOW, LOOP.replace("range(50)", "range(2_000)"))
    notebook.run_and_wait(0)
    widget = notebook.widget()
    notebook.run(1)
    widget.wait_for_points(10)
    later = stop_button(widget, "Stop after epoch")
    later.focus()
    later.press("Enter")
    status = widget.root.get_by_role("status")
    expect(status).to_have_text("stopping after this epoch")
    expect(later).to_be_hidden()
    assert notebook.trains(1)
    stop_button(widget).press("Space")
    notebook.wait_for(1)
    assert notebook.text(1) == "stopped\n"
    expect(status).to_contain_text("stopped at step ")
    assert widget.count() < 2_000


def test_without_the_control_channel_the_first_interrupt_stops_and_the_second_interrupts(open_notebook: Open) -> None:
    notebook = open_notebook(
        f"{NO_CONTROL}{SHOW}",
        LOOP,
        LOOP.replace("run.epochs(1000)", "[0]").replace("run.batches(range(50))", "range(5000)"),
    )
    notebook.run_and_wait(0)
    widget = notebook.widget()
    notebook.run(1)
    widget.wait_for_points(10)
    stop_button(widget).click()
    expect(widget.root.get_by_role("status")).to_have_text("asking the kernel to stop")
    notebook.wait_for(1)
    assert notebook.text(1) == "stopped\n", "and no error"
    # A loop that does not look is interrupted at once, as ever.
    notebook.run(2)
    widget.wait_for_points(10)
    expect(stop_button(widget)).to_be_disabled()
    notebook.interrupt()
    notebook.wait_for(2)
    assert [output.get("ename") for output in notebook.outputs(2)] == ["KeyboardInterrupt"]


def test_where_nothing_reaches_a_busy_kernel_it_says_so_and_the_click_reaches_no_later_run(open_notebook: Open) -> None:
    show = f"{NO_CONTROL}epochwidget.control.reach = lambda: 'message'\n{SHOW}"
    notebook = open_notebook(show, LOOP.replace("epochs(1000)", "epochs(8)"), LOOP.replace("epochs(1000)", "epochs(2)"))
    notebook.run_and_wait(0)
    widget = notebook.widget()
    notebook.run(1)
    widget.wait_for_points(10)
    stop_button(widget).click()
    status = widget.root.get_by_role("status")
    expect(status).to_have_text("the kernel cannot hear Stop while this cell runs")
    notebook.run(2)
    notebook.wait_for(1)
    notebook.wait_for(2)
    assert (notebook.text(1), notebook.text(2)) == ("completed\n", "completed\n")


@pytest.mark.parametrize("control", ["", NO_CONTROL], ids=["control", "message"])
def test_a_training_in_the_background_is_stopped_after_a_reload(open_notebook: Open, control: str) -> None:
    train = LOOP.replace("\nloop()\nprint(ew.runs[-1].status)", "\nfuture = ew.background(loop)")
    notebook = open_notebook(f"{control}{SHOW}", train, "future.result(60)\nprint(ew.runs[-1].status)")
    notebook.run_and_wait(0)
    notebook.run_and_wait(1)
    notebook.reload()
    widget = notebook.widget()
    widget.root.wait_for(timeout=60_000)
    widget.wait_for_points(10)
    stop_button(widget).click()
    expect(widget.root.get_by_role("status")).to_contain_text("stopped at step ")
    notebook.run_and_wait(2)
    assert notebook.text(2) == "stopped\n"
