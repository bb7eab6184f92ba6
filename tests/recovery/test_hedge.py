"""HedgePrimitive: when a second call starts, which one wins, and that nothing outlives the race."""

import asyncio
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import (
    ConfigurationError,
    LambdaPrimitive,
    MockPrimitive,
    StepTimeoutError,
    Usage,
    WorkflowContext,
    WorkflowPrimitive,
    capture,
)
from tta_notebook.recovery.hedge import HedgePrimitive
from tta_notebook.recovery.latencies import ENOUGH, Latencies
from tta_notebook.testing import cancel_everywhere, run_virtual


def now():
    return asyncio.get_running_loop().time()


class Calls:
    """A step whose calls take so long and end so, in turn; it remembers when they began."""

    def __init__(self, *plan, clean_up_s=0.0):
        self.plan = plan
        self.clean_up_s = clean_up_s
        self.began, self.cancelled, self.running = [], [], 0

    async def __call__(self, _):
        number = len(self.began)
        self.began.append(now())
        self.running += 1
        seconds, outcome = self.plan[number]
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            await asyncio.sleep(self.clean_up_s)
            self.cancelled.append(number)
            raise
        finally:
            self.running -= 1
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def hedged(calls, delay_s=1, **options):
    return HedgePrimitive(LambdaPrimitive(calls, name="ask"), delay_s, idempotent=True, **options)


async def raised(awaitable):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what tests compare
        await awaitable
    return caught.value


async def texts(stream):
    return [chunk.content async for chunk in stream]


def notes_of(spans, name):
    return [note.data for span in spans for note in span.noted(name)]


# When


def test_a_call_that_answers_in_time_is_the_only_one():
    calls = Calls((0.9, "first"))
    with capture() as spans:
        assert run_virtual(lambda: hedged(calls)(0)) == "first"
    assert calls.began == [0]
    assert not spans[-1].notes


def test_a_slow_call_gets_another_one_beside_it_and_the_first_success_wins():
    calls = Calls((10, "slow"), (2, "quick"), clean_up_s=3)

    async def main():
        return await hedged(calls)(0), now(), calls.running

    with capture() as spans:
        # The loser is cancelled when the winner answers, at 3, and awaited.
        assert run_virtual(main) == ("quick", 3 + 3, 0)
    assert (calls.began, calls.cancelled) == ([0, 1], [0])
    assert sorted(span.status for span in spans) == ["cancelled", "ok", "ok"]
    assert notes_of(spans, "hedge") == [{"number": 2, "after_s": 1}]
    assert notes_of(spans, "hedge_won") == [{"number": 2}]


def test_the_first_call_can_win_against_the_second():
    calls = Calls((2, "slow"), (5, "slower"))
    with capture() as spans:
        assert run_virtual(lambda: hedged(calls)(0)) == "slow"
    assert calls.cancelled == [1]
    assert notes_of(spans, "hedge_won") == [{"number": 1}]


def test_of_two_answers_at_once_the_first_calls_counts():
    assert run_virtual(lambda: hedged(Calls((2, "first"), (1, "second")))(0)) == "first"


def test_further_calls_start_one_delay_after_the_other():
    calls = Calls((9, "a"), (9, "b"), (9, "c"), (9, "d"))

    async def main():
        return await hedged(calls, 2, max_hedges=2)(0), now()

    assert run_virtual(main) == ("a", 9)
    assert calls.began == [0, 2, 4]


def test_a_failure_starts_the_next_call_at_once():
    calls = Calls((0.25, OSError("down")), (9, "slow"), (2, "quick"))

    async def main():
        return await hedged(calls, max_hedges=2)(0), now()

    assert run_virtual(main) == ("quick", 3.25)
    assert calls.began == [0, 0.25, 1.25]


def test_without_a_delay_both_start_at_once():
    calls = Calls((9, "a"), (2, "b"))
    assert run_virtual(lambda: hedged(calls, 0)(0)) == "b"
    assert calls.began == [0, 0]


def test_an_error_that_is_a_result_is_a_result():
    error = ValueError("collected")
    step = HedgePrimitive(MockPrimitive(return_value=error), 1, idempotent=True)
    assert run_virtual(lambda: step(0)) is error


