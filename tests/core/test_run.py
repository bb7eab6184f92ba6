"""The record of a run: awaited, cancelled, blocked on, looked at."""

import asyncio
import contextvars
import gc
import subprocess
import sys
import textwrap
import threading
from types import SimpleNamespace

import pytest

from tta_notebook import (
    LambdaPrimitive,
    ParallelPrimitive,
    Run,
    Usage,
    WorkflowContext,
    WorkflowError,
    as_primitive,
    capture,
    current_context,
    disable,
    enable,
    last_run,
)
from tta_notebook.testing import run_virtual


async def nap(x):
    await asyncio.sleep(x)
    return x


async def never(x):
    await asyncio.Event().wait()


def boom(x):
    raise ValueError("no")


def test_a_started_run_is_there_at_once_and_can_be_awaited_more_than_once():
    async def main():
        run = as_primitive(nap).start(3)
        assert (run.status, run.done(), run.output) == ("running", False, None)
        assert [await run, await run] == [3, 3]
        assert (run.status, run.done(), run.duration_s) == ("ok", True, 3)
        return run

    run = run_virtual(main)
    assert asyncio.run(again(run)) == 3  # it has ended: any loop may ask


async def again(run):
    return await run


def test_awaiting_a_failed_run_raises_its_error_each_time():
    async def main():
        run = as_primitive(boom).start(0)
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                await run
        return run

    assert run_virtual(main).status == "error"


def test_an_error_that_was_asked_for_after_the_end_is_not_reported_as_forgotten():
    reports = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, about: reports.append(about))
        run = as_primitive(boom).start(0)
        await asyncio.sleep(1)
        with pytest.raises(ValueError, match="no"):
            await run
        run._task = None
        gc.collect()

    run_virtual(main)
    assert reports == []


def test_starting_outside_a_loop_says_what_to_do():
    with pytest.raises(WorkflowError, match=r"'nap'.*no event loop is running.*run_sync\(\)"):
        as_primitive(nap).start(1)


def test_a_run_can_be_cancelled_from_another_thread():
    async def main():
        run = as_primitive(never).start(0)
        await asyncio.sleep(1)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(run.cancel("enough")))
        thread.start()
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await run
        thread.join()
        return answers, run.status

    assert run_virtual(main) == ([True], "cancelled")


def test_cancelling_twice_does_not_disturb_the_clean_up():
    tidied = []

    async def careful(x):
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(2)
            tidied.append(x)

    async def main():
        run = as_primitive(careful).start(1)
        await asyncio.sleep(1)
        first, second = run.cancel(), run.cancel()
        await asyncio.sleep(1)
        third = run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        return first, second, third, run.cancel(), run.duration_s

    assert run_virtual(main) == (True, False, False, False, 3)
    assert tidied == [1]


def test_cancelling_what_has_ended_changes_nothing():
    async def main():
        run = await as_primitive(nap).run(1)
        return run.cancel(), run.status

    assert run_virtual(main) == (False, "ok")


def test_cancelling_when_the_loop_is_gone_tells_so():
    loop = asyncio.new_event_loop()

    async def start():
        return as_primitive(never).start(0)

    run = loop.run_until_complete(start())
    loop.run_until_complete(asyncio.sleep(0))
    tasks = asyncio.all_tasks(loop)
    loop.close()
    assert not run.cancel()
    for task in tasks:  # what a program that closes its loop too early leaves to asyncio
        task._log_destroy_pending = False
        task.get_coro().close()


def test_a_started_run_that_nobody_keeps_goes_on():
    seen = []

    async def wait(x):
        # Only the task itself refers to this future: without a strong reference, both are garbage.
        future = asyncio.get_running_loop().create_future()
        waiting.append(__import__("weakref").ref(future))
        await future
        seen.append(x)

    waiting = []

    async def main():
        as_primitive(wait).start(1)
        as_primitive(nap).start(0)  # the newest run is kept as last_run()
        await asyncio.sleep(1)
        gc.collect()
        waiting[0]().set_result(None)
        await asyncio.sleep(1)

    run_virtual(main)
    assert seen == [1]


