"""A run in a Parquet file: what other programs read in it, and files that are none of a run."""

import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from epochwidget import Bus, Run

from .saved import everything, loaded, refused


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.parquet"


@pytest.fixture
def table(past, path):
    """A saved run as pyarrow sees it, to be changed and written back."""
    past.save(path)
    return pq.read_table(path)


def with_description(table, path):
    """Write a table of another program's with the description of the file that is there."""
    own = pq.read_metadata(path).metadata
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **own}), path, compression="none")


def test_pandas_and_polars_read_it_by_names(past, path):
    past.save(path)
    frame = pd.read_parquet(path)
    assert frame.columns.tolist() == ["granularity", "series", "step", "epoch", "value"]
    losses = frame[(frame["granularity"] == "batch") & (frame["series"] == "loss")]
    assert losses["value"].tolist() == past.batch["loss"].tolist()
    assert losses["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert losses["epoch"].isna().all()
    seen = pl.read_parquet(path).filter((pl.col("granularity") == "epoch") & (pl.col("series") == "val_loss"))
    assert seen.select("step", "epoch", "value").rows() == [(3, 0, 0.5), (6, 1, 0.5)]
    clock = pl.read_parquet(path).filter(pl.col("granularity") == "clock")
    assert clock["value"].to_list() == past.to_frame("batch")["time"].tolist()


def test_a_file_that_another_program_wrote_again_is_as_good(past, path, table):
    """In small groups and in another form of pages, as long as the description is with it and nothing is compressed."""
    own = pq.read_metadata(path).metadata
    for form in (
        {"data_page_version": "2.0"},
        {"use_dictionary": False, "version": "1.0"},
        {"write_statistics": False},
    ):
        pq.write_table(table.replace_schema_metadata(own), path, compression="none", row_group_size=4, **form)
        assert everything(loaded(path)) == everything(past)
    pq.write_table(table.replace_schema_metadata(own), path, compression="none", write_batch_size=3, data_page_size=8)
    assert everything(loaded(path)) == everything(past)
    for compression in ("zstd", "snappy", "gzip"):
        pq.write_table(table.replace_schema_metadata(own), path, compression=compression)
        refused(path, "its columns are compressed")
    pq.write_table(table.replace_schema_metadata(None), path, compression="none")
    refused(path, "it has no description of a run")


@pytest.mark.parametrize("order", ["step", "value", "swapped"])
def test_rows_in_another_order_are_refused(path, table, order):
    if order == "swapped":  # two series of one length, each in the other's place
        rows = list(range(len(table)))
        rows[6:12], rows[12:18] = rows[12:18], rows[6:12]
        changed = table.take(rows)
    else:
        changed = table.sort_by(order)
    with_description(changed, path)
    refused(path)


def test_a_number_that_was_changed_is_refused(path, table):
    values = table["value"].to_pylist()
    values[7] = None
    with_description(table.set_column(4, "value", pa.array(values, pa.float64())), path)
    refused(path, "its rows are not those that were saved, or not in their order")


def test_many_series_share_their_groups_of_rows(bus, path):
    with Run("a", bus=bus) as run:
        run.log(**{f"metric {number}": float(number) for number in range(2_000)})
    run.history.save(path)
    assert pq.read_metadata(path).num_row_groups == 1
    assert everything(loaded(path)) == everything(run.history)


def test_a_long_run_comes_back(bus, path):
    with Run("a", bus=bus) as run:
        for step in range(1_200_000):
            run.log(loss=step)
    run.history.save(path)
    assert pq.read_metadata(path).num_row_groups > 1
    assert everything(loaded(path)) == everything(run.history)


def test_a_file_with_rows_left_out_or_added_is_refused(path, table):
    with_description(table.slice(1), path)
    refused(path, "it has 21 rows, and its description says 22")


@pytest.mark.parametrize(
    ("column", "numbers", "told"),
    [
        ("step", [1.5] * 22, "its columns are not step of int64, epoch of int64, value of double"),
        ("value", ["loss"] * 22, "its columns are not step of int64, epoch of int64, value of double"),
        ("value", [[1.0]] * 22, "its columns are not step of int64, epoch of int64, value of double"),
        ("step", [-1] * 22, "steps_clock[0] has to be a whole number of 0 or more, got -1.0"),
        ("step", [None] * 22, "steps_clock[0] has to be"),
        ("epoch", [None] * 22, "epochs_2[0] has to be a whole number of 0 or more, got nan"),
        ("value", [np.nan] * 22, "values_clock[0] has to be finite, got nan"),
    ],
)
def test_columns_that_do_not_fit_are_refused(path, table, column, numbers, told):
    array = pa.array(
        numbers, type=table.schema.field(column).type if isinstance(numbers[0], (int, type(None))) else None
    )
    with_description(table.set_column(table.schema.get_field_index(column), column, array), path)
    refused(path, told)


def test_a_column_that_is_missing_is_refused(path, table):
    with_description(table.drop_columns(["epoch"]), path)
    refused(path, "its columns are not step of int64")


def test_more_rows_than_the_file_has_room_for_are_not_read(path, table):
    """A number that is the same throughout takes a file hardly any room, and memory all the more."""
    rows = 40_000_000
    zeros = pa.array(np.zeros(rows, np.int64))
    nulls, values = pa.nulls(rows, "int64"), pa.array(np.zeros(rows))
    columns = {"granularity": zeros, "series": zeros, "step": zeros, "epoch": nulls, "value": values}
    with_description(pa.table(columns), path)
    assert path.stat().st_size < 8 * rows / 10
    del zeros, nulls, values, columns
    before = pa.total_allocated_bytes()
    refused(path, "its columns claim to be larger than the file")
    assert pa.total_allocated_bytes() <= before


def test_without_pyarrow_a_sentence_says_what_to_do(past, path, table, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    told = (
        r"^a \.parquet file needs pyarrow: pip install pyarrow; with any other suffix save\(\) writes NumPy's \.npz\.$"
    )
    other = path.with_name("b.parquet")
    with pytest.raises(ImportError, match=told):
        past.save(other)
    assert not other.exists()
    with pytest.raises(ImportError, match=told):
        loaded(path)
    past.save(path.with_suffix(".npz"))
    assert everything(loaded(path.with_suffix(".npz"))) == everything(past)


@pytest.fixture
def merged(path):
    """A saved run whose older points were merged."""
    with Run("a", bus=Bus(max_points=1000, strict=True)) as run:
        for step in range(5000):
            run.log(loss=float(step % 100))
    run.history.save(path)
    return run.history


def test_buckets_stand_in_the_row_of_their_first_point(merged, path):
    frame = pd.read_parquet(path)
    frame = frame[frame["series"] == "loss"]
    frame = frame[frame["granularity"] == "batch"]
    buckets = merged.batch.buckets("loss")
    own = frame[frame["bucket_count"].notna()]
    assert own["bucket_mean"].tolist() == buckets.mean.tolist()
    assert own["bucket_count"].sum() + frame["index"].isna().sum() == 5000
    assert (own["step"] >= own["bucket_first"]).all()
    assert (own["step"] <= own["bucket_last"]).all()
    assert (frame["step"] - 1)[frame["index"].notna()].tolist() == frame["index"].dropna().tolist()


@pytest.mark.parametrize(
    ("column", "change", "told"),
    [
        ("index", lambda numbers: numbers[::-1], "do not fit to these"),
        ("index", lambda numbers: [None, *numbers[1:]], "indices_0 has"),
        ("bucket_count", lambda numbers: [0 if one is not None else None for one in numbers], "do not fit to these"),
        ("bucket_count", lambda numbers: [-1 if one is not None else None for one in numbers], "bucket_count_"),
    ],
)
def test_buckets_that_do_not_fit_are_refused(merged, path, column, change, told):
    table = pq.read_table(path)
    at = [index for index, name in enumerate(table["series"].to_pylist()) if name == "loss"]
    numbers = table[column].to_pylist()
    numbers[at[0] :] = change(numbers[at[0] :])
    changed = table.set_column(table.schema.get_field_index(column), column, pa.array(numbers, pa.int64()))
    with_description(changed, path)
    refused(path, told)
