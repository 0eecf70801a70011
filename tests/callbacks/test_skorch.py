"""skorch: real nets, real ``fit``."""

from __future__ import annotations

import copy
import importlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skorch
import torch
from IPython.core.interactiveshell import InteractiveShell
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import BatchScoring, Callback, Checkpoint, EarlyStopping, EpochScoring, LRScheduler
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from skorch.history import DistributedHistory
from torch import nn
from torch.distributed import HashStore
from traitlets.config import Config

import epochwidget as ew
from epochwidget.callbacks import skorch as adapter
from epochwidget.callbacks.skorch import EpochCallback

from . import contract

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 5)).astype("float32")
Y = (X.sum(1) > 0).astype("int64")
FAILED = "not all of the training can be shown"


@pytest.fixture(autouse=True)
def nothing_of_ours_failed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Failures are logged and not raised, so that none would be seen."""
    yield
    assert not [record for record in caplog.get_records("call") if FAILED in record.message]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small steps on a busy machine are slower with more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Small(nn.Module):
    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def classifier(*callbacks: Any, **how: Any) -> NeuralNetClassifier:
    torch.manual_seed(7)
    given = {"lr": 0.05, "batch_size": 32, "max_epochs": 2, "verbose": 0, "iterator_train__shuffle": True} | how
    return NeuralNetClassifier(Small, criterion=nn.CrossEntropyLoss, callbacks=list(callbacks), **given)


def callback(name: str | None = None) -> EpochCallback:
    return EpochCallback(name, bus=ew.Bus(strict=True))


def weights(net: NeuralNetClassifier) -> np.ndarray:
    return torch.cat([parameter.detach().flatten() for parameter in net.module_.parameters()]).numpy()


def agrees(history: ew.History, net: NeuralNetClassifier, *, since: int = 0) -> None:
    """Assert that every number is the one that skorch itself reports."""
    rows = list(net.history)[since:]
    names = {name for row in rows for name in row if name in history.epoch}
    assert {"train_loss"} <= names
    for name in names:
        assert history.epoch[name] == pytest.approx([row[name] for row in rows if name in row], rel=1e-6), name
    batches = [batch for row in rows for batch in row["batches"] if "train_loss" in batch]
    assert history.batch["loss"] == pytest.approx([batch["train_loss"] for batch in batches], rel=1e-6)


def test_fit_keeps_the_contract() -> None:
    bus = contract.Recorder()
    net = NeuralNetRegressor(
        Linear,
        lr=contract.FIRST_RATE,
        batch_size=contract.BATCH_SIZE,
        max_epochs=contract.EPOCHS,
        train_split=predefined_split(Dataset(contract.X_VAL, contract.Y_VAL)),
        verbose=0,
        # The scheduler comes first: after a batch it has already set the next one's rate.
        callbacks=[
            LRScheduler(torch.optim.lr_scheduler.ExponentialLR, gamma=contract.DECAY, step_every="batch"),
            EpochCallback("linear", bus=bus),
        ],
    )
    net.fit(contract.X, contract.Y)
    history = contract.check(bus, train="train_loss", validation="valid_loss")
    agrees(history, net)
    assert history.name == "linear"
    assert list(history.epoch) == ["train_loss", "valid_loss"]
    assert list(history.batch) == ["loss", "lr"]


@pytest.mark.parametrize("ours_first", [True, False], ids=["before", "after"])
def test_every_score_of_an_epoch_arrives_wherever_its_callback_stands(ours_first: bool, tmp_path: Path) -> None:
    """Scores, their splits and kinds; durations, counts, best marks and events stay out."""

    class Norm(Callback):  # type: ignore[misc]
        def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
            net.history.record("weight_norm", float(np.linalg.norm(weights(net))))
            net.history.record("note", "text")

    watch = callback()
    others = [
        EpochScoring("roc_auc", lower_is_better=False),
        EpochScoring("accuracy", on_train=True, name="train_acc", lower_is_better=False),
        BatchScoring("accuracy", on_train=True, name="batch_acc", lower_is_better=False),
        LRScheduler(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5),
        Checkpoint(dirname=tmp_path, f_params=None, f_optimizer=None, f_criterion=None, f_history=None),
        Norm(),
    ]
    net = classifier(*([watch, *others] if ours_first else [*others, watch])).fit(X, Y)
    epoch = watch.history.epoch
    agrees(watch.history, net)
    assert {name: (s.metric, s.split, s.kind) for name in epoch for s in [epoch.series(name)]} == {
        "train_loss": ("loss", "train", "epoch"),
        "valid_loss": ("loss", "validation", "epoch"),
        "valid_acc": ("acc", "validation", "epoch"),
        "roc_auc": ("roc_auc", "validation", "epoch"),
        "train_acc": ("acc", "train", "epoch"),
        "batch_acc": ("batch_acc", "train", "epoch"),
        "weight_norm": ("weight_norm", "train", "reported"),
    }
    assert {len(epoch[name]) for name in epoch} == {2}
    if not ours_first:
        kept = [batch["batch_acc"] for row in net.history for batch in row["batches"] if "batch_acc" in batch]
        assert watch.history.batch["batch_acc"] == pytest.approx(kept)
        assert watch.history.batch.series("batch_acc").kind == "batch"


def test_watching_changes_nothing() -> None:
    """Weights and skorch's history are bit for bit those of the fit that nobody watches, dropout and shuffling on."""
    outcomes = []
    for callbacks in ([], [callback()]):
        net = classifier(*callbacks, optimizer=torch.optim.Adam, max_epochs=3).fit(X, Y)
        outcomes.append((weights(net), net.history[:, ("train_loss", "valid_loss", "valid_acc")], torch.rand(3)))
    (plain, plain_kept, plain_draw), (watched, watched_kept, watched_draw) = outcomes
    assert np.array_equal(plain, watched)
    assert plain_kept == watched_kept
    assert torch.equal(plain_draw, watched_draw)


