"""TimeoutPrimitive: whose time it was, that clean-up is awaited, that streams are covered."""

import asyncio
import contextlib
import math
import time

import pytest

from tta_notebook import (
    ConfigurationError,
    LambdaPrimitive,
    MockPrimitive,
    StepTimeoutError,
    Usage,
    WorkflowContext,
    WorkflowPrimitive,
    capture,
    current_context,
)
from tta_notebook.recovery import timeout
from tta_notebook.recovery.timeout import TimeoutPrimitive
from tta_notebook.testing import Faults, cancel_everywhere, run_virtual


async def sleep(seconds):
    await asyncio.sleep(seconds)
    return seconds


nap = LambdaPrimitive(sleep, name="nap")


async def count(upto):
    """Give a number every two seconds, the first after one."""
    for number in range(upto):
        await asyncio.sleep(2 if number else 1)
        yield str(number)


numbers = LambdaPrimitive(count, name="numbers")


def now():
    return asyncio.get_running_loop().time()


async def failing(awaitable):
    with pytest.raises(StepTimeoutError) as caught:
        await awaitable
    return caught.value


async def texts(stream):
    return [chunk.content async for chunk in stream]


# Whose time it was


def test_a_result_in_time_passes_through():
    assert run_virtual(lambda: TimeoutPrimitive(nap, 5)(4)) == 4


def test_an_overdue_step_is_cancelled_and_the_error_says_whose_time_it_was():
    async def main():
        error = await failing(TimeoutPrimitive(nap, 5)(60))
        assert now() == 5
        return error

    error = run_virtual(main)
    assert isinstance(error, TimeoutError)
    assert (error.kind, error.primitive, error.timeout_s) == ("own", "timeout nap", 5)
    assert "'nap' was stopped, because it took longer than 5 s" in str(error)


def test_a_timeout_error_of_the_step_stays_itself():
    foreign = MockPrimitive("server", side_effect=TimeoutError("the server's"))
    with pytest.raises(TimeoutError, match="the server's") as caught:
        TimeoutPrimitive(foreign, 5).run_sync(0)
    assert not isinstance(caught.value, StepTimeoutError)


@pytest.mark.parametrize(("outer", "inner", "whose"), [(5, 9, "outer"), (9, 5, "inner")])
def test_of_two_timeouts_the_shorter_one_says_that_it_was_it(outer, inner, whose):
    within = TimeoutPrimitive(nap, inner, name="inner")
    error = run_virtual(lambda: failing(TimeoutPrimitive(within, outer, name="outer")(60)))
    assert error.primitive == whose


def test_of_two_equal_timeouts_the_outer_one_says_that_it_was_it():
    within = TimeoutPrimitive(nap, 5, name="inner")
    error = run_virtual(lambda: failing(TimeoutPrimitive(within, 5, name="outer")(60)))
    assert error.primitive == "outer"


def test_the_inside_knows_how_much_time_is_left():
    async def look(_):
        await asyncio.sleep(2)
        return current_context().remaining()

    step = LambdaPrimitive(look)
    assert run_virtual(lambda: TimeoutPrimitive(step, 5)(0)) == 3
    assert run_virtual(lambda: TimeoutPrimitive(TimeoutPrimitive(step, 50), 5)(0)) == 3
    assert run_virtual(lambda: TimeoutPrimitive(step, 5)(0, WorkflowContext().within(4))) == 2


def test_the_time_after_it_is_as_before():
    async def main():
        class Asks(WorkflowPrimitive):
            async def execute(self, input_data, context):
                await TimeoutPrimitive(nap, 5)(1, context)
                return current_context().remaining()

        return await Asks()(0)

    assert run_virtual(main) is None


def test_no_time_at_all_means_no_call():
    mock = MockPrimitive("never", return_value=1)
    error = run_virtual(lambda: failing(TimeoutPrimitive(mock, 0)(0)))
    assert error.timeout_s == 0
    mock.assert_not_called()


def test_a_step_that_blocks_cannot_be_stopped_and_the_trace_says_so():
    def block(_):
        time.sleep(0.02)  # what a blocking library does
        return "late"

    with capture() as spans:
        assert TimeoutPrimitive(block, 0.001).run_sync(0) == "late"
    (note,) = spans[1].noted("overran")
    assert note.data["by_s"] > 0.015


# Instead of an error


def test_a_default_can_be_given_and_the_trace_says_so():
    step = TimeoutPrimitive(nap, 5, raise_on_timeout=False, default="too slow")
    with capture() as spans:
        assert run_virtual(lambda: step(60)) == "too slow"
    assert [span.status for span in spans] == ["cancelled", "ok"]
    (note,) = spans[1].noted("timed_out")
    assert note.data == {"kind": "own", "timeout_s": 5, "instead": "default"}


