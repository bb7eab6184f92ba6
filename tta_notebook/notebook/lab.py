"""JupyterLab on a folder: on loopback only, with a token, and without asking for news."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tta_notebook.core import clock
from tta_notebook.core.errors import WorkflowError

_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 15.0
_LOG_TAIL_CHARS = 3_000

# Neither news nor update checks nor extension listings: nothing leaves the machine by itself.
_OPTIONS = (
    "--no-browser",
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.port_retries=0",
    "--LabApp.news_url=",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)
_SETTINGS = {
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": (
        '{"fetchNews": "false", "checkForUpdates": false}'
    ),
    # 3 s by default: on a busy machine a dialog about the kernel opens, and Run All does nothing.
    "@jupyterlab/apputils-extension/kernels-settings.jupyterlab-settings": (
        '{"kernelInfoTimeout": 60000}'
    ),
}


@dataclass(frozen=True, slots=True)
class Lab:
    """A running JupyterLab.

    Attributes:
        base_url: where it listens, without a path.
        token: what its pages ask for.
        process: the server.
        log: the file it writes to.
    """

    base_url: str
    token: str
    process: subprocess.Popen[bytes]
    log: Path

    def url(self, path: str = "") -> str:
        """Return the address of the lab, or of a notebook below its folder."""
        tree = f"/tree/{path}" if path else ""
        return f"{self.base_url}/lab{tree}?token={self.token}"

    def wait(self) -> int:
        """Wait until the server ends by itself; give its exit status."""
        return self.process.wait()


@contextmanager
def running_lab(
    folder: Path,
    *,
    is_private: bool = False,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Generator[Lab, None, None]:
    """Run JupyterLab on `folder` inside the block; kernels and server end with it.

    Args:
        folder: what it shows.
        is_private: use settings, workspaces and IPython profile of its own, which vanish at the
            end, instead of the user's.
        options: more options for the server.
        environment: more environment variables.

    Raises:
        WorkflowError: JupyterLab is not installed, ended early or did not answer in two minutes.
    """
    with TemporaryDirectory(prefix="tta-lab-") as name, contextlib.ExitStack() as stack:
        scratch = Path(name)
        variables = {**os.environ, **(_private(scratch) if is_private else {})}
        variables.update(environment or {})
        lab = _begin(folder, scratch / "lab.log", options, variables)
        stack.callback(_end, lab.process)
        _wait_until_it_answers(lab)
        yield lab


def _private(scratch: Path) -> dict[str, str]:
    settings = scratch / "settings"
    for place, text in _SETTINGS.items():
        file = settings / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return {
        "JUPYTER_CONFIG_DIR": str(scratch / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTERLAB_WORKSPACES_DIR": str(scratch / "workspaces"),
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "IPYTHONDIR": str(scratch / "ipython"),
    }


def _begin(folder: Path, log: Path, options: Sequence[str], variables: Mapping[str, str]) -> Lab:
    token, port = secrets.token_urlsafe(24), _free_port()
    command = [sys.executable, "-m", "jupyterlab", *_OPTIONS, *options]
    command += [f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder.resolve()}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # as root (a container) Jupyter refuses otherwise
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            command,
            stdout=output,
            stderr=output,
            # Not on the command line, where other users of the machine could read it.
            env={**variables, "JUPYTER_TOKEN": token},
            start_new_session=True,
        )
    return Lab(f"http://127.0.0.1:{port}", token, process, log)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_answers(lab: Lab) -> None:
    deadline = clock.monotonic() + _START_TIMEOUT_S
    status = f"{lab.base_url}/api/status?token={lab.token}"
    # The machine's own address never goes through a proxy.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while clock.monotonic() < deadline:
        if lab.process.poll() is not None:
            raise WorkflowError(_failure(lab, f"it ended with status {lab.process.returncode}"))
        with contextlib.suppress(OSError, urllib.error.URLError):
            direct.open(status, timeout=1).close()
            return
        time.sleep(0.05)
    raise WorkflowError(_failure(lab, f"it did not answer within {_START_TIMEOUT_S:g} s"))


def _failure(lab: Lab, what: str) -> str:
    tail = lab.log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL_CHARS:]
    return (
        f"JupyterLab was started on {lab.base_url}, but {what}, so there is nothing to open. "
        f"If it is not installed: pip install 'tta-notebook[lab]'. Its last words:\n{tail}"
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
