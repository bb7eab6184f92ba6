"""CircuitBreakerPrimitive: what it lets through, what counts, and what does not."""

import asyncio
import contextlib
import math
import pickle
import threading

import pytest

from tta_notebook import (
    ArgumentError,
    CacheKeyError,
    CircuitOpenError,
    CompositionError,
    ConfigurationError,
    LambdaPrimitive,
    LimitExceededError,
    capture,
)
from tta_notebook.recovery.circuit import Circuit, CircuitState
from tta_notebook.recovery.circuit_breaker import CircuitBreakerPrimitive
from tta_notebook.recovery.circuit_config import CircuitBreakerConfig
from tta_notebook.recovery.key_label import key_label
from tta_notebook.testing import cancel_everywhere, run_virtual


async def act(told):
    """Do as told: raise an error, or wait seconds and give them."""
    if isinstance(told, Exception):
        raise told
    await asyncio.sleep(told)
    return told


DOWN = ConnectionError("down")


def breaker(**options):
    return CircuitBreakerPrimitive(LambdaPrimitive(act, name="act"), **options)


async def failing(step, error=DOWN, times=1):
    for _ in range(times):
        with pytest.raises(type(error)):
            await step(error)


async def refused(step, told=0):
    with pytest.raises(CircuitOpenError) as caught:
        await step(told)
    return caught.value


# Closed, open, half-open


def test_it_opens_after_so_many_failures_in_a_row():
    async def main():
        step = breaker(failure_threshold=3)
        await failing(step, times=2)
        assert await step(0) == 0
        await failing(step, times=2)
        assert (step.state, step.failure_count) == (CircuitState.CLOSED, 2)
        await failing(step)
        assert (step.state, step.failure_count) == (CircuitState.OPEN, 3)
        return await refused(step)

    error = run_virtual(main)
    assert (error.primitive, error.key, error.retry_after) == ("breaker act", None, 60)
    assert not error.retryable
    assert "because 3 failures in a row, and stays so for 60 s more" in str(error)


def test_by_default_five_failures_open_it_for_a_minute():
    async def main():
        step = breaker()
        await failing(step, times=4)
        assert step.state is CircuitState.CLOSED
        await failing(step)
        await asyncio.sleep(59.9)
        assert (await refused(step)).retry_after == pytest.approx(0.1)
        await asyncio.sleep(0.2)
        return await step(0)

    assert run_virtual(main) == 0


def test_it_closes_after_so_many_successes():
    async def main():
        step = breaker(failure_threshold=1, recovery_timeout=10, success_threshold=2)
        await failing(step)
        await asyncio.sleep(10)
        states = []
        for _ in range(2):
            await step(0)
            states.append(step.state)
        return states

    assert run_virtual(main) == [CircuitState.HALF_OPEN, CircuitState.CLOSED]


def test_a_failure_while_it_tries_out_opens_it_for_another_while():
    async def main():
        step = breaker(failure_threshold=1, recovery_timeout=10, success_threshold=2)
        await failing(step)
        await asyncio.sleep(10)
        await step(0)
        await failing(step)
        return (await refused(step)).retry_after

    assert run_virtual(main) == 10


@pytest.mark.parametrize("permits", [1, 3])
def test_half_open_lets_exactly_its_permits_through(permits):
    async def main():
        step = breaker(failure_threshold=1, recovery_timeout=10, half_open_permits=permits)
        await failing(step)
        await asyncio.sleep(10)
        results = await asyncio.gather(*(step(1) for _ in range(100)), return_exceptions=True)
        refusals = [result for result in results if isinstance(result, CircuitOpenError)]
        assert all("until a call that tries it out has ended" in str(one) for one in refusals)
        return results.count(1), len(refusals)

    assert run_virtual(main) == (permits, 100 - permits)


def test_an_open_circuit_asks_nothing():
    calls = []

    async def main():
        step = CircuitBreakerPrimitive(calls.append, failure_threshold=1)
        step.open()
        await refused(step)

    run_virtual(main)
    assert calls == []


# What counts


