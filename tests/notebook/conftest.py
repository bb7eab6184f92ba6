import builtins
import os
import queue
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from IPython.core import async_helpers
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from jupyter_client import KernelManager
from traitlets.config import Config

from tta_notebook import configure

# Tests are no package, and pytest's importlib mode leaves sys.path alone.
sys.path.insert(0, str(Path(__file__).parent))

PREPARED = """\
import asyncio
from tta_notebook import LambdaPrimitive, last_run
strip = LambdaPrimitive(str.strip)
"""

# A dollar for a token of an answer of m, a tenth of that for one of small.
PRICED = """\
from tta_notebook import LLMPrimitive, Price, PriceBook, Reply, ScriptedModel, Usage, configure
prices = {"m": Price(0, 1_000_000), "small": Price(0, 100_000)}
configure(prices=PriceBook(overrides=prices, bundled=False))
reply = Reply("yes", usage=Usage(input_tokens=5, output_tokens=3))
model = LLMPrimitive(ScriptedModel([reply] * 9, name="m"), max_output_tokens=3)
"""


@dataclass
class Cell:
    """What a cell did in the shell of this process."""

    value: object
    error: BaseException | None
    out: str
    err: str
    outputs: list


class Shell:
    """An InteractiveShell of this process, with the extension loaded."""

    def __init__(self, shell):
        self.ip = shell

    def run(self, source):
        with capture_output() as captured:
            result = self.ip.run_cell(source, store_history=True)
        error = result.error_before_exec or result.error_in_exec
        return Cell(result.result, error, captured.stdout, captured.stderr, captured.outputs)

    def value(self, source):
        cell = self.run(source)
        assert cell.error is None, cell.out + cell.err
        return cell.value


@pytest.fixture
def bare_shell(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("TTA_HOME", str(tmp_path / "tta"))
    # Doctests in this process leave it behind, and IPython keeps its own `_` out of its way.
    monkeypatch.delattr(builtins, "_", raising=False)
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    yield Shell(shell)
    shell.run_line_magic("unload_ext", "tta_notebook")
    shell.restore_sys_module_state()
    InteractiveShell.clear_instance()
    if (loop := async_helpers._asyncio_event_loop) is not None:
        loop.close()
        async_helpers._asyncio_event_loop = None


@pytest.fixture
def shell(bare_shell):
    bare_shell.run("%load_ext tta_notebook")
    bare_shell.run(PREPARED)
    return bare_shell


@pytest.fixture
def priced(shell):
    """The shell with `model`, of which every call costs $3."""
    shell.run(PRICED)
    yield shell
    configure(prices=None)


@dataclass
class Execution:
    """What a cell did in a kernel."""

    status: str = ""
    outputs: list = field(default_factory=list)
    content: dict = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def text(self):
        return "".join(o["text"] for kind, o in self.outputs if kind == "stream")

    def data(self, mime, kind="execute_result"):
        return [o["data"][mime] for found, o in self.outputs if found == kind and mime in o["data"]]

    def kinds(self):
        return [kind for kind, _ in self.outputs]


class Kernel:
    """A real kernel in its own process, spoken to as a front end does."""

    PATIENCE_S = 60.0
    SHOWN = ("stream", "display_data", "update_display_data", "execute_result", "error")

    def __init__(self, folder):
        # Debugger checks of frozen modules would only cost time and print warnings.
        environment = {
            **os.environ,
            "IPYTHONDIR": str(folder),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env=environment, cwd=str(folder))
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=self.PATIENCE_S)
        self.on_message = None

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def begin(self, source, **options):
        return self.client.execute(source, **options)

    def finish(self, msg_id):
        """Collect what a cell shows until the kernel is idle again."""
        done = Execution()
        begun = time.monotonic()
        while time.monotonic() - begun < self.PATIENCE_S:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if self.on_message is not None:
                self.on_message(message)
            if message["parent_header"].get("msg_id") != msg_id:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind in self.SHOWN:
                done.outputs.append((kind, content))
            if kind == "status" and content["execution_state"] == "idle":
                done.content = self._reply(msg_id)
                done.status = done.content["status"]
                done.seconds = time.monotonic() - begun
                return done
        raise AssertionError(f"the kernel was not idle within {self.PATIENCE_S:g} s")

    def _reply(self, msg_id):
        while True:
            reply = self.client.get_shell_msg(timeout=self.PATIENCE_S)
            if reply["parent_header"].get("msg_id") == msg_id:
                return reply["content"]

    def run(self, source, **options):
        return self.finish(self.begin(source, **options))

    def until_printed(self, text):
        while True:
            message = self.client.get_iopub_msg(timeout=self.PATIENCE_S)
            if message["msg_type"] == "stream" and text in message["content"]["text"]:
                return

    def send_comm(self, comm_id, content):
        data = {"method": "custom", "content": content}
        message = self.client.session.msg("comm_msg", {"comm_id": comm_id, "data": data})
        self.client.shell_channel.send(message)


@pytest.fixture(scope="session")
def new_kernel():
    """Return what starts a kernel in a folder; whoever does closes it."""
    return Kernel


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    kernel = Kernel(tmp_path_factory.mktemp("kernel"))
    try:
        loaded = kernel.run(f"%load_ext tta_notebook\n{PREPARED}")
        assert loaded.status == "ok", loaded.content
        yield kernel
    finally:
        kernel.close()
