"""RetryPrimitive: what is tried again, when, how often, and what is raised in the end."""

import asyncio
import math
import pickle
from dataclasses import FrozenInstanceError, dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import (
    ArgumentError,
    CircuitOpenError,
    CompositionError,
    ConfigurationError,
    LambdaPrimitive,
    MockPrimitive,
    RateLimitError,
    StepTimeoutError,
    Usage,
    WorkflowContext,
    WorkflowPrimitive,
    capture,
    current_context,
)
from tta_notebook.recovery.circuit_breaker import CircuitBreakerPrimitive
from tta_notebook.recovery.retry import RetryPrimitive
from tta_notebook.recovery.retry_strategy import RetryStrategy
from tta_notebook.recovery.timeout import TimeoutPrimitive
from tta_notebook.recovery.tries import Attempt
from tta_notebook.testing import Faults, cancel_everywhere, run_virtual


def now():
    return asyncio.get_running_loop().time()


def fails(*effects, name="ask"):
    return MockPrimitive(name, side_effect=list(effects))


def retrying(step, max_retries=3, **options):
    """Return a retry whose delays can be foretold and that shares its budget with nobody."""
    return RetryPrimitive(step, max_retries, **{"jitter": False, "budget": None} | options)


async def raised(awaitable):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what tests compare
        await awaitable
    return caught.value


async def texts(stream):
    return [chunk.content async for chunk in stream]


def notes_of(spans, name):
    return [note.data for span in spans for note in span.noted(name)]


LOST = ConnectionError("lost")


# What is tried again


def test_an_error_that_may_pass_is_tried_again():
    step = fails(LOST, TimeoutError(), "hello")

    async def main():
        return await retrying(step)("hi"), now()

    assert run_virtual(main) == ("hello", 1 + 2)
    assert [call.input for call in step.calls] == ["hi"] * 3


def test_a_type_error_is_not_retried():
    error = TypeError("a bug")
    step = fails(error)
    assert run_virtual(lambda: raised(retrying(step)(0))) is error
    step.assert_called_once()


def test_an_open_circuit_is_not_waited_for():
    step = MockPrimitive("ask", raise_error=LOST)
    breaker = CircuitBreakerPrimitive(step, failure_threshold=2)

    async def main():
        error = await raised(retrying(breaker, 9)(0))
        return type(error), now()

    assert run_virtual(main) == (CircuitOpenError, 1 + 2)
    assert step.call_count == 2


@pytest.mark.parametrize(
    "blanket", [Exception, (Exception,), lambda _: True], ids=["class", "tuple", "function"]
)
def test_an_open_circuit_is_not_meant_by_a_blanket_condition(blanket):
    step = fails(CircuitOpenError("open", primitive="p", retry_after=5))
    run_virtual(lambda: raised(retrying(step, retry_on=blanket)(0)))
    step.assert_called_once()


def test_an_open_circuit_is_waited_for_if_it_is_named():
    step = fails(CircuitOpenError("open", primitive="p", retry_after=5), "closed again")

    async def main():
        return await retrying(step, retry_on=(CircuitOpenError, OSError))(0), now()

    assert run_virtual(main) == ("closed again", 5)


async def is_seven(error):
    return error.args == (7,)


@pytest.mark.parametrize(
    ("retry_on", "expected"),
    [
        (KeyError, [True, True, False]),
        ((KeyError, OSError), [True, True, True]),
        ([KeyError], [True, True, False]),
        ((), [False, False, False]),
        (lambda error: isinstance(error, KeyError), [True, True, False]),
        (lambda error, ctx: ctx.state.get("yes", False), [False, False, False]),
        (is_seven, [True, False, False]),
    ],
    ids=["class", "tuple", "list", "none", "function", "with context", "async"],
)
def test_a_condition_replaces_the_default(retry_on, expected):
    async def main():
        retried = []
        for error in (KeyError(7), KeyError(8), OSError("down")):
            step = fails(error, "fine")
            result = await asyncio.gather(
                retrying(step, retry_on=retry_on)(0), return_exceptions=True
            )
            assert result == ["fine" if step.call_count == 2 else error]
            retried.append(step.call_count == 2)
        return retried

    assert run_virtual(main) == expected


def test_a_condition_that_fails_is_raised_from_the_error_it_was_asked_about():
    def broken(error):
        raise ZeroDivisionError

    error = run_virtual(lambda: raised(retrying(fails(LOST), retry_on=broken)(0)))
    assert isinstance(error, ZeroDivisionError)
    assert error.__cause__ is LOST


