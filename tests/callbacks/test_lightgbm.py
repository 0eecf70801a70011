"""LightGBM: real trees, real trainings."""

from __future__ import annotations

import copy
import gc
import importlib
import pickle
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV

import epochwidget as ew
from epochwidget.callbacks import lightgbm as adapter
from epochwidget.callbacks.lightgbm import EpochCallback

from . import contract

# The argument of the scikit-learn classes that most people know.
pytestmark = pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated")

X, Y = load_breast_cancer(return_X_y=True)
PARAMETERS = {"objective": "binary", "num_leaves": 7, "num_threads": 1, "verbosity": -1}


@pytest.fixture(autouse=True)
def _nothing_of_ours_failed(caplog: pytest.LogCaptureFixture) -> Any:
    yield
    assert not [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


def callback() -> EpochCallback:
    return EpochCallback(bus=ew.Bus(strict=True))


def train(watch: Any, rounds: int = 6, parameters: Any = None, **how: Any) -> tuple[lgb.Booster, dict[str, Any]]:
    data = lgb.Dataset(X[:400], Y[:400])
    held_out, result = lgb.Dataset(X[400:], Y[400:], reference=data), {}
    callbacks = [lgb.record_evaluation(result), *how.pop("callbacks", [watch])]
    how = {"valid_sets": [data, held_out], **how}
    if not how["valid_sets"]:
        del callbacks[0], how["valid_sets"]
    return lgb.train({**PARAMETERS, **(parameters or {})}, data, rounds, **how, callbacks=callbacks), result


def estimator(**how: Any) -> lgb.LGBMClassifier:
    return lgb.LGBMClassifier(**{"n_estimators": 4, "num_leaves": 7, "n_jobs": 1, "verbosity": -1, **how})


class Raises:
    """Raises in an iteration; `order` says whether before or after the others."""

    def __init__(self, error: type[BaseException], *about: Any, at: int = 2, order: int = 100) -> None:
        self.error, self.about, self.at, self.order, self.before_iteration = error, about, at, order, False

    def __call__(self, env: Any) -> None:
        if env.iteration == self.at:
            raise self.error(*self.about)


REGRESSION = {"objective": "l2", "metric": "rmse", "num_leaves": 7, "num_threads": 1, "verbosity": -1}


def regression(**how: Any) -> lgb.Booster:
    data = lgb.Dataset(*(part[contract.SETS["train"]] for part in (contract.TREES_X, contract.TREES_Y)))
    held_out = [
        lgb.Dataset(contract.TREES_X[contract.SETS[of]], contract.TREES_Y[contract.SETS[of]], reference=data)
        for of in ("first", "second")
    ]
    # The data that is trained on goes by any name, and may stand anywhere.
    return lgb.train(
        REGRESSION,
        data,
        contract.ITERATIONS,
        valid_sets=[held_out[0], data, held_out[1]],
        valid_names=["first", "own", "second"],
        **how,
    )


def test_train_keeps_the_contract() -> None:
    bus, result = contract.Recorder(), {}
    rates = [0.3 * 0.9**i for i in range(contract.ITERATIONS)]
    model = regression(
        callbacks=[
            lgb.reset_parameter(learning_rate=rates),
            EpochCallback("trees", bus=bus),
            lgb.record_evaluation(result),
        ]
    )
    contract.check_iterations(
        bus,
        names={"train": "own_rmse", "first": "first_rmse", "second": "second_rmse"},
        metric="rmse",
        reported={f"{name}_rmse": result[name]["rmse"] for name in ("own", "first", "second")},
        predict=lambda x, trees: model.predict(x, num_iteration=trees),
        rates=rates,
    )


def test_a_continued_training_goes_on_counting() -> None:
    begun = lgb.train(REGRESSION, lgb.Dataset(contract.TREES_X[:50], contract.TREES_Y[:50]), 5)
    bus, result = contract.Recorder(), {}
    model = regression(init_model=begun, callbacks=[EpochCallback(bus=bus), lgb.record_evaluation(result)])
    contract.check_iterations(
        bus,
        names={"train": "own_rmse", "first": "first_rmse", "second": "second_rmse"},
        metric="rmse",
        reported={f"{name}_rmse": result[name]["rmse"] for name in ("own", "first", "second")},
        predict=lambda x, trees: model.predict(x, num_iteration=trees),
        rates=[0.1] * contract.ITERATIONS,
        first=5,
    )


def test_every_metric_of_every_set_is_what_record_evaluation_says() -> None:
    """Also of metrics of the person's own; one metric of all sets is one metric."""

    def wrong(predicted: np.ndarray, data: lgb.Dataset) -> tuple[str, float, bool]:
        return "wrong", float((data.get_label() != (predicted > 0.5)).sum()), False

    watch = callback()
    _, result = train(watch, parameters={"metric": ["binary_logloss", "auc"]}, feval=wrong)
    epoch = watch.history.epoch
    assert set(result) == {"training", "valid_1"}
    assert set(epoch) == {"lr"} | {f"{of}_{metric}" for of in result for metric in result[of]}
    for of, metrics in result.items():
        assert list(metrics) == ["binary_logloss", "auc", "wrong"]
        for metric, values in metrics.items():
            series = epoch.series(f"{of}_{metric}")
            assert epoch[f"{of}_{metric}"].tolist() == values
            assert (series.metric, series.split) == (metric, {"training": "train", "valid_1": "validation"}[of])


def test_watching_changes_nothing() -> None:
    """The model is bit for bit the same, the random samples of rows and features included."""
    models = []
    for callbacks in ([], [callback()]):
        how = {"bagging_fraction": 0.5, "bagging_freq": 1, "feature_fraction": 0.5, "seed": 3, "boosting": "dart"}
        model, result = train(None, 20, parameters=how, callbacks=callbacks)
        models.append((model.model_to_string(), model.params, result))
    assert models[0] == models[1]


def test_an_estimator_is_watched() -> None:
    """scikit-learn's classes call the data that they train on `training`, if they are told its name or not."""
    watch = callback()
    x, y = X[:400], Y[:400]
    model = estimator().fit(x, y, eval_set=[(x, y), (X[400:], Y[400:])], callbacks=[watch])
    epoch = watch.history.epoch
    assert set(epoch) == {"lr"} | {f"{of}_binary_logloss" for of in model.evals_result_}
    for of, metrics in model.evals_result_.items():
        assert epoch[f"{of}_binary_logloss"].tolist() == metrics["binary_logloss"]
        split = "train" if of == "training" else "validation"
        assert epoch.series(f"{of}_binary_logloss").split == split
    assert "training" in model.evals_result_
    assert epoch["lr"].tolist() == [0.1] * 4
    assert (watch.history.epochs, watch.history.status) == (4, "completed")


def test_a_second_fit_is_a_second_run() -> None:
    watch = callback()
    for _ in range(2):
        estimator().fit(X, Y, eval_set=[(X, Y)], callbacks=[watch])
    first, second = watch._bus.runs
    assert second is watch.history
    assert [len(history.epoch["training_binary_logloss"]) for history in (first, second)] == [4, 4]
    assert [history.status for history in (first, second)] == ["completed", "completed"]


@pytest.mark.parametrize("how", ["a callback", "a parameter", "a callback of the person's own"])
def test_early_stopping_is_marked_and_keeps_its_last_iteration(how: str) -> None:
    """The run ends as the call returns, though no hook tells."""
    watch = callback()
    # A callback without an order of its own comes before those that have one, such as LightGBM's.
    stops = Raises(lgb.callback.EarlyStopException, 4, [], at=7, order=-5)
    callbacks = {"a callback": lgb.early_stopping(3, verbose=False), "a callback of the person's own": stops}
    parameters = {"early_stopping_round": 3} if how == "a parameter" else {}
    model, result = train(
        None,
        200,
        {"learning_rate": 0.9, **parameters},
        callbacks=[watch, *([callbacks[how]] if how in callbacks else [])],
    )
    assert watch.history.status == "completed"
    assert [mark.text for mark in watch.history.marks] == ["early stopping"]
    values = watch.history.epoch["valid_1_binary_logloss"]
    assert len(values) == model.best_iteration + 3 < 200
    recorded = result["valid_1"]["binary_logloss"]
    assert values[: len(recorded)].tolist() == recorded
    assert watch.history.epochs == 200


def test_a_training_that_goes_to_its_end_is_not_marked() -> None:
    """Early stopping that never came about ends the last iteration by an exception, too."""
    for callbacks in ([], [lgb.early_stopping(50, verbose=False)]):
        watch = callback()
        train(None, callbacks=[watch, *callbacks])
        assert (watch.history.status, watch.history.marks) == ("completed", [])


def test_cross_validation_has_means_and_deviations() -> None:
    watch = callback()
    table = lgb.cv(
        {**PARAMETERS, "metric": ["binary_logloss", "auc"]},
        lgb.Dataset(X, Y),
        5,
        nfold=3,
        eval_train_metric=True,
        callbacks=[watch, lgb.reset_parameter(learning_rate=[0.5, 0.4, 0.3, 0.2, 0.1])],
    )
    epoch = watch.history.epoch
    assert len(epoch) == 9
    for of in ("train", "valid"):
        for metric in ("binary_logloss", "auc"):
            for part, theirs, measured in (("mean", "mean", metric), ("std", "stdv", f"{metric} std")):
                name = f"{of}_{metric}_{part}"
                assert epoch[name].tolist() == table[f"{of} {metric}-{theirs}"]
                assert epoch.series(name).metric == measured
                assert epoch.series(name).split == ("train" if of == "train" else "validation")
    assert epoch["lr"].tolist() == [0.5, 0.4, 0.3, 0.2, 0.1]
    assert (watch.history.epochs, watch.history.status) == (5, "completed")


def test_cross_validation_stops_early() -> None:
    watch = callback()
    stops = lgb.early_stopping(3, verbose=False)
    table = lgb.cv({**PARAMETERS, "learning_rate": 0.9}, lgb.Dataset(X, Y), 200, nfold=3, callbacks=[watch, stops])
    best = table["valid binary_logloss-mean"]
    values = watch.history.epoch["valid_binary_logloss_mean"]
    assert values[: len(best)].tolist() == best
    assert len(values) == len(best) + 3
    assert (watch.history.status, [mark.text for mark in watch.history.marks]) == ("completed", ["early stopping"])


def test_without_sets_there_is_progress_and_a_word_about_it(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once for each bus, however many models a search trains."""
    watch = callback()
    for _ in range(2):
        train(watch, 4, valid_sets=[])
        assert [span.epoch for span in watch.history.spans] == [0, 1, 2, 3]
        assert (watch.history.epochs, watch.history.status, list(watch.history.epoch)) == (4, "completed", ["lr"])
    (said,) = [record.getMessage() for record in caplog.records]
    assert "'run 1' evaluates nothing" in said
    assert "valid_sets=" in said


@pytest.mark.parametrize("name", ["learning_rate", "eta", "shrinkage_rate", None])
def test_the_learning_rate_is_the_one_each_tree_shrank_by(name: str | None) -> None:
    watch = callback()
    # A first tree that holds the mean as well tells nothing of its rate.
    given = {"boost_from_average": False, **({name: 0.7} if name else {})}
    reset = [] if name is None else [lgb.reset_parameter(**{name: lambda i: 0.5 / (i + 1)})]
    model, _ = train(None, 4, given, callbacks=[watch, *reset])
    shrunk = [tree["shrinkage"] for tree in model.dump_model()["tree_info"]]
    assert watch.history.epoch["lr"] == pytest.approx(shrunk, rel=1e-5)
    assert shrunk[1] == pytest.approx(0.25 if name else 0.1)


def test_a_learning_rate_that_nobody_can_know_is_left_out() -> None:
    watch = callback()
    for parameters in ({"boosting": "dart"}, {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}):
        train(watch, parameters=parameters)
        assert "lr" not in watch.history.epoch
    train(None, parameters={"eta": 0.3}, callbacks=[watch, lgb.reset_parameter(learning_rate=lambda i: 0.2)])
    assert "lr" not in watch.history.epoch
    train(None, parameters={"eta": 0.3}, callbacks=[watch, lgb.reset_parameter(eta=lambda i: 0.2)])
    assert watch.history.epoch["lr"].tolist() == [0.2] * 6


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("how", ["train", "cv"])
def test_a_training_that_was_interrupted_ends_its_run(error: type[BaseException], how: str) -> None:
    """No hook tells of it: the run ends once the exception was handled."""
    watch = callback()
    called: Any = lgb.train if how == "train" else lgb.cv
    with pytest.raises(error, match="out of memory"):
        called(PARAMETERS, lgb.Dataset(X, Y), 5, callbacks=[watch, Raises(error, "out of memory")])
    gc.collect()
    assert watch.history.status == "stopped"
    assert len(watch.history.epoch["lr"]) == 3
    train(watch)
    assert [history.status for history in watch._bus.runs] == ["stopped", "completed"]


def test_while_its_exception_is_kept_a_run_ends_with_the_next_training() -> None:
    watch = callback()
    with pytest.raises(ValueError, match="out of memory") as kept:
        train(None, callbacks=[watch, Raises(ValueError, "out of memory")])
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


def test_each_fit_of_a_search_is_a_run() -> None:
    watch = callback()
    search = GridSearchCV(estimator(), {"num_leaves": [3, 7]}, cv=2)
    search.fit(X, Y, eval_set=[(X, Y)], callbacks=[watch])
    assert [history.status for history in watch._bus.runs] == ["completed"] * 5
    assert all(history.epoch["lr"].tolist() == [0.1] * 4 for history in watch._bus.runs)


def test_a_callback_that_nobody_keeps_still_ends_its_run() -> None:
    bus = ew.Bus(strict=True)
    stops = lgb.early_stopping(3, verbose=False)
    train(None, 200, {"learning_rate": 0.9}, callbacks=[EpochCallback(bus=bus), stops])
    assert bus.runs[-1].status == "completed"
    estimator(n_estimators=200, learning_rate=0.9, early_stopping_round=3).fit(
        X[:400], Y[:400], eval_set=[(X[400:], Y[400:])], callbacks=[EpochCallback(bus=bus)]
    )
    assert [(history.status, len(history.marks)) for history in bus.runs] == [("completed", 1)] * 2


def test_a_failure_of_ours_does_not_reach_the_training(caplog: pytest.LogCaptureFixture) -> None:
    watch = callback()

    @watch._bus.subscribe
    def fails(event: Any) -> None:
        raise RuntimeError("a strict bus lets this through")

    _, result = train(watch)
    assert len(result["valid_1"]["binary_logloss"]) == 6
    assert any("it goes on" in record.getMessage() for record in caplog.records)
    caplog.clear()


def test_what_the_callback_refuses() -> None:
    with pytest.raises(TypeError, match="did you mean 'name'"):
        EpochCallback(nam="trees")
    with pytest.raises(ValueError, match="empty"):
        EpochCallback(" ")
    with pytest.raises(AttributeError, match=r"lightgbm\.train"):
        _ = callback().history


@pytest.mark.parametrize("version", ["0.9", "99.0"])
def test_another_version_is_refused_by_both_names(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lgb, "__version__", version)
    with pytest.raises(ImportError, match=rf"needs lightgbm .* or newer, but below .*; {version} is installed"):
        importlib.reload(adapter)


def test_a_training_may_go_on_in_a_former_run() -> None:
    watch = callback()
    model, _ = train(watch, 4)
    history, bus = watch.history, watch._bus
    again = EpochCallback(bus=bus, resume=history)
    train(again, 3, init_model=model)  # LightGBM goes on counting
    assert again.history is history
    (name,) = [name for name in history.epoch if name.startswith("valid_1")]
    assert history.epoch.epochs(name).tolist() == list(range(7))
    back = EpochCallback(bus=bus, resume=history, epoch=2)
    _, result = train(back, 3)  # and counts from 0 where it begins anew
    assert history.epoch.epochs(name).tolist() == list(range(5))
    assert history.epoch[name][2:].tolist() == result["valid_1"]["binary_logloss"]
    assert (history.status, history.epochs, len(bus.runs)) == ("completed", 5, 1)
