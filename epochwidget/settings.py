"""What the person chooses: the traits that Python and the page keep in step. Twin: ``js/src/settings.ts``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from math import isfinite
from numbers import Real
from typing import Any

import traitlets

from .history import History
from .panels import Panel


class _Words(traitlets.Dict):
    """A dict of text, whose values are of a few words."""

    def __init__(self, key: str, *words: str) -> None:
        self._key, self._words = key, words
        super().__init__()

    def validate(self, obj: Any, value: Any) -> Any:
        for key, word in super().validate(obj, value).items():
            if not isinstance(key, str):
                raise traitlets.TraitError(f"{self.name} names {self._key} by its text, got {key!r}.")
            if word not in self._words:
                accepted = " or ".join(map(repr, self._words))
                raise traitlets.TraitError(f"{self.name}[{key!r}] has to be {accepted}, got {word!r}.")
        return dict(value)


class _RunIds(traitlets.List):
    """A list of the ids of runs. Accepts the runs themselves and their names, too."""

    def validate(self, obj: Any, value: Any) -> Any:
        if isinstance(value, str) or not isinstance(value, Collection):
            raise traitlets.TraitError(f"{self.name} has to be a list of runs, got {value!r}.")
        ids = [obj.run_id(self.name, run) for run in value]
        return super().validate(obj, list(dict.fromkeys(ids)))


class _RunId(traitlets.Unicode):
    """The id of a run, or nothing. Accepts the run itself and its name, too."""

    def validate(self, obj: Any, value: Any) -> Any:
        return super().validate(obj, "" if value == "" else obj.run_id(self.name, value))


class _RunNames(traitlets.Dict):
    """A dict of names by the ids of runs. Accepts the runs themselves and their present names as keys, too."""

    def validate(self, obj: Any, value: Any) -> Any:
        names = {obj.run_id(self.name, run): name for run, name in super().validate(obj, value).items()}
        for run, name in names.items():
            if not isinstance(name, str) or not name.strip():
                raise traitlets.TraitError(f"{self.name}[{run!r}] has to be a text that can be read, got {name!r}.")
        return names


class _Panels(traitlets.List):
    """A list of panels; over the wire each is a plain dict."""

    def validate(self, obj: Any, value: Any) -> Any:
        panels = []
        for item in super().validate(obj, value):
            if isinstance(item, Mapping) and not {"title", "metrics"} <= set(item) <= {"title", "metrics", "scale"}:
                raise traitlets.TraitError(
                    f"{self.name} holds {item!r}: a panel has a title and metrics, and a scale if need be."
                )
            try:
                panels.append(Panel(**item) if isinstance(item, Mapping) else item)
            except (TypeError, ValueError) as error:
                raise traitlets.TraitError(f"{self.name} holds {item!r}: {error}") from error
            if not isinstance(panels[-1], Panel):
                raise traitlets.TraitError(f"{self.name} has to be a list of epochwidget.Panel, got {item!r} in it.")
        _refuse_twice([panel.title for panel in panels], "Two panels have the title {}: give each a title of its own.")
        metrics = [metric for panel in panels for metric in panel.metrics]
        _refuse_twice(metrics, "{} is on two panels: a metric has one place.")
        return panels

    @staticmethod
    def told(panels: list[Panel], _widget: Any) -> list[dict[str, Any]]:
        """Return what goes over the wire."""
        return [{"title": panel.title, "metrics": list(panel.metrics), "scale": panel.scale} for panel in panels]


class _Lines(traitlets.List):
    """A list of lines, each named as the page does: ``"batch:loss"``, or ``"!batch:running_loss"`` to show it."""

    def validate(self, obj: Any, value: Any) -> Any:
        lines = super().validate(obj, value)
        for line in lines:
            if not re.fullmatch(r"!?(batch|epoch):.+", line, re.DOTALL):
                raise traitlets.TraitError(
                    f"{self.name} names lines by granularity and series, as 'batch:loss' to hide one or "
                    f"'!batch:running_loss' to show one; got {line!r}."
                )
        return lines


class _Stretch(traitlets.List):
    """Nothing, or two numbers of which the first is smaller."""

    def validate(self, obj: Any, value: Any) -> Any:
        ends = list(value) if isinstance(value, Collection) and not isinstance(value, (str, Mapping)) else [value]
        if ends and not (len(ends) == 2 and all(map(_is_finite, ends)) and ends[0] < ends[1]):
            raise traitlets.TraitError(
                f"{self.name} has to be [from, to] in units of x_axis, two finite numbers of which the first is "
                f"smaller, or [] for all there is; got {value!r}."
            )
        return super().validate(obj, [float(end) for end in ends])


class _Weight(traitlets.Float):
    """A number from 0 to 0.999."""

    def validate(self, obj: Any, value: Any) -> Any:
        if not _is_finite(value) or not 0 <= value <= 0.999:
            raise traitlets.TraitError(f"{self.name} has to be a number from 0 to 0.999, got {value!r}.")
        return super().validate(obj, float(value))


class Settings(traitlets.HasTraits):
    """The traits that page and kernel keep in step; `epochwidget.EpochWidget` says what each of them means."""

    granularity = traitlets.Enum(("both", "batch", "epoch"), "both").tag(sync=True)
    x_axis = traitlets.Enum(("epoch", "step", "time", "wall"), "epoch").tag(sync=True)
    zoom = _Stretch().tag(sync=True)
    follow = traitlets.Bool(False).tag(sync=True)
    smoothing = _Weight(0.9).tag(sync=True)
    means_at = traitlets.Enum(("middle", "end"), "middle").tag(sync=True)
    log_scale = traitlets.Bool(False).tag(sync=True)
    scales = _Words("a panel", "log", "linear").tag(sync=True)
    unclipped = traitlets.List(traitlets.Unicode()).tag(sync=True)
    gap = traitlets.Bool(False).tag(sync=True)
    directions = _Words("a metric", "min", "max").tag(sync=True)
    hidden = _Lines(traitlets.Unicode()).tag(sync=True)
    panels = _Panels().tag(sync=True, to_json=_Panels.told)
    order = traitlets.List(traitlets.Unicode()).tag(sync=True)
    closed = traitlets.List(traitlets.Unicode()).tag(sync=True)
    enlarged = traitlets.Unicode("").tag(sync=True)
    run = _RunId("").tag(sync=True)
    runs = _RunIds(traitlets.Unicode()).tag(sync=True)
    last = traitlets.Int(None, min=1, allow_none=True).tag(sync=True)
    pinned = _RunIds(traitlets.Unicode()).tag(sync=True)
    hidden_runs = _RunIds(traitlets.Unicode()).tag(sync=True)
    names = _RunNames().tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    height = traitlets.Int(300, min=120, max=2000).tag(sync=True)
    compact = traitlets.Bool(False).tag(sync=True)
    table = traitlets.Bool(False).tag(sync=True)
    theme = traitlets.Enum(("auto", "light", "dark"), "auto").tag(sync=True)

    def run_id(self, trait: str, run: Any) -> str:
        """Return the id of a run that was given for a trait, see `find_run`."""
        raise NotImplementedError


def find_run(trait: str, run: Any, known: Iterable[History], forgotten: Collection[str]) -> str:
    """Return the id of a run that was given as its history, its handle, its id or its name.

    Parameters
    ----------
    trait
        What it was given for.
    run
        What was given. Of several runs of one name the newest is meant.
    known
        The runs that there are, oldest first.
    forgotten
        The ids of runs that the page may still know.

    Raises
    ------
    traitlets.TraitError
        If there is no such run, naming those there are.
    """
    given = getattr(run, "history", run)  # of an `epochwidget.Run` and of a callback
    newest_first = list(known)[::-1]
    for history in newest_first:
        if given is history or given in (history.run, history.title):
            return history.run
    for history in newest_first:
        if given == history.name:
            return history.run
    if isinstance(given, str) and given in forgotten:
        return given
    titles = [history.title for history in newest_first]
    names = [history.name for history in newest_first]
    near = get_close_matches(given, [*titles, *names], n=1) if isinstance(given, str) else []
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    there_are = ", ".join(map(repr, titles)) or "none yet"
    raise traitlets.TraitError(f"{trait} knows no run {given!r}{hint}; on this bus there are: {there_are}.")


def _is_finite(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and isfinite(value)


def _refuse_twice(items: list[str], sentence: str) -> None:
    for index, item in enumerate(items):
        if item in items[:index]:
            raise traitlets.TraitError(f"panels: {sentence.format(repr(item))}")
