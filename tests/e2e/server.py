"""A notebook server in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import nbformat


class Server:
    """A server in folders of its own, so that nobody's settings matter.

    Parameters
    ----------
    folder
        Where its settings and its log go, and its notebooks.
    command
        The module and its options. ``{port}`` and ``{root}`` stand for the port and the folder of the notebooks.
    """

    def __init__(self, folder: Path, *command: str) -> None:
        self.root = folder / "notebooks"
        self.root.mkdir(exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        own = {
            "XDG_CONFIG_HOME": "xdg",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "IPYTHONDIR": "ipython",
        }
        self._log = (folder / "server.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", *(part.format(port=port, root=self.root) for part in command)],
            env=os.environ | {name: str(folder / path) for name, path in own.items()},
            cwd=self.root,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._wait(folder, command[0])

    def _wait(self, folder: Path, name: str) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                with urlopen(f"{self.url}/favicon.ico", timeout=2):
                    return
            except HTTPError:
                return  # it answers
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.2)
        raise RuntimeError(f"{name} did not start:\n{(folder / 'server.log').read_text()[-4000:]}")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def write_notebook(path: Path, *cells: str) -> None:
    """Write a Jupyter notebook of these cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, str(path))