def test_a_condition_may_raise_the_error_itself():
    def insist(error):
        raise error

    error = run_virtual(lambda: raised(retrying(fails(LOST), retry_on=insist)(0)))
    assert error is LOST
    assert error.__cause__ is None


def test_a_strategy_that_gives_no_duration_is_raised_from_the_error():
    retry = retrying(fails(LOST), backoff_strategy=lambda _: "soon")
    error = run_virtual(lambda: raised(retry(0)))
    assert isinstance(error, ConfigurationError)
    assert error.__cause__ is LOST


@pytest.mark.parametrize(
    "cancellation", [asyncio.CancelledError, BaseException, (OSError, asyncio.CancelledError)]
)
def test_cancellations_cannot_be_named(cancellation):
    with pytest.raises(ConfigurationError, match=r"RetryPrimitive: retry_on=.*cancellations"):
        RetryPrimitive(len, retry_on=cancellation)


def test_a_cancellation_that_a_step_turns_into_an_error_is_not_retried():
    calls = []

    async def convert(_):
        calls.append(1)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionError("closed") from None

    async def main():
        task = asyncio.create_task(retrying(convert)(0))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        return task.exception(), now()

    with capture() as spans:
        error, at = run_virtual(main)
    assert (str(error), at, len(calls)) == ("closed", 1, 1)
    assert notes_of(spans, "retry_stopped") == [{"reason": "cancelled", "attempts": 1}]


def test_a_cancellation_that_ends_in_a_groups_errors_is_not_retried():
    calls = []

    async def tidy():
        try:
            await asyncio.sleep(60)
        finally:
            raise ConnectionError("closed")

    async def convert(_):
        calls.append(1)
        async with asyncio.TaskGroup() as group:
            group.create_task(tidy())
            group.create_task(tidy())

    async def main():
        task = asyncio.create_task(retrying(convert)(0))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        return type(task.exception()), now()

    assert run_virtual(main) == (ExceptionGroup, 1)
    assert len(calls) == 1


def test_a_group_that_fails_is_retried_whatever_it_leaves_in_the_tasks_count():
    """Up to 3.12 a task group that fails while it waits leaves its parent's cancelling() at 1."""
    left = iter([1, 1, 0])

    async def lose():
        await asyncio.sleep(1)
        raise ConnectionError("lost")

    async def ask(_):
        if next(left):
            async with asyncio.TaskGroup() as group:
                group.create_task(lose())
                group.create_task(asyncio.sleep(60))
        async with asyncio.timeout(60):
            await asyncio.sleep(1)
        return "fine"

    async def ask_slowly(_):
        if next(left):
            async with asyncio.timeout(5):
                await asyncio.sleep(60)
        return "fine"

    async def main():
        assert await retrying(ask)(0) == "fine"
        nonlocal left
        left = iter([1, 1, 0])
        return await retrying(ask_slowly)(0)

    assert run_virtual(main) == "fine"


def test_errors_that_refer_to_each_other_are_judged():
    async def ask(_):
        member = ConnectionError("a")
        group = ExceptionGroup("b", [member])
        member.__context__, group.__cause__ = group, member
        asyncio.current_task().cancel()  # and nobody lets it through
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            calls.append(now())
        raise group

    calls = []

    async def main():
        task = asyncio.create_task(retrying(ask, 1)(0))
        await asyncio.wait({task})
        return type(task.exception())

    # Nothing tells that this error stands for the cancellation, so that it is like any other.
    assert run_virtual(main) == ExceptionGroup
    assert calls == [0, 1]


def test_what_cleans_up_after_a_cancellation_may_retry():
    undo = fails(LOST, "undone")

    async def work():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            assert await retrying(undo)(0) == "undone"
            raise

    async def main():
        task = asyncio.create_task(work())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    assert run_virtual(main)
    assert undo.call_count == 2


# Results


def test_a_rejected_result_is_tried_again():
    step = fails("", "", "hello")

    async def main():
        return await retrying(step, retry_if_result=lambda text: not text)(0), now()

    with capture() as spans:
        assert run_virtual(main) == ("hello", 3)
    assert notes_of(spans, "retry") == [
        {"attempt": 2, "delay_s": 1, "error": "its result was rejected"},
        {"attempt": 3, "delay_s": 2, "error": "its result was rejected"},
    ]


