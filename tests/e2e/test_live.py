"""The main job: watch real training live, and toggle batch and epoch while the kernel trains."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from .lab import Notebook, Widget

Open = Callable[..., Notebook]

KERAS = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
import epochwidget as ew
from epochwidget.callbacks.keras import EpochCallback
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(1600, 64)).astype("float32")
y = (x[:, :8].sum(1) > 0).astype("int64")
model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(512, "relu"), keras.layers.Dropout(0.3),
                          keras.layers.Dense(512, "relu"), keras.layers.Dense(2)], name="net")
rate = keras.optimizers.schedules.CosineDecay(1e-3, 2500)
model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
              metrics=["accuracy"])
"""
KERAS_SHOW = """
ew.EpochWidget()
"""
KERAS_TRAIN = """
history = model.fit(x[:1200], y[:1200], batch_size=32, epochs=60, validation_data=(x[1200:], y[1200:]), verbose=0,
                    callbacks=[callback := EpochCallback()])
"""
TORCH = """
import torch
import epochwidget as ew
torch.manual_seed(0)
torch.set_num_threads(1)
net = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1))
data = torch.randn(640, 64)
target = data[:, :4].sum(1, keepdim=True)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20 * 20)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(data, target), batch_size=32)
"""
TORCH_TRAIN = """
import time
with ew.Run("loop") as run:
    for epoch in run.epochs(20):
        for x, y in run.batches(loader):
            loss = torch.nn.functional.mse_loss(net(x), y)
            optimizer.zero_grad(); loss.backward(); optimizer.step()
            run.log(loss=loss, lr=optimizer, batch_size=len(x))
            scheduler.step()
            time.sleep({pause})
        run.log_epoch(val_loss=loss * 1.1)
"""
SHOW = "display(ew.EpochWidget())\n"
# Every series of the newest run; numbers that JSON cannot say as JavaScript writes them.
DUMP = """
import json
import numpy as np
names = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
def plain(numbers):
    return [n if np.isfinite(n) else names[str(n)] for n in numbers.tolist()]
def series(table):
    return {name: {"steps": plain(table.steps(name)), "values": plain(table[name])} for name in table}
tables = {"batch": ew.runs[-1].batch, "epoch": ew.runs[-1].epoch}
print(json.dumps({granularity: series(table) for granularity, table in tables.items()}))
"""


# What each view draws of the loss, by the kinds that its legend names.
VIEWS = {
    "Epoch": {"train epoch mean", "validation epoch"},
    "Batch": {"train batch", "validation epoch"},
    "Both": {"train batch", "train epoch mean", "validation epoch"},
}


def every_view_is_another_picture(widget: Widget) -> None:
    """Now that no points come any more, a toggle alone has to change what is drawn."""
    pictures = set()
    for name, lines in VIEWS.items():
        widget.button(name).click()
        widget.page.wait_for_timeout(500)
        assert widget.kinds("loss") == lines
        pictures.add(widget.pixels("loss"))
    assert len(pictures) == len(VIEWS)


def watch(widget: Widget, trains: Callable[[], bool]) -> None:
    """See points come in and toggle by accessible names, all while the kernel is busy."""
    page = widget.page
    widget.root.wait_for(timeout=30_000)
    widget.wait_for_points(2, "epoch", "val_loss")
    widget.wait_for_points(1)
    before = widget.count()
    page.wait_for_timeout(400)
    assert trains()
    assert widget.count() > before, "points are added while the cell runs"

    for name, lines in VIEWS.items():
        began = time.monotonic()
        widget.button(name).click()
        while (legend := widget.kinds("loss")) != lines and time.monotonic() < began + 2:
            page.wait_for_timeout(10)
        took = time.monotonic() - began
        assert legend == lines, f"{name} draws these lines"
        assert took < 0.5, f"{name} took {took:.2f} s"
        assert widget.button(name).get_attribute("aria-pressed") == "true"
    assert trains(), "all this happened while the kernel was training"


def same_as_python(notebook: Notebook, dump: int) -> None:
    """Compare the page's series with Python's history, value for value."""
    notebook.run_and_wait(dump)
    same_series(notebook.widget(), notebook.json(dump))


