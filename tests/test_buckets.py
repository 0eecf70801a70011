"""Older points merge into buckets that keep every spike, where a person has asked for that."""

import copy
import json
import math
import pickle
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epochwidget import Bus, Run, buckets, history, points, spikes, wire
from epochwidget.buckets import LEAST, Merged
from epochwidget.history import History
from epochwidget.points import Points
from epochwidget.series import Series
from tests.frames import Page, read

LIMIT = LEAST

odd = st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308, 1.7976931348623157e308, 5e-324, -0.0, 7.0, -7.0])


@st.composite
def logged(draw, most=6_000):
    """Values of batches: dull ones with a few that are not."""
    n = draw(st.integers(0, most))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    values = draw(
        st.sampled_from(
            [
                np.zeros(n),
                random.standard_normal(n),
                np.arange(n, dtype=float),
                np.where(random.random(n) < 0.1, math.nan, random.standard_normal(n)),
                np.full(n, math.nan),
                np.full(n, 1.7976931348623157e308),
                np.tile([1.0, math.inf, -1.0, math.nan, -math.inf, 3.0, 2.0], n // 7 + 1)[:n],
            ]
        )
    ).copy()
    for at, value in draw(st.dictionaries(st.integers(0, max(n - 1, 0)), odd, max_size=6)).items():
        values[at : at + 1] = value
    return values


def points_of(history, name="loss"):
    history.fold()
    return history.find(name, "batch")


def check(points, values, limit, steps=None):
    """Check what is kept of a series against all that was logged."""
    n = len(values)
    steps = np.arange(1.0, n + 1) if steps is None else steps
    kept = points.indices(0, len(points)).astype(int)
    assert len(points) <= limit
    assert points.length == n
    assert (np.diff(kept) > 0).all()
    np.testing.assert_array_equal(points.values.array(), values[kept])
    np.testing.assert_array_equal(points.steps.array(), steps[kept])
    newest = min(n, limit // 2)
    np.testing.assert_array_equal(kept[len(kept) - newest :], np.arange(n - newest, n))
    finite = np.isfinite(values)
    for wanted in (np.where(finite, values, math.inf).argmin, np.where(finite, -values, math.inf).argmin):
        assert not finite.any() or wanted() in kept
    assert finite.all() or finite.argmin() in kept
    check_buckets(points, values, steps)


def check_buckets(points, values, steps):
    found = points.merged.buckets()
    ends = np.cumsum(found.count).astype(int)
    merged = int(found.count.sum())
    assert merged == points.merged.count
    kept = points.indices(0, len(points)).astype(int)
    np.testing.assert_array_equal(kept[kept >= merged], np.arange(merged, points.length))
    for at, (end, count) in enumerate(zip(ends, found.count.astype(int), strict=True)):
        part, at_steps = values[end - count : end], steps[end - count : end]
        whole = part[np.isfinite(part)]
        assert (found.first[at], found.last[at], found.finite[at]) == (at_steps.min(), at_steps.max(), len(whole))
        spikes = [found.lowest[at], found.highest[at]]
        np.testing.assert_array_equal(spikes, [whole.min(), whole.max()] if len(whole) else [math.nan] * 2)
        with np.errstate(over="ignore"):  # by rounding the mean of the largest floats is infinite
            wanted = np.clip((whole / len(whole)).sum() if len(whole) else math.nan, *spikes)
        largest = np.abs(whole).max(initial=0)
        np.testing.assert_allclose(found.mean[at], wanted, rtol=1e-12, atol=1e-12 * largest)
        # Of each it keeps the spikes, and no more.
        here = part[kept[(kept >= end - count) & (kept < end)] - (end - count)]
        assert 1 <= len(here) <= 3
        assert (~np.isfinite(here)).sum() == (len(whole) < len(part))


def run_of(values, *, bus=None, every=1_024, **more):
    run = Run("a", bus=bus or Bus(LIMIT, strict=True))
    for at, value in enumerate(values.tolist()):
        run.log(loss=value, **more)
        if at % every == 0:
            run.history.fold()
    return run


@given(logged(), st.sampled_from([1, 13, 500, 1_024]))
@settings(deadline=None, max_examples=40)
def test_what_is_kept_is_every_spike_and_the_newest_half(values, every):
    """The bound is exact: after any reading there are at most `max_points`."""
    history = run_of(values, every=every).history
    if len(values):
        check(points_of(history), values, LIMIT)
    clock = history.clock
    assert len(clock) <= LIMIT
    assert clock.length == len(values)
    if len(clock):
        assert clock.indices(0, len(clock))[[0, -1]].tolist() == [0, len(values) - 1]
        assert (np.diff(clock.values.array()) >= 0).all()


@given(st.lists(logged(3_000), max_size=6), st.integers(LIMIT, 5_000), st.data())
@settings(deadline=None, max_examples=40)
def test_however_many_come_at_once_and_wherever_they_stand(parts, limit, data):
    points, values, steps = Points(Series.of("loss", "batch")), np.empty(0), np.empty(0)
    for part in parts:
        fresh = steps.max(initial=0) + np.cumsum(data.draw(st.sampled_from([1, 3])) * np.ones(len(part)))
        if data.draw(st.booleans()):
            fresh = fresh[np.arange(len(fresh)) ^ 1] if len(fresh) % 2 == 0 else fresh  # threads log at once
        values, steps = np.append(values, part), np.append(steps, fresh)
        points.values.extend(part)
        points.steps.extend(fresh)
        before = len(points), points.values.array()
        thinned = points.thinned(limit, limit) if points.exceeds(limit) else points
        assert before[0] == len(points)
        np.testing.assert_array_equal(before[1], points.values.array())
        points = thinned
        check(points, values, limit, steps)


def test_a_long_run_is_merged_to_about_one_resolution():
    random = np.random.default_rng(0)
    points, limit, n = Points(Series.of("loss", "batch")), 10_000, 0
    while n < 2_000_000:
        points.values.extend(random.standard_normal(1_000))
        points.steps.extend(np.arange(n + 1, n + 1_001))
        n += 1_000
        points = points.thinned(limit, limit) if points.exceeds(limit) else points
    assert 9_500 <= len(points) <= limit
    counts = points.merged.buckets().count
    assert counts.sum() > 1_990_000
    assert (np.diff(counts) <= 0).all()
    # All buckets but those of the newest twentieth are of two neighbouring sizes.
    old = counts[np.cumsum(counts) < 0.95 * n]
    assert old.max() <= 2 * old.min()
    assert old.max() <= 8 * n / (limit // 2)


def test_series_that_grow_alike_take_turns():
    limit = 140_000
    run = Run("a", bus=Bus(limit, strict=True))
    changed = []
    before = run.history.parts().points
    for at in range(limit + 40 * 1_024):
        run.log(loss=0.5, accuracy=at / limit, lr=0.1)
        if at % 1_024 == 0:
            run.history.fold()
            now = run.history.parts().points
            changed.append(sum(one is not other for one, other in zip(before, now, strict=False)))
            before = now
    assert sum(changed) > 4 * 40 // 8
    assert max(changed) <= 2


def test_lowering_the_limit_holds_from_the_next_batches_on(bus):
    values = np.random.default_rng(1).standard_normal(9_000)
    run = run_of(values[:6_000], bus=bus)
    check(points_of(run.history), values[:6_000], 6_000)
    for limit in (3_000, LIMIT):
        run.history.max_points = limit
        for value in values[points_of(run.history).length :][:1_500].tolist():
            run.log(loss=value)
        check(points_of(run.history), values[: points_of(run.history).length], limit)


def test_by_default_nothing_is_merged(bus):
    run = run_of(np.arange(5_000.0), bus=bus)
    assert (bus.max_points, run.history.max_points) == (None, None)
    assert run.history.batch["loss"].tolist() == list(range(5_000))
    assert len(run.history.batch.buckets("loss")) == 0
    assert run.history.batch.buckets("loss").mean.shape == (0,)


def test_what_a_person_sees_says_so():
    run = run_of(np.random.default_rng(2).standard_normal(5_000))
    run.log_epoch(val_loss=1.0)
    table = run.history.batch
    assert repr(table) == f"<batch values: loss ({len(table['loss'])} of 5000)>"
    assert repr(run.history.epoch) == "<epoch values: loss (1), val_loss (1)>"
    assert run.history.step == 5_000
    assert len(table["loss"]) == len(table.steps("loss")) == len(table.epochs("loss")) <= LIMIT
    merged = table.buckets("loss").count.sum()
    assert 4_000 < merged <= 4_500
    assert table.steps("loss")[table.steps("loss") > merged].tolist() == list(range(int(merged) + 1, 5_001))
    assert len(run.history.epoch.buckets("val_loss")) == 0
    with pytest.raises(KeyError, match="no batch values of 'los'"):
        table.buckets("los")


@pytest.mark.parametrize("given", [999, 0, -1])
def test_too_few_points_are_refused_in_a_sentence(given):
    told = rf"^max_points, if not None, has to be 1000 or more, got {given}\.$"
    with pytest.raises(ValueError, match=told):
        Bus(given)
    bus = Bus()
    with pytest.raises(ValueError, match=told):
        bus.max_points = given
    assert bus.max_points is None


@pytest.mark.parametrize("given", [1e6, "1000", True])
def test_what_is_no_whole_number_is_refused_in_a_sentence(given):
    with pytest.raises(TypeError, match=r"^max_points, if not None, has to be a whole number, got .*\.$"):
        Bus(given)
    with pytest.raises(TypeError, match=r"^max_points, if not None, has to be a whole number, got .*\.$"):
        Run("a", bus=Bus()).history.max_points = given


def test_it_holds_for_the_runs_that_begin_from_then_on(bus):
    before = Run("a", bus=bus)
    bus.max_points = np.int64(2_000)
    after = Run("b", bus=bus)
    bus.max_points = None
    assert [run.history.max_points for run in (before, after, Run("c", bus=bus))] == [None, 2_000, None]
    assert pickle.loads(pickle.dumps(Bus(3_000))).max_points == 3_000


def test_a_run_that_was_elsewhere_is_bounded_where_it_goes_on(bus, tmp_path):
    from epochwidget import load

    values = np.random.default_rng(3).standard_normal(9_000)
    with run_of(values[:4_000], bus=bus) as run:
        run.history.save(tmp_path / "run.npz")
    other = Bus(LIMIT, strict=True)
    history = load(tmp_path / "run.npz", bus=other)
    assert len(history.batch["loss"]) == 4_000
    run = Run(resume=history, bus=other)
    for value in values[4_000:].tolist():
        run.log(loss=value)
    check(points_of(history), values, LIMIT)


# Epochs ------------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 3_000), min_size=1, max_size=4),
    st.sampled_from(["none", "all", "half"]),
    st.sampled_from([1.0, 1e308, math.inf, math.nan]),
    st.sampled_from([50, 1_024]),
)
@settings(deadline=None, max_examples=30)
def test_the_mean_of_an_epoch_is_as_if_nothing_were_merged(epochs, sized, spike, every):
    random = np.random.default_rng(sum(epochs))
    runs = [Run("a", bus=Bus(limit, strict=True)) for limit in (None, LIMIT)]
    for epoch, length in enumerate(epochs):
        losses, sizes = random.standard_normal(length), random.integers(1, 64, length).astype(float)
        losses[length // 2] = spike
        for run in runs:
            run.begin_epoch(epoch)
            for at, (loss, size) in enumerate(zip(losses.tolist(), sizes.tolist(), strict=True)):
                known = sized == "all" or (sized == "half" and at < length // 2)
                rare = {"rare": loss} if at % 100 == 0 else {}
                run.log(loss=loss, batch_size=size if known else None, **rare)
                if at % every == 0:
                    run.history.fold()
        for name in ("loss", "rare"):
            plain, merged = (run.history.epoch_mean(name) for run in runs)
            np.testing.assert_allclose(merged, plain, rtol=1e-12, atol=1e-14)
        for run in runs:
            run.log_epoch()
    plain, merged = (run.history.epoch for run in runs)
    for name in ("loss", "rare"):
        np.testing.assert_allclose(merged[name], plain[name], rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(merged.steps(name), plain.steps(name))


def test_an_endless_epoch_takes_bounded_memory():
    """Also of the sizes of its batches, and of what is logged now and then."""
    limit, per_point = 4_000, 60
    run = Run("a", bus=Bus(limit, strict=True))
    taken = []
    tracemalloc.start()
    try:
        for at in range(90_000):
            run.log(loss=math.sin(at), batch_size=8, **({"rare": 1.0} if at % 1_000 == 0 else {}))
            if at % 30_000 == 29_999:
                run.history.fold()
                taken.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(taken) < 2 * limit * per_point  # a series, and the clock
    assert taken[2] < 1.2 * taken[1]
    assert run.history.epoch_mean("loss") == pytest.approx(np.sin(np.arange(90_000)).mean(), abs=1e-12)


# Readers and interruptions -----------------------------------------------------------------------------------------


def test_a_reader_in_another_thread_never_sees_a_torn_series():
    run = Run("a", bus=Bus(LIMIT, strict=True))
    run.begin_epoch(0)
    done, faults = threading.Event(), []

    def look():
        sent, page = wire.Sent(), Page()
        while True:
            last = done.is_set()
            try:
                run.history.fold()
                for points in run.history.parts().points[1:]:
                    count = len(points)
                    values, steps = points.values.array(0, count), points.steps.array(0, count)
                    at = points.indices(0, count)
                    if not ((values == at).all() and (steps == values + 1).all() and (np.diff(at) > 0).all()):
                        faults.append("torn")
                while (frame := wire.append(run.history, sent)) is not None:
                    page.take(read(frame)["runs"][0])
            except Exception as error:
                faults.append(repr(error))
            if last:
                break
        told = [line.points for line in page.series.values() if line.spec["kind"] != "clock"]
        faults.extend("misplaced" for points in told for index, (value, *_) in points.items() if index != value)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for loss in range(20_000):
        run.log(loss=float(loss))
    done.set()
    for reader in readers:
        reader.join()
    assert faults == []
    check(points_of(run.history), np.arange(20_000.0), LIMIT)


def test_an_interrupt_at_any_line_of_merging_costs_no_point():
    values = np.random.default_rng(4).standard_normal(1_100)
    values[77] = math.nan
    lines = set()
    merging = {
        buckets.__file__: None,
        spikes.__file__: None,
        points.__file__: {"thinned", "_with"},
        history.__file__: {"_thin"},
    }

    def watch(act):
        def enter(frame, event, argument):
            names = merging.get(frame.f_code.co_filename, ())
            if names is None or frame.f_code.co_name in names:
                return lambda frame, event, argument: act(frame) if event == "line" else None
            return None

        return enter

    def train(act, interrupts):
        run = Run("a", bus=Bus(LIMIT, strict=True))
        run.begin_epoch(0)
        for value in values.tolist():
            run.batch_ended({"loss": value}, size=2)
        sys.settrace(watch(act))
        try:
            run.history.fold()
        except KeyboardInterrupt:
            assert interrupts
        finally:
            sys.settrace(None)
        run.batch_ended({"loss": 0.5}, size=2)
        check(points_of(run.history), np.append(values, 0.5), LIMIT)
        assert len(run.history.clock) <= LIMIT
        assert run.history.clock.length == run.history.step == len(values) + 1
        assert run.history.find("loss", "batch") is run.history.points[0]
        assert math.isnan(run.history.epoch_mean("loss"))

    train(lambda frame: lines.add((frame.f_code.co_filename, frame.f_lineno)), interrupts=False)
    assert len(lines) > 60, "most of what merges was walked through"
    for line in sorted(lines):
        left = [line]

        def interrupt(frame, left=left):
            if left == [(frame.f_code.co_filename, frame.f_lineno)]:
                left.clear()
                raise KeyboardInterrupt

        train(interrupt, interrupts=True)
        assert not left


def test_what_fails_while_batches_are_taken_in_is_undone_also_where_points_were_merged():
    class Broken:
        def __float__(self):
            raise KeyboardInterrupt

    values = np.random.default_rng(5).standard_normal(5_000)
    run = run_of(values[:4_000])
    kept = points_of(run.history).values.array()
    broken = Broken()
    run.batch_ended({"loss": broken})
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run.history.fold()
    np.testing.assert_array_equal(run.history.find("loss", "batch").values.array(), kept)
    Broken.__float__ = lambda self: float(values[4_000])
    for value in values[4_001:].tolist():
        run.log(loss=value)
    check(points_of(run.history), values, LIMIT)


# Going on ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(0, 59), st.booleans())
@settings(deadline=None, max_examples=30)
def test_a_run_goes_on_from_an_earlier_epoch(epochs, first, by_copy):
    first = min(first, epochs)
    bus, each = Bus(LIMIT, strict=True), 101
    values = np.random.default_rng(epochs).standard_normal((epochs + 30) * each)
    with Run("a", bus=bus) as run:
        for epoch in range(epochs):
            run.begin_epoch(epoch)
            for value in values[epoch * each : (epoch + 1) * each].tolist():
                run.log(loss=value)
            run.end_epoch({"val_loss": float(epoch)})
    history, before = run.history, points_of(run.history)
    was = before.indices(0, len(before)).astype(int)
    run = Run(resume=history, epoch=first, bus=bus)
    points = points_of(history)
    n = first * each
    if first == 0:
        assert points is None
        return
    assert history.clock.steps.array().max() <= n
    kept = points.steps.array().astype(int) - 1
    np.testing.assert_array_equal(kept, was[was < n])
    np.testing.assert_array_equal(points.values.array(), values[kept])
    assert history.epoch["val_loss"].tolist() == list(range(first))
    found = points.merged.buckets()
    assert (found.last <= n).all()
    assert found.last.max(initial=0) == points.merged.count
    # What was cut is no bucket any more, and at most one was.
    all_of = before.merged.buckets()
    assert len(found) == (all_of.last <= n).sum()
    if by_copy:
        history = pickle.loads(pickle.dumps(history))
        assert len(history.batch["loss"]) == len(kept)
        return
    page, sent = Page(), wire.Sent()
    for value in values[n:].tolist():
        run.log(loss=value)
        assert len(points_of(history)) <= LIMIT
    while (frame := wire.append(history, sent)) is not None:
        page.take(read(frame)["runs"][0])
    points = points_of(history)
    kept = points.steps.array().astype(int) - 1
    assert (np.diff(kept) > 0).all()
    np.testing.assert_array_equal(points.values.array(), values[kept])
    np.testing.assert_array_equal(kept[-LIMIT // 2 :], np.arange(len(values) - LIMIT // 2, len(values)))
    assert values.argmin() in kept or values[was].argmin() not in kept
    told = [point[:2] for point in page.drawn()["batch", "loss"]]
    assert told == list(zip(points.values.array().tolist(), points.steps.array().tolist(), strict=True))
    assert run.history.epoch_mean("loss") == pytest.approx(values[n:].mean(), rel=1e-9)


def test_a_history_can_be_copied_and_pickled():
    values = np.random.default_rng(6).standard_normal(9_000)
    run = run_of(values[:6_000])
    for copied in (copy.deepcopy(run.history), pickle.loads(pickle.dumps(run.history))):
        assert isinstance(copied, History)
        check(points_of(copied), values[:6_000], LIMIT)
    for value in values[6_000:].tolist():
        run.log(loss=value)
    check(points_of(run.history), values, LIMIT)
    check(points_of(copied), values[:6_000], LIMIT)


def test_what_was_merged_can_be_put_together_again_from_its_columns():
    values = np.random.default_rng(7).standard_normal(30_000)
    values[::1_000] = math.nan
    points = points_of(run_of(values).history)
    made, kept = Points(points.series), points.merged.kept
    merged = Merged.of(
        points.steps.array(0, kept), points.values.array(0, kept), points.indices(0, kept), points.merged.buckets()
    )
    made.merged = merged
    assert (merged.kept, merged.count) == (kept, points.merged.count)
    made.steps.extend(points.steps.array())
    made.values.extend(points.values.array())
    check(made, values, LIMIT)
    more = np.random.default_rng(8).standard_normal(30_000)
    for at in range(0, 30_000, 1_000):
        made.values.extend(more[at : at + 1_000])
        made.steps.extend(np.arange(30_001 + at, 31_001 + at))
        made = made.thinned(LIMIT, LIMIT)
    check(made, np.append(values, more), LIMIT)
    assert len(Merged.of(*[np.empty(0)] * 3, Merged().buckets()).blocks) == 0


def test_columns_that_do_not_fit_to_each_other_are_refused():
    points = points_of(run_of(np.random.default_rng(9).standard_normal(4_000)).history)
    kept, found = points.merged.kept, points.merged.buckets()
    steps, values, indices = points.steps.array(0, kept), points.values.array(0, kept), points.indices(0, kept)
    none = np.full(len(indices), indices[0])
    for fault in (
        (steps[:-1], values, indices, found),
        (steps, values, indices[::-1], found),
        (steps, values, none, found),
        (steps, values, indices + found.count.sum(), found),
        (steps[:3], values[:3], indices[:3], found),
        (steps, values, indices, Merged().buckets()),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            Merged.of(*fault)


# The wire ----------------------------------------------------------------------------------------------------------


def told_of(page):
    return {line.spec["name"]: line.points for line in page.series.values()}


@given(
    st.lists(st.integers(1, 2_500), min_size=1, max_size=6), st.lists(st.booleans(), min_size=6, max_size=6), st.data()
)
@settings(deadline=None, max_examples=30)
def test_a_page_has_each_value_at_its_index_whenever_it_was_told(parts, sends, data):
    """It keeps what it was told before that was merged, and what it missed since is left out and no hole."""
    values = np.random.default_rng(len(parts)).standard_normal(sum(parts))
    run = Run("a", bus=Bus(LIMIT, strict=True))
    page, sent, logged = Page(), wire.Sent(), 0
    if data.draw(st.booleans()):
        wire.MESSAGE_POINTS, usual = 100, wire.MESSAGE_POINTS
    else:
        usual = wire.MESSAGE_POINTS

    def send(page, sent):
        while (frame := wire.append(run.history, sent)) is not None:
            (told,) = read(frame)["runs"]
            for column in told["columns"]:
                known = page.series[column["series"]].points if column["series"] in page.series else {}
                first = int(column["indices"][0]) if "indices" in column else column["start"]
                first_kept = int(run.history.parts().points[column["series"]].indices(0, 1)[0])
                assert first <= max(known, default=-1) + 1 or first == first_kept
                assert column["count"] <= wire.MESSAGE_POINTS
                assert column["start"] == first
            page.take(told)
            if not wire.behind(run.history, sent):
                break

    try:
        for part, now in zip(parts, sends, strict=False):
            for value in values[logged : logged + part].tolist():
                run.log(loss=value)
            logged += part
            run.history.fold()
            if now:
                send(page, sent)
        send(page, sent)
        late = Page()
        send(late, wire.Sent())
    finally:
        wire.MESSAGE_POINTS = usual
    points = points_of(run.history)
    kept = points.indices(0, len(points)).astype(int)
    for each in (page, late):
        told = told_of(each)
        assert all(value == values[at] and step == at + 1 for at, (value, step, _) in told["loss"].items())
        assert told["loss"].keys() >= set(kept.tolist())
        assert each.series[1].spec["name"] == "loss"
    assert told_of(late)["loss"].keys() == set(kept.tolist())
    assert told_of(late)["time"].keys() == set(run.history.clock.indices(0, len(run.history.clock)).astype(int))
    assert wire.append(run.history, sent) is None
    # A snapshot says the same, in full or the extremes of it.
    for limit in (10_000_000, 12_000):
        frame, complete = wire.snapshot([run.history], limit)
        assert len(frame) <= limit
        (told,) = read(frame)["runs"]
        (column,) = (column for column in told["columns"] if column["series"] == 1)
        here = [int(at) for at in column.get("indices", range(column["start"], column["start"] + column["count"]))]
        assert set(here) <= set(kept.tolist())
        assert column["values"] == values[here].tolist()
        assert column["length"] == len(values)
        assert {int(values[kept].argmin()), int(values[kept].argmax())} <= {kept.tolist().index(at) for at in here}
        shown = Page()
        shown.take(told)
        assert all(value == values[at] and step == at + 1 for at, (value, step, _) in told_of(shown)["loss"].items())
        if limit > 1_000_000:
            assert here == kept.tolist()
            assert wire.append(run.history, complete[run.id]) is None


# Taking along ------------------------------------------------------------------------------------------------------


def test_what_is_taken_along_holds_what_is_kept():
    values = np.random.default_rng(10).standard_normal(7_000)
    run = Run("a", bus=Bus(LIMIT, strict=True))
    run.begin_epoch(0)
    for at, value in enumerate(values.tolist()):
        run.log(loss=value, **({"grad": float(at)} if at % 10 == 0 else {}))
    run.end_epoch({"val_loss": 1.0})
    history = run.history
    frame = history.to_frame("batch")
    steps = history.batch.steps("loss").astype(int)
    assert frame["loss"].dropna().index.tolist() == steps.tolist()
    assert frame["loss"].dropna().tolist() == values[steps - 1].tolist()
    assert frame["grad"].dropna().tolist() == history.batch["grad"].tolist()
    assert frame.index.is_monotonic_increasing
    assert history.to_csv(granularity="batch").count("\n") == len(frame) + 1
    assert history.to_frame()["val_loss"].tolist() == [1]
    told = {one["name"]: one for one in json.loads(history.to_json())["series"]}
    assert told["loss"]["steps"] == steps.tolist()
    history.plot()


def test_the_average_in_a_picture_is_that_of_all_points_and_not_of_their_spikes():
    """Of values with few and large spikes the middle of lowest and highest is far from the mean."""
    values = np.random.default_rng(11).exponential(size=60_000) ** 4
    values[100] = math.nan
    lines = {}
    for limit in (None, LIMIT):
        figure = run_of(values, bus=Bus(limit, strict=True)).history.plot(smoothing=0.999)
        line = max(figure.axes[0].get_lines(), key=lambda line: line.get_linewidth())
        x, y = line.get_data()
        lines[limit] = np.interp(np.linspace(10_000, 50_000, 50), x, y)
    assert np.median(np.abs(np.log(lines[LIMIT] / lines[None]))) < 0.1
