"""cancel_everywhere: it passes sound code and catches each kind of unsound code."""

import asyncio
import contextlib
import gc
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_notebook.core.errors import ConfigurationError
from tta_notebook.testing import CancellationError, cancel_everywhere, run_virtual


def finds(fn, match, **options):
    with pytest.raises(CancellationError, match=match) as caught:
        cancel_everywhere(fn, **options)
    return str(caught.value)


# Sound code


@given(st.integers(0, 8))
def test_it_cancels_once_at_every_suspension(number):
    async def steps():
        for _ in range(number):
            await asyncio.sleep(1)
        return "done"

    report = cancel_everywhere(steps, moments=("suspended",))

    assert report.suspensions == number
    assert [run.suspension for run in report.runs] == list(range(1, number + 1))
    assert report.outcomes == ({"cancelled": number} if number else {})


def test_both_moments_are_tried_where_they_differ():
    async def steps():
        await asyncio.sleep(1)
        await asyncio.sleep(0)  # waits for nothing that could be done before it wakes

    runs = cancel_everywhere(steps).runs
    moments = [(run.suspension, run.moment) for run in runs]
    assert moments == [(1, "suspended"), (1, "waking"), (2, "suspended")]


def test_the_cancellation_arrives_while_the_wait_is_under_way():
    times = []

    async def nap():
        try:
            await asyncio.sleep(10)
        finally:
            times.append(asyncio.get_running_loop().time())

    cancel_everywhere(nap)
    assert times == [
        10,
        0,
        10,
        10,
    ]  # whole, suspended, waking, and one that finds no second suspension


def test_task_groups_and_timeouts_are_sound():
    async def program():
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            lock = asyncio.Lock()

            async def work(delay_s):
                async with lock:
                    await asyncio.sleep(delay_s)

            for delay_s in range(4):
                group.create_task(work(delay_s))
            await asyncio.sleep(1)

    assert cancel_everywhere(program).suspensions == 2
    assert cancel_everywhere(program, every_task=True).suspensions > 8


def test_the_place_is_the_line_of_the_await_outside_of_asyncio():
    async def inner():
        await asyncio.Event().wait() if False else await asyncio.sleep(1)

    async def outer():
        async with asyncio.timeout(5):
            await inner()

    (run, _) = cancel_everywhere(outer).runs
    line = inner.__code__.co_firstlineno + 1
    assert run.place.startswith(f"{__file__}:{line} in ")
    assert run.place.endswith("inner")
    assert str(run) == f"Cancelled at suspension 1 (suspended), {run.place}"


def test_the_current_task_is_the_one_that_is_cancelled():
    names = []

    async def program():
        names.append(asyncio.current_task().get_name())
        await asyncio.sleep(1)

    runs = cancel_everywhere(program).runs
    assert {run.task for run in runs} <= set(names)


def test_a_group_that_fails_is_sound():
    async def fail():
        await asyncio.sleep(1)
        raise LookupError

    async def program():
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            group.create_task(asyncio.sleep(5))

    # On 3.12 and before, a group's error wins over a cancellation: asyncio's own affair.
    report = cancel_everywhere(program, raises=ExceptionGroup)
    assert report.runs[0].outcome == "cancelled"
    cancel_everywhere(program, raises=ExceptionGroup, every_task=True)


def test_a_result_that_is_there_already_may_be_returned():
    async def keeps_what_it_got():
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(1, future.set_result, "paid for")
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                return future.result()
            raise

    report = cancel_everywhere(keeps_what_it_got)
    assert [run.outcome for run in report.runs] == ["cancelled", "result"]
    assert report.runs[1].value == "paid for"


def test_a_scenario_may_be_one_that_fails():
    async def fails():
        try:
            await asyncio.sleep(1)
        finally:
            await asyncio.sleep(1)
        raise LookupError("expected")

    assert cancel_everywhere(fails, raises=LookupError).suspensions == 2
    with pytest.raises(LookupError, match="expected"):
        cancel_everywhere(fails)


def test_worker_threads_are_waited_for():
    ended = []

    async def program():
        await asyncio.to_thread(threading.Event().wait, 0.01)
        ended.append(True)

    assert cancel_everywhere(program).suspensions == 1
    assert len(ended) == 2


def test_it_works_inside_a_running_loop():
    async def notebook():
        return cancel_everywhere(lambda: asyncio.sleep(1)).suspensions

    assert asyncio.run(notebook()) == 1


# Unsound code


def test_a_swallowed_cancellation_is_found():
    async def swallow():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1)
        return 42

    message = finds(swallow, "swallowed: it returns 42")
    assert f"suspension 1 (suspended), {__file__}:{swallow.__code__.co_firstlineno + 2}" in message


def test_a_return_in_finally_is_found():
    async def program():
        try:
            await asyncio.sleep(1)
        finally:
            return 1  # noqa: B012 - the mistake to be found

    finds(program, "swallowed")


def test_a_cancellation_turned_into_another_error_is_found():
    async def program():
        try:
            await asyncio.sleep(1)
        except BaseException as error:
            raise RuntimeError("step failed") from error

    finds(program, r"ends in RuntimeError\('step failed'\) instead of CancelledError")


