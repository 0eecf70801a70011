import subprocess
import sys

import nbclient
import nbformat
from jupyter_client.manager import start_new_kernel

CELLS = [
    "import epochwidget as ew\nwidget = ew.EpochWidget()\nwidget",
    "with ew.Run('a', epochs=2) as run:\n"
    "    for epoch in run.epochs():\n"
    "        for batch in run.batches(range(5)):\n"
    "            run.log(loss=1.0)\n"
    "run.history.status",
    "display(widget)",
    "with ew.Run('b', epochs=2) as run:\n    run.log(loss=1.0)\n    raise ValueError('no luck')",
]


def executed(*cells):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbclient.NotebookClient(notebook, store_widget_state=False, allow_errors=True).execute()
    return notebook


def pictures(cell):
    return [output["data"]["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]


def test_each_output_has_the_picture_of_the_last_run_that_ended():
    alone = executed(*CELLS[:3])
    assert [len(pictures(cell)) for cell in alone.cells] == [1, 0, 1]
    assert pictures(alone.cells[0]) == pictures(alone.cells[2])
    failed = executed(*CELLS)
    assert [len(pictures(cell)) for cell in failed.cells] == [1, 0, 1, 0]
    assert pictures(failed.cells[0]) == pictures(failed.cells[2])
    assert pictures(failed.cells[0]) != pictures(alone.cells[0]), "both outputs show the run that failed"


def test_nbval_passes_strictly_on_a_notebook_that_displays_the_widget(tmp_path):
    path = tmp_path / "shown.ipynb"
    nbformat.write(executed(*CELLS[:3]), str(path))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", str(path), "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "3 passed" in done.stdout, done.stdout


def test_the_view_is_shown_before_its_picture_is_drawn():
    """Which takes a quarter of a second; it is put beside the view when the cell has ended."""
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        client.execute_interactive(CELLS[1].replace("with", "import epochwidget as ew\nwith"), timeout=120)
        seen = []
        client.execute_interactive(
            "ew.EpochWidget()", timeout=120, output_hook=lambda message: seen.append((message["msg_type"], message))
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    shown = [(kind, "image/png" in told["content"]["data"]) for kind, told in seen if "data" in kind]
    assert shown == [("display_data", False), ("update_display_data", True)]
