"""XGBoost: real trees, real trainings."""

from __future__ import annotations

import copy
import gc
import importlib
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV

import epochwidget as ew
from epochwidget.callbacks import xgboost as adapter
from epochwidget.callbacks.xgboost import EpochCallback

from . import contract

X, Y = load_breast_cancer(return_X_y=True)
PARAMETERS = {"objective": "binary:logistic", "nthread": 1}


@pytest.fixture(autouse=True)
def _nothing_of_ours_failed(caplog: pytest.LogCaptureFixture) -> Any:
    yield
    assert not [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


def sets() -> list[tuple[xgb.DMatrix, str]]:
    return [(xgb.DMatrix(X[:400], Y[:400]), "train"), (xgb.DMatrix(X[400:], Y[400:]), "eval")]


def callback() -> EpochCallback:
    return EpochCallback(bus=ew.Bus(strict=True))


def train(watch: Any, rounds: int = 6, parameters: Any = None, **how: Any) -> tuple[xgb.Booster, dict[str, Any]]:
    of, result = sets(), {}
    callbacks = how.pop("callbacks", [watch])
    model = xgb.train(
        {**PARAMETERS, **(parameters or {})},
        of[0][0],
        rounds,
        **{"evals": of, "evals_result": result, "verbose_eval": False, **how},
        callbacks=callbacks,
    )
    return model, result


class Stops(xgb.callback.TrainingCallback):
    """Ends the training after an iteration."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        return epoch == self.after


class Raises(xgb.callback.TrainingCallback):
    def __init__(self, error: type[BaseException], at: int = 2) -> None:
        super().__init__()
        self.error, self.at = error, at

    def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        if epoch == self.at:
            raise self.error("out of memory")
        return False


def regression() -> list[tuple[xgb.DMatrix, str]]:
    named = {"train": "train", "first": "eval", "second": "test"}
    return [
        (xgb.DMatrix(contract.TREES_X[rows], contract.TREES_Y[rows]), named[of]) for of, rows in contract.SETS.items()
    ]


def test_train_keeps_the_contract() -> None:
    bus, of, result = contract.Recorder(), regression(), {}
    model = xgb.train(
        {"eta": 0.2, "max_depth": 3, "nthread": 1},
        of[0][0],
        contract.ITERATIONS,
        evals=of,
        evals_result=result,
        verbose_eval=False,
        callbacks=[EpochCallback("trees", bus=bus)],
    )
    contract.check_iterations(
        bus,
        names={"train": "train_rmse", "first": "eval_rmse", "second": "test_rmse"},
        metric="rmse",
        reported={f"{name}_rmse": result[name]["rmse"] for name in ("train", "eval", "test")},
        predict=lambda x, trees: model.predict(xgb.DMatrix(x), iteration_range=(0, trees)),
        rates=[0.2] * contract.ITERATIONS,
    )


def test_a_continued_training_goes_on_counting() -> None:
    """With `xgb_model=` XGBoost begins at 0 again, but the model has the trees of both."""
    of, parameters = regression(), {"max_depth": 3, "nthread": 1}
    begun = xgb.train(parameters, of[0][0], 5)
    bus, result = contract.Recorder(), {}
    model = xgb.train(
        parameters,
        of[0][0],
        contract.ITERATIONS,
        evals=of,
        evals_result=result,
        verbose_eval=False,
        xgb_model=begun,
        callbacks=[EpochCallback(bus=bus)],
    )
    contract.check_iterations(
        bus,
        names={"train": "train_rmse", "first": "eval_rmse", "second": "test_rmse"},
        metric="rmse",
        reported={f"{name}_rmse": result[name]["rmse"] for name in ("train", "eval", "test")},
        predict=lambda x, trees: model.predict(xgb.DMatrix(x), iteration_range=(0, trees)),
        rates=[0.3] * contract.ITERATIONS,
        first=5,
    )


def test_every_metric_of_every_set_is_what_evals_result_says() -> None:
    """Also of metrics of the person's own; one metric of all sets is one metric."""

    def wrong(predicted: np.ndarray, data: xgb.DMatrix) -> tuple[str, float]:
        return "wrong", float((data.get_label() != (predicted > 0.5)).sum())

    watch = callback()
    _, result = train(watch, parameters={"eval_metric": ["logloss", "auc", "error@0.7"]}, custom_metric=wrong)
    epoch = watch.history.epoch
    assert set(epoch) == {"lr"} | {f"{of}_{metric}" for of in result for metric in result[of]}
    for of, metrics in result.items():
        assert list(metrics) == ["logloss", "auc", "error@0.7", "wrong"]
        for metric, values in metrics.items():
            series = epoch.series(f"{of}_{metric}")
            assert epoch[f"{of}_{metric}"].tolist() == values
            assert (series.metric, series.split) == (metric, {"train": "train", "eval": "validation"}[of])


def test_watching_changes_nothing() -> None:
    """The model is bit for bit the same, its own attributes and the random samples of rows included."""
    models = []
    for callbacks in ([], [callback()]):
        rates = xgb.callback.LearningRateScheduler([0.5, 0.4, 0.3, 0.2, 0.1, 0.1])
        how = {"subsample": 0.5, "colsample_bytree": 0.5, "seed": 3, "booster": "dart", "rate_drop": 0.5}
        model, result = train(None, parameters=how, callbacks=[*callbacks, rates])
        models.append((bytes(model.save_raw("json")), model.save_config(), result))
    assert models[0] == models[1]


def test_names_of_sets_and_metrics_never_meet() -> None:
    """The metric b_c of the set a and the metric c of the set a_b are two series."""

    def two(predicted: np.ndarray, data: xgb.DMatrix) -> list[tuple[str, float]]:
        return [("c", 1.0 * data.num_row()), ("b_c", 2.0 * data.num_row())]

    watch, (of, other) = callback(), sets()
    train(watch, 2, {"disable_default_eval_metric": True}, custom_metric=two, evals=[(of[0], "a"), (other[0], "a_b")])
    epoch = watch.history.epoch
    found = {(name, epoch.series(name).metric, epoch[name][0]) for name in epoch if name != "lr"}
    assert found == {("a_c", "c", 400), ("a_b_c", "b_c", 800), ("a_b_c_", "c", 169), ("a_b_b_c", "b_c", 338)}


def test_an_estimator_is_watched_and_the_data_it_trains_on_is_training() -> None:
    """scikit-learn's classes call every set `validation_...`, the data that they train on as well."""
    watch, x, y = callback(), X[:400], Y[:400]
    model = xgb.XGBClassifier(n_estimators=5, max_depth=2, n_jobs=1, callbacks=[watch])
    model.fit(x, y, eval_set=[(x, y), (X[400:], Y[400:])], verbose=False)
    epoch = watch.history.epoch
    for of, split in (("validation_0", "train"), ("validation_1", "validation")):
        assert epoch[f"{of}_logloss"].tolist() == model.evals_result()[of]["logloss"]
        assert epoch.series(f"{of}_logloss").split == split
    assert (watch.history.epochs, watch.history.status) == (5, "completed")


def test_a_second_fit_is_a_second_run() -> None:
    watch = callback()
    model = xgb.XGBClassifier(n_estimators=3, n_jobs=1, callbacks=[watch])
    first, second = [model.fit(X, Y, eval_set=[(X, Y)], verbose=False) and watch.history for _ in range(2)]
    assert first is not second
    assert [len(history.epoch["validation_0_logloss"]) for history in watch._bus.runs] == [3, 3]
    assert [history.status for history in watch._bus.runs] == ["completed", "completed"]


@pytest.mark.parametrize("before", [True, False], ids=["listed before ours", "listed after ours"])
def test_early_stopping_is_marked_and_keeps_its_last_iteration(before: bool) -> None:
    """What stops the training before our turn keeps the iteration from us, but not for good."""
    watch = callback()
    stops = xgb.callback.EarlyStopping(rounds=2, save_best=True)
    model, result = train(watch, 200, {"eta": 0.9}, callbacks=[stops, watch] if before else [watch, stops])
    values = watch.history.epoch["eval_logloss"]
    assert values.tolist() == result["eval"]["logloss"]
    assert len(values) == model.best_iteration + 3 < 200
    assert watch.history.epoch.epochs("eval_logloss").tolist() == list(range(len(values)))
    assert [mark.text for mark in watch.history.marks] == ["early stopping"]
    assert (watch.history.status, watch.history.epochs) == ("completed", 200)


def test_early_stopping_by_argument_and_a_stop_by_a_callback_of_the_person_s_own() -> None:
    by_argument, by_own = callback(), callback()
    train(by_argument, 200, {"eta": 0.9}, early_stopping_rounds=2)
    train(by_own, callbacks=[Stops(2), by_own])
    train(complete := callback())
    assert len(by_own.history.epoch["eval_logloss"]) == 3
    for watch in (by_argument, by_own):
        assert [mark.text for mark in watch.history.marks] == ["early stopping"]
        assert watch.history.status == "completed"
    assert complete.history.marks == []


def test_cross_validation_has_means_and_deviations() -> None:
    watch = callback()
    table = xgb.cv(PARAMETERS, sets()[0][0], 5, nfold=3, metrics=["logloss", "auc"], callbacks=[watch])
    epoch = watch.history.epoch
    assert len(epoch) == 9
    for of in ("train", "test"):
        for metric in ("logloss", "auc"):
            for part, measured in (("mean", metric), ("std", f"{metric} std")):
                name = f"{of}_{metric}_{part}"
                assert epoch[name].tolist() == table[f"{of}-{metric}-{part}"].tolist()
                assert epoch.series(name).metric == measured
                assert epoch.series(name).split == ("train" if of == "train" else "validation")
    assert epoch["lr"].tolist() == [0.3] * 5
    assert (watch.history.epochs, watch.history.status) == (5, "completed")


def test_without_sets_there_is_progress_and_a_word_about_it(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once for each bus, however many models a search trains."""
    watch = callback()
    for _ in range(2):
        train(watch, 4, evals=())
        assert [span.epoch for span in watch.history.spans] == [0, 1, 2, 3]
        assert (watch.history.epochs, watch.history.status, list(watch.history.epoch)) == (4, "completed", ["lr"])
    (said,) = [record.getMessage() for record in caplog.records]
    assert "'run 1' evaluates nothing" in said
    assert "evals=" in said


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("booster", ["gbtree", "gblinear", "dart"])
def test_the_learning_rate_is_the_one_each_iteration_used(where: str, booster: str) -> None:
    """XGBoost's scheduler sets the rate of the next iteration, wherever it stands in the list."""
    watch, rates = callback(), xgb.callback.LearningRateScheduler(lambda epoch: 0.5 / (epoch + 1))
    callbacks = [rates, watch] if where == "before" else [watch, rates]
    train(watch, 4, {"eta": 0.7, "booster": booster}, callbacks=callbacks)
    assert watch.history.epoch["lr"].tolist() == pytest.approx([0.7, 0.5, 0.25, 0.5 / 3], rel=1e-7)


def test_the_learning_rate_is_the_size_of_the_step() -> None:
    """The first leaves of squared error without regularisation are the rate times the residual's mean."""

    class Sets(xgb.callback.TrainingCallback):
        def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            model.set_param("eta", [0.5, 0.25, 0.125][epoch])
            return False

    data = xgb.DMatrix(np.zeros((10, 1)), np.ones(10))
    parameters = {"base_score": 0.0, "lambda": 0, "nthread": 1}
    watch = callback()
    model = xgb.train(parameters, data, 3, callbacks=[Sets(), watch])
    predicted = [0.0, *(float(model.predict(data, iteration_range=(0, n))[0]) for n in (1, 2, 3))]
    used = [(after - before) / (1 - before) for before, after in pairwise(predicted)]
    assert watch.history.epoch["lr"] == pytest.approx(used, rel=1e-5)
    assert watch.history.epoch["lr"].tolist() == [0.5, 0.25, 0.125]
    # From before such a callback nobody can know which rate it is going to set.
    xgb.train(parameters, data, 3, callbacks=[watch, Sets()])
    assert "lr" not in watch.history.epoch


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_training_that_was_interrupted_ends_its_run(error: type[BaseException]) -> None:
    """No hook tells of it: the run ends once the exception was handled."""
    watch = callback()
    with pytest.raises(error):
        train(watch, callbacks=[watch, Raises(error)])
    gc.collect()
    assert watch.history.status == "stopped"
    assert len(watch.history.epoch["eval_logloss"]) == 2
    train(watch)
    assert [history.status for history in watch._bus.runs] == ["stopped", "completed"]


def test_while_its_exception_is_kept_a_run_ends_with_the_next_training() -> None:
    watch = callback()
    with pytest.raises(ValueError, match="out of memory") as kept:
        train(watch, callbacks=[watch, Raises(ValueError)])
    assert kept.traceback
    assert watch.history.status == "running"
    train(watch)
    assert [history.status for history in watch._bus.runs] == ["stopped", "completed"]


def test_copies_are_for_another_training() -> None:
    watch = EpochCallback("trees", bus=ew.Bus(strict=True))
    train(watch)
    for copied in (copy.deepcopy(watch), copy.copy(watch), pickle.loads(pickle.dumps(watch))):
        with pytest.raises(AttributeError, match="no history yet"):
            _ = copied.history
        train(copied)
        assert (copied.history.name, copied.history.status) == ("trees", "completed")
    assert [history.status for history in watch._bus.runs] == ["completed"] * 3


def test_clones_pickles_and_searches_of_an_estimator() -> None:
    watch = callback()
    model = xgb.XGBClassifier(n_estimators=3, n_jobs=1, callbacks=[watch])
    clone(model).fit(X, Y, eval_set=[(X, Y)], verbose=False)
    fitted = model.fit(X, Y, eval_set=[(X, Y)], verbose=False)
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), fitted.predict_proba(X))
    search = GridSearchCV(model, {"max_depth": [1, 2]}, cv=2)
    search.fit(X, Y, eval_set=[(X, Y)], verbose=False)
    assert [history.status for history in watch._bus.runs] == ["completed"] * (2 + 2 * 2 + 1)
    assert all(len(history.epoch["validation_0_logloss"]) == 3 for history in watch._bus.runs)


