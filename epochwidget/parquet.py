"""A run in a Parquet file, by pyarrow: a table with a row for each point, which every program of the field reads.

Its columns are::

    granularity  text, "batch" or "epoch", or "clock"
    series       text, the name of the series, as in ``history.batch["loss"]``; "time" of the clock
    step         int64, how many batches had ended when the point came
    epoch        int64, its epoch, counted from 0; null but in series of granularity "epoch"
    value        float64

First come the rows of the clock, whose values are seconds of the run, then those of one series after the other, in the
order in which the points came. Where older points of the run were merged there are these columns as well::

    index          int64, of a point that is kept of merged ones; else null
    bucket_first, bucket_last, bucket_count, bucket_finite
                   int64, of each bucket in the row of the first point that is kept of it; else null
    bucket_mean    float64, likewise

The metadata of the table have, under ``epochwidget``, the JSON text of which `epochwidget.description` tells, and under
``epochwidget.crc32``, in decimal digits, the check sum of that and of all numbers, as little-endian float64: of one
series after the other its steps, values, epochs, indices and what is known of its buckets, in the order above. The text
in the columns ``granularity`` and ``series`` is for other programs.

Nothing in it is compressed, so that no file takes much more memory than it takes room on the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO
from zlib import crc32

import numpy as np
import numpy.typing as npt

from .claims import check_claims
from .columns import Floats
from .description import BUCKETS, Part, UnfitError, begin, describe
from .errors import check_version
from .history import History

#: What such a file begins with.
MAGIC = b"PAR1"

_DESCRIPTION, _CHECK_SUM = b"epochwidget", b"epochwidget.crc32"
# The columns that hold the numbers of a part.
_COLUMNS = {"step": "steps", "epoch": "epochs", "value": "values"}
_MERGED = {"index": "indices", **dict(zip(BUCKETS, BUCKETS, strict=True))}
_DOUBLES = {"value", "bucket_mean"}
# How many rows a group of rows has, each of which costs a page a column.
_GROUP = 2**20


def write(file: BinaryIO, history: History) -> None:
    """Write a run."""
    pa, pq = _pyarrow()
    description, parts = describe(history)
    # Half a character is no UTF-8.
    names = pa.array([part.points.series.name.encode(errors="replace").decode() for part in parts])
    granularities = pa.array(["clock", "batch", "epoch"])
    text = pa.dictionary(pa.int32(), pa.string())
    columns = _columns(parts)
    schema = pa.schema([("granularity", text), ("series", text), *((name, _type(name)) for name in columns)])
    check_sum = crc32(description)
    with pq.ParquetWriter(
        file,
        schema,
        compression="none",
        use_dictionary=["granularity", "series"],
        # A NaN has no place between the lowest and the highest.
        write_statistics=["granularity", "step"],
        write_page_checksum=True,
        store_schema=False,
    ) as writer:
        for group in _groups(parts):
            numbers = [{what: part.numbers(what) for what in part.lengths} for part in group]
            for of_part in numbers:
                check_sum = _summed(check_sum, of_part)
            lengths = [len(of_part["values"]) for of_part in numbers]
            kinds = [0 if part.number < 0 else 1 + (part.points.series.granularity == "epoch") for part in group]
            places = [part.number + 1 for part in group]  # among the names, the clock's first
            rows = [
                pa.DictionaryArray.from_arrays(np.repeat(np.array(kinds, np.int32), lengths), granularities),
                pa.DictionaryArray.from_arrays(np.repeat(np.array(places, np.int32), lengths), names),
                *(
                    pa.concat_arrays(
                        [_column(pa, part, of_part, name, what) for part, of_part in zip(group, numbers, strict=True)]
                    )
                    for name, what in columns.items()
                ),
            ]
            writer.write_table(pa.Table.from_arrays(rows, schema=schema), row_group_size=_GROUP)
        writer.add_key_value_metadata({_DESCRIPTION: description, _CHECK_SUM: str(check_sum)})


def read(file: BinaryIO) -> History:
    """Read a run that `write` has written; any exception says that it did not."""
    _, pq = _pyarrow()
    check_claims(file)
    file.seek(0)
    with pq.ParquetFile(file, page_checksum_verification=True) as table:
        told = table.metadata.metadata or {}
        description = told.get(_DESCRIPTION)
        if description is None:
            raise UnfitError("it has no description of a run")
        history, parts = begin(description)
        rows = _read(table, _columns(parts))
    length = sum(part.lengths["values"] for part in parts)
    if len(rows["values"]) != length:
        raise UnfitError(f"it has {len(rows['values'])} rows, and its description says {length}")
    start, check_sum = 0, crc32(description)
    for part in parts:
        stretch = slice(start, start + part.lengths["values"])
        start = stretch.stop
        found: dict[str, Floats] = {}
        for what in part.lengths:
            numbers = rows[what][stretch]
            if what == "indices":
                numbers = numbers[~np.isnan(numbers)]
            elif what in BUCKETS:  # the mean of a bucket may be NaN
                numbers = numbers[~np.isnan(rows["bucket_count"][stretch])]
            found[what] = numbers
            part.take(what, numbers)
        check_sum = _summed(check_sum, found)
    if told.get(_CHECK_SUM) != str(check_sum).encode():
        raise UnfitError("its rows are not those that were saved, or not in their order")
    return history


def _columns(parts: list[Part]) -> dict[str, str]:
    """Return the columns that the numbers of these parts need, and what they are called in a part."""
    return _COLUMNS | (_MERGED if any("indices" in part.lengths for part in parts) else {})


def _groups(parts: list[Part]) -> Iterator[list[Part]]:
    """Go through the parts, as many at a time as make a group of rows."""
    group: list[Part] = []
    rows = 0
    for part in parts:
        group.append(part)
        rows += part.lengths["values"]
        if rows >= _GROUP or part is parts[-1]:
            yield group
            group, rows = [], 0


def _summed(check_sum: int, numbers: dict[str, Floats]) -> int:
    """Go on with a check sum over the numbers of a part."""
    for column in numbers.values():
        check_sum = crc32(np.ascontiguousarray(column, "<f8").data, check_sum)
    return check_sum


def _column(pa: Any, part: Part, of_part: dict[str, Floats], name: str, what: str) -> Any:
    """Return one column of the rows of a part; null where it has no number."""
    length = part.lengths["values"]
    if what not in of_part:
        return pa.nulls(length, _type(name))
    numbers: npt.NDArray[Any] = of_part[what]
    if name not in _DOUBLES:
        numbers = numbers.astype(np.int64)
    if what in _COLUMNS.values():
        return pa.array(numbers)
    at = np.arange(len(numbers)) if what == "indices" else part.points.merged.starts()
    spread, absent = np.zeros(length, numbers.dtype), np.ones(length, np.bool_)
    spread[at], absent[at] = numbers, False
    return pa.array(spread, mask=absent)


def _type(name: str) -> str:
    return "double" if name in _DOUBLES else "int64"


def _read(table: Any, columns: dict[str, str]) -> dict[str, Floats]:
    """Read the numbers of all points; one that is null becomes NaN."""
    found = {field.name: str(field.type) for field in table.schema_arrow}
    if any(found.get(name) != _type(name) for name in columns):
        raise UnfitError(f"its columns are not {', '.join(f'{name} of {_type(name)}' for name in columns)}")
    rows = table.read(list(columns), use_threads=False)
    return {what: rows[name].to_numpy().astype(np.float64, copy=False) for name, what in columns.items()}


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        raise ImportError(
            "a .parquet file needs pyarrow: pip install pyarrow; with any other suffix save() writes NumPy's .npz."
        ) from None
    # Those below 14.0.1 execute what a file tells them to, CVE-2023-47248, and 16 is what writes metadata so.
    check_version("pyarrow", pa.__version__, at_least="16")
    return pa, pq
