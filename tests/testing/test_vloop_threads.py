"""The virtual clock and threads: what is real is waited for really."""

import asyncio
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tta_notebook.testing import DeadlockError, run_virtual


def now():
    return asyncio.get_running_loop().time()


class Gate:
    """Lets a worker thread go on only when the loop has had its chance to go wrong."""

    def __init__(self, seconds=0.05):
        self.seconds = seconds

    def __call__(self):
        threading.Event().wait(self.seconds)
        return "worked"


def test_time_does_not_pass_a_busy_worker():
    async def main():
        async with asyncio.timeout(0.001):
            result = await asyncio.to_thread(Gate())
        return result, now()

    assert run_virtual(main) == ("worked", 0.0)


def test_a_worker_in_an_executor_of_ones_own_holds_time_too():
    async def main():
        with ThreadPoolExecutor(1) as executor:
            async with asyncio.timeout(0.001):
                return await asyncio.get_running_loop().run_in_executor(executor, Gate())

    assert run_virtual(main) == "worked"


def test_timers_behind_a_worker_go_on_when_it_is_done():
    order = []

    async def sleeper():
        await asyncio.sleep(10)
        order.append("timer")

    async def worker():
        order.append(await asyncio.to_thread(Gate()))

    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(sleeper())
            group.create_task(worker())
        return now()

    assert run_virtual(main) == 10.0
    assert order == ["worked", "timer"]


def test_an_abandoned_worker_still_holds_time():
    ended = []

    def work():
        Gate()()
        ended.append("worker")

    async def main():
        task = asyncio.create_task(asyncio.to_thread(work))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(3600)
        ended.append("main")

    run_virtual(main)
    assert ended == ["worker", "main"]


def test_a_worker_may_run_virtual_sleeps_on_the_loop_that_waits_for_it():
    async def main():
        loop = asyncio.get_running_loop()

        def work():
            return asyncio.run_coroutine_threadsafe(asyncio.sleep(3600, "slept"), loop).result()

        return await asyncio.to_thread(work), now()

    began = time.monotonic()
    assert run_virtual(main) == ("slept", 3600.0)
    assert time.monotonic() - began < 3


def test_a_worker_and_a_loop_that_wait_for_each_other_are_a_deadlock():
    async def main():
        loop, never = asyncio.get_running_loop(), asyncio.Event()

        def work():
            future = asyncio.run_coroutine_threadsafe(never.wait(), loop)
            with contextlib.suppress(BaseException):  # the loop is taken down on purpose
                future.result()

        await asyncio.to_thread(work)

    with pytest.raises(DeadlockError):
        run_virtual(main, patience_s=0.05)


def test_a_worker_that_serves_for_ever_does_not_stop_the_clock_for_ever():
    stop = threading.Event()

    async def main():
        serving = asyncio.create_task(asyncio.to_thread(stop.wait))
        await asyncio.sleep(3600)
        stop.set()
        await serving
        return now()

    assert run_virtual(main, patience_s=0.05) == 3600.0


def test_a_callback_from_a_thread_started_by_hand_arrives():
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        thread = threading.Timer(0.05, loop.call_soon_threadsafe, [future.set_result, "called"])
        thread.start()
        result = await future
        thread.join()
        return result

    assert run_virtual(main) == "called"


def test_hold_keeps_time_from_passing_a_thread_started_by_hand():
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        thread = threading.Timer(0.05, loop.call_soon_threadsafe, [future.set_result, "called"])
        thread.start()
        with loop.hold():
            async with asyncio.timeout(0.001):
                result = await future
        thread.join()
        return result, now()

    assert run_virtual(main) == ("called", 0.0)


def test_without_other_threads_a_deadlock_is_reported_at_once():
    began = time.monotonic()
    with pytest.raises(DeadlockError):
        run_virtual(lambda: asyncio.Event().wait())
    if threading.active_count() == 1:
        assert time.monotonic() - began < 3
