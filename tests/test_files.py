"""Runs in files: what is saved is what is loaded, bit for bit, in either form, and no file harms anybody."""

import itertools
import os
import stat
import struct
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import epochwidget as ew
from epochwidget import (
    BatchEnded,
    Bus,
    EpochEnded,
    EpochStarted,
    Evaluated,
    History,
    Marked,
    Run,
    RunEnded,
    RunLoaded,
    RunResumed,
    RunStarted,
    Series,
    SeriesDeclared,
)

from .saved import everything, loaded, refused, train


@pytest.fixture(params=["npz", "parquet"])
def path(request, tmp_path):
    return tmp_path / f"a.{request.param}"


# --- there and back ----------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["loss", "val_loss", "lr", "time", "", "../../a", "\ud800", "Gewinn 🎉"])
ANY_BITS = st.integers(0, 2**64 - 1).map(lambda number: struct.unpack("<d", struct.pack("<Q", number))[0])
VALUES = st.dictionaries(NAMES, st.one_of(ANY_BITS, st.sampled_from([0.0, -0.0, np.inf, -np.inf, np.nan])), max_size=4)
COUNTS = st.none() | st.integers(0, 9)
SERIES = st.builds(
    Series,
    NAMES,
    st.sampled_from(["batch", "epoch"]),
    st.sampled_from(["batch", "running", "epoch", "evaluation", "smoothed", "window", "reported"]),
    NAMES,
    st.sampled_from(["train", "validation"]),
)
DOINGS = st.lists(
    st.one_of(
        st.tuples(st.just("batch"), VALUES, st.none() | st.floats(1, 9)),
        st.tuples(st.just("epoch"), COUNTS, COUNTS),
        st.tuples(st.just("evaluated"), VALUES),
        st.tuples(st.just("end epoch"), VALUES),
        st.tuples(st.just("mark"), NAMES, COUNTS),
        st.tuples(st.just("declare"), SERIES),
        st.tuples(st.just("resume"), st.none() | st.integers(0, 3), COUNTS),
        st.tuples(st.just("end"), st.sampled_from(["completed", "stopped", "failed"]), st.none() | NAMES),
    ),
    max_size=40,
)


class Story:
    """What happens to a run, for one history or for several."""

    def __init__(self, *histories):
        self.histories = histories
        self.time, self.step, self.epoch = 0.1, 0, 0

    def tell(self, doings):
        for what, *of in doings:
            self.time += 0.1
            for event in list(self.events(what, *of)):
                for history in self.histories:
                    history.add(event)

    def events(self, what, *of):
        run = self.histories[0].run
        match what:
            case "batch":
                self.step += 1
                yield BatchEnded(run, self.epoch, 0, self.step, self.time, *of)
            case "epoch":
                yield EpochStarted(run, self.epoch, self.step, self.time, *of)
            case "evaluated":
                yield Evaluated(run, self.epoch, self.step, self.time, *of)
            case "end epoch":
                yield EpochEnded(run, self.epoch, self.step, self.time, *of)
                self.epoch += 1
            case "mark":
                yield Marked(run, self.step, self.time, *of)
            case "declare":
                yield SeriesDeclared(run, *of)
            case "resume":
                epoch, epochs = of
                if epoch is not None:
                    self.step, self.time = self.histories[0].beginning(epoch)
                    self.epoch = epoch
                yield RunResumed(run, self.step, self.time, 1e9 + self.time, epoch, epochs)
            case "end":
                yield RunEnded(run, self.step, self.time, *of)


@settings(deadline=None, max_examples=300)
@given(
    st.text(),
    st.floats(0, 2e9),
    COUNTS,
    st.sampled_from(["training", "lr search"]),
    DOINGS,
    DOINGS,
)
def test_what_is_loaded_is_what_was_saved_and_goes_on_as_that_would(
    tmp_path_factory, name, started, epochs, purpose, before, after
):
    history = History(RunStarted("a", name, started, epochs, purpose), 7)
    story = Story(history)
    story.tell([*before, ("end", "failed", "ValueError: no")])
    path = tmp_path_factory.getbasetemp() / "property.npz"
    history.save(path)
    back = loaded(path)
    assert everything(back) == everything(history)
    file = path.read_bytes()
    back.save(path)
    assert path.read_bytes() == file, "the same run is the same file"
    # Who measures what watching costs measures it in each of them.
    story.histories = (history, back)
    story.tell([("resume", None, None), *after, ("end", "completed", None)])
    history.cost = back.cost
    for span, other in zip(history.spans, back.spans, strict=True):
        span.watching = other.watching
    assert everything(back) == everything(history)


