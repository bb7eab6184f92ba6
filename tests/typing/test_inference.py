"""What mypy and pyright infer; both check this file, and the suite runs it as a module."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, assert_type

from tta_notebook import (
    LambdaPrimitive,
    MapPrimitive,
    ParallelPrimitive,
    Run,
    StreamChunk,
    WorkflowContext,
    WorkflowPrimitive,
    as_primitive,
)
from tta_notebook.testing import Faults, MockPrimitive, run_virtual


class Parse(WorkflowPrimitive[str, int]):
    """An override without a default for the context."""

    async def execute(self, input_data: str, context: WorkflowContext) -> int:
        return int(input_data)


class Show(WorkflowPrimitive[int, str]):
    """An override with one."""

    async def execute(self, input_data: int, context: WorkflowContext | None = None) -> str:
        return str(input_data)


async def halve(x: int) -> float:
    return x / 2


async def halve_in(x: int, ctx: WorkflowContext) -> float:
    return x / 2


def is_even(x: int) -> bool:
    return x % 2 == 0


def is_even_in(x: int, ctx: WorkflowContext) -> bool:
    return x % 2 == 0


def read(text: str) -> int:
    return len(text)


async def read_in(text: str, ctx: WorkflowContext) -> int:
    return len(text)


branches: Mapping[str, Any] = {"half": halve, "even": is_even}


def test_types_pass_through_shift() -> None:
    assert_type(Parse() >> Show(), WorkflowPrimitive[str, str])
    assert_type(Parse() >> halve, WorkflowPrimitive[str, float])
    assert_type(Parse() >> halve_in, WorkflowPrimitive[str, float])
    assert_type(Parse() >> is_even, WorkflowPrimitive[str, bool])
    assert_type(Parse() >> is_even_in, WorkflowPrimitive[str, bool])
    assert_type(Parse() >> Show() >> Parse() >> halve, WorkflowPrimitive[str, float])
    assert_type(Show() >> str.upper, WorkflowPrimitive[int, str])
    assert_type(Show() >> len, WorkflowPrimitive[int, int])
    assert_type(Show() >> int, WorkflowPrimitive[int, int])


def test_functions_stand_on_the_left_too() -> None:
    assert_type(read >> Show(), WorkflowPrimitive[str, str])
    assert_type(read_in >> Show(), WorkflowPrimitive[str, str])
    assert_type({"a": read} >> as_primitive(len), WorkflowPrimitive[Any, Any])


def test_mappings_and_lists_are_parallels() -> None:
    assert_type(Parse() >> branches, WorkflowPrimitive[str, dict[str, Any]])
    assert_type(Parse() >> {"half": halve}, WorkflowPrimitive[str, dict[str, Any]])
    assert_type(Parse() >> [halve, is_even], WorkflowPrimitive[str, list[Any]])
    assert_type(Parse() | Parse(), WorkflowPrimitive[str, list[Any]])
    assert_type(Parse() | read, WorkflowPrimitive[str, list[Any]])
    assert_type(read | Parse(), WorkflowPrimitive[Any, list[Any]])
    assert_type(ParallelPrimitive({"a": read}), ParallelPrimitive[Any, dict[str, Any]])
    assert_type(ParallelPrimitive([read]), ParallelPrimitive[Any, list[Any]])


def test_then_infers_lambdas() -> None:
    assert_type(Parse().then(lambda x: x + 1), WorkflowPrimitive[str, int])
    assert_type(Parse().then(lambda x: [x]), WorkflowPrimitive[str, list[int]])
    assert_type(Parse().then(Show()).then(len), WorkflowPrimitive[str, int])


def test_functions_become_primitives_of_their_types() -> None:
    assert_type(LambdaPrimitive(read), LambdaPrimitive[str, int])
    assert_type(LambdaPrimitive(read_in), LambdaPrimitive[str, int])
    assert_type(LambdaPrimitive(halve, name="half"), LambdaPrimitive[int, float])
    assert_type(LambdaPrimitive(is_even_in, thread=True), LambdaPrimitive[int, bool])
    assert_type(Parse().named("parse"), Parse)


async def words(text: str) -> AsyncIterator[str]:
    for word in text.split():
        yield word


async def louder(texts: AsyncIterator[str], ctx: WorkflowContext) -> AsyncIterator[str]:
    async for text in texts:
        yield text.upper()


def test_streams_compose_with_what_takes_their_whole_value() -> None:
    assert_type(LambdaPrimitive(words), LambdaPrimitive[str, Any])
    assert_type(Show() >> words, WorkflowPrimitive[int, Any])
    assert_type(Show() >> words >> louder >> len, WorkflowPrimitive[int, int])
    assert_type(words >> Parse(), WorkflowPrimitive[str, int])


async def what_running_gives() -> None:
    workflow = Parse() >> halve
    assert_type(await workflow("1"), float)
    assert_type(await workflow("1", WorkflowContext()), float)
    assert_type(await workflow.execute("1"), float)
    assert_type(await workflow.execute("1", WorkflowContext()), float)
    assert_type(await workflow.run("1"), Run[float])
    assert_type((await workflow.run("1")).output, float | None)
    assert_type(workflow.start("1"), Run[float])
    assert_type(await workflow.start("1"), float)
    async for chunk in workflow.stream("1"):
        assert_type(chunk, StreamChunk)
    assert_type(await workflow.map(["1"]), list[Any])
    assert_type(await MapPrimitive(read)(["a"]), list[Any])


def test_what_running_gives() -> None:
    asyncio.run(what_running_gives())


def test_what_running_synchronously_gives() -> None:
    assert_type((Parse() >> halve).run_sync("1"), float)
    assert_type((Parse() | read).run_sync("1"), list[Any])
    assert_type(asyncio.run(Parse().run("1")).output, int | None)


def wider(step: WorkflowPrimitive[bool, object]) -> None:
    """Take a step whose input is narrower, and whose output is wider, than another's."""


def test_primitives_vary_as_functions_do() -> None:
    wider(LambdaPrimitive(is_even))
    wider(Show())


async def answer(x: str) -> int:
    return 1


async def answer_in(x: str, ctx: WorkflowContext) -> int:
    return 1


def test_mocks_have_the_type_of_their_answers() -> None:
    assert_type(MockPrimitive(return_value=1), MockPrimitive[int])
    assert_type(MockPrimitive("a", return_value=1), MockPrimitive[int])
    assert_type(MockPrimitive("a", 1), MockPrimitive[int])
    assert_type(MockPrimitive("a"), MockPrimitive[None])
    assert_type(MockPrimitive(), MockPrimitive[None])
    assert_type(MockPrimitive(side_effect=read), MockPrimitive[int])
    assert_type(MockPrimitive(side_effect=answer), MockPrimitive[int])
    assert_type(MockPrimitive(side_effect=answer_in, faults=Faults()), MockPrimitive[int])
    assert_type(MockPrimitive(side_effect=ValueError), MockPrimitive[Any])
    assert_type(MockPrimitive(side_effect=ValueError("x")), MockPrimitive[Any])
    assert_type(MockPrimitive(side_effect=[1, ValueError]), MockPrimitive[Any])
    assert_type(MockPrimitive(raise_error=ValueError), MockPrimitive[Any])
    assert_type(MockPrimitive(stream=["a"]), MockPrimitive[str])
    assert_type(MockPrimitive("a", return_value=1) >> str, WorkflowPrimitive[Any, str])
    assert_type(run_virtual(lambda: answer("x")), int)
    assert_type(run_virtual(answer("x")), int)