def same_series(widget: Widget, python: dict[str, Any]) -> None:
    """Compare the page's series with what `DUMP` printed."""
    assert python["batch"]["loss"]["values"]
    for granularity, table in python.items():
        for name, points in table.items():
            page = widget.points(granularity, name)
            assert page == points, f"{granularity} {name}"


def test_keras_fit_is_watched_live_and_toggled_while_the_kernel_trains(open_notebook: Open) -> None:
    notebook = open_notebook(KERAS, KERAS_SHOW, KERAS_TRAIN, DUMP)
    notebook.run_and_wait(0)
    notebook.run_and_wait(1)
    notebook.run(2)
    watch(notebook.widget(), lambda: notebook.trains(2))
    notebook.widget().screenshot("keras-live-light")
    notebook.theme("JupyterLab Dark")
    notebook.widget().screenshot("keras-live-dark")
    notebook.wait_for(2)
    same_as_python(notebook, 3)
    widget = notebook.widget()
    for panel in ("loss", "accuracy", "learning rate"):
        assert widget.panel(panel).is_visible()
    every_view_is_another_picture(notebook.widget())
    assert "epoch 60 of 60" in widget.text
    assert "finished" in widget.text
    widget.screenshot("keras-finished-dark")
    notebook.theme("JupyterLab Light")
    widget.screenshot("keras-finished-light")


def test_one_cell_creates_displays_and_trains_a_torch_loop(open_notebook: Open) -> None:
    notebook = open_notebook(TORCH, SHOW + TORCH_TRAIN.format(pause=0.01), DUMP)
    notebook.run_and_wait(0)
    notebook.run(1)
    watch(notebook.widget(), lambda: notebook.trains(1))
    notebook.wait_for(1)
    same_as_python(notebook, 2)
    every_view_is_another_picture(notebook.widget())
    notebook.widget().screenshot("torch-finished-light")


def test_a_widget_made_after_the_training_and_a_second_one_show_all_of_it(open_notebook: Open) -> None:
    notebook = open_notebook(TORCH, TORCH_TRAIN.format(pause=0), "ew.EpochWidget()", SHOW, DUMP)
    for cell in range(4):
        notebook.run_and_wait(cell)
    notebook.page.wait_for_function("document.querySelectorAll('.epochwidget').length === 2")
    notebook.page.wait_for_timeout(300)
    same_as_python(notebook, 4)
    first, second = notebook.widget(0), notebook.widget(1)
    assert first.points("batch", "loss") == second.points("batch", "loss")


LONG = """
import time
import epochwidget as ew
widget = ew.EpochWidget()
display(widget)
with ew.Run("long") as run:
    for epoch in run.epochs(3):
        for batch in run.batches(range(40_000)):
            run.log(loss=1 / (1 + batch % 1000), accuracy=batch / 40_000, lr=0.1)
"""


def test_a_long_run_arrives_whole_though_the_snapshot_cannot_hold_it(open_notebook: Open) -> None:
    notebook = open_notebook(
        LONG,
        "late = ew.EpochWidget(); display(late)",
        "len(widget._snapshot) <= 200_000, len(late._snapshot) <= 200_000",
    )
    for cell in range(3):
        notebook.run_and_wait(cell)
    assert notebook.outputs(2)[0]["data"]["text/plain"] == "(True, True)"
    notebook.page.wait_for_timeout(1000)
    for index in (0, 1):
        widget = notebook.widget(index)
        assert widget.count() == 120_000
        assert widget.points("batch", "loss")["values"][:1000] == [1 / (1 + batch) for batch in range(1000)]


FAULTS = """
import math, time
import epochwidget as ew
display(ew.EpochWidget())
run = ew.Run("faults")
for epoch in run.epochs(2):
    for step in run.batches(range(30)):
        loss = 2 - step / 30
        if step == 10: loss = math.nan
        if step == 20: loss = math.inf
        run.log(loss=loss)
        time.sleep(0.01)
    run.log_epoch(val_loss=1.0)
    if epoch == 0: run.mark('<img src=x onerror="window.hacked = 1">')
raise ValueError("the data ran <b>out</b>")
"""


