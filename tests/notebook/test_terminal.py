"""In the `ipython` terminal."""

import os
import sys
import time

import pytest

pexpect = pytest.importorskip("pexpect", reason="pexpect speaks to terminals, which Windows lacks")


@pytest.fixture
def terminal(tmp_path):
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "TERM": "dumb", "COLUMNS": "120"}
    command = [
        "-m",
        "IPython",
        "--simple-prompt",
        "--no-banner",
        "--colors=NoColor",
        "--no-confirm-exit",
    ]
    child = pexpect.spawn(
        sys.executable, command, env=environment, encoding="utf-8", timeout=30, dimensions=(40, 120)
    )
    child.expect_exact("In [1]: ")
    yield child
    child.close(force=True)


def type_cell(terminal, source, *, ends_with):
    for line in source.split("\n"):
        terminal.sendline(line)
    terminal.expect(ends_with)
    return terminal.before + terminal.after


PROMPT = r"In \[\d+\]: $"


def test_a_workflow_runs_in_the_terminal_and_ctrl_c_stops_it(terminal):
    type_cell(terminal, "%load_ext tta_notebook", ends_with=PROMPT)
    # As with any cell magic, two empty lines end it.
    shown = type_cell(terminal, "%%tta_workflow ask --input 'hi'\nstr.upper\n\n", ends_with="→ HI")
    assert "ask  ok" in shown
    wait = "async def wait(x):\n    print('beg' + 'un', flush=True)\n    await asyncio.sleep(60)\n"
    type_cell(terminal, "import asyncio", ends_with=PROMPT)
    type_cell(terminal, wait, ends_with=PROMPT)
    type_cell(terminal, "%tta_run wait 1", ends_with="begun")
    begun = time.monotonic()
    terminal.sendintr()
    terminal.expect("wait: interrupted after")
    assert time.monotonic() - begun < 1.0
    type_cell(terminal, "print(6 * 7)", ends_with=r"\n42\r?\n")
