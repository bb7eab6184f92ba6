"""FallbackPrimitive: what runs instead, on which input, and what is raised when nothing helps."""

import asyncio
from collections import OrderedDict, defaultdict, deque
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import (
    ArgumentError,
    CacheMissError,
    CompositionError,
    ConfigurationError,
    LambdaPrimitive,
    MockPrimitive,
    WorkflowContext,
    capture,
    collect,
)
from tta_notebook.recovery.fallback import FallbackPrimitive
from tta_notebook.recovery.original import copied
from tta_notebook.recovery.retry import RetryPrimitive
from tta_notebook.recovery.timeout import TimeoutPrimitive
from tta_notebook.testing import Faults, cancel_everywhere, run_virtual


def now():
    return asyncio.get_running_loop().time()


def failing(error, name="failing"):
    return MockPrimitive(name, raise_error=error)


def giving(value, name="giving"):
    return MockPrimitive(name, return_value=value)


async def raised(awaitable):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what tests compare
        await awaitable
    return caught.value


async def texts(stream):
    return [chunk.content async for chunk in stream]


def notes_of(spans, name):
    return [note.data for span in spans for note in span.noted(name)]


# The cascade


def test_a_success_runs_nothing_else():
    other = giving("other")
    with capture() as spans:
        assert FallbackPrimitive(giving("first"), [other]).run_sync(0) == "first"
    other.assert_not_called()
    assert not spans[-1].notes


def test_the_levels_run_in_order_until_one_succeeds():
    order = []

    def level(name, *, fails):
        def run(_):
            order.append(name)
            if fails:
                raise ValueError(name)
            return name

        return run

    levels = [level("b", fails=True), level("c", fails=False), level("d", fails=False)]
    assert FallbackPrimitive(level("a", fails=True), levels).run_sync(0) == "c"
    assert order == ["a", "b", "c"]


def test_the_trace_shows_the_levels_and_why_they_ran():
    step = FallbackPrimitive(
        failing(KeyError("k"), "a"), [failing(OSError("o"), "b"), giving(1, "c")]
    )
    with capture() as spans:
        step.run_sync(0)
    assert [(span.name, span.status) for span in spans] == [
        ("a", "error"),
        ("b", "error"),
        ("c", "ok"),
        ("fallback a", "ok"),
    ]
    assert {span.parent for span in spans[:3]} == {spans[3]}
    assert notes_of(spans, "fell_back") == [
        {"level": 1, "error": "KeyError: 'k'"},
        {"level": 2, "error": "OSError: o"},
    ]


def test_levels_that_are_bare_functions_are_spans_as_well():
    async def lose(_):
        raise OSError

    async def find(_):
        return "found"

    with capture() as spans:
        assert FallbackPrimitive(lose, find).run_sync(0) == "found"
    assert [(span.name, span.status) for span in spans] == [
        ("lose", "error"),
        ("find", "ok"),
        ("fallback lose", "ok"),
    ]


def test_when_nobody_watches_bare_functions_are_called_directly():
    async def find(x):
        return x

    step = LambdaPrimitive(find)
    step.execute = None  # what is not called cannot fail
    assert FallbackPrimitive(step, len).run_sync("hi") == "hi"


@pytest.mark.parametrize(
    "arguments",
    [
        {"fallbacks": [len]},
        {"fallbacks": (len,)},
        {"fallbacks": len},
        {"fallback": len},
        {"fallback": [len]},
    ],
    ids=str,
)
def test_one_or_several_can_be_given_under_either_name(arguments):
    assert FallbackPrimitive(failing(KeyError), **arguments).run_sync("four") == 4


def test_the_second_argument_may_be_a_list_or_a_step():
    assert FallbackPrimitive(failing(KeyError), [len]).run_sync("four") == 4
    assert FallbackPrimitive(failing(KeyError), len).run_sync("four") == 4


def test_the_same_step_may_stand_in_twice():
    step = MockPrimitive("ask", side_effect=[OSError, OSError, "third"])
    assert FallbackPrimitive(step, [step, step]).run_sync(0) == "third"


def test_a_stale_answer_can_be_a_level():
    cached = failing(CacheMissError("nothing"))
    step = FallbackPrimitive(failing(ConnectionError("down")), [cached, giving("default")])
    assert step.run_sync(0) == "default"