def test_a_late_success_closes_nothing_and_a_late_failure_opens_nothing():
    async def main():
        step = breaker(failure_threshold=1, recovery_timeout=10, success_threshold=1)

        async def late_failure():
            await asyncio.sleep(12)
            raise DOWN

        slow_failing = CircuitBreakerPrimitive(
            lambda _: late_failure(), circuit=step.circuit(), name="late"
        )
        late = [asyncio.create_task(step(5)), asyncio.create_task(slow_failing(0))]
        await asyncio.sleep(1)
        await failing(step)
        await asyncio.sleep(5)  # the success has come
        assert step.state is CircuitState.OPEN
        await asyncio.sleep(5.5)
        await step(0)
        assert step.state is CircuitState.CLOSED
        await asyncio.sleep(5)  # the failure has come
        assert step.state is CircuitState.CLOSED
        await asyncio.gather(*late, return_exceptions=True)
        return step.failure_count

    assert run_virtual(main) == 0


def test_a_success_that_was_under_way_when_others_failed_breaks_the_row():
    async def main():
        step = breaker(failure_threshold=3)
        under_way = asyncio.create_task(step(1))
        await asyncio.sleep(0)
        await failing(step, times=2)
        await under_way
        await failing(step, times=2)
        return step.state

    assert run_virtual(main) is CircuitState.CLOSED


def test_a_cancelled_call_counts_for_nothing_and_gives_its_permit_back():
    async def main():
        step = breaker(failure_threshold=1, recovery_timeout=10)
        await failing(step)
        await asyncio.sleep(10)
        probe = asyncio.create_task(step(100))
        await asyncio.sleep(1)
        await refused(step)
        probe.cancel()
        await asyncio.wait({probe})
        assert step.state is CircuitState.HALF_OPEN
        return await step(0)

    assert run_virtual(main) == 0


def test_a_call_that_hangs_loses_its_permit():
    async def main():
        step = breaker(failure_threshold=1, recovery_timeout=10, probe_timeout=3)
        await failing(step)
        await asyncio.sleep(10)
        hanging = asyncio.create_task(step(100))
        await asyncio.sleep(2.9)
        await refused(step)
        await asyncio.sleep(0.1)
        assert await step(0) == 0
        await hanging
        return step.state, step.success_count

    # What hung has succeeded at last, but its permit was gone: it closes nothing.
    assert run_virtual(main) == (CircuitState.HALF_OPEN, 1)