def test_nan_and_infinity_are_shown_and_a_failed_cell_ends_the_run(open_notebook: Open) -> None:
    notebook = open_notebook(FAULTS, DUMP)
    notebook.run_and_wait(0)
    notebook.page.wait_for_timeout(300)
    same_as_python(notebook, 1)
    text = notebook.widget().text
    assert "failed" in text
    assert "the data ran <b>out</b>" in text
    assert "step 11" in text, "the first value that is no number is named with its step"
    assert notebook.page.evaluate("window.hacked") is None
    notebook.widget().screenshot("faults-light")


INTERRUPTED = """
model.fit(x[:1200], y[:1200], batch_size=32, epochs=1000, verbose=0, callbacks=[callback])
"""


def test_interrupting_a_fit_ends_the_run_as_stopped_and_the_next_fit_is_a_new_run(open_notebook: Open) -> None:
    notebook = open_notebook(
        KERAS + "\ncallback = EpochCallback()\nwidget = ew.EpochWidget()\nwidget",
        INTERRUPTED,
        DUMP,
        INTERRUPTED.replace("1000", "2"),
        "[(run.status, len(run.spans)) for run in ew.runs], model.train_function is callback._step.watched",
        DUMP,
    )
    notebook.run_and_wait(0)
    notebook.run(1)
    widget = notebook.widget()
    widget.root.wait_for()
    widget.wait_for_points(50)
    notebook.interrupt()
    notebook.wait_for(1)
    notebook.page.wait_for_timeout(300)
    same_as_python(notebook, 2)
    assert "stopped" in widget.text
    notebook.run_and_wait(3)
    notebook.run_and_wait(4)
    assert "('stopped', " in notebook.outputs(4)[0]["data"]["text/plain"]
    assert notebook.outputs(4)[0]["data"]["text/plain"].endswith("('completed', 2)], False)")
    same_as_python(notebook, 5)


@pytest.mark.parametrize("width", [400, 800, 1600])
def test_it_fits_the_page(open_notebook: Open, width: int) -> None:
    # The notebook's own margins and side bar take the rest.
    notebook = open_notebook(TORCH, SHOW + TORCH_TRAIN.format(pause=0), width=width + 430)
    notebook.run_and_wait(0)
    notebook.run_and_wait(1)
    notebook.page.wait_for_timeout(500)
    widget = notebook.widget()
    overflow = widget.root.evaluate("root => root.scrollWidth - root.clientWidth")
    assert overflow <= 0
    assert widget.root.bounding_box()["width"] == pytest.approx(width, abs=40)
    widget.screenshot(f"width-{width}-light")
    notebook.theme("JupyterLab Dark")
    widget.screenshot(f"width-{width}-dark")


RERUN = """
import time
import epochwidget as ew
widget = ew.EpochWidget()
display(widget)
with ew.Run("again") as run:
    for _ in run.batches(range(40)):
        run.log(loss=1.0)
        time.sleep(0.02)
"""
COUNT = """
import gc
from ipywidgets import Widget
widgets = [one for one in gc.get_objects() if isinstance(one, ew.EpochWidget)]
print(len(widgets), sum(len(one._sent) == 3 for one in widgets))
"""


def test_a_cell_run_again_shows_a_new_run_and_its_old_widgets_send_no_more(open_notebook: Open) -> None:
    notebook = open_notebook(RERUN, COUNT, "display(widget)", DUMP)
    for _ in range(3):
        notebook.run_and_wait(0)
        notebook.page.wait_for_function("document.querySelectorAll('.epochwidget').length === 1")
    assert "again · run 3" in notebook.widget().text
    notebook.run_and_wait(1)
    assert notebook.text(1).split() == ["3", "1"], "of three widgets only the one in sight was sent the third run"
    notebook.run_and_wait(2)
    notebook.run_and_wait(0)
    notebook.run_and_wait(3)
    for index in (0, 1):
        assert notebook.widget(index).points("batch", "loss")["values"] == [1.0] * 40
        assert "again · run 4" in notebook.widget(index).text, "a widget that another cell shows goes on"