# When all fail


def test_the_error_of_the_primary_step_is_raised_with_all_the_others():
    cause = ZeroDivisionError()
    errors = [ValueError("first"), KeyError("second"), OSError("third")]
    errors[0].__cause__ = cause
    levels = [failing(error, f"level {number}") for number, error in enumerate(errors)]
    with capture() as spans:
        error = run_virtual(lambda: raised(FallbackPrimitive(levels[0], levels[1:])(0)))
    assert error is errors[0]
    assert (error.__cause__, error.__context__) == (cause, None)
    assert error.fallback_errors == tuple(errors)
    title = "FallbackPrimitive 'fallback level 0': fallback"
    assert error.__notes__ == [
        f"{title} 1 ('level 1') failed as well: KeyError: 'second'",
        f"{title} 2 ('level 2') failed as well: OSError: third",
    ]
    assert notes_of(spans, "fallbacks_failed") == [{"levels": 3, "has_result": False}]


def test_an_error_that_is_raised_again_and_again_collects_no_notes():
    step = FallbackPrimitive(failing(error := ValueError("same")), failing(KeyError("k")))
    for _ in range(3):
        assert run_virtual(lambda: raised(step(0))) is error
    assert len(error.__notes__) == 1


def test_a_fallback_around_retries_keeps_the_notes_of_both():
    inner = RetryPrimitive(failing(error := OSError("down")), 1, jitter=False, budget=None)
    assert run_virtual(lambda: raised(FallbackPrimitive(inner, failing(KeyError()))(0))) is error
    assert [note.partition(" ")[0] for note in error.__notes__] == [
        *["RetryPrimitive"] * 2,
        "FallbackPrimitive",
    ]


# Conditions


async def is_seven(error):
    return error.args == (7,)


@pytest.mark.parametrize(
    ("fallback_on", "expected"),
    [
        (None, [True, True, True]),
        (KeyError, [True, True, False]),
        ((KeyError, OSError), [True, True, True]),
        (lambda error: isinstance(error, KeyError), [True, True, False]),
        (lambda error, ctx: ctx.state.get("yes", False), [False, False, False]),
        (is_seven, [True, False, False]),
    ],
    ids=["default", "class", "tuple", "function", "with context", "async"],
)
def test_a_condition_tells_which_errors_fall_back(fallback_on, expected):
    async def falls(error):
        step = FallbackPrimitive(failing(error), giving("other"), fallback_on=fallback_on)
        return (await asyncio.gather(step(0), return_exceptions=True))[0] == "other"

    async def main():
        return [await falls(error) for error in (KeyError(7), KeyError(8), OSError("down"))]

    assert run_virtual(main) == expected


def test_an_error_that_does_not_fall_back_ends_the_cascade():
    third = giving("never")
    levels = [failing(first := OSError("down")), failing(bug := TypeError("bug")), third]
    step = FallbackPrimitive(levels[0], levels[1:], fallback_on=OSError)
    error = run_virtual(lambda: raised(step(0)))
    assert error is first
    assert error.fallback_errors == (first, bug)
    third.assert_not_called()


def test_a_condition_that_fails_is_raised_from_the_error_it_was_asked_about():
    def broken(_):
        raise ZeroDivisionError

    first = OSError("down")
    step = FallbackPrimitive(failing(first), giving(1), fallback_on=broken)
    error = run_virtual(lambda: raised(step(0)))
    assert isinstance(error, ZeroDivisionError)
    assert error.__cause__ is first


def test_a_condition_may_raise_the_error_itself():
    def insist(error):
        raise error

    first = OSError("down")
    step = FallbackPrimitive(failing(first), giving(1), fallback_on=insist)
    assert run_virtual(lambda: raised(step(0))) is first
    assert first.__cause__ is None


def test_a_rejected_result_falls_back():
    step = FallbackPrimitive(
        giving(""), [giving(""), giving("c")], fallback_if_result=lambda r: not r
    )
    with capture() as spans:
        assert step.run_sync(0) == "c"
    assert [note["error"] for note in notes_of(spans, "fell_back")] == [
        "its result was rejected"
    ] * 2


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([giving("a"), giving("b")], "b"),
        ([failing(OSError("a")), giving("b")], "b"),
        ([giving("a"), failing(OSError("b"))], "a"),
    ],
    ids=["results", "error first", "error last"],
)
def test_the_last_result_is_given_when_no_level_does_better(levels, expected):
    step = FallbackPrimitive(levels[0], levels[1], fallback_if_result=lambda _: True)
    with capture() as spans:
        assert step.run_sync(0) == expected
    assert notes_of(spans, "fallbacks_failed") == [{"levels": 2, "has_result": True}]