# When all fail


def test_the_first_error_is_raised_with_notes_about_the_others():
    errors = [OSError("slow"), KeyError("quick")]
    errors[1].__cause__ = cause = ValueError()
    calls = Calls((5, errors[0]), (2, errors[1]))
    error = run_virtual(lambda: raised(hedged(calls)(0)))
    assert error is errors[1]
    assert (error.__cause__, error.__context__) == (cause, None)
    assert error.__notes__ == [
        "HedgePrimitive 'hedge ask': another call failed as well: OSError: slow"
    ]


def test_a_failure_waits_for_the_call_beside_it():
    calls = Calls((2, OSError("down")), (5, "fine"))

    async def main():
        return await hedged(calls)(0), now()

    assert run_virtual(main) == ("fine", 6)


# The deadline


@pytest.mark.parametrize("delay_s", [5, 6])
def test_no_call_starts_beyond_the_deadline(delay_s):
    calls = Calls((60, "a"), (60, "b"))

    async def main():
        error = await raised(hedged(calls, delay_s)(0, WorkflowContext().within(5)))
        return type(error), now()

    assert run_virtual(main) == (StepTimeoutError, 5)
    assert calls.began == [0]


def test_a_second_call_has_no_more_time_than_the_deadline_leaves():
    calls = Calls((60, "a"), (60, "b"), (60, "c"))

    async def main():
        await raised(hedged(calls, 2, max_hedges=2)(0, WorkflowContext().within(4)))
        return now(), calls.running

    assert run_virtual(main) == (4, 0)
    assert calls.began == [0, 2]


# The quantile


def test_without_a_delay_the_latencies_decide_once_enough_are_known():
    plan = [(number, number) for number in range(1, 11)]
    calls = Calls(*plan, (60, "slow"), (1, "quick"))
    step = hedged(calls, None, quantile=0.9)

    async def main():
        for _ in range(ENOUGH):
            assert step.delay_s() is None
            await step(0)
        assert step.delay_s() == 9  # the ninth of ten
        start = now()
        return await step(0), now() - start

    with capture() as spans:
        assert run_virtual(main) == ("quick", 10)
    assert len(notes_of(spans, "hedge")) == 1


def test_a_call_that_lost_counts_with_the_time_it_took_at_least():
    calls = Calls(*[(1, "x")] * ENOUGH, *[(60, "slow"), (1, "quick")] * 20)
    step = hedged(calls, None, quantile=0.75)

    async def main():
        for _ in range(ENOUGH + 20):
            await step(0)
        return step.delay_s()

    # 10 calls of 1 s; then pairs: the quick one takes 1 s, the slow one at least a second more, so
    # that of 50 calls 20 take longer than 1 s, which is more than a quarter.
    assert run_virtual(main) > 1


def test_failures_are_no_latencies():
    calls = Calls(*[(1, OSError())] * 20)
    step = hedged(calls, None)

    async def main():
        for _ in range(ENOUGH):
            await raised(step(0))

    run_virtual(main)
    assert step.delay_s() is None


@given(st.lists(st.floats(0, 100), min_size=ENOUGH, max_size=60), st.floats(0.001, 1))
def test_a_quantile_is_the_least_latency_that_so_many_kept(observed, share):
    latencies = Latencies(kept=30)
    for latency_s in observed:
        latencies.add(latency_s)
    newest = observed[-30:]
    found = latencies.quantile(share)
    assert found in newest
    kept = sum(latency_s <= found for latency_s in newest)
    quicker = sum(latency_s < found for latency_s in newest)
    assert kept >= share * len(newest) > quicker - 1e-9
    assert sorted(newest) == latencies._in_order


def test_latencies_do_not_travel():
    latencies = Latencies()
    for _ in range(ENOUGH):
        latencies.add(1)
    copy = pickle.loads(pickle.dumps(latencies))  # noqa: S301 - our own bytes
    assert (latencies.quantile(0.5), copy.quantile(0.5)) == (1, None)


# Charges


