"""What a page that was loaded anew, or a second view, shows of a training that goes on."""

from __future__ import annotations

import time
from collections.abc import Callable

from playwright.sync_api import expect

from .lab import Notebook
from .test_live import DUMP, same_as_python

Open = Callable[..., Notebook]

SHOW = "import math, time\nimport epochwidget as ew\nwidget = ew.EpochWidget()\nwidget"
TRAIN = """
def train(epochs):
    with ew.Run("digits", epochs=epochs) as run:
        for epoch in run.epochs():
            for batch in run.batches(range(100)):
                run.log(loss=math.sin(batch + 100 * epoch), lr=float("nan") if batch == 7 else 1e-3)
                time.sleep(0.01)
            run.log_epoch(val_loss=0.5 - 0.1 * epoch)
"""

# As where a page is held up, or a cell ends two seconds after the page was loaded: while the kernel gives the models
# back, the time goes by in which JupyterLab looks for them.
HELD_UP = """
const now = Date.now;
let late = 0;
Date.now = () => now() + late;
window.WebSocket = class extends WebSocket {
    get onmessage() { return super.onmessage; }
    set onmessage(take) {
        super.onmessage = event => {
            if (event.data instanceof ArrayBuffer && new TextDecoder().decode(event.data).includes("update_states"))
                late = 3000;
            take(event);
        };
    }
};
"""

FAIL = """
def fail():
    time.sleep(2)
    print("so far")
    raise ValueError("no luck")
training = ew.background(fail)
"""


def test_a_page_loaded_anew_and_a_second_view_follow_a_training_in_the_background(open_notebook: Open) -> None:
    notebook = open_notebook(
        SHOW, TRAIN, "training = ew.background(train, 14)\ntraining", "widget", "training.result()", DUMP
    )
    for cell in (0, 1, 2):
        notebook.run_and_wait(cell)
    assert "<background train: running>" in notebook.outputs(2)[0]["data"]["text/plain"]
    notebook.widget().wait_for_points(300)

    notebook.run_and_wait(3)
    second = notebook.widget(1)
    second.root.wait_for()
    assert second.count() >= 300, "a second view has everything at once"
    before = second.count()
    second.wait_for_points(before + 50)

    before = notebook.widget().count()
    notebook.reload()
    began = time.monotonic()
    notebook.widget().root.wait_for(timeout=30_000)
    notebook.widget().wait_for_points(before)
    took = time.monotonic() - began
    print(f"everything is back {took:.1f} s after the kernel was")  # less than 2 on a machine with nothing else to do
    assert took < 15
    assert notebook.widget().points("batch", "loss")["steps"][:before] == list(range(1, before + 1)), (
        "from the first on"
    )
    before = notebook.widget().count()
    notebook.widget().button("Epoch").click()
    notebook.widget().wait_for_points(before + 50)

    notebook.run_and_wait(4)
    same_as_python(notebook, 5)


def test_a_page_loaded_anew_while_a_cell_blocks_shows_everything_when_the_cell_ends(open_notebook: Open) -> None:
    notebook = open_notebook(SHOW, TRAIN, "train(8)", DUMP)
    for cell in (0, 1):
        notebook.run_and_wait(cell)
    notebook.run(2)
    notebook.widget().wait_for_points(200)
    notebook.reload()
    notebook.widget().root.wait_for(timeout=60_000)
    notebook.widget().wait_for_points(800)
    same_as_python(notebook, 3)


def test_a_page_that_is_held_up_while_it_is_loaded_anew_shows_everything(open_notebook: Open) -> None:
    notebook = open_notebook(SHOW, TRAIN, "train(2)", DUMP)
    for cell in (0, 1, 2):
        notebook.run_and_wait(cell)
    before = notebook.outputs(0)
    notebook.page.add_init_script(HELD_UP)
    notebook.reload()
    notebook.widget().root.wait_for(timeout=30_000)
    late = notebook.page.evaluate("Date.now() - performance.timeOrigin - performance.now()")
    assert late > 2000, "JupyterLab has looked in vain"
    notebook.widget().wait_for_points(200)
    assert notebook.page.locator(".epochwidget").count() == 1
    assert notebook.outputs(0) == before
    same_as_python(notebook, 3)


def test_what_fails_in_the_background_is_told_in_the_cell_that_began_it(open_notebook: Open) -> None:
    notebook = open_notebook(
        SHOW,
        FAIL,
        "1 + 1",
        "training.result()",
    )
    for cell in (0, 1, 2):
        notebook.run_and_wait(cell)
    outputs = notebook.page.locator(".jp-CodeCell .jp-OutputArea")
    expect(outputs.nth(1)).to_contain_text("so far", timeout=10_000)
    expect(outputs.nth(1)).to_contain_text("ValueError: no luck")
    expect(outputs.nth(2)).not_to_contain_text("luck")
    expect(outputs.nth(2)).not_to_contain_text("so far")
    notebook.run_and_wait(3)
    assert notebook.outputs(3)[0]["ename"] == "ValueError"
