"""The widget where it is shown by somebody else than JupyterLab, in that host's own server."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from .lab import Jupyter, Notebook, Widget
from .server import Server, write_notebook
from .test_live import DUMP, every_view_is_another_picture, same_series, watch

IMPORT = "import time\nfrom pathlib import Path\nimport epochwidget as ew"
SHOW = "widget = ew.EpochWidget()\nwidget"
# Trains until it is told that it is enough, and tells when it has ended.
TRAIN = """
folder = Path({folder!r})
with ew.Run("digits") as run:
    for epoch in run.epochs(400):
        for batch in run.batches(range(20)):
            run.log(loss=1 / (1 + batch + 20 * epoch), accuracy=1 - 1 / (2 + batch + 20 * epoch), lr=1e-3)
            time.sleep(0.01)
        run.log_epoch(val_loss=0.5 / (1 + epoch))
        if epoch > 2 and (folder / "enough").exists():
            break
"""
ENDED = '(folder / "ended").touch()\n'


class Training:
    """A cell that trains, and the files by which the test and the cell tell each other how it stands."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.cell = TRAIN.format(folder=str(folder))
        self.cell += DUMP.replace("print(", '(folder / "series.json").write_text(') + ENDED

    def goes_on(self) -> bool:
        return not (self._folder / "ended").exists()

    def is_enough(self) -> None:
        (self._folder / "enough").touch()

    def series(self) -> dict[str, Any]:
        """Have it come to its end, and return every series as Python has it."""
        self.is_enough()
        deadline = time.monotonic() + 60
        while self.goes_on():
            assert time.monotonic() < deadline, "the cell has not ended a minute after it was enough"
            time.sleep(0.05)
        series: dict[str, Any] = json.loads((self._folder / "series.json").read_text())
        return series


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return Training(tmp_path)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, color_scheme="light")
    yield context.new_page()
    context.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a server that is stopped after the test."""
    servers = []

    def start(kind: Callable[..., Server], *arguments: str) -> Server:
        servers.append(kind(tmp_path, *arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def shown(page: Page) -> Widget:
    return Widget(page, page.locator(".epochwidget"))


def complete(widget: Widget, series: dict[str, Any]) -> None:
    """Wait for the last point, and compare all of them."""
    widget.wait_for_points(len(series["batch"]["loss"]["values"]))
    expect(widget.root).to_contain_text("finished")
    same_series(widget, series)
    every_view_is_another_picture(widget)
    fits(widget)


def fits(widget: Widget) -> None:
    assert widget.root.evaluate("root => root.scrollWidth - root.clientWidth") <= 0
    page = widget.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert page <= 0


def test_notebook_7(serve: Callable[..., Jupyter], page: Page, training: Training) -> None:
    server = serve(Jupyter, "notebook", "JupyterNotebookApp", "notebooks")
    notebook = Notebook(page, server, "train.ipynb", f"{IMPORT}\n{SHOW}", training.cell)
    notebook.run_and_wait(0)
    notebook.run(1)
    watch(notebook.widget(), lambda: notebook.trains(1) and training.goes_on())
    complete(notebook.widget(), training.series())
    notebook.widget().screenshot("notebook-7-light")
    notebook.theme("JupyterLab Dark")
    expect(notebook.widget().root).to_have_attribute("data-theme", "dark")
    notebook.widget().screenshot("notebook-7-dark")


def voila(serve: Callable[..., Server], folder: Path, *cells: str, progressive: bool) -> Server:
    (folder / "notebooks").mkdir()
    write_notebook(folder / "notebooks" / "train.ipynb", *cells)
    rendering = f"--progressive_rendering={progressive}"
    return serve(Server, "voila", "--no-browser", "--port={port}", "--token=", rendering, "train.ipynb")


def test_voila_with_progressive_rendering(
    serve: Callable[..., Server], page: Page, training: Training, tmp_path: Path
) -> None:
    server = voila(serve, tmp_path, f"{IMPORT}\n{SHOW}", training.cell, progressive=True)
    page.goto(server.url, wait_until="commit")
    watch(shown(page), training.goes_on)
    complete(shown(page), training.series())
    page.wait_for_timeout(1000)  # for the picture of a saved notebook, which takes the view's place nowhere
    expect(page.locator(".epochwidget")).to_have_count(1)
    expect(page.locator("img")).to_have_count(0)
    shown(page).screenshot("voila")


def test_voila_shows_all_of_it_once_the_cells_have_run(
    serve: Callable[..., Server], page: Page, training: Training, tmp_path: Path
) -> None:
    """One cell displays and trains; no page is there to hear of it while it does."""
    training.is_enough()
    cell = f"{IMPORT}\ndisplay(ew.EpochWidget())\n{training.cell}"
    page.goto(voila(serve, tmp_path, cell, progressive=False).url)
    shown(page).root.wait_for()
    assert not training.goes_on()
    complete(shown(page), training.series())
    expect(page.locator(".epochwidget")).to_have_count(1)
    expect(page.locator("img")).to_have_count(0)


def marimo(serve: Callable[..., Server], folder: Path, mode: str, *cells: str) -> Server:
    (folder / "notebooks").mkdir()
    parts = [f"@app.cell\ndef _():\n{textwrap.indent(cell.strip(), '    ')}\n    return\n" for cell in cells]
    source = "\n\n".join(["import marimo\n\napp = marimo.App()", *parts])
    (folder / "notebooks" / "train.py").write_text(source)
    settings = folder / "xdg" / "marimo" / "marimo.toml"
    settings.parent.mkdir(parents=True)
    # The editor runs all cells when it is opened. A theme of its own is seen to win over the browser's.
    settings.write_text('[runtime]\nauto_instantiate = true\n[display]\ntheme = "dark"\n')
    return serve(Server, "marimo", mode, "train.py", "--headless", "--no-token", "--port={port}")


MARIMO_SHOW = f"import marimo as mo\n{SHOW.replace('ew.EpochWidget()', 'mo.ui.anywidget(ew.EpochWidget())')}"


def run_cell(page: Page, cell: int) -> None:
    """Click what runs a cell of marimo's editor."""
    page.get_by_test_id("cell-editor").nth(cell).hover()
    page.locator(".marimo-cell").nth(cell).get_by_test_id("run-button").first.click()


