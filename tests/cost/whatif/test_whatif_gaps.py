"""What records lack is counted and said, and never taken for nothing."""

import asyncio
import datetime as dt

import pytest

from tta_notebook import (
    CachePrimitive,
    ConfigurationError,
    EmbeddingPrimitive,
    LLMPrimitive,
    ModelDelta,
    Price,
    PriceBook,
    Reply,
    RetryPrimitive,
    RouterPrimitive,
    ScriptedModel,
    SemanticCachePrimitive,
    Usage,
    WorkflowContext,
    capture,
    configured,
)
from tta_notebook.cost.whatif import WhatIf
from tta_notebook.observability.history import History
from tta_notebook.testing import run_virtual

BOOK = PriceBook(
    overrides={
        "big": Price(input_per_1m=10**6, output_per_1m=10**6, cached_input_per_1m=0),
        "small": Price(input_per_1m=10**5, output_per_1m=10**5),
    },
    bundled=False,
)
LOST = ConnectionError("lost")


def llm(*replies, name="big", step="model"):
    script = replies or [Reply("yes", usage=Usage(3, 4))] * 20
    return LLMPrimitive(ScriptedModel(script, name=name), name=step)


def ran(*steps, inputs="x"):
    async def main():
        runs = [step.start(x, WorkflowContext("w")) for step in steps for x in inputs]
        await asyncio.gather(*runs, return_exceptions=True)
        return runs

    with capture(), configured(prices=BOOK):
        return run_virtual(main)


def says(answer, text):
    return any(text in caveat for caveat in answer.caveats)


def test_everything_together_is_the_same_from_a_history_its_records_and_live_runs(tmp_path):
    flaky = RetryPrimitive(
        llm(LOST, Reply("yes", usage=Usage(3, 4)), LOST, LOST, LOST),
        2, "constant", 1, jitter=False, budget=None, name="again",
    )  # fmt: skip
    routed = RouterPrimitive({"smart": flaky, "fast": llm(name="small")}, lambda x: "smart")
    step = CachePrimitive(routed, name="answers")

    async def main():
        runs = []
        for asked in "aab":
            runs.append(step.start(asked, WorkflowContext("w", user_id="u")))
            await asyncio.gather(runs[-1], return_exceptions=True)
            await asyncio.sleep(10)
        return runs

    with History(tmp_path / "history.db") as history, configured(prices=BOOK):
        runs = run_virtual(main)
        records = history.runs()
    asked = [WhatIf(source, prices=BOOK) for source in (history, records, runs)]
    for question in (
        repr,
        lambda it: str(it.cache(over="answers")),
        lambda it: str(it.cache([1, 2], [None, 5], over="answers")),
        lambda it: str(it.retry(0)),
        lambda it: str(it.retry(5)),
        lambda it: str(it.route(lambda call: "small" if call.route == "smart" else None)),
    ):
        assert len({question(each) for each in asked}) == 1
    curve = asked[0].cache(over="answers")
    # One call of seven dollars, a hit that saved the same, and one lookup that failed.
    assert (curve.lookups, curve.points[-1].hits, curve.points[-1].saved_usd) == (2, 1, 7)
    assert says(curve, "1 lookup that failed is left out")


def test_a_semantic_cache_cannot_be_asked():
    encoder = EmbeddingPrimitive(lambda texts: [[1.0, 0.0] for _ in texts], name="embed")
    step = SemanticCachePrimitive(llm(), embedder=encoder, name="alike")
    with pytest.raises(ConfigurationError, match="answers what is alike"):
        WhatIf(ran(step)).cache(over="alike")


def test_calls_without_a_key_of_their_request_are_left_out_of_a_cache():
    what_if = WhatIf(ran(llm(), inputs="xx"))
    what_if._trace.calls.request_key[0] = None
    curve = what_if.cache()
    assert curve.lookups == 1
    assert says(curve, "1 call has no key of its request")


def test_hits_whose_answer_was_made_before_the_records_have_tokens_and_no_price():
    step = CachePrimitive(llm(), name="answers")
    ran(step)
    later = ran(step) + ran(step)
    point = WhatIf(later).cache(over="answers").points[-1]
    assert (point.hits, point.tokens_saved, point.saved_usd, point.unpriced_hits) == (1, 7, 0, 1)
    assert says(WhatIf(later).cache(over="answers"), "1 hit has no known cost")


def test_a_model_is_priced_by_the_name_that_answered_if_the_other_has_no_price():
    class Alias:
        name, provider, source = "best", "x", "live"

        async def stream(self, request):
            yield ModelDelta("yes", model="small", usage=Usage(10, 10), finish_reason="stop")

    found = WhatIf(ran(LLMPrimitive(Alias())), prices=BOOK).reprice(prices=BOOK)
    assert (found.recorded_usd, found.new_usd, found.unpriced) == (2, 2, {})


def test_what_was_cached_at_the_recorded_model_is_so_at_the_lower_end():
    step = llm(
        Reply("yes", usage=Usage(10, 10, cached_input_tokens=4, reasoning_tokens=2)), name="small"
    )
    found = WhatIf(ran(step), prices=BOOK).reprice("big", token_ratio=(0.5, 2))
    # As recorded 6 + 10. Half: 5 - 2 + 5. Twice, nothing cached: 20 + 20.
    assert (found.new_usd, found.new_interval_usd) == (16, (8, 40))


def test_steps_that_report_tokens_and_no_model_stay_as_they_were():
    class Counting:
        name = "counting"

        async def embed(self, texts):
            return [[1.0] for _ in texts]

        async def count_tokens(self, texts):
            return 5

    found = WhatIf(ran(EmbeddingPrimitive(Counting())), prices=BOOK).reprice("small")
    assert [cost.model for cost in found.costs] == [None]
    assert says(found, "1 call names no model")
    assert found.new_usd == 0


def test_a_policy_is_told_that_nothing_came_back():
    seen = []
    WhatIf(ran(llm(LOST)), prices=BOOK).route(seen.append)
    assert [(call.usage, call.cost_usd, call.status, call.error_type) for call in seen] == [
        (None, None, "error", "ConnectionError")
    ]
    assert seen[0].time.tzinfo is not None


def test_retries_that_something_else_stopped_and_calls_without_a_price_are_told():
    async def judged(text):
        raise ConnectionError("no good")

    strict = RetryPrimitive(
        llm(name="mine") >> judged, 5, "constant", 3, jitter=False, budget=None, timeout_seconds=7
    )
    found = WhatIf(ran(strict), prices=BOOK).retry(9)
    assert says(found, "stopped by something else (deadline)")
    fewer = WhatIf(ran(strict), prices=BOOK).retry(0)
    assert fewer.saved_calls == 2
    assert says(fewer, "2 calls have no recorded cost")


def test_a_model_without_a_price_on_the_day_of_a_call_is_named():
    late = Price(input_per_1m=1, output_per_1m=1, valid_from=dt.date(2999, 1, 1))
    book = PriceBook(overrides={"big": late, "small": late}, bundled=False)
    found = WhatIf(ran(llm()), prices=book).reprice({"big": "small"}, at=dt.date(2999, 2, 1))
    assert found.new_usd > 0
    with pytest.raises(ConfigurationError, match="'small' has no price"):
        WhatIf(ran(llm()), prices=book).reprice("small")
