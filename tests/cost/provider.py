"""A model that keeps its own invoice, and keeps to the maximum it is given."""

import asyncio

from tta_notebook import LLMPrimitive, ModelDelta, ModelUnavailableError, Price, PriceBook, Usage

# One dollar a token, so that tokens read as dollars; input is free.
DOLLAR = PriceBook(overrides={"m": Price(input_per_1m=0, output_per_1m=1_000_000)}, bundled=False)


class Provider:
    """Answers with so many words, one a token, and adds up what it bills."""

    source = "live"
    provider = "tests"

    def __init__(self, words=5, *, name="m", delay_s=0.01, fails=(), silent=False):
        self.name = name
        self.words = words
        self.delay_s = delay_s
        self.fails = set(fails)
        self.silent = silent
        self.calls = 0
        self.billed = Usage()
        self.asked = []

    async def count_input_tokens(self, request):
        return len(request.messages[-1].content.split())

    async def stream(self, request):
        call = self.calls
        self.calls += 1
        self.asked.append(request.max_output_tokens)
        into = await self.count_input_tokens(request)
        if call in self.fails:
            raise ModelUnavailableError("gone", model=self.name)
        words = min(self.words, request.max_output_tokens)
        sent = 0
        yield ModelDelta(model=self.name)
        try:
            for _ in range(words):
                await asyncio.sleep(self.delay_s)
                sent += 1
                yield ModelDelta("w ")
        finally:
            self.billed += Usage(into, sent)
        if not self.silent:
            yield ModelDelta(usage=Usage(into, sent), finish_reason="stop")


def llm(provider, **options):
    return LLMPrimitive(provider, **{"max_output_tokens": 10, **options})