def test_each_group_and_each_optimizer_has_the_rate_it_was_trained_with() -> None:
    """Read from the weights: a parameter whose gradient is 1 moves by its learning rate."""

    class Ones(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.a + self.b + 0 * x

    class Sum(nn.Module):
        def forward(self, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return predicted.mean()

    class Weight(Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.seen_ = [(0.0, 0.0)]

        def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
            if training:
                self.seen_.append((float(net.module_.a.detach()), float(net.module_.b.detach())))

    class WarmUp(Callback):  # type: ignore[misc]
        """Sets the rate of the batch that begins, after the watching callback was asked."""

        def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
            if training:
                net.optimizer_.param_groups[0]["lr"] *= 1.5

    def used(*callbacks: Any) -> None:
        weight, watch = Weight(), callback()
        net = NeuralNetRegressor(
            Ones,
            criterion=Sum,
            lr=0.1,
            optimizer__param_groups=[("b", {"lr": 0.3})],
            batch_size=2,
            max_epochs=2,
            train_split=None,
            verbose=0,
            callbacks=[*callbacks, weight, watch] if callbacks else [watch, WarmUp(), weight],
        )
        net.fit(np.ones((6, 1), "float32"), np.ones((6, 1), "float32"))
        # skorch puts the matched parameters first and all others in the last group.
        moved = -np.diff(np.array(weight.seen_), axis=0)
        assert watch.history.batch["lr"] == pytest.approx(moved[:, 1], rel=1e-5)
        assert watch.history.batch["lr_1"] == pytest.approx(moved[:, 0], rel=1e-5)
        assert len(set(watch.history.batch["lr"])) == 6
        assert watch.history.batch.series("lr_1").metric == "learning rate"

    used(LRScheduler(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5, step_every="batch"))
    used()


def test_a_second_optimizer_has_its_rate_under_its_name() -> None:
    class Two(NeuralNetClassifier):  # type: ignore[misc]
        def initialize_optimizer(self, *args: Any, **kwargs: Any) -> Any:
            super().initialize_optimizer(*args, **kwargs)
            self.slow_ = torch.optim.SGD(self.module_.layers[0].parameters(), lr=1e-4)
            return self

    watch = callback()
    Two(Small, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0, callbacks=[watch]).fit(X, Y)
    assert {name: watch.history.batch[name].tolist() for name in ("lr", "lr_slow")} == {"lr": [0.01], "lr_slow": [1e-4]}


def test_fit_begins_anew_and_partial_fit_goes_on() -> None:
    """Each call is a run; the epochs of `partial_fit` and of a warm start go on counting where the history does."""
    watch = callback()
    net = classifier(watch).fit(X, Y)
    first = watch.history
    net.fit(X, Y)
    net.partial_fit(X, Y)
    agrees(watch.history, net, since=2)
    net.set_params(warm_start=True).fit(X, Y)
    agrees(watch.history, net, since=4)
    runs = watch.bus.runs
    assert [history.status for history in runs] == ["completed"] * 4
    assert [[span.epoch for span in history.spans] for history in runs] == [[0, 1], [0, 1], [2, 3], [4, 5]]
    assert [history.epochs for history in runs] == [2, 2, 4, 6]
    assert len(first.epoch["train_loss"]) == 2
    net.initialize()
    net.initialize()
    assert watch.history is runs[-1]
    assert len(runs) == 4
    net.predict(X)
    net.score(X, Y)
    assert len(runs) == 4


def test_fit_loop_called_by_itself_is_watched_too() -> None:
    watch = callback()
    net = classifier(watch).initialize()
    net.fit_loop(X, Y, epochs=1)
    net.fit_loop(X, Y, epochs=1)
    assert len(watch.bus.runs) == 1
    assert [span.epoch for span in watch.history.spans] == [0, 1]
    net.fit(X, Y)
    assert watch.bus.runs[0].epoch["train_loss"].shape == (2,)
    assert watch.bus.runs[1].status == "completed"


def test_without_validation_there_is_none() -> None:
    watch = callback()
    net = classifier(watch, train_split=None).fit(X, Y)
    assert list(watch.history.epoch) == ["train_loss"]
    agrees(watch.history, net)
    sizes = [min(32, 100 - start) for start in range(0, 100, 32)] * 2
    weighted = (watch.history.batch["loss"] * sizes).reshape(2, 4).sum(1) / 100
    assert watch.history.epoch["train_loss"] == pytest.approx(weighted, rel=1e-6)


@pytest.mark.parametrize("ours_first", [True, False], ids=["before", "after"])
def test_early_stopping_keeps_its_last_epoch_and_completes(ours_first: bool) -> None:
    """It interrupts at the end of an epoch, of which the callbacks after it are not told."""
    watch, stopping = callback(), EarlyStopping(patience=2, threshold=100, threshold_mode="abs")
    both = [watch, stopping] if ours_first else [stopping, watch]
    net = classifier(*both, max_epochs=10).fit(X, Y)
    assert 1 < len(net.history) < 10
    assert watch.history.status == "completed"
    assert [mark.text for mark in watch.history.marks] == ["early stopping"]
    assert len(watch.history.epoch["valid_loss"]) == len(net.history)
    agrees(watch.history, net)


class Raises(Callback):  # type: ignore[misc]
    def __init__(self, error: type[BaseException], hook: str, at: int) -> None:
        self.error, self.hook, self.at = error, hook, at

    def initialize(self) -> Raises:
        self.calls_ = 0
        return self

    def _count(self, hook: str) -> None:
        if hook == self.hook:
            self.calls_ += 1
            if self.calls_ == self.at:
                raise self.error("now")

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        if training:
            self._count("on_batch_end")

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self._count("on_epoch_end")


def test_an_interrupt_that_fit_swallows_stops_the_run() -> None:
    watch = callback()
    net = classifier(watch, Raises(KeyboardInterrupt, "on_batch_end", 5)).fit(X, Y)
    assert watch.history.status == "stopped"
    assert len(watch.history.batch["loss"]) == 5
    assert len(watch.history.epoch["train_loss"]) == 1
    assert len(net.history) == 2


def test_an_interrupt_between_the_scores_of_an_epoch_stops_the_run_and_keeps_them() -> None:
    watch = callback()
    net = classifier(Raises(KeyboardInterrupt, "on_epoch_end", 1), watch).fit(X, Y)
    assert watch.history.status == "stopped"
    assert watch.history.epoch["valid_loss"].tolist() == [net.history[0, "valid_loss"]]


def test_an_exception_leaves_fit_and_every_batch_and_the_next_fit_closes_the_run() -> None:
    watch = callback()
    net = classifier(watch, Raises(RuntimeError, "on_batch_end", 5))
    with pytest.raises(RuntimeError, match="now"):
        net.fit(X, Y)
    failed = watch.history
    assert failed.status == "running"
    net.set_params(callbacks__Raises__at=0)
    net.fit(X, Y)
    assert failed.status == "stopped"
    assert (len(failed.batch["loss"]), len(failed.epoch["train_loss"])) == (5, 1)
    assert watch.history.status == "completed"
    agrees(watch.history, net)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """An IPython of our own."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    yield InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    InteractiveShell.clear_instance()


def test_a_cell_that_fails_ends_its_run_with_every_batch(shell: InteractiveShell) -> None:
    watch = callback()
    shell.push({"net": classifier(watch, Raises(RuntimeError, "on_batch_end", 5)), "x": X, "y": Y})
    shell.run_cell("net.fit(x, y)")
    assert (watch.history.status, watch.history.error) == ("failed", "RuntimeError: now")
    assert (len(watch.history.batch["loss"]), len(watch.history.epoch["valid_loss"])) == (5, 1)


def test_a_history_that_processes_share_has_every_batch() -> None:
    """It gets the batch's values only when it is read, which nobody has to wait for."""
    watch = callback()
    shared = DistributedHistory(store=HashStore(), rank=0, world_size=1)
    net = classifier(watch, history=shared).fit(X, Y)
    agrees(watch.history, net)


def test_no_value_is_read_while_batches_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would make a processor wait for its device is read when an epoch has ended."""
    bus = ew.Bus(strict=True)
    net = classifier(watch := EpochCallback(bus=bus))
    reads = contract.note_reads(monkeypatch, bus)
    net.fit(X, Y)
    monkeypatch.undo()
    batches = watch.history.step // 2
    assert set(reads) <= {batches, 2 * batches}
    agrees(watch.history, net)


def test_nan_is_data() -> None:
    x = X.copy()
    x[0] = np.nan
    watch = callback()
    classifier(watch, iterator_train__shuffle=False, train_split=None, max_epochs=1).fit(x, Y)
    assert np.isnan(watch.history.batch["loss"]).all()
    assert np.isnan(watch.history.epoch["train_loss"]).all()


def test_a_length_that_nobody_knows_is_told_by_the_epoch_before() -> None:
    class Loader(torch.utils.data.DataLoader):  # type: ignore[misc]
        """Somebody's own, which making another one might disturb."""

    watch = callback()
    net = classifier(watch, iterator_train=Loader, train_split=None)
    seen = []
    watch.bus.subscribe(lambda event: seen.append((event.epoch, event.batches)), ew.EpochStarted)
    net.fit(X, Y)
    assert seen == [(0, None), (1, 4)]


def test_copies_train_runs_of_their_own() -> None:
    """A search clones the net, and with it the callback: one run for each of its fits."""
    watch = callback("search")
    net = classifier(watch, max_epochs=1)
    search = GridSearchCV(net, {"lr": [0.01, 0.1]}, cv=2, scoring="accuracy", refit=True).fit(X, Y)
    assert len(watch.bus.runs) == 2 * 2 + 1
    assert {(history.name, history.status) for history in watch.bus.runs} == {("search", "completed")}
    assert [history.batch["lr"][0] for history in watch.bus.runs][:4] == [0.01, 0.01, 0.1, 0.1]
    with pytest.raises(AttributeError, match=r"epochwidget\.runs"):
        _ = watch.history
    best = dict(search.best_estimator_.callbacks_)["EpochCallback"]
    assert best.history is watch.bus.runs[-1]


def test_clone_pickle_and_deepcopy() -> None:
    watch = callback("one")
    net = classifier(watch).fit(X, Y)
    cloned = clone(net)
    assert (cloned.callbacks[0].name, cloned.callbacks[0].bus) == ("one", watch.bus)
    cloned.fit(X, Y)
    assert cloned.callbacks[0].history is watch.bus.runs[-1]
    for copied in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        again = dict(copied.callbacks_)["EpochCallback"]
        assert again.run_ is None
        copied.partial_fit(X, Y)
        assert [span.epoch for span in again.history.spans] == [2, 3]
        agrees(again.history, copied, since=2)


def test_a_checkpoint_of_the_whole_net_is_written_while_it_trains(tmp_path: Path) -> None:
    watch = callback()
    keep = Checkpoint(dirname=tmp_path, f_pickle="net.pkl", f_params=None, f_optimizer=None, f_criterion=None)
    net = classifier(keep, watch).fit(X, Y)
    agrees(watch.history, net)
    ends = [span.first + (span.batches or 0) for span in watch.history.spans]
    saved = [end for end, row in zip(ends, net.history, strict=True) if row["event_cp"]]
    assert [(mark.text, mark.step) for mark in watch.history.marks] == [("checkpoint", end) for end in saved]
    assert saved
    with (tmp_path / "net.pkl").open("rb") as file:
        assert np.isfinite(pickle.load(file).predict_proba(X)).all()


@pytest.mark.parametrize("given", ["class", "instance", "tuple"])
def test_each_way_to_give_a_callback_and_its_parameters(given: str) -> None:
    name, entry = {
        "class": ("EpochCallback", EpochCallback),
        "instance": ("EpochCallback", EpochCallback()),
        "tuple": ("watch", ("watch", EpochCallback())),
    }[given]
    bus = ew.Bus(strict=True)
    net = classifier(entry, **{f"callbacks__{name}__bus": bus})
    net.initialize()
    assert net.get_params()[f"callbacks__{name}__name"] is None
    net.set_params(**{f"callbacks__{name}__name": "named"})
    net.fit(X, Y)
    assert dict(net.callbacks_)[name].history is bus.runs[-1]
    assert bus.runs[-1].name == "named"
    with pytest.raises(ValueError, match="name of a run is empty"):
        net.set_params(**{f"callbacks__{name}__name": " "})


def test_by_default_the_run_is_called_after_the_module() -> None:
    watch = callback()
    classifier(watch, max_epochs=1).fit(X, Y)
    assert watch.history.name == "Small"


def test_a_failure_of_ours_is_logged_once_and_the_training_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    watch = callback()

    def fail(event: Any) -> None:
        raise RuntimeError("of the subscriber")

    watch.bus.subscribe(fail, ew.BatchEnded, ew.EpochEnded)
    net = classifier(watch).fit(X, Y)
    assert len(net.history) == 2
    assert caplog.text.count(FAILED) == 1
    caplog.clear()


def test_bad_arguments_are_refused_in_one_sentence() -> None:
    with pytest.raises(TypeError, match=r"EpochCallback\(\) does not know 'nane' \(did you mean 'name'\?\)"):
        EpochCallback(nane="x")
    with pytest.raises(ValueError, match="name of a run is empty"):
        EpochCallback(" ")
    with pytest.raises(TypeError, match=r"bus=\.\.\."):
        EpochCallback(bus=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["0.15.0", "2.0"])
def test_another_version_is_refused_by_both_names(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skorch, "__version__", version)
    with pytest.raises(ImportError, match=rf"needs skorch 1\.0 or newer, but below 2; {version} is installed"):
        importlib.reload(adapter)


def test_a_fit_may_go_on_in_a_former_run() -> None:
    watch = callback()
    classifier(watch).fit(X, Y)
    history, bus = watch.history, watch.bus
    again = EpochCallback(bus=bus, resume=history)
    net = classifier(again).fit(X, Y)  # skorch counts from 0 again
    assert again.history is history
    assert history.epoch.epochs("valid_loss").tolist() == [0, 1, 2, 3]
    assert (history.epochs, len(bus.runs)) == (4, 1)
    back = EpochCallback(bus=bus, resume=history, epoch=2)
    net.set_params(callbacks=[back]).initialize_callbacks().partial_fit(X, Y)  # and here it goes on
    assert back.history is history
    assert history.epoch.epochs("valid_loss").tolist() == [0, 1, 2, 3]
    assert [span.first for span in history.spans] == [0, 3, 6, 9]
    assert history.generation == 1
    assert clone(back).resume.run == history.run
