"""What execution leaves behind: spans, runs, one connected trace."""

import asyncio
import gc
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import (
    Answer,
    ConditionalPrimitive,
    InstrumentedPrimitive,
    LambdaPrimitive,
    MapPrimitive,
    ParallelPrimitive,
    Run,
    SequentialPrimitive,
    Usage,
    WorkflowContext,
    WorkflowPrimitive,
    as_primitive,
    capture,
    current_context,
    disable,
    enable,
    last_run,
)
from tta_notebook.core.run import MAX_SPANS
from tta_notebook.testing import run_virtual


async def inc(x):
    await asyncio.sleep(0.1)
    return x + 1


def boom(x):
    raise ValueError("no")


@pytest.fixture(autouse=True)
def _nobody_watches():
    yield
    disable()


def names(spans):
    return [span.name for span in spans]


def assert_well_formed(spans):
    """One end per start, one root, children within their parents."""
    assert len({span.span_id for span in spans}) == len(spans)
    assert sum(span.parent is None for span in spans) == 1
    assert len({span.trace_id_hex for span in spans}) == 1
    for span in spans:
        assert span.status != "running"
        assert span.start_ns <= span.end_ns
        if span.parent is not None:
            assert span.parent.start_ns <= span.start_ns
            assert span.end_ns <= span.parent.end_ns


def test_a_sequence_is_one_connected_trace():
    workflow = as_primitive(inc) >> inc >> inc
    with capture() as spans:
        assert run_virtual(lambda: workflow(0)) == 3
    assert_well_formed(spans)
    assert names(spans) == ["inc", "inc", "inc", "inc >> inc >> inc"]
    assert {span.parent_id for span in spans[:3]} == {spans[3].span_id}


