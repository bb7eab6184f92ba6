"""What a killed process leaves in the history."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from tta_notebook import as_primitive
from tta_notebook.observability.history import History

# After every flush it says how many runs and spans it has been told are safe.
BUSY = """
    import sys, threading
    from tta_notebook import MapPrimitive, as_primitive
    from tta_notebook.observability.history import History
    step = as_primitive(lambda x: x)
    history = History(sys.argv[1]).start()
    runs = spans = 0
    while True:
        for width in (1, 40, 300):
            MapPrimitive(step).run_sync(range(width))
            runs, spans = runs + 1, spans + width + 1
        history.flush()
        print(runs, spans, flush=True)
"""

# One run that never ends, and says when its first steps are safe.
ENDLESS = """
    import asyncio, sys
    from tta_notebook import as_primitive
    from tta_notebook.observability.history import History
    history = History(sys.argv[1]).start()
    async def wait(x):
        history.flush()
        print("waiting", flush=True)
        await asyncio.sleep(3600)
    (as_primitive(lambda x: x) >> (lambda x: x) >> wait).run_sync(0)
"""


def started(code, path):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(path)], stdout=subprocess.PIPE, text=True
    )


def killed(process):
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    process.stdout.close()
    process.wait(30)
    return rest


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("seed", range(5))
def test_after_a_kill_everything_that_was_acknowledged_is_there(tmp_path, seed):
    path = tmp_path / "history.db"
    process = started(BUSY, path)
    lines = [process.stdout.readline() for _ in range(random.Random(seed).randint(1, 30))]  # noqa: S311 - any moment will do
    # In the middle of whatever it is doing now.
    lines += killed(process).splitlines()
    whole = [line for line in lines if len(line.split()) == 2]
    runs, spans = map(int, whole[-1].split() if lines[-1] is whole[-1] else whole[-2].split())
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    history = History(path)
    frame = history.df("runs")
    assert (frame.status == "ok").sum() >= runs
    assert len(history.df("spans")) >= spans
    assert set(frame.status) <= {"ok", "lost"}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_an_unfinished_run_reads_as_running_and_after_a_kill_as_lost(tmp_path):
    path = tmp_path / "history.db"
    process = started(ENDLESS, path)
    assert process.stdout.readline() == "waiting\n"
    history = History(path)
    try:
        assert history.df("runs").status.to_list() == ["running"]
        assert history.sql("SELECT status FROM runs").status.to_list() == ["running"]
        assert history.runs(status="running")[0].duration_s is None
    finally:
        killed(process)
    (lost,) = history.runs(status="lost")
    assert lost.duration_s is None
    assert [span.status for span in lost.spans] == ["ok", "ok"]
    assert len(lost.roots) == 2  # the root itself had not ended
    assert history.sql("SELECT status FROM runs").status.to_list() == ["lost"]
    with history:  # a writer that comes after changes nothing about it
        as_primitive(len).run_sync("four")
        assert history.df("runs").status.to_list() == ["lost", "ok"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_program_that_forgets_the_history_ends_without_a_word_and_loses_nothing(tmp_path):
    code = """
        import sys
        from tta_notebook import as_primitive
        from tta_notebook.observability.history import History
        History(sys.argv[1]).start()
        as_primitive(len).run_sync("four")
    """
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(code),
         str(tmp_path / "history.db")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert History(tmp_path / "history.db").df("runs").status.to_list() == ["ok"]
