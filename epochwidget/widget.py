"""`EpochWidget`: the widget in the cell. It hears of runs from the bus and sends what is new to the page."""

from __future__ import annotations

import logging
import os
import time
from base64 import b64encode
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event as Signal
from threading import RLock, Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anywidget
import traitlets

from . import cell, control, interrupts, outputs, wire
from .bus import Bus, chosen
from .errors import checked_path, unknown_keywords
from .events import RunEnded, RunLoaded, RunResumed, RunStarted
from .history import History
from .replacing import replacing
from .settings import Settings, find_run

if TYPE_CHECKING:
    from .pictures import View

# What stands where neither view nor picture can be shown; the same at all times, as `repr` is.
_SUMMARY = "EpochWidget(): loss, metrics and learning rate, live; run the notebook to see them."

# At most 20 messages a second and a snapshot each second, and more rarely where these take a processor longer than
# this share of the time: about 1 ms a message on a slow machine, and more for snapshots of long runs.
_SEND_EVERY, _SEND_SHARE = 0.05, 0.005
_SNAPSHOT_EVERY, _SNAPSHOT_SHARE = 1.0, 0.001
# The most bytes of a page that stands alone.
_PAGE_LIMIT = 64_000_000
# The end of a run has its snapshot at once, unless runs end so quickly one after the other that this would take more
# than this share of the time; then the sender follows.
_ENDING_SHARE = 0.05

_STATIC = Path(__file__).parent / "static"

_log = logging.getLogger("epochwidget")


def _built(name: str) -> Path:
    path = _STATIC / name
    if not path.is_file():
        raise FileNotFoundError(
            f"epochwidget's page is not built ({name} is missing): run `make build` in the project, "
            f"or install the package from a wheel."
        )
    return path