@pytest.mark.parametrize(
    "error",
    [
        CircuitOpenError("inner", primitive="inner"),
        LimitExceededError("full", limit="tier"),
        CacheKeyError("no key", path="input"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_that_say_that_nothing_was_asked_do_not_count(error):
    async def main():
        step = breaker(failure_threshold=2)
        await failing(step)
        await failing(step, error)
        return step.state, step.failure_count

    assert run_virtual(main) == (CircuitState.CLOSED, 1)


@pytest.mark.parametrize(
    "options",
    [
        {"expected_exception": OSError},
        {"expected_exception": (OSError, KeyError)},
        {"expected_exception": [OSError]},
        {"expected_exception": lambda error: isinstance(error, OSError)},
    ],
    ids=["type", "types", "list", "function"],
)
def test_an_error_that_is_not_expected_counts_as_an_answer(options):
    async def main():
        step = breaker(failure_threshold=2, **options)
        await failing(step)
        await failing(step, ValueError("the caller's"))
        await failing(step)
        return step.state, step.failure_count

    assert run_virtual(main) == (CircuitState.CLOSED, 1)


def test_an_ignored_error_neither_counts_nor_breaks_the_row():
    async def main():
        step = breaker(failure_threshold=2, ignore=KeyError)
        await failing(step)
        await failing(step, KeyError("k"))
        await failing(step)
        return step.state

    assert run_virtual(main) is CircuitState.OPEN


def test_a_condition_that_fails_does_not_keep_the_permit():
    def odd(error):
        raise RuntimeError("the condition is broken")

    async def main():
        step = breaker(failure_threshold=1, recovery_timeout=10, ignore=odd)
        step.open()
        await asyncio.sleep(10)
        with pytest.raises(RuntimeError, match="broken"):
            await step(DOWN)
        return await step(0)

    assert run_virtual(main) == 0


# Windows


def test_a_share_of_failures_opens_it_once_there_are_enough_calls():
    async def main():
        step = breaker(failure_rate=0.5, window_calls=10, minimum_calls=4)
        await failing(step, times=3)
        assert step.state is CircuitState.CLOSED  # three calls say nothing
        await step(0)
        return step.state, step.circuit().because

    assert run_virtual(main) == (CircuitState.OPEN, "3 of 4 calls failed")


def test_failures_that_have_left_the_window_do_not_count():
    async def main():
        step = breaker(failure_rate=0.5, window_calls=4, minimum_calls=4)
        for told in (DOWN, 0, 0, 0, DOWN, 0, 0, 0, DOWN):
            await (failing(step) if told is DOWN else step(told))
        return step.state

    assert run_virtual(main) is CircuitState.CLOSED


def test_a_window_of_seconds_forgets():
    async def main():
        step = breaker(failure_rate=0.5, window_seconds=10, minimum_calls=4)
        await failing(step, times=3)
        await asyncio.sleep(11)
        await step(0)
        assert step.state is CircuitState.CLOSED
        await failing(step, times=3)
        return step.state, step.circuit().because

    assert run_virtual(main) == (CircuitState.OPEN, "3 of 4 calls failed")


def test_slow_calls_open_it_as_well():
    async def main():
        step = breaker(slow_call_rate=0.5, slow_call_seconds=2, window_calls=4, minimum_calls=4)
        for seconds in (1, 1, 2, 3):
            await step(seconds)
        return step.state, step.circuit().because

    assert run_virtual(main) == (CircuitState.OPEN, "2 of 4 calls were slow")


def test_a_slow_call_does_not_close_it():
    async def main():
        step = breaker(slow_call_rate=0.5, slow_call_seconds=2, recovery_timeout=10)
        step.open()
        await asyncio.sleep(10)
        await step(3)
        return step.state, step.circuit().because

    assert run_virtual(main) == (CircuitState.OPEN, "a call that tried it out was slow")


def test_a_rate_and_a_row_can_both_be_given():
    async def main():
        step = breaker(failure_rate=1.0, failure_threshold=2)
        await failing(step, times=2)
        return step.circuit().because

    assert run_virtual(main) == "2 failures in a row"


# Keys


def test_every_key_has_a_circuit_of_its_own():
    async def main():
        step = CircuitBreakerPrimitive(
            lambda told: act(told[1]), failure_threshold=1, key=lambda told: told[0]
        )
        with pytest.raises(ConnectionError):
            await step(("eu", DOWN))
        with pytest.raises(CircuitOpenError, match="for 'eu' is open") as caught:
            await step(("eu", 0))
        assert caught.value.key == "eu"
        assert await step(("us", 0)) == 0
        step.reset("eu")
        return await step(("eu", 0))

    assert run_virtual(main) == 0


def test_keys_are_bounded_and_an_open_circuit_is_never_forgotten():
    async def main():
        step = CircuitBreakerPrimitive(act, failure_threshold=1, key=str, max_keys=5)
        await failing(step)
        for number in range(100):
            await step(number / 1000)
        assert len(step.keys()) == 6
        return await refused(step, DOWN)

    assert run_virtual(main).key == "down"


def test_a_closed_circuit_that_was_open_is_forgotten_like_others():
    async def main():
        step = CircuitBreakerPrimitive(act, failure_threshold=1, key=str, max_keys=5)
        await failing(step)
        step.reset("down")
        for number in range(5):
            await step(number / 1000)
        return step.keys()

    assert "down" not in run_virtual(main)


def test_a_key_that_is_no_name_is_refused():
    step = CircuitBreakerPrimitive(act, key=lambda _: [])
    with pytest.raises(ArgumentError, match="a list is not hashable"):
        run_virtual(lambda: step(0))


def test_a_key_function_may_be_async_and_see_the_context():
    async def region(_, context):
        return context.tags.setdefault("region", "eu")

    step = CircuitBreakerPrimitive(act, key=region)
    assert run_virtual(lambda: step(0)) == 0
    assert step.keys() == ["eu"]


# By hand, shared, carried


def test_an_isolated_circuit_stays_so_until_it_is_closed():
    async def main():
        step = breaker()
        step.isolate()
        await asyncio.sleep(10_000)
        error = await refused(step)
        step.reset()
        return error, await step(0)

    error, result = run_virtual(main)
    assert error.retry_after is None
    assert "is isolated, because it was isolated by hand" in str(error)
    assert "until somebody closes it" in str(error)
    assert result == 0


def test_what_is_done_by_hand_is_said():
    step = breaker()
    step.open()
    assert (step.state, step.circuit().because) == (CircuitState.OPEN, "it was opened by hand")
    step.isolate()
    assert (step.state, step.circuit().because) == (
        CircuitState.ISOLATED,
        "it was isolated by hand",
    )
    step.reset()
    assert (step.state, step.circuit().because) == (CircuitState.CLOSED, "it was closed by hand")


def test_a_failed_try_says_so():
    async def main():
        step = breaker(recovery_timeout=10)
        step.open()
        await asyncio.sleep(10)
        await failing(step)
        return step.circuit().because

    assert run_virtual(main) == "a call that tried it out failed"


def test_exactly_the_rate_opens_it():
    async def main():
        step = breaker(failure_rate=0.5, minimum_calls=4)
        await failing(step, times=2)
        await step(0)
        assert step.state is CircuitState.CLOSED
        await step(0)
        return step.circuit().because

    assert run_virtual(main) == "2 of 4 calls failed"


def test_a_pickled_circuit_takes_no_permit_along():
    async def main():
        step = breaker(recovery_timeout=0, half_open_permits=1)
        step.open()
        circuit = step.circuit()
        assert circuit.admit() is not None
        assert circuit.admit() is None
        again = pickle.loads(pickle.dumps(circuit))  # noqa: S301 - our own
        return again.admit() is not None  # who held it is in the other process

    assert run_virtual(main)


def test_breakers_can_share_a_circuit():
    async def main():
        provider = Circuit(CircuitBreakerConfig(failure_threshold=2))
        one = CircuitBreakerPrimitive(act, circuit=provider, name="one")
        other = CircuitBreakerPrimitive(act, circuit=provider, name="other")
        await failing(one)
        await failing(other)
        return await refused(one)

    assert run_virtual(main).primitive == "one"


def test_an_open_circuit_can_be_pickled_and_stays_open_for_what_is_left():
    async def first():
        step = breaker(failure_threshold=1)
        await failing(step)
        await asyncio.sleep(20)
        return pickle.dumps(step.circuit())

    async def second(data):
        await asyncio.sleep(1000)  # another clock: the other process began at another time
        circuit = pickle.loads(data)  # noqa: S301 - our own
        assert circuit.admit() is None
        return circuit.retry_after()

    data = run_virtual(first)
    assert run_virtual(lambda: second(data)) == pytest.approx(40)


def test_a_breaker_with_keys_can_be_pickled():
    step = CircuitBreakerPrimitive(act, failure_threshold=1, key=str)
    step.open("eu")
    again = pickle.loads(pickle.dumps(step))  # noqa: S301 - our own
    again.reset("eu")
    assert again.circuit("eu").state is CircuitState.CLOSED
    assert step.circuit("eu").state is CircuitState.OPEN


def test_one_breaker_serves_loops_one_after_the_other():
    step = breaker(failure_threshold=2, recovery_timeout=0.01)
    run_virtual(lambda: failing(step))
    run_virtual(lambda: failing(step))
    assert step.state is CircuitState.OPEN


def test_threads_that_try_it_out_at_once_get_one_permit():
    circuit = Circuit(CircuitBreakerConfig(failure_threshold=1, recovery_timeout=0))
    circuit.open()
    together = threading.Barrier(8)
    permits = []

    def try_out():
        together.wait()
        permits.append(circuit.admit())

    threads = [threading.Thread(target=try_out) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(permit is not None for permit in permits) == 1


# The trace


def test_the_trace_shows_what_a_circuit_did_and_why():
    async def main():
        step = breaker(failure_threshold=1, recovery_timeout=10, success_threshold=1)
        await failing(step)
        await refused(step)
        await asyncio.sleep(10)
        await step(0)

    with capture() as spans:
        run_virtual(main)
    notes = [
        tuple(note.data.values())
        for span in spans
        if span.kind == "circuit_breaker"
        for note in span.noted("circuit")
    ]
    assert notes == [
        ("open", "1 failures in a row"),
        ("half_open", "the recovery timeout is over"),
        ("closed", "1 calls succeeded"),
    ]
    assert sum(span.kind == "function" for span in spans) == 2  # the refused one made no call


def noted(spans):
    return [note.data for span in spans for note in span.noted("circuit")]


def test_the_trace_says_for_which_key_a_circuit_changed():
    async def main():
        step = breaker(failure_threshold=1, key=lambda error: getattr(error, "errno", None))
        await failing(step, OSError(7, "down"))
        await failing(step, DOWN)  # its key is None, as without keys

    with capture() as spans:
        run_virtual(main)
    assert noted(spans) == [
        {"state": "open", "because": "1 failures in a row", "key": "7"},
        {"state": "open", "because": "1 failures in a row"},
    ]


class Rude:
    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("eu", "eu"),
        ("x" * 40, "x" * 40),
        (("eu", 7), "('eu', 7)"),
        ("", "''"),
        ("a\nb", r"'a\nb'"),
        ("\ud800", r"'\ud800'"),
    ],
)
def test_a_key_is_noted_as_it_is_where_it_is_short(key, label):
    assert key_label(key) == label


def test_a_key_whose_repr_raises_is_noted_all_the_same():
    assert key_label(Rude()).startswith("<Rude instance at ")


@pytest.mark.parametrize("long", ["q" * 41, "q" * 9_000, "\n" * 41, tuple(range(10**4))])
def test_a_long_key_is_cut_and_keeps_apart_from_others(long):
    label = key_label(long)
    assert len(label) <= 40
    assert label.isprintable()
    other = f"{long}!" if isinstance(long, str) else (-1, *long)
    assert key_label(other) != label


def test_what_a_step_does_to_a_circuit_by_hand_is_noted_in_its_trace_once():
    step = CircuitBreakerPrimitive(act, key=str, name="guarded")

    async def tend(region):
        step.open(region)
        step.open(region)  # it is open
        step.isolate(region)
        step.reset(region)

    with capture() as spans:
        LambdaPrimitive(tend).run_sync("eu")
    where = {"breaker": "guarded", "key": "eu"}
    assert noted(spans) == [
        {"state": "open", "because": "it was opened by hand", **where},
        {"state": "isolated", "because": "it was isolated by hand", **where},
        {"state": "closed", "because": "it was closed by hand", **where},
    ]
    assert {span.name for span in spans} == {"tend"}


def test_what_is_done_by_hand_outside_of_a_run_is_done_and_noted_nowhere():
    step = breaker()
    with capture() as spans:
        step.isolate()
        assert step.state is CircuitState.ISOLATED
        step.reset()
    assert step.state is CircuitState.CLOSED
    assert spans == []


def test_a_pickled_circuit_knows_its_key():
    async def main(step):
        await failing(step)
        return step

    step = run_virtual(lambda: main(breaker(failure_threshold=1, key=lambda _: "eu")))
    circuit = pickle.loads(pickle.dumps(step.circuit("eu")))  # noqa: S301 - our own
    assert (circuit.key, circuit.state) == ("eu", CircuitState.OPEN)


# Streams


async def two_pieces(told):
    yield "a"
    if isinstance(told, Exception):
        raise told
    yield "b"


def test_a_stream_counts_when_it_has_ended():
    async def main():
        step = CircuitBreakerPrimitive(two_pieces, failure_threshold=1)
        stream = step.stream(DOWN)
        assert (await anext(stream)).content == "a"
        assert step.state is CircuitState.CLOSED
        with pytest.raises(ConnectionError):
            await anext(stream)
        with pytest.raises(CircuitOpenError):
            await anext(step.stream(0))
        return step.state

    assert run_virtual(main) is CircuitState.OPEN


def test_a_stream_that_is_left_early_counts_for_nothing():
    async def main():
        step = CircuitBreakerPrimitive(two_pieces, failure_threshold=1, success_threshold=1)
        step.open()
        await asyncio.sleep(60)
        stream = step.stream(0)
        await anext(stream)
        await stream.aclose()
        assert step.state is CircuitState.HALF_OPEN
        assert [chunk.content async for chunk in step.stream(0)] == ["a", "b", ""]
        return step.state

    assert run_virtual(main) is CircuitState.CLOSED


# Under attack


@pytest.mark.parametrize("is_open", [False, True])
def test_a_cancellation_is_one_at_every_point_and_no_permit_is_lost(is_open):
    made = []

    async def main():
        step = breaker(failure_threshold=1, recovery_timeout=10, key=lambda _: asyncio.sleep(0, 1))
        made.append(step)
        if is_open:
            step.open(1)
            await asyncio.sleep(10)
        return await step(1)

    def check(run):
        circuit = made[-1].circuit(1)
        assert not circuit._probes
        assert circuit.failure_count == 0

    assert cancel_everywhere(main, check=check).suspensions > 0


def test_a_thousand_callers_of_a_dead_service_make_few_calls():
    calls = []

    async def dead(_):
        calls.append(1)
        await asyncio.sleep(0.01)
        raise DOWN

    async def main():
        step = CircuitBreakerPrimitive(dead, failure_threshold=5, recovery_timeout=10)

        async def caller(number):
            await asyncio.sleep(number * 0.1)  # 10 a second
            with pytest.raises((ConnectionError, CircuitOpenError)):
                await step(0)

        async with asyncio.TaskGroup() as group:
            for number in range(1000):
                group.create_task(caller(number))

    run_virtual(main)
    # Five failures open it; in the remaining hundred seconds it is tried out every ten.
    assert 5 + 9 <= len(calls) <= 5 + 10


# Bad configuration

WRONG_COUNTS = [0, -1, 1.5, math.nan, True, "3"]
WRONG_SECONDS = [-1, math.nan, math.inf, True, "3"]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *[
            (field, wrong)
            for field in (
                "failure_threshold",
                "success_threshold",
                "window_calls",
                "minimum_calls",
                "half_open_permits",
                "max_keys",
            )
            for wrong in WRONG_COUNTS
        ],
        *[("recovery_timeout", wrong) for wrong in WRONG_SECONDS],
        *[
            (field, wrong)
            for field in ("window_seconds", "probe_timeout", "slow_call_seconds")
            for wrong in (0, *WRONG_SECONDS)
        ],
        *[
            (field, wrong)
            for field in ("failure_rate", "slow_call_rate")
            for wrong in (0, -0.1, 1.01, math.nan, True, "1")
        ],
        *[
            (field, wrong)
            for field in ("expected_exception", "ignore")
            for wrong in ("ValueError", 1, int, (ValueError, "x"), asyncio.CancelledError)
        ],
        ("expected_exception", BaseException),
    ],
    ids=repr,
)
def test_bad_configuration_is_refused_and_named(field, wrong):
    with pytest.raises(ConfigurationError, match=f"^CircuitBreakerPrimitive: {field}="):
        breaker(**{field: wrong})


