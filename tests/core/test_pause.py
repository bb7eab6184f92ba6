"""Runs that stand still: no step begins, time limits wait, a cancellation still gets through."""

import asyncio
import threading

import pytest

from tta_notebook import (
    CachePrimitive,
    CompensationPrimitive,
    LambdaPrimitive,
    ParallelPrimitive,
    RetryPrimitive,
    StepTimeoutError,
    TimeoutPrimitive,
    WorkflowContext,
    as_primitive,
)
from tta_notebook.core import clock
from tta_notebook.core.deadline import bounded
from tta_notebook.testing import cancel_everywhere, run_virtual


def now():
    return clock.source() / 1e9


def slow(name, seconds=1.0):
    async def step(x):
        await asyncio.sleep(seconds)
        return f"{x}{name}"

    return LambdaPrimitive(step, name=name)


async def paused_for(run, seconds, *, after=0.5):
    """Pause a run after a while, and resume it after another."""
    await asyncio.sleep(after)
    assert run.pause()
    assert run.is_paused
    await asyncio.sleep(seconds)
    spans = len(run.spans)
    assert run.resume()
    assert not run.is_paused
    return spans


def test_a_paused_run_ends_the_step_under_way_and_begins_no_other():
    async def main():
        begun = now()
        run = (slow("a") >> slow("b") >> slow("c")).start("")
        spans = await paused_for(run, 100)
        assert await run == "abc"
        return spans, now() - begun, run

    spans, took, run = run_virtual(main)
    assert spans == 2  # the sequence and its first step
    assert took == pytest.approx(102.5)
    (note,) = run.root.noted("paused")
    assert note.data == {"paused_s": pytest.approx(100)}
    # A step that waited began when it could.
    assert [span.duration_s for span in run.spans[1:]] == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: slow("a", 2) >> str.upper >> str.lower >> slow("b", 2),
        lambda: ParallelPrimitive([slow("a", 2) >> slow("b", 2), slow("c", 2) >> slow("d", 2)]),
        lambda: slow("a", 2) >> RetryPrimitive(slow("b", 2)),
        lambda: CachePrimitive(slow("a", 2) >> slow("b", 2)),
        lambda: slow("a", 2) >> TimeoutPrimitive(slow("b", 2), 3),
    ],
    ids=["chain", "branches", "retry", "cache", "timeout"],
)
def test_whatever_it_is_made_of(make):
    async def timed(pause_s):
        begun = now()
        run = make().start("")
        if pause_s:
            await paused_for(run, pause_s)
        return await run, now() - begun

    output, took = run_virtual(lambda: timed(0))
    again, paused = run_virtual(lambda: timed(50))
    assert again == output
    assert paused == pytest.approx(took + 50 - 1.5)  # the step under way went on for 1.5 s


def test_time_limits_stand_still_while_nothing_can_go_on():
    async def main():
        workflow = TimeoutPrimitive(slow("a") >> slow("b"), timeout_seconds=3)
        run = workflow.start("")
        await paused_for(run, 1000)
        return await run

    assert run_virtual(main) == "ab"


def test_the_time_that_is_left_after_a_pause_is_what_was_left_before():
    async def main():
        workflow = TimeoutPrimitive(slow("a") >> slow("b", 99), timeout_seconds=3)
        run, begun = workflow.start(""), now()
        await paused_for(run, 1000)
        with pytest.raises(StepTimeoutError):
            await run
        return now() - begun

    assert run_virtual(main) == pytest.approx(1003)


@pytest.mark.parametrize("seconds", [2.2, 3.5])
def test_the_deadline_of_the_whole_run_is_put_off(seconds):
    async def main():
        context = WorkflowContext()
        run = (slow("a") >> slow("b") >> slow("c")).start("", context.within(seconds))
        await paused_for(run, 1000)
        return await run, run.context.remaining()

    if seconds > 3:
        output, left_s = run_virtual(main)
        assert output == "abc"
        # The first step went on for half a second while the clock of the run stood still.
        assert left_s == pytest.approx(1.0)
    else:
        with pytest.raises(StepTimeoutError):
            run_virtual(main)


def test_another_run_with_the_same_deadline_is_not_put_off():
    async def main():
        context = WorkflowContext().within(9)
        paused = (slow("a") >> slow("b")).start("", context)
        other = slow("c", 6).start("", context)
        await paused_for(paused, 2)
        assert paused.context.remaining() == pytest.approx(8.5)
        assert other.context.remaining() == pytest.approx(6.5)
        assert (await paused, await other) == ("ab", "c")

    run_virtual(main)


def test_who_asks_in_a_pause_sees_the_time_stand_still():
    seen = []

    async def look(_, context):
        for _ in range(4):
            seen.append(context.remaining())
            await asyncio.sleep(1)

    async def main():
        run = LambdaPrimitive(look).start("", WorkflowContext().within(10))
        await paused_for(run, 2)
        await run

    run_virtual(main)
    assert seen == pytest.approx([10, 9.5, 9.5, 9])


def test_a_timeout_that_begins_in_a_pause_runs_from_its_end():
    async def guarded(x):
        await asyncio.sleep(1)  # paused by now
        return await bounded(asyncio.sleep(seconds, "in time"), 3, TimeoutError)

    async def main():
        run = LambdaPrimitive(guarded).start("")
        await paused_for(run, 1000)
        return await run

    seconds = 1002
    assert run_virtual(main) == "in time"
    seconds = 1003.5
    with pytest.raises(TimeoutError):
        run_virtual(main)


