"""The trace of a map over workers is the one that it has in one process."""

import asyncio
import sys
from itertools import pairwise

import pytest
from crew import Box, LocalCrew, is_on_worker, over
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import (
    CostTrackingPrimitive,
    FallbackPrimitive,
    LambdaPrimitive,
    LLMPrimitive,
    MapPrimitive,
    ParallelPrimitive,
    Price,
    PriceBook,
    Reply,
    RetryPrimitive,
    ScriptedModel,
    TravelError,
    Usage,
    WorkflowContext,
    WorkflowError,
    capture,
    disable,
    enable,
)
from tta_notebook.core import clock
from tta_notebook.core.run import MAX_SPANS
from tta_notebook.scale.skew import Skew
from tta_notebook.testing import run_virtual

DOLLAR = PriceBook(overrides={"m": Price(input_per_1m=0, output_per_1m=1_000_000)}, bundled=False)


def tree(run):
    """Return what a run's spans say, without when."""
    children = {}
    for span in run.spans:
        children.setdefault(id(span.parent), []).append(span)

    def told(span):
        return (
            span.kind,
            span.name,
            span.status,
            str(span.error).partition("\n")[0] if span.error is not None else None,
            type(span.error).__name__,
            [(n.name, dict(n.data)) for n in span.notes if n.name not in ("elsewhere", "model")],
            span.usage,
            span.cost_pico,
            span.input_preview,
            span.output_preview,
            sorted((told(child) for child in children.get(id(span), ())), key=str),
        )

    return told(run.root)


async def settled(mapped, items, context=None):
    """Return a run, however it ends."""
    run = mapped.start(items, context)
    await asyncio.wait([run._task])
    if not run._task.cancelled():
        run._task.exception()
    return run


def both(workflow, items, *, mode="fail_fast", context=WorkflowContext, crew=None, **options):
    """Return the runs of a map here and there."""
    here = MapPrimitive(workflow, mode=mode, name="mapped", max_concurrency=1)
    there = over(crew or LocalCrew(2), workflow, mode=mode, max_concurrency=1, **options)
    return (
        run_virtual(lambda: settled(here, items, context())),
        run_virtual(lambda: settled(there, items, context())),
    )


def words(count=2):
    usage = Usage(input_tokens=1, output_tokens=count)
    return LLMPrimitive(
        ScriptedModel([Reply("so " * count, usage=usage)] * 100, name="m"), name="ask"
    )


def priced():
    return WorkflowContext("w").using(prices=DOLLAR)


def flaky():
    async def work(x, context):
        context.note("looked", at=x)
        await asyncio.sleep(0.01)
        if x % 2:
            raise ValueError(f"odd {x}")
        return x

    return LambdaPrimitive(work, name="flaky")


def plain(x):
    return x


WORKFLOWS = {
    "a step": (lambda: LambdaPrimitive(plain, name="plain"), "fail_fast"),
    "a chain": (lambda: LambdaPrimitive(plain, name="a") >> plain >> plain, "fail_fast"),
    "branches": (lambda: ParallelPrimitive([flaky(), LambdaPrimitive(plain)]), "collect"),
    "a fallback": (lambda: FallbackPrimitive(flaky(), LambdaPrimitive(plain)), "fail_fast"),
    "failures": (flaky, "collect"),
    "a failure": (flaky, "fail_fast"),
    "attempts": (lambda: RetryPrimitive(flaky(), max_retries=1, initial_delay=0.1), "collect"),
    "a map": (lambda: LambdaPrimitive(lambda x: [x, x]) >> MapPrimitive(flaky()), "collect"),
}


@pytest.mark.parametrize("name", WORKFLOWS)
@pytest.mark.parametrize("with_previews", [True, False])
def test_the_tree_of_spans_is_the_same(name, with_previews):
    make, mode = WORKFLOWS[name]
    enable(previews=with_previews)
    try:
        here, there = both(make(), range(4), mode=mode)
    finally:
        disable()
    assert tree(there) == tree(here)
    assert there.status == here.status
    assert len(there.spans) == len(here.spans)


