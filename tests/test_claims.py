"""Parquet files that claim to be more than they are, and would take as much memory as they claim."""

import io
import struct

import pyarrow.parquet as pq
import pytest

from epochwidget.claims import _Reader, check_claims
from epochwidget.description import UnfitError

from .saved import refused


@pytest.fixture
def path(past, tmp_path):
    path = tmp_path / "a.parquet"
    past.save(path)
    return path


def header_of(data, column):
    """Return where the header of the first page of a column begins, and what pyarrow says of it."""
    chunk = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(column)
    return chunk.dictionary_page_offset or chunk.data_page_offset


def test_the_words_of_a_file_are_read_as_pyarrow_reads_them(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<I", data[-8:-4])
    footer = _Reader(data[-8 - length : -8]).fields()
    metadata = pq.read_metadata(path)
    assert footer[3] == metadata.num_rows
    (group,) = footer[4]
    assert group[3] == metadata.row_group(0).num_rows
    for index, chunk in enumerate(group[1]):
        told = metadata.row_group(0).column(index)
        assert b".".join(chunk[3][3]).decode() == told.path_in_schema
        assert (chunk[3][5], chunk[3][7]) == (told.num_values, told.total_compressed_size)
        assert chunk[3][9] == told.data_page_offset
    check_claims(io.BytesIO(data))


@pytest.mark.parametrize("column", [2, 3, 4])
def test_a_page_that_claims_more_numbers_than_its_group_has_rows_is_refused(path, column):
    data = path.read_bytes()
    start = header_of(data, column)
    found = 0
    for at in range(start, start + 40):
        changed = data[:at] + b"\x7e" + data[at + 1 :]  # 63, where one byte stood for 22
        try:
            header = _Reader(changed[start:]).fields()
        except (IndexError, UnfitError):
            continue
        page = header.get(5)  # another field's number may have become 5, whatever that field is
        if isinstance(page, dict) and page.get(1) == 63:
            found += 1
            path.write_bytes(changed)
            refused(path, "its pages claim to be larger than they are")
    assert found > 0


def test_a_footer_that_is_nested_without_end_is_damaged(path):
    """Each byte begins one more structure within the one before."""
    deep = b"\x1c" * 100_000
    path.write_bytes(b"PAR1" + deep + struct.pack("<I", len(deep)) + b"PAR1")
    refused(path)


@pytest.mark.parametrize(
    "data", [b"PAR1", b"PAR1PAR1", b"PAR1" + b"\0" * 4 + b"PAR1", b"PAR1" + b"\xff" * 20 + b"PAR1"]
)
def test_what_has_no_footer_is_refused(path, data):
    path.write_bytes(data)
    refused(path)
