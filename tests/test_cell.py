import threading

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import epochwidget as ew
from epochwidget import Bus, Run

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def shell(tmp_path, monkeypatch, bus):
    """An IPython of our own, with the package and a bus at hand as a notebook has them."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    made = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    made.push({"ew": ew, "Run": Run, "bus": bus, "threading": threading})
    yield made
    made.reset()
    made.restore_sys_module_state()
    InteractiveShell.clear_instance()


def told(history):
    return history.status, history.error


def test_an_error_that_ends_the_cell_fails_the_run_it_trained(shell, bus):
    shell.run_cell("run = Run('a', bus=bus)\nrun.log(loss=1.0)\nraise ValueError('no')")
    assert told(bus.runs[0]) == ("failed", "ValueError: no")
    assert bus.runs[0].batch["loss"].tolist() == [1]


def test_an_interrupt_of_the_cell_stops_the_run(shell, bus):
    shell.run_cell("run = Run('a', bus=bus)\nrun.log(loss=1.0)\nraise KeyboardInterrupt")
    assert told(bus.runs[0]) == ("stopped", "KeyboardInterrupt")


def test_the_batch_that_the_error_struck_is_kept(shell, bus):
    shell.run_cell(
        "run = Run('a', bus=bus)\n"
        "for epoch in run.epochs(2):\n"
        "    for x in run.batches([1, 2]):\n"
        "        run.log(loss=float(x))\n"
        "        if x == 2: raise ValueError('no')"
    )
    assert told(bus.runs[0]) == ("failed", "ValueError: no")
    assert bus.runs[0].batch["loss"].tolist() == [1, 2]


def test_a_run_goes_on_from_cell_to_cell(shell, bus):
    shell.run_cell("run = Run('a', bus=bus)\nrun.log(loss=1.0)")
    shell.run_cell("run.log(loss=2.0)")
    assert told(bus.runs[0]) == ("running", None)
    shell.run_cell("run.end()")
    assert told(bus.runs[0]) == ("completed", None)


def test_a_run_whose_epochs_are_all_done_has_ended_with_its_cell(shell, bus):
    """Without `with` and `end`, a loop that came to its end does not look as if it were still training."""
    shell.run_cell("run = Run('a', bus=bus)\nfor epoch in run.epochs(2):\n    run.log(loss=1.0)")
    assert told(bus.runs[0]) == ("completed", None)
    assert bus.runs[0].epoch["loss"].tolist() == [1, 1]


def test_an_error_in_a_cell_that_trained_something_else_leaves_the_run_alone(shell, bus):
    shell.run_cell("run = Run('a', bus=bus)\nrun.log(loss=1.0)")
    shell.run_cell("other = Run('b', bus=bus)\nother.log(loss=1.0)\n1 / 0")
    shell.run_cell("import nonsense_that_is_not_there")
    shell.run_cell("this is no Python")
    assert [history.status for history in bus.runs] == ["running", "failed"]
    shell.run_cell("run.log(loss=2.0)")
    assert bus.runs[0].batch["loss"].tolist() == [1, 2]


@pytest.mark.parametrize(
    "cell",
    [
        "run.log(loss=1.0); 1 / 0",
        "run.mark('here'); 1 / 0",
        "for epoch in run.epochs(2):\n    for x in run.batches([1, 2]):\n        1 / 0",
        "run.begin_epoch(0)\n1 / 0",
    ],
    ids=["logged", "marked", "first batch", "first epoch"],
)
def test_a_run_of_an_earlier_cell_fails_with_the_cell_that_takes_it_up(shell, bus, cell):
    shell.run_cell("run = Run('a', bus=bus)")
    shell.run_cell(cell)
    assert told(bus.runs[0]) == ("failed", "ZeroDivisionError: division by zero")


def test_a_run_in_a_thread_of_its_own_outlives_its_cell(shell, bus):
    shell.run_cell(
        "go, first = threading.Event(), threading.Event()\n"
        "def train():\n"
        "    with Run('a', bus=bus) as run:\n"
        "        run.log(loss=1.0)\n"
        "        first.set()\n"
        "        go.wait()\n"
        "        run.log(loss=2.0)\n"
        "thread = threading.Thread(target=train)\n"
        "thread.start()\n"
        "first.wait()\n"
        "1 / 0"
    )
    assert told(bus.runs[0]) == ("running", None)
    shell.run_cell("go.set()\nthread.join()")
    assert told(bus.runs[0]) == ("completed", None)
    assert bus.runs[0].batch["loss"].tolist() == [1, 2]


WITHIN_CALL = (
    "run = Run('a', bus=bus)\nrun.begin_epoch(0)\nrun.lives_within_call(lambda: run.batch_ended({'loss': 7.0}))\n"
)


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        ("pass", ("stopped", None)),
        ("raise KeyboardInterrupt", ("stopped", "KeyboardInterrupt")),
        ("raise ValueError('no')", ("failed", "ValueError: no")),
        ("run.end()", ("completed", None)),
    ],
)
def test_a_run_within_a_call_is_over_with_its_cell_and_hands_over_what_it_held_back(shell, bus, ending, outcome):
    shell.run_cell(WITHIN_CALL + ending)
    assert told(bus.runs[0]) == outcome
    assert bus.runs[0].batch["loss"].tolist() == [7]


def test_a_run_that_has_ended_is_not_ended_again(shell, bus):
    ends = []
    bus.subscribe(ends.append, ew.RunEnded)
    shell.run_cell("with Run('a', bus=bus) as run:\n    run.log(loss=1.0)\n    raise ValueError('no')")
    shell.run_cell("1 / 0")
    assert [event.status for event in ends] == ["failed"]


def test_running_a_cell_again_replaces_its_run(shell, bus):
    for _ in range(2):
        shell.run_cell("run = Run('a', bus=bus)\nrun.log(loss=1.0)")
    assert [history.status for history in bus.runs] == ["stopped", "running"]


def test_a_second_shell_is_listened_to_as_well(shell, bus):
    InteractiveShell.clear_instance()
    try:
        second = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
        second.push({"Run": Run, "bus": bus})
        second.run_cell("run = Run('a', bus=bus)\n1 / 0")
        assert bus.runs[0].status == "failed"
        second.reset()
    finally:
        InteractiveShell.clear_instance()


def test_without_a_notebook_nothing_ends_a_run_but_itself():
    bus = Bus(strict=True)
    run = Run("a", bus=bus)
    with pytest.raises(ZeroDivisionError):
        1 / 0  # noqa: B018
    assert run.status == "running"
