"""A real JupyterLab, driven as a person drives it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Locator, Page

from .server import Server, write_notebook

SCREENSHOTS = Path(__file__).parent / "screenshots"


class Jupyter(Server):
    """JupyterLab, or another application of Jupyter's with the same notebooks.

    Parameters
    ----------
    folder
        Of its own.
    module, application
        The module to run, and the name that its options go by.
    path
        Where it shows a notebook.
    """

    def __init__(
        self, folder: Path, module: str = "jupyterlab", application: str = "LabApp", path: str = "lab/tree"
    ) -> None:
        # No question about news over the widget.
        asked = folder / "settings" / "@jupyterlab" / "apputils-extension"
        asked.mkdir(parents=True)
        (asked / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
        super().__init__(
            folder,
            module,
            "--no-browser",
            "--allow-root",
            "--port={port}",
            "--ServerApp.root_dir={root}",
            "--IdentityProvider.token=",
            f"--{application}.expose_app_in_browser=True",
        )
        self.notebooks = f"{self.url}/{path}"


class Notebook:
    """One notebook open in one page."""

    def __init__(self, page: Page, server: Jupyter, name: str, *cells: str) -> None:
        self.page = page
        self._path = server.root / name
        write_notebook(self._path, *cells)
        page.goto(f"{server.notebooks}/{name}?reset")
        self._wait_for_kernel()

    def _wait_for_kernel(self) -> None:
        self.page.wait_for_function(
            "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
            timeout=60_000,
        )

    def run(self, cell: int) -> None:
        """Run a cell and do not wait for it."""
        self.page.evaluate(
            """index => {
                const app = window.jupyterapp;
                app.shell.currentWidget.content.activeCellIndex = index;
                void app.commands.execute("notebook:run-cell");
            }""",
            cell,
        )

    def run_and_wait(self, cell: int, timeout: float = 120) -> None:
        self.run(cell)
        self.wait_for(cell, timeout)

    def wait_for(self, cell: int, timeout: float = 120) -> None:
        """Wait until a cell has been run: its prompt has a number."""
        self.page.wait_for_function(
            """index => {
                const widget = window.jupyterapp.shell.currentWidget;
                const model = widget.content.widgets[index].model;
                return model.executionCount !== null && model.executionState === "idle";
            }""",
            arg=cell,
            timeout=timeout * 1000,
        )

    def trains(self, cell: int) -> bool:
        """Tell whether a cell is being run. The kernel's own indicator turns idle after any message from a page."""
        state = self.page.evaluate(
            "index => window.jupyterapp.shell.currentWidget.content.widgets[index].model.executionState", cell
        )
        return bool(state == "running")

    def interrupt(self) -> None:
        self.page.evaluate("void window.jupyterapp.commands.execute('notebook:interrupt-kernel')")

    def reload(self) -> None:
        """Save, and load the page anew, until the notebook is there and has its kernel again."""
        self.saved()
        self.page.goto(self.page.url.replace("?reset", ""))
        self.page.wait_for_function(
            "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.connectionStatus"
            " === 'connected'",
            timeout=60_000,
        )

    def saved(self) -> nbformat.NotebookNode:
        """Save the notebook and return what the file holds."""
        self.page.evaluate("window.jupyterapp.shell.currentWidget.context.save()")
        return nbformat.read(str(self._path), as_version=4)

    def outputs(self, cell: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.page.evaluate(
            "index => window.jupyterapp.shell.currentWidget.content.widgets[index].model.toJSON().outputs", cell
        )
        return found

    def text(self, cell: int) -> str:
        """Return what a cell has printed."""
        return "".join("".join(output.get("text", "")) for output in self.outputs(cell))

    def json(self, cell: int) -> Any:
        """Return what a cell has printed as JSON."""
        return json.loads(self.text(cell))

    def wait_for_json(self, cell: int, wanted: Any) -> None:
        """Run a cell until it prints this.

        ipywidgets holds a change back until the kernel has answered the one before, so a cell that is run right after
        two changes may come between them.
        """
        deadline = time.monotonic() + 20
        self.run_and_wait(cell)
        while (found := self.json(cell)) != wanted:
            assert time.monotonic() < deadline, f"{found} instead of {wanted}"
            self.page.wait_for_timeout(100)
            self.run_and_wait(cell)

    def theme(self, name: str) -> None:
        self.page.evaluate("name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})", name)
        self.page.wait_for_function(
            "light => document.body.dataset.jpThemeLight === light", arg="false" if "Dark" in name else "true"
        )

    def widget(self, index: int = 0) -> Widget:
        return Widget(self.page, self.page.locator(".epochwidget").nth(index))


class Widget:
    """One view of an `EpochWidget`, found and used as with a screen reader."""

    def __init__(self, page: Page, root: Locator) -> None:
        self.page = page
        self.root = root

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("group", name="Granularity").get_by_role("button", name=name, exact=True)

    def panel(self, name: str) -> Locator:
        return self.root.get_by_role("figure", name=name, exact=True)

    def points(self, granularity: str, name: str, run: int = -1) -> dict[str, list[Any]]:
        """Return what the page holds of a series; numbers that JSON cannot say come as text."""
        found: dict[str, list[Any]] = self.root.evaluate(
            """(root, [granularity, name, run]) => {
                const store = root.epochwidget.store;
                const { steps, values } = store.points(store.ids().at(-1 - run), granularity, name)
                    ?? { steps: [], values: [] };
                const plain = numbers => Array.from(numbers, n => Number.isFinite(n) ? n : String(n));
                return { steps: plain(steps), values: plain(values) };
            }""",
            [granularity, name, run],
        )
        return found

    @property
    def text(self) -> str:
        """What stands in the widget, also where Jupyter has taken its cell out of sight."""
        return self.root.text_content() or ""

    def count(self, granularity: str = "batch", name: str = "loss") -> int:
        return len(self.points(granularity, name)["values"])

    def wait_for_points(self, count: int, granularity: str = "batch", name: str = "loss") -> None:
        deadline = time.monotonic() + 60
        while (found := self.count(granularity, name)) < count:
            assert time.monotonic() < deadline, f"only {found} points of {granularity} {name} after a minute"
            self.page.wait_for_timeout(50)

    def kinds(self, panel: str) -> set[str]:
        """Return what a panel's legend says is drawn, without numbers: "train batch"."""
        entries = self.panel(panel).get_by_role("list").get_by_role("button", pressed=True).all_text_contents()
        return {re.sub(r"(, smoothed [\d.]+)? [-\d.e,]+( best .*)?\s*$", "", entry) for entry in entries}

    def pixels(self, panel: str) -> str:
        """Return a panel's plot as a data URL: it changes when what is drawn does."""
        drawn: str = self.panel(panel).evaluate("figure => figure.querySelector('canvas').toDataURL()")
        return drawn

    def screenshot(self, name: str) -> None:
        SCREENSHOTS.mkdir(exist_ok=True)
        self.root.screenshot(path=SCREENSHOTS / f"{name}.png")