def test_a_real_run_comes_back(bus, past, path):
    past.save(path)
    back = loaded(path)
    assert everything(back) == everything(past)
    assert (back.title, back.status, back.remaining) == ("resnet18 · run 1", "completed", None)
    assert back.batch["loss"].tolist() == past.batch["loss"].tolist()
    assert back.epoch.epochs("val_loss").tolist() == [0, 1]
    assert [mark.text for mark in back.marks] == ["here"]
    back.batch["loss"][:] = 9  # what is read is the reader's own
    assert back.batch["loss"].tolist() == past.batch["loss"].tolist()


def test_a_keras_run_comes_back_and_goes_on(bus, path):
    keras = pytest.importorskip("keras")
    from epochwidget.callbacks.keras import EpochCallback

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    x, y = np.ones((12, 3), "float32"), np.ones((12, 1), "float32")
    callback = EpochCallback(bus=bus)
    model.fit(x, y, batch_size=4, epochs=2, verbose=0, validation_data=(x, y), callbacks=[callback])
    callback.history.save(path)
    other = Bus(strict=True)
    back = ew.load(path, bus=other)
    assert everything(back) == everything(callback.history)
    assert {"loss", "running_loss", "lr"} <= set(back.batch)
    assert back.batch.series("running_loss").kind == "running"
    again = EpochCallback(bus=other, resume=back, epoch=1)
    model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=[again])
    assert again.history is back
    assert back.epoch.epochs("loss").tolist() == [0, 1, 2]
    assert back.batch["loss"][:3].tolist() == callback.history.batch["loss"][:3].tolist()


def test_a_run_that_was_saved_while_it_went_on_was_stopped_there(bus, path):
    run = Run("a", bus=bus, epochs=2)
    epochs = run.epochs()
    next(epochs)
    batches = run.batches([1.0, 2.0, 3.0])
    for loss in itertools.islice(batches, 2):
        run.log(loss=loss)
    run.history.save(path)
    back = loaded(path)
    assert (back.status, back.error, back.due) == ("stopped", None, 0)
    assert back.batch["loss"].tolist() == run.history.batch["loss"].tolist()
    assert back.elapsed == run.history.last_time
    run.end("stopped")
    assert run.history.status == "stopped"


def test_a_run_that_was_loaded_goes_on(bus, past, path):
    past.save(path)
    other = Bus(strict=True)
    with Run(bus=other, resume=ew.load(path, bus=other), epoch=1) as run:
        train(run, 3, batches=1)
    assert run.history.batch.steps("loss").tolist() == [1, 2, 3, 4, 5]
    assert run.history.epoch.epochs("val_loss").tolist() == [0, 1, 2]
    assert past.batch.steps("loss").tolist() == [1, 2, 3, 4, 5, 6], "the other bus's own is left alone"
    again = path.with_name("again.npz")
    run.history.save(again)
    assert everything(loaded(again)) == everything(run.history)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.lists(st.floats(allow_subnormal=True), min_size=1, max_size=50), min_size=1, max_size=8),
    st.integers(1100, 9000),
    st.sampled_from(["npz", "parquet"]),
)
def test_a_run_whose_points_were_merged_comes_back_and_goes_on(tmp_path_factory, patterns, batches, form):
    bus = Bus(max_points=1000, strict=True)
    path = tmp_path_factory.getbasetemp() / f"merged.{form}"
    with Run("a", bus=bus) as run:
        for epoch in run.epochs(2):
            for step in run.batches(range(batches)):
                pattern = patterns[(step + epoch) // 50 % len(patterns)]
                run.log(loss=pattern[step % len(pattern)], **({"rare": float(step)} if step % 7 == 0 else {}))
            run.log_epoch(val_loss=1.0)
    run.history.save(path)
    other = Bus(max_points=1000, strict=True)
    back = ew.load(path, bus=other)
    assert len(back.batch.buckets("loss")) > 0
    assert everything(back) == everything(run.history)
    with Run(bus=other, resume=back) as again:
        for step in range(2000):
            again.log(loss=float(step))
    points = back.find("loss", "batch")
    assert (points.length, points.merged.buckets().count.sum()) == (2 * batches + 2000, points.merged.count)
    assert len(points) <= 1000
    assert back.batch["loss"][-500:].tolist() == list(range(1500, 2000))


def test_what_is_saved_while_another_thread_trains_is_of_one_moment(bus, path):
    run = Run("a", bus=bus)
    over = threading.Event()

    def go_on():
        for epoch in run.epochs(10_000):
            for batch in run.batches(range(7)):
                run.log(loss=float(7 * epoch + batch), lr=1.0)
            run.mark(str(epoch))
            if over.is_set():
                break
        run.end("stopped")

    trainer = threading.Thread(target=go_on)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        trainer.start()
        seen = []
        for _ in range(15):
            run.history.save(path)
            back = loaded(path)
            seen.append(back.step)
            assert back.batch.get("loss", np.empty(0)).tolist() == list(range(back.step))
            assert len(back.clock) == len(back.batch.get("lr", ())) == back.step
            closed = len(back.spans) - (back._epoch_open if back.spans else 0)
            assert len(back.epoch.get("loss", ())) == closed
            assert [span.batches for span in back.spans[:closed]] == [7] * closed
    finally:
        over.set()
        trainer.join()
        sys.setswitchinterval(interval)
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]