def test_the_last_result_is_given_when_all_are_rejected_and_the_trace_says_so():
    async def is_bad(_result, _context):
        return True

    step = fails("a", "b")
    with capture() as spans:
        assert run_virtual(lambda: retrying(step, 1, retry_if_result=is_bad)(0)) == "b"
    assert notes_of(spans, "retry_stopped") == [{"reason": "exhausted", "attempts": 2}]


def test_a_predicate_that_fails_is_no_failure_of_the_attempt():
    def broken(_):
        raise ConnectionError("of the predicate")

    step = fails("a", "b")
    error = run_virtual(lambda: raised(retrying(step, retry_if_result=broken)(0)))
    assert str(error) == "of the predicate"
    step.assert_called_once()


def test_errors_and_rejected_results_count_together():
    step = fails("", LOST, "", LOST)
    error = run_virtual(lambda: raised(retrying(step, retry_if_result=lambda r: not r)(0)))
    assert error is LOST
    assert [attempt.error for attempt in error.attempts] == [None, LOST, None, LOST]


# What is raised


NO_OTHER = "there is no other one, because max_retries is 3"


def test_the_last_error_is_raised_unchanged_with_all_attempts():
    cause = KeyError("the cause")
    errors = [ConnectionError(f"lost {number}") for number in range(4)]
    errors[3].__cause__ = cause

    async def ask(_, number=iter(range(4))):  # noqa: B008 - one for all calls
        await asyncio.sleep(0.5)
        raise errors[next(number)]

    error = run_virtual(lambda: raised(retrying(ask)(0)))
    assert error is errors[3]
    assert (error.__cause__, error.__context__) == (cause, None)
    assert error.attempts == (
        Attempt(1, errors[0], 0.5, 1),
        Attempt(2, errors[1], 0.5, 2),
        Attempt(3, errors[2], 0.5, 4),
        Attempt(4, errors[3], 0.5, None),
    )
    title = "RetryPrimitive 'retry ask': attempt"
    assert error.__notes__ == [
        f"{title} 1 failed after 0.5 s: ConnectionError: lost 0; the next one began 1 s later",
        f"{title} 2 failed after 0.5 s: ConnectionError: lost 1; the next one began 2 s later",
        f"{title} 3 failed after 0.5 s: ConnectionError: lost 2; the next one began 4 s later",
        f"{title} 4 failed after 0.5 s: ConnectionError: lost 3; {NO_OTHER}",
    ]


def test_an_error_that_is_raised_again_and_again_collects_no_notes():
    error = ConnectionError("the same")
    error.add_note("mine")
    inner = retrying(MockPrimitive("ask", raise_error=error), 1, name="inner")
    outer = retrying(inner, 1, name="outer")
    for _ in range(3):
        assert run_virtual(lambda: raised(outer(0))) is error
        assert [note.partition(":")[0] for note in error.__notes__] == [
            "mine",
            *["RetryPrimitive 'inner'"] * 2,
            *["RetryPrimitive 'outer'"] * 2,
        ]
        assert len(error.attempts) == 2


class SlottedError(ConnectionError):
    __slots__ = ("port",)


@dataclass(frozen=True)
class FrozenError(ConnectionError):
    port: int


class PropertyError(ConnectionError):
    @property
    def attempts(self):
        return "mine"


