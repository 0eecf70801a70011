"""A page that needs neither a kernel nor a network: one file that holds the plots, the runs and the settings."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from string import Template
from typing import Any

# The script is the very one of the notebook. It gets a model that nobody else knows of.
_PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="epochwidget">
<title>$title</title>
<style>
:root { color-scheme: light dark; }
body { margin: 16px; font: 13px system-ui, sans-serif; }
$css
</style>
</head>
<body>
<main id="epochs"></main>
<script type="application/json" id="settings">$settings</script>
<script type="application/json" id="script">$script</script>
<script type="application/octet-stream;base64" id="runs">$runs</script>
<script type="module">
const text = (id) => document.getElementById(id).textContent;
const traits = JSON.parse(text("settings"));
traits._snapshot = Uint8Array.from(atob(text("runs")), (letter) => letter.charCodeAt(0));
const model = {
  get: (name) => traits[name],
  set: (name, value) => { traits[name] = value; },
  save_changes() {},
  on() {},
  off() {},
};
const script = new Blob([JSON.parse(text("script"))], { type: "text/javascript" });
const { default: widget } = await import(URL.createObjectURL(script));
const { initialize, render } = widget();
initialize({ model });
render({ model, el: document.getElementById("epochs") });
</script>
</body>
</html>
"""
)


def page(*, title: str, settings: Mapping[str, Any], snapshot: bytes, script: str, css: str) -> str:
    """Return the page.

    Parameters
    ----------
    title
        What the browser's tab says.
    settings
        The traits, as they go over the wire.
    snapshot
        The runs, see `epochwidget.wire`.
    script, css
        What the notebook loads.
    """
    return _PAGE.substitute(
        title=escape(title),
        settings=_embedded(dict(settings)),
        script=_embedded(script),
        runs=b64encode(snapshot).decode(),
        css=css,
    )


def _embedded(value: Any) -> str:
    """Return a value as JSON that ends no script, whatever names are in it."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")
