import pytest

from epochwidget.series import parsed


@pytest.mark.parametrize(
    ("name", "split", "metric"),
    [
        ("train_loss", "train", "loss"),
        ("loss_step", None, "loss"),
        ("Loss/train", "train", "loss"),
        ("valid_loss", "validation", "loss"),
        ("val/loss", "validation", "loss"),
        ("Validation Loss", "validation", "loss"),
        ("loss_val", "validation", "loss"),
        ("val_acc_epoch", "validation", "acc"),
        ("val_acc/dataloader_idx_1", "validation", "acc"),
        ("eval.f1", "validation", "f1"),
        ("train_loss_step", "train", "loss"),
        ("seconds_per_epoch", None, "seconds_per_epoch"),
        ("g_loss", None, "g_loss"),
        ("interval", None, "interval"),
        ("training", None, "training"),
        ("val", None, "val"),
        ("epoch", None, "epoch"),
        ("_step", None, "_step"),
    ],
)
def test_a_name_is_taken_apart(name, split, metric):
    assert parsed(name) == (split, metric)