def test_the_default_default_is_none():
    assert run_virtual(lambda: TimeoutPrimitive(nap, 5, False)(60)) is None


def test_a_fallback_runs_on_the_same_input_with_time_of_its_own():
    async def main():
        result = await TimeoutPrimitive(nap, 5, fallback=lambda s: sleep(s / 4))(60)
        return result, now()

    assert run_virtual(main) == (15, 20)


def test_timeouts_can_be_counted_in_the_state():
    step = TimeoutPrimitive(nap, 5, False, track_timeouts=True)
    context = WorkflowContext()

    async def main():
        await step(60, context)
        await step(1, context)
        await step(60, context)

    run_virtual(main)
    assert context.state["timeout_count"] == 2


# Clean-up


def test_clean_up_is_awaited():
    cleaned = []

    async def tidy(_):
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(3)
            cleaned.append(now())

    async def main():
        await failing(TimeoutPrimitive(tidy, 5)(0))
        return now()

    assert run_virtual(main) == 8
    assert cleaned == [8]


async def stubborn(_):
    while now() < 100:
        try:
            await asyncio.sleep(100 - now())
        except asyncio.CancelledError:
            continue
    return "half"


def test_a_result_after_the_time_is_no_result_and_the_trace_says_so():
    async def main():
        await failing(TimeoutPrimitive(stubborn, 5)(0))
        assert asyncio.current_task().cancelling() == 0
        return now()

    with capture() as spans:
        assert run_virtual(main) == 100
    assert spans[1].noted("late_result")


def test_a_step_that_does_not_stop_can_be_left_behind():
    async def main():
        await failing(TimeoutPrimitive(stubborn, 5, abandon_after_seconds=2)(0))
        left_at = now()
        await asyncio.sleep(200)  # until it has ended: nothing of it may be reported by the loop
        return left_at

    with capture() as spans:
        assert run_virtual(main) == 7
    assert {span.name: len(span.noted("abandoned")) for span in spans} == {
        "timeout stubborn": 1,
        "stubborn": 0,
    }


def test_one_that_stops_within_the_grace_is_not_left_behind():
    async def main():
        await failing(TimeoutPrimitive(nap, 5, abandon_after_seconds=2)(60))
        assert await TimeoutPrimitive(nap, 5, abandon_after_seconds=2)(4) == 4
        return now()

    with capture() as spans:
        assert run_virtual(main) == 9
    assert not any(span.noted("abandoned") for span in spans)


def test_an_error_of_a_step_that_may_be_left_behind_is_raised():
    fails = MockPrimitive("fails", side_effect=ValueError("own"))
    step = TimeoutPrimitive(fails, 5, abandon_after_seconds=2)
    with pytest.raises(ValueError, match="own"):
        run_virtual(lambda: step(0))


# Streams


def test_a_stream_in_time_passes_through():
    step = TimeoutPrimitive(numbers, 50, first_token_seconds=1.5, between_tokens_seconds=2.5)
    assert run_virtual(lambda: texts(step.stream(3))) == ["0", "1", "2", ""]
    assert run_virtual(lambda: step(3)) == "012"


@pytest.mark.parametrize(
    ("limits", "kind", "seen", "at"),
    [
        ({"timeout_seconds": 4}, "own", ["0", "1"], 4),
        ({"timeout_seconds": 50, "first_token_seconds": 0.5}, "first_token", [], 0.5),
        ({"timeout_seconds": 50, "between_tokens_seconds": 1.5}, "between_tokens", ["0"], 2.5),
        ({"timeout_seconds": 2, "between_tokens_seconds": 1.5}, "own", ["0"], 2),
    ],
)
def test_a_stream_has_three_limits(limits, kind, seen, at):
    async def main():
        got = []

        async def read():
            async for chunk in TimeoutPrimitive(numbers, **limits).stream(9):
                got.append(chunk.content)  # noqa: PERF401 - kept when the stream fails

        error = await failing(read())
        return error.kind, got, now()

    assert run_virtual(main) == (kind, seen, at)


def test_executing_a_stream_keeps_its_limits():
    step = TimeoutPrimitive(numbers, 50, between_tokens_seconds=1.5)
    assert run_virtual(lambda: failing(step(9))).kind == "between_tokens"


