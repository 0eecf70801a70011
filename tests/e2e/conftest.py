from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from .lab import Jupyter, Notebook

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    server = Jupyter(tmp_path_factory.mktemp("lab"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
        )
        yield browser
        browser.close()


@pytest.fixture
def open_notebook(
    server: Jupyter, browser: Browser, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Notebook]]:
    """Open a notebook made of the given cells in a page of its own; the kernel goes with it."""
    contexts = []

    def open_(*cells: str, width: int = 1280) -> Notebook:
        context = browser.new_context(viewport={"width": width, "height": 1000})
        contexts.append(context)
        name = f"{request.node.name.replace('[', '-').replace(']', '')}-{len(contexts)}.ipynb"
        return Notebook(context.new_page(), server, name, *cells)

    yield open_
    for context in contexts:
        for page in context.pages:
            page.evaluate("window.jupyterapp?.shell?.currentWidget?.sessionContext?.shutdown()")
        context.close()
