"""What a run's context carries, shares and sends on."""

import asyncio
import contextvars
import dataclasses
import math
import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import (
    ConfigurationError,
    LambdaPrimitive,
    ParallelPrimitive,
    WorkflowContext,
    as_primitive,
    capture,
    current_context,
)
from tta_notebook.core import clock
from tta_notebook.testing import run_virtual

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


async def here(x):
    await asyncio.sleep(0)
    return current_context()


def test_the_constructor_keeps_what_it_is_given():
    context = WorkflowContext(
        workflow_id="ask",
        session_id="s",
        user_id="alice",
        correlation_id="c",
        metadata={"plan": "pro"},
        state={"n": 1},
        tags={"team": "x"},
        baggage={"tier": "gold"},
    )
    assert (context.workflow_id, context.session_id, context.correlation_id) == ("ask", "s", "c")
    assert context.metadata == {"plan": "pro", "user_id": "alice"}
    assert (context.user_id, context.state, context.tags) == ("alice", {"n": 1}, {"team": "x"})
    assert context.baggage == {"tier": "gold"}
    assert repr(context) == "WorkflowContext(workflow_id='ask')"


def test_everything_is_optional_and_contexts_share_no_defaults():
    one, other = WorkflowContext(), WorkflowContext()
    assert (one.workflow_id, one.session_id, one.user_id) == (None, None, None)
    one.state["a"] = one.metadata["a"] = 1
    one.tags["a"] = one.baggage["a"] = "1"
    assert [other.state, other.metadata, other.tags, other.baggage] == [{}] * 4
    assert one.correlation_id == one.correlation_id != other.correlation_id


def test_a_root_has_the_workflows_name():
    assert WorkflowContext.root("ask").workflow_id == "ask"


@pytest.mark.parametrize(
    "make",
    [lambda parent: parent.create_child_context(), lambda p: WorkflowContext.child(p, "step")],
    ids=["create_child_context", "child"],
)
def test_children_have_their_own_identity_and_share_everything_else(make):
    parent = WorkflowContext("ask", user_id="alice", state={"n": 1})
    child = make(parent)
    assert child.span_id == child.span_id != parent.span_id
    assert child.state is parent.state
    assert child.trace_id_hex == parent.trace_id_hex
    assert (child.workflow_id, child.user_id) == ("ask", "alice")
    assert child.correlation_id == parent.correlation_id


def test_state_made_late_is_shared_with_children_made_early():
    parent = WorkflowContext()
    child = parent.create_child_context()
    child.state["x"] = 1
    assert parent.state == {"x": 1}


def test_what_cannot_be_copied_lives_in_the_state():
    things = [threading.Lock(), (i for i in range(3)), open, object(), asyncio.Event]
    context = WorkflowContext(state={"things": things})

    def look(x, ctx):
        return ctx.state["things"] is things and next(ctx.state["things"][1])

    assert (as_primitive(look) >> (lambda x, ctx: (x, look(x, ctx)))).run_sync(0, context) == (0, 1)


@pytest.mark.parametrize("watched", [True, False])
def test_what_a_step_writes_the_next_and_all_branches_read(watched):
    def write(x, ctx):
        ctx.state["written"] = x
        return x

    def read(x, ctx):
        return ctx.state["written"]

    workflow = as_primitive(write) >> read >> (as_primitive(read) | read)
    context = WorkflowContext()

    async def main():
        return await (workflow.run(7, context) if watched else workflow(7, context))

    result = asyncio.run(main())
    assert (result.output if watched else result) == [7, 7]
    assert context.state == {"written": 7}


def test_branches_see_each_others_writes():
    async def write(x, ctx):
        ctx.state["seen"] = x

    async def read(x, ctx):
        await asyncio.sleep(1)
        return ctx.state["seen"]

    assert run_virtual(lambda: (as_primitive(write) | read)(5)) == [None, 5]


def test_a_context_serves_two_runs_one_after_the_other():
    context = WorkflowContext("twice", state={"n": 0})

    def count(x, ctx):
        ctx.state["n"] += 1
        return ctx.state["n"]

    async def main():
        return [await as_primitive(count).run(0, context) for _ in range(2)]

    first, second = asyncio.run(main())
    assert (first.output, second.output) == (1, 2)
    assert first.id != second.id
    assert [len(run.spans) for run in (first, second)] == [1, 1]
    assert first.root.parent is second.root.parent is None
    assert first.trace_id_hex == second.trace_id_hex == context.trace_id_hex


