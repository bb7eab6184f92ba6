"""`%tta_cluster` in the `ipython` terminal, where Ctrl-C reaches every process of the group."""

import os
import sys
import time

import psutil
import pytest

pytest.importorskip("distributed", reason="the extra dask is not installed")
pexpect = pytest.importorskip("pexpect", reason="pexpect speaks to terminals, which Windows lacks")

PROMPT = r"In \[\d+\]: $"
WAIT = "wait = LambdaPrimitive(asyncio.sleep).named('wait')"


@pytest.fixture
def terminal(tmp_path):
    command = ["-m", "IPython", "--no-banner", "--colors=NoColor", "--simple-prompt"]
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "TERM": "dumb", "COLUMNS": "120"}
    child = pexpect.spawn(
        sys.executable,
        [*command, "--no-confirm-exit"],
        env=environment,
        cwd=str(tmp_path),
        encoding="utf-8",
        timeout=30,
        dimensions=(40, 120),
    )
    try:
        child.expect_exact("In [1]: ")
        yield child
    finally:
        child.close(force=True)


def typed(terminal, line, *, shows=""):
    terminal.sendline(line)
    terminal.expect(shows)
    terminal.expect(PROMPT)
    return terminal.before


def test_ctrl_c_stops_a_map_and_not_its_workers_which_end_with_the_terminal(terminal):
    typed(terminal, "%load_ext tta_notebook")
    typed(terminal, "import asyncio; from tta_notebook import LambdaPrimitive")
    typed(terminal, WAIT)
    typed(terminal, "%tta_cluster start 2", shows="Cluster: 2 workers on this machine.")
    typed(terminal, "%tta_cluster map wait [0.1] * 4", shows=r"on 127\.0\.0\.1:")
    before = typed(terminal, "%tta_cluster", shows="places")
    terminal.sendline("%tta_cluster map wait [0.2] * 4000")
    time.sleep(1.0)
    terminal.sendintr()
    terminal.expect("map wait: interrupted after")
    terminal.expect(PROMPT)
    addresses = {word for word in before.split() if word.startswith("tcp://")}
    after = typed(terminal, "%tta_cluster", shows="places")
    assert addresses == {word for word in after.split() if word.startswith("tcp://")}
    assert len(addresses) == 2
    processes = psutil.Process(terminal.pid).children(recursive=True)
    terminal.sendline("exit")
    terminal.expect(pexpect.EOF)
    _, left = psutil.wait_procs(processes, timeout=20)
    assert left == []
