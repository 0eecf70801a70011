"""What frameworks leave behind, shown: files that they wrote themselves, and files that nobody should believe."""

import csv
import json
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import epochwidget as ew
from epochwidget import Bus, EpochWidget, Run, wire
from tests.frames import Page, read


def series(history, name, granularity="epoch"):
    return history.find(name, granularity).series


def told(history, name, granularity="epoch"):
    found = series(history, name, granularity)
    return found.kind, found.metric, found.split


def spans(history):
    return [(span.epoch, span.first, span.batches) for span in history.spans]


def refused(read, given, match, error=ValueError):
    """One sentence, and nothing on the bus."""
    bus = Bus(strict=True)
    with pytest.raises(error, match=match) as caught:
        read(given, bus=bus)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    assert len(bus.runs) == 0


# On the bus ---------------------------------------------------------------------------------------------------------


def test_an_imported_run_is_a_run_as_any_other(bus):
    history = ew.from_keras({"loss": [2.0, 1.0], "val_loss": [3.0, math.nan]}, "former", bus=bus)
    assert bus.runs[-1] is history
    assert (history.name, history.status, history.elapsed) == ("former", "completed", 0)
    assert history.watching < 1e-3
    page = Page()
    (run,) = read(wire.snapshot([history])[0])["runs"]
    page.take(run)
    drawn = page.drawn()["epoch", "val_loss"]
    assert [(step, epoch) for _, step, epoch in drawn] == [(0, 0), (0, 1)]
    assert drawn[0][0] == 3
    assert math.isnan(drawn[1][0])


def test_a_widget_shows_it_and_by_default_it_is_on_the_shared_bus():
    widget = EpochWidget()
    try:
        history = ew.from_keras({"loss": [1.0]}, "shared")
        assert ew.runs[-1] is history
        assert b'"shared' in widget._snapshot
    finally:
        widget.close()
        ew.runs.clear()


def test_a_run_that_was_read_can_go_on(bus):
    history = ew.from_keras({"loss": [2.0, 1.0]}, bus=bus)
    with Run(bus=bus, resume=history) as run:
        for _ in run.epochs(3):
            run.log(loss=0.5)
    assert history.epoch["loss"].tolist() == [2, 1, 0.5]
    assert len(history.clock) == 1


def test_a_run_that_was_read_can_be_saved(bus, tmp_path):
    rows = lightning_rows(tmp_path, "0,1,1,\n0,2,2,\n0,2,,3\n")
    history = ew.from_lightning(rows, bus=bus)
    history.save(tmp_path / "run.npz")
    again = ew.load(tmp_path / "run.npz", bus=Bus(strict=True))
    assert again.to_csv(granularity="batch") == history.to_csv(granularity="batch")
    assert again.to_csv() == history.to_csv()


def test_a_bus_or_a_name_that_is_none_is_refused(bus):
    with pytest.raises(TypeError, match=r"needs an epochwidget\.Bus"):
        ew.from_keras({"loss": [1.0]}, bus=3)
    with pytest.raises(ValueError, match="name of a run is empty"):
        ew.from_keras({"loss": [1.0]}, " ", bus=bus)
    assert len(bus.runs) == 0


READERS = [ew.from_keras, ew.from_lightning, ew.from_fastai, ew.from_transformers, ew.from_tensorboard]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_what_is_not_there_is_named(reader, tmp_path):
    refused(reader, tmp_path / "nowhere", r"There is no (file|folder) '.*nowhere'", FileNotFoundError)
    refused(reader, 3, "got 3", TypeError)