# The input


def test_every_level_sees_the_original_input():
    def spoil(value):
        value["messages"][0]["role"] = "spoilt"
        value["messages"].append("more")
        value["tags"].clear()
        value["new"] = 1
        raise ValueError

    def make():
        return {"messages": [{"role": "user"}], "tags": {"a"}, "pair": ([1],)}

    seen = []

    def look(value):
        seen.append(copied(value))
        spoil(value)

    given = make()
    step = FallbackPrimitive(spoil, [look, look, lambda value: value])
    assert step.run_sync(given) == make()
    assert seen == [make(), make()]


def test_the_primary_step_gets_the_very_input():
    given = [1]
    assert FallbackPrimitive(lambda value: value, len).run_sync(given) is given


class Opaque:
    pass


leaves = st.none() | st.integers() | st.text(max_size=3) | st.builds(Opaque)
containers = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.tuples(inner, inner)
        | st.lists(inner, max_size=3).map(deque)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3).map(OrderedDict)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3).map(
            lambda items: defaultdict(list, items)
        )
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=12,
)


def mutables(value):
    """Yield the identities of all containers that can be changed."""
    if isinstance(value, (dict, list, deque, set)):
        yield id(value)
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, (dict, list, deque, set, tuple)):
            yield from mutables(item)


@given(containers)
def test_a_copy_is_equal_and_shares_no_container(value):
    copy = copied(value)
    assert copy == value
    assert type(copy) is type(value)
    if isinstance(value, (dict, list, deque, set, tuple)):
        assert not set(mutables(value)) & set(mutables(copy))
    else:
        assert copy is value


def test_a_copy_keeps_what_is_contained_twice_and_cycles():
    shared: list[Any] = []
    shared.append(shared)
    copy = copied({"one": shared, "two": shared})
    assert copy["one"] is copy["two"] is copy["one"][0]
    assert copy["one"] is not shared


def test_a_copy_may_be_as_deep_as_its_input():
    given = inner = {}
    for _ in range(20_000):
        inner["a"] = inner = {}
    copy, depth = copied(given), 0
    while copy:
        copy, depth = copy["a"], depth + 1
    assert depth == 20_000


def test_a_copy_keeps_a_default_factory_a_length_and_what_it_does_not_know():
    assert copied(defaultdict(list))["new"] == []
    assert copied(deque([1], maxlen=3)).maxlen == 3
    for value in (MappingProxyType({"a": [1]}), Opaque(), (1, "a"), frozenset({1})):
        assert copied(value) is value


# Streams


def streaming(*pieces, name="speak"):
    async def speak(_):
        for piece in pieces:
            await asyncio.sleep(1)
            if isinstance(piece, Exception):
                raise piece
            yield piece

    return LambdaPrimitive(speak, name=name)


LOST = ConnectionError("lost")


def test_a_stream_that_fails_before_its_first_piece_falls_back():
    step = FallbackPrimitive(streaming(LOST), [streaming(LOST), streaming("a", "b")])
    with capture() as spans:
        assert run_virtual(lambda: texts(step.stream(0))) == ["a", "b", ""]
    assert [note["level"] for note in notes_of(spans, "fell_back")] == [1, 2]


def test_a_step_that_does_not_stream_can_stand_in_for_one_that_does():
    step = FallbackPrimitive(streaming(LOST), giving("whole"))
    assert step.can_stream
    assert run_virtual(lambda: texts(step.stream(0))) == ["whole"]
    assert not FallbackPrimitive(giving(1), giving(2)).can_stream