def test_previews_are_there_for_every_step_where_they_are_on():
    enable(previews=True)
    try:
        run = run_virtual(over(LocalCrew(1), LambdaPrimitive(plain) >> plain).run(["text"]))
    finally:
        disable()
    assert [span.input_preview for span in run.spans[1:]] == ["text"] * 3
    assert [span.output_preview for span in run.spans[1:]] == ["text"] * 3


def test_the_failing_span_is_the_innermost_one():
    inner = FallbackPrimitive(LambdaPrimitive(plain) >> flaky(), flaky())
    here, there = both(inner, [1])
    assert (there.failed_span.name, there.failed_span.kind) == (
        here.failed_span.name,
        here.failed_span.kind,
    )
    assert there.failed_span.name == "flaky"
    assert there.failed_span.parent.name == here.failed_span.parent.name


def test_where_clocks_stand_still_the_innermost_is_still_the_failing_span():
    def fail(x):
        raise ValueError("at once")

    run = run_virtual(lambda: settled(over(LocalCrew(1), LambdaPrimitive(plain) >> fail), [1]))
    assert run.failed_span.name == "fail"
    assert {span.duration_s for span in run.spans} == {0}


def test_spans_lie_inside_the_map_in_the_order_of_their_times():
    run = run_virtual(over(LocalCrew(2, delay_s=1), flaky() >> flaky()).run([0, 2, 4]))
    for span in run.spans[1:]:
        assert span.parent.start_ns <= span.start_ns <= span.end_ns <= span.parent.end_ns
        for note in span.notes:
            assert span.start_ns <= note.time_ns <= span.end_ns
    assert run.root.kind == "map"
    assert all(span.run is run for span in run.spans)
    assert len({span.span_id for span in run.spans}) == len(run.spans)


def test_the_outermost_span_of_an_item_says_where_it_ran():
    crew = LocalCrew(2)
    run = run_virtual(over(crew, flaky() >> plain).run([0, 2]))
    outermost = [span for span in run.spans if span.parent is run.root]
    assert {span.noted("elsewhere")[0].data["worker"] for span in outermost} == {"w0", "w1"}
    assert sum(len(span.noted("elsewhere")) for span in run.spans) == 2


def test_sinks_are_told_of_every_span_once():
    with capture() as spans:
        run_virtual(over(LocalCrew(2), flaky() >> plain).execute([0, 2]))
    names = sorted(span.name for span in spans)
    assert names == sorted(["mapped"] + ["flaky", "plain", "flaky >> plain"] * 2)
    assert spans[-1].name == "mapped"
    assert all(span.end_ns for span in spans)


def test_the_primitive_of_a_span_is_the_one_here():
    first, second = LambdaPrimitive(plain, name="first"), LambdaPrimitive(plain, name="second")
    workflow = first >> (second | first)
    run = run_virtual(over(LocalCrew(1), workflow).run([1]))
    by_name = {span.name: span.primitive for span in run.spans}
    assert by_name["first"] is first
    assert by_name["second"] is second
    assert by_name[workflow.name] is workflow


def test_what_was_made_on_the_way_has_its_name_and_kind():
    async def work(x, context):
        return await MapPrimitive(LambdaPrimitive(plain, name="made"), name="on the way").execute(
            [x, x], context
        )

    here, there = both(LambdaPrimitive(work), [1, 2])
    assert tree(there) == tree(here)
    strangers = {span.primitive for span in there.spans if span.name == "made"}
    assert len(strangers) == 1
    assert {span.kind for span in there.spans if span.name == "on the way"} == {"map"}


def test_a_run_that_nobody_records_has_no_spans_anywhere():
    crew, seen = LocalCrew(2), Box()

    async def main():
        original = crew.tell

        def tell(event):
            seen.value = (seen.value or 0) + getattr(event, "outcome", b"").count(b"SpanRecord")
            original(event)

        crew.tell = tell
        return await over(crew, flaky() >> plain).execute([0, 2])

    assert run_virtual(main) == [0, 2]
    assert seen.value == 0
    assert {chunk.is_recorded for _, chunk in crew.chunks} == {False}