@pytest.mark.parametrize("reader", READERS[:-1], ids=lambda reader: reader.__name__)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(content=st.one_of(st.binary(max_size=200), st.text(alphabet='",\n0123456789.eponchstploss_{}[]:', max_size=200)))
def test_whatever_else_there_is_in_a_file_is_refused(reader, content, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(reader, path, "is not a")


# Keras -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras_fit(tmp_path_factory):
    keras = pytest.importorskip("keras")
    folder = tmp_path_factory.mktemp("keras")
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)], name="small")
    model.compile("sgd", "mse", metrics=["mae"])
    x, y = np.random.default_rng(0).normal(size=(8, 2)), np.ones(8)
    fitted = model.fit(
        x,
        y,
        epochs=4,
        batch_size=4,
        validation_data=(x, y),
        validation_freq=2,
        verbose=0,
        callbacks=[
            keras.callbacks.CSVLogger(str(folder / "log.csv")),
            keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1)),
        ],
    )
    return fitted, folder


def test_what_keras_fit_returned(keras_fit, bus):
    fitted, _ = keras_fit
    history = ew.from_keras(fitted, validation_freq=2, bus=bus)
    assert history.name == "small"
    assert history.to_keras_history() == fitted.history
    assert history.epoch.epochs("loss").tolist() == [0, 1, 2, 3]
    assert history.epoch.steps("loss").tolist() == [2, 4, 6, 8]
    assert history.epoch.epochs("val_loss").tolist() == [1, 3]
    assert spans(history) == [(0, 0, 2), (1, 2, 2), (2, 4, 2), (3, 6, 2)]
    assert told(history, "val_mae") == ("epoch", "mae", "validation")
    assert told(history, "learning_rate") == ("epoch", "learning rate", "train")
    assert dict(history.batch) == {}


def test_the_dict_of_it_kept_in_json(keras_fit, bus):
    kept = json.loads(json.dumps(keras_fit[0].history))
    history = ew.from_keras(kept, validation_freq=[2, 4], bus=bus)
    assert history.to_keras_history() == kept
    assert (history.name, history.step) == ("run 1", 0)


def test_which_epochs_were_validated_is_not_guessed(keras_fit):
    refused(ew.from_keras, keras_fit[0], r"'val_loss' has 2 values and there are 4 epochs.*validation_freq=2\.$")


def test_the_file_of_keras_csvlogger(keras_fit, bus):
    fitted, folder = keras_fit
    history = ew.from_keras(folder / "log.csv", bus=bus)
    assert history.name == "log"
    assert history.epoch["mae"].tolist() == fitted.history["mae"]
    assert history.epoch["val_loss"].tolist() == fitted.history["val_loss"]
    assert history.epoch.epochs("val_loss").tolist() == [1, 3]


def test_a_metric_of_several_numbers_is_a_series_for_each(bus):
    history = ew.from_keras({"loss": [1.0, 2.0], "f1_score": [[0.1, 0.2], [0.3, 0.4]]}, bus=bus)
    assert history.epoch["f1_score_1"].tolist() == [0.2, 0.4]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "nothing has been trained"),
        ({"loss": []}, "nothing has been trained"),
        ({"loss": [1.0], "acc": [1.0, 2.0]}, "'loss' has 1 values and there are 2 epochs"),
        ({"loss": ["high"]}, r"'loss' has to be a list of numbers, got \['high'\]"),
        ({"loss": 3.0}, "'loss' has to be a list of numbers"),
        ({" ": [3.0]}, "name of a metric is empty"),
    ],
)
def test_a_dict_that_is_none_of_keras_is_refused(given, match):
    bus = Bus(strict=True)
    with pytest.raises(ValueError, match=match):
        ew.from_keras(given, bus=bus)
    assert len(bus.runs) == 0


def test_how_often_was_validated_has_to_be_a_count():
    with pytest.raises(ValueError, match=r"validation_freq=0\): it has to be 1 or more"):
        ew.from_keras({"loss": [1.0]}, validation_freq=0, bus=Bus())


# Lightning ---------------------------------------------------------------------------------------------------------


