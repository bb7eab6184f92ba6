"""BulkheadPrimitive and its places: how many at once, in which order, and nobody is forgotten."""

import asyncio
import math
import pickle
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import (
    BulkheadFullError,
    ConfigurationError,
    LambdaPrimitive,
    StepTimeoutError,
    WorkflowContext,
    capture,
)
from tta_notebook.core.travel import Trip, travelling
from tta_notebook.recovery.bulkhead import BulkheadPrimitive
from tta_notebook.recovery.places import Places
from tta_notebook.testing import cancel_everywhere, run_virtual


async def sleep(seconds):
    await asyncio.sleep(seconds)
    return seconds


class Busy:
    """A step that knows how many of its calls run, and in which order they began."""

    def __init__(self):
        self.running, self.most, self.begun = 0, 0, []

    async def __call__(self, told):
        self.begun.append(told)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(1)
        finally:
            self.running -= 1
        return told


async def together(step, inputs):
    return await asyncio.gather(*(step(told) for told in inputs), return_exceptions=True)


def test_so_many_run_at_once_in_the_order_in_which_they_came():
    async def main():
        busy = Busy()
        step = BulkheadPrimitive(busy, 3)
        assert await together(step, range(10)) == list(range(10))
        assert (step.running, step.waiting) == (0, 0)
        return busy.most, busy.begun, asyncio.get_running_loop().time()

    assert run_virtual(main) == (3, list(range(10)), 4)


def test_a_newcomer_does_not_overtake_who_was_called():
    async def main():
        busy = Busy()
        step = BulkheadPrimitive(busy, 1)
        first = asyncio.create_task(step("first"))
        await asyncio.sleep(0)
        waits = asyncio.create_task(step("waits"))
        first.add_done_callback(lambda _: late.append(asyncio.create_task(step("late"))))
        late = []
        await asyncio.gather(first, waits)
        await asyncio.gather(*late)
        return busy.begun

    assert run_virtual(main) == ["first", "waits", "late"]


def test_a_full_line_refuses_at_once():
    async def main():
        step = BulkheadPrimitive(Busy(), 1, max_queue=2)
        results = await together(step, range(5))
        refused = [result for result in results if isinstance(result, BulkheadFullError)]
        assert refused[0].retryable
        assert refused[0].limit == "bulkhead Busy"
        assert "All 1 places are taken, and the line of 2 is full" in str(refused[0])
        return results[:3], len(refused)

    assert run_virtual(main) == ([0, 1, 2], 2)


def test_with_no_line_nobody_waits():
    results = run_virtual(lambda: together(BulkheadPrimitive(Busy(), 2, max_queue=0), range(5)))
    assert results[:2] == [0, 1]
    assert all(isinstance(result, BulkheadFullError) for result in results[2:])


def test_one_waits_only_so_long():
    async def main():
        step = BulkheadPrimitive(LambdaPrimitive(sleep), 1, max_wait_seconds=2)
        results = await together(step, [5, 0])
        assert step.waiting == 0
        return results[0], str(results[1])

    slept, said = run_virtual(main)
    assert slept == 5
    assert "none became free within 2 s" in said


def test_nobody_waits_past_the_deadline():
    async def main():
        step = BulkheadPrimitive(LambdaPrimitive(sleep), 1)
        holds = asyncio.create_task(step(50))
        await asyncio.sleep(0)
        with pytest.raises((BulkheadFullError, StepTimeoutError)):
            await step(0, WorkflowContext().within(3))
        assert asyncio.get_running_loop().time() == 3
        await holds
        return step.waiting, step.running

    assert run_virtual(main) == (0, 0)


def test_the_trace_tells_of_waiting():
    async def main():
        await together(BulkheadPrimitive(Busy(), 1, max_queue=1), range(3))

    with capture() as spans:
        run_virtual(main)
    notes = [note.data for span in spans for note in span.noted("bulkhead")]
    assert notes == [{"waited_s": 0.0, "refused": "the line is full"}, {"waited_s": 1.0}]


def test_a_stream_holds_its_place_until_it_is_closed():
    async def pieces(_):
        yield "a"
        yield "b"

    async def main():
        step = BulkheadPrimitive(pieces, 1, max_queue=0)
        stream = step.stream(0)
        await anext(stream)
        with pytest.raises(BulkheadFullError):
            await step(0)
        await stream.aclose()
        return await step(0)

    assert run_virtual(main) == "ab"


def test_a_failing_call_gives_its_place_back():
    async def main():
        step = BulkheadPrimitive(lambda x: 1 / x, 1)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await step(0)
        return step.running

    assert run_virtual(main) == 0


def test_every_cancellation_leaves_all_places_free():
    made = []

    async def main():
        step = BulkheadPrimitive(LambdaPrimitive(sleep), 1, max_wait_seconds=9)
        made.append(step)
        async with asyncio.TaskGroup() as others:
            for _ in range(2):
                others.create_task(step(1))
            await asyncio.sleep(0)
            return await step(1)

    assert cancel_everywhere(main, check=lambda _: free(made[-1])).suspensions > 0
    assert cancel_everywhere(main, every_task=True, check=lambda _: free(made[-1])).suspensions > 0


def free(step):
    assert (step.running, step.waiting) == (0, 0)


