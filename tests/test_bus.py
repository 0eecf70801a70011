import logging

import pytest

from epochwidget import BatchEnded, Bus, EpochStarted, Marked, Run, RunEnded, RunStarted

MARK = Marked("a", 1, 0.5, "here")


def started(run="a"):
    return RunStarted(run, "name", 0.0)


def test_every_subscriber_gets_every_event_in_the_order_of_subscription_and_of_emission(bus):
    heard = []
    bus.subscribe(lambda event: heard.append(("first", event)))
    bus.subscribe(lambda event: heard.append(("second", event)))
    begin = started()
    bus.emit(begin)
    bus.emit(MARK)
    assert heard == [("first", begin), ("second", begin), ("first", MARK), ("second", MARK)]


def test_a_subscriber_to_some_types_gets_no_others(bus):
    heard = []
    bus.subscribe(heard.append, RunStarted, RunEnded)
    begin, end = started(), RunEnded("a", 1, 1.0, "completed")
    for event in (begin, MARK, end):
        bus.emit(event)
    assert heard == [begin, end]


def test_subscribe_is_a_decorator(bus):
    heard = []

    @bus.subscribe
    def tell(event):
        heard.append(event)

    bus.emit(MARK)
    tell("called by hand")
    assert heard == [MARK, "called by hand"]


def test_who_has_unsubscribed_hears_nothing_more(bus):
    heard = []
    bus.subscribe(heard.append)
    bus.unsubscribe(heard.append)
    bus.unsubscribe(heard.append)
    bus.emit(MARK)
    assert heard == []


def test_a_subscription_lasts_as_long_as_its_block(bus):
    heard = []
    with bus.subscribed(heard.append, Marked) as given:
        given("by hand")
        bus.emit(MARK)
        bus.emit(started())
    bus.emit(MARK)
    assert heard == ["by hand", MARK]


def test_a_subscription_ends_when_its_block_raises(bus):
    heard = []
    with pytest.raises(ZeroDivisionError), bus.subscribed(heard.append):
        raise ZeroDivisionError
    bus.emit(MARK)
    assert heard == []


def test_a_subscriber_may_leave_while_it_is_called(bus):
    heard = []

    def once(event):
        heard.append(event)
        bus.unsubscribe(once)

    bus.subscribe(once)
    bus.subscribe(heard.append)
    bus.emit(MARK)
    bus.emit(MARK)
    assert heard == [MARK] * 3


def test_a_subscriber_that_raises_is_logged_once_and_dropped_while_everybody_else_goes_on(caplog):
    bus = Bus()
    calls, heard = [], []

    @bus.subscribe
    def fails(event):
        calls.append(event)
        raise ValueError("no plot today")

    bus.subscribe(heard.append)
    with caplog.at_level(logging.ERROR, "epochwidget"), Run("a", bus=bus) as run:
        for _ in run.epochs(2):
            for _ in run.batches(range(3)):
                run.log(loss=1.0)
    assert len(calls) == 1
    (record,) = caplog.records
    assert record.message.startswith("[epochwidget] ")
    assert "fails" in record.message
    assert "RunStarted" in record.message
    assert "no plot today" in caplog.text
    assert sum(isinstance(event, BatchEnded) for event in heard) == 6
    assert run.history.status == "completed"
    assert run.history.batch["loss"].tolist() == [1.0] * 6


def test_a_subscriber_that_raises_in_mid_run_changes_nothing_for_the_run(caplog):
    bus = Bus()

    @bus.subscribe
    def fails(event):
        if isinstance(event, BatchEnded) and event.step == 5:
            raise RuntimeError

    with Run("a", bus=bus) as run:
        for loss in range(10):
            run.log(loss=float(loss))
    assert run.history.batch["loss"].tolist() == list(range(10))
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_an_interrupt_that_lands_in_a_subscriber_reaches_the_training():
    bus = Bus()

    @bus.subscribe
    def interrupted(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bus.emit(MARK)


def test_a_strict_bus_lets_the_exceptions_of_subscribers_through(bus):
    @bus.subscribe
    def fails(event):
        raise ValueError("seen")

    with pytest.raises(ValueError, match="seen"):
        bus.emit(MARK)


def test_a_subscriber_has_to_be_callable(bus):
    with pytest.raises(TypeError, match=r"^subscribe\(\) needs a function that takes one event, got 'print'\.$"):
        bus.subscribe("print")


@pytest.mark.parametrize("kind", [int, "RunStarted", MARK])
def test_an_event_type_has_to_be_one(bus, kind):
    with pytest.raises(TypeError, match=r"^subscribe\(\) knows no event type .*; there are RunStarted, .*RunEnded\.$"):
        bus.subscribe(print, kind)


@pytest.mark.parametrize("event", [None, 42, "RunStarted", RunStarted])
def test_only_events_can_be_emitted(bus, event):
    with pytest.raises(TypeError, match=r"^emit\(\) needs an event, one of RunStarted, .*RunEnded, got "):
        bus.emit(event)


def test_a_bus_keeps_one_history_for_each_run(bus):
    bus.emit(started("a"))
    bus.emit(started("b"))
    bus.emit(EpochStarted("b", 0, 0, 0.0, 4))
    assert [history.run for history in bus.runs] == ["a", "b"]
    assert [len(history.spans) for history in bus.runs] == [0, 1]


def test_events_of_a_run_that_nobody_began_are_passed_on_and_kept_nowhere(bus):
    heard = []
    bus.subscribe(heard.append)
    bus.emit(MARK)
    assert heard == [MARK]
    assert len(bus.runs) == 0


def test_unsubscribing_while_another_unsubscribes_loses_neither(bus):
    """Garbage that is collected in the midst of it closes widgets, in the same thread."""
    heard = []
    meanwhile = [heard.append]

    class Closing:
        def __call__(self, event):
            raise AssertionError("it does not listen any more")

        def __eq__(self, one):
            while meanwhile:
                bus.unsubscribe(meanwhile.pop())
            return self is one

        __hash__ = None

    closing = Closing()
    bus.subscribe(heard.append)
    bus.subscribe(closing)
    bus.unsubscribe(closing)
    Run("a", bus=bus).end()
    assert heard == []


def test_a_run_that_cannot_be_recorded_does_not_cost_the_next_one_its_history(caplog):
    bus = Bus()
    run = Run("a", bus=bus)
    run.history._start_epoch = None
    run.begin_epoch(0)
    run.begin_epoch(1)
    with Run("b", bus=bus) as other:
        other.log(loss=1.0)
    assert other.history.batch["loss"].tolist() == [1]
    assert caplog.text.count("not all of a run could be recorded") == 1
