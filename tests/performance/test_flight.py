"""One call for many: who waits, who leaves, who pays."""

import asyncio
import gc
import threading
import traceback

import pytest

from tta_notebook import (
    CacheRecursionError,
    FallbackPrimitive,
    StepTimeoutError,
    TimeoutPrimitive,
    WorkflowContext,
    WorkflowPrimitive,
    capture,
)
from tta_notebook.core.deadline import Deadline
from tta_notebook.core.usage import Usage
from tta_notebook.llm.text import LLMText
from tta_notebook.performance import CachePrimitive
from tta_notebook.performance.stores.memory import MemoryStore
from tta_notebook.testing import Faults, MockPrimitive, cancel_everywhere, run_virtual


def slow(seconds=1, **kwargs):
    return MockPrimitive("slow", faults=Faults(latency_s=seconds), **kwargs)


def is_idle(cache):
    return len(cache._asking.flights) == 0


def no_timer_is_left():
    return all(timer.cancelled() for timer in asyncio.get_running_loop()._scheduled)


async def soon(coroutine, after_s=0.0):
    """Start a coroutine after some seconds and give its task."""
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(after_s)
    return task


def test_a_thousand_identical_misses_make_one_call():
    model = slow(return_value="hello")
    cache = CachePrimitive(model)

    async def main():
        return await asyncio.gather(*(cache("q") for _ in range(1000)))

    assert run_virtual(main) == ["hello"] * 1000
    assert model.call_count == 1
    stats = cache.get_stats()
    assert (stats["misses"], stats["joined"], stats["hits"]) == (1, 999, 0)
    assert is_idle(cache)


def test_different_inputs_are_different_calls():
    model = slow(side_effect=lambda x: x)
    cache = CachePrimitive(model)

    async def main():
        return await asyncio.gather(*(cache(x) for x in (1, 1.0, True, "1", 1)))

    assert run_virtual(main) == [1, 1.0, True, "1", 1]
    assert model.call_count == 4


def test_a_cancelled_leader_does_not_hurt_those_who_joined():
    model = slow(2, return_value="hello")
    cache = CachePrimitive(model)

    async def main():
        leader = await soon(cache("q"), 0.5)
        others = [await soon(cache("q")) for _ in range(5)]
        await asyncio.sleep(0.5)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        assert leader.cancelling() == 1
        assert asyncio.get_running_loop().time() == 1.0
        assert await asyncio.gather(*others) == ["hello"] * 5
        assert await cache("q") == "hello"

    run_virtual(main)
    assert model.call_count == 1
    assert is_idle(cache)


def test_the_last_to_leave_cancels_the_call_and_waits_for_its_clean_up():
    ended = []

    async def step(x):
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(3)
            ended.append(asyncio.get_running_loop().time())

    cache = CachePrimitive(step)

    async def main():
        first, second = await soon(cache("q")), await soon(cache("q"), 1)
        first.cancel()
        await asyncio.sleep(1)
        assert not ended
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 5
    assert ended == [5]
    assert is_idle(cache)


def test_who_asks_while_a_call_is_being_cancelled_begins_another_one():
    calls = []

    async def step(x):
        calls.append(x)
        try:
            await asyncio.sleep(2)
        finally:
            await asyncio.sleep(2)
        return len(calls)

    cache = CachePrimitive(step)

    async def main():
        first = await soon(cache("q"), 1)
        first.cancel()
        await asyncio.sleep(0.5)
        assert await cache("q") == 2
        with pytest.raises(asyncio.CancelledError):
            await first

    run_virtual(main)
    assert is_idle(cache)


def test_a_second_cancellation_reaches_the_clean_up_as_without_a_cache():
    async def step(x):
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(60)

    async def main():
        task = await soon(CachePrimitive(step)("q"), 1)
        task.cancel()
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 2
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 2


def test_an_error_is_shared_and_not_kept():
    error = OSError("down")
    model = slow(side_effect=[error, "up"])
    cache = CachePrimitive(model)

    async def main():
        results = await asyncio.gather(*(cache("q") for _ in range(1000)), return_exceptions=True)
        assert all(result is error for result in results)
        return await cache("q")

    assert run_virtual(main) == "up"
    assert model.call_count == 2
    # The call's own frames and one waiter's, not a thousand waiters'.
    assert len(traceback.extract_tb(error.__traceback__)) < 30


def test_nobody_is_told_of_an_error_that_everybody_has_left():
    async def step(x):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise OSError("while cleaning up") from None

    reports = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, about: reports.append(about))
        task = await soon(CachePrimitive(step)("q"), 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main)
    gc.collect()
    assert reports == []


