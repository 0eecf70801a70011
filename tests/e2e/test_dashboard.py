"""What a person does with the card while a kernel trains, and what Python and a second view know of it."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from playwright.sync_api import Locator, expect

from .lab import Notebook, Widget

Open = Callable[..., Notebook]

AXE = Path(__file__).parents[2] / "js" / "node_modules" / "axe-core" / "axe.min.js"

SHOW = """
import math, time
import epochwidget as ew
widget = ew.EpochWidget()
widget
"""
TRAIN = """
with ew.Run("{name}", epochs={epochs}) as run:
    for epoch in run.epochs():
        for batch in run.batches(range(40)):
            t = epoch * 40 + batch
            loss = 2 / (1 + t / 60) + 0.2 * math.sin(t)
            run.log(loss=loss, accuracy=1 - 1 / (2 + t / 40), lr=1e-3 if t < 70 else 1e-4)
            time.sleep({pause})
        run.log_epoch(val_loss=0.5 + (epoch - 2) ** 2 / 20, val_accuracy=0.8 - (epoch - 2) ** 2 / 40)
        if epoch == 1:
            run.mark("unfroze encoder")
"""


def train(name: str = "digits", epochs: int = 5, pause: float = 0.0) -> str:
    return TRAIN.format(name=name, epochs=epochs, pause=pause)


def tooltip(widget: Widget) -> Locator:
    return widget.root.locator(".ew-tooltip")


def plot(widget: Widget, panel: str) -> Locator:
    return widget.panel(panel).locator(".ew-plot")


def point(widget: Widget, panel: str, part: float) -> tuple[float, float]:
    """Move the mouse over a plot, to this part of its width; return where it is."""
    plot(widget, panel).scroll_into_view_if_needed()
    box = plot(widget, panel).bounding_box()
    assert box is not None
    at = box["x"] + part * box["width"], box["y"] + box["height"] / 2
    widget.page.mouse.move(*at)
    return at


def drag(widget: Widget, panel: str, start: float, end: float) -> None:
    x, y = point(widget, panel, start)
    box = plot(widget, panel).bounding_box()
    assert box is not None
    widget.page.mouse.down()
    widget.page.mouse.move(x + (end - start) * box["width"], y, steps=5)
    widget.page.mouse.up()


def choose(widget: Widget, button: str, item: str) -> None:
    """Choose from a menu as with a screen reader."""
    widget.root.get_by_role("button", name=button, exact=True).click()
    menu = widget.root.get_by_role("menu")
    menu.get_by_role("menuitem", name=item).or_(menu.get_by_role("menuitemcheckbox", name=item)).click()


def shown(notebook: Notebook, *cells: int) -> Widget:
    for cell in cells:
        notebook.run_and_wait(cell)
    widget = notebook.widget()
    widget.root.wait_for(timeout=30_000)
    return widget


def test_reading_zooming_and_smoothing_while_the_kernel_trains_and_python_agrees_afterwards(
    open_notebook: Open,
) -> None:
    told = "import json\nprint(json.dumps([len(widget.zoom), widget.smoothing, widget.x_axis, widget.hidden]))"
    notebook = open_notebook(SHOW, train(epochs=30, pause=0.02), told, "widget.smoothing = 0.5\nwidget.zoom = []")
    widget = shown(notebook, 0)
    notebook.run(1)
    widget.wait_for_points(2, "epoch", "val_loss")

    point(widget, "loss", 0.5)
    expect(tooltip(widget)).to_be_visible()
    expect(tooltip(widget)).to_contain_text(re.compile(r"epoch \d\.\d\d · step \d+ · 0:\d\d"))
    expect(tooltip(widget)).to_contain_text("train smoothed")
    assert widget.root.locator(".ew-crosshair:visible").count() == 3
    widget.page.mouse.move(5, 5)
    expect(tooltip(widget)).to_be_hidden()

    drag(widget, "loss", 0.3, 0.6)
    expect(widget.root.get_by_role("button", name="Reset zoom")).to_be_visible()
    widget.root.get_by_role("switch", name="Follow").click()
    widget.root.get_by_role("combobox", name="X axis").select_option("step")
    slider = widget.root.get_by_role("slider", name="Smoothing")
    slider.focus()
    slider.press("End")
    assert "train batch, smoothed 0.999" in (widget.panel("loss").text_content() or "")
    widget.panel("loss").get_by_role("button", name=re.compile("^train epoch mean")).click()
    assert notebook.trains(1), "all this happened while the kernel was training"
    notebook.interrupt()
    notebook.wait_for(1)

    notebook.wait_for_json(2, [2, 0.999, "step", ["epoch:loss"]])
    notebook.run_and_wait(3)
    expect(widget.root.get_by_role("button", name="Reset zoom")).to_be_hidden()
    expect(widget.panel("loss")).to_contain_text("smoothed 0.5")


def test_a_cell_run_again_adds_a_run_that_is_drawn_beside_the_first(open_notebook: Open) -> None:
    notebook = open_notebook(
        SHOW,
        train(),
        "import json\nprint(json.dumps([list(widget.names.values()), len(widget.hidden_runs), len(ew.runs)]))",
        "ew.EpochWidget(last=1, granularity='epoch')",
        "ew.EpochWidget(runs=[ew.runs[0]])",
    )
    widget = shown(notebook, 0, 1, 1)
    runs = widget.root.get_by_role("group", name="Runs")
    expect(runs.get_by_role("checkbox", checked=True)).to_have_count(2)
    point(widget, "loss", 0.5)
    expect(tooltip(widget)).to_contain_text("digits · run 2: train smoothed")
    expect(tooltip(widget)).to_contain_text("digits · run 1: train smoothed")
    choose(widget, "digits · run 1: more", "Rename")
    widget.page.keyboard.type("baseline <b>")
    widget.page.keyboard.press("Enter")
    expect(runs).to_contain_text("baseline <b>")
    runs.get_by_role("checkbox", name="Draw digits · run 2").click()
    expect(widget.root.locator(".ew-title")).to_have_text("baseline <b>")
    notebook.wait_for_json(2, [["baseline <b>"], 1, 2])
    notebook.run_and_wait(3)
    newest = notebook.widget(1).root.get_by_role("group", name="Runs")
    expect(newest.get_by_role("checkbox", checked=True)).to_have_count(1)
    notebook.run_and_wait(4)
    expect(notebook.widget(2).root.locator(".ew-title")).to_have_text("digits · run 1")
    expect(notebook.widget(2).root.get_by_role("group", name="Runs")).to_be_hidden()


def test_pictures_and_values_are_saved_while_the_kernel_is_busy(open_notebook: Open) -> None:
    notebook = open_notebook(SHOW, train(), "print(ew.runs[-1].batch['loss'].tolist())", "time.sleep(60)")
    widget = shown(notebook, 0, 1)
    notebook.run_and_wait(2)
    notebook.run(3)

    def saved(item: str) -> tuple[str, bytes]:
        with widget.page.expect_download() as download:
            choose(widget, "loss: more", item)
        return download.value.suggested_filename, Path(download.value.path()).read_bytes()

    name, content = saved("Save values as CSV")
    assert name == "digits · run 1 loss.csv"
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8"))))
    batch = [float(row["value"]) for row in rows if row["name"] == "loss" and row["granularity"] == "batch"]
    assert batch == json.loads(notebook.text(2))
    assert [row["epoch_from_0"] for row in rows if row["name"] == "val_loss"] == ["0", "1", "2", "3", "4"]

    name, content = saved("Save as SVG")
    assert name == "digits · run 1 loss.svg"
    picture = ET.fromstring(content)
    texts = [text.text or "" for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"loss", "epoch", "unfroze encoder"} <= set(texts)
    assert any(text.startswith("validation epoch") for text in texts)

    name, content = saved("Save as PNG")
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    assert width > 600
    assert height > 400
    assert notebook.trains(3), "all this happened while the kernel was busy"


def test_panels_are_arranged_and_a_second_view_and_python_agree(open_notebook: Open) -> None:
    notebook = open_notebook(
        SHOW,
        train(),
        "widget",
        "import json\nprint(json.dumps([widget.closed, widget.enlarged, widget.order]))",
        "widget.enlarged = ''",
    )
    widget = shown(notebook, 0, 1)
    choose(widget, "accuracy: more", "Move back")
    choose(widget, "learning rate: more", "Close")
    widget.root.get_by_role("button", name="Enlarge accuracy").click()
    assert widget.root.get_by_role("figure").count() == 1
    notebook.run_and_wait(2)
    second = notebook.widget(1)
    second.root.wait_for()
    assert second.root.get_by_role("figure").count() == 1
    notebook.wait_for_json(3, [["learning rate"], "accuracy", ["loss", "learning rate", "accuracy"]])
    notebook.run_and_wait(4)
    for view in (widget, second):
        expect(view.root.get_by_role("figure")).to_have_count(2)
    choose(second, "More", "Table of epochs")
    rows = second.root.get_by_role("row")
    expect(rows).to_have_count(6)
    expect(rows.nth(3)).to_contain_text("0.5000")


def test_panels_of_one_s_own_and_the_compact_card(open_notebook: Open) -> None:
    notebook = open_notebook(
        "import math, time\nimport epochwidget as ew\n"
        "ew.EpochWidget(panels=[ew.Panel('How sure', ['accuracy'], scale='log')], compact=True)",
        train(),
    )
    widget = shown(notebook, 0, 1)
    expect(widget.panel("How sure")).to_be_visible()
    box = widget.root.bounding_box()
    assert box is not None
    assert box["height"] < 200
    widget.root.get_by_role("button", name="Show everything").click()
    expect(widget.panel("How sure")).to_contain_text("over epochs, log scale")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"])
def test_axe_finds_nothing_in_the_notebook(open_notebook: Open, theme: str) -> None:
    notebook = open_notebook(SHOW, train(), train("other"))
    widget = shown(notebook, 0, 1, 2)
    notebook.theme(theme)
    choose(widget, "More", "Table of epochs")
    drag(widget, "loss", 0.4, 0.8)
    point(widget, "loss", 0.5)
    notebook.page.add_script_tag(path=AXE)
    found: list[dict[str, Any]] = notebook.page.evaluate("axe.run('.epochwidget').then(({violations}) => violations)")
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    widget.screenshot(f"dashboard-{theme.split(maxsplit=1)[1].lower().replace(' ', '-')}")


def test_names_are_text_everywhere(open_notebook: Open) -> None:
    notebook = open_notebook(
        "import epochwidget as ew\n"
        'evil = """<img src=x onerror="window.hit = 1">\\"\'` שלום 🙂 """\n'
        "widget = ew.EpochWidget(title=evil)\n"
        "widget",
        "for name in (evil, 'x' * 10_000):\n"
        "    with ew.Run(name, epochs=2) as run:\n"
        "        for epoch in run.epochs():\n"
        "            for batch in run.batches(range(30)):\n"
        "                run.log(**{evil: batch, 'm' * 10_000: batch, 'loss': float('nan') if batch == 7 else 1.0})\n"
        "            run.log_epoch(**{f'val_{evil}': 1.0})\n"
        "            run.mark(evil)\n",
    )
    widget = shown(notebook, 0, 1)
    point(widget, "loss", 0.5)
    choose(widget, "More", "Table of epochs")
    for entry in widget.root.get_by_role("group", name="Runs").get_by_role("button").all():
        assert entry.is_visible()
    assert notebook.page.evaluate("document.querySelectorAll('.epochwidget img').length") == 0
    assert notebook.page.evaluate("'hit' in window") is False
    wide = widget.root.evaluate(
        "root => [...root.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > "
        "root.getBoundingClientRect().right + 1 && e.checkVisibility()).map(e => e.className || e.tagName)"
    )
    assert wide == [], "nothing sticks out"
    expect(widget.root.get_by_role("button", name=re.compile("NaN in loss since step 8"))).to_be_visible()
