"""%tta_config: the history off and on, and a loop that is turned from within."""

import sys
import time

import pytest
from IPython.core.error import UsageError

from tta_notebook.core.errors import ConfigurationError
from tta_notebook.notebook import nest
from tta_notebook.notebook.nest import turn_from_within, turn_no_more

NESTED = """\
import asyncio
async def slow(x):
    try:
        await asyncio.sleep(0.3 if x == "quick" else 60)
    except asyncio.CancelledError:
        print("cleaned up")
        raise
    return x
slow = LambdaPrimitive(slow, name="slow")
print("ready")
"""


@pytest.fixture(scope="module")
def nested(kernel):
    """The module's kernel, patched for good."""
    assert "loop=nest   %tta_config\n" in kernel.run("%tta_config loop=nest").text
    assert kernel.run(NESTED).text == "ready\n"
    return kernel


def test_settings_are_shown_and_changed(shell):
    assert "history=on   default\n" in shell.run("%tta_config").out
    shell.run("%tta_run strip ' a '")
    assert "history=off  %tta_config\n" in shell.run("%tta_config history=off").out
    shell.run("%tta_run strip ' b '")
    shell.run("%tta_config history=on")
    shell.run("%tta_run strip ' c '")
    assert len(shell.value("%tta_history")) == 2


@pytest.mark.parametrize("word", ["loop=nested", "lop=nest", "loop", "history=maybe", "'x'"])
def test_a_setting_that_means_nothing_is_a_usage_error(shell, word):
    cell = shell.run(f"%tta_config {word}")
    assert isinstance(cell.error, UsageError)
    assert "Traceback" not in cell.out


def test_a_blocking_run_turns_the_kernels_own_loop(nested):
    cell = nested.run(
        "loop = asyncio.get_running_loop()\n"
        "where = LambdaPrimitive(lambda _: asyncio.get_running_loop() is loop)\n"
        "async def look(_):\n    return asyncio.get_running_loop() is loop\n"
        "print(LambdaPrimitive(look).run_sync(1), asyncio.run(look(1)))"
    )
    assert cell.text == "True True\n", cell.content


def test_cells_that_wait_in_the_queue_run_all_the_same(nested):
    cells = ["print(slow.run_sync('quick'))", "print('two')", "print(slow.run_sync('quick'), 3)"]
    waiting = [nested.begin(cell) for cell in cells]
    texts = [nested.finish(cell).text for cell in waiting]
    assert texts == ["quick\n", "two\n", "quick 3\n"]


def test_an_interrupt_cancels_our_task_and_it_does_not_run_on(nested):
    cell = nested.begin("print('begun')\nslow.run_sync('never')")
    nested.until_printed("begun")
    time.sleep(0.3)
    nested.manager.interrupt_kernel()
    done = nested.finish(cell)
    assert done.status == "error"
    assert "cleaned up" in done.text
    after = nested.run("print(sum(t.get_name() == 'tta-run-sync' for t in asyncio.all_tasks()))")
    assert after.text == "0\n"


def test_magics_go_on_working_under_a_patched_loop(nested):
    cell = nested.run("%%tta_workflow ask --input 'quick'\nslow >> str.upper")
    assert cell.status == "ok", cell.content
    assert "QUICK" in cell.data("text/plain")[0]


def test_what_would_break_the_kernel_is_refused_with_what_to_do(monkeypatch):
    class Kernel:
        __version__ = "7.4.0"

    monkeypatch.setitem(sys.modules, "nest_asyncio2", None)
    monkeypatch.setitem(sys.modules, "ipykernel", Kernel)
    with pytest.raises(ConfigurationError, match="pip install nest-asyncio2"):
        turn_from_within()
    monkeypatch.setattr(nest.sys, "version_info", (3, 15, 0))
    with pytest.raises(ConfigurationError, match=r"Python 3\.15"):
        turn_from_within()


def test_the_choice_can_be_taken_back(monkeypatch):
    class Patch:
        __name__ = "nest_asyncio2"
        calls = 0

        def apply(self):
            type(self).calls += 1

    monkeypatch.setattr(nest, "_patch", Patch)
    assert turn_from_within() == "nest_asyncio2"
    turn_no_more()
    assert Patch.calls == 1
