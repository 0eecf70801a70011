"""The golden frames: what the kernel sends in some well-chosen moments, byte for byte.

They are read by ``tests/wire/test_golden.py`` and by ``js/src/wire.test.ts``, so that the two halves cannot drift
apart. Run as a script, this file writes ``<case>.bin`` and beside it ``<case>.json``, which spells the same frame out:
the header with every array in its place, and the numbers that JSON lacks as "NaN", "Infinity" and "-Infinity".
"""

import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from epochwidget import wire
from epochwidget.events import (
    BatchEnded,
    EpochEnded,
    EpochStarted,
    Event,
    Marked,
    RunEnded,
    RunResumed,
    RunStarted,
    SeriesDeclared,
)
from epochwidget.history import History
from epochwidget.series import Series

FOLDER = Path(__file__).parent
STARTED = 1_750_000_000.25
ARRAYS = ("values", "steps", "epochs", "indices")


def history(events: Iterable[Event], *, run: str = "a1", name: str = "resnet18", number: int = 1) -> History:
    made = History(RunStarted(run, name, STARTED), number)
    for event in events:
        made.add(event)
    return made


def epoch(
    number: int,
    batches: int,
    values: Callable[[int], dict[str, float]],
    *,
    run: str = "a1",
    epochs: int | None = 3,
    validation: dict[str, float] | None = None,
) -> list[Event]:
    """Return an epoch whose batch `step` takes a quarter of a second and logs ``values(step)``."""
    first = number * batches
    events: list[Event] = [EpochStarted(run, number, first, first / 4, batches, epochs)]
    for batch in range(batches):
        step = first + batch + 1
        events.append(BatchEnded(run, number, batch, step, step / 4, values(step)))
    if validation is not None:
        events.append(EpochEnded(run, number, first + batches, (first + batches) / 4, validation))
    return events


def falling(step: int) -> dict[str, float]:
    return {"loss": 2 / (1 + step), "accuracy": step / (2 + step), "lr": 0.001 * step}


def append_first() -> bytes:
    """In the middle of the second epoch, to a page that has nothing."""
    events = [
        *epoch(0, 4, falling, validation={"loss": 0.6875, "val_loss": 0.75}),
        *epoch(1, 4, falling)[:3],
        Marked("a1", 5, 1.25, "unfroze the encoder"),
    ]
    return _append(history(events), wire.Sent())


def append_next() -> bytes:
    """What comes after `append_first`: new points only, and a series that had none."""
    events = [
        *epoch(0, 4, falling, validation={"loss": 0.6875, "val_loss": 0.75}),
        *epoch(1, 4, falling)[:3],
        Marked("a1", 5, 1.25, "unfroze the encoder"),
    ]
    made, sent = history(events), wire.Sent()
    _append(made, sent)
    for event in [
        *epoch(1, 4, falling, validation={"loss": 0.25, "val_loss": 0.5, "val_accuracy": 0.875})[3:],
        *epoch(2, 4, lambda step: {**falling(step), "grad_norm": 1.5 * step})[:2],
        Marked("a1", 9, 2.25, "second mark"),
    ]:
        made.add(event)
    return _append(made, sent)


def append_not_finite() -> bytes:
    """A loss that explodes: numbers that JSON lacks, and the largest and smallest that float64 has."""
    loss = [1.5, 1e308, math.inf, math.nan, -math.inf, 5e-324, -0.0, 1.7976931348623157e308]
    return _append(history(epoch(0, 8, lambda step: {"loss": loss[step - 1]}, epochs=None)), wire.Sent())


def append_sparse() -> bytes:
    """A metric that is logged with every second batch only, so that its steps have gaps."""

    def values(step: int) -> dict[str, float]:
        return {"loss": 1 / step, "accuracy": step / 8} if step % 2 == 0 else {"loss": 1 / step}

    return _append(history(epoch(0, 7, values)), wire.Sent())


def append_kinds() -> bytes:
    """One series of each kind that a producer may declare, and several learning rates."""
    declared = [
        SeriesDeclared("a1", Series(name, "batch", kind, metric, "train"))
        for name, kind, metric in [
            ("loss_so_far", "running", "loss"),
            ("train_loss", "smoothed", "loss"),
            ("logged_loss", "window", "loss"),
            ("returned_loss", "reported", "loss"),
        ]
    ]

    def values(step: int) -> dict[str, float]:
        names = ("loss", "loss_so_far", "train_loss", "logged_loss", "returned_loss", "lr", "lr_1")
        return {name: step + at / 8 for at, name in enumerate(names)}

    return _append(history([*declared, *epoch(0, 2, values)]), wire.Sent())