def test_callers_of_a_cached_answer_wait_for_a_paused_run_without_running_out_of_time():
    async def main():
        cached = CachePrimitive(slow("a") >> slow("b"))
        first = TimeoutPrimitive(cached, 5).start("x")
        await paused_for(first, 100)
        return await first

    assert run_virtual(main) == "xab"


def test_a_paused_run_can_be_cancelled_and_undoes_what_it_has_done():
    undone = []

    async def undo(x):
        await asyncio.sleep(0.1)
        undone.append(x)

    async def main():
        saga = CompensationPrimitive([(slow("a"), LambdaPrimitive(undo)), (slow("b"), None)])
        run = saga.start("")
        await asyncio.sleep(0.5)
        run.pause()
        await asyncio.sleep(10)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert not run.is_paused
        return run

    assert run_virtual(main).status == "cancelled"
    assert undone == ["a"]


def test_the_task_of_a_paused_run_can_be_cancelled_too():
    async def main():
        async def cell():
            run = (slow("a") >> slow("b")).start("")
            asyncio.get_running_loop().call_later(0.5, run.pause)
            await run

        task = asyncio.create_task(cell())
        await asyncio.sleep(10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main)


def test_pausing_twice_is_pausing_once():
    async def main():
        begun = now()
        run = (slow("a") >> slow("b")).start("")
        await asyncio.sleep(0.5)
        assert run.pause()
        await asyncio.sleep(1)
        assert run.pause()
        await asyncio.sleep(1)
        assert run.resume()
        assert run.resume()
        await run
        return now() - begun, len(run.root.noted("paused"))

    assert run_virtual(main) == (pytest.approx(3.5), 1)


def test_a_run_can_be_paused_before_it_begins_and_paused_again():
    async def main():
        run = slow("a").start("")
        run.pause()
        await asyncio.sleep(5)
        assert run.spans == []
        run.resume()
        await asyncio.sleep(0)
        run.pause()
        run.resume()
        return await run

    assert run_virtual(main) == "a"


def test_what_does_not_run_cannot_be_paused():
    async def main():
        run = await slow("a").run("")
        assert not run.pause()
        assert not run.resume()
        assert not run.is_paused

    run_virtual(main)


def test_runs_inside_stand_still_with_the_one_around():
    inner = (slow("b") >> slow("c")).named("inner")

    async def outer(x):
        run = inner.start(x)
        return await run

    async def main():
        begun = now()
        run = (slow("a") >> outer).start("")
        spans = await paused_for(run, 100, after=1.5)
        assert await run == "abc"
        return spans, now() - begun

    spans, took = run_virtual(main)
    assert spans == 5  # sequence, a, outer, inner, b
    assert took == pytest.approx(102.5)


def test_a_stream_that_has_not_begun_waits():
    async def words(_):
        for word in ("one", "two"):
            yield word

    async def consumer(x):
        return [chunk.content async for chunk in as_primitive(words).stream(x)]

    async def main():
        run = (slow("a") >> consumer).start("")
        await paused_for(run, 10)
        return await run

    assert "one" in run_virtual(main)


def test_a_thousand_branches_wait_and_go_on():
    async def main():
        branches = [slow(str(number)) >> slow("!") for number in range(1000)]
        run = ParallelPrimitive(branches).start("")
        spans = await paused_for(run, 10)
        assert len(await run) == 1000
        return spans

    assert run_virtual(main) == 1 + 1000 + 1000


def test_a_paused_run_is_cancelled_wherever_it_waits():
    async def work():
        run = (slow("a", 0.1) >> slow("b", 0.1)).start("")
        asyncio.get_running_loop().call_later(0.05, run.pause)
        asyncio.get_running_loop().call_later(1, run.resume)
        assert await run == "ab"

    report = cancel_everywhere(work)
    assert report


def test_a_run_can_be_paused_from_another_thread():
    async def main():
        run = (slow("a", 0.05) >> slow("b", 0.05)).start("")
        thread = threading.Thread(target=run.pause)
        thread.start()
        await asyncio.to_thread(thread.join)
        await asyncio.sleep(0.1)
        assert run.is_paused
        assert len(run.spans) == 2
        await asyncio.to_thread(run.resume)
        return await run

    assert asyncio.run(main()) == "ab"


def test_steps_on_a_loop_of_their_own_wait_as_well():
    inner = slow("b", 0.02) >> slow("c", 0.02)

    def blocking(x):
        return inner.run_sync(x)

    async def main():
        run = (slow("a", 0.05) >> LambdaPrimitive(lambda x: asyncio.to_thread(blocking, x))).start(
            ""
        )
        await asyncio.sleep(0.06)
        run.pause()
        await asyncio.sleep(0.1)
        before = len(run.spans)
        await asyncio.sleep(0.1)
        assert len(run.spans) == before
        run.resume()
        return await run

    assert asyncio.run(main()) == "abc"


def test_a_run_whose_loop_is_gone_says_so():
    async def main():
        run = slow("a").start("")
        await asyncio.sleep(0)
        return run

    run = asyncio.run(main())
    assert not run.pause()
