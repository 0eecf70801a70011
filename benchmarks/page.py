"""What the page takes when six series have a million points each: in a real JupyterLab, in a headless Chromium.

Beside each number stands that of an empty anywidget in the same page, which gets messages of the same size as often, in
turn with ours. Given are the median and the 95th percentile. What the browser's main thread does is read off its own
trace, by the clock and by the processor's: on a machine that does something else the two differ.

    python benchmarks/page.py [points] [rounds]
"""

from __future__ import annotations

import json
import math
import os
import re
import statistics
import sys
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.lab import Jupyter, Notebook  # noqa: E402

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
EPOCHS = 100
SECONDS = 10
TIMES = 15
# What a message brings about begins within so many microseconds.
REACTION = 40_000

# The cells of the notebook, by what they are for.
CELLS = {
    "prepare": """
import json, time
import anywidget, numpy as np, epochwidget as ew
from IPython.display import display
import epochwidget.widget

# Ten updates a second, of which the budget speaks; the sender's own share of a processor allows this machine five.
epochwidget.widget._SEND_SHARE = 1
made = ew.EpochWidget()

class Empty(anywidget.AnyWidget):
    _esm = '''export default { render({ model, el }) {
        el.className = "empty";
        model.on("msg:custom", () => performance.mark("append"));
    } }'''

def short():
    with ew.Run("short") as run:
        for at in range(1000):
            run.log(loss=1 / (1 + at), accuracy=0.5, lr=0.1)
""",
    "display empty": "made = Empty(); display(made)",
    "display ours": "made = ew.EpochWidget(); display(made)",
    "close": "made.close()",
    "run": "short()",
    "both": "ew.runs.clear(); widget, empty = ew.EpochWidget(), Empty(); display(widget, empty)",
    "train": """
POINTS, EPOCHS = %(points)d, %(epochs)d
to, sizes = "", [1000]
send = widget.send
widget.send = lambda content, buffers: (sizes.append(len(buffers[0])), send(content, buffers))
random = np.random.default_rng(0)

def batches(at, count):
    noise = np.abs(random.normal(size=(5, count)))
    fall = np.exp(-np.arange(at, at + count) / (POINTS / 5))
    columns = {
        "loss": 0.1 + fall + 0.05 * noise[0],
        "accuracy": 1 - 0.5 * fall - 0.01 * noise[1],
        "precision": 1 - 0.6 * fall - 0.01 * noise[2],
        "recall": 1 - 0.7 * fall - 0.01 * noise[3],
        "grad_norm": 1 + fall * noise[4],
        "lr": 1e-3 * fall,
    }
    return [dict(zip(columns, row)) for row in zip(*(column.tolist() for column in columns.values()))]

def train():
    run, length = ew.Run("long"), POINTS // EPOCHS
    for epoch in run.epochs(EPOCHS):
        for batch in run.batches(batches(epoch * length, length)):
            run.log(**batch)
    run.begin_epoch(EPOCHS, batches=max(length, 20_000))
    at = POINTS
    while to != "end":
        time.sleep(0.1)
        if to == "ours":
            for batch in batches(at, 10):
                run.log(**batch)
            at += 10
        elif to == "empty":
            empty.send({"type": "append"}, buffers=[bytes(sizes[-1])])
    run.end()

training = ew.background(train)
""",
    "to ours": "to = 'ours'",
    "to empty": "to = 'empty'",
    "to nobody": "to = ''",
    "end": "to = 'end'; training.result()",
    "zoom": "print(json.dumps(widget.zoom))",
    "snapshot": "import base64; print(json.dumps(base64.b64encode(widget._snapshot).decode()))",
}

