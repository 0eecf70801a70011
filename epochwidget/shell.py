"""The IPython that runs here, if any."""

from __future__ import annotations

import sys
from typing import Any


def present() -> Any:
    """Return it, or None where there is none: who never imported IPython is in none."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None
