"""--background in a shell of this process: where it can be had, and what such a run inherits."""

import asyncio
import gc
import logging

import pytest
from IPython.core.error import UsageError

from tta_notebook import Run, WorkflowError
from tta_notebook.notebook.background import BackgroundRun

LIVES = """\
async def live(x, ctx):
    seen.append((ctx.remaining(), ctx.user_id, dict(ctx.state)))
    await asyncio.sleep(0.05)
    return x
seen, live = [], LambdaPrimitive(live, name="live")
"""


@pytest.fixture
def ready(shell):
    shell.run(LIVES)
    yield shell
    shell.run("await asyncio.sleep(0)")


def test_the_run_is_the_value_and_can_be_awaited_later(ready):
    run = ready.value("%%tta_workflow ask --input 3 --background --as mine\nlive")
    assert isinstance(run, Run)
    assert run.status == "running"
    assert ready.value("mine is _") is True
    assert ready.value("await mine") == 3
    assert ready.value("await mine, mine.status") == (3, "ok")


def test_nothing_of_it_has_happened_when_the_cell_ends(ready):
    cell = ready.run("%tta_run live 3 --background")
    assert cell.out.strip().endswith(f"]: {cell.value.announcement}")
    ready.value("await _")
    assert "live  ok" in ready.ip.display_formatter.format(cell.value)[0]["text/plain"]


@pytest.mark.parametrize(
    "source",
    [
        "%%time\n%%tta_workflow a --input 1 --background\nlive",
        "def f():\n    r = %tta_run live 1 --background\n    return r\nf()",
        "%%time\nr = %tta_run live 1 --background",
    ],
)
def test_where_the_loop_stands_still_it_is_refused_in_a_line(ready, source):
    cell = ready.run(source)
    said = (cell.out + cell.err).strip().splitlines()[-1]
    assert said.startswith("UsageError: ")
    assert "stands still there" in said
    assert ready.value("seen") == []


def test_without_an_input_it_means_nothing(ready):
    assert "--background is about a run" in ready.run("%%tta_workflow a --background\nlive").err


def test_what_is_no_workflow_is_said_in_the_cell_itself(ready):
    cell = ready.run("%tta_run seen[0] 1 --background")
    assert isinstance(cell.error, UsageError)
    cell = ready.run("n = 3\n%tta_run n 1 --background")
    assert "n gives int, which is no workflow" in cell.out + cell.err


def test_inside_a_step_it_has_the_user_but_neither_time_nor_state(ready):
    ready.run(
        "from tta_notebook import WorkflowContext\n"
        "async def outer(x, ctx):\n"
        "    ctx.state['mine'] = 1\n"
        "    r = %tta_run live x --background\n"
        "    return r\n"
        "outer = LambdaPrimitive(outer)\n"
        "context = WorkflowContext(user_id='u-1').within(50)\n"
        "whole = await outer.run(7, context)\n"
    )
    assert ready.value("whole.status, await whole.output") == ("ok", 7)
    assert ready.value("seen") == [(None, "u-1", {})]
    # Its steps are its own: the run around it had ended.
    assert ready.value("[s.name for s in whole.spans], whole.output._outer") == (["outer"], None)


def test_a_context_that_the_cell_makes_current_is_its_context(ready):
    ready.run(
        "from tta_notebook import WorkflowContext\n"
        "with WorkflowContext(user_id='u-2', state={'a': 1}).within(50).active():\n"
        "    r = %tta_run live 1 --background\n"
    )
    assert ready.value("await r") == 1
    [(remaining_s, user, state)] = ready.value("seen")
    assert 45 < remaining_s <= 50
    assert (user, state) == ("u-2", {"a": 1})


@pytest.mark.usefixtures("ready")
def test_a_run_inside_a_budgeted_run_keeps_to_its_budget(priced):
    priced.run(
        "async def outer(x):\n"
        "    r = %tta_run model x --background\n"
        "    return r\n"
        "%%tta_workflow w --input 'q' --budget 1\nouter"
    )
    priced.run("async def outer(x):\n    r = %tta_run model x --background\n    return r")
    priced.run("%%tta_workflow w --input 'q' --budget 0.5 --as whole\nouter")
    cell = priced.run("await whole.output")
    assert type(cell.error).__name__ == "RunOverBudget"


