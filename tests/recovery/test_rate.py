"""RateLimit: what it lets through per minute, who waits, what is given back."""

import asyncio
import math
import pickle
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tta_notebook import (
    ConfigurationError,
    LambdaPrimitive,
    LimitExceededError,
    LLMPrimitive,
    PlannedCall,
    Reply,
    ScriptedModel,
    Usage,
    WorkflowContext,
    capture,
)
from tta_notebook.core import clock
from tta_notebook.core.travel import Trip, travelling
from tta_notebook.recovery.rate import RateLimit
from tta_notebook.recovery.rate_headers import allowance, duration_s
from tta_notebook.testing import cancel_everywhere, run_virtual

NOBODY = WorkflowContext()


def now():
    return asyncio.get_running_loop().time()


async def times(limit, amounts, context=NOBODY):
    """Acquire all amounts at once, and return when each was let through."""

    async def one(amount):
        try:
            await limit.acquire(amount, context)
        except LimitExceededError as error:
            return error
        return round(now(), 6)

    return await asyncio.gather(*(one(amount) for amount in amounts))


# Requests and tokens


def test_a_full_minute_may_be_used_at_once_and_then_it_goes_evenly():
    limit = lambda: RateLimit(requests_per_minute=60)  # noqa: E731
    assert run_virtual(lambda: times(limit(), [0] * 63)) == [0] * 60 + [1, 2, 3]


def test_a_burst_can_be_smaller():
    async def main():
        return await times(RateLimit(requests_per_minute=60, burst=0.05), [0] * 5)

    assert run_virtual(main) == [0, 0, 0, 1, 2]


def test_tokens_are_limited_as_well():
    async def main():
        limit = RateLimit(requests_per_minute=600, tokens_per_minute=6000, burst=0.5)
        return await times(limit, [2000, 1000, 500, 100])

    # 3000 at once; then 100 a second: 500 more after 5 s, 100 more after 6 s.
    assert run_virtual(main) == [0, 0, 5, 6]


def test_a_large_call_is_not_overtaken_by_small_ones():
    async def main():
        limit = RateLimit(tokens_per_minute=60, burst=1.0)
        await limit.acquire(60, NOBODY)
        return await times(limit, [40, 1, 1])

    assert run_virtual(main) == [40, 41, 42]


def test_what_can_never_be_had_is_refused_at_once():
    async def main():
        limit = RateLimit(tokens_per_minute=6000, burst=0.5, name="tier 1")
        (error,) = await times(limit, [3001])
        return error, now()

    error, at = run_virtual(main)
    assert at == 0
    assert (error.limit, error.retryable) == ("tier 1", False)
    assert "a call needs 3001 tokens, and no more than 3000 can be had at once" in str(error)


def test_an_amount_that_is_no_number_is_refused():
    (error,) = run_virtual(lambda: times(RateLimit(tokens_per_minute=10), [math.nan]))
    assert isinstance(error, LimitExceededError)


@pytest.mark.parametrize("how", ["deadline", "max_wait"])
def test_who_cannot_be_served_in_time_is_refused_at_once(how):
    async def main():
        limit = RateLimit(
            requests_per_minute=60,
            burst=1 / 60,
            max_wait_seconds=2.5 if how == "max_wait" else None,
        )
        context = WorkflowContext().within(2.5) if how == "deadline" else NOBODY
        *served, refused = await times(limit, [0] * 4, context)
        return served, refused.retry_after

    # The third in line would be served after three seconds.
    assert run_virtual(main) == ([0, 1, 2], pytest.approx(3))


# Settling


def test_what_was_not_used_is_given_back():
    async def main():
        limit = RateLimit(tokens_per_minute=600)
        hold = await limit.acquire(500, NOBODY)
        assert limit.free("tokens") == 100
        hold.settle(Usage(input_tokens=20, output_tokens=30))
        hold.settle(Usage(input_tokens=20, output_tokens=30))
        hold.release()
        return limit.free("tokens"), limit.free("requests")

    assert run_virtual(main) == (550, math.inf)