def lightning_fit(folder, logger, **options):
    """Train 3 epochs of 10 batches, of which every third is logged, validating twice in each; then test."""
    import torch
    from lightning import pytorch as pl
    from lightning.pytorch.callbacks import LearningRateMonitor
    from torch.utils.data import DataLoader, TensorDataset

    from epochwidget.callbacks.lightning import EpochCallback

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def loss(self, batch):
            return ((self.layer(batch[0]) - batch[1]) ** 2).mean()

        def training_step(self, batch, index):
            loss = self.loss(batch)
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            self.log("of_batch", loss)
            self.log("of_epoch", loss, on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch, index):
            self.log("val_loss", self.loss(batch))
            self.log("val_both", self.loss(batch), on_step=True, on_epoch=True)

        def test_step(self, batch, index):
            self.log("test_loss", self.loss(batch))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.01, momentum=0.9)

    def loader(count):
        return DataLoader(TensorDataset(torch.randn(count, 4), torch.ones(count, 1)), batch_size=4)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        callback = EpochCallback(bus=Bus(strict=True))
        trainer = pl.Trainer(
            max_epochs=3,
            log_every_n_steps=3,
            logger=logger,
            callbacks=[callback, LearningRateMonitor("step", log_momentum=True)],
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            accelerator="cpu",
            default_root_dir=folder,
            **{"val_check_interval": 0.5, **options},
        )
        module = Module()
        trainer.fit(module, loader(40), loader(8))
        trainer.validate(module, loader(8), verbose=False)
        trainer.test(module, loader(8), verbose=False)
    return callback.history


@pytest.fixture(scope="module")
def lightning_run(tmp_path_factory):
    pytest.importorskip("lightning")
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    folder = tmp_path_factory.mktemp("lightning")
    loggers = [CSVLogger(folder, name="csv"), TensorBoardLogger(folder, name="tb")]
    return lightning_fit(folder, loggers), folder


def test_lightning_csv_says_what_the_callback_says(lightning_run, bus, caplog):
    live, folder = lightning_run
    history = ew.from_lightning(folder / "csv" / "version_0", bus=bus)
    assert history.name == "version_0"
    assert history.step == live.step == 30
    assert [span[:2] for span in spans(history)] == [span[:2] for span in spans(live)] == [(0, 0), (1, 10), (2, 20)]
    for name in ("train_loss", "of_batch"):
        steps = history.batch.steps(name).astype(int)
        assert steps.tolist() == [3, 6, 9, 12, 15, 18, 21, 24, 27, 30]
        np.testing.assert_array_equal(history.batch[name], live.batch[name][steps - 1])
        assert told(history, name, "batch") == told(live, name, "batch")
    for name in ("train_loss", "of_epoch"):
        np.testing.assert_array_equal(history.epoch[name], live.epoch[name])
        assert history.epoch.steps(name).tolist() == [10, 20, 30]
        assert told(history, name) == told(live, name)
    for name in ("val_loss", "val_both"):  # the last of them after the fit
        np.testing.assert_array_equal(history.epoch[name][:6], live.epoch[name])
        assert history.epoch.steps(name).tolist() == [5, 10, 15, 20, 25, 30, 30]
        assert history.epoch.epochs(name).tolist() == [0, 0, 1, 1, 2, 2, 2]
        assert told(history, name) == told(live, name)
    assert told(history, "test_loss") == ("epoch", "loss", "validation")
    assert history.epoch.steps("test_loss").tolist() == [30]
    assert told(history, "lr-SGD", "batch") == ("batch", "learning rate", "train")
    assert told(history, "lr-SGD-momentum", "batch") == ("batch", "momentum", "train")
    assert "left out" in caplog.text
    assert "val_both_step" in caplog.text
    assert (len(history.clock), history.elapsed) == (0, 0)
    assert history.to_frame("batch")["time"].isna().all()


LIGHTNING = "epoch,step,x,val_loss\n"


def lightning_rows(tmp_path, rows, header=LIGHTNING):
    path = tmp_path / "metrics.csv"
    path.write_text(header + rows)
    return path


