import time

import bqplot as bq
import numpy as np
import pytest

import epochwidget as ew
from epochwidget.bqplot import Dashboard, figure


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def lines(figure):
    return {mark.labels[0]: mark for mark in figure.marks}


def trained(bus, name="digits", epochs=3, batches=50):
    with ew.Run(name, epochs=epochs, bus=bus) as run:
        for epoch in run.epochs():
            for batch in run.batches(range(batches)):
                run.log(loss=1 / (1 + batch + batches * epoch), accuracy=0.5, lr=1e-3)
            run.log_epoch(val_loss=0.5 - epoch / 10)
    return run.history


def test_a_figure_has_a_line_for_each_series_at_the_places_of_the_page(bus):
    history = trained(bus)
    found = lines(figure(history))
    assert set(found) == {"train batch", "train mean", "validation epoch"}
    np.testing.assert_allclose(found["train batch"].x, np.arange(1, 151) / 50)
    np.testing.assert_array_equal(found["train batch"].y, history.batch["loss"])
    np.testing.assert_allclose(found["train mean"].x, [0.5, 1.5, 2.5])
    np.testing.assert_allclose(found["validation epoch"].x, [1, 2, 3])
    assert found["validation epoch"].line_style == "dashed"
    assert set(lines(figure(history, granularity="epoch"))) == {"train mean", "validation epoch"}
    np.testing.assert_array_equal(lines(figure(history, x_axis="step"))["train batch"].x, np.arange(1, 151))
    assert set(lines(figure(history, "learning rate"))) == {"lr batch"}


def test_a_line_has_a_thousand_points_at_most_and_every_spike(bus):
    values = np.sin(np.arange(50_000))
    values[[77, 31_234]] = 55, -66
    values[40_000] = np.nan
    with ew.Run("a", bus=bus) as run:
        for value in values:
            run.log(loss=float(value))
    [line] = [mark for mark in figure(run.history, x_axis="step").marks if mark.labels == ["train batch"]]
    assert len(line.x) <= 1000
    assert np.nanmax(line.y) == 55
    assert np.nanmin(line.y) == -66
    assert np.isnan(line.y).any(), "NaN is a gap"
    at = line.x.astype(int) - 1
    np.testing.assert_array_equal(line.y, values[at])


def test_a_figure_follows_its_run_at_most_five_times_a_second_and_keeps_what_else_is_on_it(bus):
    run = ew.Run("a", epochs=2, bus=bus)
    run.log(loss=1.0)
    shown = figure(run.history)
    mine = bq.Label(text=["mine"], x=[0.5], y=[0.5])
    shown.marks = [*shown.marks, mine]
    [line] = [mark for mark in shown.marks if mark is not mine]
    changes = []
    line.observe(lambda change: changes.append(time.monotonic()), "y")
    began = time.monotonic()
    while time.monotonic() < began + 1.5:
        run.log(loss=0.5)
        time.sleep(0.002)
    assert 2 <= len(changes) <= 1 + 5 * (changes[-1] - began)
    run.log_epoch(val_loss=0.3)
    wait_for(lambda: len(shown.marks) == 4)
    assert mine in shown.marks
    run.end()
    wait_for(lambda: len(line.y) == min(len(run.history.batch["loss"]), len(line.y)) and line.x[-1] == 1)


def test_a_dashboard_shows_all_metrics_of_the_newest_run_and_follows_the_bus(bus):
    dashboard = Dashboard(bus)
    assert dashboard.figures == {}
    first = trained(bus)
    wait_for(lambda: list(dashboard.figures) == ["loss", "accuracy", "learning rate"])
    wait_for(lambda: len(lines(dashboard.figures["loss"][0])["train batch"].y) == 150)
    assert set(lines(dashboard.figures["loss"][1])) == {"train mean", "validation epoch"}
    trained(bus, epochs=1)
    wait_for(lambda: len(lines(dashboard.figures["loss"][0])["train batch"].y) == 50)
    dashboard.close()
    both = Dashboard([first, bus.runs[-1]])
    assert {name.split(":")[0] for name in lines(both.figures["loss"][0])} == {"digits · run 1", "digits · run 2"}
    colours = [mark.colors[0] for mark in both.figures["loss"][1].marks if "mean" in mark.labels[0]]
    assert len(set(colours)) == 2
    both.close()


def test_what_is_none_of_these_is_refused(bus):
    history = trained(bus)
    with pytest.raises(TypeError, match=r"figure\(\) needs a history"):
        figure("loss")
    with pytest.raises(ValueError, match="'both', 'batch', 'epoch', got 'day'"):
        figure(history, granularity="day")
    with pytest.raises(ValueError, match="'epoch', 'step', got 'time'"):
        figure(history, x_axis="time")
    for wrong in ("runs", 3, [1]):
        with pytest.raises(TypeError, match=r"Dashboard\(\) needs a history, a list of histories, or a bus"):
            Dashboard(wrong)
