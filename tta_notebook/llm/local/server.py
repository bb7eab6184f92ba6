"""The process that serves the embedded model: one per weights file, shared by the whole program.

It starts with the first call that needs it, on a thread, so that no event loop is held up and a
caller that is cancelled does not take it away from the others. It ends with this process, however
that ends: see `child.py`.
"""

from __future__ import annotations

import asyncio
import atexit
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import urllib.request
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from tta_notebook.core.errors import LocalModelMissingError, ModelUnavailableError
from tta_notebook.core.per_loop import Opened, PerLoop

_CHILD = Path(__file__).with_name("child.py")
_HEALTH_TIMEOUT_S = 30.0
# Windows' word for start_new_session; absent and not needed elsewhere.
_OWN_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)


def _half_of_the_cores() -> int:
    # All of them would compete with the notebook: two threads on two busy cores were 2-9x slower.
    return max(1, (os.cpu_count() or 1) // 2)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How the embedded model is served.

    Attributes:
        slots: requests that are answered at once; more wait in line.
        context_tokens: room for prompt and answer together, per request. The embedded SmolLM2-135M
            was trained with 8,192; every thousand costs 23 MB of memory per slot.
        threads: for computing; half of the cores by default.
        prompt_cache_mib: memory for prompts that may come again.

    >>> ServerConfig(slots=1).context_tokens
    4096
    """

    slots: int = 4
    context_tokens: int = 4096
    threads: int = field(default_factory=_half_of_the_cores)
    prompt_cache_mib: int = 128


class LocalServer:
    """A running child process that serves one weights file on the loopback interface.

    Attributes:
        path: the weights.
        config: how they are served.
        url: where it listens.
        key: what a request must carry as its bearer token.
        line: where the requests of an event loop wait for a slot, in order.
    """

    def __init__(self, path: Path, config: ServerConfig) -> None:
        """Start the process and wait until it answers; blocks for about a second.

        Raises:
            LocalModelMissingError: xllamacpp is not installed.
            ModelUnavailableError: the process could not load the weights.
        """
        if importlib.util.find_spec("xllamacpp") is None:
            raise LocalModelMissingError(
                f"The local model {path.name!r} cannot be served: the package xllamacpp is not "
                "installed. Run `pip install 'tta-notebook[local]'`.",
                model="local",
                provider="local",
            )
        self.path = path
        self.config = config
        self.line = PerLoop(lambda: Opened(asyncio.Semaphore(config.slots)))
        self.key = secrets.token_urlsafe(32)
        # A file, not a pipe: nobody reads it while the process runs, and a full pipe would stop it.
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = _spawn(self._log)
        try:
            self.url = self._greet()
            _check_health(self.url)
        except BaseException:
            self.stop()
            raise

    def __repr__(self) -> str:
        state = "running" if self.is_alive else self.ending
        return f"<LocalServer {self.path.name!r} pid {self.pid} {state}>"

    @property
    def pid(self) -> int:
        """The process id of the child."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def ending(self) -> str:
        """How the process ended, for messages."""
        code = self._process.poll()
        if code is None:
            return "is running"
        return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def has_ended(self, within_s: float) -> bool:
        """Tell whether the process has ended, waiting a moment for one that is just ending.

        A killed process closes its connections shortly before the system reports its end.
        """
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """End the process; nothing happens when it has ended."""
        self._process.kill()
        self._process.wait()
        for end in (self._process.stdin, self._process.stdout, self._log):
            if end is not None:
                _close(end)

    def disown(self) -> None:
        """Forget the process without touching it: after a fork it belongs to the parent.

        Closing our copy of the pipe matters: the server lives until the last copy is closed.
        """
        self._process.returncode = 0
        for end in (self._process.stdin, self._process.stdout, self._log):
            if end is not None:
                _close(end)

    def _greet(self) -> str:
        """Give the child its settings and return the URL it listens on."""
        settings = {
            **asdict(self.config),
            "path": str(self.path),
            "alias": self.path.stem,
            "key": self.key,
            # A thread per connection is held while it streams; some are left for /tokenize.
            "http_threads": 4 * self.config.slots + 16,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(settings).encode() + b"\n")
            self._process.stdin.flush()
            reply = json.loads(self._process.stdout.readline() or b"{}")
        except (OSError, ValueError) as error:
            raise self._not_started(repr(error)) from error
        if url := reply.get("url"):
            return str(url)
        self._process.wait()
        raise self._not_started(reply.get("error") or self.ending)

    def _not_started(self, reason: str) -> ModelUnavailableError:
        return ModelUnavailableError(
            f"The local model cannot be served from {str(self.path)!r}: {self._complaint(reason)}. "
            "Run `tta local install` to check and renew the embedded weights, or point "
            "TTA_LOCAL_MODEL to a GGUF file that llama.cpp can load.",
            model="local",
            provider="local",
            retryable=False,
        )

    def _complaint(self, reason: str) -> str:
        """Return the first error in the child's log, which says more than its last."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        errors = [line.partition(" E ")[2] for line in lines if " E " in line]
        return (errors or [reason])[0].strip().rstrip(".")


def _spawn(log: IO[bytes]) -> subprocess.Popen[bytes]:
    # By path and with -P, not -m: the child needs nothing of this package, and finds it nowhere
    # when the notebook has it from a changed sys.path. In a session of its own, so that an
    # interrupt of the notebook's process group does not end it.
    return subprocess.Popen(  # noqa: S603 - our own interpreter and file
        [sys.executable, "-P", str(_CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,
        creationflags=_OWN_GROUP,
    )


def _check_health(url: str) -> None:
    # No proxy: the environment's may know nothing of this machine's loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/health", timeout=_HEALTH_TIMEOUT_S) as answer:
        answer.read()


def _close(end: IO[bytes]) -> None:
    try:
        end.close()
    except OSError:
        # What was buffered for a process that has ended cannot be delivered, and need not be.
        return


_Key = tuple[Path, ServerConfig]


class _Servers:
    """The servers of this process, by weights and configuration."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._starting: dict[_Key, Future[LocalServer]] = {}
        self._is_seen_to = False

    def get(self, path: Path, config: ServerConfig) -> Future[LocalServer]:
        """Return the server, starting it if there is none or the last one has ended."""
        with self._lock:
            future = self._starting.get((path, config))
            if future is not None and _is_over(future):
                _clear_up(future)
                future = None
            if future is None:
                self._see_to_the_end()
                future = self._starting[path, config] = _started(path, config)
            return future

    def stop(self) -> None:
        """End all servers."""
        for server in self._take():
            server.stop()

    def disown(self) -> None:
        """Forget all servers in a forked process, where the lock may be held by no one."""
        self._lock = threading.Lock()
        for server in self._take():
            server.disown()

    def _see_to_the_end(self) -> None:
        """With the first server, and not by an import, the process learns what to do at its end."""
        if self._is_seen_to:
            return
        self._is_seen_to = True
        atexit.register(self.stop)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.disown)

    def _take(self) -> list[LocalServer]:
        with self._lock:
            futures = list(self._starting.values())
            self._starting.clear()
        return [future.result() for future in futures if _is_up(future)]