@pytest.mark.parametrize(
    ("rows", "granularity", "kind"),
    [
        ("0,9,1,\n0,9,,2\n1,19,1,\n1,19,,2\n", "batch", "batch"),
        ("0,9,,2\n0,9,1,\n1,19,,2\n1,19,1,\n", "epoch", "epoch"),
        ("0,9,1,\n1,19,1,\n", "epoch", "reported"),
        ("0,4,1,\n0,9,1,\n1,19,1,\n", "batch", "batch"),
        ("0,4,1,\n0,9,,1\n1,14,1,\n", "batch", "batch"),
    ],
    ids=["before the validation", "after it", "nothing tells", "several", "not at the end"],
)
def test_the_rows_tell_what_a_name_does_not(tmp_path, bus, rows, granularity, kind):
    history = ew.from_lightning(lightning_rows(tmp_path, rows), bus=bus)
    assert told(history, "x", granularity) == (kind, "x", "train")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", "its first line names no column 'step'"),
        ("a,b\n1,2\n", "its first line names no column 'step'"),
        ("step,loss\n1,2\n", "its first line names no column 'epoch'"),
        (LIGHTNING, "there are no values in it"),
        (LIGHTNING + "0,9,1,2\n0,9,1", "its last line has no end"),
        (LIGHTNING + "0,9,1,2\n0,9,1\n", "line 3 has 3 cells and the first one 4"),
        (LIGHTNING + "0,9,__import__('os'),2\n", "line 2, column 'x': .* is no number"),
        (LIGHTNING + "0,9,1_0,2\n", "line 2, column 'x': '1_0' is no number"),
        (LIGHTNING + "0,-9,1,2\n", "line 2, column 'step': '-9' is no count"),
        (LIGHTNING + "0.5,9,1,2\n", "line 2, column 'epoch': '0.5' is no count"),
        (LIGHTNING + "0,1e300,1,2\n", "line 2, column 'step': '1e300' is no count"),
        (LIGHTNING + "0,,1,2\n", "line 2 tells no step"),
        (LIGHTNING + ",3,1,2\n", "none of its rows tells an epoch"),
        (LIGHTNING + "0,9,1,2\n0,3,1,2\n", "line 3: its step or epoch is before that of the row above"),
        ("epoch,step,x,x\n0,9,1,2\n", "two of its columns have one name"),
        (LIGHTNING + '0,9,1,"2\n', "line 2: unexpected end of data"),
        (LIGHTNING + f"0,9,1,{'2' * 200_000}\n", "field larger than field limit"),
        (b"\xff\xfe\x00", "it is no text in UTF-8"),
        ("epoch,step,x\0,\n0,9,1,2\n", "its column 3 has no name that can be read"),
    ],
)
def test_a_broken_file_of_lightnings_is_refused(tmp_path, content, match):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(ew.from_lightning, path, rf"metrics\.csv' is not a metrics\.csv of Lightning's CSVLogger.*: {match}")


@given(st.lists(st.floats(), min_size=1, max_size=10))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_every_number_is_read_as_it_was_written(tmp_path, numbers):
    path = tmp_path / "metrics.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "epoch", "loss"])
        writer.writerows([[step, 0, number] for step, number in enumerate(numbers)] + [[len(numbers), 0, 1.0]])
    history = ew.from_lightning(path, bus=Bus(strict=True))
    np.testing.assert_array_equal(history.batch["loss"], [*numbers, 1.0])


# fastai ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fastai_files(tmp_path_factory):
    pytest.importorskip("fastai")
    import torch
    from fastai.callback.progress import CSVLogger
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.learner import Learner
    from torch.utils.data import TensorDataset

    from epochwidget.callbacks.fastai import EpochCallback

    folder = tmp_path_factory.mktemp("fastai")

    def error(predicted, true):
        return (predicted - true).abs().mean()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaders = [
            DataLoader(TensorDataset(torch.randn(count, 4), torch.randn(count, 1)), bs=4, num_workers=0)
            for count in (16, 8)
        ]
        learn = Learner(
            DataLoaders(*loaders, device="cpu"),
            torch.nn.Linear(4, 1),
            loss_func=torch.nn.MSELoss(),
            metrics=[error],
            path=folder,
        )
        callback = EpochCallback(bus=Bus(strict=True))
        with learn.no_bar(), learn.no_logging():
            learn.fit(2, cbs=[CSVLogger()])
            learn.fit(3, cbs=[CSVLogger(append=True), callback])
    return callback.history, folder