def test_a_callback_that_nobody_keeps_still_ends_its_run() -> None:
    bus = ew.Bus(strict=True)
    train(None, 100, {"eta": 0.9}, callbacks=[EpochCallback(bus=bus)], early_stopping_rounds=2)
    assert bus.runs[-1].status == "completed"


def test_two_callbacks_on_two_buses_see_the_same() -> None:
    one, other = callback(), callback()
    train(None, callbacks=[one, other])
    for name in ("eval_logloss", "train_logloss", "lr"):
        assert one.history.epoch[name].tolist() == other.history.epoch[name].tolist()


def test_a_failure_of_ours_does_not_reach_the_training(caplog: pytest.LogCaptureFixture) -> None:
    watch = callback()

    @watch._bus.subscribe
    def fails(event: Any) -> None:
        raise RuntimeError("a strict bus lets this through")

    _, result = train(watch)
    assert len(result["eval"]["logloss"]) == 6
    assert len([record for record in caplog.records if "it goes on" in record.getMessage()]) == 1
    caplog.clear()


def test_what_the_callback_refuses() -> None:
    with pytest.raises(TypeError, match="did you mean 'name'"):
        EpochCallback(nam="trees")
    with pytest.raises(ValueError, match="empty"):
        EpochCallback(" ")
    with pytest.raises(AttributeError, match=r"xgboost\.train"):
        _ = callback().history


@pytest.mark.parametrize("version", ["0.9", "99.0"])
def test_another_version_is_refused_by_both_names(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xgb, "__version__", version)
    with pytest.raises(ImportError, match=rf"needs xgboost .* or newer, but below .*; {version} is installed"):
        importlib.reload(adapter)


def test_a_training_may_go_on_in_a_former_run() -> None:
    watch = callback()
    model, _ = train(watch, 4)
    history, bus = watch.history, watch._bus
    again = EpochCallback(bus=bus, resume=history)
    train(again, 3, xgb_model=model)  # XGBoost goes on counting
    assert again.history is history
    assert history.epoch.epochs("eval_logloss").tolist() == list(range(7))
    back = EpochCallback(bus=bus, resume=history, epoch=2)
    _, result = train(back, 3)  # and counts from 0 where it begins anew
    assert history.epoch.epochs("eval_logloss").tolist() == list(range(5))
    assert history.epoch["eval_logloss"][2:].tolist() == result["eval"]["logloss"]
    assert (history.status, history.epochs, len(bus.runs)) == ("completed", 5, 1)
