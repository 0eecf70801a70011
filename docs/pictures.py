"""Makes the pictures of the README anew, from a real training in a real JupyterLab: ``make pictures``."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import nbformat
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.conftest import CHROMIUM  # noqa: E402
from tests.e2e.lab import Jupyter, Notebook, Widget  # noqa: E402

WIDTH = 1440
FRAME = 0.22  # seconds
COLOURS = 72


def main() -> None:
    """Train the quickstart's Keras model, film it, and take the finished run in both themes."""
    cells = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    server = Jupyter(Path(tempfile.mkdtemp()))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_context(
                viewport={"width": WIDTH, "height": 900}, device_scale_factor=2, reduced_motion="reduce"
            ).new_page()
            notebook = Notebook(page, server, "quickstart.ipynb", *code)
            notebook.run_and_wait(0)
            notebook.run_and_wait(1)
            widget = notebook.widget()
            notebook.run(2)
            widget.wait_for_points(1, "epoch", "val_loss")
            live(notebook, widget)
            notebook.wait_for(2)
            widget.root.get_by_role("switch", name="Log scale").click()
            still(notebook, widget)
            browser.close()
    finally:
        server.stop()


def live(notebook: Notebook, widget: Widget) -> None:
    """Film the training, with a toggle and the crosshair."""
    page = notebook.page
    frames: list[Image.Image] = []

    def film(count: int) -> None:
        for _ in range(count):
            frames.append(Image.open(io.BytesIO(widget.root.screenshot(scale="css"))).convert("RGB"))
            page.wait_for_timeout(FRAME * 1000)

    film(8)
    for view in ("Batch", "Epoch", "Both"):
        widget.button(view).click()
        film(7)
    box = widget.panel("loss").locator(".ew-plot").bounding_box()
    assert box is not None
    for step in range(10):
        page.mouse.move(box["x"] + box["width"] * (0.25 + 0.05 * step), box["y"] + box["height"] / 2)
        film(1)
    film(4)
    page.mouse.move(5, 5)
    film(4)
    size = max(frame.width for frame in frames), max(frame.height for frame in frames)
    # One palette for all, or the colours would flicker.
    palette = frames[-8].quantize(COLOURS)
    pictures = []
    for frame in frames:
        whole = Image.new("RGB", size, "white")
        whole.paste(frame)
        pictures.append(whole.quantize(palette=palette, dither=Image.Dither.NONE))
    pictures[0].save(
        ROOT / "docs" / "live.gif",
        save_all=True,
        append_images=pictures[1:],
        duration=int(FRAME * 1000),
        loop=0,
        optimize=True,
    )


def still(notebook: Notebook, widget: Widget) -> None:
    """Take the finished run, in both themes."""
    for name, theme in (("light", "JupyterLab Light"), ("dark", "JupyterLab Dark")):
        notebook.theme(theme)
        notebook.page.wait_for_timeout(500)
        box = widget.panel("loss").locator(".ew-plot").bounding_box()
        assert box is not None
        notebook.page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] / 2)
        notebook.page.wait_for_timeout(300)
        picture = Image.open(io.BytesIO(widget.root.screenshot()))
        picture.convert("RGB").quantize(128).save(ROOT / "docs" / f"{name}.png", optimize=True)
        notebook.page.mouse.move(5, 5)


if __name__ == "__main__":
    main()
