"""What notes say in a few words, with their tone beside."""

import asyncio

import pytest
from ended_run import run_of

from tta_notebook import (
    Budget,
    CachePrimitive,
    CircuitBreakerPrimitive,
    FallbackPrimitive,
    LambdaPrimitive,
    LLMPrimitive,
    Price,
    PriceBook,
    RetryPrimitive,
    TimeoutPrimitive,
    configure,
)
from tta_notebook.core.standing import standing
from tta_notebook.llm.backends.scripted import Reply, ScriptedModel
from tta_notebook.notebook.display import run_text
from tta_notebook.notebook.picture import run_html
from tta_notebook.notebook.rows import rows_of


def badges_of(workflow, value="x", **options):
    run = run_of(workflow, value, **options)
    return run, [(badge.text, badge.tone) for row in rows_of(run) for badge in row.badges]


def down(value):
    raise ConnectionError("lost")


@pytest.fixture
def priced():
    before = standing.prices
    # $1 a token of output, nothing for input.
    price = Price(input_per_1m=0, output_per_1m=1_000_000)
    configure(prices=PriceBook(overrides={"openai:m": price}, bundled=False))
    yield LLMPrimitive(
        "openai:m", backend=ScriptedModel([Reply("one two")] * 3), max_output_tokens=5
    )
    configure(prices=before)


@pytest.mark.parametrize(("name", "is_below"), [("kept", False), ("kept for " * 3, True)])
def test_a_badge_that_would_be_cut_off_beside_its_step_stands_below(name, is_below):
    run, badges = badges_of(CachePrimitive(LambdaPrimitive(len), name=name))
    assert ("cache miss", "neutral") in badges
    assert ('<tr class="tta-more">' in run_html(run)) == is_below


def test_a_retry_says_which_attempt_of_how_many_why_and_when():
    retry = RetryPrimitive(LambdaPrimitive(down), max_retries=1, initial_delay=0.001, jitter=False)
    _, badges = badges_of(retry)
    assert ("attempt 2 of 2 after 1.0 ms: ConnectionError: lost", "warn") in badges
    assert ("gave up after 2 attempts: exhausted", "bad") in badges


def test_a_fallback_names_where_it_went():
    _, badges = badges_of(FallbackPrimitive(down, [LambdaPrimitive(str, name="second")]))
    assert ("fell back to second: ConnectionError: lost", "warn") in badges


def test_a_breaker_that_opens_is_bad():
    breaker = CircuitBreakerPrimitive(LambdaPrimitive(down), failure_threshold=1)
    _, badges = badges_of(breaker)
    (text, tone) = badges[0]
    assert text.startswith("breaker open: ")
    assert tone == "bad"


def test_a_breaker_says_for_which_key_and_a_step_whose_circuit_it_closed():
    guarded = CircuitBreakerPrimitive(down, failure_threshold=1, key=str, name="guarded")

    def tend(region):
        guarded.reset(region)

    _, opened = badges_of(guarded, "eu")
    assert ("breaker open for eu: 1 failures in a row", "bad") in opened
    _, closed = badges_of(LambdaPrimitive(tend), "eu")
    assert closed == [("breaker guarded closed for eu: it was closed by hand", "good")]


def test_a_timeout_says_what_came_instead():
    slow = TimeoutPrimitive(LambdaPrimitive(lambda _: asyncio.sleep(9)), timeout_seconds=0.002)
    _, badges = badges_of(slow)
    assert badges[0] == ("timed out after 2.0 ms", "bad")


def test_a_hit_shows_the_dollars_that_its_call_had_cost(priced):
    cached = CachePrimitive(priced, ttl_seconds=60)
    run, badges = badges_of(cached >> (lambda _: "x") >> cached)
    assert run.cost_usd
    (hit,) = [badge for badge in badges if badge[0].startswith("hit")]
    assert hit[1] == "good"
    cost = f"${run.cost_usd:.2f}"
    assert hit[0].endswith(f"saved {run.usage.total_tokens} tokens · {cost}")


def test_a_hit_of_an_earlier_run_shows_the_dollars_too(priced):
    cached = CachePrimitive(priced, ttl_seconds=60)
    first, _ = badges_of(cached)
    _, badges = badges_of(cached)
    assert [text.rpartition(" · ")[2] for text, _ in badges] == [f"${first.cost_usd:.2f}"]


def test_a_budget_is_a_meter_with_its_words(priced):
    run, badges = badges_of(priced, budget=Budget(10))
    (text, tone) = badges[0]
    assert text == f"budget ${run.cost_usd:.2f} of $10.00"
    assert tone == "neutral"
    assert f'value="{run.cost_usd / 10:.2f}"></meter>{text}' in run_html(run)
    assert text in run_text(run)


def test_a_note_of_ones_own_is_shown_whatever_its_name_is():
    async def step(value, context):
        context.note("cache", mine=3)
        context.note("weighed", grams=1.5, is_full=True)

    _, badges = badges_of(LambdaPrimitive(step))
    assert badges == [("cache mine 3", "neutral"), ("weighed grams 1.5 is full: yes", "neutral")]
