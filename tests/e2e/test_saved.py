"""What a saved notebook shows to whoever opens it without a kernel."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import nbformat
import pytest
from playwright.sync_api import Browser

import epochwidget as ew

from .lab import SCREENSHOTS, Notebook, Widget

Open = Callable[..., Notebook]

SHOW = "import time\nimport epochwidget as ew\nwidget = ew.EpochWidget()\n"
TRAIN = """
with ew.Run("digits", epochs=3) as run:
    for epoch in run.epochs():
        for batch in run.batches(range(40)):
            run.log(loss=1 / (1 + batch + 40 * epoch), lr=1e-3)
            time.sleep(0.005)
        run.log_epoch(val_loss=0.5 - 0.1 * epoch)
"""
VIEW = "application/vnd.jupyter.widget-view+json"


def pictures(outputs: list[Any]) -> int:
    """How many outputs hold the view, and beside it a picture that can be opened."""
    found = 0
    for output in outputs:
        data = output.get("data", {})
        if VIEW in data and "image/png" in data:
            picture = matplotlib.image.imread(io.BytesIO(base64.b64decode(data["image/png"])), format="png")
            assert picture.shape[1] > 800
            assert picture[..., :3].std() > 0.01, "something is drawn"
            assert data["text/plain"].startswith("EpochWidget(): loss, metrics and learning rate")
            found += 1
    return found


def saved(notebook: Notebook) -> list[list[Any]]:
    """Save the notebook and return the outputs of each of its cells as the file has them."""
    return [cell.outputs for cell in notebook.saved().cells]


@pytest.mark.parametrize(
    ("cells", "holding"),
    [
        pytest.param([SHOW + "widget", TRAIN], [1, 0], id="last expression of an earlier cell"),
        pytest.param([SHOW + "display(widget)", TRAIN], [1, 0], id="display in an earlier cell"),
        pytest.param([SHOW + "display(widget)\n" + TRAIN], [1], id="display in the cell that trains"),
        pytest.param([SHOW + TRAIN, "widget"], [0, 1], id="displayed after the training"),
        pytest.param([SHOW + "widget", "widget", TRAIN], [1, 1, 0], id="displayed twice"),
    ],
)
def test_a_picture_stands_beside_the_view(open_notebook: Open, cells: list[str], holding: list[int]) -> None:
    notebook = open_notebook(*cells)
    for cell in range(len(cells)):
        notebook.run_and_wait(cell)
    assert [pictures(outputs) for outputs in saved(notebook)] == holding
    views = notebook.page.locator(".epochwidget")
    assert views.count() == sum(holding)
    for index in range(sum(holding)):
        widget = notebook.widget(index)
        assert widget.count() == 120, "the view lives on beside it"
        widget.button("Epoch").click()
        assert widget.button("Epoch").get_attribute("aria-pressed") == "true"


def test_a_picture_comes_of_an_interrupted_cell_and_of_a_thread(open_notebook: Open) -> None:
    thread = "import threading\nthread = threading.Thread(target=train)\nthread.start()"
    train = "def train():\n" + "".join(f"    {line}\n" for line in TRAIN.strip().splitlines())
    notebook = open_notebook(SHOW + "widget", TRAIN.replace("0.005", "0.5"), train, thread, "thread.join()")
    notebook.run_and_wait(0)
    notebook.run(1)
    notebook.widget().wait_for_points(3)
    assert [pictures(outputs) for outputs in saved(notebook)] == [0, 0, 0, 0, 0], "none while it goes on"
    notebook.interrupt()
    notebook.wait_for(1)
    first = saved(notebook)
    assert [pictures(outputs) for outputs in first] == [1, 0, 0, 0, 0]
    notebook.run_and_wait(2)
    notebook.run_and_wait(3)
    notebook.widget().wait_for_points(120)
    for _ in range(40):  # no cell ends that would draw it
        second = saved(notebook)
        if second[0] != first[0]:
            break
        notebook.page.wait_for_timeout(500)
    assert second[0] != first[0], "the picture is of the run in the thread"
    assert [pictures(outputs) for outputs in second] == [1, 0, 0, 0, 0]


def test_the_picture_is_seen_without_a_kernel(open_notebook: Open, tmp_path: Path, browser: Browser) -> None:
    notebook = open_notebook(SHOW + "widget", TRAIN)
    notebook.run_and_wait(0)
    notebook.run_and_wait(1)
    content = notebook.saved()
    path = tmp_path / "trained.ipynb"
    nbformat.write(content, str(path))
    assert path.stat().st_size < 300_000
    for form in ("html", "markdown", "latex"):
        subprocess.run(
            [sys.executable, "-m", "nbconvert", "--to", form, str(path)], check=True, capture_output=True, cwd=tmp_path
        )
    assert "![png](trained_files/" in (tmp_path / "trained.md").read_text()
    # From which a PDF is made, where there is LaTeX.
    picture = re.search(r"\\adjustimage\{.*\}\{(trained_files/.*\.png)\}", (tmp_path / "trained.tex").read_text())
    assert picture is not None
    assert matplotlib.image.imread(tmp_path / picture[1]).shape[1] > 800
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto((tmp_path / "trained.html").as_uri())
    found = page.locator(".jp-OutputArea img")
    assert found.count() == 1
    assert found.evaluate("image => image.complete && image.naturalWidth") > 800
    page.screenshot(path=str(SCREENSHOTS / "nbconvert.png"))
    context.close()


def test_a_page_that_stands_alone_is_used_from_disk_without_a_network(tmp_path: Path, browser: Browser) -> None:
    bus = ew.Bus()
    with ew.Run('a</script><img src=x onerror="window.hit = 1">', epochs=3, bus=bus) as run:
        for epoch in run.epochs():
            for batch in run.batches(range(2000)):
                run.log(loss=1 / (1 + batch + 2000 * epoch), accuracy=0.5)
            run.log_epoch(val_loss=0.5 - 0.1 * epoch)
    widget = ew.EpochWidget(bus=bus, granularity="batch")
    widget.save_html(tmp_path / "run.html")
    widget.close()
    context = browser.new_context(offline=True, viewport={"width": 1000, "height": 800}, color_scheme="dark")
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.goto((tmp_path / "run.html").as_uri())
    alone = Widget(page, page.locator(".epochwidget"))
    alone.root.wait_for()
    assert alone.points("batch", "loss")["values"] == run.history.batch["loss"].tolist()
    assert alone.kinds("loss") == {"train batch", "validation epoch"}
    alone.button("Epoch").click()
    assert alone.kinds("loss") == {"train epoch mean", "validation epoch"}
    box = alone.panel("loss").locator(".ew-plot").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    assert "validation" in (alone.root.locator(".ew-tooltip").text_content() or "")
    page.mouse.down()
    page.mouse.move(x + 100, y, steps=4)
    page.mouse.up()
    assert alone.root.get_by_role("button", name="Reset zoom").is_visible()
    assert page.evaluate("window.hit") is None
    assert wrong == []
    alone.screenshot("alone-dark")
    context.close()