def _is_up(future: Future[LocalServer]) -> bool:
    return future.done() and future.exception() is None


def _is_over(future: Future[LocalServer]) -> bool:
    return future.done() and not (_is_up(future) and future.result().is_alive)


def _clear_up(future: Future[LocalServer]) -> None:
    if _is_up(future):
        future.result().stop()


def _started(path: Path, config: ServerConfig) -> Future[LocalServer]:
    future: Future[LocalServer] = Future()
    # From now on it cannot be cancelled: a caller that gives up leaves the start to the others.
    future.set_running_or_notify_cancel()
    # A thread of its own, not the loop's executor: the loop may close before the server is up.
    thread = threading.Thread(target=_start, args=(future, path, config), daemon=True)
    thread.start()
    return future


def _start(future: Future[LocalServer], path: Path, config: ServerConfig) -> None:
    try:
        server = LocalServer(path, config)
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits
        future.set_exception(error)
    else:
        future.set_result(server)


_servers = _Servers()


async def server_for(path: Path, config: ServerConfig | None = None) -> LocalServer:
    """Return this process's server for the weights at `path`, started if need be.

    Being cancelled while it starts leaves the start to other callers.

    Raises:
        LocalModelMissingError: xllamacpp is not installed.
        ModelUnavailableError: the weights cannot be loaded; a later call tries again.
    """
    return await asyncio.wrap_future(_servers.get(path, config or ServerConfig()))


def stop_servers() -> None:
    """End the servers of this process; the next call starts one again."""
    _servers.stop()
