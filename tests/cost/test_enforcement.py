"""BudgetEnforcementPrimitive: per execution and per day, whatever is inside."""

import asyncio

import pytest
from provider import DOLLAR, Provider, llm

from tta_notebook import (
    BudgetEnforcementPrimitive,
    BudgetExceededError,
    CachePrimitive,
    ConfigurationError,
    FallbackPrimitive,
    Ledger,
    MockPrimitive,
    ParallelPrimitive,
    UnboundedCostError,
    WorkflowContext,
)
from tta_notebook.testing import run_virtual


def costly(dollars=6, *, takes_s=0.1):
    """A step that asks a model behind everybody's back, and reports it."""
    calls = []

    async def ask(text):
        calls.append(text)
        await asyncio.sleep(takes_s)
        return {"text": text, "model": "m", "usage": {"completion_tokens": dollars}}

    ask.calls = calls
    return ask


def test_twenty_calls_of_six_dollars_against_ten_spend_at_most_ten():
    ledger, step = Ledger(DOLLAR), costly()
    kept = BudgetEnforcementPrimitive(step, 6, 10, ledger)

    async def main():
        return await asyncio.gather(*(kept(n) for n in range(20)), return_exceptions=True)

    results = run_virtual(main)
    refused = [result for result in results if isinstance(result, BudgetExceededError)]
    assert (len(refused), len(step.calls)) == (19, 1)
    assert ledger.total_usd == 6
    assert kept.day.status().spent_usd == 6
    assert refused[0].limit_usd == 10
    assert refused[0].spent_usd <= 6


def test_the_same_with_models_that_a_budget_can_see():
    ledger, provider = Ledger(DOLLAR), Provider(words=6)
    kept = BudgetEnforcementPrimitive(llm(provider), 6, 10, ledger)

    async def main():
        return await asyncio.gather(*(kept("x") for _ in range(20)), return_exceptions=True)

    results = run_virtual(main)
    # The first takes six, the second what is left; its answer is capped to four tokens.
    assert sorted(provider.asked) == [4, 6]
    assert sum(isinstance(result, str) for result in results) == 2
    assert ledger.total_usd == kept.day.status().spent_usd == 10


def test_a_step_in_which_no_model_can_be_seen_has_to_say_what_it_may_cost():
    with pytest.raises(ConfigurationError, match=r"max_cost_per_request=…"):
        BudgetEnforcementPrimitive(MockPrimitive(return_value={"usage": {}}), max_daily_cost=10)
    with pytest.raises(ConfigurationError, match="at least one"):
        BudgetEnforcementPrimitive(len)
    with pytest.raises(ConfigurationError, match="usd"):
        BudgetEnforcementPrimitive(len, float("nan"))


def test_one_execution_may_ask_many_models_and_has_one_limit():
    provider = Provider(words=3)
    step = ParallelPrimitive([llm(provider)] * 2)
    kept = BudgetEnforcementPrimitive(step, 5, 100, Ledger(DOLLAR))
    run_virtual(lambda: kept("x"))
    assert kept.ledger.total_usd == 5
    run_virtual(lambda: kept("x"))
    assert provider.asked == [5, 2, 5, 2]
    assert kept.day.status().spent_usd == 10


def test_a_limit_per_execution_alone_has_no_day():
    kept = BudgetEnforcementPrimitive(llm(Provider(words=9)), 4, ledger=Ledger(DOLLAR))
    assert kept.day is None
    assert run_virtual(lambda: kept("x")) == "w w w w "


def test_what_fails_behind_everybodys_back_is_taken_to_have_cost_the_most():
    async def fail(_):
        raise ConnectionError

    kept = BudgetEnforcementPrimitive(fail, 6, 10, Ledger(DOLLAR))
    with pytest.raises(ConnectionError):
        run_virtual(lambda: kept("x"))
    assert kept.day.status().spent_usd == 6


def test_what_reports_a_model_without_a_price_is_taken_to_have_cost_the_most():
    step = MockPrimitive(return_value={"model": "mystery", "usage": {"output_tokens": 1}})
    kept = BudgetEnforcementPrimitive(step, 6, 10, Ledger(DOLLAR))
    kept.run_sync("x")
    assert kept.day.status().spent_usd == 6
    assert kept.ledger.unpriced == 1


def test_what_is_reported_beside_the_calls_of_models_is_refused_the_next_time():
    kept = BudgetEnforcementPrimitive(
        FallbackPrimitive(costly(2), llm(Provider())), 5, 10, Ledger(DOLLAR)
    )
    run_virtual(lambda: kept("x"))
    assert kept.ledger.total_usd == 2
    with pytest.raises(UnboundedCostError, match="afterwards"):
        run_virtual(lambda: kept("x"))


def test_hits_of_a_cache_are_free_and_let_through():
    kept = BudgetEnforcementPrimitive(CachePrimitive(costly()), 6, 6, Ledger(DOLLAR))
    run_virtual(lambda: kept("x"))
    with pytest.raises(BudgetExceededError):
        run_virtual(lambda: kept("x"))  # from outside nobody can tell that it would be a hit
    inside = CachePrimitive(BudgetEnforcementPrimitive(costly(), 6, 6, Ledger(DOLLAR)))
    run_virtual(lambda: inside("x"))
    assert run_virtual(lambda: inside("x"))["text"] == "x"


def test_a_stream_keeps_to_its_budget_and_is_booked_to_where_it_was_read():
    kept = BudgetEnforcementPrimitive(llm(Provider(words=9)), 6, 10, Ledger(DOLLAR))

    async def main():
        stream = kept.stream("x")
        read = [await anext(stream) for _ in range(2)]
        await stream.aclose()
        return read

    assert [chunk.content for chunk in run_virtual(main)] == ["w ", "w "]
    status = kept.day.status()
    assert (status.spent_usd, status.held_usd) == (2, 0)


def test_every_user_has_a_day_of_its_own():
    kept = BudgetEnforcementPrimitive(costly(), 6, 6, Ledger(DOLLAR), scope="user")
    for user in ("a", "b"):
        run_virtual(lambda user=user: kept("x", WorkflowContext(user_id=user)))
    with pytest.raises(BudgetExceededError, match="user a"):
        run_virtual(lambda: kept("x", WorkflowContext(user_id="a")))


def test_nested_budgets_that_wait_for_each_other_end_with_an_error():
    inner = BudgetEnforcementPrimitive(costly(), 6, 100, Ledger(DOLLAR))
    # The same budget around the outer step and inside of it: the outer one holds what the inner
    # one waits for.
    outer = BudgetEnforcementPrimitive(inner, 6, 10, Ledger(DOLLAR))
    inner.day = outer.day
    with pytest.raises(BudgetExceededError, match="max_wait_seconds"):
        run_virtual(lambda: outer("x"))