@pytest.mark.parametrize("half", [{"slow_call_rate": 0.5}, {"slow_call_seconds": 2}], ids=str)
def test_half_a_definition_of_slow_is_refused(half):
    with pytest.raises(ConfigurationError, match="Give both or neither"):
        breaker(**half)


def test_the_options_can_be_given_as_a_config_alone():
    config = CircuitBreakerConfig(
        failure_threshold=1, recovery_timeout=5, success_threshold=3, expected_exception=OSError
    )
    assert breaker(config=config).config is config
    with pytest.raises(ArgumentError, match=r"config=… and failure_threshold=… were given"):
        breaker(config=config, failure_threshold=2)
    with pytest.raises(ArgumentError, match=r"circuit=… and failure_rate=…, key=… were given"):
        breaker(circuit=Circuit(config), failure_rate=0.5, key=str)


def test_a_refusal_says_all_there_is_to_say():
    async def main():
        step = breaker(failure_threshold=1, recovery_timeout=30, name="guard")
        await failing(step)
        told = [str(await refused(step))]
        step.isolate()
        told.append(str(await refused(step)))
        step.reset()
        step.open()
        await asyncio.sleep(30)
        probe = asyncio.create_task(step(5))
        await asyncio.sleep(1)
        told.append(str(await refused(step)))
        await probe
        return told

    again = "Put a fallback around it, or close it with reset()."
    assert run_virtual(main) == [
        (
            "CircuitBreakerPrimitive 'guard': 'act' was not called. The circuit is open, because 1 "
            f"failures in a row, and stays so for 30 s more. {again}"
        ),
        (
            "CircuitBreakerPrimitive 'guard': 'act' was not called. The circuit is isolated, "
            f"because it was isolated by hand, and stays so until somebody closes it. {again}"
        ),
        (
            "CircuitBreakerPrimitive 'guard': 'act' was not called. The circuit is half_open, "
            "because the recovery timeout is over, and stays so until a call that tries it out has "
            f"ended. {again}"
        ),
    ]


