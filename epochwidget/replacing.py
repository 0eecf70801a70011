"""Writing a file so that there is the old one or the new one, and never half of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


@contextmanager
def replacing(path: str | os.PathLike[str], what: str) -> Iterator[BinaryIO]:
    """Open a file that takes the place of what is at `path` once the ``with`` block has ended well.

    Parameters
    ----------
    path
        Where to. Of a link, what it leads to is replaced.
    what
        What is written, for the error: ``"the run 'digits'"``.

    Raises
    ------
    OSError
        If it cannot be written. What was at `path` is as it was.
    """
    target = Path(path).resolve()
    # Beside it, so that it is on the same disk and can take its place at once.
    fresh = target.with_name(f".epochwidget-{uuid4().hex}")
    try:
        if target.exists() and not target.is_file():
            raise OSError(errno.EEXIST, "there is something that is no file")
        with fresh.open("xb") as file:
            if target.exists():  # who may read it stays, on disks that know of that
                with suppress(OSError):
                    fresh.chmod(target.stat().st_mode & 0o7777)
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{what} was not saved ({error.strerror}), and what was there is as it was; give a path in a folder that "
            f"exists, may be written and has room",
            os.fspath(path),
        ) from error
    finally:
        with suppress(OSError):
            fresh.unlink()