class ClosedError(ConnectionError):
    def __setattr__(self, name, value):
        raise AttributeError(name)

    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    "error",
    [SlottedError("x"), FrozenError(80), PropertyError("x"), ClosedError()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize(
    "limits", [{}, {"attempt_timeout_seconds": 5, "timeout_seconds": 50}], ids=str
)
def test_an_error_that_cannot_be_changed_is_raised_all_the_same(error, limits):
    async def ask(_):
        raise error

    with capture():
        assert run_virtual(lambda: raised(retrying(ask, **limits)(0))) is error
    assert len(error.__notes__) == 4
    assert (
        error.attempts == "mine" if isinstance(error, PropertyError) else len(error.attempts) == 4
    )
    if isinstance(error, FrozenError):
        with pytest.raises(FrozenInstanceError):
            error.port = 81


def test_attempts_that_mean_something_else_are_left_alone():
    error = ConnectionError()
    error.attempts, error.__notes__ = 17, "not a list"
    run_virtual(lambda: raised(retrying(fails(*[error] * 4))(0)))
    assert (error.attempts, error.__notes__) == (17, "not a list")


def test_an_error_of_ours_travels_with_its_attempts():
    error = RateLimitError("busy", model="m", retry_after=0)
    run_virtual(lambda: raised(retrying(fails(error, error), 1)(0)))
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert [attempt.number for attempt in copy.attempts] == [1, 2]
    assert copy.attempts[1].error is copy
    assert (copy.model, copy.__notes__) == ("m", error.__notes__)


def test_a_long_text_of_an_error_is_cut_in_notes():
    error = ConnectionError("x" * 10_000)
    run_virtual(lambda: raised(retrying(fails(error), 0)(0)))
    text = "ConnectionError: " + "x" * (500 - len("ConnectionError: ")) + "…"
    assert text in error.__notes__[0]
    assert len(error.__notes__[0]) < 700


def test_without_retries_the_error_says_so():
    error = run_virtual(lambda: raised(retrying(fails(LOST), 0)(0)))
    assert error.attempts == (Attempt(1, LOST, 0, None),)
    assert error.__notes__[-1].endswith("because max_retries is 0")


# The trace


def test_attempts_are_spans_and_retries_are_notes():
    first = RateLimitError("busy", model="m", retry_after=3)
    with capture() as spans:
        run_virtual(lambda: retrying(fails(first, LOST, "fine"))(0))
    *attempts, whole = spans
    assert [span.status for span in attempts] == ["error", "error", "ok"]
    assert {span.parent for span in attempts} == {whole}
    assert (whole.kind, whole.name, whole.status) == ("retry", "retry ask", "ok")
    assert [(note.name, note.data) for note in whole.notes] == [
        ("retry", {"attempt": 2, "delay_s": 3, "error": "RateLimitError: busy"}),
        ("retry", {"attempt": 3, "delay_s": 2, "error": "ConnectionError: lost"}),
    ]


def test_the_attempts_of_a_bare_function_are_spans_as_well():
    async def ask(_, turn=iter(range(9))):  # noqa: B008 - one for all calls
        if not next(turn):
            raise LOST
        return "fine"

    with capture() as spans:
        assert run_virtual(lambda: retrying(ask)(0)) == "fine"
    assert [(span.name, span.status) for span in spans] == [
        ("ask", "error"),
        ("ask", "ok"),
        ("retry ask", "ok"),
    ]


def test_when_nobody_watches_a_bare_function_is_called_directly():
    async def ask(x):
        return x

    step = LambdaPrimitive(ask)
    step.execute = None  # what is not called cannot fail
    assert run_virtual(lambda: retrying(step)("hi")) == "hi"


def test_failed_attempts_are_charged():
    class Pays(WorkflowPrimitive):
        async def execute(self, input_data, context):
            context.used(Usage(output_tokens=3))
            raise LOST

    async def main():
        run = retrying(Pays()).start(0)
        await asyncio.wait({run._task})
        await raised(run)
        return run.usage.output_tokens

    assert run_virtual(main) == 4 * 3


# When: the schedule against a naive model

failures = st.sampled_from(["lost", "busy 0.5", "busy 7", "bug", "ok"])


def model_of(plan, max_retries, initial, factor, cap, most, deadline):
    """Return what a retry does, told by a loop: the times of its calls and its last outcome."""
    at, calls = 0.0, []
    for number, outcome in enumerate(plan):
        calls.append(at)
        if outcome in {"ok", "bug"} or number == max_retries:
            return calls, outcome
        wait = min(cap, initial * factor**number)
        asked = float(outcome.split()[1]) if outcome.startswith("busy") else 0
        if (most is not None and asked > most) or at + max(wait, asked) >= deadline:
            return calls, outcome
        at += max(wait, asked)
    raise AssertionError("the plan is long enough")


@given(
    plan=st.lists(failures, min_size=6, max_size=6),
    max_retries=st.integers(0, 5),
    initial=st.sampled_from([0, 0.25, 1, 3]),
    factor=st.sampled_from([0.5, 1, 2]),
    cap=st.sampled_from([0, 1, 10]),
    most=st.sampled_from([None, 0.75, 60]),
    deadline=st.sampled_from([1.1, 5.1, 100]),
    way=st.sampled_from(["own", "context", "stream"]),
)
def test_a_retry_does_what_a_plain_loop_says(
    plan, max_retries, initial, factor, cap, most, deadline, way
):
    made = {
        "lost": LOST,
        "bug": TypeError(),
        "busy 0.5": RateLimitError("busy", model="m", retry_after=0.5),
        "busy 7": RateLimitError("busy", model="m", headers={"Retry-After": "7"}),
    }
    calls = []

    async def ask(_):
        calls.append(now())
        outcome = plan[len(calls) - 1]
        if outcome in made:
            raise made[outcome]
        return outcome

    async def ask_in_pieces(x):
        yield await ask(x)

    async def main():
        retry = retrying(
            ask_in_pieces if way == "stream" else ask,
            max_retries,
            initial_delay=initial,
            backoff_factor=factor,
            max_delay=cap,
            max_retry_after=most,
            timeout_seconds=deadline if way == "own" else None,
        )
        context = WorkflowContext() if way == "own" else WorkflowContext().within(deadline)
        try:
            if way == "stream":
                return "".join(await texts(retry.stream(0, context)))
            return await retry(0, context)
        except Exception as error:  # noqa: BLE001 - compared below
            return next(outcome for outcome, one in made.items() if one is error)

    expected, outcome = model_of(plan, max_retries, initial, factor, cap, most, deadline)
    assert run_virtual(main) == outcome
    assert calls == pytest.approx(expected)


def test_jitter_stays_inside_the_cap():
    async def main(seed):
        step = MockPrimitive("ask", raise_error=LOST)
        retry = retrying(step, 8, jitter=True, max_delay=5, rng=Random(seed))  # noqa: S311 - a test
        await raised(retry(0))
        return [attempt.delay_s for attempt in LOST.attempts[:-1]]

    for seed in range(50):
        delays = run_virtual(lambda seed=seed: main(seed))
        assert all(0 <= delay <= min(5, 2**number) for number, delay in enumerate(delays)), delays


def test_both_keyword_forms_wait_as_documented():
    async def delays_of(**options):
        error = await raised(RetryPrimitive(fails(*[LOST] * 4), budget=None, **options)(0))
        return [attempt.delay_s for attempt in error.attempts[:-1]]

    async def main():
        return [
            await delays_of(jitter=False),
            await delays_of(jitter=False, backoff_strategy="linear", initial_delay=2),
            await delays_of(jitter=False, backoff_strategy="constant"),
            await delays_of(jitter=False, backoff_strategy=lambda attempt: attempt / 4),
            await delays_of(jitter=False, backoff_factor=3, max_delay=5),
            await delays_of(strategy=RetryStrategy(jitter=False, backoff_base=3, max_backoff=5)),
        ]

    assert run_virtual(main) == [
        [1, 2, 4],
        [2, 4, 6],
        [1, 1, 1],
        [0.25, 0.5, 0.75],
        [1, 3, 5],
        [1, 3, 5],
    ]


def test_a_wait_that_cannot_be_read_is_ignored_and_noted():
    busy = RateLimitError("busy", model="m", retry_after=math.nan, headers={"Retry-After": "x"})

    async def main():
        return await retrying(fails(busy, "fine"))(0), now()

    with capture() as spans:
        assert run_virtual(main) == ("fine", 1)
    assert notes_of(spans, "retry_after_ignored") == [
        {"place": "retry_after", "value": "nan"},
        {"place": "retry-after", "value": "'x'"},
    ]


def test_a_wait_that_cannot_even_be_shown_is_ignored():
    class Odd:
        def __repr__(self):
            raise RuntimeError

    busy = ConnectionError()
    busy.retry_after = Odd()
    with capture() as spans:
        assert run_virtual(lambda: retrying(fails(busy, "fine"))(0)) == "fine"
    (ignored,) = notes_of(spans, "retry_after_ignored")
    assert ignored["value"] == "<RuntimeError>"


@pytest.mark.parametrize(
    ("options", "reason", "because"),
    [
        ({"max_retry_after": 60}, "retry_after", "90 s were asked for and max_retry_after is 60 s"),
        ({"timeout_seconds": 20}, "deadline", "begin in 90 s, and the deadline is in 20 s"),
    ],
)
def test_a_wait_that_is_too_long_fails_now_and_says_so(options, reason, because):
    busy = RateLimitError("busy", model="m", retry_after=90)

    async def main():
        return await raised(retrying(fails(busy), **options)(0)), now()

    with capture() as spans:
        assert run_virtual(main) == (busy, 0)
    assert because in busy.__notes__[-1]
    assert notes_of(spans, "retry_stopped") == [{"reason": reason, "attempts": 1}]


# Time


def sleeper(*seconds):
    """Return a step whose calls take so long, in turn."""
    left = iter(seconds)

    async def sleep(_):
        lasts = next(left)
        await asyncio.sleep(lasts)
        return lasts

    return LambdaPrimitive(sleep, name="sleep")


def test_an_attempt_that_takes_too_long_is_tried_again():
    async def main():
        return await retrying(sleeper(60, 60, 2), attempt_timeout_seconds=5)(0), now()

    assert run_virtual(main) == (2, 5 + 1 + 5 + 2 + 2)


def test_the_last_attempt_that_takes_too_long_says_whose_time_it_was():
    retry = retrying(sleeper(60, 60), 1, attempt_timeout_seconds=5)
    error = run_virtual(lambda: raised(retry(0)))
    assert isinstance(error, StepTimeoutError)
    assert (error.kind, error.primitive, error.timeout_s) == ("attempt", "retry sleep", 5)
    assert [attempt.duration_s for attempt in error.attempts] == [5, 5]


def test_the_overall_time_ends_the_attempt_under_way():
    async def main():
        error = await raised(retrying(sleeper(60), timeout_seconds=5)(0))
        assert asyncio.current_task().cancelling() == 0
        return error, now()

    with capture() as spans:
        error, at = run_virtual(main)
    assert (error.kind, error.primitive, error.timeout_s, at) == ("own", "retry sleep", 5, 5)
    assert [(attempt.number, attempt.error) for attempt in error.attempts] == [(1, error)]
    assert notes_of(spans, "retry_stopped") == [{"reason": "timeout", "attempts": 1}]


def test_under_an_overall_time_a_step_gets_its_input():
    assert run_virtual(lambda: RetryPrimitive(str.upper, timeout_seconds=5)("x")) == "X"


def test_a_result_after_the_overall_time_is_no_result_and_the_trace_says_so():
    async def stubborn(x):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(40)
        return x

    with capture() as spans:
        error = run_virtual(lambda: raised(retrying(stubborn, timeout_seconds=5)("x")))
    assert error.kind == "own"
    assert [note.data for span in spans for note in span.noted("late_result")]


def test_the_overall_time_counts_delays_and_keeps_the_attempts():
    async def ask(_, number=iter(range(9))):  # noqa: B008 - one for all calls
        if next(number) < 2:
            raise LOST
        await asyncio.sleep(60)

    error = run_virtual(lambda: raised(retrying(ask, timeout_seconds=5)(0)))
    assert [attempt.error for attempt in error.attempts] == [LOST, LOST, error]
    assert [attempt.duration_s for attempt in error.attempts] == [0, 0, 2]
    assert len(error.__notes__) == 3


def test_no_time_at_all_means_no_call():
    step = MockPrimitive("never")
    error = run_virtual(lambda: raised(retrying(step, timeout_seconds=0)(0)))
    assert error.kind == "own"
    step.assert_not_called()


def test_an_attempt_knows_the_time_it_has():
    async def look(_):
        seen.append(current_context().remaining())
        raise LOST

    seen = []
    retry = retrying(look, 2, attempt_timeout_seconds=5, timeout_seconds=7.5)
    run_virtual(lambda: raised(retry(0)))
    assert seen == [5, 5, 4.5]


def test_a_timeout_inside_is_tried_again_and_one_outside_ends_it():
    async def main():
        inside = retrying(TimeoutPrimitive(sleeper(60, 1), 5))
        assert (await inside(0), now()) == (1, 5 + 1 + 1)
        outside = TimeoutPrimitive(retrying(sleeper(60, 60)), 5, name="outer")
        error = await raised(outside(0))
        return error.primitive, now()

    assert run_virtual(main) == ("outer", 12)


def test_nothing_sleeps_past_the_deadline_of_the_context():
    step = MockPrimitive("ask", raise_error=LOST)

    async def main():
        error = await raised(retrying(step, 9)(0, WorkflowContext().within(5)))
        return error, now()

    # Calls at 0, 1 and 3; the next one would be at 7.
    assert run_virtual(main) == (LOST, 3)
    assert step.call_count == 3
    assert "begin in 4 s, and the deadline is in 2 s" in LOST.__notes__[-1]


# Streams


def streams(*plans):
    """Return a step whose streams give pieces and raise errors, in turn."""
    left = iter(plans)

    async def speak(_):
        for piece in next(left):
            await asyncio.sleep(1)
            if isinstance(piece, Exception):
                raise piece
            yield piece

    return LambdaPrimitive(speak, name="speak")


def test_a_stream_is_tried_again_before_its_first_piece():
    step = streams([LOST], [LOST], ["hel", "lo"])
    with capture() as spans:
        assert run_virtual(lambda: texts(retrying(step).stream(0))) == ["hel", "lo", ""]
    assert [span.status for span in spans] == ["error", "error", "ok", "ok"]
    assert [data["attempt"] for data in notes_of(spans, "retry")] == [2, 3]


def test_a_stream_is_never_tried_again_after_its_first_piece():
    step = streams([LOST], ["hel", LOST], ["not reached"])

    async def main():
        seen = []
        stream = retrying(step).stream(0)
        error = await raised(seen_of(stream, seen))
        return error, seen

    with capture() as spans:
        assert run_virtual(main) == (LOST, ["hel"])
    assert [attempt.number for attempt in LOST.attempts] == [1, 2]
    assert notes_of(spans, "retry_stopped") == [{"reason": "begun", "attempts": 2}]


async def seen_of(stream, seen):
    async for chunk in stream:
        seen.append(chunk.content)


def test_a_streams_attempts_have_their_time():
    step = streams([asyncio.sleep, "x"], ["a", "b"])

    async def slow_then_quick(_, turn=iter(range(9))):  # noqa: B008 - one for all calls
        await asyncio.sleep(0 if next(turn) else 60)
        yield "a"
        await asyncio.sleep(3)
        yield "b"

    async def main():
        retry = retrying(slow_then_quick, attempt_timeout_seconds=5)
        return await texts(retry.stream(0)), now()

    assert run_virtual(main) == (["a", "b", ""], 5 + 1 + 3)
    assert step.can_stream


@pytest.mark.parametrize(
    ("options", "kind", "seen", "at"),
    [
        ({"attempt_timeout_seconds": 2.5}, "attempt", ["a", "b"], 2.5),
        ({"timeout_seconds": 2.5}, "own", ["a", "b"], 2.5),
        ({"timeout_seconds": 2.5, "attempt_timeout_seconds": 1.5}, "attempt", ["a"], 1.5),
        ({"timeout_seconds": 0.5, "attempt_timeout_seconds": 9}, "own", [], 0.5),
    ],
)
def test_a_stream_that_takes_too_long_says_whose_time_it_was(options, kind, seen, at):
    async def main():
        got = []
        stream = retrying(streams(["a", "b", "c"]), **options).stream(0)
        error = await raised(seen_of(stream, got))
        return error.kind, got, now(), len(error.attempts)

    assert run_virtual(main) == (kind, seen, at, 1)


def test_a_stream_is_held_back_until_its_result_has_been_judged():
    step = streams(["no", "pe"], [LOST], ["y", "es"])
    retry = retrying(step, retry_if_result=lambda text: text == "nope")
    assert run_virtual(lambda: texts(retry.stream(0))) == ["y", "es", ""]


def test_a_stream_that_is_left_early_is_closed():
    async def main():
        stream = retrying(streams(["a", "b"]), timeout_seconds=9).stream(0)
        assert (await anext(stream)).content == "a"
        await stream.aclose()

    with capture() as spans:
        run_virtual(main)
    assert [span.status for span in spans] == ["cancelled", "cancelled"]


# Under attack

WAYS = [
    {},
    {"attempt_timeout_seconds": 5},
    {"timeout_seconds": 50},
    {"attempt_timeout_seconds": 5, "timeout_seconds": 50, "retry_if_result": lambda r: r == "no"},
]


@pytest.mark.parametrize("options", WAYS, ids=lambda options: " ".join(options) or "plain")
@pytest.mark.parametrize("every_task", [False, True])
def test_a_cancellation_is_one_at_every_point(options, every_task):
    def scenario():
        step = MockPrimitive(
            "ask",
            side_effect=["lost", *(["no"] if "retry_if_result" in options else []), "yes"],
            faults=Faults(latency_s=1, outcomes=[LOST]),
        )
        return retrying(step, **options)(0)

    report = cancel_everywhere(scenario, every_task=every_task)
    assert report.suspensions >= 3


@pytest.mark.parametrize("options", WAYS, ids=lambda options: " ".join(options) or "plain")
def test_a_cancellation_is_one_also_when_all_attempts_fail(options):
    def scenario():
        step = MockPrimitive("ask", faults=Faults(latency_s=1, error=ConnectionError, error_rate=1))
        return retrying(step, **options)(0)

    assert cancel_everywhere(scenario, raises=ConnectionError).suspensions > 0


@pytest.mark.parametrize("options", WAYS, ids=lambda options: " ".join(options) or "plain")
def test_a_cancelled_stream_is_cancelled_at_every_point(options):
    cancel_everywhere(lambda: texts(retrying(streams([LOST], ["a", "b"]), **options).stream(0)))


def test_a_thousand_at_once_each_have_their_own_attempts():
    async def ask(number):
        await asyncio.sleep(1)
        calls[number] = calls.get(number, 0) + 1
        if calls[number] <= number % 4:
            raise ConnectionError(number)
        return number

    calls = {}
    retry = retrying(ask, 2)

    async def main():
        tasks = [asyncio.create_task(retry(number)) for number in range(1000)]
        await asyncio.wait(tasks)
        return tasks

    for number, task in enumerate(run_virtual(main)):
        if number % 4 == 3:
            assert [attempt.error.args for attempt in task.exception().attempts] == [(number,)] * 3
        else:
            assert task.result() == number
        assert calls[number] == min(number % 4 + 1, 3)


def test_one_object_serves_two_loops():
    retry = RetryPrimitive(fails(LOST, "one", LOST, "two"))
    assert [run_virtual(lambda: retry(0)) for _ in range(2)] == ["one", "two"]


# Configuration

ODD = [-1, math.nan, math.inf, True, "5"]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize(
    "name",
    [
        *("initial_delay", "max_delay", "backoff_factor"),
        *("attempt_timeout_seconds", "timeout_seconds", "max_retry_after"),
    ],
)
def test_a_number_that_means_nothing_is_refused(name, odd):
    with pytest.raises(ConfigurationError, match=f"RetryPrimitive: {name}="):
        RetryPrimitive(len, **{name: odd})


@pytest.mark.parametrize("odd", [*ODD, 1.5, None], ids=repr)
def test_retries_are_counted(odd):
    with pytest.raises(ConfigurationError, match="RetryPrimitive: max_retries="):
        RetryPrimitive(len, odd)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempt_timeout_seconds": 0}, "attempt_timeout_seconds=0"),
        ({"backoff_factor": 0}, "backoff_factor=0"),
        ({"backoff_strategy": "fast"}, "backoff_strategy='fast'"),
        ({"jitter": "some"}, "jitter='some'"),
        ({"retry_on": "ConnectionError"}, "retry_on='ConnectionError'"),
        ({"retry_on": int}, "retry_on=<class 'int'>"),
        ({"strategy": "exponential"}, "strategy='exponential'"),
        ({"budget": 5}, "budget=5"),
        ({"target": ""}, "target=''"),
        ({"target": 5}, "target=5"),
        ({"rng": 5}, "rng=5"),
    ],
    ids=str,
)
def test_other_arguments_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=f"RetryPrimitive: {message}"):
        RetryPrimitive(len, **options)