def test_fastai_csv_says_what_the_callback_says(fastai_files, bus):
    live, folder = fastai_files
    history = ew.from_fastai(folder, bus=bus)
    assert [len(one.spans) for one in bus.runs] == [2, 3], "each fit is a run"
    assert history is bus.runs[-1]
    assert history.name == "history"
    for name in ("train_loss", "valid_loss", "error"):
        np.testing.assert_array_equal(history.epoch[name], live.epoch[name])
        assert told(history, name) == told(live, name)
    assert history.epoch.epochs("error").tolist() == [0, 1, 2]
    assert "loss" not in history.epoch


def test_fastai_csv_tells_times_and_what_was_not_measured(tmp_path, bus):
    path = tmp_path / "a.csv"
    path.write_text("epoch,train_loss,train_acc,valid_loss,acc,acc,time\n0,1,2,None,3,4,00:12\n1,1,2,5,nan,6,1:00:01\n")
    history = ew.from_fastai(path, bus=bus)
    assert history.elapsed == 12 + 3601
    assert [span.time for span in history.spans] == [0, 12]
    assert history.epoch.epochs("valid_loss").tolist() == [1]
    assert told(history, "train_acc") == ("epoch", "acc", "train")
    assert told(history, "acc_1")[2] == "validation"
    np.testing.assert_array_equal(history.epoch["acc"], [3, np.nan])


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("epoch,loss\n0,1\n", "names no column 'train_loss'"),
        ("epoch,train_loss,time\n0,1,a while\n", "column 'time': 'a while' is no time"),
        ("epoch,train_loss\n,1\n", "line 2 tells no epoch"),
        ("epoch,train_loss\n0,1\n0,tensor([1", "no end"),
    ],
)
def test_a_broken_file_of_fastais_is_refused(tmp_path, content, match):
    path = tmp_path / "history.csv"
    path.write_text(content)
    refused(ew.from_fastai, path, rf"history\.csv' is not a file of fastai's CSVLogger.*: .*{match}")


# Hugging Face ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trainer_run(tmp_path_factory):
    pytest.importorskip("transformers")
    import torch
    from transformers import Trainer, TrainingArguments

    from epochwidget.callbacks.transformers import EpochCallback

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def forward(self, x, labels=None):
            predicted = self.layer(x)
            return {"loss": ((predicted - labels) ** 2).mean(), "logits": predicted}

    data = [{"x": torch.randn(4), "labels": torch.ones(1)} for _ in range(40)]
    folder = tmp_path_factory.mktemp("trainer")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = TrainingArguments(
            str(folder),
            num_train_epochs=3,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=3,
            logging_steps=4,
            eval_strategy="steps",
            eval_steps=5,
            save_strategy="epoch",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        callback = EpochCallback(bus=Bus(strict=True))
        trainer = Trainer(Model(), arguments, train_dataset=data, eval_dataset=data, callbacks=[callback])
        trainer.train()
        trainer.save_state()
    return callback.history, folder


def test_trainer_state_says_what_the_callback_says(trainer_run, bus):
    live, folder = trainer_run
    history = ew.from_transformers(folder, bus=bus)
    assert (history.name, history.status, history.step) == (folder.name, "completed", live.step)
    assert spans(history) == spans(live) == [(0, 0, 4), (1, 4, 4), (2, 8, 4)]
    for name in ("loss", "grad_norm"):
        np.testing.assert_array_equal(history.batch[name], live.batch[name])
        np.testing.assert_array_equal(history.batch.steps(name), live.batch.steps(name))
        assert told(history, name, "batch") == told(live, name, "batch")
    assert told(history, "loss", "batch")[0] == "window"
    assert told(history, "learning_rate", "batch") == ("reported", "learning rate", "train")
    np.testing.assert_array_equal(history.epoch["eval_loss"], live.epoch["eval_loss"])
    np.testing.assert_array_equal(history.epoch.steps("eval_loss"), live.epoch.steps("eval_loss"))
    np.testing.assert_array_equal(history.epoch.epochs("eval_loss"), live.epoch.epochs("eval_loss"))
    assert told(history, "eval_loss") == told(live, "eval_loss")
    assert set(history.epoch) == {"eval_loss"}, "what sums up the training is of no epoch"
    assert 0 < history.elapsed < 600
    assert [span.time for span in history.spans] == [0, 0, 0], "nobody knows"


def test_a_checkpoint_is_of_a_run_that_was_stopped(trainer_run, bus):
    _, folder = trainer_run
    history = ew.from_transformers(folder / "checkpoint-8" / "trainer_state.json", bus=bus)
    assert (history.name, history.status, history.step) == ("checkpoint-8", "stopped", 8)
    assert len(history.batch["loss"]) == 2


def trainer_state(tmp_path, log, **facts):
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"log_history": log, **facts}))
    return path


