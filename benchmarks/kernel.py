"""Runs code in a real Jupyter kernel, so that a displayed widget really sends, and brings back what it prints."""

from __future__ import annotations

import json
from typing import Any

from jupyter_client.manager import start_new_kernel


def run(code: str, timeout: float = 600) -> Any:
    """Run `code` in a new kernel and return the JSON on the last line that it prints."""
    manager, client = start_new_kernel(kernel_name="python3")
    text: list[str] = []
    failed: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "stream" and content["name"] == "stdout":
            text.append(content["text"])
        elif message["msg_type"] == "error":
            failed.append("\n".join(content["traceback"]))

    try:
        client.execute_interactive(code, timeout=timeout, output_hook=hear)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    if failed:
        raise RuntimeError(failed[0])
    return json.loads("".join(text).strip().splitlines()[-1])