def test_a_predicate_that_cannot_be_called_is_refused():
    with pytest.raises(CompositionError, match="retry_if_result"):
        RetryPrimitive(len, retry_if_result=5)


@pytest.mark.parametrize(
    "beside",
    [
        {"max_retries": 3},
        {"backoff_strategy": "linear"},
        {"initial_delay": 1.0},
        {"jitter": True},
        {"backoff_factor": 2.0},
        {"max_delay": 60.0},
    ],
    ids=str,
)
def test_a_strategy_stands_alone(beside):
    with pytest.raises(ArgumentError, match=f"strategy=… and {next(iter(beside))}=…"):
        RetryPrimitive(len, strategy=RetryStrategy(), **beside)


def test_a_budget_and_a_target_exclude_each_other():
    with pytest.raises(ArgumentError, match="budget=… and target=…"):
        RetryPrimitive(len, budget=None, target="api")


def test_the_defaults_are_those_of_the_catalogue():
    retry = RetryPrimitive(len)
    backoff = retry.backoff
    assert retry.max_retries == RetryStrategy().max_retries == 3
    assert (backoff.strategy, backoff.initial_delay, backoff.factor) == ("exponential", 1.0, 2.0)
    assert (backoff.max_delay, backoff.jitter) == (60.0, True)
    assert RetryStrategy().backoff("RetryPrimitive") == backoff