def test_two_runs_at_once_share_a_context_and_keep_their_spans_apart():
    context = WorkflowContext()

    async def nap(x):
        await asyncio.sleep(x)
        return x

    async def main():
        runs = [(as_primitive(nap) >> nap).start(x, context) for x in (1, 2)]
        assert [await run for run in runs] == [1, 2]
        return runs

    assert [len(run.spans) for run in run_virtual(main)] == [3, 3]


def test_two_event_loops_share_a_context():
    context = WorkflowContext(state={"n": 0})

    async def add(x, ctx):
        await asyncio.sleep(0)
        ctx.state["n"] += x

    for x in (1, 2):
        asyncio.run(as_primitive(add)(x, context))
    assert context.state["n"] == 3


def test_nested_calls_without_a_context_inherit_state_and_deadline():
    async def outer(x, ctx):
        with ctx.within(10).active():
            inner = await as_primitive(here)(x)
            await asyncio.sleep(4)
            return inner.state is ctx.state, inner.remaining()

    assert run_virtual(lambda: as_primitive(outer)(0)) == (True, 6)


def test_a_given_context_wins_over_the_current_one():
    other = WorkflowContext("other")

    async def outer(x, ctx):
        return await as_primitive(here)(x, other)

    assert as_primitive(outer).run_sync(0).workflow_id == "other"


def test_there_is_no_current_context_outside_of_a_run():
    assert current_context() is None
    as_primitive(here).run_sync(0)
    with pytest.raises(ZeroDivisionError):
        as_primitive(lambda x: 1 // x).run_sync(0)
    assert current_context() is None


def test_context_variables_of_the_caller_reach_the_steps():
    variable = contextvars.ContextVar("request")
    variable.set("r-1")

    async def read(x):
        return variable.get()

    workflow = as_primitive(read) >> (lambda x: (x, variable.get()))
    assert workflow.run_sync(0) == ("r-1", "r-1")
    assert LambdaPrimitive(lambda x: variable.get(), thread=True).run_sync(0) == "r-1"

    async def under_a_loop():
        return workflow.run_sync(0), [await (workflow | workflow)(0)]

    assert asyncio.run(under_a_loop()) == (("r-1", "r-1"), [[("r-1", "r-1")] * 2])


def test_a_step_that_sets_a_context_variable_is_seen_by_the_next():
    variable = contextvars.ContextVar("step", default=None)
    workflow = as_primitive(variable.set) >> (lambda token: variable.get())
    assert workflow.run_sync("set") == "set"


# Time


def test_time_since_the_start_and_checkpoints():
    async def main():
        context = WorkflowContext()
        await asyncio.sleep(2)
        context.checkpoint("loaded")
        await asyncio.sleep(1)
        context.create_child_context().checkpoint("done")
        return context.checkpoints, context.elapsed_ms()

    checkpoints, elapsed = run_virtual(main)
    assert (checkpoints, elapsed) == ([("loaded", 2000), ("done", 3000)], 3000)


def test_a_checkpoint_stands_in_the_trace():
    with capture() as spans:
        as_primitive(lambda x, ctx: ctx.checkpoint("half")).run_sync(0)
    assert spans[0].noted("checkpoint")[0].data == {"checkpoint": "half"}


@given(st.lists(st.floats(0, 1e6), max_size=5), st.floats(0, 1e6))
def test_a_deadline_only_comes_closer(timeouts, passed):
    now_ns = 10**9
    with clock.use(lambda: now_ns):
        context = WorkflowContext()
        assert context.remaining() is None
        for timeout in timeouts:
            context = context.within(timeout)
        now_ns += int(passed * 1e9)
        if timeouts:
            assert context.remaining() == pytest.approx(min(timeouts) - passed, abs=1e-6)


def test_within_leaves_the_outer_context_as_it_was():
    outer = WorkflowContext().within(100)
    inner = outer.within(1)
    assert inner.remaining() < 2 < outer.remaining()
    assert inner.state is outer.state


def test_an_infinite_deadline_is_none():
    assert WorkflowContext().within(math.inf).remaining() is None
    assert WorkflowContext().within(5).within(math.inf).remaining() <= 5


@pytest.mark.parametrize("odd", [math.nan, -math.inf])
def test_a_deadline_that_cannot_be_compared_is_refused(odd):
    with pytest.raises(ConfigurationError, match=r"within\(.*cannot be compared"):
        WorkflowContext().within(odd)


def test_a_deadline_that_has_passed_is_negative():
    assert WorkflowContext().within(-3).remaining() < -2.9


# Notes


def test_a_note_costs_nothing_when_nobody_watches():
    context = WorkflowContext()
    context.note("retry", attempt=1)
    context.chunk("text")
    seen = []

    def step(x, ctx):
        ctx.note("retry", attempt=1)
        seen.append(ctx)

    as_primitive(step).run_sync(0)
    assert (seen[0].span, seen[0].run) == (None, None)


def test_using_hands_over_guards_stores_and_backends():
    guard, fake = object(), object()
    context = WorkflowContext().using(guards=(guard,), backends={"m": fake, "*": guard})
    assert context.guards == (guard,)
    assert (context.backend("m"), context.backend("other")) == (fake, guard)
    assert WorkflowContext().backend("m") is None
    assert context.using().guards == (guard,)


@pytest.mark.parametrize("watched", [True, False])
def test_using_is_refused_once_the_run_is_under_way(watched):
    context = WorkflowContext("ask")
    refused = []

    def step(x, ctx):
        for each in (ctx, context, context.create_child_context()):
            with pytest.raises(ConfigurationError, match="the run is under way"):
                each.using(guards=())
            refused.append(each)

    workflow = as_primitive(step)
    asyncio.run(workflow.run(0, context) if watched else workflow(0, context))
    assert len(refused) == 3


# The trace that crosses processes


def test_otel_names_leave_out_what_is_not_known():
    context = WorkflowContext("ask", user_id="alice", correlation_id="c")
    found = context.to_otel_context()
    assert found == {
        "trace_id": context.trace_id_hex,
        "span_id": f"{context.span_id:016x}",
        "workflow.id": "ask",
        "user.id": "alice",
        "correlation.id": "c",
    }


def test_what_is_injected_is_a_valid_traceparent_of_the_current_span():
    carrier = {}
    with capture() as spans:
        as_primitive(lambda x, ctx: ctx.inject(carrier)).run_sync(0)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", carrier["traceparent"])
    assert carrier["traceparent"].split("-")[1:3] == [spans[0].trace_id_hex, spans[0].span_id_hex]
    assert "baggage" not in carrier


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT"])
def test_a_run_with_an_extracted_parent_keeps_its_trace(name):
    context = WorkflowContext.extract({name: f"00-{TRACE}-{PARENT}-00"}, workflow_id="ask")
    assert (context.workflow_id, context.remote_parent_hex) == ("ask", PARENT)
    run = asyncio.run((as_primitive(here) >> str).run(0, context))
    assert {span.trace_id_hex for span in run.spans} == {TRACE}
    assert run.context.remote_parent_hex == PARENT


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "junk",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-zz",
        "00-" + "٤" * 32 + f"-{PARENT}-01",
    ],
)
def test_a_malformed_traceparent_is_ignored(malformed):
    context = WorkflowContext.extract({"traceparent": malformed})
    assert context.remote_parent_hex is None
    assert re.fullmatch("[0-9a-f]{32}", context.trace_id_hex)


