import ast
import subprocess
import sys
from pathlib import Path

import pytest

import epochwidget

PACKAGE = Path(epochwidget.__file__).parent

#: What each module may import of the package. Nothing is imported from the right to the left of the picture in
#: DESIGN.md: producers never know the page, consumers never know a framework.
LAYERS = {
    "errors": {"watching"},
    "watching": set(),
    "series": set(),
    "columns": set(),
    "spikes": {"columns"},
    "buckets": {"columns", "spikes"},
    "means": {"columns"},
    "points": {"buckets", "columns", "history", "series", "spikes"},  # the history for its annotations
    "events": {"series"},
    "panels": {"errors", "series"},
    "scalars": {"columns"},
    # Those who take a history out of the kernel only where it is asked for that.
    "history": {
        "buckets",
        "columns",
        "errors",
        "events",
        "exports",
        "files",
        "means",
        "pictures",
        "points",
        "scalars",
        "series",
        "spikes",
        "watching",
    },
    "smoothing": {"columns"},
    "outputs": set(),
    "pages": set(),
    "replacing": set(),
    "background": {"cell"},
    "exports": {"columns", "errors", "history", "points", "replacing", "series"},  # the history for its annotations
    "bus": {"buckets", "errors", "events", "history"},
    "description": {"buckets", "columns", "events", "history", "points", "series", "watching"},
    "npz": {"description", "history"},
    "claims": {"description"},
    "parquet": {"claims", "columns", "description", "errors", "history"},
    "files": {"bus", "description", "errors", "history", "npz", "parquet", "replacing"},
    "marimo": set(),
    "shell": set(),
    "control": {"series", "shell", "wire"},
    "interrupts": {"history"},
    "cell": {"marimo", "run", "shell"},  # the run for its annotations
    "resuming": {"bus", "errors", "history"},
    "run": {"bus", "cell", "errors", "events", "history", "marimo", "resuming", "scalars", "series", "watching"},
    "importers": {"bus", "errors", "events", "history", "series", "watching"},
    "iterations": {"bus", "resuming", "run", "series"},
    "wire": {"columns", "history", "panels", "points", "series", "spikes"},
    "bqplot": {"bus", "errors", "events", "history", "panels", "pictures", "points", "spikes"},
    "pictures": {"columns", "history", "panels", "points", "scalars", "series", "shell", "smoothing", "spikes"},
    "settings": {"history", "panels"},
    "widget": {
        "bus",
        "cell",
        "control",
        "errors",
        "events",
        "history",
        "interrupts",
        "outputs",
        "pages",
        "pictures",
        "replacing",
        "settings",
        "wire",
    },
}

FRAMEWORKS = [
    "catboost",
    "fastai",
    "ignite",
    "jax",
    "keras",
    "lightgbm",
    "lightning",
    "pytorch_lightning",
    "skorch",
    "tensorflow",
    "torch",
    "transformers",
    "xgboost",
]


def imported(path):
    """Return the modules of the package that a file imports, at whatever depth, and those of others."""
    own, others = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                base = ["epochwidget", *path.relative_to(PACKAGE).parts[:-1]]
                module = ".".join([*base[: len(base) - node.level + 1], *filter(None, [module])])
            names = [module] if module != "epochwidget" else [f"epochwidget.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            if first == "epochwidget":
                own.add(rest.partition(".")[0])
            else:
                others.add(first)
    return own, others


@pytest.mark.parametrize("module", LAYERS)
def test_a_module_imports_only_what_its_place_in_the_picture_allows(module):
    assert imported(PACKAGE / f"{module}.py")[0] <= LAYERS[module]


def test_cell_knows_run_by_its_type_only():
    tree = ast.parse((PACKAGE / "cell.py").read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.level]
    assert [alias.name for node in top for alias in node.names] == ["marimo", "shell"]


@pytest.mark.parametrize("path", sorted((PACKAGE / "callbacks").glob("*.py")), ids=lambda path: path.stem)
def test_a_callback_knows_neither_the_page_nor_a_sibling(path):
    known = {"run", "iterations", "bus", "history", "series", "events", "errors", "scalars", "watching", "resuming"}
    assert imported(path)[0] <= known


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_the_core_names_no_framework(path):
    assert imported(path)[1].isdisjoint(FRAMEWORKS)


def test_importing_the_package_waits_for_nothing():
    """Whoever trains with one framework waits for no other, and for NumPy and ipywidgets not before there is need."""
    heavy = [*FRAMEWORKS, "matplotlib", "pandas", "tensorboard"]
    first = [*heavy, "numpy", "ipywidgets", "anywidget", "traitlets", "IPython"]
    asked = (
        "import sys, epochwidget as ew\n"
        f"print([name for name in {first} if name in sys.modules])\n"
        "import epochwidget.background, epochwidget.bus\n"
        "assert callable(ew.background) and isinstance(ew.bus, ew.Bus), 'not the modules of these names'\n"
        "for name in dir(ew): getattr(ew, name)\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
    )
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert told.stdout.split("\n") == ["[]", "[]", ""]


def test_everything_that_is_offered_is_there():
    assert [name for name in epochwidget.__all__ if not hasattr(epochwidget, name)] == []
    assert epochwidget.runs is epochwidget.bus.runs
    assert set(epochwidget.__all__) == epochwidget._HOMES.keys()
    with pytest.raises(AttributeError, match="no attribute 'Buss'"):
        _ = epochwidget.Buss


def test_a_script_that_leaves_a_run_open_ends_quietly():
    script = (
        "import epochwidget as ew\n"
        "widget = ew.EpochWidget()\n"
        "run = ew.Run('a', epochs=2)\n"
        "for epoch in run.epochs():\n"
        "    for batch in run.batches([1, 2]):\n"
        "        run.log(loss=1.0)\n"
        "        break\n"
        "    break\n"
        "print('done')\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert (told.stdout, told.stderr) == ("done\n", "")