def test_trainer_state_tells_sets_apart_and_keeps_nan(tmp_path, bus):
    path = trainer_state(
        tmp_path,
        [
            {"step": 0, "epoch": 0, "eval_loss": 3.0, "eval_runtime": 1.0},
            {"step": 5, "epoch": 0.5, "loss": math.nan, "note": "text"},
            {"step": 10, "epoch": 1.0, "eval_loss": math.inf, "eval_runtime": 1.0, "eval_samples_per_second": 4},
            {"step": 10, "epoch": 1.0, "test_acc": 0.5, "test_runtime": 1.0},
            {"step": 12, "epoch": 1.2, "loss": 1.0, "reward": 2},
        ],
        epoch=1.2,
        global_step=12,
    )
    history = ew.from_transformers(path, bus=bus)
    np.testing.assert_array_equal(history.batch["loss"], [np.nan, 1])
    assert told(history, "reward", "batch") == ("reported", "reward", "train")
    assert told(history, "test_acc") == ("epoch", "acc", "validation")
    assert history.epoch["eval_loss"].tolist() == [3, math.inf]
    assert history.epoch.steps("eval_loss").tolist() == [0, 10]
    assert "note" not in history.batch
    assert spans(history) == [(0, 0, 10), (1, 10, 10)]


def test_what_was_evaluated_twice_at_a_step_is_there_twice(tmp_path, bus):
    log = [{"step": 10, "epoch": 1.0, "eval_loss": value, "eval_runtime": 1.0} for value in (2.0, 1.0)]
    history = ew.from_transformers(trainer_state(tmp_path, log, epoch=1.0, global_step=10), bus=bus)
    assert history.epoch["eval_loss"].tolist() == [2, 1]
    assert history.epoch.steps("eval_loss").tolist() == [10, 10]
    assert history.to_frame()["eval_loss"].tolist() == [2, 1]


def test_epochs_of_another_length_lie_where_their_entries_say(tmp_path, bus):
    log = [{"step": s, "epoch": e, "loss": 1.0} for s, e in ((10, 0.5), (20, 1.0), (25, 2.0), (27, 2.4))]
    history = ew.from_transformers(trainer_state(tmp_path, log, epoch=2.4, global_step=27), bus=bus)
    assert [span[:2] for span in spans(history)] == [(0, 0), (1, 20), (2, 25)]
    assert history.batch.epochs("loss").tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", "it is no JSON"),
        ('{"log_history": [{"step": 1, "lo', "it is no JSON"),
        ("[" * 100_000, "it cannot be read"),
        ("[1]", "there is no log_history in it"),
        ('{"log_history": []}', "there is no log_history in it"),
        ('{"log_history": [{"loss": 1}]}', "entry 0 of its log_history tells no step"),
        ('{"log_history": [{"step": true, "loss": 1}]}', "entry 0 of its log_history tells no step"),
        ('{"log_history": [{"step": -1, "loss": 1}]}', "entry 0 of its log_history tells no step"),
        ('{"log_history": [3]}', "entry 0 of its log_history tells no step"),
        ('{"log_history": [{"step": 1, "loss": "1"}]}', "the loss '1' is no number"),
        ('{"log_history": [{"step": 1}]}', "there are no values in its log_history"),
        ('{"log_history": [{"step": 2, "loss": 1}, {"step": 1, "loss": 1}]}', "the steps in its log_history go back"),
        (f'{{"log_history": [{{"step": {"9" * 5000}, "loss": 1}}]}}', "it cannot be read"),
    ],
)
def test_a_broken_trainer_state_is_refused(tmp_path, content, match):
    path = tmp_path / "trainer_state.json"
    path.write_text(content)
    refused(ew.from_transformers, path, rf"trainer_state\.json' is not a trainer_state\.json.*: .*{match}")