def test_losers_are_charged():
    class Pays(WorkflowPrimitive):
        async def execute(self, input_data, context):
            context.used(Usage(output_tokens=3))
            await asyncio.sleep(5)

    async def main():
        run = HedgePrimitive(Pays(), 1, idempotent=True, max_hedges=2).start(0)
        await run
        return run.usage.output_tokens

    assert run_virtual(main) == 3 * 3


# Streams


class Streams(Calls):
    """The same for streams: the time is that to the first piece; the others come every second."""

    def step(self):
        async def speak(x):
            number = len(self.began)
            try:
                first, *others = await self(x)
                yield first
                for piece in others:
                    await asyncio.sleep(1)
                    if isinstance(piece, Exception):
                        raise piece
                    yield piece
            finally:
                self.closed.append(number)

        return LambdaPrimitive(speak, name="speak")

    closed: list


def streaming(*plan, delay_s=1, **options):
    streams = Streams(*plan)
    streams.closed = []
    return streams, HedgePrimitive(streams.step(), delay_s, idempotent=True, **options)


def test_a_stream_is_hedged_until_its_first_piece():
    streams, step = streaming((9, ["slow"]), (2, ["a", "b", "c"]))

    async def main():
        stream = step.stream(0)
        first = await anext(stream)
        assert (first.content, now(), streams.closed) == ("a", 3, [0])
        return [first.content, *await texts(stream)], now()

    with capture() as spans:
        assert run_virtual(main) == (["a", "b", "c", ""], 5)
    assert notes_of(spans, "hedge_won") == [{"number": 2}]


def test_a_stream_that_gives_its_first_piece_in_time_is_the_only_one():
    streams, step = streaming((0.5, ["a", "b", "c", "d"]))
    assert run_virtual(lambda: texts(step.stream(0))) == ["a", "b", "c", "d", ""]
    assert streams.began == [0]


def test_two_streams_that_begin_at_once_are_both_closed():
    streams, step = streaming((2, ["a", "b"]), (1, ["x", "y"]))

    async def main():
        stream = step.stream(0)
        first = await anext(stream)
        assert streams.closed == [1]  # the other one, before anything is given
        return [first.content, *await texts(stream)]

    assert run_virtual(main) == ["a", "b", ""]
    assert streams.closed == [1, 0]


def test_a_stream_that_fails_after_its_first_piece_fails():
    error = OSError("midway")
    streams, step = streaming((2, ["a", error]), (9, ["x"]))
    assert run_virtual(lambda: raised(texts(step.stream(0)))) is error
    assert sorted(streams.closed) == [0, 1]


def test_a_stream_that_is_left_early_is_closed():
    streams, step = streaming((2, ["a", "b"]), (9, ["x"]))

    async def main():
        stream = step.stream(0)
        await anext(stream)
        await stream.aclose()

    with capture() as spans:
        run_virtual(main)
    assert sorted(streams.closed) == [0, 1]
    assert {span.status for span in spans} == {"cancelled"}


def test_an_empty_stream_stays_one():
    async def silent(_):
        return
        yield

    step = HedgePrimitive(silent, 1, idempotent=True)
    assert run_virtual(lambda: texts(step.stream(0))) == [None]


# Under attack

