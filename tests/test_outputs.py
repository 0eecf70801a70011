import subprocess
import sys

import nbclient
import nbformat

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
