"""The cost example of the catalogue, to the last figure."""

import asyncio

import pytest

from tta_notebook import (
    SEED_PRICES,
    ConfigurationError,
    CostTrackingPrimitive,
    Ledger,
    LLMPrimitive,
    PriceBook,
    Reply,
    ScriptedModel,
    Usage,
    WorkflowContext,
    capture,
)

# contract.md: prompt tokens are max(10, words + base).
BASE = {"gpt-4": (150, 100), "gpt-4-mini": (120, 80), "claude-3-sonnet": (140, 90)}
REQUESTS = [
    ("user-alice", "rag-workflow", "gpt-4-mini", "What is TTA.dev?"),
    ("user-bob", "chat-workflow", "claude-3-sonnet", "Explain multi-agent coordination."),
    (
        "user-alice",
        "analysis-workflow",
        "gpt-4",
        "Analyze this complex data set with detailed insights.",
    ),
    ("user-charlie", "rag-workflow", "gpt-4-mini", "How do I use primitives?"),
    ("user-bob", "chat-workflow", "gpt-4-mini", "Quick question about caching."),
]


async def ask(request):
    base, completion = BASE[request["model"]]
    prompt = max(10, len(request["prompt"].split()) + base)
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return {"response": "…", "model": request["model"], "usage": usage}


REPLY = Reply("ok", usage=Usage(input_tokens=100, output_tokens=100))


@pytest.fixture(params=["memory", "file"])
def ledger(request, tmp_path):
    path = tmp_path / "costs.db" if request.param == "file" else None
    ledger = Ledger(PriceBook(overrides=SEED_PRICES, bundled=False), path=path)
    yield ledger
    ledger.close()


async def run_all(ledger):
    tracked = CostTrackingPrimitive(ask, ledger=ledger)
    return [
        await tracked(
            {"model": model, "prompt": prompt},
            WorkflowContext(workflow_id=workflow, user_id=user),
        )
        for user, workflow, model, prompt in REQUESTS
    ]


def test_five_requests_cost_what_the_catalogue_says(ledger):
    results = asyncio.run(run_all(ledger))
    assert ledger.total_requests == 5
    assert ledger.total_tokens == 1103
    # Its figures are rounded to six decimals; the sum of the exact ones is 0.01271895.
    assert round(ledger.total_usd, 6) == 0.012719
    by_model = {name: round(cost, 6) for name, cost in ledger.by("model").items()}
    assert by_model == {"gpt-4": 0.010740, "claude-3-sonnet": 0.001779, "gpt-4-mini": 0.000200}
    by_user = {name: round(cost, 6) for name, cost in ledger.by("user").items()}
    assert by_user == {"user-alice": 0.010806, "user-bob": 0.001846, "user-charlie": 0.000067}
    assert set(ledger.by("workflow")) == {"rag-workflow", "chat-workflow", "analysis-workflow"}
    # gpt-4: 158 prompt tokens at $.03 and 100 completion tokens at $.06 a thousand.
    assert results[2]["cost"] == {
        "model": "gpt-4",
        "prompt_tokens": 158,
        "completion_tokens": 100,
        "total_tokens": 258,
        "prompt_cost": 0.00474,
        "completion_cost": 0.006,
        "total_cost": 0.01074,
        "currency": "USD",
    }


def test_the_report_says_it_in_text_and_in_html(ledger):
    asyncio.run(run_all(ledger))
    text = str(ledger.report())
    assert "$0.012719" in text
    assert "user-alice" in text
    assert "$0.010806" in text
    html = ledger.report().to_html()
    assert "$0.012719" in html
    assert "<script" not in html


def test_the_frame_has_a_row_for_every_request(ledger):
    asyncio.run(run_all(ledger))
    frame = ledger.frame()
    assert len(frame) == 5
    assert round(frame.groupby("model").cost_usd.sum()["gpt-4"], 6) == 0.01074
    assert str(frame["at"].dtype).endswith("UTC]")


def test_the_trace_has_the_cost_where_the_usage_was_reported(ledger):
    with capture() as spans:
        asyncio.run(run_all(ledger))
    reporters = [span for span in spans if span.usage is not None]
    assert {span.name for span in reporters} == {"ask"}
    assert round(sum(span.cost_usd for span in reporters), 6) == 0.012719
    runs = [span.run for span in spans if span.parent is None]
    assert round(sum(run.cost_usd for run in runs), 6) == 0.012719
    assert [run.unpriced_calls for run in runs] == [0] * 5


def test_an_empty_ledger_can_be_asked_everything(ledger):
    assert ledger.total_usd == 0
    assert ledger.by("tag:team") == {}
    assert "all calls" in str(ledger.report())
    assert len(ledger.frame()) == 0


def test_an_unknown_model_is_unpriced_and_shown_so(ledger):
    tracked = CostTrackingPrimitive(
        lambda _: {"usage": {"prompt_tokens": 10, "completion_tokens": 1}}, "gpt-4o", ledger
    )
    result = tracked.run_sync("x")
    assert result["cost"]["total_cost"] is None
    assert result["cost"]["total_tokens"] == 11
    assert ledger.unpriced == 1
    assert "no price" in str(ledger.report())
    assert "count in no sum of money" in str(ledger.report())


def test_a_result_that_names_no_model_has_to_be_given_one(ledger):
    tracked = CostTrackingPrimitive(lambda _: {"usage": {"prompt_tokens": 10}}, ledger=ledger)
    with pytest.raises(ConfigurationError, match="model_name"):
        tracked.run_sync("x")


def test_a_model_inside_is_booked_once_although_the_result_reports_it_again():
    ledger = Ledger(PriceBook(overrides=SEED_PRICES, bundled=False))
    model = LLMPrimitive(ScriptedModel([REPLY], name="gpt-4"))

    async def summarise(text, context):
        answer = await model(text, context)
        return {"text": answer, "usage": answer.usage}

    result = CostTrackingPrimitive(summarise, "gpt-4-mini", ledger).run_sync("x")
    assert ledger.total_requests == 1
    assert ledger.by("model") == {"gpt-4": 0.009}
    assert result["cost"]["model"] == "gpt-4"
    assert result["cost"]["total_cost"] == 0.009


def test_a_model_is_booked_where_the_step_fails_afterwards():
    ledger = Ledger(PriceBook(overrides=SEED_PRICES, bundled=False))
    model = LLMPrimitive(ScriptedModel([REPLY], name="gpt-4"))

    def fail(_):
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - a step's own
        CostTrackingPrimitive(model >> fail, ledger=ledger).run_sync("x")
    assert ledger.total_usd == 0.009


def test_what_is_given_has_to_fit():
    with pytest.raises(ConfigurationError, match="model_name"):
        CostTrackingPrimitive(len, model_name=3)
    with pytest.raises(ConfigurationError, match="Give a Ledger"):
        CostTrackingPrimitive(len, ledger={})
    with pytest.raises(ConfigurationError, match="Give a PriceBook"):
        Ledger({"gpt-4": 3})