def test_ten_thousand_callers_of_which_half_give_up():
    async def main():
        busy = Busy()
        step = BulkheadPrimitive(busy, 100)
        tasks = [asyncio.create_task(step(number)) for number in range(10_000)]
        await asyncio.sleep(0.5)
        for task in tasks[5000:]:
            task.cancel()
        await asyncio.wait(tasks)
        assert (step.running, step.waiting) == (0, 0)
        return busy.most, len(busy.begun)

    assert run_virtual(main) == (100, 5000)


def test_places_are_shared_by_loops_in_several_threads():
    busy, lock = [0, 0], threading.Lock()

    async def work(_):
        with lock:
            busy[0] += 1
            busy[1] = max(busy)
        await asyncio.sleep(0.001)  # real time, for two real threads
        with lock:
            busy[0] -= 1

    step = BulkheadPrimitive(work, 2)

    def run():
        asyncio.run(together(step, range(50)))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert busy == [0, 2]
    free(step)


def test_a_waiter_whose_loop_is_gone_is_passed_over():
    places = Places(1)
    assert places.take_now()
    loop = asyncio.new_event_loop()
    waiter = loop.create_task(places.take())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    places.give_back()
    assert places.free == 1
    waiter._log_destroy_pending = False  # its loop was closed under it: that is the test


@given(
    count=st.integers(1, 4),
    calls=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=20),
    seed=st.integers(0, 1000),
)
def test_places_are_never_lost_nor_made(count, calls, seed):
    async def main():
        places = Places(count)
        most = 0

        async def call(start, length):
            nonlocal most
            await asyncio.sleep(start)
            await places.take()
            try:
                most = max(most, count - places.free)
                await asyncio.sleep(length)
            finally:
                places.give_back()

        tasks = [asyncio.create_task(call(start, length)) for start, length, _ in calls]
        await asyncio.sleep(3)
        for task, (_, _, is_cancelled) in zip(tasks, calls, strict=True):
            if is_cancelled:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (places.free, places.waiting) == (count, 0)
        return most

    assert run_virtual(main, seed=seed) <= count


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *[("max_concurrent", wrong) for wrong in (0, -1, 1.5, math.nan, True, "3", None)],
        *[("max_queue", wrong) for wrong in (-1, 1.5, math.nan, True, "3")],
        *[("max_wait_seconds", wrong) for wrong in (-1, math.nan, math.inf, True, "3")],
    ],
    ids=repr,
)
def test_bad_configuration_is_refused_and_named(field, wrong):
    with pytest.raises(ConfigurationError, match=f"^BulkheadPrimitive: {field}="):
        BulkheadPrimitive(sleep, **{field: wrong})


def test_a_refusal_says_all_there_is_to_say():
    async def main():
        step = BulkheadPrimitive(Busy(), 1, max_queue=0, name="narrow")
        _, refused = await together(step, range(2))
        return str(refused), refused.limit

    assert run_virtual(main) == (
        (
            "BulkheadPrimitive 'narrow': 'Busy' was not called. All 1 places are taken, and the "
            "line of 0 is full. Call again later, or allow more with max_concurrent=…, max_queue=… "
            "or max_wait_seconds=…."
        ),
        "narrow",
    )
    assert BulkheadPrimitive(sleep).max_concurrent == 10


def test_a_streams_wait_ends_at_the_deadline_of_its_context():
    async def pieces(told):
        yield told

    async def main():
        step = BulkheadPrimitive(pieces, 1)
        holds = step.stream("first")
        assert (await anext(holds)).content == "first"
        with pytest.raises((BulkheadFullError, StepTimeoutError)):
            await anext(step.stream("second", WorkflowContext().within(3)))
        await holds.aclose()
        return asyncio.get_running_loop().time(), step.waiting

    assert run_virtual(main) == (3, 0)


# Copies in other processes


TALLY = []


async def tallied(told):
    TALLY.append(1)
    try:
        await asyncio.sleep(1)
        return len(TALLY)
    finally:
        TALLY.pop()


def copies(step, shares):
    with travelling(Trip(shares)):
        blob = pickle.dumps(step)
    return [pickle.loads(blob) for _ in range(shares)]  # noqa: S301 - our own bytes


@given(st.integers(1, 12), st.integers(1, 6), st.none() | st.integers(0, 20))
def test_all_copies_together_have_no_more_places_than_the_bulkhead(places, shares, queue):
    step = BulkheadPrimitive(tallied, places, max_queue=queue)
    if shares > places:
        with pytest.raises(ConfigurationError, match=f"divided among {shares} worker processes"):
            copies(step, shares)
        return

    async def main():
        made = copies(step, shares)
        running = [asyncio.create_task(together(copy, range(5))) for copy in made]
        await asyncio.sleep(0.5)
        most = sum(copy.running for copy in made), sum(copy.waiting for copy in made)
        ended = [number for task in running for number in await task]
        return most, max(number for number in ended if isinstance(number, int))

    (running, waiting), most = run_virtual(main)
    assert running <= places
    assert most <= places
    if queue is not None:
        assert waiting <= queue
    # And no places are wasted that can be divided.
    assert running == min(5, places // shares) * shares


def test_a_copy_begins_with_all_of_its_places_free():
    async def main():
        step = BulkheadPrimitive(tallied, 2, max_queue=4, max_wait_seconds=3)
        calls = asyncio.create_task(together(step, range(4)))
        await asyncio.sleep(0.5)
        copy, _ = copies(step, 2)
        assert (step.running, step.waiting) == (2, 2)
        assert (copy.running, copy.waiting) == (0, 0)
        assert (copy.max_concurrent, copy.max_queue, copy.max_wait_seconds) == (1, 2, 3)
        await calls

    run_virtual(main)