def append_ended() -> bytes:
    """A run that failed, with marks, validation and texts that a page must not take for markup."""
    image = "<img src=x onerror=alert(1)>"

    def values(step: int) -> dict[str, float]:
        return {"loss": 1 / step, image: float(step), "خسارة": step / 2, '🔥 "heat"': step / 4}

    events = [
        *epoch(0, 3, values, validation={"loss": 0.625, "val_loss": 0.5, f"val_{image}": 2.0}),
        Marked("a1", 2, 0.5, f"{image} & 'quotes' \\ </script>"),
        Marked("a1", 3, 0.75, "علامة 🎉"),
        *epoch(1, 3, values)[:2],
        RunEnded("a1", 4, 1.25, "failed", f"ValueError: \"no\" 'such' {image} \u202eخطأ 💥"),
    ]
    return _append(history(events, name=f"{image} · نموذج 🚀"), wire.Sent())


def append_resumed() -> bytes:
    """A run that ended after two epochs and goes on from its second one: a page that has both drops the second."""
    events = [
        event for number in range(2) for event in epoch(number, 4, falling, validation={"val_loss": 0.5 - number / 8})
    ]
    made, sent = history([*events, RunEnded("a1", 8, 2.25, "stopped")]), wire.Sent()
    _append(made, sent)
    made.add(RunResumed("a1", 4, 1.0, STARTED + 60, epoch=1, epochs=3))
    for event in epoch(1, 4, lambda step: {**falling(step), "accuracy": 0.0})[:2]:
        made.add(event)
    with _now(STARTED + 61):
        frame = wire.append(made, sent)
    assert frame is not None
    return frame


def snapshot_empty() -> bytes:
    """No runs at all."""
    return wire.snapshot([])[0]


def snapshot_two_runs() -> bytes:
    """One run that was completed and one that goes on, in full."""
    first = [
        event for number in range(3) for event in epoch(number, 4, falling, validation={"val_loss": 0.5 - number / 8})
    ]
    first.append(RunEnded("a1", 12, 3.125, "completed"))
    second = epoch(0, 5, falling, run="b2", epochs=10)[:4]
    with _now(STARTED + 1):
        return wire.snapshot([history(first), history(second, run="b2", name="resnet34", number=2)])[0]


def snapshot_decimated() -> bytes:
    """More points than fit: what is left out shows in ``indices``."""

    def values(step: int) -> dict[str, float]:
        wave = abs(step % 100 - 50) / 50
        loss = {123: 40.0, 456: -40.0, 789: math.nan}.get(step, 1 / step + wave)
        return {"loss": loss, "accuracy": wave} if step % 300 == 0 else {"loss": loss}

    events = [
        event for number in range(3) for event in epoch(number, 400, values, validation={"val_loss": 1 / (1 + number)})
    ]
    with _now(STARTED + 300):
        return wire.snapshot([history(events)], 4_000)[0]


CASES = {
    case.__name__: case
    for case in (
        append_first,
        append_next,
        append_not_finite,
        append_sparse,
        append_kinds,
        append_ended,
        append_resumed,
        snapshot_empty,
        snapshot_two_runs,
        snapshot_decimated,
    )
}


def _append(made: History, sent: wire.Sent) -> bytes:
    with _now(STARTED + 2.5):
        frame = wire.append(made, sent)
    assert frame is not None
    return frame


@contextmanager
def _now(seconds: float) -> Iterator[None]:
    # A run that goes on says how long it has taken so far, and what watching it has cost.
    with (
        patch("epochwidget.history.time.time", return_value=seconds),
        patch.object(History, "watching", 0.015625),
    ):
        yield


def spell(frame: bytes) -> dict[str, Any]:
    _, size = struct.unpack_from("<II", frame)
    header: dict[str, Any] = json.loads(frame[8 : 8 + size])
    body = np.frombuffer(frame, "<f8", offset=8 + size)
    for run in header["runs"]:
        for column in run["columns"]:
            for name in ARRAYS:
                if column.get(name) is not None:
                    numbers = body[column[name] : column[name] + column["count"]].tolist()
                    column[name] = [number if math.isfinite(number) else _word(number) for number in numbers]
    return header


def _word(number: float) -> str:
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def pretty(value: Any, indent: str = "") -> str:
    """Write JSON with one line for each object's entry, and lists of plain values on one line."""
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        entries = [f"{deeper}{json.dumps(key)}: {pretty(part, deeper)}" for key, part in value.items()]
        return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(part, (dict, list)) for part in value):
        return "[\n" + ",\n".join(f"{deeper}{pretty(part, deeper)}" for part in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    for name, case in CASES.items():
        frame = case()
        (FOLDER / f"{name}.bin").write_bytes(frame)
        (FOLDER / f"{name}.json").write_text(pretty(spell(frame)) + "\n", encoding="utf-8")
        print(f"{name}: {len(frame)} bytes")