def test_an_option_given_twice_is_named_with_the_breaker():
    config = CircuitBreakerConfig(failure_threshold=1)
    with pytest.raises(ArgumentError, match=r"^CircuitBreakerPrimitive: config=… and recovery"):
        breaker(config=config, recovery_timeout=3)
    with pytest.raises(ArgumentError, match=r"^CircuitBreakerPrimitive: circuit=… and config=…"):
        breaker(circuit=Circuit(config), config=config)
    with pytest.raises(CompositionError, match=r"^CircuitBreakerPrimitive\(key=…\)"):
        breaker(key="region")


def test_keys_are_opened_closed_and_isolated_one_by_one():
    step = CircuitBreakerPrimitive(act, key=str)
    step.isolate("eu")
    step.open("us")
    states = {key: step.circuit(key).state.value for key in ("eu", "us", "asia")}
    assert states == {"eu": "isolated", "us": "open", "asia": "closed"}
    assert step.circuit("asia") is step.circuit("asia")


def test_slow_failures_and_slow_streams_count_as_slow():
    async def late(told):
        await asyncio.sleep(5)
        yield "piece"
        if told is DOWN:
            raise DOWN

    async def main():
        options = {"slow_call_rate": 1.0, "slow_call_seconds": 5, "minimum_calls": 2}
        streams = CircuitBreakerPrimitive(late, **options)
        for told in (0, DOWN):
            with contextlib.suppress(ConnectionError):
                async for _ in streams.stream(told):
                    pass
        quick = CircuitBreakerPrimitive(late, **options | {"slow_call_seconds": 5.1})
        for _ in range(2):
            async for _ in quick.stream(0):
                pass

        async def fails_late(_):
            await asyncio.sleep(5)
            raise DOWN

        failing_late = CircuitBreakerPrimitive(fails_late, **options)
        await failing(failing_late, times=2)
        return streams.circuit().because, quick.state, failing_late.circuit().because

    slow = "2 of 2 calls were slow"
    assert run_virtual(main) == (slow, CircuitState.CLOSED, slow)


def test_a_stream_is_keyed_by_its_input():
    async def main():
        step = CircuitBreakerPrimitive(two_pieces, key=lambda told: f"key of {told}")
        return [chunk.content async for chunk in step.stream("x")], step.keys()

    assert run_virtual(main) == (["a", "b", ""], ["key of x"])


def test_an_answer_that_is_an_unexpected_error_can_close_it_and_is_told():
    async def main():
        step = breaker(
            expected_exception=OSError,
            failure_threshold=1,
            recovery_timeout=10,
            success_threshold=1,
        )
        await failing(step)
        await asyncio.sleep(10)
        await failing(step, ValueError("an answer"))
        return step.state

    with capture() as spans:
        assert run_virtual(main) is CircuitState.CLOSED
    states = [note.data["state"] for span in spans for note in span.noted("circuit")]
    assert states == ["open", "half_open", "closed"]


def test_the_least_recently_used_key_is_forgotten_first():
    step = CircuitBreakerPrimitive(act, key=str, max_keys=2)
    for key in ("a", "b", "a", "c"):
        step.circuit(key)
    assert sorted(step.keys()) == ["a", "c"]