def test_an_await_in_finally_that_loses_the_cancellation_is_found():
    async def clean_up():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1)

    async def program():
        try:
            await asyncio.sleep(1)
        finally:
            await clean_up()
        return "done"

    assert "suspension 2 (suspended)" in finds(program, "swallowed")


def test_a_clean_up_that_fails_when_it_is_cancelled_is_found():
    async def program():
        lock = asyncio.Lock()
        await lock.acquire()
        try:
            await asyncio.sleep(1)
        finally:
            await asyncio.sleep(1)
            lock.release()
        if lock.locked():
            raise AssertionError

    seen = []
    cancel_everywhere(program, check=lambda run: seen.append(run.place))
    assert len(seen) == 4


def test_a_leaked_task_is_found_even_without_cancellation():
    kept = []

    async def program():
        kept.append(asyncio.create_task(asyncio.sleep(100), name="forgotten"))
        await asyncio.sleep(1)

    assert "'forgotten' waits at" in finds(program, "broken before any cancellation")


def test_a_task_leaked_by_a_cancellation_is_found():
    async def program():
        task = asyncio.create_task(asyncio.sleep(100), name="orphan")
        await asyncio.sleep(1)
        task.cancel()

    finds(program, "leaves a task alive: 'orphan'")


def test_a_task_that_was_told_to_stop_may_still_do_so():
    async def program():
        task = asyncio.create_task(asyncio.sleep(100))
        try:
            await asyncio.sleep(1)
        finally:
            task.cancel()

    report = cancel_everywhere(program)
    assert {run.outcome for run in report.runs} <= {"cancelled", "result"}
    assert report.runs


def test_an_exception_nobody_asks_for_is_found():
    async def fail():
        raise ValueError("lost")

    async def program():
        task = asyncio.create_task(fail())
        await asyncio.sleep(1)
        with contextlib.suppress(ValueError):
            await task

    finds(program, r"never retrieved: ValueError\('lost'\)")


def test_an_exception_in_a_callback_is_found():
    async def program():
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    finds(program, "ZeroDivisionError")


def test_a_cancellation_taken_back_is_found():
    async def program():
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            asyncio.current_task().uncancel()
            raise

    finds(program, "cancelling.. is 0 afterwards and should be 1")


def test_a_cancellation_count_left_over_by_a_whole_run_is_found():
    async def program():
        asyncio.current_task().cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1)

    finds(program, "cancelling.. is 1 afterwards")


def test_a_permit_lost_between_its_grant_and_the_wake_up_is_found():
    free = []

    async def program():
        loop = asyncio.get_running_loop()
        grant = loop.create_future()

        def give():
            if not grant.done():
                free.clear()
                grant.set_result("permit")

        free[:] = ["permit"]
        loop.call_later(1, give)
        permit = await grant
        try:
            await asyncio.sleep(1)
        finally:
            free.append(permit)

    def check(_):
        assert free == ["permit"], "the permit is lost"

    with pytest.raises(AssertionError, match="the permit is lost") as caught:
        cancel_everywhere(program, check=check)
    assert "at suspension 1 (waking)" in caught.value.__notes__[0]
    cancel_everywhere(program, check=check, moments=("suspended",))


def test_a_cancellation_that_ends_in_a_deadlock_is_found():
    async def program():
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    finds(program, "nothing is ready")


def test_code_that_goes_on_for_ever_is_found():
    async def program():
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1)

    finds(program, "more than 50 suspensions", limit=50)


def test_code_that_goes_on_for_ever_after_a_cancellation_is_found():
    async def program():
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            while True:  # noqa: ASYNC110 - the mistake to be found
                await asyncio.sleep(1)

    finds(program, "more than 50 suspensions", limit=50)


def test_a_part_that_swallows_its_cancellation_is_found():
    async def part():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1)
        await asyncio.sleep(1)
        return "part"

    async def program():
        async with asyncio.TaskGroup() as group:
            group.create_task(part())

    finds(program, "the task returns 'part'", every_task=True)


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_a_seed_is_kept_in_every_run(seed):
    schedules = []

    async def program():
        order = []

        async def step(name):
            order.append(name)
            await asyncio.sleep(1)

        async with asyncio.TaskGroup() as group:
            for name in range(4):
                group.create_task(step(name))
            await asyncio.sleep(0.5)
            schedules.append(tuple(order))

    cancel_everywhere(program, seed=seed)
    assert len(set(schedules)) == 1


def test_trying_nothing_is_refused():
    with pytest.raises(ConfigurationError):
        cancel_everywhere(lambda: asyncio.sleep(1), moments=())


def test_the_clock_is_left_as_it_was():
    cancel_everywhere(lambda: asyncio.sleep(1))
    assert run_virtual(lambda: asyncio.sleep(1, "fine")) == "fine"


def test_what_was_frozen_before_stays_frozen():
    async def work():
        await asyncio.sleep(0)

    gc.freeze()
    frozen = gc.get_freeze_count()
    cancel_everywhere(work)
    assert gc.get_freeze_count() >= frozen > 0