def test_what_was_used_beyond_it_is_a_debt():
    async def main():
        limit = RateLimit(tokens_per_minute=600)
        hold = await limit.acquire(500, NOBODY)
        hold.settle(Usage(input_tokens=900))
        assert limit.free("tokens") == -300
        return await times(limit, [100])

    assert run_virtual(main) == [40]  # 400 at 10 a second


def test_a_call_that_was_never_sent_gives_back_everything():
    async def main():
        limit = RateLimit(requests_per_minute=60, tokens_per_minute=600)
        hold = await limit.acquire(500, NOBODY)
        hold.release()
        hold.settle(Usage(input_tokens=900))
        return limit.free("requests"), limit.free("tokens")

    assert run_virtual(main) == (60, 600)


def test_who_waits_is_served_when_something_is_given_back():
    async def main():
        limit = RateLimit(tokens_per_minute=60)
        hold = await limit.acquire(60, NOBODY)
        asyncio.get_running_loop().call_later(3, hold.release)
        return await times(limit, [50])

    assert run_virtual(main) == [3]


def test_a_result_that_reports_nothing_leaves_the_reservation():
    async def main():
        limit = RateLimit(tokens_per_minute=600)
        (await limit.acquire(500, NOBODY)).settle(None)
        return limit.free("tokens")

    assert run_virtual(main) == 100


# As a guard of models


def test_as_a_guard_it_limits_every_model_of_a_run_by_what_it_really_used():
    async def main():
        limit = RateLimit(tokens_per_minute=600)
        model = ScriptedModel([Reply("a b", usage=Usage(input_tokens=10, output_tokens=20))] * 2)
        step = LLMPrimitive(model, max_output_tokens=400)
        await step("hello", WorkflowContext().using(guards=(limit,)))
        return limit.free("tokens")

    assert run_virtual(main) == 570


def test_a_planned_call_is_held_at_its_input_and_the_most_of_its_output():
    async def main():
        limit = RateLimit(tokens_per_minute=600)
        hold = await limit.reserve(PlannedCall("m", 100, 400, NOBODY))
        assert hold.max_output_tokens is None
        return limit.free("tokens")

    assert run_virtual(main) == 100


# What providers say


def test_a_provider_that_says_how_little_is_left_is_believed():
    async def main():
        limit = RateLimit(requests_per_minute=60, tokens_per_minute=6000)
        limit.observe({"X-RateLimit-Remaining-Tokens": "50", "x-ratelimit-remaining-requests": 99})
        return limit.free("tokens"), limit.free("requests")

    assert run_virtual(main) == (50, 60)


def test_with_nothing_left_it_waits_until_the_reset():
    async def main():
        limit = RateLimit(tokens_per_minute=6000)
        limit.observe({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "12s"})
        return await times(limit, [5000, 1])

    assert run_virtual(main) == [12, 12]


def test_retry_after_holds_everybody():
    async def main():
        limit = RateLimit(requests_per_minute=60)
        limit.observe({}, retry_after_s=7)
        limit.observe({}, retry_after_s=math.nan)
        return await times(limit, [0, 0])

    assert run_virtual(main) == [7, 7]


def test_anthropics_headers_are_read_too():
    async def main():
        reset = datetime.now(UTC) + timedelta(seconds=30)
        headers = {
            "anthropic-ratelimit-tokens-remaining": "0",
            "anthropic-ratelimit-tokens-reset": reset.isoformat().replace("+00:00", "Z"),
        }
        return allowance(headers, "tokens")

    found = asyncio.run(main())
    assert found.remaining == 0
    assert found.reset_s == pytest.approx(30, abs=5)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20", 20),
        ("0.5", 0.5),
        ("20ms", 0.02),
        ("6m0s", 360),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400),
        (" 7S ", 7),
        ("soon", None),
        ("", None),
        ("-3", None),
        ("nan", None),
        ("inf", None),
        ("5s later", None),
        ("2026-01-01T00:00:00", None),
        ("1999-01-01T00:00:00Z", 0),
    ],
)
def test_durations_are_read_in_every_usual_form(text, seconds):
    assert duration_s(text) == seconds


