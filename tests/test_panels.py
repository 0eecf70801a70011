import pytest

from epochwidget import Panel


def test_a_panel_holds_its_metrics_and_cannot_change():
    panel = Panel("Gradients", ["grad_norm", "val_loss"])
    assert (panel.title, panel.metrics, panel.scale) == ("Gradients", ("grad_norm", "val_loss"), "auto")
    assert hash(panel) == hash(Panel("Gradients", ("grad_norm", "val_loss")))
    with pytest.raises(AttributeError):
        panel.title = "other"


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (("", ["loss"]), ValueError, "The title of a panel is empty: give it a name that can be read on a plot."),
        ((3, ["loss"]), TypeError, "The title of a panel has to be a text, got 3."),
        (("a", "loss"), TypeError, "The metrics of a panel have to be a list of names, got 'loss'."),
        (("a", [3]), TypeError, "A metric of a panel has to be a text, got 3."),
        (("a", []), ValueError, "The panel 'a' shows nothing: name a metric, for example ['loss']."),
        (
            ("a", ["loss"], "logarithmic"),
            ValueError,
            "The scale of a panel has to be 'auto', 'linear' or 'log', got 'logarithmic'.",
        ),
    ],
)
def test_a_bad_panel_is_refused(arguments, error, sentence):
    with pytest.raises(error) as raised:
        Panel(*arguments)
    assert str(raised.value) == sentence
