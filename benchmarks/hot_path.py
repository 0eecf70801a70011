"""What one `run.log(loss=, accuracy=, lr=)` costs with a displayed widget, against doing next to nothing and against
TensorBoard. All in one kernel and in turn, so that the machine's moods hit all alike."""

from __future__ import annotations

import kernel

CODE = """
import gc, json, os, statistics, tempfile, time
from time import perf_counter
import epochwidget as ew
from IPython.display import display
from torch.utils.tensorboard import SummaryWriter

LOGS, SCALARS, ROUNDS = 200_000, 2_000, 7
widget = ew.EpochWidget()
display(widget)
sent = []
send = widget.send
widget.send = lambda *args, **kwargs: (sent.append(1), send(*args, **kwargs))

def bare():
    rows = []
    began = perf_counter()
    for step in range(LOGS):
        rows.append((step, 0.1, 0.2, 0.3))
    return (perf_counter() - began) / LOGS

def alone():  # the call itself; the rest waits for its thread
    run = ew.Run("alone", bus=ew.Bus())
    began = perf_counter()
    for step in range(LOGS):
        run.log(loss=0.1, accuracy=0.2, lr=0.3)
    took = (perf_counter() - began) / LOGS
    run.end()
    return took

def watched():  # all that it comes to: the widget's thread and the end of the run included
    run = ew.Run("watched")
    began = perf_counter()
    for step in range(LOGS):
        run.log(loss=0.1, accuracy=0.2, lr=0.3)
    run.end()
    took = (perf_counter() - began) / LOGS
    assert len(run.history.batch["loss"]) == LOGS
    ew.runs.clear()
    return took

def looped():
    run = ew.Run("looped")
    began = perf_counter()
    for epoch in run.epochs(10):
        for batch in run.batches(range(LOGS // 10)):
            run.log(loss=0.1, accuracy=0.2, lr=0.3)
    run.end()
    took = (perf_counter() - began) / LOGS
    ew.runs.clear()
    return took

def tensorboard():
    with tempfile.TemporaryDirectory() as folder:
        writer = SummaryWriter(folder)
        began = perf_counter()
        for step in range(SCALARS):
            writer.add_scalar("loss", 0.1, step)
            writer.add_scalar("accuracy", 0.2, step)
            writer.add_scalar("lr", 0.3, step)
        took = (perf_counter() - began) / SCALARS
        writer.close()
    return took

ways = {"bare": bare, "alone": alone, "watched": watched, "looped": looped, "tensorboard": tensorboard}
times = {name: [] for name in ways}
for _ in range(ROUNDS):
    for name, way in ways.items():
        gc.collect()
        times[name].append(way())
print(json.dumps({"times": times, "sent": len(sent), "rounds": ROUNDS}))
"""

NAMES = {
    "bare": "list.append((step, a, b, c))",
    "alone": "run.log of three values, no widget",
    "watched": "run.log of three values, displayed widget",
    "looped": "the same inside run.epochs and run.batches",
    "tensorboard": "three SummaryWriter.add_scalar",
}


def main() -> None:
    found = kernel.run(CODE)
    medians = {name: sorted(times)[len(times) // 2] for name, times in found["times"].items()}
    heading = f"median of {found['rounds']} rounds"
    print(f"{heading:45} {'µs':>8} {'min-max':>17} {'x bare':>8} {'TensorBoard is x':>17}")
    for name, times in found["times"].items():
        spread = f"{min(times) * 1e6:.2f}-{max(times) * 1e6:.2f}"
        print(
            f"{NAMES[name]:45} {medians[name] * 1e6:8.2f} {spread:>17} {medians[name] / medians['bare']:8.1f} "
            f"{medians['tensorboard'] / medians[name]:17.0f}"
        )
    print("budget: at most 20 x bare with a displayed widget, TensorBoard at least 200 x")
    print(f"{found['sent']} messages were sent")


if __name__ == "__main__":
    main()
