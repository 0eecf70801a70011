"""A dashboard of bqplot's figures in a real JupyterLab."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from .lab import SCREENSHOTS, Notebook

Open = Callable[..., Notebook]

SHOW = "import time\nimport epochwidget as ew\nfrom epochwidget.bqplot import Dashboard\nDashboard()"
TRAIN = """
with ew.Run("digits", epochs=200) as run:
    for epoch in run.epochs():
        for batch in run.batches(range(20)):
            run.log(loss=1 / (1 + batch + 20 * epoch), accuracy=0.5)
            time.sleep(0.02)
        run.log_epoch(val_loss=0.5 / (1 + epoch))
"""


def test_lines_come_live_and_the_toggle_works_while_the_kernel_trains(open_notebook: Open) -> None:
    notebook = open_notebook(SHOW, TRAIN)
    notebook.run_and_wait(0)
    notebook.run(1)
    page = notebook.page
    shown = page.locator(".widget-vbox:has(> .bqplot):visible")
    expect(shown).to_have_count(2, timeout=30_000)
    loss = shown.filter(has_text="loss")
    paths = "box => [...box.querySelectorAll('path.line')].map(path => path.getAttribute('d')).join()"
    before = loss.evaluate(paths)
    for _ in range(100):
        if loss.evaluate(paths) != before:
            break
        page.wait_for_timeout(100)
    assert loss.evaluate(paths) != before, "it goes on while the cell runs"
    assert "train batch" in loss.inner_text()
    page.get_by_role("button", name="Epoch", exact=True).click()
    expect(shown.filter(has_text="train mean")).to_have_count(2)
    assert notebook.trains(1), "all this happened while the kernel was training"
    page.screenshot(path=str(SCREENSHOTS / "bqplot.png"))
    notebook.interrupt()
    notebook.wait_for(1)