def test_the_readers_time_counts_for_the_whole_and_not_between_pieces():
    async def main():
        got = []

        async def read(step):
            async for chunk in step.stream(3):
                got.append(chunk.content)
                await asyncio.sleep(10)

        await read(TimeoutPrimitive(numbers, 500, between_tokens_seconds=2.5))
        assert got == ["0", "1", "2", ""]
        return (await failing(read(TimeoutPrimitive(numbers, 15)))).kind

    assert run_virtual(main) == "own"


def test_a_stream_lasts_to_its_close_and_is_closed():
    closed = []

    async def endless(_):
        try:
            while True:
                await asyncio.sleep(1)
                yield "x"
        finally:
            await asyncio.sleep(1)
            closed.append(now())

    async def main():
        with capture() as spans:
            error = await failing(texts(TimeoutPrimitive(endless, 3.5).stream(0)))
        assert [(span.kind, span.status, span.duration_s) for span in spans] == [
            ("function", "cancelled", 4.5),
            ("timeout", "error", 4.5),
        ]
        return error.kind

    assert run_virtual(main) == "own"
    assert closed == [4.5]


def test_a_stream_that_never_began_can_fall_back():
    step = TimeoutPrimitive(nap >> numbers, 5, fallback=LambdaPrimitive(lambda _: "instead"))
    assert run_virtual(lambda: texts(step.stream(60))) == ["instead"]


def test_a_stream_that_began_cannot_fall_back():
    step = TimeoutPrimitive(numbers, 4, fallback=LambdaPrimitive(lambda _: "instead"))
    assert run_virtual(lambda: failing(texts(step.stream(9)))).kind == "own"


def test_a_stream_with_a_default_says_that_it_is_not_whole():
    async def main():
        step = TimeoutPrimitive(numbers, 4, raise_on_timeout=False, default="no answer")
        return [chunk async for chunk in step.stream(9)]

    *pieces, last = run_virtual(main)
    assert [piece.content for piece in pieces] == ["0", "1"]
    assert last.is_final
    assert last.metadata == {"output": "no answer", "timed_out": True}


def test_leaving_a_stream_early_is_no_timeout():
    async def main():
        stream = TimeoutPrimitive(numbers, 5).stream(9)
        first = await anext(stream)
        await stream.aclose()
        await asyncio.sleep(50)
        return first.content

    with capture() as spans:
        assert run_virtual(main) == "0"
    assert [span.status for span in spans] == ["cancelled", "cancelled"]


# Under attack


@pytest.mark.parametrize(
    "options",
    [{}, {"abandon_after_seconds": 1}, {"raise_on_timeout": False}, {"fallback": nap}],
    ids=str,
)
def test_a_cancellation_is_one_at_every_point(options):
    assert cancel_everywhere(lambda: TimeoutPrimitive(nap, 5, **options)(4)).suspensions > 0


@pytest.mark.parametrize("options", [{}, {"abandon_after_seconds": 1}], ids=str)
def test_a_cancellation_is_one_also_when_the_time_is_over(options):
    step = TimeoutPrimitive(nap, 5, **options)
    assert cancel_everywhere(lambda: step(60), raises=StepTimeoutError).suspensions > 0


def test_a_cancelled_stream_is_cancelled_at_every_point():
    step = TimeoutPrimitive(numbers, 50, first_token_seconds=2, between_tokens_seconds=3)
    assert cancel_everywhere(lambda: texts(step.stream(3))).suspensions > 0


def test_a_thousand_at_once_each_have_their_own_time():
    step = TimeoutPrimitive(nap, 5, raise_on_timeout=False, default="slow")

    async def main():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(step(number / 100)) for number in range(1000)]
        return [task.result() for task in tasks]

    results = run_virtual(main)
    assert results[:499] == [number / 100 for number in range(499)]
    assert set(results[501:]) == {"slow"}


def test_one_object_serves_two_loops():
    step = TimeoutPrimitive(nap, 5)
    assert [run_virtual(lambda: step(4)) for _ in range(2)] == [4, 4]


def test_usage_of_a_step_that_was_stopped_is_kept():
    mock = MockPrimitive("model", return_value="x", faults=Faults(latency_s=60))

    class Pays(WorkflowPrimitive):
        async def execute(self, input_data, context):
            context.used(Usage(output_tokens=3))
            return await mock(input_data, context)

    async def main():
        run = TimeoutPrimitive(Pays(), 5, raise_on_timeout=False).start(0)
        await run
        return run.usage.output_tokens

    assert run_virtual(main) == 3


ODD = [-1, -0.001, math.nan, math.inf, True, "5", None]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_limit_that_is_no_duration_is_refused(odd):
    with pytest.raises(ConfigurationError, match="TimeoutPrimitive: timeout_seconds="):
        TimeoutPrimitive(nap, odd)


