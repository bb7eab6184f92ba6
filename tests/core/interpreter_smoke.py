"""The core's behaviour in one script for interpreters that have nothing but a standard library.

    python -W error tests/core/interpreter_smoke.py

Each check is a function; the script prints their number, or fails with the first that does not
hold. test_interpreters.py runs it on every interpreter it finds.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tta_notebook import (
    CompositionError,
    ConditionalPrimitive,
    ParallelPrimitive,
    RouterPrimitive,
    SwitchPrimitive,
    WorkflowContext,
    WorkflowError,
    WorkflowPrimitive,
    as_primitive,
    capture,
    current_context,
    flush,
    last_run,
    subscribe,
    unsubscribe,
)
from tta_notebook.testing import MockPrimitive, cancel_everywhere, run_virtual


class Adder(WorkflowPrimitive[int, int]):
    async def execute(self, input_data: int, context: WorkflowContext) -> int:
        await asyncio.sleep(0)
        return input_data + 1


async def nap(x):
    await asyncio.sleep(1)
    return x


async def fail(x):
    await asyncio.sleep(0.5)
    raise ValueError("no")


async def words(text):
    for word in text.split():
        await asyncio.sleep(1)
        yield word


async def shout(texts: AsyncIterator[str]):
    async for text in texts:
        yield text.upper()


def raised(error, do):
    try:
        do()
    except error as caught:
        return caught
    raise AssertionError(f"{error} was not raised")


def check_composition():
    workflow = Adder() >> (lambda x: 2 * x) >> {"a": Adder(), "b": str}
    assert workflow.run_sync(1) == {"a": 5, "b": "4"}
    assert (Adder() | Adder() | [str]).run_sync(1) == [2, 2, "1"]
    assert ConditionalPrimitive(lambda x: x > 0, str).run_sync(-1) == -1
    assert SwitchPrimitive(type, {int: str}).run_sync(1) == "1"
    assert RouterPrimitive({"fast": str}, lambda x: "fast").run_sync(1) == "1"
    assert str(workflow.graph()).count("\n") == 5
    assert workflow.graph().to_svg().startswith("<svg")


def check_annotations_that_cannot_fit():
    def takes_list(x: list[int]) -> int | None:
        return len(x)

    def gives_int(x: str) -> int:
        return len(x)

    raised(CompositionError, lambda: as_primitive(gives_int) >> takes_list)
    assert (as_primitive(takes_list) >> (lambda x: x)).run_sync([1]) == 1


def check_a_failing_branch_stops_its_siblings():
    with capture() as spans:
        raised(ValueError, lambda: run_virtual(lambda: (as_primitive(nap) | fail | nap)(0)))
    assert [span.status for span in spans].count("cancelled") == 2
    results = run_virtual(lambda: ParallelPrimitive([nap, fail], mode="collect")(7))
    assert results[0] == 7
    assert isinstance(results[1], ValueError)
    assert run_virtual(lambda: as_primitive(nap).map(range(10), max_concurrency=2)) == list(
        range(10)
    )


def check_cancellation_at_every_await():
    def make():
        return (as_primitive(nap) | (as_primitive(nap) >> nap)) >> ParallelPrimitive(
            [nap, nap, nap], max_concurrency=2
        )

    with capture() as spans:
        assert cancel_everywhere(lambda: make()(0)).runs
        assert cancel_everywhere(lambda: make()(0), every_task=True).runs
    assert all(span.status != "running" for span in spans)
    assert current_context() is None


def check_streams():
    workflow = as_primitive(words) >> shout

    async def whole():
        return [chunk.content async for chunk in workflow.stream("a b")]

    async def early():
        async with aclosing(workflow.stream("a b")) as chunks:
            return (await anext(chunks)).content

    with capture() as spans:
        assert run_virtual(whole) == ["A", "B", ""]
        assert run_virtual(early) == "A"
        assert run_virtual(lambda: workflow("a b")) == "AB"
    statuses = [span.status for span in spans]
    assert statuses == ["ok"] * 3 + ["cancelled"] * 3 + ["ok"] * 3


def check_run_sync_with_and_without_a_loop():
    async def under_a_loop():
        assert raised(ZeroDivisionError, lambda: as_primitive(lambda x: 1 // x).run_sync(0))
        return Adder().run_sync(1)

    assert asyncio.run(under_a_loop()) == Adder().run_sync(1) == 2
    assert "run_sync" in str(raised(WorkflowError, lambda: Adder().start(1)))


def check_runs_and_traces():
    async def main():
        run = (as_primitive(nap) >> nap).start(1, WorkflowContext("ask"))
        await asyncio.sleep(1.5)
        assert run.cancel()
        assert not run.cancel()
        try:
            await run
        except asyncio.CancelledError:
            return run
        raise AssertionError

    run = run_virtual(main)
    assert (run.status, len(run.spans), last_run()) == ("cancelled", 3, run)
    assert len({span.trace_id_hex for span in run.spans}) == 1
    model = MockPrimitive("model", side_effect=[TimeoutError, "hi"])
    raised(TimeoutError, lambda: model.run_sync("x"))
    assert model.run_sync("x") == "hi"


def check_context():
    context = WorkflowContext(user_id="u", state={"n": 1})
    carrier = {}
    context.inject(carrier)
    assert WorkflowContext.extract(carrier).trace_id_hex == context.trace_id_hex
    assert as_primitive(lambda x, ctx: ctx.state["n"] + x).run_sync(1, context) == 2


def check_sinks():
    seen = []
    feed = subscribe(seen.extend)
    Adder().run_sync(1)
    flush()
    unsubscribe(feed.sink)
    assert [event.kind for event in seen] == ["start", "end"]


def main():
    checks = [check for name, check in list(globals().items()) if name.startswith("check_")]
    for check in checks:
        check()
    version = ".".join(map(str, sys.version_info[:3]))
    sys.stdout.write(f"{len(checks)} checks hold on {version}\n")


if __name__ == "__main__":
    main()
