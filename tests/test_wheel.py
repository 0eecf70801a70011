"""What people install: the wheel holds the built page and needs no framework."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_the_built_page_and_works_from_there(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        for page in ("epochwidget/static/widget.js", "epochwidget/static/widget.css"):
            assert archive.read(page) == (ROOT / page).read_bytes()
        assert "epochwidget/py.typed" in names
        assert "epochwidget/callbacks/keras.py" in names
        assert not [name for name in names if name.startswith(("tests", "js", "notebooks"))]
        archive.extractall(tmp_path / "installed")
    code = (
        "import sys, epochwidget as ew; "
        "print(ew.__file__); "
        "widget = ew.EpochWidget(); "
        "assert len(widget._esm) > 10_000; "
        "print(sorted({'keras', 'tensorflow', 'torch', 'pandas'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    where, frameworks = run.stdout.splitlines()
    assert Path(where).is_relative_to(tmp_path)
    assert frameworks == "[]"