PLANS = {
    "one": [(0.5, "a"), (9, "b")],
    "second wins": [(9, "a"), (2, "b")],
    "first wins": [(3, "a"), (9, "b")],
    "failure": [(0.5, OSError()), (2, "b")],
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("every_task", [False, True])
@pytest.mark.parametrize("seed", [None, 1])
def test_a_cancellation_is_one_at_every_point(plan, every_task, seed):
    seen = []

    def scenario():
        seen.append(calls := Calls(*plan, clean_up_s=0.5))
        return hedged(calls)(0)

    report = cancel_everywhere(scenario, every_task=every_task, seed=seed)
    assert report.suspensions >= 1
    assert not any(calls.running for calls in seen)


def test_a_cancellation_is_one_also_when_all_fail():
    def scenario():
        return hedged(Calls((2, OSError("a")), (2, OSError("b"))))(0)

    assert cancel_everywhere(scenario, raises=OSError).suspensions > 0


@pytest.mark.parametrize("every_task", [False, True])
def test_a_cancelled_stream_is_cancelled_at_every_point(every_task):
    seen = []

    def scenario():
        streams, step = streaming((9, ["slow"]), (2, ["a", "b"]))
        seen.append(streams)
        return texts(step.stream(0))

    assert cancel_everywhere(scenario, every_task=every_task).suspensions > 0
    assert all(len(streams.closed) == len(streams.began) for streams in seen)


def test_a_call_that_cancels_itself_ends_the_race():
    class GivesUp(Calls):
        async def __call__(self, x):
            if self.began:
                raise asyncio.CancelledError
            return await super().__call__(x)

    calls = GivesUp((60, "slow"))

    async def main():
        with pytest.raises(asyncio.CancelledError):
            await hedged(calls)(0)
        return now(), calls.running, asyncio.current_task().cancelling()

    assert run_virtual(main) == (1, 0, 0)
    assert calls.cancelled == [0]


def test_a_loser_whose_clean_up_fails_changes_nothing():
    async def ask(_, number=iter(range(9))):  # noqa: B008 - one for all calls
        if next(number):
            return "quick"
        try:
            await asyncio.sleep(60)
        finally:
            raise OSError("clean-up failed")

    assert run_virtual(lambda: HedgePrimitive(ask, 1, idempotent=True)(0)) == "quick"


def test_a_thousand_at_once_each_have_their_own_race():
    begun = {}

    async def ask(number):
        begun[number] = begun.get(number, 0) + 1
        await asyncio.sleep(60 if number % 2 and begun[number] == 1 else 0.5)
        return number

    step = HedgePrimitive(ask, 1, idempotent=True)

    async def main():
        tasks = [asyncio.create_task(step(number)) for number in range(1000)]
        await asyncio.wait(tasks)
        return [task.result() for task in tasks], now()

    assert run_virtual(main) == (list(range(1000)), 1.5)
    assert sum(begun.values()) == 1500


def test_one_object_serves_two_loops():
    step = hedged(Calls((9, "a"), (2, "b"), (9, "c"), (2, "d")))
    assert [run_virtual(lambda: step(0)) for _ in range(2)] == ["b", "d"]


def test_a_call_in_time_costs_one_task():
    async def main():
        made = []
        loop = asyncio.get_running_loop()

        def make(loop, coroutine, **options):
            made.append(coroutine)
            return asyncio.Task(coroutine, loop=loop, **options)

        loop.set_task_factory(make)
        await hedged(Calls((0.5, "a")))(0)
        loop.set_task_factory(None)
        return len(made)

    assert run_virtual(main) == 1


# Configuration


def test_a_step_that_is_not_idempotent_is_refused():
    for unsure in ({}, {"idempotent": False}, {"idempotent": 1}):
        with pytest.raises(ConfigurationError, match="can be called twice without harm"):
            HedgePrimitive(len, 1, **unsure)


def test_a_step_can_say_itself_that_it_is_idempotent():
    step = LambdaPrimitive(len)
    step.is_idempotent = True
    assert HedgePrimitive(step, 1).run_sync("four") == 4
    step.is_idempotent = "yes"
    with pytest.raises(ConfigurationError):
        HedgePrimitive(step, 1)


@pytest.mark.parametrize("odd", [-1, math.nan, math.inf, True, "5"], ids=repr)
@pytest.mark.parametrize("name", ["delay_seconds", "quantile", "max_hedges"])
def test_a_number_that_means_nothing_is_refused(name, odd):
    with pytest.raises(ConfigurationError, match=f"HedgePrimitive: {name}="):
        HedgePrimitive(len, idempotent=True, **{name: odd})


@pytest.mark.parametrize("name", ["quantile", "max_hedges"])
@pytest.mark.parametrize("odd", [0, None], ids=repr)
def test_nothing_is_refused_where_it_means_nothing(name, odd):
    with pytest.raises(ConfigurationError, match=f"HedgePrimitive: {name}="):
        HedgePrimitive(len, idempotent=True, **{name: odd})