# Run in every page: how long it takes until what was done is to be seen.
HELPERS = """
window.seen = () => new Promise(done => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => done(performance.now());
    channel.port2.postMessage(0);
}));
window.there = async (root, selector) => {
    for (let frames = 0; root.querySelector(selector) === null; frames++) {
        if (frames > 1000) throw new Error(`there is no ${selector}`);
        await new Promise(requestAnimationFrame);
    }
};
window.painted = async act => { await seen(); const began = performance.now(); act(); return await seen() - began; };
window.frames = seconds => new Promise(done => {
    const began = performance.now();
    let count = 0;
    const step = () => {
        const passed = (performance.now() - began) / 1000;
        if (passed < seconds) { count++; requestAnimationFrame(step); } else done(count / passed);
    };
    requestAnimationFrame(step);
});
window.shown = async (cell, selector) => {
    const app = window.jupyterapp;
    app.shell.currentWidget.content.activeCellIndex = cell;
    document.querySelector(selector)?.remove();
    const began = performance.now();
    void app.commands.execute("notebook:run-cell");
    await there(document, selector);
    return await seen() - began;
};
window.fromSnapshot = async (script, snapshot) => {
    const bytes = Uint8Array.from(atob(snapshot), each => each.charCodeAt(0));
    const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    const widget = (await import(url)).default();
    const model = {
        get: name => name === "_snapshot" ? new DataView(bytes.buffer) : undefined,
        set() {}, save_changes() {}, on() {}, off() {},
    };
    const el = document.createElement("div");
    el.style.cssText = "position: fixed; top: 0; left: 0; width: 900px";
    document.body.append(el);
    await seen();
    const began = performance.now();
    widget.initialize({ model });
    const end = widget.render({ model, el });
    await there(el, "canvas");
    const took = await seen() - began;
    end();
    el.remove();
    return took;
};
"""
# What a person does on the page.
ACTS = {
    "nothing": "() => {}",
    "the slider Smoothing is moved": """() => {
        const slider = document.querySelector(".epochwidget .ew-slider");
        slider.value = String((Number(slider.value) + 1) % 5 + 1);
        slider.dispatchEvent(new Event("input", { bubbles: true }));
    }""",
    "batch, epoch and both are chosen in turn": """() => {
        const buttons = [...document.querySelectorAll('.epochwidget [aria-label="Granularity"] button')];
        buttons[(buttons.findIndex(each => each.ariaPressed === "true") + 1) % 3].click();
    }""",
    "zoom to 1 %": "() => zoomTo(0.01)",
    "zoom to 0.01 %": "() => zoomTo(0.0001)",
}
ZOOM = """window.zoomTo = part => {
    const plot = document.querySelector(".epochwidget .ew-plot");
    const { left, top, width } = plot.getBoundingClientRect();
    plot.dispatchEvent(new WheelEvent("wheel", {
        ctrlKey: true, deltaY: Math.log(part) / Math.log(1.0015), clientX: left + width / 2, clientY: top + 50,
    }));
};"""
COUNTS = """() => {
    const { store } = document.querySelector(".epochwidget").epochwidget;
    const names = ["loss", "accuracy", "precision", "recall", "grad_norm", "lr"];
    return names.map(name => store.points(store.ids()[0], "batch", name)?.values.length ?? 0);
}"""
MARKS = "() => document.querySelector('.epochwidget').epochwidget.store.subscribe(() => performance.mark('append'))"