workflows = st.recursive(
    st.sampled_from(["inc", "boom"]),
    lambda inner: st.tuples(
        st.sampled_from(["seq", "par", "map", "if", "collect"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=8,
)


def build(shape):
    if shape == "inc":
        return LambdaPrimitive(lambda x: inc(0), name="inc")
    if shape == "boom":
        return LambdaPrimitive(boom)
    kind, parts = shape[0], [build(part) for part in shape[1]]
    if kind == "seq":
        return SequentialPrimitive(parts)
    if kind == "map":
        return LambdaPrimitive(lambda x: [0, 1], name="two") >> MapPrimitive(parts[0])
    if kind == "if":
        return ConditionalPrimitive(lambda x: True, parts[0], parts[-1])
    return ParallelPrimitive(parts, mode="collect" if kind == "collect" else "fail_fast")


@given(workflows, st.integers(0, 3))
def test_every_span_starts_and_ends_once_whatever_happens(shape, seed):
    async def main():
        with suppress(ValueError):
            await build(shape)(0)

    with capture() as spans:
        run_virtual(main, seed=seed)
    assert_well_formed(spans)
    assert {span.span_id for span in spans} == {span.span_id for span in last_run().spans}
    assert last_run().status in ("ok", "error")


def test_a_failed_step_is_on_record_and_the_error_goes_on():
    workflow = (as_primitive(inc) >> boom).named("job")
    with capture() as spans, pytest.raises(ValueError, match="no"):
        run_virtual(lambda: workflow(0))
    assert [(span.name, span.status) for span in spans] == [
        ("inc", "ok"),
        ("boom", "error"),
        ("job", "error"),
    ]
    run = last_run()
    assert (run.status, run.failed_span.name, type(run.error)) == ("error", "boom", ValueError)


def test_a_failure_that_was_recovered_from_is_no_failure_of_the_run():
    workflow = ParallelPrimitive([boom, inc], mode="collect")
    with capture():
        run_virtual(lambda: workflow(0))
    assert (last_run().status, last_run().failed_span) == ("ok", None)


def test_cancelled_spans_end_as_cancelled():
    async def main():
        run = (as_primitive(inc) >> inc).start(0)
        await asyncio.sleep(0.15)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        return run

    run = run_virtual(main)
    assert run.status == "cancelled"
    assert [(span.name, span.status) for span in run.spans] == [
        ("inc >> inc", "cancelled"),
        ("inc", "ok"),
        ("inc", "cancelled"),
    ]


def test_a_run_cancelled_before_it_began_has_ended():
    async def main():
        run = as_primitive(inc).start(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        return run

    assert run_virtual(main).status == "cancelled"


def test_nothing_is_recorded_when_nobody_watches():
    before = last_run()
    seen = []

    def look(x):
        seen.append(current_context())
        return x

    (as_primitive(look) >> look).run_sync(1)
    assert [context.span for context in seen] == [None, None]
    assert last_run() is before


def test_calls_inside_a_step_stay_in_its_trace():
    inner = as_primitive(inc)

    async def outer(x):
        return await inner(await inner(x))

    with capture() as spans:
        assert run_virtual(lambda: as_primitive(outer)(0)) == 2
    assert_well_formed(spans)
    assert [span.parent and span.parent.name for span in spans] == ["outer", "outer", None]


def test_super_execute_does_not_double_the_span():
    class Base(WorkflowPrimitive[int, int]):
        async def execute(self, input_data, context):
            return input_data + 1

    class Derived(Base):
        async def execute(self, input_data, context):
            return await super().execute(input_data, context) * 10

    class Plain(Derived):
        pass

    with capture() as spans:
        assert Plain().run_sync(1) == 20
    assert names(spans) == ["Plain"]


def test_a_primitive_that_calls_itself_has_a_span_for_each_call():
    class Countdown(WorkflowPrimitive[int, int]):
        async def execute(self, input_data, context):
            return await self.execute(input_data - 1, context) if input_data else 0

    with capture() as spans:
        Countdown().run_sync(3)
    assert len(spans) == 4
    assert_well_formed(spans)


def test_execute_impl_is_observed_by_the_same_mechanism():
    class Old(InstrumentedPrimitive[int, int]):
        def __init__(self):
            super().__init__(name="old")

        async def _execute_impl(self, input_data, context):
            return input_data + 1

    with capture() as spans:
        assert (Old() >> inc).run_sync(0) == 2
    assert "old" in names(spans)
    assert_well_formed(spans)


def test_notes_stand_on_the_step_that_made_them():
    def noting(x, ctx):
        ctx.note("retry", attempt=2, delay_s=0.4)
        return x

    with capture() as spans:
        (as_primitive(noting) >> inc).run_sync(0)
    (note,) = spans[0].noted("retry")
    assert note.data == {"attempt": 2, "delay_s": 0.4}


def test_run_gives_a_record_without_anyone_watching():
    run = asyncio.run((as_primitive(inc) >> inc).run(1))
    assert isinstance(run, Run)
    assert (run.output, run.status, len(run.spans), run.error) == (3, "ok", 3, None)
    assert run.context.run is run
    assert last_run() is run


def test_run_raises_what_the_workflow_raises_and_keeps_the_record():
    with pytest.raises(ValueError, match="no") as caught:
        asyncio.run(as_primitive(boom).run(1))
    assert last_run().error is caught.value


def test_a_run_started_inside_another_belongs_to_its_trace():
    async def outer(x):
        run = await as_primitive(inc).run(x)
        return run.output, len(run.spans)

    run = run_virtual(lambda: as_primitive(outer).run(0))
    assert run.output == (1, 1)
    assert names(run.spans) == ["outer", "inc"]
    assert run.spans[1].parent is run.spans[0]
    assert_well_formed(run.spans)


def test_two_event_loops_and_threads_share_one_trace():
    inner = as_primitive(inc)

    def blocking(x):
        return inner.run_sync(x)

    async def in_thread(x):
        return await asyncio.to_thread(blocking, x)

    with capture() as spans:
        assert as_primitive(in_thread).run_sync(0) == 1
        assert LambdaPrimitive(blocking, thread=True).run_sync(0) == 1
    assert [span.parent and span.parent.name for span in spans] == [
        "in_thread",
        None,
        "blocking",
        None,
    ]


def test_usage_is_read_from_results_and_counted_once():
    usage = Usage(input_tokens=5, output_tokens=2)

    def model(x):
        return {"text": "hi", "usage": usage}

    def passing_on(result):
        return result

    def openai_style(result):
        return {"usage": {"prompt_tokens": 10, "completion_tokens": 1}}

    run = asyncio.run((as_primitive(model) >> passing_on >> openai_style).run(0))
    assert run.usage == Usage(input_tokens=15, output_tokens=3)
    assert [span.usage is not None for span in run.spans] == [False, True, False, True]


@pytest.mark.parametrize(
    "odd", [{"usage": "lots"}, {"usage": {"input_tokens": -1}}, {"usage": {}}], ids=repr
)
def test_what_is_no_usage_counts_as_none(odd):
    assert asyncio.run(as_primitive(lambda x: odd).run(0)).usage is None


def test_a_result_whose_usage_raises_reports_none():
    class Nasty:
        @property
        def usage(self):
            raise RuntimeError

    assert asyncio.run(as_primitive(lambda x: Nasty()).run(0)).status == "ok"


def test_previews_are_kept_only_where_asked_for():
    workflow = as_primitive(lambda x: "y" * 10_000)
    run = asyncio.run(workflow.run("in"))
    assert run.root.output_preview is None
    enable(previews=True)
    run = asyncio.run(workflow.run("in"))
    assert run.root.input_preview == "in"
    assert len(run.root.output_preview) == 400


def test_a_repr_that_raises_does_not_harm_the_run():
    class Nasty:
        def __repr__(self):
            raise RuntimeError("never shown")

    enable(previews=True)
    run = asyncio.run(as_primitive(lambda x: Nasty()).run(0))
    assert "Nasty" in run.root.output_preview


def test_a_run_lists_a_bounded_number_of_spans():
    workflow = MapPrimitive(lambda x: x)
    run = asyncio.run(workflow.run(range(MAX_SPANS + 10)))
    assert len(run.spans) == MAX_SPANS
    assert run.spans_dropped == 11


def test_ten_thousand_branches_run_in_flat_memory():
    def peak(branches):
        step = LambdaPrimitive(inc)
        gc.collect()
        tracemalloc.start()
        run_virtual(lambda: ParallelPrimitive([step] * branches, max_concurrency=50)(0))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(50)
    # 9,900 more branches add their results and their places in a list, not tasks and frames.
    assert peak(10_000) - peak(100) < 9_900 * 200


def test_a_step_store_answers_steps_without_running_them():
    class Memo:
        def __init__(self):
            self.known = {}

        async def recall(self, step, input_data, context):
            answer = self.known.get((step.name, input_data))
            return None if answer is None else Answer(answer, "memo")

        async def keep(self, step, input_data, output, context):
            self.known[step.name, input_data] = output

    calls = []

    def counted(x):
        calls.append(x)
        return x + 1

    workflow = (as_primitive(counted) >> inc).named("job")
    memo = Memo()
    first = run_virtual(lambda: workflow.run(1, WorkflowContext().using(step_store=memo)))
    memo.known.pop(("job", 1))
    again = run_virtual(lambda: workflow.run(1, WorkflowContext().using(step_store=memo)))
    assert (first.output, again.output, calls) == (3, 3, [1])
    assert [span.noted("recalled") != [] for span in again.spans] == [False, True, True]
