"""Runs every benchmark and writes what they print to ``RESULTS.md``, with the machine and the versions."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent
BENCHMARKS = {
    "hot_path": "What one `run.log` of three values costs",
    "fit_overhead": "What watching costs a training",
    "long_run": "Ten million batches",
    "wire": "What goes over the wire",
    "page": "A million points in the page",
}
PACKAGES = (
    *("epochwidget", "anywidget", "ipykernel", "ipywidgets", "jupyterlab", "numpy"),
    *("fastai", "keras", "lightning", "tensorflow-cpu", "torch", "transformers"),
    *("livelossplot", "tensorboard", "trainplot", "wandb"),
)


def processor() -> str:
    """Return the name of the processor as Linux tells it, else what Python knows."""
    told = Path("/proc/cpuinfo")
    names = [line for line in told.read_text().splitlines() if "model name" in line] if told.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor()


def main() -> None:
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except ModuleNotFoundError:
            continue
    lines = [
        "# Results",
        "",
        "Written by `make bench`. Ratios of one run on one machine; absolute numbers are of that machine alone.",
        "",
        f"{date.today()}, {processor()}, {os.cpu_count()} processors, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}; " + ", ".join(f"{name} {number}" for name, number in installed.items()),
    ]
    for script, title in BENCHMARKS.items():
        print(f"{script}.py", file=sys.stderr)
        told = subprocess.run([sys.executable, FOLDER / f"{script}.py"], stdout=subprocess.PIPE, text=True, check=True)
        is_table = told.stdout.startswith("|")
        body = told.stdout.strip() if is_table else f"```\n{told.stdout.rstrip()}\n```"
        lines += ["", f"## {title}", "", body]
    (FOLDER / "RESULTS.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