@pytest.mark.parametrize("every_task", [False, True])
@pytest.mark.parametrize("keeps_objects", [False, True])
def test_it_takes_cancellation_at_every_await(every_task, keeps_objects):
    caches = []

    class Slow(MemoryStore):
        get_now = put_now = None

        async def get(self, key):
            await asyncio.sleep(0.1)
            return self._entries.get(key)

        async def put(self, key, entry):
            await asyncio.sleep(0.1)
            MemoryStore.put_now(self, key, entry)

    async def step(x):
        try:
            await asyncio.sleep(1)
        finally:
            await asyncio.sleep(0.1)
        return x

    async def scenario():
        cache = CachePrimitive(step, store=MemoryStore() if keeps_objects else Slow())
        caches.append(cache)
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(cache("q"))
        return await cache("q")

    with capture() as spans:
        report = cancel_everywhere(scenario, every_task=every_task)
    assert report.runs
    assert all(is_idle(cache) for cache in caches)
    assert all(span.status != "running" for span in spans)


def test_when_all_waiters_of_many_are_cancelled_at_random_moments_nothing_is_left():
    model = slow(2, side_effect=lambda x: x)
    cache = CachePrimitive(model, ttl_seconds=0.5)

    async def main():
        tasks = [asyncio.create_task(cache(number % 3)) for number in range(300)]
        for number, task in enumerate(tasks):
            await asyncio.sleep(0.01)
            if number % 7:
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {result for result in results if not isinstance(result, BaseException)} <= {0, 1, 2}
        assert len(asyncio.all_tasks()) == 1

    for seed in range(5):
        run_virtual(main, seed=seed)
        assert is_idle(cache)


# A call that is cancelled by somebody else


def test_who_joined_a_call_that_cancels_itself_begins_another_one():
    model = MockPrimitive(
        faults=Faults(latency_s=1, outcomes=["cancel", "ok"]), return_value="hello"
    )
    cache = CachePrimitive(model)

    async def main():
        first, second = await soon(cache("q")), await soon(cache("q"))
        with pytest.raises(asyncio.CancelledError):
            await first
        assert first.cancelling() == 0
        return await second

    assert run_virtual(main) == "hello"
    assert model.call_count == 2


# Time


def test_a_call_has_until_the_latest_deadline_of_its_waiters():
    seen = []

    async def step(x, context):
        seen.append(context.remaining())
        await asyncio.sleep(1)
        seen.append(context.remaining())
        await asyncio.sleep(4)
        return "done"

    cache = CachePrimitive(step)

    async def main():
        hurried = await soon(cache("q", WorkflowContext().within(2)), 0.5)
        patient = await soon(cache("q", WorkflowContext().within(10)))
        with pytest.raises(StepTimeoutError):
            await hurried
        assert asyncio.get_running_loop().time() == 2
        assert await patient == "done"

    run_virtual(main)
    assert seen == [2.0, 9.5]
    assert is_idle(cache)


def test_a_waiter_without_a_deadline_takes_the_deadline_away():
    async def step(x, context):
        await asyncio.sleep(1)
        return context.remaining()

    cache = CachePrimitive(step)

    async def main():
        hurried = await soon(cache("q", WorkflowContext().within(5)))
        endless = await soon(cache("q"))
        assert await hurried is None
        assert await endless is None
        assert await cache("r", WorkflowContext().within(5)) == 4
        assert no_timer_is_left()

    run_virtual(main)


def test_the_deadline_moves_back_when_the_one_with_most_time_leaves():
    async def step(x, context):
        await asyncio.sleep(1)
        return context.remaining()

    cache = CachePrimitive(step)

    async def main():
        hurried = await soon(cache("q", WorkflowContext().within(5)))
        endless = await soon(cache("q"), 0.5)
        endless.cancel()
        return await hurried

    assert run_virtual(main) == 4.0


