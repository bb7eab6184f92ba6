"""Seeded schedules: which orders they choose, and which they must not."""

import asyncio
from collections import deque
from random import Random
from weakref import WeakKeyDictionary

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook.testing import run_virtual
from tta_notebook.testing.schedule import permute_steps

seeds = st.integers(min_value=0, max_value=2**32)


def racing(number, steps, delay_s=0.0):
    """A program whose tasks append to one list; its result is the schedule."""

    async def main():
        order = []

        async def racer(name):
            for step in range(steps):
                order.append((step, name))
                await asyncio.sleep(delay_s)

        async with asyncio.TaskGroup() as group:
            for name in range(number):
                group.create_task(racer(name))
        return order

    return main


@given(seeds)
def test_a_seed_gives_the_same_schedule_every_time(seed):
    assert run_virtual(racing(5, 3), seed=seed) == run_virtual(racing(5, 3), seed=seed)


def test_seeds_find_every_order_of_three_tasks():
    orders = {tuple(name for _, name in run_virtual(racing(3, 1), seed=seed)) for seed in range(60)}
    assert len(orders) == 6


def test_timers_for_the_same_instant_are_permuted_too():
    orders = {tuple(run_virtual(racing(2, 2, 1.0), seed=seed)) for seed in range(40)}
    assert len(orders) == 4


@given(seeds, st.integers(1, 6), st.integers(1, 4))
def test_every_ready_task_makes_one_step_per_round(seed, number, steps):
    rounds = [step for step, _ in run_virtual(racing(number, steps), seed=seed)]
    assert rounds == sorted(rounds)


@given(seeds)
def test_without_a_seed_the_schedule_is_asyncios_own(seed):
    assert run_virtual(racing(4, 3)) == asyncio.run(racing(4, 3)())
    assert sorted(run_virtual(racing(4, 3), seed=seed)) == sorted(run_virtual(racing(4, 3)))


@given(seeds)
def test_any_seed_gives_the_result_of_a_program_without_races(seed):
    async def main():
        queue, done = asyncio.Queue(2), []

        async def produce():
            for item in range(20):
                await queue.put(item)
                await asyncio.sleep(item % 3)
            await queue.put(None)

        async def consume():
            while (item := await queue.get()) is not None:
                done.append(item)
                await asyncio.sleep(item % 2)

        async with asyncio.TaskGroup() as group:
            group.create_task(consume())
            group.create_task(produce())
        return done

    assert run_virtual(main, seed=seed) == list(range(20))


@given(seeds)
def test_plain_callbacks_keep_their_order(seed):
    async def main():
        loop, order = asyncio.get_running_loop(), []
        others = [asyncio.create_task(asyncio.sleep(0)) for _ in range(3)]
        for index in range(10):
            loop.call_soon(order.append, index)
        await asyncio.gather(*others)
        return order

    assert run_virtual(main, seed=seed) == list(range(10))


@given(seeds)
def test_a_callback_set_before_a_task_yields_has_run_when_it_resumes(seed):
    async def main():
        called = []
        others = [asyncio.create_task(asyncio.sleep(0)) for _ in range(3)]
        asyncio.get_running_loop().call_soon(called.append, "x")
        await asyncio.sleep(0)
        assert called == ["x"]
        await asyncio.gather(*others)

    run_virtual(main, seed=seed)


@given(seeds)
def test_the_locks_of_asyncio_stay_fair(seed):
    async def main():
        lock, order = asyncio.Lock(), []

        async def enter(name):
            async with lock:
                order.append(name)
                await asyncio.sleep(1)

        async with lock:
            tasks = []
            for name in range(5):
                tasks.append(asyncio.create_task(enter(name)))
                await asyncio.sleep(1)
        await asyncio.gather(*tasks)
        return order

    assert run_virtual(main, seed=seed) == list(range(5))


@given(seeds)
def test_the_order_in_which_a_group_cancels_its_tasks_depends_on_the_seed_alone(seed):
    async def main():
        ends = []

        async def sleeper(name):
            try:
                await asyncio.sleep(100)
            finally:
                ends.append(name)

        async def fail():
            await asyncio.sleep(1)
            raise ValueError

        async def group_of_all():
            async with asyncio.TaskGroup() as group:
                for name in range(6):
                    group.create_task(sleeper(name))
                group.create_task(fail())

        with pytest.raises(ExceptionGroup):
            await group_of_all()
        return ends

    assert run_virtual(main, seed=seed) == run_virtual(main, seed=seed)


@given(seeds, st.lists(st.booleans(), max_size=12))
def test_permuting_moves_nothing_across_a_plain_callback(seed, kinds):
    async def main():
        loop = asyncio.get_running_loop()
        tasks = WeakKeyDictionary()
        handles = deque()
        for is_step in kinds:
            task = loop.create_task(asyncio.sleep(0))
            step = loop._ready.pop()
            handles.append(step if is_step else loop.call_soon(task.cancel))
            tasks[task] = len(tasks)
            loop._ready.clear()
            loop._ready.append(step)
            await task
        before = list(handles)
        permute_steps(handles, Random(seed), tasks)  # noqa: S311
        return before, list(handles)

    before, after = run_virtual(main)
    assert sorted(map(id, before)) == sorted(map(id, after))
    assert [id(b) for b, is_step in zip(before, kinds, strict=True) if not is_step] == [
        id(a) for a, is_step in zip(after, kinds, strict=True) if not is_step
    ]
