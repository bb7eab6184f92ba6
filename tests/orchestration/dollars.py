"""Models that cost a dollar a token of output, and nothing for input."""

from tta_notebook import (
    LLMPrimitive,
    Price,
    PriceBook,
    Reply,
    ScriptedModel,
    Usage,
    WorkflowContext,
)

_DOLLAR = Price(input_per_1m=0, output_per_1m=1_000_000)
DOLLARS = PriceBook(
    overrides=dict.fromkeys(("plan", "work", "check", "a", "b", "c"), _DOLLAR), bundled=False
)


def costing(name, tokens, *texts, delay_s=0.0, max_output_tokens=100):
    """Return a model that gives these texts in turn, for so many tokens of output each."""
    said = texts or ["done"] * 500
    replies = [Reply(text, delay_s=delay_s, usage=Usage(1, tokens)) for text in said]
    return LLMPrimitive(ScriptedModel(replies, name=name), max_output_tokens=max_output_tokens)


def failing(name, tokens):
    """Return a model that fails after it has said something that is billed."""
    replies = [Reply("x " * tokens, usage=None, error=ConnectionError(f"{name} is gone"))] * 9
    return LLMPrimitive(ScriptedModel(replies, name=name), max_output_tokens=100)


def reporting(model, tokens):
    """Return a function that asks a model past all guards, and says so in its result."""

    def ask(_):
        return {
            "text": "done",
            "model": model,
            "usage": {"input_tokens": 1, "output_tokens": tokens},
        }

    return ask


def paying(*guards, prices=DOLLARS):
    return WorkflowContext().using(guards=guards, prices=prices)