def test_a_record_is_bounded_and_says_what_is_missing():
    def many(x):
        return list(range(6000))

    workflow = LambdaPrimitive(many) >> MapPrimitive(plain)
    outer = Box()

    async def work(x, context):
        outer.value = await over(LocalCrew(2), workflow).run([1, 2], context)
        return 1

    run = run_virtual(LambdaPrimitive(work).run(1))
    inner = outer.value
    assert len(run.spans) == len(inner.spans) == MAX_SPANS
    assert inner.spans_dropped == 1 + 2 * 6003 - MAX_SPANS
    assert run.spans_dropped == 1 + inner.spans_dropped


def test_an_item_whose_own_record_is_too_long_counts_what_it_dropped():
    def many(x):
        return list(range(MAX_SPANS + 50))

    workflow = LambdaPrimitive(many) >> MapPrimitive(plain)
    run = run_virtual(over(LocalCrew(1), workflow).run([1]))
    assert len(run.spans) == MAX_SPANS
    assert run.spans_dropped == 1 + 3 + MAX_SPANS + 50 - MAX_SPANS


# Usage


@pytest.mark.parametrize("mode", ["fail_fast", "collect"])
def test_usage_and_cost_of_the_run_are_those_of_its_items(mode):
    here, there = both(words() >> (lambda text: {"said": text}), ["a", "b"], context=priced)
    assert there.usage == here.usage == Usage(input_tokens=2, output_tokens=4)
    assert there.cost_usd == here.cost_usd == 4
    assert tree(there) == tree(here)


@pytest.mark.parametrize(
    "after",
    [
        lambda texts: texts[0],
        lambda texts: {"usage": texts[0].usage},
        lambda texts: texts[1],
    ],
    ids=["the first", "a usage", "the second"],
)
@pytest.mark.parametrize("wrap", [False, True])
def test_what_items_have_reported_is_not_counted_again_when_later_steps_pass_it_on(after, wrap):
    step = words()
    if wrap:
        step = step >> (lambda text: text) >> (lambda text: [text])
        first = after

        def after(found):
            return first([text for (text,) in found])

    async def main(mapped):
        return await (mapped >> after).run(["a", "b"], priced())

    here = run_virtual(main(MapPrimitive(step)))
    there = run_virtual(main(over(LocalCrew(2), step)))
    assert there.usage == here.usage == Usage(input_tokens=2, output_tokens=4)
    assert there.cost_usd == here.cost_usd == 4


def test_costs_that_are_tracked_around_a_map_are_those_of_its_items():
    here, there = (
        run_virtual(CostTrackingPrimitive(mapped).run(["a", "b"], priced()))
        for mapped in (MapPrimitive(words()), over(LocalCrew(2), words()))
    )
    assert (there.usage, there.cost_usd) == (here.usage, here.cost_usd)


# Clocks


@pytest.mark.parametrize("skew_s", [-3600, -0.7, 0, 0.7, 3600])
def test_spans_of_a_worker_whose_clock_is_off_lie_where_they_can_have_been(skew_s):
    crew = LocalCrew(2, skews_s={"w0": skew_s}, delay_s=0.2)
    given_ns = {}

    async def main():
        original = crew.give

        async def give(worker, chunk, package):
            for index in chunk.items:
                given_ns[index] = clock.source()
            await original(worker, chunk, package)

        crew.give = give
        return await over(crew, naps() >> naps(), max_concurrency=2).run(range(12))

    run = run_virtual(main)
    by_worker = {}
    for span in run.spans[1:]:
        assert span.parent.start_ns <= span.start_ns <= span.end_ns <= span.parent.end_ns
        if span.parent is run.root:
            worker = span.noted("elsewhere")[0].data["worker"]
            by_worker.setdefault(worker, []).append(span)
    assert len(by_worker) == 2
    for spans in by_worker.values():
        # One after the other on each worker, whatever its clock says.
        in_order = sorted(spans, key=lambda span: span.start_ns)
        for earlier, later in pairwise(in_order):
            assert earlier.end_ns <= later.start_ns + 0.5e9
    assert min(span.start_ns for span in run.spans[1:]) >= min(given_ns.values())


def naps():
    async def nap(x):
        await asyncio.sleep(1)
        return x

    return LambdaPrimitive(nap, name="nap")