@pytest.mark.parametrize(
    "inside",
    [
        as_primitive,
        lambda step: as_primitive(step) | nap,
        lambda step: ParallelPrimitive([step, nap], max_concurrency=1),
        lambda step: as_primitive(lambda x: as_primitive(step).run(x)),
    ],
    ids=["step", "branch", "limited", "inner run"],
)
def test_awaiting_a_run_inside_itself_is_an_error_not_a_hang(inside):
    runs = []

    async def step(x):
        return await runs[0]

    async def main():
        await asyncio.sleep(0)
        runs.append(inside(step).start(0))
        with pytest.raises(WorkflowError, match="awaited inside its own execution"):
            await runs[0]

    run_virtual(main)


def test_awaiting_the_last_run_inside_itself_is_an_error_too():
    async def step(x):
        await last_run()

    with capture(), pytest.raises(WorkflowError, match="begin it with start"):
        as_primitive(step).run_sync(0)


def test_awaiting_a_run_of_another_loop_is_an_error_that_says_so():
    async def main():
        run = as_primitive(never).start(0)

        def elsewhere():
            with pytest.raises(WorkflowError, match="another event loop"):
                asyncio.run(again(run))

        await asyncio.to_thread(elsewhere)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())


def test_one_run_may_await_another():
    async def main():
        first = as_primitive(nap).start(2)

        async def wait(x):
            return await first

        return await as_primitive(wait).run(0)

    assert run_virtual(main).output == 2


def test_a_run_says_what_it_is():
    async def main():
        run = await (as_primitive(nap) >> nap).run(1, WorkflowContext("ask"))
        return repr(run), run.workflow_name, len(run.id)

    assert run_virtual(main) == ("<Run 'ask' ok, 2 s, 3 spans>", "ask", 16)
    usage = asyncio.run(as_primitive(lambda x: {"usage": Usage(2, 3)}).run(0))
    assert "1 span, 5 tokens>" in repr(usage)


def test_the_last_run_is_there_after_an_error():
    async def main():
        await as_primitive(boom).run(0)

    with pytest.raises(ValueError, match="no") as caught:
        asyncio.run(main())
    run = last_run()
    assert (run.status, run.error, run.output) == ("error", caught.value, None)
    assert (run.failed_span.name, run.root.status) == ("boom", "error")
    assert run.cost_usd is None


def test_the_version_grows_with_everything_that_happens():
    versions = []

    async def look(x, ctx):
        versions.append(ctx.run.version)
        ctx.note("seen")
        versions.append(ctx.run.version)
        ctx.chunk("text")
        versions.append(ctx.run.version)

    run = asyncio.run(as_primitive(look).run(0))
    versions.append(run.version)
    assert versions == sorted(set(versions))
    assert run.root.text == "text"


def test_a_thousand_runs_at_once_keep_separate_traces():
    workflow = as_primitive(nap) >> (lambda x: x) >> nap

    async def main():
        return await asyncio.gather(*(workflow.run(n % 7, WorkflowContext()) for n in range(1000)))

    runs = run_virtual(main, seed=3)
    assert [run.output for run in runs] == [n % 7 for n in range(1000)]
    assert len({run.id for run in runs}) == len({run.trace_id_hex for run in runs}) == 1000
    assert len({span.span_id for run in runs for span in run.spans}) == 4000
    for run in runs:
        assert {span.run for span in run.spans} == {run}


def test_a_nested_run_belongs_to_the_trace_around_it():
    async def outer(x):
        started = as_primitive(nap).start(x)
        return await started, started

    async def main():
        return await as_primitive(outer).run(1)

    run = run_virtual(main)
    _, inner = run.output
    assert [span.name for span in run.spans] == ["outer", "nap"]
    assert inner.root.parent is run.root
    assert inner.trace_id_hex == run.trace_id_hex


# run_sync


def test_run_sync_works_with_and_without_a_running_loop():
    async def under_a_loop():
        return as_primitive(nap).run_sync(0)

    assert as_primitive(nap).run_sync(0) == asyncio.run(under_a_loop()) == 0


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), asyncio.CancelledError()])
def test_run_sync_raises_what_the_workflow_raises(error):
    def fail(x):
        raise error

    async def under_a_loop():
        with pytest.raises(type(error)):
            as_primitive(fail).run_sync(0)

    asyncio.run(under_a_loop())
    with pytest.raises(type(error)):
        as_primitive(fail).run_sync(0)


def test_run_sync_under_a_loop_stays_in_the_trace_and_nests():
    def blocking(x):
        return as_primitive(lambda y: as_primitive(nap).run_sync(y)).named("middle").run_sync(x)

    with capture() as spans:
        assert as_primitive(blocking).run_sync(0) == 0
    assert [(span.name, span.parent and span.parent.name) for span in spans] == [
        ("nap", "middle"),
        ("middle", "blocking"),
        ("blocking", None),
    ]


