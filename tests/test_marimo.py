"""What is understood of marimo's cells; `tests/e2e/test_hosts.py` asks a real one."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from epochwidget import Run, cell, marimo


@pytest.fixture
def context(monkeypatch):
    """A notebook of marimo's that is running its cell "a"."""
    running = SimpleNamespace(runtime_state="running", run_result_status=None, exception=None)
    made = SimpleNamespace(execution_context=object(), cell_id="a", graph=SimpleNamespace(cells={"a": running}))
    module = ModuleType("marimo._runtime.context")
    module.safe_get_context = lambda: made
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return made


def end(context, status, exception=None):
    context.execution_context = None
    vars(context.graph.cells["a"]).update(runtime_state="idle", run_result_status=status, exception=exception)


def test_without_marimo_there_is_no_cell_and_no_notebook():
    assert marimo.present() is None
    assert not marimo.is_notebook()


@pytest.mark.parametrize(
    ("status", "exception", "outcome"),
    [
        ("exception", ValueError("no"), ("failed", "ValueError: no")),
        ("interrupted", None, ("stopped", "KeyboardInterrupt")),
        ("success", None, ("running", None)),
    ],
)
def test_a_run_ends_as_its_cell_did(context, bus, status, exception, outcome):
    run = Run("a", bus=bus)
    run.log(loss=1.0)
    cell.end_runs_left()
    assert run.status == "running"
    context.execution_context = None
    cell.end_runs_left()
    assert run.status == "running", "how it ended is yet to be known"
    end(context, status, exception)
    cell.end_runs_left()
    assert (bus.runs[0].status, bus.runs[0].error) == outcome
    run.end()


def test_a_run_whose_call_has_ended_with_the_cell_was_stopped(context, bus):
    run = Run("a", bus=bus)
    run.lives_within_call(lambda: None)
    end(context, "success")
    cell.end_runs_left()
    assert run.status == "stopped"


def test_a_cell_that_is_run_again_is_another(context):
    first = marimo.present()
    end(context, "success")
    context.execution_context = object()
    assert first.ended
    assert not marimo.present().ended


@pytest.mark.parametrize("name", ["execution_context", "cell_id", "graph"])
def test_where_a_name_is_gone_no_cell_is_known(context, bus, name):
    delattr(context, name)
    assert marimo.present() is None
    run = Run("a", bus=bus)
    cell.end_runs_left()
    assert run.status == "running"
    run.end()
