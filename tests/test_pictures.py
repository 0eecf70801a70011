import io
import subprocess
import sys
import warnings

import matplotlib.image
import numpy as np
import pytest

import epochwidget as ew
from epochwidget.pictures import View, draw, png


def trained(bus, name="digits", epochs=3, batches=40, **more):
    with ew.Run(name, epochs=epochs, bus=bus) as run:
        for epoch in run.epochs():
            for batch in run.batches(range(batches)):
                t = epoch * batches + batch
                run.log(loss=2 / (1 + t), accuracy=1 - 1 / (2 + t), lr=1e-3, **more)
            run.log_epoch(val_loss=0.5 - epoch / 10, val_accuracy=0.8)
            if epoch == 1:
                run.mark("unfroze")
    return run.history


def lines(axes):
    """The lines of one panel by their words in the legend."""
    legend = axes.get_legend()
    words = [text.get_text() for text in legend.get_texts()]
    return dict(zip(words, legend.legend_handles, strict=True))


def drawn(axes, length):
    """What is drawn of the line that has so many points."""
    [found] = [
        line.get_xydata() for line in axes.get_lines() if len(line.get_xdata()) == length and line.get_zorder() > 0
    ]
    return found


def test_values_stand_where_and_under_the_words_that_the_page_has(bus):
    figure = draw(trained(bus), View())
    loss, accuracy, rate = figure.get_axes()
    assert [axes.get_title(loc="left") for axes in (loss, accuracy, rate)][1:] == ["accuracy", "learning rate"]
    assert loss.get_xlabel() == "epoch"
    names = list(lines(loss))
    assert names[0].startswith("train batch, smoothed 0.9: ")
    assert names[1].startswith("train epoch mean ")
    assert names[2] == "validation epoch 0.3"
    assert list(lines(rate)) == ["lr each step 0.001"]
    means, validation = (line for line in loss.get_lines() if len(line.get_xdata()) == 3)
    np.testing.assert_allclose(means.get_xdata(), [0.5, 1.5, 2.5])
    np.testing.assert_allclose(validation.get_xydata(), [[1, 0.5], [2, 0.4], [3, 0.3]])
    assert "unfroze" in [text.get_text() for text in loss.texts]
    assert "finished, 3 epochs, 120 batches" in figure.get_suptitle()


@pytest.mark.parametrize("log", [False, True])
def test_values_near_the_end_of_floats_cost_no_picture(bus, log):
    with ew.Run("huge", bus=bus) as run:
        for loss in (1.0, 2.0, 1.7e308, -1.7e308, 3.0):
            run.log(loss=loss, accuracy=1e308)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw(run.history, View(smoothing=0, log=log))
        figure.savefig(io.BytesIO(), format="png")
    words = [list(lines(axes)) for axes in figure.get_axes()]
    assert words == [["train each step 3, 2 too large to draw"], ["train each step 1e+308, 5 too large to draw"]]


def test_means_may_stand_at_the_end_and_steps_on_the_axis(bus):
    history = trained(bus)
    axes = draw(history, View(x_axis="step", smoothing=0)).get_axes()[0]
    assert axes.get_xlabel() == "step"
    np.testing.assert_allclose(drawn(axes, 120)[:, 0], np.arange(1, 121))
    np.testing.assert_allclose(drawn(axes, 120)[:, 1], history.batch["loss"])
    ends = draw(history, View(means_at="end")).get_axes()[0]
    for line in ends.get_lines():
        if len(line.get_xdata()) == 3:
            np.testing.assert_allclose(line.get_xdata(), [1, 2, 3])


def test_of_a_run_that_goes_on_all_is_drawn_that_was_logged(bus):
    run = ew.Run("a", bus=bus)
    for step in range(30):
        run.log(loss=float(step))
    axes = run.history.plot(x_axis="step", smoothing=0).get_axes()[0]
    np.testing.assert_array_equal(drawn(axes, 30)[:, 1], np.arange(30))
    run.end()


def test_a_spike_ruins_no_axis_and_is_told(bus):
    with ew.Run("a", bus=bus) as run:
        for step in range(200):
            run.log(loss=1e9 if step == 77 else 1 + step % 5)
    axes = draw(run.history, View()).get_axes()[0]
    assert axes.get_title(loc="left") == "loss (1 outlier beyond the scale)"
    assert axes.get_ylim()[1] < 10


def test_nan_is_told_and_a_log_scale_leaves_out_what_it_cannot_show(bus):
    with ew.Run("a", bus=bus) as run:
        for value in (1.0, float("nan"), -2.0, 0.0, float("inf"), 5.0):
            run.log(loss=value)
    [line] = lines(draw(run.history, View(log=True)).get_axes()[0])
    assert line.endswith("2 not finite")
    for value in (float("nan"), float("inf")):
        with ew.Run("a", bus=bus) as run:
            run.log(loss=value)
        axes = draw(run.history, View(log=True)).get_axes()[0]
        assert [text.get_text() for text in axes.texts] == ["no finite values"]


def test_names_are_text(bus):
    evil = "$\\frac{1}$ \n\x07 <b> שלום 🙂" + "x" * 10_000
    history = trained(bus, evil, **{evil: 1.0, "_private": 2.0, "$": 3.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = png(history, View())
    assert picture is not None
    image = matplotlib.image.imread(io.BytesIO(picture), format="png")
    assert image.shape[1] == 960
    titles = [axes.get_title(loc="left") for axes in draw(history, View()).get_axes()]
    assert any("_private" in title for title in titles)


@pytest.mark.parametrize("metrics", [1, 2, 5, 30])
def test_it_stays_a_picture_of_bounded_size(bus, metrics):
    with ew.Run("a", bus=bus) as run:
        for step in range(5000):
            run.log(**{f"metric_{k}": np.sin(step * k) for k in range(metrics)})
    picture = png(run.history, View())
    assert picture is not None
    assert len(picture) < 200_000
    if metrics > 9:
        assert "21 more panels" in draw(run.history, View()).get_suptitle()


def test_a_run_of_epochs_alone_and_one_of_nothing(bus):
    with ew.Run("epochs", bus=bus) as run:
        for epoch in range(4):
            run.log_epoch(auc=0.5 + epoch / 10)
    axes = draw(run.history, View()).get_axes()[0]
    np.testing.assert_allclose(axes.get_lines()[0].get_xdata(), [0.5, 1.5, 2.5, 3.5])
    with ew.Run("nothing", bus=bus) as run:
        pass
    assert draw(run.history, View()).get_axes()[0].get_title(loc="left") == "no values yet"


def test_plot_says_what_it_takes(bus):
    history = trained(bus)
    assert len(history.plot("epoch", log=True, smoothing=0.5).get_axes()) == 3
    with pytest.raises(ValueError, match=r"plot\(granularity=\.\.\.\) is one of 'both', 'batch', 'epoch', got 'day'"):
        history.plot("day")
    with pytest.raises(ValueError, match=r"from 0 to 0\.999, got 1"):
        history.plot(smoothing=1)
    with pytest.raises(TypeError, match="smoothing"):
        history.plot(smoothing="much")


def test_without_matplotlib_everything_else_works():
    code = """
import sys
sys.modules["matplotlib"] = None
import epochwidget as ew
from epochwidget.pictures import View, png
with ew.Run("a") as run:
    run.log(loss=1.0)
assert png(run.history, View()) is None
bundle, _ = ew.EpochWidget()._repr_mimebundle_()
assert "image/png" not in bundle and bundle["text/plain"].startswith("EpochWidget(): ")
try:
    run.history.plot()
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ("A picture is drawn by matplotlib, which is not installed: pip install matplotlib.")
