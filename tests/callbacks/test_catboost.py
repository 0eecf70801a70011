"""CatBoost: real trees, real trainings."""

from __future__ import annotations

import _thread
import copy
import gc
import importlib
import pickle
import threading
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV
from traitlets.config import Config

import epochwidget as ew
from epochwidget.callbacks import catboost as adapter
from epochwidget.callbacks.catboost import EpochCallback

from . import contract

# What CatBoost says of a metric of one's own.
pytestmark = pytest.mark.filterwarnings("ignore:Failed to import numba", "ignore:Can't optimi")

X, Y = load_breast_cancer(return_X_y=True)
QUIET = {"verbose": False, "allow_writing_files": False, "thread_count": 1}
HELD_OUT = X[400:], Y[400:]


@pytest.fixture(autouse=True)
def _nothing_of_ours_failed(caplog: pytest.LogCaptureFixture) -> Any:
    yield
    assert not [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


def callback() -> EpochCallback:
    return EpochCallback(bus=ew.Bus(strict=True))


def classifier(**how: Any) -> catboost.CatBoostClassifier:
    return catboost.CatBoostClassifier(**{"iterations": 6, "depth": 3, **QUIET, **how})


def fit(*callbacks: Any, **how: Any) -> catboost.CatBoostClassifier:
    of_fit = {
        name: how.pop(name)
        for name in ("eval_set", "early_stopping_rounds", "use_best_model", "init_model")
        if name in how
    }
    return classifier(**how).fit(X[:400], Y[:400], **{"eval_set": HELD_OUT, **of_fit}, callbacks=list(callbacks))


def fit_until_interrupted(watch: EpochCallback) -> None:
    """Train with next to all of the time spent in iterations, and be interrupted until it ends.

    Between iterations CatBoost may lose an interrupt, and train on.
    """
    over = threading.Event()

    def interrupt() -> None:
        while not over.wait(1):
            _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        classifier(iterations=10**6, depth=6).fit(np.tile(X, (40, 1)), np.tile(Y, 40), callbacks=[watch])
    finally:
        over.set()


class Stops:
    def __init__(self, after: int) -> None:
        self.after = after

    def after_iteration(self, info: Any) -> bool:
        return info.iteration < self.after


class Raises:
    def after_iteration(self, info: Any) -> bool:
        if info.iteration == 3:
            raise MemoryError("out of memory")
        return True


def regression(bus: ew.Bus, **how: Any) -> catboost.CatBoostRegressor:
    pools = [catboost.Pool(contract.TREES_X[rows], contract.TREES_Y[rows]) for rows in contract.SETS.values()]
    model = catboost.CatBoostRegressor(iterations=contract.ITERATIONS, learning_rate=0.2, depth=3, **QUIET)
    return model.fit(
        pools[0], eval_set=pools[1:], use_best_model=False, callbacks=[EpochCallback("trees", bus=bus)], **how
    )


@pytest.mark.parametrize("continued", [False, True])
def test_fit_keeps_the_contract(continued: bool) -> None:
    """CatBoost itself counts from 0 where it continues a model, in what it reports as well."""
    bus, before = contract.Recorder(), 0
    if continued:
        begun = catboost.CatBoostRegressor(iterations=5, depth=3, **QUIET)
        begun.fit(contract.TREES_X[contract.SETS["train"]], contract.TREES_Y[contract.SETS["train"]])
        model, before = regression(bus, init_model=begun), 5
    else:
        model = regression(bus)
    result = model.get_evals_result()
    contract.check_iterations(
        bus,
        names={"train": "learn_RMSE", "first": "validation_0_RMSE", "second": "validation_1_RMSE"},
        metric="RMSE",
        reported={f"{name}_RMSE": result[name]["RMSE"] for name in ("learn", "validation_0", "validation_1")},
        predict=lambda x, trees: model.predict(x, ntree_end=before + trees),
        rates=[0.2] * contract.ITERATIONS,
    )


def test_every_metric_of_every_set_is_what_get_evals_result_says() -> None:
    """Also of metrics of the person's own; one metric of all sets is one metric."""

    class Right:
        def is_max_optimal(self) -> bool:
            return True

        def evaluate(self, approxes: Any, target: Any, weight: Any) -> tuple[float, float]:
            return float(((np.array(approxes[0]) > 0) == np.array(target)).sum()), float(len(target))

        def get_final_error(self, error: float, weight: float) -> float:
            return error / weight

    watch = callback()
    model = fit(watch, eval_metric=Right(), custom_metric=["AUC", "F:beta=2"])
    epoch, result = watch.history.epoch, model.get_evals_result()
    assert set(epoch) == {f"{of}_{metric}" for of in result for metric in result[of]}
    assert {"Logloss", "AUC", "F:beta=2", "Right"} == set(result["validation"])
    for of, metrics in result.items():
        for metric, values in metrics.items():
            series = epoch.series(f"{of}_{metric}")
            assert epoch[f"{of}_{metric}"].tolist() == values
            assert (series.metric, series.split) == (metric, {"learn": "train", "validation": "validation"}[of])


def test_watching_changes_nothing() -> None:
    """The model is bit for bit the same, the random samples of rows included."""
    models = []
    for callbacks in ([], [callback()]):
        model = fit(*callbacks, bootstrap_type="Bernoulli", subsample=0.5, random_seed=3, iterations=20)
        raw = np.column_stack([model.predict(X, "RawFormulaVal"), model.calc_leaf_indexes(X)])
        models.append((raw, model.get_leaf_values(), model.get_borders(), model.get_evals_result()))
    (plain, plain_leaves, *plain_rest), (watched, watched_leaves, *watched_rest) = models
    assert np.array_equal(plain, watched)
    assert np.array_equal(plain_leaves, watched_leaves)
    assert plain_rest == watched_rest


def test_a_second_fit_of_the_same_model_is_a_second_run() -> None:
    watch, model = callback(), classifier(iterations=4)
    first, second = [model.fit(X, Y, callbacks=[watch]) and watch.history for _ in range(2)]
    assert first is not second
    for history in watch._bus.runs:
        assert len(history.epoch["learn_Logloss"]) == history.epochs == 4
        assert (history.status, history.marks) == ("completed", [])


@pytest.mark.parametrize("best", [True, False])
@pytest.mark.parametrize("how", ["the detector", "a callback before ours", "a callback after ours"])
def test_early_stopping_is_marked(how: str, best: bool) -> None:
    """The run ends as `fit` returns, though no hook tells, and has every iteration that ours was called for."""
    watch, stops = callback(), Stops(9)
    callbacks = {"a callback before ours": [stops, watch], "a callback after ours": [watch, stops]}.get(how, [watch])
    rounds = {"early_stopping_rounds": 3} if how == "the detector" else {}
    model = fit(*callbacks, iterations=300, learning_rate=0.9, use_best_model=best, **rounds)
    assert watch.history.status == "completed"
    assert [mark.text for mark in watch.history.marks] == ["early stopping"]
    assert watch.history.epochs == 300
    result = model.get_evals_result()["validation"]["Logloss"]
    values = watch.history.epoch["validation_Logloss"]
    assert values.tolist() == (result[:-1] if how == "a callback before ours" else result)
    if how == "the detector":
        assert len(values) == model.get_best_iteration() + 4
        assert model.tree_count_ == (model.get_best_iteration() + 1 if best else len(values))


def test_with_a_metric_period_values_stand_at_their_iterations() -> None:
    """What CatBoost hands over of the iterations in between is of one before."""
    watch = callback()
    model = fit(watch, iterations=12, metric_period=5)
    epoch = watch.history.epoch
    assert epoch["validation_Logloss"].tolist() == model.get_evals_result()["validation"]["Logloss"]
    assert epoch.epochs("validation_Logloss").tolist() == [0, 5, 10, 11]
    assert [span.epoch for span in watch.history.spans] == list(range(12))
    every = callback()
    fit(every, iterations=12)
    assert epoch["validation_Logloss"].tolist() == every.history.epoch["validation_Logloss"][[0, 5, 10, 11]].tolist()


def test_the_learning_rate_is_there_if_it_was_given() -> None:
    watch = callback()
    fit(watch)
    assert "lr" not in watch.history.epoch
    for how in ({"learning_rate": 0.2}, {"eta": 0.2}):
        model = fit(watch, **how)
        assert watch.history.epoch["lr"].tolist() == [0.2] * 6
        assert model.learning_rate_ == pytest.approx(0.2)


@pytest.mark.parametrize("name", ["iterations", "n_estimators", "num_trees", "num_boost_round", None])
def test_the_number_of_iterations_is_known_by_any_name(name: str | None) -> None:
    watch = callback()
    model = catboost.CatBoostClassifier(**({name: 7} if name else {}), depth=1, **QUIET)
    model.fit(X[:60], Y[:60], callbacks=[watch])
    planned = model.get_all_params()["iterations"]
    assert planned == (7 if name else 1000)
    assert watch.history.epochs == planned == len(watch.history.spans)
    assert (watch.history.status, watch.history.marks) == ("completed", [])


def test_an_interrupted_training_ends_its_run() -> None:
    """No hook tells of it: the run ends once the interrupt was handled."""
    watch = callback()
    with pytest.raises(KeyboardInterrupt):
        fit_until_interrupted(watch)
    gc.collect()
    assert watch.history.status == "stopped"
    assert len(watch.history.epoch["learn_Logloss"]) > 1
    fit(watch)
    assert [history.status for history in watch._bus.runs] == ["stopped", "completed"]


def test_an_interrupt_while_the_callback_is_at_work_stops_the_run() -> None:
    """CatBoost makes another error of it, and keeps what was raised."""
    watch = callback()

    @watch._bus.subscribe
    def interrupts(event: Any) -> None:
        if isinstance(event, ew.EpochEnded) and event.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises((catboost.CatBoostError, SystemError)):
        fit(watch)
    assert (watch.history.status, watch.history.error) == ("stopped", "KeyboardInterrupt")
    assert len(watch.history.epoch["learn_Logloss"]) == 3


def test_after_a_failure_the_run_ends_with_the_next_fit() -> None:
    """CatBoost keeps what a callback raised for good. A model fitted before is no sign that this fit ended."""
    watch = callback()
    model = classifier().fit(X, Y)
    with pytest.raises((catboost.CatBoostError, SystemError)):  # the latter in CatBoost 1.2.0
        model.fit(X, Y, callbacks=[watch, Raises()])
    assert watch.history.status != "completed"
    model.fit(X, Y, callbacks=[watch])
    assert [history.status for history in watch._bus.runs] == ["stopped", "completed"]


def test_in_a_notebook_a_cell_that_fails_or_is_interrupted_says_so() -> None:
    watch = callback()
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    try:
        shell.push(
            {
                "fit": fit,
                "fit_until_interrupted": fit_until_interrupted,
                "watch": watch,
                "Raises": Raises,
                "Stops": Stops,
            }
        )
        shell.run_cell("fit(watch, Raises())")
        assert watch.history.status == "failed"
        assert "Error" in str(watch.history.error)
        shell.run_cell("fit_until_interrupted(watch)")
        assert (watch.history.status, watch.history.error) == ("stopped", "KeyboardInterrupt")
        assert len(watch.history.epoch["learn_Logloss"]) > 1
        shell.run_cell("fit(watch, Stops(3))")
        assert watch.history.status == "completed"
    finally:
        InteractiveShell.clear_instance()


def test_a_snapshot_is_taken_up_where_it_was_left(tmp_path: Path) -> None:
    """CatBoost goes on counting there."""
    watch = callback()
    how = {"iterations": 8, "allow_writing_files": True, "train_dir": str(tmp_path), "save_snapshot": True}
    how |= {"snapshot_file": "left", "snapshot_interval": 0}
    fit(watch, Stops(3), **how)
    model = fit(watch, **how)
    assert watch.history.status == "completed"
    epochs = watch.history.epoch.epochs("validation_Logloss").tolist()
    assert epochs == list(range(3, 8))
    result = model.get_evals_result()["validation"]["Logloss"]
    assert watch.history.epoch["validation_Logloss"].tolist() == result[-len(epochs) :]


def test_copies_are_for_another_training() -> None:
    watch = EpochCallback("trees", bus=ew.Bus(strict=True))
    fit(watch)
    for copied in (copy.deepcopy(watch), copy.copy(watch), pickle.loads(pickle.dumps(watch))):
        with pytest.raises(AttributeError, match="no history yet"):
            _ = copied.history
        fit(copied)
        assert (copied.history.name, copied.history.status) == ("trees", "completed")
    assert [history.status for history in watch._bus.runs] == ["completed"] * 3


def test_clones_and_each_fit_of_a_search_are_runs() -> None:
    watch = callback()
    clone(classifier()).fit(X, Y, callbacks=[watch])
    GridSearchCV(classifier(), {"depth": [1, 2]}, cv=2).fit(X, Y, callbacks=[watch])
    assert [history.status for history in watch._bus.runs] == ["completed"] * 6
    assert all(len(history.epoch["learn_Logloss"]) == 6 for history in watch._bus.runs)


def test_a_callback_that_nobody_keeps_still_ends_its_run() -> None:
    bus = ew.Bus(strict=True)
    fit(EpochCallback(bus=bus), iterations=300, learning_rate=0.9, early_stopping_rounds=3)
    assert (bus.runs[-1].status, len(bus.runs[-1].marks)) == ("completed", 1)


def test_other_kinds_of_models_and_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools are watched alike; what is no `fit` makes no run."""
    monkeypatch.chdir(tmp_path)  # where CatBoost leaves files unasked
    watch = callback()
    pool = catboost.Pool(X, Y)
    model = catboost.CatBoost({"loss_function": "Logloss", "iterations": 4, **QUIET})
    model.fit(pool, callbacks=[watch])
    assert (watch.history.status, watch.history.epochs) == ("completed", 4)
    assert watch.history.epoch["learn_Logloss"].tolist() == model.get_evals_result()["learn"]["Logloss"]
    model.eval_metrics(pool, ["AUC"])
    model.predict(pool)
    catboost.cv(pool, {"loss_function": "Logloss", "iterations": 2, **QUIET}, fold_count=2)
    assert len(watch._bus.runs) == 1


def test_a_failure_of_ours_does_not_reach_the_training(caplog: pytest.LogCaptureFixture) -> None:
    watch = callback()

    @watch._bus.subscribe
    def fails(event: Any) -> None:
        raise RuntimeError("a strict bus lets this through")

    model = fit(watch, use_best_model=False)
    assert model.tree_count_ == 6
    assert any("it goes on" in record.getMessage() for record in caplog.records)
    caplog.clear()


def test_what_the_callback_refuses() -> None:
    with pytest.raises(TypeError, match="did you mean 'name'"):
        EpochCallback(nam="trees")
    with pytest.raises(ValueError, match="empty"):
        EpochCallback(" ")
    with pytest.raises(AttributeError, match=r"model\.fit"):
        _ = callback().history


@pytest.mark.parametrize("version", ["0.9", "99.0"])
def test_another_version_is_refused_by_both_names(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catboost, "__version__", version)
    with pytest.raises(ImportError, match=rf"needs catboost .* or newer, but below .*; {version} is installed"):
        importlib.reload(adapter)


def test_a_fit_may_go_on_in_a_former_run() -> None:
    watch = callback()
    fit(watch)
    history, bus = watch.history, watch._bus
    again = EpochCallback(bus=bus, resume=history, epoch=4)
    model = fit(again)  # counts from 0 again
    assert again.history is history
    assert history.epoch.epochs("validation_Logloss").tolist() == list(range(10))
    assert history.epoch["validation_Logloss"][4:].tolist() == model.get_evals_result()["validation"]["Logloss"]
    assert (history.status, history.epochs, len(bus.runs)) == ("completed", 10, 1)