# --- on the bus --------------------------------------------------------------------------------------------------


def test_a_run_that_is_loaded_is_among_the_runs_and_everybody_is_told(bus, past, path):
    past.save(path)
    other, heard = Bus(strict=True), []
    other.subscribe(heard.append)
    back = ew.load(path, bus=other)
    assert list(other.runs) == [back]
    assert other.runs.find(past.run) is back
    assert heard == [RunLoaded(past.run)]


def test_by_default_it_is_among_those_of_the_shared_bus(past, path):
    past.save(str(path))
    try:
        assert ew.load(str(path)) in ew.runs
    finally:
        ew.runs.clear()


def test_a_run_that_is_there_is_not_there_twice(bus, past, path):
    past.save(path)
    assert ew.load(path, bus=bus) is past
    with Run(bus=bus, resume=past) as run:
        assert ew.load(path, bus=bus) is past
        assert past.status == "running"
        run.log(loss=7.0)
    assert ew.load(path, bus=bus).batch["loss"][-1] == 7
    other, heard = Bus(strict=True), []
    back = ew.load(path, bus=other)
    other.subscribe(heard.append)
    assert ew.load(path, bus=other) is back
    assert (len(bus.runs), len(other.runs), heard) == (1, 1, [])


def test_a_run_keeps_its_number_unless_another_has_it(bus, past, path):
    Run("b", bus=bus).end()
    third = Run("c", bus=bus)
    third.end()
    paths = [path.with_name(f"{number}.npz") for number in range(3)]
    for history, to in zip(bus.runs, paths, strict=True):
        history.save(to)
    other = Bus(strict=True)
    assert ew.load(paths[2], bus=other).title == "c · run 3"
    assert Run(bus=other).name == "run 4"
    assert ew.load(paths[0], bus=other).title == "resnet18 · run 1"
    busy = Bus(strict=True)
    Run("z", bus=busy).end()
    assert [ew.load(one, bus=busy).title for one in paths] == ["resnet18 · run 2", "b · run 3", "c · run 4"]


def test_the_newest_run_is_the_one_that_began_last(bus, past, path):
    past.save(path)
    other = Bus(strict=True)
    newer = Run("b", bus=other)
    back = ew.load(path, bus=other)
    assert list(other.runs) == [back, newer.history]


def test_the_bus_has_to_be_one(path):
    with pytest.raises(TypeError, match=r"^load\(bus=\.\.\.\) needs an epochwidget\.Bus, got 3\.$"):
        ew.load(path, bus=3)


# --- files that do not fit


def test_a_file_that_is_cut_anywhere_is_refused(past, path):
    past.save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        refused(path)