def test_a_trainer_state_with_absurd_counts_takes_no_memory(tmp_path, bus):
    log = [{"step": 5, "epoch": 5.0, "loss": 1.0}, {"step": 6, "epoch": 1e300, "loss": 1.0}]
    path = trainer_state(tmp_path, log, epoch=2.0**52, global_step=2**52, max_steps=10**30)
    assert ew.from_transformers(path, bus=bus).batch["loss"].tolist() == [1, 1]


# TensorBoard -------------------------------------------------------------------------------------------------------


@pytest.fixture
def writer_for(tmp_path):
    pytest.importorskip("tensorboard")
    tensorboard = pytest.importorskip("torch.utils.tensorboard")

    def write(folder, scalars, **options):
        with tensorboard.SummaryWriter(str(tmp_path / folder), **options) as writer:
            for tag, step, value, wall in scalars:
                writer.add_scalar(tag, value, step, walltime=wall)
        return tmp_path / folder

    return write


def test_tensorboards_scalars(writer_for, bus):
    logdir = writer_for(
        "run1",
        [(tag, step, step / 10, 1e9 + step) for step in range(1, 31) for tag in ("Loss/train", "lr")]
        + [("val/loss", 20, math.nan, 1e9 + 40), ("count", 3, 1.0, 1e9 + 50)],
    )
    history = ew.from_tensorboard(logdir, bus=bus)
    assert (history.name, history.started, history.elapsed) == ("run1", 1e9 + 1, 29)
    np.testing.assert_allclose(history.batch["Loss/train"], np.arange(1, 31) / 10, rtol=1e-6)
    assert history.batch.steps("Loss/train").tolist() == list(range(1, 31))
    assert np.isnan(history.batch["val/loss"]).tolist() == [True]
    assert told(history, "Loss/train", "batch") == ("reported", "loss", "train")
    assert told(history, "val/loss", "batch") == ("reported", "loss", "validation")
    assert told(history, "lr", "batch") == ("reported", "learning rate", "train")
    assert history.clock.values.array().tolist() == list(range(30))
    assert history.spans == []
    assert np.isnan(history.batch.epochs("lr")).all()
    (run,) = read(wire.snapshot([history])[0])["runs"]
    assert run["epoch"] is None


def test_a_damaged_file_of_tensorboards_is_refused_and_one_that_is_being_written_is_not(writer_for, bus):
    """Its own reader stops at the damage and says nothing."""
    logdir = writer_for("a", [("loss", step, step, 1e9 + step) for step in range(50)])
    (path,) = logdir.iterdir()
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in [*rng.integers(0, len(whole), 30).tolist(), 0, 8, len(whole) - 1]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        refused(ew.from_tensorboard, logdir, r"is damaged")
    path.write_bytes(whole[:-3])
    assert ew.from_tensorboard(logdir, bus=bus).batch["loss"].tolist() == list(range(49))


def test_more_points_than_tensorboard_shows(writer_for, bus):
    logdir = writer_for("a", [("loss", step, step, 1e9 + step) for step in range(12_000)])
    assert ew.from_tensorboard(logdir, bus=bus).batch["loss"].tolist() == list(range(12_000))


