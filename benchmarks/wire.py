"""What goes over the wire while a run grows: bytes, bytes a number, and the processor's time in Python.

A run of six values a batch and of its clock. An update brings a hundred new batches. Beside it stands what other
libraries make of the same lines, told of all points again: bqplot's lines in binary, a figure of plotly as it writes
itself, and the points as JSON. What ipywidgets puts around a message is in none of them.

    python benchmarks/wire.py [rounds]
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import bqplot
import numpy as np
import plotly.graph_objects as go
from ipywidgets import Widget

import epochwidget as ew
from epochwidget import wire

NAMES = ("loss", "accuracy", "precision", "recall", "grad_norm", "lr")
POINTS = (1_000, 10_000, 100_000, 1_000_000)
NEW = 100


def grown(points: int) -> ew.Run:
    """Return a run of so many batches that goes on."""
    run = ew.Run("run", bus=ew.Bus())
    run.begin_epoch(0, batches=2 * POINTS[-1])
    log(run, points)
    return run


def log(run: ew.Run, batches: int) -> None:
    for values in np.random.default_rng(run.step).normal(size=(batches, len(NAMES))).tolist():
        run.log(**dict(zip(NAMES, values, strict=True)))


def binary(state: Any) -> int:
    """Return the bytes of a widget's state: its buffers, and the rest as JSON."""
    from ipywidgets.widgets.widget import _remove_buffers

    rest, _, buffers = _remove_buffers(state)
    return len(json.dumps(rest)) + sum(memoryview(each).nbytes for each in buffers)


def bqplot_way(columns: dict[str, Any], steps: Any) -> Callable[[], int]:
    scales = {"x": bqplot.LinearScale(), "y": bqplot.LinearScale()}
    lines = [bqplot.Lines(x=steps, y=values, scales=scales) for values in columns.values()]

    def send() -> int:
        return sum(binary(line.get_state(key={"x", "y"})) for line in lines)

    return send


def plotly_way(columns: dict[str, Any], steps: Any) -> Callable[[], int]:
    """Plotly writes arrays as base64 where its messages are JSON."""
    from plotly.io.json import to_json_plotly

    return lambda: len(to_json_plotly([go.Scatter(x=steps, y=y).to_plotly_json() for y in columns.values()]))


def json_way(columns: dict[str, Any], steps: Any) -> Callable[[], int]:
    return lambda: len(json.dumps({"x": steps.tolist(), **{name: y.tolist() for name, y in columns.items()}}))


def timed(send: Callable[[], int]) -> tuple[int, float]:
    began = time.thread_time()
    size = send()
    return size, time.thread_time() - began


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    print(f"| points of each of {len(NAMES)} lines | what is sent | bytes | a new number | ms | × our update |")
    print("| --- | --- | --- | --- | --- | --- |")
    for points in POINTS:
        run, sent = grown(points), wire.Sent()
        while wire.append(run.history, sent) is not None:
            pass

        def update(run: ew.Run = run, sent: wire.Sent = sent) -> int:
            return len(wire.append(run.history, sent) or b"")

        def snapshot(run: ew.Run = run) -> int:
            return len(wire.snapshot([run.history])[0])

        columns = {name: run.history.batch[name] for name in NAMES}
        steps = run.history.batch.steps("loss")
        ways = {
            "our update": update,
            "our snapshot": snapshot,
            "bqplot, all points": bqplot_way(columns, steps),
            "plotly, all points": plotly_way(columns, steps),
            "JSON, all points": json_way(columns, steps),
        }
        found: dict[str, list[tuple[int, float]]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, send in ways.items():
                if way == "our update":
                    log(run, NEW)
                found[way].append(timed(send))
        ours = statistics.median(took for _, took in found["our update"])
        for way, each in found.items():
            size = statistics.median(size for size, _ in each)
            took = statistics.median(took for _, took in each)
            of_each = "" if way == "our snapshot" else f"{size / NEW / len(NAMES):,.1f}"
            print(
                f"| {points:,} | {way} | {size:,.0f} | {of_each} | {took * 1e3:.2f} | {took / ours:,.1f} |", flush=True
            )
        run.end()
    Widget.close_all()


if __name__ == "__main__":
    main()
