"""What a history gives away: every number again, and nothing in the place of another."""

import csv
import io
import json
import math
import stat
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochwidget import Bus, History, Run, RunStarted
from epochwidget.events import BatchEnded, EpochEnded, EpochStarted, Evaluated

FLOATS = st.floats(allow_nan=True, allow_infinity=True)


def trained(bus, *, name="resnet18"):
    with Run(name, bus=bus) as run:
        for epoch in run.epochs(2):
            for batch in run.batches(range(3)):
                values = {"grad_norm": 5.0} if batch == 2 else {}
                run.log(loss=1 / (1 + 3 * epoch + batch), **values)
            run.log_epoch(val_loss=0.1 + epoch)
        run.mark("here")
    return run.history


def evaluated_within(*events):
    made = History(RunStarted("a", "resnet18", 0.0))
    for event in events:
        made.add(event)
    return made


@pytest.fixture
def history(bus):
    return trained(bus)


@pytest.fixture
def within():
    """Two evaluations in the midst of an epoch, a third at its end beside the epoch's mean."""
    return evaluated_within(
        EpochStarted("a", 0, 0, 0.0),
        *(BatchEnded("a", 0, step - 1, step, float(step), {"loss": 1.0}) for step in range(1, 5)),
        Evaluated("a", 0, 2, 2.0, {"val_loss": 5.0}),
        Evaluated("a", 0, 4, 4.0, {"val_loss": 4.0}),
        EpochEnded("a", 0, 4, 4.0, {"loss": 1.0}),
        EpochStarted("a", 1, 4, 4.0),
        EpochEnded("a", 1, 4, 5.0, {"val_loss": 3.0}),
    )


# Frames ------------------------------------------------------------------------------------------------------------


def test_a_frame_of_epochs_has_a_row_an_epoch(history):
    frame = history.to_frame()
    assert frame.index.name == "epoch"
    assert frame.index.tolist() == [0, 1]
    assert frame.columns.tolist() == ["step", "loss", "grad_norm", "val_loss"]
    assert frame["step"].tolist() == [3, 6]
    assert frame["val_loss"].tolist() == [0.1, 1.1]
    assert frame.dtypes.astype(str).to_dict() == {
        "step": "int64",
        "loss": "float64",
        "grad_norm": "float64",
        "val_loss": "float64",
    }


def test_no_evaluation_in_the_midst_of_an_epoch_is_lost(within):
    frame = within.to_frame("epoch")
    assert frame.index.tolist() == [0, 0, 1]
    assert frame["step"].tolist() == [2, 4, 4]
    assert frame["val_loss"].tolist() == [5, 4, 3]
    np.testing.assert_array_equal(frame["loss"], [np.nan, 1, np.nan])
    assert frame.groupby("epoch").last()["val_loss"].tolist() == [4, 3]


def test_evaluations_that_share_a_step_have_rows_of_their_own():
    frame = evaluated_within(
        EpochStarted("a", 0, 0, 0.0),
        Evaluated("a", 0, 0, 1.0, {"val_loss": 2.0}),
        Evaluated("a", 0, 0, 2.0, {"val_loss": 1.0}),
        EpochEnded("a", 0, 0, 3.0, {"loss": 0.5}),
    ).to_frame()
    assert frame.index.tolist() == [0, 0]
    assert frame["val_loss"].tolist() == [2, 1]


def test_a_frame_of_batches_has_a_row_a_step(history):
    frame = history.to_frame("batch")
    assert frame.index.name == "step"
    assert frame.index.tolist() == [1, 2, 3, 4, 5, 6]
    assert frame.columns.tolist() == ["epoch", "time", "loss", "grad_norm"]
    assert frame["epoch"].tolist() == [0, 0, 0, 1, 1, 1]
    assert frame["epoch"].dtype == np.int64
    assert frame["time"].is_monotonic_increasing
    np.testing.assert_array_equal(frame["loss"], history.batch["loss"])
    np.testing.assert_array_equal(frame["grad_norm"], [np.nan, np.nan, 5, np.nan, np.nan, 5])


def test_what_nobody_knows_of_a_batch_is_nan():
    made = evaluated_within(*(BatchEnded("a", 0, 0, step, math.nan, {"loss": 1.0}) for step in (3, 7)))
    frame = made.to_frame("batch")
    assert frame.index.tolist() == [3, 7]
    assert frame[["epoch", "time"]].isna().all(axis=None)
    assert made.to_csv(granularity="batch") == "step,epoch,time,loss\n3,,,1.0\n7,,,1.0\n"


def test_polars_takes_the_frame_through_the_interchange_protocol(history):
    frame = history.to_frame("batch").reset_index()
    taken = pl.from_dataframe(frame)
    assert taken.columns == ["step", "epoch", "time", "loss", "grad_norm"]
    assert taken["loss"].to_list() == history.batch["loss"].tolist()
    assert taken["grad_norm"].null_count() == 4