def test_a_tag_that_counts_other_steps_turns_no_clock_back(writer_for, bus):
    logdir = writer_for("a", [("loss", 10, 1, 1e9), ("loss", 20, 1, 1e9 + 1), ("val", 2, 1, 1e9 + 5)])
    history = ew.from_tensorboard(logdir, bus=bus)
    assert history.clock.steps.array().tolist() == [10, 20]
    assert history.clock.values.array().tolist() == [0, 1]


def test_lightnings_event_files(lightning_run, bus, caplog):
    live, folder = lightning_run
    history = ew.from_tensorboard(folder / "tb" / "version_0", bus=bus)
    np.testing.assert_array_equal(history.batch["train_loss_epoch"], live.epoch["train_loss"].astype(np.float32))
    assert {points.series.kind for points in history.points} == {"reported"}
    assert told(history, "test_loss", "batch")[2] == "validation"
    assert "val_both_step" in caplog.text, "it counts each validation's batches"


def test_keras_event_files(tmp_path, bus):
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((8, 2)), np.ones(8)
    fitted = model.fit(
        x,
        y,
        epochs=3,
        validation_data=(x, y),
        verbose=0,
        callbacks=[keras.callbacks.TensorBoard(str(tmp_path / "logs"))],
    )
    history = ew.from_tensorboard(tmp_path / "logs", bus=bus)
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(history.epoch[name], fitted.history[name], rtol=1e-6)
        assert history.epoch.epochs(name).tolist() == [0, 1, 2]
    assert told(history, "val_loss") == ("epoch", "loss", "validation")
    assert history.elapsed > 0


def test_folders_that_are_no_single_training_are_refused(writer_for, tmp_path):
    logdir = writer_for("a", [("loss", 1, 1.0, 1e9)])
    writer_for("b", [("loss", 1, 1.0, 1e9)])
    refused(ew.from_tensorboard, tmp_path, r"give one of its folders \['a', 'b'\]")
    writer_for("a", [("loss", 0, 1.0, 1e9 + 9)], filename_suffix=".later")
    refused(ew.from_tensorboard, logdir, r"the steps of 'loss' go back")
    (first, _) = sorted(logdir.iterdir(), key=lambda file: file.name.endswith(".later"))
    assert ew.from_tensorboard(first, bus=Bus(strict=True)).batch["loss"].tolist() == [1]
    stepless = writer_for("c", [("loss", None, 1.0, 1e9), ("loss", None, 2.0, 1e9)])
    refused(ew.from_tensorboard, stepless, "its scalars were written without steps")


def test_event_files_that_are_none_are_refused(tmp_path, writer_for):
    refused(ew.from_tensorboard, tmp_path, "there are no event files in it")
    (tmp_path / "events.out.tfevents.1.host").write_bytes(b"\x00\xff" * 500)
    refused(ew.from_tensorboard, tmp_path, "there are no scalars in it|cannot read it|is damaged")
    empty = writer_for("empty", [])
    refused(ew.from_tensorboard, empty, "there are no scalars in it")


def test_an_event_file_that_was_cut_off_is_read_as_far_as_it_goes(writer_for, bus):
    logdir = writer_for("a", [("loss", step, step, 1e9 + step) for step in range(10)])
    (file,) = logdir.iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    assert ew.from_tensorboard(logdir, bus=bus).batch["loss"].tolist() == list(range(9))


def test_without_tensorboard_one_sentence_says_what_to_do(writer_for, monkeypatch):
    logdir = writer_for("a", [("loss", 1, 1.0, 1e9)])
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing", None)
    refused(
        ew.from_tensorboard,
        logdir,
        r"^ew\.from_tensorboard\(\) needs TensorBoard: pip install tensorboard\.$",
        ImportError,
    )


def test_only_tensorboards_files_need_more_than_the_core(tmp_path):
    path = lightning_rows(tmp_path, "0,1,1,\n0,2,2,\n")
    script = (
        "import sys, epochwidget as ew\n"
        f"ew.from_lightning({str(path)!r})\n"
        "ew.from_keras({'loss': [1.0]})\n"
        "print([name for name in ('keras', 'lightning', 'torch', 'tensorboard', 'pandas') if name in sys.modules])\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"