class EpochWidget(Settings, anywidget.AnyWidget):
    """Live plots of every run on a bus: those that have been and those to come.

    Display it, train with an ``EpochCallback`` or a `Run`, and watch. All keywords but ``bus`` are traits as well, in
    step with the page: ``widget.granularity = "epoch"``.

    Parameters
    ----------
    bus : Bus
        Which bus to follow, by default the shared one.
    granularity : {"both", "batch", "epoch"}
        Which values to draw.
    x_axis : {"epoch", "step", "time", "wall"}
        What the x axis counts: epochs with their fractions, batches since the run began, seconds since it began, or
        the time of day.
    zoom : list of float
        ``[from, to]`` in units of `x_axis` (epochs, steps, seconds, seconds since 1970), ``[]`` for all there is, as
        after `x_axis` was set.
    follow : bool
        While zoomed, keep the newest part in sight.
    smoothing : float
        The weight, 0 to 0.999, of what came before in the exponential average drawn over values of batches.
    means_at : {"middle", "end"}
        Where in its epoch a mean of the epoch stands.
    log_scale : bool
        Draw the loss and the learning rate on a logarithmic axis.
    scales : dict of str to {"log", "linear"}
        By the title of a panel, its axis where that is not what `log_scale` says.
    unclipped : list of str
        The titles of panels that show their outliers in full.
    gap : bool
        Shade what lies between training and validation.
    directions : dict of str to {"min", "max"}
        By metric, which of its values is the best, where the name does not tell.
    hidden : list of str
        Lines that the legend does not show: ``"batch:loss"`` hides a line, ``"!batch:running_loss"`` shows one that
        is hidden by default, as running means are.
    panels : list of Panel
        Panels of one's own. What none of them names stays where it is.
    order : list of str
        The titles of the panels that come first, in this order.
    closed : list of str
        The titles of panels that are folded up.
    enlarged : str
        The title of the panel that has all the room, or ``""``.
    run : str
        The run in the header, given as those of `runs` are; ``""`` follows the newest.
    runs : list of str
        The runs to show and to send, ``[]`` for all of the bus. Each may be given as its history (``ew.runs[-1]``),
        as its `Run`, or by its name, of which the newest is meant; the trait holds their `History.run`.
    last : int or None
        How many of the newest runs are drawn, 1 or more; None for the newest and those before it that have its name,
        three in all: a cell that is run again adds a run beside the former.
    pinned, hidden_runs : list of str
        Runs that are drawn however old they are, and runs that are not drawn; given as `runs` are.
    names : dict of str to str
        By run, what the page calls it instead of its own name.
    title : str
        What stands in the header, by default the run's name.
    height : int
        Height of the loss plot in CSS pixels, 120 to 2000.
    compact : bool
        Take little room: one row of numbers with their lines.
    table : bool
        Show the epochs as a table, too.
    theme : {"auto", "light", "dark"}
        ``"auto"`` follows the notebook.
    layout, tabbable, tooltip
        As of every ipywidget.

    Raises
    ------
    TypeError
        If a keyword is none of these.
    traitlets.TraitError
        If a value is not accepted.
    """

    _esm = _built("widget.js")
    _css = _built("widget.css")

    _snapshot = traitlets.Bytes(b"").tag(sync=True)
    # To whom a page speaks on the kernel's control channel.
    _uid = traitlets.Unicode().tag(sync=True)
    _reach = traitlets.Unicode().tag(sync=True)
    # Until it follows a bus there is nothing to close, though ipywidgets closes what it forgets, and does so wherever
    # garbage is collected.
    _closed = Signal()
    _closed.set()

    def __init__(self, *, bus: Bus | None = None, **view: Any) -> None:
        known = [name for name in type(self).class_traits(sync=True) if not name.startswith("_")]
        unknown = [name for name in view if name not in known]
        if unknown:
            raise unknown_keywords("EpochWidget", unknown, ["bus", *known])
        self._bus = chosen(bus, "EpochWidget")
        self._sent: dict[str, wire.Sent] = {}
        # Those that have ended, with how often points of them had been dropped and they taken up again: they get no
        # more points. Who goes on from an earlier epoch drops also that it was taken up after it.
        self._done: set[tuple[str, int, int]] = set()
        self._lock = RLock()
        self._at_work = False
        self._sender: Thread | None = None
        # The cells whose output shows it. One that was shown and is shown no more sends nothing until it is again:
        # whoever runs a cell ten times has ten widgets, of which one can be seen.
        self._cells: set[str] = set()
        self._out_of_sight = False
        self._outputs = outputs.Outputs()
        # The picture and what it was drawn of, and whether the sender is to draw it anew.
        self._picture: tuple[object, bytes | None] = None, None
        self._picture_due = False
        self._next_snapshot = self._next_ending = 0.0
        self._snapshot_due = False
        # What the page asked and has no answer yet; of more than it ever asks at once the oldest are left out.
        self._questions: deque[control.Detail] = deque(maxlen=16)
        super().__init__(**view, _uid=uuid4().hex, _reach=control.reach())
        self._closed = Signal()
        self._bus.subscribe(self._run_started, RunStarted, RunResumed)
        self._bus.subscribe(self._run_ended, RunEnded, RunLoaded)
        with self._alone():
            self._sent = self._take_snapshot()
            self._send_new()
        self.observe(self._runs_chosen, "runs")
        self.observe(self._axis_chosen, "x_axis")
        cell.follow(self)
        self.on_msg(lambda _widget, content, _buffers: self._hear(content))
        control.listen(self._uid, self._hear)
        self._start_sender()

    def __repr__(self) -> str:
        # The same before, during and after a run, so that a saved notebook does not change by itself.
        return "EpochWidget()"

    def close(self) -> None:
        """Follow the bus no more and take the widget off the page."""
        if not self._closed.is_set():
            self._closed.set()
            self._bus.unsubscribe(self._run_started)
            self._bus.unsubscribe(self._run_ended)
            control.unlisten(self._uid)
        super().close()

    def _repr_mimebundle_(self, **_kwargs: Any) -> Any:
        self._is_displayed()
        return self._bundle()

    def _is_displayed(self) -> None:
        shown_by = cell.present()
        if shown_by is not None and shown_by not in self._cells:
            self._cells.add(shown_by)
            cell.when_run_again(shown_by, self._cell_runs_again)
        if self._out_of_sight:
            self._out_of_sight = False
            self._catch_up()
            self._start_sender()

    def _ipython_display_(self, **_kwargs: Any) -> None:
        # IPython asks for this first. A bundle cannot bring along the identifier by which its output is replaced.
        if getattr(self, "_repr_mimebundle_", None) is None:  # it was closed
            shown = None
        else:
            self._is_displayed()
            # The view first: a picture takes a quarter of a second, and is put beside it when the cell has ended.
            shown = self._bundle(draw=not cell.is_running())
        if shown is None or not cell.has_kernel():
            outputs.display({"text/plain": repr(self)}, {})
        else:
            self._outputs.add(cell.present(), *shown)

    def _bundle(self, *, draw: bool = True) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return what an output holds: the view, a text, and a picture if there is anything to be seen."""
        shown: Any = super()._repr_mimebundle_()
        if shown is None:
            return None
        bundle, metadata = shown if isinstance(shown, tuple) else (shown, {})
        bundle = {**bundle, "text/plain": _SUMMARY}
        picture = self._drawn() if draw else self._picture[1]
        if picture is not None:
            bundle = {**bundle, "image/png": b64encode(picture).decode()}
        return dict(bundle), dict(metadata)

    def _pictured(self) -> tuple[History, View] | None:
        """Return the run that the header tells of, if it has come to an end, and how to draw it."""
        from .pictures import View  # noqa: PLC0415 - when there is something to draw

        shown = [history for history in self._shown() if history.run not in self.hidden_runs]
        chosen = [history for history in self._shown() if history.run == self.run]
        for history in chosen or shown[-1:]:
            if history.status != "running" and history.points:
                view = View(
                    x_axis="step" if self.x_axis == "step" else "epoch",
                    smoothing=self.smoothing,
                    log=self.log_scale,
                    scales=dict(self.scales),
                    order=self.order,
                    closed=self.closed,
                    means_at=self.means_at,
                )
                return history, view
        return None

    def _drawn(self) -> bytes | None:
        """Return the picture, drawn anew if what it shows has changed."""
        from .pictures import png  # noqa: PLC0415 - when there is something to draw

        try:
            found = self._pictured()
            if found is not None:
                history, view = found
                of = history.run, history.generation, history.step, len(history.spans), history.status, repr(view)
                if self._picture[0] != of:
                    self._picture = of, png(history, view)
        except Exception:
            _log.exception("[epochwidget] no picture could be drawn for the saved notebook.")
        return self._picture[1]

    def cell_ended(self) -> None:
        """Put a picture of what has ended beside the view. Called after each cell."""
        self._picture_due = False
        if self._closed.is_set() or self._out_of_sight or not len(self._outputs):
            return
        before = self._picture[1]
        if self._drawn() is not before:
            shown = self._bundle()
            if shown is not None:
                self._outputs.replace(*shown)

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write a page with these plots that opens from disk: no kernel, no network, everything but Python.

        Parameters
        ----------
        path
            Where to. A file that is there is replaced, and only once the new one is complete.

        Raises
        ------
        OSError
            If the file cannot be written. What was at `path` is as it was.

        Notes
        -----
        The runs that the widget shows are in it with every point, eight bytes each, up to 64 MB. Of what is longer each
        series keeps the lowest and the highest point of many stretches, and the page says so.
        """
        from .pages import page  # noqa: PLC0415 - for those who ask for one

        path = checked_path("save_html", path)
        shown = self._shown()
        snapshot, _ = wire.snapshot(shown, _PAGE_LIMIT)
        names = [name for name in self.class_traits(sync=True) if name in Settings.class_trait_names()]
        html = page(
            title=self.title or (shown[-1].title if shown else "epochwidget"),
            settings=self.get_state(names),
            snapshot=snapshot,
            script=_built("widget.js").read_text(encoding="utf-8"),
            css=_built("widget.css").read_text(encoding="utf-8"),
        )
        with replacing(path, "the page") as file:
            file.write(html.encode(errors="replace"))  # a name may hold half a character

    def run_id(self, trait: str, run: Any) -> str:
        """Return the id of a run that was given for a trait as its history, its handle, its id or its name."""
        return find_run(trait, run, self._bus.runs, self._sent)

    def _runs_chosen(self, _change: Any) -> None:
        with self._lock:
            # A page that was loaded meanwhile has nothing of those that were left out.
            shown = {history.run for history in self._shown()}
            self._sent = {run: sent for run, sent in self._sent.items() if run in shown}
            self._done = {done for done in self._done if done[0] in shown}
        self._catch_up()
        self._start_sender()

    def _axis_chosen(self, _change: Any) -> None:
        # A page tells what its zoom is on the new axis. From Python it would be as many steps as it was epochs.
        if "zoom" not in self._property_lock:
            self.zoom = []

    def _cell_runs_again(self, cell_id: str) -> None:
        self._cells.discard(cell_id)
        self._outputs.forget(cell_id)
        self._out_of_sight = not self._cells

    def _run_started(self, event: RunStarted | RunResumed) -> None:
        if self._reach == "interrupt":
            for history in self._shown():
                if history.run == event.run:
                    interrupts.guard(history)
        # marimo takes off the page what a cell showed before it runs the cell again, and tells nobody.
        if getattr(self.comm, "_closed", False):
            self.close()
        self._start_sender()

    def _run_ended(self, _event: RunEnded | RunLoaded) -> None:
        # In the thread that trained, so that the page is complete when its cell ends.
        if not self._out_of_sight:
            self._catch_up()
            # The cell's end will come; that of a thread nobody tells.
            self._picture_due = not cell.is_running()
            self._start_sender()

    def _catch_up(self) -> None:
        try:
            with self._alone() as alone:
                self._snapshot_due = True
                if not alone:
                    return
                self._send_new()
                if time.perf_counter() >= self._next_ending:
                    self._take_snapshot()
        except Exception:
            _log.exception("[epochwidget] the newest points could not be drawn in this widget.")

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Keep other threads from sending, and tell whether this one is not sending already.

        It is if garbage was collected in the midst of it, and that ended a run.
        """
        with self._lock:
            alone, self._at_work = not self._at_work, True
            try:
                yield alone
            finally:
                self._at_work = not alone

    def _hear(self, content: Any) -> None:
        """Take in what the page asks, in whatever thread; the sender answers, for this one may be needed."""
        asked = control.read(content)
        if asked is None or self._closed.is_set():
            return
        if isinstance(asked, control.Stop):
            for history in self._shown():
                if history.run == asked.run:
                    history.stop(asked.after)
        else:
            self._questions.append(asked)
        self._start_sender()

    def _answer(self) -> None:
        while self._questions:
            question = self._questions.popleft()
            asked = [history for history in self._shown() if history.run == question.run]
            frame = wire.detail(asked[0], question.generation, question.ranges) if asked else None
            buffers = [] if frame is None else [frame]
            self.send({"type": "detail", "question": question.question}, buffers=buffers)

    def _start_sender(self) -> None:
        if not self._wanted():
            return
        with self._lock:
            if self._sender is None or not self._sender.is_alive():
                self._sender = Thread(target=self._keep_sending, name="epochwidget-sender", daemon=True)
                self._sender.start()

    def _keep_sending(self) -> None:
        """Send what is new about every 50 ms while a run lasts. The training loop itself never sends."""
        pause = _SEND_EVERY
        while not self._closed.wait(pause):
            try:
                cell.end_runs_left()
                with self._alone():
                    # Also told apart: a run that ended while the other runs were looked at.
                    if not self._wanted() and not self._snapshot_due:
                        self._sender = None
                        break
                    began = time.thread_time()
                    with self._counted():
                        self._send_new()
                        self._answer()
                        pause = max(_SEND_EVERY, (time.thread_time() - began) / _SEND_SHARE)
                        if time.perf_counter() >= (self._next_ending if self._snapshot_due else self._next_snapshot):
                            self._take_snapshot()
            except Exception:
                _log.exception("[epochwidget] drawing has stopped in this widget; the training goes on.")
                self._sender = None
                return
        if self._picture_due:
            self.cell_ended()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count what this takes of the processor as watching for every run that goes on: each is kept waiting."""
        with ExitStack() as measured:
            for history in self._bus.runs:
                if history.status == "running":
                    measured.enter_context(history.cost.by(time.thread_time))
            yield

    def _wanted(self) -> bool:
        if self._questions:  # whoever asks sees it
            return True
        if self._out_of_sight:
            return False
        return self._snapshot_due or any(history.status == "running" for history in self._shown())

    def _shown(self) -> list[History]:
        """Return the runs that the page is told of."""
        return [history for history in list(self._bus.runs) if not self.runs or history.run in self.runs]

    def _send_new(self) -> None:
        for history in self._shown():
            done = history.run, history.generation, len(history.resumed)
            if done not in self._done:
                ended = history.status != "running"
                self._send_run(history)
                if ended:
                    self._done.add(done)

    def _send_run(self, history: History) -> None:
        sent = self._sent.setdefault(history.run, wire.Sent())
        while (frame := wire.append(history, sent)) is not None:
            self.send({"type": "append"}, buffers=[frame])
            if not wire.behind(history, sent):
                return

    def _take_snapshot(self) -> dict[str, wire.Sent]:
        began = time.thread_time()
        self._snapshot, complete = wire.snapshot(self._shown())
        now, took = time.perf_counter(), time.thread_time() - began
        self._next_snapshot = now + max(_SNAPSHOT_EVERY, took / _SNAPSHOT_SHARE)
        if self._snapshot_due:
            self._next_ending = now + took / _ENDING_SHARE
        self._snapshot_due = False
        return complete
