"""What a step costs, in exact counts; tests/bench has the times."""

import asyncio
import copy
import gc
import sys
import tracemalloc

import pytest

from tta_notebook import (
    LambdaPrimitive,
    SequentialPrimitive,
    WorkflowContext,
    as_primitive,
    capture,
    disable,
    enable,
)

STEPS = 10
MOST_CALLS = 12


async def step(x):
    return x


class Counts:
    """Python calls and tasks made while a workflow runs inside a loop that is running already."""

    def __init__(self):
        self.calls = 0
        self.tasks = 0

    def count_call(self, frame, event, argument):
        self.calls += event == "call"

    async def of(self, workflow):
        loop = asyncio.get_running_loop()

        def count_task(loop, coroutine, **options):
            self.tasks += 1
            return asyncio.Task(coroutine, loop=loop, **options)

        await workflow.execute(0)  # what is made once and kept is no cost of a step
        loop.set_task_factory(count_task)
        sys.setprofile(self.count_call)
        try:
            await workflow.execute(0)
        finally:
            sys.setprofile(None)
            loop.set_task_factory(None)
        return self


def chain(steps):
    return SequentialPrimitive([LambdaPrimitive(step)] * steps)


def calls_per_step():
    long, short = (asyncio.run(Counts().of(chain(steps))) for steps in (STEPS + 1, 1))
    assert long.tasks == short.tasks == 0
    whole = asyncio.run(Counts().of(chain(STEPS)))
    return (long.calls - short.calls) / STEPS, whole.calls / STEPS


def test_an_untraced_step_is_one_call_and_no_task():
    assert calls_per_step()[0] == 1


def test_a_traced_step_is_at_most_twelve_calls_and_no_task():
    enable()
    try:
        per_step, share_of_the_whole = calls_per_step()
    finally:
        disable()
    assert per_step <= share_of_the_whole <= MOST_CALLS


def test_a_captured_step_is_at_most_twelve_calls_and_no_task():
    with capture():
        assert calls_per_step()[1] <= MOST_CALLS


def sync(x):
    return x


@pytest.mark.parametrize("traced", [True, False])
def test_steps_of_plain_functions_make_no_task_either(traced):
    (enable if traced else disable)()
    try:
        counts = asyncio.run(Counts().of(SequentialPrimitive([sync] * STEPS)))
    finally:
        disable()
    assert counts.tasks == 0
    # A plain function has no coroutine of its own: a step is its primitive's execute and itself.
    assert counts.calls <= (20 if traced else 5) * STEPS


def test_state_and_values_are_never_copied():
    class Dear:
        def __copy__(self):
            raise AssertionError("copied")

        def __deepcopy__(self, memo):
            raise AssertionError("copied")

        def __reduce_ex__(self, protocol):
            raise AssertionError("pickled")

    dear = Dear()
    context = WorkflowContext(state={"dear": dear}, metadata={"dear": dear})
    same = as_primitive(lambda x, ctx: x if ctx.state["dear"] is x else None)
    workflow = same >> {"a": same, "b": same} >> (lambda both: both["a"])
    with capture():
        assert workflow.run_sync(dear, context) is dear
    with pytest.raises(AssertionError, match="copied"):
        copy.deepcopy(context.state)


def test_the_size_of_the_state_costs_nothing():
    def peak(size):
        context = WorkflowContext(state={"list": [0] * size})
        workflow = chain(STEPS)
        workflow.run_sync(0, context)
        gc.collect()
        tracemalloc.start()
        with capture():
            workflow.run_sync(0, context)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(1_000_000) < peak(1) + 1_000_000


def test_an_untraced_run_keeps_nothing():
    workflow = chain(STEPS)

    async def many(count):
        for _ in range(count):
            await workflow.execute(0)

    async def main():
        await many(10)
        gc.collect()
        tracemalloc.start()
        await many(10)
        before = tracemalloc.get_traced_memory()[0]
        await many(1000)
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        return grown

    assert asyncio.run(main()) < 10_000
