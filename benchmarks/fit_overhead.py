"""What watching costs a training: the same epochs watched by nothing, by us and by our peers, in turn, in one kernel.

A widget is displayed, and each peer shows what it shows at its defaults. A training of a machine that does something
else says little, the median of many rounds more.

    python benchmarks/fit_overhead.py [rounds] [a part of a training's name]
"""

from __future__ import annotations

import sys
from pathlib import Path

import kernel
import trainings

CODE = """
import json, sys
sys.path.insert(0, {folder!r})
import epochwidget as ew
from IPython.display import display
import trainings
display(ew.EpochWidget())
found = trainings.compare({name!r}, {rounds})
print()
print(json.dumps(found))
"""
BUDGETS = {"Keras on TensorFlow": 1.02, "Keras, cosine schedule": 1.02, "PyTorch loop, 2 ms steps": 1.01}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    part = sys.argv[2] if len(sys.argv) > 2 else ""
    print("| training | watched by | × unwatched, median of rounds | quartiles | ms a step |")
    print("| --- | --- | --- | --- | --- |")
    for name in trainings.TRAININGS:
        if part not in name:
            continue
        code = CODE.format(folder=str(Path(__file__).parent), name=name, rounds=rounds)
        times = kernel.run(code, timeout=3600)
        plain = times["nothing"]
        for way, watched in times.items():
            ratios = sorted(one / other for one, other in zip(watched, plain, strict=True))
            n = len(ratios)
            median = sorted(watched)[n // 2] * 1e3
            budget = f" (budget {BUDGETS[name]})" if way == "epochwidget" and name in BUDGETS else ""
            quartiles = "" if way == "nothing" else f"{ratios[n // 4]:.3f} to {ratios[3 * n // 4]:.3f}"
            ratio = "" if way == "nothing" else f"{ratios[n // 2]:.3f}{budget}"
            print(f"| {name} | {way} | {ratio} | {quartiles} | {median:.2f} |", flush=True)


if __name__ == "__main__":
    main()
