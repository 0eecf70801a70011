"""A page that was loaded anew has a summary of a long run, and gets what it shows of it exactly."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from .lab import Notebook
from .test_dashboard import drag

Open = Callable[..., Notebook]

SHOW = "import math, time\nimport epochwidget as ew\nwidget = ew.EpochWidget()\nwidget"
TRAIN = """
def train(batches):
    with ew.Run("long") as run:
        for batch in range(batches):
            run.log(loss=math.sin(batch / 1000) + 5 * (batch == batches // 3), lr=1e-3)
"""
# The kernel is busy, but not so that no other thread gets a turn.
BUSY = "began = time.time()\nwhile time.time() - began < 20: sum(range(10_000))"


def test_a_page_loaded_anew_gets_what_the_snapshot_left_out(open_notebook: Open) -> None:
    notebook = open_notebook(SHOW, TRAIN, "train(70_000)")
    for cell in range(3):
        notebook.run_and_wait(cell)
    notebook.reload()
    widget = notebook.widget()
    widget.root.wait_for(timeout=60_000)
    widget.wait_for_points(70_000)
    expect(widget.panel("loss")).not_to_contain_text("a summary")
    points = widget.points("batch", "loss")
    assert points["steps"] == list(range(1, 70_001))
    assert points["values"] == [math.sin(batch / 1000) + 5 * (batch == 70_000 // 3) for batch in range(70_000)]


@pytest.mark.parametrize("kernel", ["idle", "busy"])
def test_of_a_very_long_run_it_gets_what_it_zooms_in_to(open_notebook: Open, kernel: str) -> None:
    notebook = open_notebook(SHOW, TRAIN, "train(1_200_000)", BUSY)
    for cell in range(3):
        notebook.run_and_wait(cell)
    notebook.reload()
    widget = notebook.widget()
    widget.root.wait_for(timeout=60_000)
    loss = widget.panel("loss")
    expect(loss).to_contain_text("of 1,200,000 points are here; zoom in for all of them")
    few = widget.count()
    assert few < 10_000
    assert 400_001 in widget.points("batch", "loss")["steps"], "the one spike is among them"
    if kernel == "busy":
        notebook.run(3)
        while not notebook.trains(3):
            notebook.page.wait_for_timeout(50)
    drag(widget, "loss", 0.3, 0.36)
    widget.wait_for_points(few + 60_000)
    expect(loss).not_to_contain_text("a summary")
    if kernel == "busy":
        assert notebook.trains(3), "the answer came while the cell ran"
    steps = widget.points("batch", "loss")["steps"]
    # The plot's box has the labels of its axis, so what is seen lies a little to the left of these parts of it.
    seen = [step for step in steps if 0.27 * 1_200_000 < step < 0.3 * 1_200_000]
    assert seen == list(range(seen[0], seen[0] + len(seen)))
    assert len(seen) > 34_000
