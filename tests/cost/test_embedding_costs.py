"""Embeddings are calls to models, too: booked, budgeted, free where they are local."""

import asyncio

import pytest

from tta_notebook import (
    Budget,
    BudgetExceededError,
    Cassette,
    EmbeddingPrimitive,
    Ledger,
    Price,
    PriceBook,
    UnboundedCostError,
    WorkflowContext,
    capture,
)
from tta_notebook.testing import run_virtual

PRICES = PriceBook(overrides={"e": Price(input_per_1m=1_000_000, output_per_1m=0)}, bundled=False)


class Embedder:
    """Embeds words; every word is a token and costs a dollar."""

    name = "e"
    provider = "tests"

    def __init__(self, *, fails=False):
        self.billed = 0
        self.fails = fails

    async def count_tokens(self, texts):
        return sum(len(text.split()) for text in texts)

    async def embed(self, texts):
        if self.fails:
            raise ConnectionError
        await asyncio.sleep(1)
        self.billed += await self.count_tokens(texts)
        return [[1.0, float(len(text))] for text in texts]


def within(*guards):
    return WorkflowContext(user_id="u").using(guards=guards, prices=PRICES)


def test_an_embedding_is_booked_in_batches_and_on_its_span():
    ledger, embedder = Ledger(), Embedder()
    step = EmbeddingPrimitive(embedder, batch_size=2)
    with capture() as spans:
        run_virtual(lambda: step(["a b", "c", "d"], within(ledger)))
    assert ledger.total_requests == 2
    assert ledger.total_usd == embedder.billed == 4
    assert ledger.by("user") == {"u": 4}
    assert ledger.by("provider") == {"tests": 4}
    assert spans[0].cost_usd == spans[0].run.cost_usd == 4


def test_a_budget_refuses_what_it_cannot_pay_before_it_is_asked():
    budget, embedder = Budget(3), Embedder()
    step = EmbeddingPrimitive(embedder)
    run_virtual(lambda: step("a b", within(budget)))
    with pytest.raises(BudgetExceededError):
        run_virtual(lambda: step("c d", within(budget)))
    assert embedder.billed == budget.status().spent_usd == 2


def test_what_fails_is_given_back_and_what_is_cancelled_is_estimated():
    budget = Budget(9)
    with pytest.raises(ConnectionError):
        run_virtual(lambda: EmbeddingPrimitive(Embedder(fails=True))("a b", within(budget)))
    assert budget.status().left_usd == 9

    async def cancel():
        call = asyncio.create_task(EmbeddingPrimitive(Embedder())("a b", within(budget)))
        await asyncio.sleep(0.5)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    run_virtual(cancel)
    status = budget.status()
    assert (status.spent_usd, status.held_usd) == (2, 0)


def test_a_function_without_a_price_is_refused_and_the_local_encoder_is_free():
    step = EmbeddingPrimitive(lambda texts: [[1.0] for _ in texts])
    with pytest.raises(UnboundedCostError):
        run_virtual(lambda: step("x", WorkflowContext().using(guards=[Budget(1)])))
    context = WorkflowContext().using(guards=[Budget(0)])
    assert len(EmbeddingPrimitive("local").run_sync("x", context)) == 512


def test_a_replayed_embedding_costs_nothing_unless_it_is_to_count(tmp_path):
    path = tmp_path / "vectors.jsonl"
    step = EmbeddingPrimitive(Embedder())
    with Cassette(path):
        run_virtual(lambda: step("a b", within()))
    live, all_of_it = Ledger(), Ledger(counts_replays=True)
    with Cassette(path):
        run_virtual(lambda: step("a b", within(live, all_of_it)))
    assert (live.total_requests, all_of_it.total_usd) == (0, 2)
    assert all_of_it.by("source") == {"replay": 2}
