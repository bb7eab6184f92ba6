"""Cancelled at every await: each primitive alone, and nested two deep in each other."""

import asyncio
from itertools import product

import pytest

from tta_notebook import (
    ConditionalPrimitive,
    LambdaPrimitive,
    MapPrimitive,
    ParallelPrimitive,
    RouterPrimitive,
    SequentialPrimitive,
    SwitchPrimitive,
    capture,
    current_context,
)
from tta_notebook.testing import MockPrimitive, cancel_everywhere


async def pause(x):
    try:
        await asyncio.sleep(1)
    finally:
        await asyncio.sleep(0.1)
    return x


def leaf():
    return LambdaPrimitive(pause)


async def yes(x):
    await asyncio.sleep(0.5)
    return "yes"


WRAPPERS = {
    "sequence": lambda make: SequentialPrimitive([make(), make()]),
    "parallel": lambda make: ParallelPrimitive([make(), make()]),
    "limited": lambda make: ParallelPrimitive([make(), make(), make()], max_concurrency=2),
    "collect": lambda make: ParallelPrimitive({"a": make(), "b": make()}, mode="collect"),
    "map": lambda make: LambdaPrimitive(lambda x: [1, 2, 3], name="items") >> MapPrimitive(make()),
    "conditional": lambda make: ConditionalPrimitive(yes, make()),
    "switch": lambda make: SwitchPrimitive(yes, {"yes": make()}),
    "router": lambda make: RouterPrimitive({"yes": make()}, yes),
    "fall through": lambda make: RouterPrimitive(
        {"yes": MockPrimitive(raise_error=OSError("down")), "no": make()}, yes, fall_through=True
    ),
}


def check(make):
    with capture() as spans:
        report = cancel_everywhere(lambda: make()(0))
        assert report.runs
        every = cancel_everywhere(lambda: make()(0), every_task=True)
        assert every.runs
    assert all(span.status != "running" for span in spans)
    assert current_context() is None


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_primitive_takes_cancellation_at_every_await(wrapper):
    check(lambda: WRAPPERS[wrapper](leaf))


@pytest.mark.parametrize(("outer", "inner"), list(product(WRAPPERS, repeat=2)))
def test_primitives_nested_two_deep_take_cancellation_at_every_await(outer, inner):
    check(lambda: WRAPPERS[outer](lambda: WRAPPERS[inner](leaf)))


def test_a_failing_branch_never_hides_a_cancellation():
    async def scenario():
        await ParallelPrimitive([leaf(), MockPrimitive(raise_error=OSError("down"))])(0)

    report = cancel_everywhere(scenario, raises=OSError)
    assert report.runs


def test_a_stream_takes_cancellation_at_every_await():
    async def words(x):
        for word in ("a", "b"):
            await asyncio.sleep(1)
            yield word

    async def scenario():
        return [chunk.content async for chunk in LambdaPrimitive(words).stream(0)]

    with capture() as spans:
        assert cancel_everywhere(scenario).runs
    assert {span.status for span in spans} == {"ok", "cancelled"}


def test_a_started_run_takes_cancellation_at_every_await():
    async def scenario():
        return await (leaf() >> leaf()).run(0)

    assert cancel_everywhere(scenario).runs