def test_a_call_is_stopped_at_its_deadline_and_its_clean_up_is_not_disturbed():
    ended = []

    async def step(x):
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(1)
            ended.append(True)

    cache = CachePrimitive(step)

    async def main():
        calls = [cache("q", WorkflowContext().within(5)) for _ in range(3)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [StepTimeoutError] * 3
        assert no_timer_is_left()
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 6
    assert ended == [True]
    assert is_idle(cache)


# Recursion


def test_a_step_that_asks_its_own_cache_the_same_is_an_error_and_no_hang():
    async def step(x):
        return await cache(x)

    cache = CachePrimitive(step)
    with pytest.raises(CacheRecursionError, match="wait for itself"):
        run_virtual(lambda: cache("q"))
    assert is_idle(cache)


def test_a_step_may_ask_its_own_cache_something_else():
    async def step(n):
        return n if n < 2 else await fib(n - 1) + await fib(n - 2)

    fib = CachePrimitive(step)
    assert run_virtual(lambda: fib(30)) == 832040
    assert fib.get_stats()["misses"] == 31


def test_recursion_through_another_cache_is_an_error():
    async def there(x):
        return await back(x)

    async def step(x):
        return await first(x)

    first, back = CachePrimitive(there), CachePrimitive(step)
    with pytest.raises(CacheRecursionError):
        run_virtual(lambda: first("q"))
    assert is_idle(first)
    assert is_idle(back)


def test_two_calls_that_wait_for_each_other_are_an_error():
    async def step(x):
        await asyncio.sleep(1)
        return await cache("b" if x == "a" else "a")

    cache = CachePrimitive(step)

    async def main():
        return await asyncio.gather(cache("a"), cache("b"), return_exceptions=True)

    results = run_virtual(main)
    assert {type(result) for result in results} == {CacheRecursionError}
    assert is_idle(cache)


def test_recursion_in_a_thread_of_its_own_is_an_error():
    def step(x):
        return cache.run_sync(x)

    cache = CachePrimitive(step)
    with pytest.raises(CacheRecursionError):
        asyncio.run(cache("q"))


def test_recursion_through_a_stream_is_an_error():
    async def step(x):
        yield await cache(x)

    cache = CachePrimitive(step)

    async def main():
        return [chunk async for chunk in cache.stream("q")]

    with pytest.raises(CacheRecursionError):
        run_virtual(main)


def test_a_task_that_outlives_its_call_may_ask_the_same():
    later = []

    async def step(x):
        async def again():
            await asyncio.sleep(1)
            return await cache(x)

        later.append(asyncio.create_task(again()))
        return x

    cache = CachePrimitive(step)

    async def main():
        await cache("q")
        return await later[0]

    assert run_virtual(main) == "q"


# Loops and threads


def test_two_event_loops_in_two_threads_have_a_call_each_and_share_the_answer():
    calls, results = [], []
    both = threading.Barrier(2)

    async def step(x):
        calls.append(threading.get_ident())
        await asyncio.to_thread(both.wait, 10)
        return x

    cache = CachePrimitive(step, version="1")

    async def main():
        results.extend(await asyncio.gather(*(cache("q") for _ in range(50))))

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["q"] * 100
    assert len(set(calls)) == 2
    assert len(calls) == 2
    assert asyncio.run(cache("q")) == "q"
    assert len(calls) == 2
    assert is_idle(cache)


# The trace


def test_the_call_is_part_of_the_run_that_began_it_and_the_others_point_to_it():
    model = slow(return_value=LLMText("hello", usage=Usage(7, 2)))
    cache = CachePrimitive(model)

    async def main():
        first, second = cache.start("q"), cache.start("q")
        assert await first == await second == "hello"
        return first, second, await cache.run("q")

    with capture():
        first, second, third = run_virtual(main)
    assert [span.name for span in first.spans] == ["cache slow", "slow"]
    assert [span.name for span in second.spans] == ["cache slow"]
    assert first.usage == Usage(7, 2)
    assert second.usage == third.usage
    assert second.usage is None or second.usage.total_tokens == 0
    [[begun], [joined], [hit]] = [run.root.noted("cache") for run in (first, second, third)]
    key = hit.data["key"]
    assert begun.data == {"hit": False, "key": key}
    assert joined.data == {"hit": False, "joined": first.spans[1].span_id, "key": key}
    assert hit.data["hit"]
    assert hit.data["saved"] == 9
    assert cache.get_stats()["tokens_saved"] == 18


def test_the_run_that_began_the_call_pays_also_when_it_is_cancelled():
    model = slow(return_value=LLMText("hello", usage=Usage(7, 2)))
    cache = CachePrimitive(model)

    async def main():
        first = cache.start("q")
        await asyncio.sleep(0.5)
        second = cache.start("q")
        await asyncio.sleep(0)
        first.cancel()
        assert await second == "hello"
        return first, second

    with capture():
        first, second = run_virtual(main)
    assert first.status == "cancelled"
    assert first.usage == Usage(7, 2)
    assert second.usage is None
    assert all(span.status != "running" for span in first.spans)


def test_parallel_branches_of_one_run_are_charged_once():
    model = slow(return_value=LLMText("hello", usage=Usage(7, 2)))
    cache = CachePrimitive(model)

    async def main():
        return await (cache | cache | cache).run("q")

    run = run_virtual(main)
    assert run.output == ["hello"] * 3
    assert run.usage == Usage(7, 2)


# With others


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="comes with Python 3.12")
def test_it_works_with_tasks_that_begin_at_once():
    async def at_once(x):
        return x

    async def waits(x):
        await asyncio.sleep(1)
        return x

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        for step in (at_once, waits):
            cache = CachePrimitive(step)
            assert await asyncio.gather(*(cache("q") for _ in range(10))) == ["q"] * 10
            assert is_idle(cache)

    run_virtual(main)


