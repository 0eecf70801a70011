"""A run's plots as a picture that needs no page: drawn by matplotlib, which is asked for only then.

It tells what the page tells, with fewer words: batches pale under their average, means at the middle of their epoch,
validation at its end, the learning rate, the borders of the epochs and the person's marks.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import shell
from .columns import Floats
from .panels import label, panel
from .scalars import scalar
from .series import LEARNING_RATE, Series
from .smoothing import smoothed
from .spikes import extremes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .history import History, Span
    from .points import Points

# Okabe and Ito's, darkened where they stand on white; the page's light theme has the same.
COLOURS = {
    "train": "#0072b2",
    "mean": "#003f66",
    "validation": "#d55e00",
    "purple": "#b0528e",
    "yellow": "#946c00",
    "sky": "#2a86bf",
    "rate": "#00805c",
    "muted": "#6b7280",
}
_OTHERS = [COLOURS[name] for name in ("purple", "yellow", "sky", "rate", "muted")]
_TEXT, _FAINT, _GRID = "#1f2328", "#57606a", "#e3e6ea"

# As many points of a line as a picture can show; lowest and highest of each stretch are among them.
_POINTS = 2000
_MOST_PANELS = 9
_MOST_BORDERS = 40
_MOST_MARKS = 12
_DPI = 100
_LARGEST = 1e300


class View(NamedTuple):
    """What of a run a picture shows."""

    granularity: str = "both"
    #: ``"step"`` or ``"epoch"``.
    x_axis: str = "epoch"
    smoothing: float = 0.9
    log: bool = False
    #: By title of a panel, ``"log"`` or ``"linear"``.
    scales: Mapping[str, str] = {}
    #: The titles of the panels that come first, and of those that are not shown.
    order: Sequence[str] = ()
    closed: Sequence[str] = ()
    means_at: str = "middle"

    @classmethod
    def of(cls, method: str, granularity: Any, *, x_axis: Any, smoothing: Any = 0.9, log: Any = False) -> View:
        """Return a view of what a person asked `method` for, or raise."""
        for name, value, accepted in (
            ("granularity", granularity, ("both", "batch", "epoch")),
            ("x_axis", x_axis, ("epoch", "step")),
        ):
            if value not in accepted:
                raise ValueError(f"{method}({name}=...) is one of {', '.join(map(repr, accepted))}, got {value!r}.")
        weight = float(scalar("smoothing", smoothing))
        if not 0 <= weight <= 0.999:
            raise ValueError(f"{method}(smoothing=...) has to be a number from 0 to 0.999, got {smoothing!r}.")
        return cls(granularity, x_axis, weight, bool(log))


class _Line(NamedTuple):
    points: Points
    places: Floats
    values: Floats
    # What an average over it is made of, which is not the spikes alone where points were merged.
    steps: Floats
    averaged: Floats
    averaged_places: Floats


def draw(history: History, view: View) -> Figure:
    """Draw a run.

    Parameters
    ----------
    history
        The run.
    view
        What of it.

    Returns
    -------
    matplotlib.figure.Figure
        The loss, where there is one, large; everything else beside it, at most eight panels.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - asked for only here
    except ImportError:
        raise ImportError("A picture is drawn by matplotlib, which is not installed: pip install matplotlib.") from None
    panels = _panels(history, view)
    lead, *others = list(panels.items())[:_MOST_PANELS] or [("no values yet", [])]
    columns = 1 if len(others) <= 2 else 2
    rows = max(1, -(-len(others) // columns))
    tall = 3.6 if rows <= 2 else 1.75 * rows
    figure = Figure(figsize=(9.6, tall), dpi=_DPI, layout="constrained", facecolor="white")
    grid = figure.add_gridspec(rows, (2 if others else 1) * columns)
    _draw_panel(figure.add_subplot(grid[:, : columns if others else None]), history, *lead, view, is_lead=True)
    for k, other in enumerate(others):
        _draw_panel(figure.add_subplot(grid[k // columns, columns + k % columns]), history, *other, view)
    figure.suptitle(_plain(_title(history, len(panels))), x=0.01, ha="left", fontsize=10, color=_TEXT)
    return figure


def png(history: History, view: View) -> bytes | None:
    """Return the picture of a run as PNG, or None where matplotlib is not installed."""
    try:
        figure = draw(history, view)
    except ImportError:
        return None
    buffer = BytesIO()
    with warnings.catch_warnings():
        # Of letters that its font does not have it draws boxes, and need not tell the person in the cell that trained.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def shown_by_ipython(figure: Figure) -> Figure:
    """Have IPython show a figure that is a cell's last expression, as it does for those of pyplot."""
    ipython = shell.present()
    if ipython is not None and type(figure) not in ipython.display_formatter.formatters["image/png"]:
        from IPython.core.pylabtools import select_figure_formats  # noqa: PLC0415

        select_figure_formats(ipython, {"png"})  # type: ignore[no-untyped-call]
    return figure


def _title(history: History, panels: int) -> str:
    status = "finished" if history.status == "completed" else history.status
    done = f"{len(history.spans)} epochs, " if history.spans else ""
    left_out = f" · {panels - _MOST_PANELS} more panels" if panels > _MOST_PANELS else ""
    return f"{_short(history.title, 60)} · {status}, {done}{history.step} batches{left_out}"


def _panels(history: History, view: View) -> dict[str, list[_Line]]:
    """Return the lines of each panel: the loss first, the learning rate last."""
    history.fold()
    parts = history.parts()
    place = Places(parts.spans, history.step, view)
    found: dict[str, list[_Line]] = {}
    for points in parts.points[1:]:
        series, count = points.series, len(points)
        if count and not (series.metric == LEARNING_RATE and history.purpose == "lr search"):
            steps, epochs = points.steps.array(0, count), points.epochs.array()[:count]
            places, values = place.of(series, steps, epochs), points.values.array(0, count)
            line = _Line(points, places, values, steps, values, places)
            if points.merged.kept:
                steps, averaged = points.averaged(count)
                line = _Line(points, places, values, steps, averaged, place.of(series, steps, epochs))
            found.setdefault(panel(series), []).append(line)
    for title, lines in found.items():
        here = [line.points.series for line in lines]
        found[title] = [line for line in lines if is_wanted(line.points.series, here, view.granularity)]
    return {title: found[title] for title in in_order(found, view.order) if title not in view.closed}


def in_order(titles: Iterable[str], order: Sequence[str] = ()) -> list[str]:
    """Return the titles of panels in their order: what was put first, the loss, and the learning rate last."""
    ranks = {"loss": 0, LEARNING_RATE: 2, **{title: k - len(order) for k, title in enumerate(order)}}
    return sorted(titles, key=lambda title: ranks.get(title, 1))


def is_wanted(series: Series, panel: Iterable[Series], granularity: str) -> bool:
    """Tell whether a series of a panel belongs to a view, as on the page."""
    others = [other for other in panel if other != series]
    # The running mean stays out of the plot as long as the batches' own values are there to be seen.
    if series.kind == "running" and any(
        other.kind != "running" and other.granularity == series.granularity and other.split == series.split
        for other in others
    ):
        return False
    if granularity in ("both", series.granularity) or series.split == "validation":
        return True
    return not any(other.granularity == granularity and other.split == series.split for other in others)


class Places:
    """Where points stand on the x axis, as on the page (``js/src/timeline.ts``)."""

    def __init__(self, spans: Sequence[Span], step: int, view: View) -> None:
        self.in_epochs = bool(spans) and (view.x_axis == "epoch" or step == 0)
        self._middle = view.means_at == "middle"
        self._firsts = np.array([span.first for span in spans], dtype=float)
        self._epochs = np.array([span.epoch for span in spans], dtype=float)
        ends = np.append(self._firsts[1:], step)
        seen = ends - self._firsts
        planned = [span.batches for span in spans]
        if planned:
            seen[-1] = max(seen[-1], planned[-1] or 0)
        self._lengths = seen

    def of(self, series: Series, steps: Floats, epochs: Floats) -> Floats:
        """Return the place of each point."""
        if not self.in_epochs:
            return steps
        if is_mean(series) and self._middle:
            return epochs + 0.5
        if series.granularity == "epoch" and not self._lengths.any():
            return epochs + 1
        at = np.clip(self._firsts.searchsorted(steps, side="left") - 1, 0, None)
        lengths = self._lengths[at]
        inside: Floats = np.divide(steps - self._firsts[at], lengths, out=np.ones(len(at)), where=lengths > 0)
        places: Floats = self._epochs[at] + inside
        return places


def is_mean(series: Series) -> bool:
    """Whether each point is a mean over an epoch, which stands for the epoch's middle."""
    return (
        series.granularity == "epoch"
        and series.kind == "epoch"
        and series.split == "train"
        and series.metric != LEARNING_RATE
    )


def _drawable(values: Floats) -> npt.NDArray[np.bool_]:
    """Tell which values matplotlib can draw: it reckons with differences, which of the largest are infinite."""
    return np.abs(values) < _LARGEST


def _draw_panel(
    axes: Axes, history: History, title: str, lines: Sequence[_Line], view: View, *, is_lead: bool = False
) -> None:
    values = np.concatenate([line.values for line in lines]) if lines else np.zeros(0)
    finite = values[_drawable(values)]
    suits = title in ("loss", LEARNING_RATE) or bool(
        len(finite) and finite.min() > 0 and finite.max() > 100 * finite.min()
    )
    is_log = view.scales.get(title, "log" if view.log and suits else "linear") == "log" and bool((finite > 0).any())
    if is_log:
        axes.set_yscale("log", nonpositive="mask")
    handles, words = [], []
    for rank, line in enumerate(lines):
        artist, text = _draw_line(axes, line, rank, lines, view, is_log=is_log)
        handles.append(artist)
        words.append(_plain(_short(text, 70)))
    if lines and not len(finite):
        axes.text(0.5, 0.5, "no finite values", transform=axes.transAxes, ha="center", color=_FAINT)
    beyond = _leave_outliers_out(axes, lines, is_log=is_log)
    _draw_frame(axes, history, _short(title, 40) + beyond, view, is_lead=is_lead)
    if handles:
        # By handles and words: a name that begins with "_" would be left out otherwise.
        axes.legend(handles, words, fontsize=7, frameon=False, labelcolor=_TEXT, handlelength=2.2)


def _draw_line(
    axes: Axes, line: _Line, rank: int, lines: Sequence[_Line], view: View, *, is_log: bool
) -> tuple[Any, str]:
    series, places, values = line.points.series, line.places, line.values
    alone = sum(
        other.points.series.split == series.split
        for other in lines
        if other.points.series.granularity == series.granularity
    )
    colour = COLOURS["rate" if series.metric == LEARNING_RATE else series.split]
    twins = [other.points.series for other in lines[:rank]]
    same = sum(other.granularity == series.granularity and other.split == series.split for other in twins)
    if same:
        colour = _OTHERS[(same - 1) % len(_OTHERS)]
    elif is_mean(series):
        colour = COLOURS["mean"]
    name = series.name if alone > 1 else label(series)
    last = _number(values[-1])
    faults = int((~np.isfinite(values)).sum())
    fault = f", {faults} not finite" if faults else ""
    if huge := int((np.isfinite(values) & ~_drawable(values)).sum()):
        fault += f", {huge} too large to draw"
    if series.granularity == "batch":
        smooth = series.kind == "batch" and series.metric != LEARNING_RATE and view.smoothing > 0 and len(values) > 1
        if not smooth:
            [artist] = _plot(axes, places, values, is_log, color=colour, lw=1.4)
            return artist, f"{name} {_KINDS[series.kind]} {last}{fault}"
        average = smoothed(line.steps, line.averaged, view.smoothing)
        _plot(axes, places, values, is_log, color=colour, lw=0.7, alpha=0.3)
        [artist] = _plot(axes, line.averaged_places, average, is_log, color=colour, lw=1.6)
        return artist, f"{name} batch, smoothed {view.smoothing:g}: {_number(average[-1])}{fault}"
    few = len(values) <= 60
    mean = is_mean(series)
    [artist] = _plot(
        axes,
        places,
        values,
        is_log,
        color=colour,
        lw=1.4,
        ls=":" if series.split == "train" else "--",
        marker="o" if few or len(values) == 1 else None,
        ms=4,
        mfc="white" if series.split == "train" else colour,
    )
    return artist, f"{name} {'epoch mean' if mean else _KINDS[series.kind]} {last}{fault}"


def _leave_outliers_out(axes: Axes, lines: Sequence[_Line], *, is_log: bool) -> str:
    """Choose a y axis that a few outliers do not ruin, by the page's rule (``js/src/ranges.ts``); say how many."""
    groups: dict[str, list[Floats]] = {}
    for line in lines:
        shown = line.values[extremes(line.values, _POINTS)]
        shown = shown[_drawable(shown) & ((shown > 0) | (not is_log))]
        groups.setdefault(line.points.series.split, []).append(np.log10(shown) if is_log else shown)
    ends = [_robust(np.sort(np.concatenate(values))) for values in groups.values() if any(map(len, values))]
    if not ends:
        return ""
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    values = np.concatenate([each for group in groups.values() for each in group])
    beyond = int(((values < low) | (values > high)).sum())
    if not beyond:
        return ""
    room = 0.05 * (high - low)
    bottom, top = low - room, high + room
    axes.set_ylim(*((10**bottom, 10**top) if is_log else (bottom, top)))
    return f" ({beyond} outlier{'s' if beyond > 1 else ''} beyond the scale)"


def _robust(values: Floats) -> tuple[float, float]:
    """Return the ends of sorted values without the few, one in a hundred at each end, that are far from all others."""
    n = len(values)
    low, high = float(values[0]), float(values[-1])
    few = max(1, n // 100)
    bottom, top = float(values[min(few, n - 1)]), float(values[max(n - 1 - few, 0)])
    width = top - bottom
    if n < 20 or not width > 0:
        return low, high
    if bottom - low > 1.5 * width:
        low = float(values[values.searchsorted(bottom - 0.5 * width)])
    if high - top > 1.5 * width:
        high = float(values[values.searchsorted(top + 0.5 * width, side="right") - 1])
    return low, high


_KINDS: Mapping[str, str] = {
    "batch": "each step",
    "running": "running mean",
    "epoch": "epoch",
    "evaluation": "evaluated",
    "smoothed": "smoothed by the framework",
    "window": "mean since the last log",
    "reported": "as reported",
}


def _plot(axes: Axes, places: Floats, values: Floats, is_log: bool, **look: Any) -> Any:
    at = extremes(values, _POINTS)
    shown = values[at]
    with np.errstate(invalid="ignore"):
        drawn = np.where(_drawable(shown) & ((shown > 0) | (not is_log)), shown, np.nan)
    return axes.plot(places[at], drawn, **look)


def _draw_frame(axes: Axes, history: History, title: str, view: View, *, is_lead: bool) -> None:
    place = Places(history.spans, history.step, view)
    axes.set_title(_plain(title), loc="left", fontsize=9, color=_TEXT)
    axes.set_xlabel("epoch" if place.in_epochs else "step", fontsize=8, color=_FAINT)
    axes.tick_params(labelsize=7, colors=_FAINT, length=0)
    axes.grid(axis="y", color=_GRID, lw=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    steps = np.array([span.first for span in history.spans[1:]], dtype=float)
    borders = np.array([span.epoch for span in history.spans[1:]], dtype=float) if place.in_epochs else steps
    if len(borders) <= _MOST_BORDERS:
        for border in borders:
            axes.axvline(border, color=_GRID, lw=0.8, ls=(0, (4, 4)), zorder=0)
    for mark in history.marks[:_MOST_MARKS] if is_lead else ():
        by_epoch = place.in_epochs and mark.epoch is not None
        rate = Series("", "batch", "batch", "", "train")
        at = float(mark.epoch or 0) if by_epoch else float(place.of(rate, np.array([float(mark.step)]), np.zeros(1))[0])
        axes.axvline(at, color=COLOURS["muted"], lw=0.9)
        axes.annotate(
            _plain(_short(mark.text, 24)),
            (at, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -2),
            textcoords="offset points",
            va="top",
            fontsize=7,
            color=_FAINT,
        )


def _number(value: float) -> str:
    return f"{value:.4g}"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _plain(text: str) -> str:
    """Return a text of which matplotlib takes nothing for mathematics, and which it can draw."""
    return "".join(each if each.isprintable() else " " for each in text).replace("$", r"\$")
