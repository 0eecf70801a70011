"""What a run of 10,000,000 batches of three values costs.

Told are its memory, the longest pauses of the training thread, and what an update takes, beside one after a thousand.

All in one kernel with a displayed widget. The pauses stand beside those of a loop that only appends to a list while the
kernel has nothing else to do, so that the machine's own are seen, too.

    python benchmarks/long_run.py [batches]
"""

from __future__ import annotations

import sys

import kernel

CODE = """
import gc, json, time, tracemalloc
from time import perf_counter
import epochwidget as ew
from epochwidget import wire
from IPython.display import display

BATCHES = %(batches)d

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024

looked_for_garbage = [0.0, 0.0]

def notice(phase, info):
    looked_for_garbage[phase == "stop"] = perf_counter()

gc.callbacks.append(notice)

def pauses(step, count):
    "The longest, how many took over 5 ms, and in how many of these Python looked for garbage for as long."
    longest, over, garbage, before = 0.0, 0, 0, perf_counter()
    for index in range(count):
        step(index)
        now = perf_counter()
        if now - before > 0.005:
            over += 1
            began, ended = looked_for_garbage
            garbage += began >= before and ended - began > 0.8 * (now - before)
        longest = max(longest, now - before)
        before = now
    return longest, over, garbage

def update(run):
    "The processor's time that a hundred new batches take, from the queue to the bytes of a message."
    sent, times, sizes = wire.Sent(), [], []
    while wire.append(run.history, sent) is not None:
        pass
    for _ in range(200):
        for _ in range(100):
            run.log(loss=0.5, accuracy=0.5, lr=0.1)
        began = time.thread_time()
        message = wire.append(run.history, sent)
        times.append(time.thread_time() - began)
        sizes.append(len(message))
    return sorted(times)[100], sorted(sizes)[100]

bare = []
quiet = pauses(lambda index: bare.append((index, 1.0 / (1 + index), 0.5, 0.1)), BATCHES)
del bare
gc.collect()
short = ew.Run("short", bus=ew.Bus())
for _ in range(1000):
    short.log(loss=0.5, accuracy=0.5, lr=0.1)
found = dict(batches=BATCHES, quiet=quiet, short=update(short))
widget = ew.EpochWidget()
display(widget)
empty = resident()
with ew.Run("long") as run:
    log = run.log
    def step(index):
        log(loss=1.0 / (1 + index), accuracy=0.5, lr=0.1)
    began = perf_counter()
    found["watched"] = pauses(step, BATCHES)
    found["seconds"] = perf_counter() - began
    run.history.fold()
    gc.collect()
    found["bytes"] = resident() - empty
    began = time.thread_time()
    found["snapshot"] = len(wire.snapshot([run.history])[0]), time.thread_time() - began
    found["long"] = update(run)
import pandas
tracemalloc.start()
frame = run.history.to_frame("batch")
found["frame"] = tracemalloc.get_traced_memory()[1], int(frame.memory_usage(index=True).sum())
print(json.dumps(found))
"""


def main() -> None:
    found = kernel.run(CODE % {"batches": int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000_000})
    batches = found["batches"]
    per_number = (found["bytes"] - 16 * batches) / (3 * batches)
    print(f"{batches:,} batches of three values, logged in {found['seconds']:.1f} s with a displayed widget")
    print(f"memory: {found['bytes'] / 1e6:.0f} MB in all, {per_number:.1f} B a number beside 16 B a batch of the clock")
    for name, what in (("quiet", "list.append, nothing else"), ("watched", "run.log, displayed widget")):
        longest, over, garbage = found[name]
        print(f"pauses, {what:26}: longest {longest * 1e3:6.1f} ms, {over} over 5 ms, {garbage} of them Python's gc")
    (short, _), (long, size) = found["short"], found["long"]
    print(f"an update of 100 batches: {long * 1e6:.0f} µs, {size} B, {long / short:.2f} x that after 1,000 batches")
    size, took = found["snapshot"]
    print(f"snapshot: {size / 1e3:.0f} kB in {took * 1e3:.0f} ms")
    peak, kept = found["frame"]
    print(f"to_frame: {kept / 1e6:.0f} MB, {peak / kept:.2f} x that at its peak")
    print(
        "budgets: 16 B a number, no pause over 5 ms, an update at most 1.2 x, a snapshot of 200 kB, a frame not twice"
    )


if __name__ == "__main__":
    main()