class Bench:
    """A notebook of these cells, and what is measured in it."""

    def __init__(self, browser: Browser, server: Jupyter, points: int) -> None:
        self.browser = browser
        self.page: Page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
        self.page.add_init_script(HELPERS + ZOOM)
        cells = [cell % {"points": points, "epochs": EPOCHS} if "%(" in cell else cell for cell in CELLS.values()]
        self.notebook = Notebook(self.page, server, "page.ipynb", *cells)
        self.points = points
        self.cdp: CDPSession = self.page.context.new_cdp_session(self.page)

    def run(self, cell: str) -> Any:
        """Run a cell, and return what it prints as JSON, if it prints."""
        at = list(CELLS).index(cell)
        self.notebook.run_and_wait(at)
        text = self.notebook.text(at) if cell in {"zoom", "snapshot"} else ""
        return json.loads(text) if text else None

    def first_paints(self, pairs: int, ours: str) -> dict[str, list[float]]:
        """Return how long it took, by widget, from the command to run a cell until its output was painted."""
        selectors = {"empty": ".empty", "ours": ours}
        times: dict[str, list[float]] = {name: [] for name in selectors}
        for turn in range(pairs + 2):
            for name in sorted(selectors, reverse=bool(turn % 2)):
                at = list(CELLS).index(f"display {name}")
                took = self.page.evaluate("([cell, selector]) => shown(cell, selector)", [at, selectors[name]])
                self.notebook.wait_for(at)
                self.run("close")
                if turn >= 2:  # what is loaded once has been
                    times[name].append(took)
        return times

    def memory(self) -> float:
        """Return the bytes of all that JavaScript keeps alive, arrays included."""
        self.cdp.send("HeapProfiler.collectGarbage")
        usage = self.cdp.send("Runtime.getHeapUsage")
        return float(usage["usedSize"] + usage.get("backingStorageSize", 0))

    def fill(self) -> None:
        """Log all points while the page is open, and wait until it has them all."""
        self.run("train")
        for _ in range(600):
            counts = self.page.evaluate(COUNTS)
            if counts and min(counts) >= self.points:
                return
            self.page.wait_for_timeout(500)
        raise RuntimeError(f"the page has {counts} points: {self.notebook.outputs(list(CELLS).index('train'))}")

    def stream(self, way: str) -> tuple[float, list[tuple[float, float]], float]:
        """Return frames a second, what each message kept the main thread busy for, and messages a second."""
        self.run(f"to {way}")
        self.page.wait_for_timeout(1000)
        rate = self.page.evaluate(f"frames({SECONDS})")
        self.browser.start_tracing(page=self.page, categories=["toplevel", "blink.user_timing"])
        self.page.wait_for_timeout(SECONDS * 1000)
        busy = list(blocked(json.loads(self.browser.stop_tracing())["traceEvents"]))
        self.run("to nobody")
        return rate, busy, len(busy) / SECONDS

    def painted(self, act: str, times: int) -> list[float]:
        """Return how often asked for the milliseconds until what a person did was painted."""
        found = []
        for _ in range(times):
            found.append(self.page.evaluate(f"painted({ACTS[act]})"))
            self.page.wait_for_timeout(400)
            if "zoom" in act:
                self.page.evaluate("document.querySelector('.ew-plot').dispatchEvent(new MouseEvent('dblclick'))")
        return found

    def exactness(self) -> str:
        """Zoom to a hundred points and look whether the picture that is saved has each where it belongs."""
        self.page.evaluate("zoomTo(0.0001)")
        self.page.wait_for_timeout(1000)
        start, end = (place * self.points / EPOCHS for place in self.run("zoom"))
        # One beyond each end, and some to look for it by.
        steps = range(math.ceil(start) - 4, math.floor(end) + 5)
        values = self.page.evaluate(
            """([from, to]) => {
                const { store } = document.querySelector(".epochwidget").epochwidget;
                return store.points(store.ids()[0], "batch", "loss").values.slice(from - 1, to - 1);
            }""",
            [steps.start, steps.stop],
        )
        panel = self.notebook.widget().panel("loss")
        with self.page.expect_download() as download:
            panel.get_by_role("button", name="loss: more").click()
            self.page.get_by_role("menuitem", name="Save as SVG").click()
        svg = Path(download.value.path()).read_text()
        paths = [
            re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path) for path in re.findall(r'<path d="([^"]+)" fill="none"', svg)
        ]
        drawn = next(path for path in paths if 0 <= len(steps) - len(path) < 8)
        heights = np.array([float(y) for _, y in drawn])
        stretches = [np.array(values[at : at + len(drawn)]) for at in range(len(steps) - len(drawn) + 1)]
        off = min(float(np.abs(np.polyval(np.polyfit(v, heights, 1), v) - heights).max()) for v in stretches)
        self.page.evaluate("document.querySelector('.ew-plot').dispatchEvent(new MouseEvent('dblclick'))")
        seen = len(steps) - 8
        return f"{seen} points and {len(drawn) - seen} beyond the ends, at most {off:.3f} pixels from their places"

    def first_draws(self, times: int) -> tuple[list[float], int]:
        """Return the milliseconds from the snapshot to the first picture, and the snapshot's bytes."""
        snapshot = self.run("snapshot")
        script = (ROOT / "epochwidget" / "static" / "widget.js").read_text(encoding="utf-8")
        draw = "([script, snapshot]) => fromSnapshot(script, snapshot)"
        return [self.page.evaluate(draw, [script, snapshot]) for _ in range(times)], len(snapshot) * 3 // 4


