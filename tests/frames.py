"""A reader of frames, written after the docstring of ``epochwidget/wire.py`` alone, and the page that it stands for."""

import json
import struct
from dataclasses import dataclass, field
from typing import Any

_ARRAYS = ("values", "steps", "epochs", "indices")


def read(frame: bytes) -> dict[str, Any]:
    """Return the header with every array, as a list of floats, in the place of its index."""
    version, size = struct.unpack_from("<II", frame)
    assert version == 1
    assert (8 + size) % 8 == 0, "the body begins where a float64 may"
    assert (len(frame) - 8 - size) % 8 == 0, "the body is a whole number of float64"

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    header = json.loads(frame[8 : 8 + size].decode("utf-8"), parse_constant=refuse)
    body = [number for (number,) in struct.iter_unpack("<d", frame[8 + size :])]
    for run in header["runs"]:
        for column in run["columns"]:
            for name in _ARRAYS:
                at = column.get(name)
                if at is not None:
                    assert 0 <= at <= at + column["count"] <= len(body), f"{name} lies in the body"
                    column[name] = body[at : at + column["count"]]
    return header


def numbers_named(frame: bytes) -> int:
    """Return how many numbers the columns of a frame name."""
    columns = [column for run in read(frame)["runs"] for column in run["columns"]]
    return sum(len(column[name]) for column in columns for name in _ARRAYS if column.get(name) is not None)


def body_size(frame: bytes) -> int:
    """Return how many bytes follow the header."""
    return len(frame) - 8 - int(struct.unpack_from("<II", frame)[1])


@dataclass
class PageSeries:
    """One line, by index: value, step and, of an epoch's, epoch."""

    spec: dict[str, Any]
    points: dict[int, tuple[float, float, float | None]] = field(default_factory=dict)


class Page:
    """What a page makes of the frames of one run: it writes by index and takes each frame's word for the rest."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.series: dict[int, PageSeries] = {}
        self.spans: list[Any] = []
        self.marks: list[Any] = []

    def take(self, run: dict[str, Any]) -> None:
        if run["generation"] < self.facts.get("generation", 0):
            return
        if run["generation"] > self.facts.get("generation", 0):
            self.series, self.spans, self.marks = {}, [], []
        self.facts = {name: part for name, part in run.items() if not isinstance(part, (list, dict))}
        for stretch, items in ((run["spans"], self.spans), (run["marks"], self.marks)):
            assert stretch["start"] <= len(items), "no gap"
            items[stretch["start"] :] = stretch["items"]
        for spec in run["series"]:
            self.series.setdefault(spec["id"], PageSeries(spec))
        for column in run["columns"]:
            points = self.series[column["series"]].points
            for at in range(column["count"]):
                index = int(column["indices"][at]) if column.get("indices") else column["start"] + at
                step = column["first"] + at if column["steps"] is None else column["steps"][at]
                epoch = column["epochs"][at] if column.get("epochs") is not None else None
                points[index] = column["values"][at], float(step), epoch

    def drawn(self) -> dict[tuple[str, str], list[tuple[float, float, float | None]]]:
        """Return the points of every series by granularity and name, in the order of their indices."""
        return {
            (line.spec["granularity"], line.spec["name"]): [point for _, point in sorted(line.points.items())]
            for line in self.series.values()
            if line.spec["kind"] != "clock"
        }
