"""The same histories as live figures of bqplot, for dashboards that people put together from ipywidgets.

bqplot draws in SVG: a line has at most 1,000 points here, among them the lowest and the highest of each stretch, and
changes at most five times a second. `epochwidget.EpochWidget` has every point.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any, Literal
from weakref import ref

try:
    import bqplot as bq
except ImportError:
    raise ImportError("epochwidget.bqplot needs bqplot: pip install 'epochwidget[bqplot]'.") from None
import ipywidgets
import numpy as np

from .bus import Bus, chosen
from .errors import checked_name
from .events import RunLoaded, RunResumed, RunStarted
from .history import History
from .panels import label, panel
from .pictures import COLOURS, Places, View, in_order, is_mean, is_wanted
from .points import Points
from .spikes import extremes

Granularity = Literal["both", "batch", "epoch"]

_POINTS = 1000
_EVERY = 0.2

_log = logging.getLogger("epochwidget")


def figure(
    history: History,
    metric: str = "loss",
    granularity: Granularity = "both",
    *,
    x_axis: Literal["epoch", "step"] = "epoch",
) -> bq.Figure:
    """Return a figure that shows one metric of a run, and goes on while the run does.

    Parameters
    ----------
    history
        The run.
    metric
        What is measured: ``"loss"`` is training and validation, ``"learning rate"`` every learning rate.
    granularity
        Which values. Validation is there in any case.
    x_axis
        What the x axis counts.

    Returns
    -------
    bqplot.Figure
        With a ``bqplot.Lines`` for each series, named in ``labels``; a series that comes later gets its line then. All
        else is free to be changed.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Notes
    -----
    A run that is taken up again later is not followed any more: make another figure, or use `Dashboard`.
    """
    if not isinstance(history, History):
        raise TypeError(f"figure() needs a history, as ew.runs[-1] or callback.history are, got {history!r}.")
    metric = checked_name("The metric of a figure", metric)
    plot = _Plot(metric, View.of("figure", granularity, x_axis=x_axis))
    plot.show([history])
    weakly = ref(plot.figure)
    plot.figure._epochwidget = plot  # as long as the figure lives

    def update() -> bool:
        figure = weakly()
        if figure is None or figure.comm is None:  # closed
            return False
        goes_on = history.status == "running"
        figure._epochwidget.show([history])
        return goes_on

    _Follower(update).wake()
    return plot.figure


class Dashboard(ipywidgets.VBox):  # type: ignore[misc]
    """Figures of all metrics of some runs, with buttons for batches and epochs that work while the kernel is busy.

    Parameters
    ----------
    runs : History, list of History, or Bus
        What to show. Of a bus, by default the shared one, it is the newest run, and each that comes later.

    Attributes
    ----------
    figures : dict of str to tuple of bqplot.Figure
        By metric, what it shows per batch and per epoch; new ones come with new metrics.

    Raises
    ------
    TypeError
        If `runs` is none of these.
    """

    def __init__(self, runs: History | Iterable[History] | Bus | None = None) -> None:
        self._bus: Bus | None = None
        self._histories: list[History] = []
        if runs is None or isinstance(runs, Bus):
            self._bus = chosen(runs, "Dashboard")
        else:
            given: list[Any] = [runs] if isinstance(runs, History) or not isinstance(runs, Iterable) else list(runs)
            if not all(isinstance(one, History) for one in given):
                raise TypeError(f"Dashboard() needs a history, a list of histories, or a bus, got {runs!r}.")
            self._histories = given
        self._plots: dict[str, tuple[_Plot, _Plot]] = {}
        self._title = ipywidgets.Label()
        buttons = ipywidgets.ToggleButtons(options=["Batch", "Epoch"], style={"button_width": "80px"})
        self._boxes = [
            ipywidgets.GridBox(
                layout={"width": "100%", "grid_template_columns": "repeat(auto-fit, minmax(340px, 1fr))"}
            )
            for _ in range(2)
        ]
        stack = ipywidgets.Stack(self._boxes, selected_index=0, layout={"width": "100%"})
        # Between two widgets of the page: the kernel is not asked.
        self._link = ipywidgets.jslink((buttons, "index"), (stack, "selected_index"))
        super().__init__([ipywidgets.HBox([buttons, self._title]), stack])
        weakly = ref(self)

        def update() -> bool:
            dashboard = weakly()
            return dashboard is not None and dashboard._update()

        self._follower = _Follower(update)
        if self._bus is not None:
            self._bus.subscribe(self._wake, RunStarted, RunResumed, RunLoaded)
        self._update()
        self._wake()

    @property
    def figures(self) -> dict[str, tuple[bq.Figure, bq.Figure]]:
        """By metric, what it shows per batch and per epoch."""
        return {metric: (batch.figure, epoch.figure) for metric, (batch, epoch) in self._plots.items()}

    def close(self) -> None:
        """Follow the runs no more and take the dashboard off the page."""
        if self._bus is not None:
            self._bus.unsubscribe(self._wake)
        super().close()

    def _wake(self, _event: object = None) -> None:
        self._follower.wake()

    def _update(self) -> bool:
        if self.comm is None:
            return False
        shown = self._histories if self._bus is None else list(self._bus.runs)[-1:]
        goes_on = any(history.status == "running" for history in shown)
        self._title.value = ", ".join(f"{history.title}: {history.status}" for history in shown) or "no run yet"
        for history in shown:
            history.fold()
        here = [points for history in shown for points in history.parts().points[1:] if len(points)]
        titles = in_order(dict.fromkeys(panel(points.series) for points in here))
        if list(self._plots) != titles:
            known = self._plots
            self._plots = {title: known.get(title) or _both(title) for title in titles}
            for k, box in enumerate(self._boxes):
                box.children = [plots[k].box for plots in self._plots.values()]
        for plots in self._plots.values():
            for plot in plots:
                plot.show(shown)
        return goes_on


def _both(metric: str) -> tuple[_Plot, _Plot]:
    # bqplot places the legend of a figure that is hidden where it cannot be read.
    return _Plot(metric, View("batch"), legend=False), _Plot(metric, View("epoch"), legend=False)


class _Plot:
    """A figure, and which of its lines is which series."""

    def __init__(self, metric: str, view: View, *, legend: bool = True) -> None:
        self._metric, self._view, self._legend = metric, view, legend
        self._names = ipywidgets.HTML()
        self._lines: dict[tuple[str, str, str], tuple[bq.Lines, tuple[int, ...]]] = {}
        x, y = bq.LinearScale(), bq.LinearScale()
        self._scales = {"x": x, "y": y}
        self._x_axis = bq.Axis(scale=x, label=view.x_axis, grid_lines="none")
        self.figure = bq.Figure(
            title=metric if legend else "",
            axes=[self._x_axis, bq.Axis(scale=y, orientation="vertical", grid_lines="dashed")],
            legend_location="top-right",
            fig_margin={"top": 40 if legend else 10, "bottom": 40, "left": 60, "right": 20},
            layout={"height": "260px", "width": "100%"},
        )
        self.box = ipywidgets.VBox([self._names, self.figure], layout={"width": "100%"})

    def show(self, histories: Sequence[History]) -> None:
        """Bring the lines up to date, and add those that are new."""
        found: dict[tuple[str, str, str], tuple[bq.Lines, tuple[int, ...]]] = {}
        for rank, history in enumerate(histories):
            history.fold()
            parts = history.parts()
            places = Places(parts.spans, history.step, self._view)
            self._x_axis.label = "epoch" if places.in_epochs else "step"
            here = [one for one in parts.points[1:] if panel(one.series) == self._metric and len(one)]
            shown = [
                one for one in here if is_wanted(one.series, [other.series for other in here], self._view.granularity)
            ]
            for points in shown:
                series, count = points.series, len(points)
                key = history.run, series.granularity, series.name
                # As long as the epoch's length is not known, its batches may still move.
                length = parts.spans[-1].batches or 0 if parts.spans else 0
                state = parts.generation, count + points.left_out, len(parts.spans), length
                line, before = self._lines.get(key, (None, None))
                if line is None:
                    line = self._line(points, shown, rank, history if len(histories) > 1 else None)
                if before != state:
                    self._fill(line, points, count, places)
                found[key] = line, state
        self._lines = found
        lines = [line for line, _ in found.values()]
        others = [mark for mark in self.figure.marks if not getattr(mark, "_epochwidget", False)]
        if [*lines, *others] != list(self.figure.marks):
            self.figure.marks = [*lines, *others]
            words = (f'<span style="color:{line.colors[0]}">━ {escape(line.labels[0])}</span>' for line in lines)
            self._names.value = f"<b>{escape(self._metric)}</b> &ensp;" + " &ensp;".join(words)

    def _line(self, points: Points, shown: Sequence[Points], rank: int, history: History | None) -> bq.Lines:
        series = points.series
        same = [
            one for one in shown if one.series.split == series.split and one.series.granularity == series.granularity
        ]
        number = 2 * rank + same.index(points) if same.index(points) else rank
        own = "validation" if series.split == "validation" else "mean" if is_mean(series) else "train"
        colour = COLOURS[own] if number == 0 else list(COLOURS.values())[(number + 2) % len(COLOURS)]
        name = series.name if len(same) > 1 else f"{label(series)} {'mean' if is_mean(series) else series.granularity}"
        line = bq.Lines(
            x=np.zeros(0),
            y=np.zeros(0),
            scales=self._scales,
            colors=[colour],
            stroke_width=2 if series.granularity == "epoch" else 1.5,
            line_style="dashed" if series.split == "validation" else "solid",
            marker="circle" if series.granularity == "epoch" else None,
            marker_size=24,
            labels=[name if history is None else f"{history.title}: {name}"],
            display_legend=self._legend,
        )
        line._epochwidget = True
        return line

    def _fill(self, line: bq.Lines, points: Points, count: int, places: Places) -> None:
        values = points.values.array(0, count)
        at = extremes(values, _POINTS - 2)
        steps, epochs = points.steps.array(0, count), points.epochs.array()[:count]
        x = places.of(points.series, steps[at], epochs[at] if len(epochs) else epochs)
        with line.hold_sync():
            line.x, line.y = x, np.where(np.isfinite(values[at]), values[at], np.nan)


class _Follower:
    """Calls a function five times a second, in a thread of its own, as long as that returns True and once more."""

    def __init__(self, update: Callable[[], bool]) -> None:
        self._update = update
        self._lock = threading.Lock()
        self._again = False
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Begin to follow, or go on."""
        with self._lock:
            self._again = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="epochwidget-bqplot", daemon=True)
                self._thread.start()

    def _follow(self) -> None:
        while True:
            with self._lock:
                if not self._again:
                    self._thread = None
                    return
                self._again = False
            try:
                if self._update():
                    self._again = True
            except Exception:
                _log.exception("[epochwidget] a figure of bqplot follows its run no more; the training goes on.")
                with self._lock:
                    self._thread = None
                return
            time.sleep(_EVERY)
