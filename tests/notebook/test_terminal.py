"""In the `ipython` terminal."""

import os
import sys
import time
from contextlib import ExitStack

import pytest

pexpect = pytest.importorskip("pexpect", reason="pexpect speaks to terminals, which Windows lacks")


@pytest.fixture
def start(tmp_path):
    """Start terminals; dumb ones, whose prompt is written once and not drawn."""
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "TERM": "dumb", "COLUMNS": "120"}
    with ExitStack() as started:

        def start(*options):
            command = ["-m", "IPython", "--no-banner", "--colors=NoColor", "--no-confirm-exit"]
            child = pexpect.spawn(
                sys.executable,
                [*command, *options],
                env=environment,
                cwd=str(tmp_path),
                encoding="utf-8",
                timeout=20,
                dimensions=(40, 120),
            )
            started.callback(child.close, force=True)
            child.expect_exact("In [1]: ")
            return child

        yield start


@pytest.fixture
def terminal(start):
    return start("--simple-prompt")


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


TICKING = """\
async def tick(x):
    try:
        while True:
            ticks.append(x); await asyncio.sleep(0.01)
    finally:
        Path("cleaned").touch()
"""
BEGUN = "tick was started in the background([^.]*)\\. "


def begin_ticking(terminal, path):
    """Start a run that ticks in the background; return what is said of where it goes on."""
    path.write_text(f"import asyncio\nfrom pathlib import Path\nticks = []\n{TICKING}")
    for line in ("%load_ext tta_notebook", f"%run -i {path.name}"):
        type_cell(terminal, line, ends_with=PROMPT)
    type_cell(terminal, "%tta_run tick 1 --background", ends_with=BEGUN)
    where = terminal.match[1]
    type_cell(terminal, "r = _", ends_with=PROMPT)
    return where


def ticks_at(terminal):
    type_cell(terminal, "print('ticks', len(ticks), r.status)", ends_with=r"ticks (\d+) running")
    return int(terminal.match[1])


def test_a_run_in_the_background_goes_on_while_the_prompt_waits(start, tmp_path):
    terminal = start()
    assert begin_ticking(terminal, tmp_path / "ticking.py") == ""
    before = ticks_at(terminal)
    time.sleep(1)  # nothing is typed
    assert ticks_at(terminal) > before + 20
    terminal.sendintr()  # of the prompt, not of the run
    assert ticks_at(terminal) > before + 20
    type_cell(terminal, "print(r.cancel())", ends_with=r"\nTrue")
    type_cell(terminal, "print(r.status, r.spans[0].name)", ends_with=r"\ncancelled tick\r?\n")
    assert (tmp_path / "cleaned").exists()
    type_cell(terminal, "%tta_trace", ends_with=r"0 steps done; stopped in tick\.")
    shown = type_cell(terminal, "await r", ends_with=r"tick: cancelled after")
    assert "Traceback" not in shown
    # The prompt is as it was before.
    type_cell(terminal, "print(get_ipython().active_eventloop)", ends_with=r"\nNone\r?\n")


def test_a_simple_prompt_says_that_the_run_waits_for_a_cell_that_awaits(terminal, tmp_path):
    where = begin_ticking(terminal, tmp_path / "ticking.py")
    assert where == ", where it goes on only while a cell awaits"
    before = ticks_at(terminal)
    type_cell(terminal, "await asyncio.sleep(0.5)", ends_with=PROMPT)
    assert ticks_at(terminal) > before + 10


@pytest.mark.parametrize("leave", ["exit", "\4"], ids=["exit", "Ctrl-D"])
@pytest.mark.parametrize("options", [(), ("--simple-prompt",)], ids=["prompt", "simple"])
def test_leaving_the_terminal_cancels_the_run_and_lets_it_clean_up(start, tmp_path, options, leave):
    terminal = start(*options)
    begin_ticking(terminal, tmp_path / "ticking.py")
    terminal.send(leave if leave == "\4" else f"{leave}\n")
    terminal.expect(pexpect.EOF)
    assert "Traceback" not in terminal.before
    assert "destroyed" not in terminal.before
    assert (tmp_path / "cleaned").exists()


def test_a_loop_that_its_user_has_turned_on_stays_on(start, tmp_path):
    terminal = start()
    type_cell(terminal, "%gui asyncio", ends_with=PROMPT)
    assert begin_ticking(terminal, tmp_path / "ticking.py") == ""
    type_cell(terminal, "print(r.cancel())", ends_with=r"\nTrue")
    type_cell(terminal, "print(get_ipython().active_eventloop)", ends_with=r"\nasyncio\r?\n")