@given(st.text())
def test_no_header_whatever_breaks_it(text):
    found = duration_s(text)
    assert found is None or 0 <= found < math.inf
    allowance({"x-ratelimit-remaining-tokens": text}, "tokens")


def test_headers_that_say_nothing_change_nothing():
    limit = RateLimit(requests_per_minute=60)
    limit.observe({"x-ratelimit-remaining-requests": "many", "date": "today"})
    assert limit.free("requests") == 60
    assert allowance({}, "requests") is None


# Under attack


def test_every_cancellation_leaves_the_line_empty_and_nothing_taken():
    made = []

    async def main():
        limit = RateLimit(requests_per_minute=60, burst=1 / 60)
        made.append(limit)
        hold = await limit.acquire(0, NOBODY)
        async with asyncio.TaskGroup() as others:
            others.create_task(limit.acquire(0, NOBODY))
            await asyncio.sleep(0)
            await limit.acquire(0, NOBODY)
        return hold is not None

    def check(_):
        limit = made[-1]
        assert (limit._turn.free, limit._turn.waiting, limit._first) == (1, 0, None)
        assert limit._queued == {"requests": 0}

    assert cancel_everywhere(main, check=check).suspensions > 0
    assert cancel_everywhere(main, every_task=True, check=check).suspensions > 0


def test_a_thousand_at_once_never_pass_the_limit():
    async def main():
        return await times(RateLimit(requests_per_minute=600, burst=0.1), [0] * 1000)

    passed = run_virtual(main)
    assert passed == sorted(passed)
    assert passed.count(0) == 60
    assert passed[-1] == pytest.approx(94)  # 940 more at ten a second


def test_threads_share_it():
    limit = RateLimit(requests_per_minute=6000, burst=0.005)  # 30 at once, then 100 a second
    passed = []

    def work():
        async def main():
            for _ in range(5):
                await limit.acquire(0, NOBODY)
                passed.append(clock.monotonic())

        asyncio.run(main())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 40
    assert max(passed) - min(passed) > 0.09  # ten more than at once, at 100 a second


def test_the_trace_tells_of_waiting_and_of_refusals():
    limit = RateLimit(requests_per_minute=60, burst=1 / 60, name="tier 1", max_wait_seconds=1.5)

    async def ask(_, ctx):
        await limit.acquire(0, ctx)

    async def main():
        step = LambdaPrimitive(ask)
        await asyncio.gather(*(step(0) for _ in range(3)), return_exceptions=True)

    with capture() as spans:
        run_virtual(main)
    notes = [dict(note.data) for span in spans for note in span.noted("rate_limit")]
    assert notes == [
        {"limit": "tier 1", "refused": True, "wait_s": pytest.approx(2)},
        {"limit": "tier 1", "waited_s": pytest.approx(1)},
    ]


class RateMachine(RuleBasedStateMachine):
    """Against a naive model: amounts let through in any time t are at most capacity + rate * t."""

    @initialize(rate=st.sampled_from([60, 600]), burst=st.sampled_from([0.1, 1.0]))
    def begin(self, rate, burst):
        self.now_ns = 10**12
        self.previous, clock.source = clock.source, lambda: self.now_ns
        self.limit = RateLimit(tokens_per_minute=rate, burst=burst)
        self.rate, self.capacity = rate / 60, rate * burst
        self.level, self.holds = self.capacity, []

    def teardown(self):
        if hasattr(self, "previous"):
            clock.source = self.previous

    @rule(amount=st.integers(1, 60))
    def take(self, amount):
        asked = {"tokens": amount}
        taken = self.limit._take(asked)
        assert taken == (self.level >= amount - 1e-6)
        if taken:
            self.level -= amount
            self.holds.append(amount)

    @rule(used=st.integers(0, 80))
    def settle(self, used):
        if self.holds:
            amount = self.holds.pop()
            self.limit.give_back({"tokens": amount - used})
            self.level = min(self.capacity, self.level + amount - used)

    @rule(seconds=st.sampled_from([1, 5, 60]))
    def wait(self, seconds):
        self.now_ns += seconds * 10**9
        self.level = min(self.capacity, self.level + seconds * self.rate)

    @invariant()
    def they_agree(self):
        if hasattr(self, "limit"):
            assert self.limit.free("tokens") == pytest.approx(self.level)


RateMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestRates = RateMachine.TestCase


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *[
            (field, wrong)
            for field in ("requests_per_minute", "tokens_per_minute")
            for wrong in (0, -1, math.nan, math.inf, True, "60")
        ],
        *[("burst", wrong) for wrong in (0, -1, 1.5, math.nan, True, "1")],
        *[("max_wait_seconds", wrong) for wrong in (-1, math.nan, math.inf, True, "1")],
    ],
    ids=repr,
)
def test_bad_configuration_is_refused_and_named(field, wrong):
    options = {"requests_per_minute": 60} | {field: wrong}
    with pytest.raises(ConfigurationError, match=f"^RateLimit: {field}="):
        RateLimit(**options)


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(ConfigurationError, match="Give at least one"):
        RateLimit()


def test_a_copy_in_another_process_would_be_another_limit():
    with pytest.raises(TypeError, match="a limit of its own"):
        pickle.dumps(RateLimit(requests_per_minute=1))


# Copies in other processes


def copies(limit, shares):
    with travelling(Trip(shares)):
        blob = pickle.dumps(limit)
    return [pickle.loads(blob) for _ in range(shares)]  # noqa: S301 - our own bytes


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.floats(0.02, 1), st.integers(1, 8), st.integers(0, 100))
def test_all_copies_together_let_through_what_the_limit_would(rate, burst, shares, used):
    horizon_s = 60

    async def main():
        limit = RateLimit(requests_per_minute=rate, burst=burst)
        capacity = limit.free("requests")
        limit.give_back({"requests": -used})
        if capacity < shares:
            with pytest.raises(ConfigurationError, match=f"divided among {shares} worker"):
                copies(limit, shares)
            return
        level, let_through = limit.free("requests"), []

        async def ask(copy):
            while True:
                await copy.acquire(0, NOBODY)
                if now() > horizon_s:
                    return
                let_through.append(now())

        await asyncio.gather(*map(ask, copies(limit, shares)))
        for number, at_s in enumerate(sorted(let_through), 1):
            assert number <= level + rate / 60 * at_s + 1e-6
        # Nor much less: a copy wastes less than a request before and after.
        assert len(let_through) >= level + rate / 60 * horizon_s - 2 * shares

    run_virtual(main)


def test_copies_divide_tokens_and_what_was_taken_of_them():
    async def main():
        limit = RateLimit(tokens_per_minute=6_000, burst=0.5, name="tier 1")
        await limit.acquire(1_000, NOBODY)
        first, *others = copies(limit, 4)
        assert [copy.free("tokens") for copy in (first, *others)] == pytest.approx([500] * 4)
        assert not first.limits("requests")
        await asyncio.sleep(5)
        assert first.free("tokens") == pytest.approx(500 + 5 * 25)
        await asyncio.sleep(60)
        assert first.free("tokens") == pytest.approx(750)
        with pytest.raises(LimitExceededError, match="than 750 of this share of 4 can be had"):
            await first.acquire(751, NOBODY)
        again, _ = copies(first, 2)
        with pytest.raises(LimitExceededError, match="than 375 of this share of 8 can be had"):
            await again.acquire(376, NOBODY)

    run_virtual(main)