def test_a_stream_that_fails_midway_raises_with_its_text():
    error = ConnectionError("lost midway")
    step = FallbackPrimitive(streaming("hel", "lo", error), streaming("not reached"))
    seen = []

    async def main():
        async for chunk in step.stream(0):
            seen.append(chunk.content)  # noqa: PERF401 - kept when the stream fails

    with capture() as spans:
        assert run_virtual(lambda: raised(main())) is error
    assert seen == ["hel", "lo"]
    assert error.partial_text == "hello"
    assert "failed after 5 characters had been given" in error.__notes__[-1]
    assert error.fallback_errors == (error,)
    assert notes_of(spans, "failed_midway") == [{"level": 0, "characters": 5}]


def test_a_stand_in_that_fails_midway_raises_its_own_error_with_its_text():
    error = OSError("midway")
    step = FallbackPrimitive(streaming(LOST), [streaming("b", error), streaming("c")])
    assert run_virtual(lambda: raised(texts(step.stream(0)))) is error
    assert (error.partial_text, error.fallback_errors) == ("b", (LOST, error))


def test_a_stream_can_begin_again_with_the_next_level_and_says_so():
    levels = [streaming("a", LOST), streaming(LOST), streaming("b", "c")]
    step = FallbackPrimitive(levels[0], levels[1:], stream_policy="restart")

    async def main():
        return [chunk async for chunk in step.stream(0)]

    pieces = run_virtual(main)
    assert [(piece.content, piece.metadata.get("restarted")) for piece in pieces] == [
        ("a", None),
        ("b", True),
        ("c", None),
        ("", None),
    ]


def test_when_all_streams_fail_the_first_error_has_the_text_that_was_seen_last():
    first, last = OSError("first"), OSError("last")
    step = FallbackPrimitive(
        streaming("a", first), [streaming("b", "c", last), streaming(LOST)], stream_policy="restart"
    )
    error = run_virtual(lambda: raised(texts(step.stream(0))))
    assert error is first
    assert (error.partial_text, error.fallback_errors) == ("bc", (first, last, LOST))


def test_a_stream_is_held_back_until_its_result_has_been_judged():
    step = FallbackPrimitive(
        streaming("no", "pe"),
        [streaming("y", "es")],
        fallback_if_result=lambda text: text == "nope",
    )
    assert run_virtual(lambda: texts(step.stream(0))) == ["y", "es", ""]
    assert run_virtual(lambda: collect(step.stream(0))) == "yes"


def test_a_predicate_that_fails_is_no_failure_of_the_level():
    def broken(_):
        raise ZeroDivisionError

    other = giving("other")
    for first in (giving("a"), streaming("a")):
        step = FallbackPrimitive(first, other, fallback_if_result=broken)
        for way in (step, lambda x, step=step: texts(step.stream(x))):
            assert isinstance(run_virtual(lambda way=way: raised(way(0))), ZeroDivisionError)
    other.assert_not_called()


def test_the_last_stream_is_given_when_all_are_rejected():
    step = FallbackPrimitive(streaming("a"), streaming("b", "c"), fallback_if_result=lambda _: True)
    assert run_virtual(lambda: texts(step.stream(0))) == ["b", "c", ""]


def test_every_stream_sees_the_original_input():
    async def spoil(value):
        value.clear()
        raise LOST
        yield

    step = FallbackPrimitive(spoil, [spoil, lambda value: value])
    assert run_virtual(lambda: texts(step.stream([1, 2]))) == [[1, 2]]


def test_a_stream_that_is_left_early_is_closed():
    async def main():
        stream = FallbackPrimitive(streaming("a", "b"), len).stream(0)
        await anext(stream)
        await stream.aclose()

    with capture() as spans:
        run_virtual(main)
    assert [span.status for span in spans] == ["cancelled", "cancelled"]


# Under attack


def test_a_cancellation_is_no_failure():
    other = giving("other")
    cancelled = MockPrimitive("ask", faults=Faults(latency_s=1, cancel_rate=1))

    async def main():
        task = asyncio.create_task(FallbackPrimitive(cancelled, other)(0))
        await asyncio.wait({task})
        return task.cancelled()

    assert run_virtual(main)
    other.assert_not_called()


def test_a_cancellation_that_a_step_turns_into_an_error_does_not_fall_back():
    other = giving("other")

    async def convert(_):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionError("closed") from None

    async def main():
        task = asyncio.create_task(FallbackPrimitive(convert, other)(0))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        return str(task.exception())

    assert run_virtual(main) == "closed"
    other.assert_not_called()


