"""A process's claim on work, which ends with the process however that ends.

The claim is a lock of the operating system on a small file. The system lets go of it when the
process is gone, killed or not, so no clock and no heartbeat has to be trusted.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from tta_notebook.core.errors import StorageError
from tta_notebook.storage.sqlite_errors import folder_refused

if sys.platform == "win32":
    import msvcrt

    def _hold(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)

    def _is_held(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return True
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        return False

    def _remove_if_free(path: Path, descriptor: int) -> None:
        is_free = not _is_held(descriptor)
        os.close(descriptor)  # an open file cannot be removed, by whomever it is open
        if is_free:
            with suppress(PermissionError):
                path.unlink(missing_ok=True)

else:
    import fcntl

    def _hold(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _is_held(descriptor: int) -> bool:
        # Shared, so that those who look at the same time do not take each other for the owner.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False

    def _remove_if_free(path: Path, descriptor: int) -> None:
        # Before the lock is let go: somebody who has just made the file waits for it, and then sees
        # that the file is gone. Removed after it, that claim would be one that nobody can see.
        try:
            if not _is_held(descriptor):
                path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


class Owner:
    """The claim of this process on what it has under way in some place.

    The claim begins when `id` is first asked for and ends with `release()`, with the object or with
    the process. A forked child is somebody else: it does not hold its parent's claim, and asking it
    for `id` makes one of its own.

    Args:
        folder: where the owners of that place keep their lock files; made when it is needed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mine, other = Owner(Path(folder)), Owner(Path(folder))
    ...     name = mine.id
    ...     before = other.is_alive(name)
    ...     mine.release()
    ...     before, other.is_alive(name)
    (True, False)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._claim: _Claim | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Owner], tuple[Path]]:
        return type(self), (self.folder,)  # another process makes a claim of its own

    @property
    def id(self) -> str:
        """Its name, unique among all owners there have ever been.

        Raises:
            StorageError: no lock file can be made there.
        """
        with self._lock:
            if self._claim is None:
                _watch_forks()
                try:
                    self._sweep()
                    self._claim = _Claim(self.folder)
                except OSError as error:
                    message = f"{self.folder}: {folder_refused(error)}"
                    raise StorageError(message, path=str(self.folder)) from error
                weakref.finalize(self, self._claim.end)
                _owners.add(self)
            return self._claim.id

    def is_alive(self, owner_id: str) -> bool:
        """Tell whether the owner of that name still holds its claim.

        Raises:
            StorageError: its lock file cannot be looked at.
        """
        try:
            descriptor = os.open(self.folder / owner_id, os.O_RDONLY)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageError(
                f"{self.folder}: whether its owner {owner_id!r} is alive cannot be told, because "
                f"its lock file cannot be opened ({error}). Allow this user to read it.",
                path=str(self.folder),
            ) from error
        try:
            return _is_held(descriptor)
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """End the claim; asking for `id` again makes a new one."""
        with self._lock:
            claim, self._claim = self._claim, None
        if claim is not None:
            claim.end()

    def _sweep(self) -> None:
        """Remove what killed processes have left."""
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue  # somebody else was here first
            _remove_if_free(path, descriptor)

    def leave_to_parent(self) -> None:
        """In a forked child: let go of the parent's lock without ending its claim."""
        self._lock = threading.Lock()  # another thread of the parent may have held it
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.leave()


class _Claim:
    """A locked file named after its owner."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            self.id = uuid4().hex
            self.path = folder / self.id
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            _hold(descriptor)
            if self.path.exists():
                break
            os.close(descriptor)  # somebody swept it away before it was locked
        self._descriptor: int | None = descriptor

    def end(self) -> None:
        if self._descriptor is None:
            return
        # Unlinked first where that is possible: while it is there and not locked, others sweep it.
        with suppress(OSError):
            self.path.unlink()
        self.leave()
        with suppress(OSError):  # Windows removes only what is closed
            self.path.unlink()

    def leave(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)


_owners: weakref.WeakSet[Owner] = weakref.WeakSet()
_is_watching_forks = False


def _watch_forks() -> None:
    """A lock belongs to an open file, which a forked child has open too: it has to close it."""
    global _is_watching_forks  # noqa: PLW0603 - such a hook cannot be taken back, so there is one
    if not _is_watching_forks and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_leave_all)
    _is_watching_forks = True


def _leave_all() -> None:
    for owner in list(_owners):
        owner.leave_to_parent()