@pytest.mark.usefixtures("ready")
def test_the_standing_budget_holds_for_it(priced):
    priced.run("%tta_budget set 3")
    priced.run("one = %tta_run model 'q' --background\ntwo = %tta_run model 'q' --background")
    assert priced.value("await one") == "yes"
    cell = priced.run("await two")
    assert type(cell.error).__name__ == "RunOverBudget"
    assert "Traceback" not in cell.out


def test_a_step_that_awaits_its_own_run_is_told_so(ready):
    ready.run(
        "box = []\n"
        "async def own(x):\n    await asyncio.sleep(0.01)\n    return await box[0]\n"
        "own = LambdaPrimitive(own)\n"
        "r = %tta_run own 1 --background\n"
        "box.append(r)"
    )
    cell = ready.run("await r")
    assert isinstance(cell.error, WorkflowError)
    assert "would wait for itself" in str(cell.error)


def test_who_stops_waiting_does_not_stop_it(ready):
    ready.run("r = %tta_run live 5 --background")
    cell = ready.run("async with asyncio.timeout(0.001):\n    await r")
    assert isinstance(cell.error, TimeoutError)
    assert ready.value("r.status") == "running"
    assert ready.value("await asyncio.gather(*[asyncio.ensure_future(r) for _ in range(3)])") == [
        5,
        5,
        5,
    ]


def test_cancelling_twice_asks_once_and_awaiting_twice_says_the_same(ready):
    ready.run("r = %tta_run live 5 --background")
    assert ready.value("r.cancel(), r.cancel()") == (True, False)
    cells = [ready.run("await r") for _ in range(2)]
    assert [type(cell.error).__name__ for cell in cells] == ["RunCancelled"] * 2
    assert "live: cancelled after" in cells[0].out
    assert cells[0].out == cells[1].out


def test_a_failure_that_nobody_awaits_is_not_reported(ready, caplog):
    caplog.set_level(logging.ERROR, "asyncio")
    ready.run("def fail(x):\n    raise LookupError('gone')\nfail = LambdaPrimitive(fail)")
    ready.run("%tta_run fail 1 --background -q")
    ready.run("await asyncio.sleep(0.05)\nOut.clear()")
    gc.collect()
    assert caplog.records == []


def test_an_ended_run_can_be_awaited_on_another_loop(ready):
    ready.run("r = %tta_run live 5 --background")
    run = ready.value("r")

    async def ask():
        return await run

    with pytest.raises(WorkflowError, match="another event loop"):
        asyncio.run(ask())
    ready.value("await r")
    assert asyncio.run(ask()) == 5


def test_unloading_cancels_what_runs_and_the_rest_of_the_cells_goes_on(ready):
    ready.run("r = %tta_run live 5 --background\nq = %tta_run live 6 --background\nawait q")
    ready.run("s = %tta_run live 7 --background")
    ready.run("%unload_ext tta_notebook")
    cell = ready.run("await s")
    assert type(cell.error).__name__ == "RunCancelled"
    assert ready.value("await r") == 5
    assert isinstance(ready.value("r"), BackgroundRun)


def test_options_may_stand_before_and_after_the_expression(ready):
    run = ready.value("r = %tta_run --background live seen + [1] --timeout 5\nr")
    assert ready.value("await r") == [1]
    assert run.workflow_name == "live"


def test_a_pause_does_not_count_against_its_timeout(ready):
    ready.run("async def twice(x):\n    await live(x)\n    return await live(x)")
    ready.run("r = %tta_run twice 5 --background --timeout 0.3\nawait asyncio.sleep(0.01)")
    assert ready.value("r.pause(); await asyncio.sleep(0.6); r.status") == "running"
    assert ready.value("r.resume(); await r") == 5