def test_run_sync_copies_context_variables_and_leaves_the_callers_alone():
    variable = contextvars.ContextVar("v", default="unset")

    def touch(x):
        before = variable.get()
        variable.set("inside")
        return before

    async def main():
        variable.set("outside")
        return as_primitive(touch).run_sync(0), variable.get(), current_context()

    assert asyncio.run(main()) == ("outside", "outside", None)


def test_run_sync_leaves_no_thread_behind():
    async def main():
        as_primitive(nap).run_sync(0)

    before = threading.active_count()
    asyncio.run(main())
    assert threading.active_count() == before


def test_many_threads_run_at_once():
    workflow = as_primitive(nap) >> (lambda x: current_context().workflow_id)
    results = {}

    def work(number):
        results[number] = workflow.run_sync(0, WorkflowContext(str(number)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: str(number) for number in range(30)}


INTERRUPTED = """
    import asyncio, os, signal, sys, threading
    from tta_notebook import as_primitive

    # A job in the background of a shell without job control inherits that it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    async def careful(x):
        print("running", flush=True)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            print("tidied", flush=True)

    async def main():
        as_primitive(careful).run_sync(0)

    try:
        {begin}
    except KeyboardInterrupt:
        print("interrupted")
"""

BARE_LOOP = "asyncio.new_event_loop().run_until_complete(main())"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to oneself")
@pytest.mark.parametrize(
    "begin",
    ["as_primitive(careful).run_sync(0)", "asyncio.run(main())", BARE_LOOP],
    ids=["no loop", "asyncio.run", "bare loop"],
)
def test_an_interrupt_of_run_sync_cancels_and_waits_for_the_clean_up(begin):
    # Python without a runner (an IPython kernel) raises KeyboardInterrupt where it waits; under
    # asyncio.run the first Ctrl-C only cancels the task, which run_sync keeps from waking.
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED).replace("{begin}", begin)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.split() == ["running", "tidied", "interrupted"], done.stderr


def cancelled_by_what_it_waits_for(after_cancel=lambda: None):
    """Block a task in `run_sync` on a step that cancels the task; return how the step ended."""
    ended = []

    async def main():
        task = asyncio.current_task()

        async def cancel_the_waiter(x):
            # As asyncio's own handler of Ctrl-C does, in the middle of the blocked thread.
            task.cancel()
            after_cancel()
            try:
                await asyncio.sleep(5)  # far longer than it takes to notice
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
            ended.append("left alone")

        as_primitive(cancel_the_waiter).run_sync(0)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    return ended


def test_a_cancelled_waiter_cancels_what_it_blocks_on():
    assert cancelled_by_what_it_waits_for() == ["cancelled"]


def test_a_waiter_that_is_cancelled_before_it_begins_to_wait_cancels_it_too(monkeypatch):
    start, is_cancelled = threading.Thread.start, threading.Event()

    def start_and_dawdle(thread):
        # A busy machine may let the new thread run first.
        start(thread)
        assert is_cancelled.wait(10)

    monkeypatch.setattr(threading.Thread, "start", start_and_dawdle)
    assert cancelled_by_what_it_waits_for(is_cancelled.set) == ["cancelled"]


def test_recording_can_be_turned_on_and_off():
    enable()
    try:
        as_primitive(nap).run_sync(0)
        recorded = last_run()
    finally:
        disable()
    as_primitive(nap).run_sync(0)
    assert last_run() is recorded
    assert isinstance(recorded, Run)


def test_an_error_of_run_sync_is_not_shown_as_one_that_came_of_another():
    with pytest.raises(ZeroDivisionError) as caught:
        LambdaPrimitive(lambda x: 1 / x).run_sync(0)
    assert caught.value.__context__ is None


def test_the_usage_of_a_run_inside_is_counted_once_although_its_answer_is_given_on():
    inner = LambdaPrimitive(lambda _: SimpleNamespace(usage=Usage(3, 2)), name="inner")

    async def outer(text):
        return await (await inner.run(text))

    run = asyncio.run(LambdaPrimitive(outer, name="outer").run("x"))
    assert run.usage == Usage(3, 2)
    assert [span.name for span in run.spans if span.usage is not None] == ["inner"]