@pytest.mark.parametrize("every_task", [False, True])
def test_a_cancellation_is_one_at_every_point(every_task):
    async def is_empty(result):
        await asyncio.sleep(1)
        return not result

    def scenario():
        slow = Faults(latency_s=1)
        levels = [
            MockPrimitive("a", raise_error=LOST, faults=slow),
            MockPrimitive("b", return_value="", faults=slow),
            MockPrimitive("c", return_value="c", faults=slow),
        ]
        return FallbackPrimitive(levels[0], levels[1:], fallback_if_result=is_empty)(0)

    report = cancel_everywhere(scenario, every_task=every_task)
    assert report.suspensions == 5 if not every_task else report.suspensions >= 5


@pytest.mark.parametrize("policy", ["raise", "restart"])
def test_a_cancelled_stream_is_cancelled_at_every_point(policy):
    def scenario():
        first = streaming(*(["a"] if policy == "restart" else []), LOST)
        step = FallbackPrimitive(first, streaming("b", "c"), stream_policy=policy)
        return texts(step.stream(0))

    assert cancel_everywhere(scenario).suspensions > 0


def test_a_thousand_at_once_each_have_their_own_fall():
    async def odd_fails(number):
        await asyncio.sleep(1)
        if number[0] % 2:
            number[0] = None
            raise ValueError
        return "first"

    step = FallbackPrimitive(odd_fails, lambda number: number[0])

    async def main():
        tasks = [asyncio.create_task(step([number])) for number in range(1000)]
        await asyncio.wait(tasks)
        return [task.result() for task in tasks]

    expected = [number if number % 2 else "first" for number in range(1000)]
    assert run_virtual(main) == expected


def test_one_object_serves_two_loops():
    step = FallbackPrimitive(TimeoutPrimitive(lambda _: asyncio.sleep(60), 5), giving("other"))
    assert [run_virtual(lambda: step(0)) for _ in range(2)] == ["other", "other"]


def test_the_levels_share_the_deadline():
    async def nap(_):
        await asyncio.sleep(4)
        raise LOST

    async def main():
        error = await raised(FallbackPrimitive(nap, [nap, nap])(0, WorkflowContext().within(6)))
        return type(error).__name__, error.kind, now()

    assert run_virtual(main) == ("StepTimeoutError", "deadline", 6)


# Configuration and composition


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ArgumentError, "fallbacks=… is missing"),
        ({"fallbacks": [len], "fallback": len}, ArgumentError, "fallbacks=… and fallback=…"),
        ({"fallbacks": []}, ConfigurationError, r"fallbacks=\[\]"),
        ({"fallbacks": 5}, CompositionError, "5 cannot be part"),
        ({"fallbacks": [len, None]}, CompositionError, "None cannot be part"),
        ({"fallback": len, "stream_policy": "again"}, ConfigurationError, "stream_policy='again'"),
        ({"fallback": len, "stream_policy": None}, ConfigurationError, "stream_policy=None"),
        ({"fallback": len, "fallback_on": "OSError"}, ConfigurationError, "fallback_on='OSError'"),
        (
            {"fallback": len, "fallback_on": BaseException},
            ConfigurationError,
            "fallback_on=.*cancellations",
        ),
        ({"fallback": len, "fallback_if_result": 5}, CompositionError, "fallback_if_result"),
    ],
    ids=str,
)
def test_arguments_that_mean_nothing_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        FallbackPrimitive(len, **arguments)


def test_the_picture_shows_the_levels():
    step = FallbackPrimitive(giving(1, "a"), [giving(2, "b"), giving(3, "c")])
    assert [(label, part.name) for label, part in step.parts()] == [
        ("primary", "a"),
        ("fallback 1", "b"),
        ("fallback 2", "c"),
    ]


def count(text: str) -> int:
    return len(text)


def weigh(text: str) -> int:
    return 2 * len(text)


def spell(text: str) -> str:
    return text


def test_it_takes_what_the_primary_step_takes_and_gives_what_all_give():
    assert FallbackPrimitive(count, weigh).input_type is str
    assert FallbackPrimitive(count, weigh).output_type is int
    assert FallbackPrimitive(count, spell).output_type is Any
    with pytest.raises(CompositionError):
        LambdaPrimitive(count) >> FallbackPrimitive(count, weigh)