def test_marimo_edit(serve: Callable[..., Server], page: Page, training: Training, tmp_path: Path) -> None:
    server = marimo(serve, tmp_path, "edit", IMPORT, MARIMO_SHOW, training.cell)
    page.goto(server.url)
    watch(shown(page), training.goes_on)
    complete(shown(page), training.series())
    assert "child process" not in page.inner_text("body")
    expect(shown(page).root).to_have_attribute("data-theme", "dark")
    shown(page).screenshot("marimo-edit")


def test_marimo_run(serve: Callable[..., Server], page: Page, training: Training, tmp_path: Path) -> None:
    """The widget as it is, without ``mo.ui.anywidget``."""
    server = marimo(serve, tmp_path, "run", IMPORT, SHOW, training.cell)
    page.goto(server.url)
    watch(shown(page), training.goes_on)
    complete(shown(page), training.series())
    shown(page).screenshot("marimo-run")


OPEN = """
run = ew.Run("open")
for _epoch in run.epochs(400):
    for _batch in run.batches(range(20)):
        run.log(loss=1.0)
        time.sleep(0.01)
        if (folder / "fail").exists():
            raise ValueError("the data ran out")
    (folder / "senders").write_text(str([thread.name for thread in threading.enumerate()].count("epochwidget-sender")))
"""


def test_marimo_tells_how_cells_end_and_which_are_run_again(
    serve: Callable[..., Server], page: Page, tmp_path: Path
) -> None:
    """The run has no ``with`` that ends it, and marimo has no event for the end of a cell."""
    cells = f"{IMPORT}\nimport threading", f"folder = Path({str(tmp_path)!r})\n{MARIMO_SHOW}", OPEN
    page.goto(marimo(serve, tmp_path, "edit", *cells).url)
    widget = shown(page)
    widget.wait_for_points(10)
    page.get_by_test_id("interrupt-button").click()
    expect(widget.root).to_contain_text("stopped")
    (tmp_path / "fail").touch()
    run_cell(page, 2)
    expect(widget.root).to_contain_text("failed", timeout=15_000)
    expect(widget.root).to_contain_text("the data ran out")

    # A cell that is run again shows another widget; the former, which is on no page any more, sends nothing.
    (tmp_path / "fail").unlink()
    (tmp_path / "senders").unlink()
    run_cell(page, 1)
    expect(widget.root).to_contain_text("training")
    while not (tmp_path / "senders").exists():
        page.wait_for_timeout(50)
    assert (tmp_path / "senders").read_text() == "1"