def test_later_versions_of_traceparent_are_read_as_far_as_they_are_known():
    for header in (f"01-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01-what-comes-later"):
        assert WorkflowContext.extract({"traceparent": header}).trace_id_hex == TRACE


labels = st.dictionaries(st.text(min_size=1).filter(str.strip), st.text(), max_size=4)


@given(labels)
def test_baggage_survives_the_journey(baggage):
    carrier = {}
    WorkflowContext(baggage=dict(baggage)).inject(carrier)
    assert all(value.isascii() and value.isprintable() for value in carrier.values())
    upper = {key.upper(): value for key, value in carrier.items()}
    assert WorkflowContext.extract(upper).baggage == baggage


@given(st.text())
def test_any_baggage_header_can_be_read(header):
    context = WorkflowContext.extract({"baggage": header, "traceparent": header})
    assert all(isinstance(value, str) for value in context.baggage.values())


def test_baggage_of_others_is_read_as_the_standard_says():
    header = "userId=alice , serverNode = DF%2028;ttl=3,flag,=x,isProduction=false,userId=bob"
    context = WorkflowContext.extract({"Baggage": header}, baggage={"isProduction": "true"})
    assert context.baggage == {"userId": "alice", "serverNode": "DF 28", "isProduction": "true"}


def test_a_surrogate_in_baggage_does_not_break_a_call():
    carrier = {}
    WorkflowContext(baggage={"k\ud800": "v\ud800"}).inject(carrier)
    assert carrier["baggage"] == "k%3F=v%3F"


@given(st.integers(1, 5))
def test_parallel_branches_have_contexts_of_their_own(count):
    with capture():
        contexts = run_virtual(lambda: ParallelPrimitive([here] * count)(0))
    assert len({context.span_id for context in contexts}) == count
    assert len({id(context.state) for context in contexts}) == 1


def test_an_error_that_cannot_be_changed_passes_through_an_active_context():
    @dataclasses.dataclass(frozen=True)
    class FrozenError(Exception):
        code: int

    with pytest.raises(FrozenError), WorkflowContext().active():
        raise FrozenError(3)
