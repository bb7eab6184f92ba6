"""The deadline of a run: who keeps it, and that everything inside it knows."""

import asyncio
import math
import threading

import pytest

from tta_notebook import (
    LambdaPrimitive,
    ParallelPrimitive,
    StepTimeoutError,
    WorkflowContext,
    WorkflowPrimitive,
    capture,
    current_context,
    last_run,
)
from tta_notebook.core import clock
from tta_notebook.core.deadline import Deadline, bounded
from tta_notebook.testing import cancel_everywhere, run_virtual


async def sleep(seconds):
    await asyncio.sleep(seconds)
    return seconds


nap = LambdaPrimitive(sleep, name="nap")


async def read(stream, take):
    async for chunk in stream:
        if (taken := take(chunk.content)) is not None:
            await taken


def too_late():
    return StepTimeoutError("too late", kind="own", primitive="test", timeout_s=1)


# Who keeps it


@pytest.mark.parametrize("is_recorded", [False, True])
def test_a_run_is_stopped_at_its_contexts_deadline(is_recorded):
    async def main():
        began_s = asyncio.get_running_loop().time()
        begin = nap.run if is_recorded else nap.execute
        with pytest.raises(StepTimeoutError, match="'nap' was stopped 5 s after") as caught:
            await begin(60, WorkflowContext().within(5))
        assert asyncio.get_running_loop().time() - began_s == 5
        return caught.value

    error = run_virtual(main)
    assert (error.kind, error.primitive, error.timeout_s) == ("deadline", "nap", None)
    if is_recorded:
        assert last_run().status == "error"
        assert last_run().root.error is error


def test_a_started_run_keeps_the_deadline_of_the_run_around_it():
    class Starts(WorkflowPrimitive):
        async def execute(self, input_data, context):
            self.run_ = nap.start(60)
            return "went on"

    step = Starts()

    async def main():
        await step(None, WorkflowContext().within(5))
        with pytest.raises(StepTimeoutError):
            await step.run_
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 5


@pytest.mark.parametrize("is_traced", [False, True])
def test_a_context_narrowed_by_hand_is_kept_by_the_step_that_gets_it(is_traced):
    class Hurries(WorkflowPrimitive):
        async def execute(self, input_data, context):
            try:
                return await nap(60, context.within(2))
            except StepTimeoutError as error:
                return error.kind, context.remaining()

    async def main():
        if not is_traced:
            return await Hurries()(None, WorkflowContext().within(10))
        with capture() as spans:
            result = await Hurries()(None, WorkflowContext().within(10))
        assert [(span.name, span.status) for span in spans] == [
            ("nap", "error"),
            ("Hurries", "ok"),
        ]
        return result

    assert run_virtual(main) == ("deadline", 8.0)


@pytest.mark.parametrize("is_traced", [False, True])
def test_a_stream_is_stopped_at_the_deadline_and_closed(is_traced):
    closed = []

    async def count(upto):
        try:
            for number in range(upto):
                await asyncio.sleep(2)
                yield number
        finally:
            closed.append(True)

    async def main():
        seen = []
        with pytest.raises(StepTimeoutError):
            await read(LambdaPrimitive(count).stream(9, WorkflowContext().within(5)), seen.append)
        return seen

    if is_traced:
        with capture() as spans:
            assert run_virtual(main) == [0, 1]
        assert [span.status for span in spans] == ["error"]
    else:
        assert run_virtual(main) == [0, 1]
    assert closed == [True]


def test_the_time_of_a_slow_reader_counts():
    async def numbers(_):
        yield 1
        yield 2

    async def main():
        stream = LambdaPrimitive(numbers).stream(0, WorkflowContext().within(5))
        with pytest.raises(StepTimeoutError):
            await read(stream, lambda _: asyncio.sleep(6))

    run_virtual(main)


# Everything inside it knows