@given(
    ahead=st.integers(-(10**13), 10**13),
    reports=st.lists(
        st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1
    ),
)
def test_times_shifted_by_a_skew_never_leave_what_is_possible(ahead, reports):
    skew = Skew()
    for wait, work, way in reports:
        given_ns = 10**12
        began = given_ns + wait
        sent = began + work
        now = sent + way
        skew.look(began_ns=began + ahead, sent_ns=sent + ahead, given_ns=given_ns, now_ns=now)
        by = skew.behind_ns
        assert given_ns <= began + ahead + by
        assert sent + ahead + by <= now


def test_a_clock_that_can_be_right_is_left_alone():
    skew = Skew()
    assert skew.behind_ns == 0
    skew.look(began_ns=15, sent_ns=18, given_ns=10, now_ns=20)
    assert skew.behind_ns == 0


# Errors


def test_an_error_is_one_object_in_the_spans_that_it_passed():
    run = run_virtual(lambda: settled(over(LocalCrew(1), flaky() >> plain), [1]))
    errors = [span.error for span in run.spans if span.error is not None]
    assert len(errors) == 3
    assert all(error is run.error for error in errors)


class UnpicklableError(Exception):
    def __reduce__(self):
        raise TypeError("stays here")


class MuteError(UnpicklableError):
    def __str__(self):
        raise RuntimeError("says nothing")


class OddArgumentsError(Exception):
    def __init__(self, code, *, why):
        super().__init__(f"code {code}: {why}")
        self.code, self.why = code, why


class OddOSError(OSError):
    def __init__(self, path):
        super().__init__(2, "not there", path)
        self.path = path


class ReferringError(WorkflowError):
    """One that its attributes refer to, as the attempts of a retry do."""

    def __init__(self, message):
        super().__init__(message)
        self.attempts = [self]


class RingError(Exception):
    def __init__(self, *, word):
        super().__init__(word)
        self.ring = [self]


class SaysHowError(Exception):
    def __init__(self, code):
        super().__init__(f"code {code}")
        self.code = code

    def __reduce__(self):
        return SaysHowError, (self.code,)


def raising(error):
    def fail(x):
        raise error()

    return LambdaPrimitive(fail, name="fail")


ERRORS = [
    (lambda: ValueError("plain"), ValueError, "plain"),
    (lambda: OddArgumentsError(7, why="so"), OddArgumentsError, "code 7: so"),
    (lambda: OddOSError("/there"), OddOSError, "[Errno 2] not there: '/there'"),
    (lambda: ReferringError("again"), ReferringError, "again"),
    (lambda: RingError(word="round"), RingError, "round"),
    (lambda: SaysHowError(3), SaysHowError, "code 3"),
    (lambda: KeyError("k"), KeyError, "'k'"),
    (lambda: UnicodeDecodeError("utf8", b"x", 0, 1, "bad"), UnicodeDecodeError, None),
    (lambda: ExceptionGroup("some", [ValueError(1), KeyError(2)]), ExceptionGroup, None),
    (lambda: StopIteration(5), RuntimeError, None),
    (lambda: UnpicklableError("odd"), WorkflowError, "UnpicklableError: odd"),
    (lambda: MuteError("odd"), WorkflowError, "MuteError"),
]


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    ERRORS,
    ids=[
        "plain",
        "odd arguments",
        "a system's",
        "one that refers to itself",
        "a ring",
        "one that says how",
        "a key",
        "unicode",
        "a group",
        "a stop",
        "one that cannot travel",
        "one that says nothing",
    ],
)
@pytest.mark.parametrize("is_recorded", [True, False])
def test_errors_arrive_as_they_were(error, kind, text, is_recorded):
    mapped = over(LocalCrew(1), raising(error), mode="collect")
    call = mapped.run if is_recorded else mapped.execute
    found = run_virtual(call([1]))
    (arrived,) = found.output if is_recorded else found
    assert type(arrived) is kind
    assert text is None or str(arrived) == text
    assert getattr(arrived, "code", None) in (7, 3, None)
    assert any("Raised on the worker w0" in note for note in arrived.__notes__)
    if is_recorded:
        failed = [span for span in found.spans if span.name == "fail"]
        assert [span.status for span in failed] == ["error"]
        assert failed[0].error is arrived