def blocked(events: list[dict[str, Any]]) -> Iterator[tuple[float, float]]:
    """Yield, for each message and the drawing of it, the milliseconds of the main thread, by both clocks."""
    marks = [each for each in events if each["name"] == "append" and "user_timing" in each["cat"]]
    thread = marks[0]["pid"], marks[0]["tid"]
    tasks = sorted(
        (each["ts"], each.get("dur", 0), each.get("tdur", 0))
        for each in events
        if (each["pid"], each["tid"]) == thread and each["ph"] == "X" and each["name"].endswith("::RunTask")
    )
    begun = [began for began, _, _ in tasks]
    for at in sorted({bisect_right(begun, mark["ts"]) - 1 for mark in marks}):
        # The task that takes the message, and the next frame's.
        end = bisect_right(begun, begun[at] + REACTION)
        yield sum(task[1] for task in tasks[at:end]) / 1e3, sum(task[2] for task in tasks[at:end]) / 1e3


def spread(numbers: Sequence[float]) -> str:
    ordered = sorted(numbers)
    return f"{statistics.median(ordered):.1f} / {ordered[int(0.95 * (len(ordered) - 1))]:.1f}"


def row(*cells: object) -> None:
    print("|", " | ".join(str(cell) for cell in cells), "|", flush=True)


def measure(bench: Bench, rounds: int) -> None:
    points = bench.points
    row(f"{points:,} points a series, six series", "ours", "an empty anywidget", "budget")
    row("---", "---", "---", "---")
    bench.run("prepare")
    for what, selector in {"no run": ".epochwidget", "a finished run, with its picture": ".epochwidget canvas"}.items():
        first = bench.first_paints(TIMES, selector)
        row(f"ms from running the cell to its output, {what}", spread(first["ours"]), spread(first["empty"]), "")
        above = [ours - empty for ours, empty in zip(first["ours"], first["empty"], strict=True)]
        row("ms of it above the empty one, in pairs", spread(above), "", "150")
        bench.run("run")

    bench.run("both")
    bench.page.locator(".empty").last.wait_for(state="attached")
    bench.page.wait_for_timeout(1000)
    before = bench.memory()
    bench.fill()
    bench.page.wait_for_timeout(2000)
    took = bench.memory() - before
    row("MB of JavaScript a million points of a series", f"{took / 1e6 / 6 / (points / 1e6):.1f}", "", "")

    bench.page.evaluate(MARKS)
    streams: dict[str, list[tuple[float, list[tuple[float, float]], float]]] = {"ours": [], "empty": []}
    for _ in range(rounds):
        for way, found in streams.items():
            found.append(bench.stream(way))
    ways = streams.values()
    row("messages a second", *(f"{statistics.median(each[2] for each in way):.1f}" for way in ways), "")
    row("frames a second", *(f"{statistics.median(each[0] for each in way):.1f}" for way in ways), "≥ 55")
    clocks = "ms that a message keeps the main thread busy", "the same by the processor's clock"
    for clock, what in enumerate(clocks):
        row(what, *(spread([each[clock] for one in way for each in one[1]]) for way in ways), "≤ 8 above")

    for act in ACTS:
        row(f"ms until painted: {act}", spread(bench.painted(act, TIMES)), "", "")
    row("zoomed to 0.01 %", bench.exactness(), "", "all, exact")
    draws, size = bench.first_draws(TIMES)
    row(f"ms from a snapshot of {size / 1e3:.0f} kB to its picture", spread(draws), "", "300")
    row("others' load on the processors at the end", ", ".join(f"{each:.1f}" for each in os.getloadavg()), "", "")
    bench.run("end")


def main() -> None:
    points = int(float(sys.argv[1])) if len(sys.argv) > 1 else 1_000_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    server = Jupyter(Path(tempfile.mkdtemp()))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            measure(Bench(browser, server, points), rounds)
            browser.close()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