def test_copies_wait_as_long_as_the_provider_said():
    async def main():
        limit = RateLimit(requests_per_minute=600)
        limit.observe({}, retry_after_s=7)
        spent = RateLimit(requests_per_minute=600)
        reset = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9s"}
        spent.observe(reset)
        await asyncio.sleep(2)
        ends = []
        for (copy, _), left_s in ((copies(limit, 2), 5), (copies(spent, 2), 7)):
            start = now()
            await copy.acquire(0, NOBODY)
            ends.append((round(now() - start, 6), left_s))
            await asyncio.sleep(0)
        return ends

    # The second copy was made when the first had waited.
    assert run_virtual(main) == [(5, 5), (2, 7)]


def test_a_copy_keeps_who_waits_in_line_at_home():
    async def main():
        limit = RateLimit(requests_per_minute=60, burst=0.05, max_wait_seconds=30, name="slow")
        waiting = asyncio.create_task(times(limit, [0] * 5))
        await asyncio.sleep(0.5)
        (copy,) = copies(limit, 1)
        assert (copy.name, copy.max_wait_seconds) == ("slow", 30)
        assert await times(copy, [0]) == [1.0]
        return await waiting

    assert run_virtual(main) == [0, 0, 0, 1, 2]


def test_refusals_say_all_there_is_to_say():
    async def main():
        limit = RateLimit(tokens_per_minute=600, burst=0.5, max_wait_seconds=2, name="tier 1")
        _, late, large = await times(limit, [300, 100, 301])
        return str(late), late.limit, late.retry_after, str(large), large.limit

    assert run_virtual(main) == (
        (
            "RateLimit 'tier 1': a call would wait 10 s for its turn, and has 2 s. Call again "
            "later, allow more time, or raise the limit."
        ),
        "tier 1",
        pytest.approx(10),
        (
            "RateLimit 'tier 1': a call needs 301 tokens, and no more than 300 can be had at once, "
            "so it would wait for ever. Make the call smaller (max_output_tokens counts in full), "
            "or raise tokens_per_minute or burst."
        ),
        "tier 1",
    )


def test_an_input_that_cannot_be_counted_counts_for_nothing():
    async def main():
        limit = RateLimit(tokens_per_minute=600)
        await limit.reserve(PlannedCall("m", None, 400, NOBODY))
        return limit.free("tokens")

    assert run_virtual(main) == 200


def test_a_guards_wait_ends_at_the_deadline_of_the_call():
    async def main():
        limit = RateLimit(tokens_per_minute=600)
        await limit.acquire(600, NOBODY)
        with pytest.raises(LimitExceededError, match="has 3 s"):
            await limit.reserve(PlannedCall("m", 100, 400, WorkflowContext().within(3)))
        return now()

    assert run_virtual(main) == 0


def test_who_has_just_the_time_waits():
    async def main():
        limit = RateLimit(requests_per_minute=60, burst=1 / 60, max_wait_seconds=1)
        return await times(limit, [0, 0])

    assert run_virtual(main) == [0, 1]


def test_a_little_left_with_a_reset_is_a_little_left():
    async def main():
        limit = RateLimit(tokens_per_minute=6000)
        limit.observe({"x-ratelimit-remaining-tokens": "50", "x-ratelimit-reset-tokens": "12s"})
        return await times(limit, [50, 100])

    assert run_virtual(main) == [0, 1]


def test_moments_to_wait_for_are_short_ones():
    async def main():
        limit = RateLimit(requests_per_minute=60)
        limit.observe({}, retry_after_s=0.25)
        limit.observe({}, retry_after_s=0.125)
        limit.observe({}, retry_after_s=math.inf)
        return await times(limit, [0])

    assert run_virtual(main) == [0.25]


def test_the_line_counts_what_it_waits_for():
    async def main():
        limit = RateLimit(tokens_per_minute=60)
        await limit.acquire(60, NOBODY)
        first = asyncio.create_task(limit.acquire(20, NOBODY))
        await asyncio.sleep(0)
        with pytest.raises(LimitExceededError) as caught:
            await limit.acquire(10, WorkflowContext().within(25))
        await first
        return caught.value.retry_after, now()

    assert run_virtual(main) == (pytest.approx(30), pytest.approx(20))