def test_a_file_with_any_bit_flipped_is_refused_or_means_the_same(past, path):
    past.save(path)
    whole, same, alike = path.read_bytes(), everything(past), 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        try:
            back = loaded(path)
        except ValueError:
            continue
        assert everything(back) == same, at
        alike += 1
    # Dates and rights of an archive, statistics and names in a table: what is there for others.
    assert alike < len(whole) / 2


def test_where_there_is_no_file_the_system_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        loaded(tmp_path / "none.npz")
    with pytest.raises(IsADirectoryError):
        loaded(tmp_path)


def test_a_device_is_not_read(bus):
    """It may have no end."""
    with pytest.raises(ValueError, match=r"load\(\) needs a file .*; '/dev/zero' is no file"):
        ew.load("/dev/zero", bus=bus)


@pytest.mark.parametrize(
    ("path", "error"), [(None, TypeError), (3, TypeError), (b"a", TypeError), ("a\0b", ValueError)]
)
def test_what_is_no_path_is_refused_in_a_sentence(past, bus, path, error):
    for method, call in (("save", past.save), ("load", ew.load), ("save_html", ew.EpochWidget(bus=bus).save_html)):
        with pytest.raises(error, match=rf"{method}\(\) needs the path of a file"):
            call(path)


# --- disks that do not take it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run", "run.npz", "run.v1", "run.npz.bak", "Lauf 🎉"])
def test_the_path_is_taken_as_it_is(past, tmp_path, name):
    past.save(tmp_path / name)
    assert [one.name for one in tmp_path.iterdir()] == [name]
    assert loaded(tmp_path / name).name == "resnet18"


def test_a_folder_that_is_missing_is_told(past, tmp_path):
    path = tmp_path / "none" / "a.npz"
    with pytest.raises(FileNotFoundError) as raised:
        past.save(path)
    assert str(raised.value) == (
        f"[Errno 2] the run 'resnet18 · run 1' was not saved (No such file or directory), and what was there is as it "
        f"was; give a path in a folder that exists, may be written and has room: {str(path)!r}"
    )
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_is_left_alone(past, tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path, Path(os.devnull), tmp_path / "file" / "a.npz"):
        with pytest.raises(OSError, match=r"was not saved"):
            past.save(path)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("file", "mine")]
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_a_file_that_is_replaced_keeps_who_may_read_it_and_a_link_leads_where_it_led(past, path, tmp_path):
    path.write_text("old")
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    past.save(link)
    assert link.is_symlink()
    assert loaded(path).name == "resnet18"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_disk_that_is_full_leaves_the_old_file(tmp_path):
    """In a process that may write no file of more than 20 kB, which is real, though no disk is filled."""
    script = """
        import resource, sys
        from pathlib import Path
        import epochwidget as ew
        folder = Path(sys.argv[1])
        with ew.Run("a") as run:
            run.log(loss=1.0)
        run.history.save(folder / "a.npz")
        old = (folder / "a.npz").read_bytes()
        with ew.Run(resume=run) as run:
            for _ in range(5_000):
                run.log(loss=2.0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            run.history.save(folder / "a.npz")
        except OSError as error:
            print(error)
        assert (folder / "a.npz").read_bytes() == old
        assert [one.name for one in folder.iterdir()] == ["a.npz"]
    """
    pytest.importorskip("resource")
    told = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), tmp_path], capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert "the run 'a · run 1' was not saved (File too large), and what was there is as it was" in told.stdout


def test_an_interrupt_leaves_the_old_file(past, path, monkeypatch):
    path.write_text("old")

    def interrupt(fd):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        past.save(path)
    assert [(one.name, one.read_text()) for one in path.parent.iterdir()] == [(path.name, "old")]


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (Marked("a", 0, float("nan"), "here"), "the description.marks[0].time has to be a finite number, got nan"),
        (BatchEnded("a", 0, 0, 1, float("-inf"), {}), "values_clock[0] has to be finite, got -inf"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(path, event, told):
    history = History(RunStarted("a", "a", 0.0))
    history.add(event)
    path.write_text("old")
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        history.save(path)
    assert str(raised.value) == f"the run 'a · run 1' was not saved: {told}; whoever emits events has to keep to that."
    assert [(one.name, one.read_text()) for one in path.parent.iterdir()] == [(path.name, "old")]