def test_errors_have_the_traceback_from_the_worker_and_their_cause():
    def fail(x):
        try:
            {}["inner"]
        except KeyError as error:
            raise ValueError("outer") from error

    with pytest.raises(ValueError, match="outer") as caught:
        run_virtual(over(LocalCrew(1), LambdaPrimitive(fail)).execute([1]))
    told = "\n".join(caught.value.__notes__)
    assert "in fail" in told
    assert "It was caused there by KeyError: 'inner'" in told


def test_one_error_that_is_raised_again_and_again_is_told_of_once():
    error = ValueError("the same")

    def fail(x):
        raise error

    found = run_virtual(
        over(LocalCrew(1), LambdaPrimitive(fail), mode="collect").execute(range(200))
    )
    assert {len(each.__notes__) for each in found} == {1}
    assert max(len(each.__notes__[0]) for each in found) < 5000


def test_notes_that_cannot_travel_are_shortened_to_text():
    def work(x, context):
        context.note("odd", plain=1, stream=(n for n in ()))
        return x

    run = run_virtual(over(LocalCrew(1), LambdaPrimitive(work)).run([1]))
    (note,) = run.spans[1].noted("odd")
    assert note.data["plain"] == 1
    assert "generator" in note.data["stream"]


# Outputs


class Unreadable:
    def __reduce__(self):
        return _unreadable, ()


def _unreadable():
    raise RuntimeError("cannot be made again")


@pytest.mark.parametrize(
    "odd",
    [lambda: (n for n in ()), Unreadable, sys._getframe],
    ids=["a generator", "one that cannot be read again", "a frame"],
)
@pytest.mark.parametrize("is_recorded", [True, False])
def test_an_output_that_cannot_travel_fails_alone_and_its_usage_is_booked(odd, is_recorded):
    async def work(x, context):
        text = await words().execute("q", context)
        return odd() if x == 1 else text

    mapped = over(LocalCrew(2), LambdaPrimitive(work), mode="collect")
    call = mapped.run if is_recorded else mapped.execute
    found = run_virtual(call(range(3), priced()))
    output = found.output if is_recorded else found
    assert [type(each).__name__ for each in output] == ["LLMText", "TravelError", "LLMText"]
    assert output[1].part == "the output for item 1"
    if is_recorded:
        assert found.usage == Usage(input_tokens=3, output_tokens=6)
        assert found.cost_usd == 6


class Hers:
    """Can be read on workers alone."""

    def __setstate__(self, state):
        if not is_on_worker():
            raise ModuleNotFoundError("no module named hers")


def test_an_output_that_cannot_be_read_here_fails_alone_and_its_usage_is_booked():
    async def work(x, context):
        await words().execute("q", context)
        hers = Hers()
        hers.x = x
        return hers if x == 1 else x

    mapped = over(LocalCrew(2), LambdaPrimitive(work), mode="collect")
    run = run_virtual(mapped.run(range(3), priced()))
    assert [type(each).__name__ for each in run.output] == ["int", "TravelError", "int"]
    assert "cannot be read here: ModuleNotFoundError" in str(run.output[1])
    assert run.usage == Usage(input_tokens=3, output_tokens=6)


class Theirs:
    """Cannot be read by workers."""

    def __reduce__(self):
        return _unreadable, ()


def test_an_item_that_workers_cannot_read_is_named():
    mapped = over(LocalCrew(2), LambdaPrimitive(plain), mode="collect")
    found = run_virtual(mapped.execute([0, Theirs(), 2]))
    assert [found[0], found[2]] == [0, 2]
    assert isinstance(found[1], TravelError)
    assert found[1].part == "item 1"
    assert "on the worker w" in str(found[1])


def test_a_context_that_workers_cannot_read_fails_the_map_with_its_reason():
    context = WorkflowContext(state={"odd": Theirs()})
    with pytest.raises(TravelError, match="the run's context says cannot be read on the worker"):
        run_virtual(over(LocalCrew(2), LambdaPrimitive(plain)).execute([1], context))


def test_a_workflow_that_workers_cannot_load_fails_the_map_with_its_reason():
    odd = Theirs()
    step = LambdaPrimitive(lambda x: (x, odd))
    with pytest.raises(TravelError, match="cannot be loaded on the worker w"):
        run_virtual(over(LocalCrew(2), step).execute([1]))