@pytest.mark.parametrize("odd", ODD[:-1], ids=repr)
@pytest.mark.parametrize(
    "name", ["first_token_seconds", "between_tokens_seconds", "abandon_after_seconds"]
)
def test_other_limits_are_checked_as_well(name, odd):
    with pytest.raises(ConfigurationError, match=f"TimeoutPrimitive: {name}="):
        TimeoutPrimitive(numbers, 5, **{name: odd})


def test_limits_for_pieces_want_a_step_that_streams():
    with pytest.raises(ConfigurationError, match="'nap' does not stream"):
        TimeoutPrimitive(nap, 5, first_token_seconds=1)


def test_the_picture_shows_what_runs_instead():
    step = TimeoutPrimitive(nap, 5, fallback=numbers)
    assert [(label, part.name) for label, part in step.parts()] == [
        ("", "nap"),
        ("timed out", "numbers"),
    ]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (
            {"timeout_seconds": 2.5},
            "it took longer than 2.5 s. Allow more with timeout_seconds=…",
        ),
        (
            {"timeout_seconds": 9, "first_token_seconds": 0.5},
            "its first piece took longer than 0.5 s. Allow more with first_token_seconds=…",
        ),
        (
            {"timeout_seconds": 9, "between_tokens_seconds": 1.5},
            "its next piece took longer than 1.5 s. Allow more with between_tokens_seconds=…",
        ),
    ],
)
def test_the_error_says_all_there_is_to_say(limits, said):
    step = TimeoutPrimitive(numbers, name="limit", **limits)
    error = run_virtual(lambda: failing(texts(step.stream(9))))
    assert str(error) == (
        f"TimeoutPrimitive 'limit': 'numbers' was stopped, because {said}, or give a fallback."
    )


@pytest.mark.parametrize(
    ("options", "instead", "is_streamed"),
    [
        ({}, "error", False),
        ({}, "error", True),
        ({"raise_on_timeout": False}, "default", False),
        ({"raise_on_timeout": False}, "default", True),
        ({"fallback": nap}, "fallback", False),
        ({"fallback": nap}, "fallback", True),
    ],
    ids=str,
)
def test_the_trace_says_what_came_instead(options, instead, is_streamed):
    # Named, and streaming: its first piece comes after the limit.
    late = LambdaPrimitive(count, name="late")
    step = TimeoutPrimitive(late, 0.5, **options)

    async def main():
        context = WorkflowContext(user_id="u-1")
        call = texts(step.stream(1, context)) if is_streamed else step(1, context)
        with contextlib.suppress(StepTimeoutError):
            await call

    with capture() as spans:
        run_virtual(main)
    (note,) = spans[-1].noted("timed_out")
    assert note.data == {"kind": "own", "timeout_s": 0.5, "instead": instead}
    for span in spans[:-1]:  # what is inside is a part of it, with its context
        assert span.parent is spans[-1]
        assert span.around.user_id == "u-1"


def test_a_default_of_a_stream_that_never_began_is_its_only_piece():
    async def main():
        step = TimeoutPrimitive(numbers, 0.5, raise_on_timeout=False, default="no answer")
        (only,) = [chunk async for chunk in step.stream(9)]
        longer = TimeoutPrimitive(numbers, 4, raise_on_timeout=False, default="no answer")
        *_, last = [chunk async for chunk in longer.stream(9)]
        return (only.content, only.chunk_index), (last.content, last.chunk_index)

    assert run_virtual(main) == ((None, 0), ("", 2))


def test_a_streams_time_is_inside_the_deadline_around_it():
    seen = []

    async def look(_):
        seen.append(current_context().remaining())
        yield "x"

    async def main():
        step = TimeoutPrimitive(look, 50)
        return await texts(step.stream(0, WorkflowContext().within(4)))

    assert run_virtual(main) == ["x", ""]
    assert seen == [4]


def test_what_is_left_behind_is_told_and_kept_until_it_ends():
    async def main():
        await failing(TimeoutPrimitive(stubborn, 5, abandon_after_seconds=2)(0))
        kept = len(timeout._abandoned)
        await asyncio.sleep(200)
        return kept, len(timeout._abandoned)

    with capture() as spans:
        assert run_virtual(main) == (1, 0)
    notes = [note.data for span in spans for note in span.noted("abandoned")]
    assert notes == [{"after_s": 2}]


def test_a_step_without_a_fallback_has_one_part():
    step = TimeoutPrimitive(nap, 5)
    assert step.parts() == [("", step.primitive)]
