"""What watching costs a training: the same epochs with and without, in turn, in one kernel with a displayed widget."""

from __future__ import annotations

import kernel

CODE = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import json, time
from time import perf_counter
import keras, numpy as np, torch
import epochwidget as ew
from epochwidget.callbacks.keras import EpochCallback
from IPython.display import display

PAIRS = 40  # a pair on a busy machine says little, their median a lot
display(ew.EpochWidget())
x = np.random.default_rng(0).normal(size=(6400, 64)).astype("float32")
y = np.random.default_rng(1).integers(0, 10, len(x))

def keras_pairs(rate):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(64, "relu"),
                              keras.layers.Dense(10)])
    model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    data = dict(x=x, y=y, batch_size=32, shuffle=False, verbose=0)
    callback = EpochCallback()
    model.fit(**data)
    model.fit(**data, callbacks=[callback])
    class Clock(keras.callbacks.Callback):  # the epochs, without the start and the end of `fit`
        took = 0.0
        def on_epoch_begin(self, epoch, logs=None): self.began = perf_counter()
        def on_epoch_end(self, epoch, logs=None): self.took += perf_counter() - self.began
    class Empty(keras.callbacks.Callback):  # the least that any callback costs that hears of batches
        def on_train_batch_begin(self, batch, logs=None): pass
        def on_train_batch_end(self, batch, logs=None): pass
    data["epochs"] = 10
    arms = [[], [Empty()], [callback]]
    rows = []
    for row in range(PAIRS):
        took = {}
        for arm in np.random.default_rng(row).permutation(len(arms)):
            clock = Clock()
            model.fit(**data, callbacks=[*arms[arm], clock])
            took[arm] = clock.took
        rows.append([took[arm] for arm in range(len(arms))])
        ew.runs.clear()
    return rows, data["epochs"] * len(x) // 32

def loop_pairs():
    torch.set_num_threads(1)
    steps = 200
    def step():  # 2 ms of computing, whatever the machine
        until = perf_counter() + 0.002
        while perf_counter() < until:
            torch.mm(a, a)
    a = torch.randn(64, 64)
    pairs = []
    for _ in range(PAIRS):
        began = perf_counter()
        for _ in range(steps):
            step()
        plain = perf_counter() - began
        began = perf_counter()
        with ew.Run("loop") as run:
            for _ in run.batches(range(steps)):
                step()
                run.log(loss=0.1, accuracy=0.2, lr=0.3)
        pairs.append((plain, perf_counter() - began))
        ew.runs.clear()
    return pairs, steps

found = {}
for schedule, rate in {"constant rate": 1e-3,
                       "cosine schedule": keras.optimizers.schedules.CosineDecay(1e-3, 100_000)}.items():
    rows, steps = keras_pairs(rate)
    found[f"Keras, small dense model, {schedule}"] = [(plain, ours) for plain, _, ours in rows], steps
    found[f"an empty callback, {schedule}"] = [(plain, empty) for plain, empty, _ in rows], steps
found["PyTorch loop, 2 ms steps"] = loop_pairs()
print(json.dumps(found))
"""


def main() -> None:
    print(f"{'watched / not watched':45} {'median':>8} {'quartiles':>15} {'ms a step':>10}")
    for name, (pairs, steps) in kernel.run(CODE).items():
        ratios = sorted(watched / plain for plain, watched in pairs)
        n = len(ratios)
        plain = sorted(plain for plain, _ in pairs)[n // 2] / steps * 1e3
        print(f"{name:45} {ratios[n // 2]:8.3f} {ratios[n // 4]:7.3f}-{ratios[3 * n // 4]:.3f} {plain:10.2f}")
    print("budget: at most 1.02 for Keras, 1.01 for the loop")


if __name__ == "__main__":
    main()
