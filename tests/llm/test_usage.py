import asyncio
import json

import pytest

from tta_notebook.llm import LocalBackend, Message, ModelRequest, Usage
from tta_notebook.llm.usage import estimate_input_tokens, estimate_tokens, estimate_usage

TEXTS = {
    "prose": "The capital of France is Paris, and its river is the Seine. " * 5,
    "json": json.dumps([{"id": i, "name": f"item-{i}", "price": i * 1.25} for i in range(20)]),
    "code": "def f(x):\n    return {k: v for k, v in x.items() if v is not None}\n" * 4,
    "german": "Übergrößenträger fahren öfter über Straßenbahnschienen. " * 4,
    "japanese": "これは日本語の文章です。" * 6,
    "emoji": "👩‍🚀🚀✨" * 10,
    "digits": "3.14159265358979323846" * 5,
    "long words": "Donaudampfschifffahrtsgesellschaft antidisestablishmentarianism " * 4,
}


def test_an_estimate_says_that_it_is_one():
    usage = estimate_usage((Message("user", "hello"),), "hi there")
    assert usage.estimated
    assert usage.output_tokens == 3


def test_nothing_has_no_tokens():
    assert estimate_tokens("") == 0
    assert (Usage(1, 2) + Usage(3, 4)).total_tokens == 10


@pytest.mark.local_model
@pytest.mark.parametrize("kind", TEXTS)
def test_an_estimate_is_rather_too_high_than_too_low(kind, weights):
    exact = asyncio.run(LocalBackend().count_tokens(TEXTS[kind]))
    assert exact <= estimate_tokens(TEXTS[kind]) <= exact * 3


@pytest.mark.local_model
def test_the_estimate_of_a_conversation_covers_its_template(weights):
    messages = (Message("user", "hi"), Message("assistant", "hello"), Message("user", "bye"))
    exact = asyncio.run(LocalBackend().count_input_tokens(ModelRequest("local", messages)))
    assert exact <= estimate_input_tokens(messages) <= exact * 3