def test_branches_and_threads_see_what_is_left():
    def in_a_thread(_):
        return threading.current_thread() is threading.main_thread(), current_context().remaining()

    branches = ParallelPrimitive(
        {
            "thread": LambdaPrimitive(in_a_thread, thread=True),
            "task": LambdaPrimitive(lambda _: current_context().remaining()),
        }
    )
    result = branches.run_sync(0, WorkflowContext().within(50))
    is_main, in_thread = result["thread"]
    assert not is_main
    assert 40 < in_thread <= 50
    assert 40 < result["task"] <= 50


def test_run_sync_inside_a_run_is_stopped_at_its_deadline():
    def blocks(_):
        return nap.run_sync(60)

    with pytest.raises(StepTimeoutError) as caught:
        LambdaPrimitive(blocks).run_sync(0, WorkflowContext().within(0.05))
    assert caught.value.primitive == "nap"


def test_a_deadline_that_is_put_off_is_put_off_for_everyone_inside():
    flight = Deadline.after(5)
    outside = WorkflowContext().until(flight)
    inside = outside.until(Deadline.after(60, flight))
    assert inside.remaining() == pytest.approx(5, abs=1)
    flight.at_ns = clock.source() + 30e9
    assert inside.remaining() == pytest.approx(30, abs=1)
    flight.at_ns = math.inf
    assert inside.remaining() == pytest.approx(60, abs=1)
    assert outside.remaining() is None


# Stopping work


def test_work_that_never_waits_needs_no_timer():
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_at = None  # any timer would fail
        return await bounded(nothing(), 1, too_late)

    async def nothing():
        return "done"

    assert run_virtual(main) == "done"


def test_without_any_time_the_work_is_not_begun():
    begun = []

    async def work():
        begun.append(True)

    for seconds in (0, -1):
        with pytest.raises(StepTimeoutError):
            run_virtual(lambda seconds=seconds: bounded(work(), seconds, too_late))
    assert not begun


def test_an_error_of_the_work_in_time_stays_itself():
    async def fails():
        await asyncio.sleep(0.5)
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own") as caught:
        run_virtual(lambda: bounded(fails(), 1, too_late))
    assert not isinstance(caught.value, StepTimeoutError)


def test_the_clean_up_is_awaited_and_its_failure_is_the_cause():
    async def fails_to_clean_up():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(3)
            raise RuntimeError("disk full")

    async def main():
        with pytest.raises(StepTimeoutError) as caught:
            await bounded(fails_to_clean_up(), 1, too_late)
        assert isinstance(caught.value.__cause__, RuntimeError)
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 4


def test_a_result_after_the_end_is_told_of_and_not_taken():
    told = []

    async def stubborn():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "half"

    async def main():
        task = asyncio.current_task()
        with pytest.raises(StepTimeoutError):
            await bounded(stubborn(), 1, too_late, lambda: told.append(True))
        return task.cancelling()

    assert run_virtual(main) == 0
    assert told == [True]


def test_a_cancellation_stays_one_at_every_point():
    async def work():
        await asyncio.sleep(1)
        try:
            await asyncio.sleep(1)
        finally:
            await asyncio.sleep(1)
        return "done"

    assert cancel_everywhere(lambda: bounded(work(), 10, too_late)).suspensions == 3
    cancel_everywhere(lambda: bounded(work(), 2.5, too_late), raises=StepTimeoutError)


def test_the_deadline_around_wins_over_one_at_the_same_moment_inside():
    async def main():
        context = WorkflowContext().within(5)
        with pytest.raises(StepTimeoutError) as caught:
            await outer(None, context)
        return caught.value.primitive

    class Outer(WorkflowPrimitive):
        async def execute(self, input_data, context):
            return await nap(60, context.within(context.remaining()))

    outer = Outer()
    assert run_virtual(main) == "Outer"


def test_closing_bounded_work_closes_the_work():
    closed = []

    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            closed.append(True)

    async def main():
        coroutine = bounded(work(), 10, too_late)
        coroutine.send(None)
        coroutine.close()

    run_virtual(main)
    assert closed == [True]