def test_polars_takes_the_frame_without_pyarrow(history, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    frame = history.to_frame("batch").reset_index()
    taken = pl.from_pandas(frame, nan_to_null=False)
    assert taken.columns == ["step", "epoch", "time", "loss", "grad_norm"]
    assert taken["step"].to_list() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(taken["grad_norm"].to_numpy(), frame["grad_norm"])
    assert pl.from_pandas(frame)["grad_norm"].null_count() == 4


def test_a_series_that_is_called_as_the_rows_are_is_not_mixed_up_with_them(bus):
    with Run("a", bus=bus) as run:
        run.log(time=5.0, step=6.0, time_=7.0)
        run.log_epoch(epoch=8.0)
    frame = run.history.to_frame("batch")
    assert frame.columns.tolist() == ["epoch", "time", "time_", "step_", "time__"]
    assert frame[["time_", "step_", "time__"]].iloc[0].tolist() == [5, 6, 7]
    assert run.history.to_frame()["epoch_"].tolist() == [8]


@pytest.mark.parametrize("granularity", ["epoch", "batch"])
def test_a_run_without_values_gives_a_frame_without_rows(bus, granularity):
    with Run("a", bus=bus) as run:
        pass
    assert len(run.history.to_frame(granularity)) == 0
    assert run.history.to_csv(granularity=granularity).count("\n") == 1


def test_a_frame_is_its_readers_own(history):
    frame = history.to_frame("batch")
    frame["loss"] = 0.0
    frame.loc[1, "grad_norm"] = 9.0
    assert history.batch["loss"][0] == 1
    assert history.batch["grad_norm"].tolist() == [5, 5]


@pytest.mark.parametrize("method", ["to_frame", "to_csv"])
def test_a_granularity_that_is_none_is_refused(history, method):
    with pytest.raises(ValueError, match=r"granularity='epochs'\): it has to be 'epoch' or 'batch'\.$"):
        getattr(history, method)(granularity="epochs")


def test_without_pandas_one_sentence_says_what_to_do(history, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"^history\.to_frame\(\) needs pandas: pip install pandas\.$"):
        history.to_frame()


def test_csv_json_and_keras_need_no_pandas():
    script = (
        "import sys, epochwidget as ew\n"
        "with ew.Run('a') as run: run.log(loss=1.0); run.log_epoch(val_loss=2.0)\n"
        "h = run.history; h.to_csv(), h.to_json(), h.to_keras_history()\n"
        "print('pandas' in sys.modules)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


# CSV ---------------------------------------------------------------------------------------------------------------


def test_csv_has_the_rows_of_the_frame_and_tells_no_value_from_nan(bus):
    with Run("a,b", bus=bus) as run:
        run.log(**{"loss": math.nan, 'a "name", so': 0.1})
        run.log(loss=-math.inf)
        run.log_epoch(val_loss=1.0)
    rows = list(csv.reader(io.StringIO(run.history.to_csv(granularity="batch"))))
    assert rows[0] == ["step", "epoch", "time", "loss", 'a "name", so']
    assert [row[:2] + row[3:] for row in rows[1:]] == [["1", "0", "nan", "0.1"], ["2", "0", "-inf", ""]]


@given(st.lists(FLOATS, min_size=1, max_size=20))
def test_every_number_comes_back_from_csv_and_json(numbers):
    with Run("a", bus=Bus(strict=True)) as run:
        for number in numbers:
            run.log(loss=number)
            run.log_epoch(val_loss=number)
    history = run.history
    for granularity, name in (("batch", "loss"), ("epoch", "val_loss")):
        rows = csv.DictReader(io.StringIO(history.to_csv(granularity=granularity)))
        np.testing.assert_array_equal([float(row[name]) for row in rows], numbers)
    series = {(one["granularity"], one["name"]): one for one in strictly(history.to_json())["series"]}
    for key in (("batch", "loss"), ("epoch", "val_loss")):
        np.testing.assert_array_equal([float(value) for value in series[key]["values"]], numbers)


def test_pandas_reads_the_csv_as_the_frame(history):
    text = history.to_csv(granularity="batch")
    read = pd.read_csv(io.StringIO(text), index_col="step", float_precision="round_trip")
    pd.testing.assert_frame_equal(read, history.to_frame("batch"))


def test_a_long_run_is_written_in_full(bus):
    made = evaluated_within(EpochStarted("a", 0, 0, 0.0))
    for step in range(1, 40_001):
        made.add(BatchEnded("a", 0, step - 1, step, float(step), {"loss": 1 / step}))
    rows = list(csv.DictReader(io.StringIO(made.to_csv(granularity="batch"))))
    assert [float(row["loss"]) for row in rows] == made.batch["loss"].tolist()
    assert [int(row["step"]) for row in rows] == list(range(1, 40_001))


# JSON --------------------------------------------------------------------------------------------------------------


def strictly(text):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_frame_of_a_long_run_takes_little_more_than_itself(bus):
    """A count of bytes: the first frame is made before, so that importing pandas is not counted."""
    with Run("long", bus=bus) as run:
        for _ in range(100_000):
            run.log(loss=0.5, accuracy=0.5, lr=0.1)
    run.history.to_frame("batch")
    tracemalloc.start()
    try:
        frame = run.history.to_frame("batch")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * frame.memory_usage().sum()


def test_a_frame_of_a_run_that_goes_on_in_another_thread_is_whole(bus):
    run = Run("busy", bus=bus)

    def train():
        for _ in range(100_000):
            run.log(loss=0.5, accuracy=0.25)

    training = threading.Thread(target=train)
    training.start()
    goes_on = True
    while goes_on:
        goes_on = training.is_alive()
        frame = run.history.to_frame("batch")
        assert not frame.isna().any(axis=None)
        np.testing.assert_array_equal(frame.index, np.arange(1, len(frame) + 1))
    assert len(frame) == 100_000


def test_json_says_all_there_is(history):
    told = strictly(history.to_json())
    assert (told["format"], told["version"], told["name"], told["status"]) == (
        "epochwidget history",
        1,
        "resnet18",
        "completed",
    )
    assert [(span["epoch"], span["first"], span["batches"]) for span in told["spans"]] == [(0, 0, 3), (1, 3, 3)]
    assert [(mark["text"], mark["step"]) for mark in told["marks"]] == [("here", 6)]
    assert told["clock"]["steps"] == [1, 2, 3, 4, 5, 6]
    assert len(told["clock"]["values"]) == 6
    series = {(one["granularity"], one["name"]): one for one in told["series"]}
    assert series["batch", "grad_norm"] == {
        "name": "grad_norm",
        "granularity": "batch",
        "kind": "batch",
        "metric": "grad_norm",
        "split": "train",
        "steps": [3, 6],
        "values": [5.0, 5.0],
    }
    val = series["epoch", "val_loss"]
    assert (val["metric"], val["split"], val["kind"], val["epochs"]) == ("loss", "validation", "epoch", [0, 1])


def test_json_tells_nan_from_infinity(bus):
    with Run("a", bus=bus) as run:
        for value in (math.nan, math.inf, -math.inf, 1.0):
            run.log(loss=value)
    (series,) = strictly(run.history.to_json())["series"]
    assert series["values"] == ["NaN", "Infinity", "-Infinity", 1.0]


def test_json_tells_where_a_run_went_on(bus, history):
    with Run(bus=bus, resume=history) as run:
        run.log(loss=1.0)
    told = strictly(history.to_json())["resumed"]
    assert [(one["step"], one["epoch"]) for one in told] == [(6, None)]


# Files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["to_csv", "to_json"])
def test_a_file_holds_what_is_returned_without_a_path(history, tmp_path, method):
    path = tmp_path / "history"
    assert getattr(history, method)(path) is None
    assert path.read_bytes().decode() == getattr(history, method)()
    assert [file.name for file in tmp_path.iterdir()] == ["history"]


@pytest.mark.parametrize("method", ["to_csv", "to_json"])
def test_what_fails_leaves_the_former_file_as_it_was(history, tmp_path, method, monkeypatch):
    path = tmp_path / "history"
    path.write_text("former")

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("epochwidget.replacing.Path.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        getattr(history, method)(path)
    assert path.read_text() == "former"
    assert [file.name for file in tmp_path.iterdir()] == ["history"]


def test_a_file_keeps_its_mode_and_a_link_leads_where_it_led(history, tmp_path):
    path, link = tmp_path / "history.csv", tmp_path / "link.csv"
    path.write_text("former")
    path.chmod(0o640)
    link.symlink_to(path)
    history.to_csv(str(link))
    assert link.is_symlink()
    assert path.read_text() == history.to_csv()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_folder_that_is_not_there_is_named(history, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*nowhere'; make it first\.$"):
        history.to_csv(tmp_path / "nowhere" / "history.csv")
    with pytest.raises(OSError, match="the run 'resnet18 · run 1' was not saved"):
        history.to_json(tmp_path)
    with pytest.raises(TypeError, match="needs the path of a file, got 3"):
        history.to_json(3)


# Keras -------------------------------------------------------------------------------------------------------------


def test_keras_history_has_one_value_an_epoch(history, within):
    assert history.to_keras_history()["val_loss"] == [0.1, 1.1]
    assert within.to_keras_history() == {"val_loss": [4.0, 3.0], "loss": [1.0]}


def test_keras_history_is_what_keras_calls_so(bus):
    keras = pytest.importorskip("keras")
    from epochwidget.callbacks.keras import EpochCallback

    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    x, y = np.ones((8, 2)), np.ones(8)
    callback = EpochCallback(bus=bus)
    told = model.fit(
        x, y, epochs=5, batch_size=4, validation_data=(x, y), validation_freq=2, verbose=0, callbacks=[callback]
    )
    assert callback.history.to_keras_history() == told.history
