"""What a Parquet file says of itself, looked at before pyarrow believes it.

A few bytes may claim to be gigabytes: compressed, or as one number that is repeated. pyarrow makes room for what is
claimed, and where what it is asked about a single column is damaged it ends the process. So the file's own words are
read here: its footer and the headers of its pages, which are structures of Thrift's compact protocol, with the numbers
of fields in Parquet's definition, https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from .description import UnfitError

_Fields = dict[int, Any]

# Thrift's types in its compact protocol.
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)
# No header of a page is longer, unless there are statistics of very long texts in it.
_HEADER = 65_536


def check_claims(file: BinaryIO) -> None:
    """Raise unless the numbers of a Parquet file take about as much room in it as they will in memory.

    Raises
    ------
    UnfitError
        If it is compressed, or has more rows, or pages of more numbers, than it has room for.
    Exception
        Of any kind, if it is damaged.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(size - 8)
    length, magic = struct.unpack("<I4s", file.read(8))
    if magic != b"PAR1" or length > size - 12:
        raise UnfitError("it is cut")
    file.seek(size - 8 - length)
    groups = _Reader(file.read(length)).fields().get(4, [])
    if sum(group[3] for group in groups) > size // 8:
        raise UnfitError("its columns claim to be larger than the file")
    for group in groups:
        for chunk in group[1]:
            column = chunk[3]
            if column[4] != 0:
                raise UnfitError("its columns are compressed")
            for header in _pages(file, column):
                data = header.get(5) or header.get(8)  # else it is a dictionary, whose numbers all stand there
                if (data is not None and data[1] > group[3]) or header[2] != header[3]:
                    raise UnfitError("its pages claim to be larger than they are")


def _pages(file: BinaryIO, column: _Fields) -> Iterator[_Fields]:
    """Read the headers of the pages of a column in one group of rows."""
    at = min(column[9], column.get(11) or column[9])
    end = at + column[7]
    while at < end:
        file.seek(at)
        reader = _Reader(file.read(_HEADER))
        header = reader.fields()
        yield header
        if header[3] < 0:
            raise UnfitError("its pages claim to be larger than they are")
        at += reader.at + header[3]


class _Reader:
    """Structures in Thrift's compact protocol; what is read is as long as what it is read from."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def fields(self) -> _Fields:
        """Read a structure: the values of its fields by their numbers."""
        found: _Fields = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            found[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind)
        return found

    def _value(self, kind: int) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if kind == _BINARY:
            return self._take(self._unsigned())
        if kind == _STRUCT:
            return self.fields()
        if kind in (_LIST, _SET):
            head = self._byte()
            length = head >> 4 if head >> 4 != 15 else self._unsigned()
            return [self._value(head & 15) for _ in range(length)]
        if kind == _MAP:
            length = self._unsigned()
            kinds = self._byte() if length else 0
            return [(self._value(kinds >> 4), self._value(kinds & 15)) for _ in range(length)]
        if kind in (_TRUE, _FALSE, _BYTE, _DOUBLE):  # in a list, truth is a byte
            return self._take(8 if kind == _DOUBLE else 1)
        raise UnfitError("it is damaged")

    def _integer(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)

    def _unsigned(self) -> int:
        number = shift = 0
        while (byte := self._byte()) & 128:
            number |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise UnfitError("it is damaged")
        return number | byte << shift

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _take(self, length: int) -> bytes:
        start, self.at = self.at, self.at + length
        if self.at > len(self._data):
            raise UnfitError("it is damaged")
        return self._data[start : self.at]
