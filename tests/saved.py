"""What is known of runs in files, for the tests of each form."""

import io
import json
import zipfile

import numpy as np
import pytest

import epochwidget as ew
from epochwidget import Bus


def train(run, epochs=2, batches=3):
    for epoch in run.epochs(epochs):
        for batch in run.batches(range(batches)):
            run.log(loss=1 / (1 + batch + epoch), lr=0.1)
        run.log_epoch(val_loss=0.5)


def bits(points):
    buckets = points.merged.buckets()
    merged = [getattr(buckets, name).tobytes() for name in ("first", "last", "count", "finite", "mean", "lowest")]
    columns = [column.array().tobytes() for column in points.columns]
    return points.series, *columns, points.indices(0, len(points)).tobytes(), *merged


def everything(history):
    """Return all that there is to know of a run, so that only what is the same compares as equal."""
    history.fold()
    tables = {
        (table.series(name), table[name].tobytes(), table.steps(name).tobytes(), table.epochs(name).tobytes())
        for table in (history.batch, history.epoch)
        for name in table
        if history.spans
    }
    facts = [
        *(history.run, history.name, history.title, history.number, history.started, history.status, history.error),
        *(history.epochs, history.purpose, history.elapsed, history.step, history.last_time, history.due),
        *(history.watching, history.validating, history.generation, history.spans, history.marks, history.resumed),
    ]
    return repr(facts), bits(history.clock), [bits(points) for points in history.points], tables


def loaded(path):
    return ew.load(path, bus=Bus(strict=True))


def refused(path, told=None):
    """Check that a file is refused, by name and in one sentence, and nothing is added."""
    bus = Bus(strict=True)
    with pytest.raises(
        ValueError, match=r"^load\(.*\) needs a file that history\.save\(path\) has written: "
    ) as raised:
        ew.load(path, bus=bus)
    assert type(raised.value) is ValueError
    sentence = str(raised.value)
    assert repr(str(path)) in sentence
    assert "\n" not in sentence
    assert len(bus.runs) == 0
    if told is not None:
        assert told in sentence
    return sentence


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def parts(path):
    """Read a file into the object that its description is, and its members."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    told = json.loads(np.load(io.BytesIO(members.pop("description.npy"))).tobytes())
    return told, members


def write(path, told, members, compression=zipfile.ZIP_STORED):
    """Write a file by what is written of the format alone."""
    text = told if isinstance(told, str) else json.dumps(told)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("description.npy", npy(np.frombuffer(text.encode(), np.uint8)))
        for name, data in members.items():
            archive.writestr(name, data)
