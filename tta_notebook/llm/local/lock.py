"""A lock between processes that the system releases however its holder ends."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _acquire(descriptor: int) -> None:
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
            except OSError:
                continue  # it gives up after ten seconds, we do not
            return

else:
    import fcntl

    def _acquire(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextmanager
def locked(path: Path) -> Generator[None, None, None]:
    """Hold the lock file at `path` inside the block, waiting for whoever holds it.

    The file stays behind: removing it would let two processes hold locks on files of one name.
    """
    with path.open("a+b") as file:
        _acquire(file.fileno())
        yield  # closing the file releases the lock