def test_a_timeout_around_a_cache_stops_one_waiter_and_not_the_call():
    model = slow(5, return_value="hello")
    cache = CachePrimitive(model)
    hurried = TimeoutPrimitive(cache, 2.0)

    async def main():
        patient = await soon(cache("q"))
        with pytest.raises(StepTimeoutError) as caught:
            await hurried("q")
        assert caught.value.kind == "own"
        assert await patient == "hello"
        assert await hurried("q") == "hello"

    run_virtual(main)
    assert model.call_count == 1


def test_a_stale_answer_is_a_level_of_a_fallback():
    waits = iter([0, 60])

    async def step(x):
        await asyncio.sleep(next(waits))
        return "kept"

    cache = CachePrimitive(step, ttl_seconds=10, stale_if_error=100, version="1", name="asks")
    # A timeout around the cache cancels it, so that the cache itself sees no error to stand in for.
    safe = FallbackPrimitive(TimeoutPrimitive(cache, 2.0), [cache.stale()])

    async def main():
        assert await safe("q") == "kept"
        await asyncio.sleep(11)
        assert await safe("q") == "kept"
        return asyncio.get_running_loop().time()

    with capture() as spans:
        assert run_virtual(main) == 13
    assert [span.status for span in spans if span.name == "stale step"] == ["ok"]
    assert is_idle(cache)


def test_callers_that_come_and_go_on_any_schedule_get_their_own_answer():
    async def step(x):
        await asyncio.sleep(x / 10)
        if x == 3:
            raise OSError(x)
        return [x]

    cache = CachePrimitive(step, ttl_seconds=0.35, stale_while_revalidate=0.2)

    async def one(number):
        await asyncio.sleep(number % 11 / 10)
        question = number % 5
        try:
            async with asyncio.timeout(0.25 if number % 4 == 0 else 60):
                return question, await cache(question)
        except (OSError, TimeoutError) as error:
            return question, error

    async def main():
        for question, result in await asyncio.gather(*(one(number) for number in range(200))):
            if isinstance(result, TimeoutError):
                continue
            if question == 3:
                assert isinstance(result, OSError)
            else:
                assert result == [question]
        await cache.settled()
        assert len(asyncio.all_tasks()) == 1

    for seed in range(20):
        run_virtual(main, seed=seed)
        assert is_idle(cache)


def test_a_refresh_is_cancelled_with_its_loop_and_nothing_is_left_over():
    reports = []

    async def step(x):
        await asyncio.sleep(60)
        return x

    cache = CachePrimitive(step, ttl_seconds=10, stale_while_revalidate=1000)

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, about: reports.append(about))
        await cache("q")
        await asyncio.sleep(11)
        assert await cache("q") == "q"
        await asyncio.sleep(1)

    run_virtual(main)
    gc.collect()
    assert reports == []
    assert is_idle(cache)
    assert not cache._asking._refreshes
    assert cache.get_stats()["errors"] == 0


def test_who_needs_the_answer_waits_for_the_refresh_under_way_and_may_leave_it():
    answers = iter(["old", "new"])

    async def step(x):
        await asyncio.sleep(5)
        return next(answers)

    cache = CachePrimitive(step, ttl_seconds=10, stale_while_revalidate=2, version="1")

    async def main():
        assert await cache("q") == "old"
        await asyncio.sleep(11)
        assert await cache("q") == "old"
        await asyncio.sleep(2)
        left = await soon(cache("q"), 0.5)
        left.cancel()
        assert await cache("q") == "new"

    run_virtual(main)
    assert cache.get_stats()["joined"] == 2


def test_a_waiter_whose_deadline_nobody_keeps_is_stopped_by_the_call_itself():
    async def step(x):
        await asyncio.sleep(60)

    cache = CachePrimitive(step, name="asks")

    class Narrows(WorkflowPrimitive):
        async def execute(self, input_data, context):
            # As a primitive does that keeps a deadline of its own, which it forgets to keep.
            return await cache("q", context.until(Deadline.after(5)))

    async def main():
        with pytest.raises(StepTimeoutError, match="'asks' was stopped") as caught:
            await Narrows()("q")
        assert (caught.value.kind, caught.value.primitive) == ("deadline", "asks")
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 5
    assert is_idle(cache)


def test_calls_inside_of_which_others_are_joined_are_no_recursion():
    async def inner(x):
        await asyncio.sleep(1)
        return x

    async def outer(x):
        return await shared("q")

    shared, around = CachePrimitive(inner), CachePrimitive(outer)

    async def main():
        return await asyncio.gather(around("a"), around("b"), around("a"))

    assert run_virtual(main) == ["q"] * 3
    assert shared.get_stats()["misses"] == 1
    assert is_idle(shared)
    assert is_idle(around)
