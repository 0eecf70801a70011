"""The outputs of cells that show a widget: beside the live view each keeps a picture, which a saved notebook shows.

A view needs a kernel and a page that runs scripts. A notebook on GitHub, or turned into HTML or PDF, has neither. Each
output has an identifier of its own, by which a kernel may replace it, also after its cell has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

# Whoever displays a widget more often than this has closed or lost most of these outputs.
_MOST = 8


class Outputs:
    """The outputs that show one widget."""

    def __init__(self) -> None:
        self._of_cell: dict[str | None, list[str]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._of_cell.values()))

    def add(self, cell: str | None, bundle: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """Show a widget in one more output.

        Parameters
        ----------
        cell
            The identifier of the cell, where the front end gives one.
        bundle, metadata
            The view and what stands for it, by media type.
        """
        identifier = uuid4().hex
        of_cell = self._of_cell.setdefault(cell, [])
        of_cell.append(identifier)
        del of_cell[:-_MOST]
        display(bundle, metadata, display_id=identifier)

    def replace(self, bundle: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """Show this in all of them."""
        for identifiers in list(self._of_cell.values()):
            for identifier in identifiers:
                display(bundle, metadata, display_id=identifier, update=True)

    def forget(self, cell: str) -> None:
        """Forget the output of a cell, which is run again."""
        self._of_cell.pop(cell, None)


def display(bundle: Mapping[str, Any], metadata: Mapping[str, Any], **more: Any) -> None:
    """Have IPython show what stands for something, by media type."""
    from IPython import display as ipython  # noqa: PLC0415 - it is there where there is somebody to display to

    ipython.display(dict(bundle), metadata=dict(metadata), raw=True, **more)  # type: ignore[no-untyped-call]
