"""What a line is: one metric of one split, and which kind of value each of its points holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Granularity = Literal["batch", "epoch"]
Split = Literal["train", "validation"]

#: ``batch``: the value of that batch alone.
#: ``running``: the mean since the epoch began, which is what a Keras console shows.
#: ``epoch``: the mean over an epoch, or the evaluation at its end, which is what a Keras ``History`` holds.
#: ``evaluation``: measured on a whole set at the end of an epoch, also of training, as gradient boosting does.
#: ``smoothed``: the framework's own moving average, as in fastai.
#: ``window``: the mean since the last log, as in the Hugging Face ``Trainer``.
#: ``reported``: what a training step of the person's own returned; only that step knows what it is.
#: ``clock``: no metric at all, but when each batch ended.
Kind = Literal["batch", "running", "epoch", "evaluation", "smoothed", "window", "reported", "clock"]

LEARNING_RATE = "learning rate"
_VALIDATION = "val_"

_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "eval": "validation",
}
_BEFORE = rf"({'|'.join(_WORDS)})[_/.\- ](.+)"
_AFTER = rf"(.+)[_/.\- ]({'|'.join(_WORDS)})"


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a run.

    Attributes
    ----------
    name
        Its name in the history, unique for its granularity.
    granularity
        ``"batch"`` or ``"epoch"``: how often it has a point.
    kind
        What each point stands for, see `Kind`.
    metric
        What is measured (``"loss"``); series of one metric are drawn together.
    split
        ``"train"`` or ``"validation"``.
    """

    name: str
    granularity: Granularity
    kind: Kind
    metric: str
    split: Split

    @classmethod
    def of(cls, name: str, granularity: Granularity) -> Series:
        """Tell a series by its name: ``val_`` marks validation, ``lr`` and ``lr_...`` are learning rates.

        A producer whose framework has other names declares them (`epochwidget.Run.declare`).
        """
        if name == "lr" or name.startswith("lr_") or name == "learning_rate":
            return cls(name, granularity, granularity, LEARNING_RATE, "train")
        if name.startswith(_VALIDATION) and len(name) > len(_VALIDATION):
            return cls(name, granularity, granularity, name.removeprefix(_VALIDATION), "validation")
        return cls(name, granularity, granularity, name, "train")


def parsed(name: str) -> tuple[Split | None, str]:
    """Take a name that a person gave apart into the split that it tells, if any, and the metric.

    ``train_loss``, ``val/loss`` and ``loss_val`` tell one, and Lightning's ``_step`` and ``_epoch`` are of no metric.
    """
    plain = re.sub(r"/dataloader_idx_\d+$", "", name)
    plain = re.sub(r"(?<=.)(?<!per)_(step|epoch)$", "", plain)
    split = None
    if found := re.fullmatch(_BEFORE, plain, re.IGNORECASE):
        split, plain = _WORDS[found[1].lower()], found[2]
    elif found := re.fullmatch(_AFTER, plain, re.IGNORECASE):
        split, plain = _WORDS[found[2].lower()], found[1]
    return split, "loss" if plain.lower() == "loss" else plain
