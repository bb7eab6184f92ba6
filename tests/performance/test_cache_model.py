"""The cache against a model that is a dict with times."""

import asyncio
import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tta_notebook.core import clock
from tta_notebook.performance import CachePrimitive
from tta_notebook.testing import MockPrimitive
from tta_notebook.testing.vloop import VirtualClockLoop

TTL_S, STALE_S, ERROR_S, NEGATIVE_S, SIZE = 10, 3, 5, 2, 3

questions = st.sampled_from("abcde")


class Cached(RuleBasedStateMachine):
    """Ask, wait, fail, forget; after each, the cache has done what the model says."""

    def __init__(self):
        super().__init__()
        self.loop = VirtualClockLoop()
        self.clock = clock.use(self.loop.time_ns)
        self.clock.__enter__()
        self.runner = asyncio.Runner(loop_factory=lambda: self.loop)
        self.failing = None
        self.version = 0
        self.model = MockPrimitive("model", side_effect=self.answer)
        self.cache = CachePrimitive(
            self.model,
            ttl_seconds=TTL_S,
            max_size=SIZE,
            stale_while_revalidate=STALE_S,
            stale_if_error=ERROR_S,
            negative_ttl={LookupError: NEGATIVE_S},
            version="1",
        )
        self.kept = {}  # question -> (answer or error, stored at), the least recently used first
        self.calls = 0

    def answer(self, question):
        if self.failing is not None:
            raise self.failing
        self.version += 1
        return [question, self.version]

    def call(self, question):
        """Return what a call would give now, and let the model keep it."""
        self.calls += 1
        if self.failing is None:
            result = [question, self.version + 1]
        elif isinstance(self.failing, LookupError):
            result = self.failing
        else:
            return self.failing
        self.kept.pop(question, None)
        self.kept[question] = (result, self.loop.time())
        while len(self.kept) > SIZE:
            del self.kept[next(iter(self.kept))]
        return result

    def expected(self, question):
        """Return what asking gives by the model."""
        result, stored_s = self.kept.get(question, (None, -math.inf))
        age_s = self.loop.time() - stored_s
        is_error = isinstance(result, Exception)
        if age_s >= (NEGATIVE_S if is_error else TTL_S + max(STALE_S, ERROR_S)):
            self.kept.pop(question, None)
            return self.call(question)
        self.kept[question] = self.kept.pop(question)
        if is_error or age_s < TTL_S:
            return result
        if age_s < TTL_S + STALE_S:
            self.call(question)  # the refresh
            return result
        fresh = self.call(question)
        if isinstance(fresh, Exception) and age_s < TTL_S + ERROR_S:
            return result
        return fresh

    @rule(question=questions, count=st.integers(1, 3))
    def ask(self, question, count):
        expected = self.expected(question)

        async def main():
            results = await asyncio.gather(
                *(self.cache(question) for _ in range(count)), return_exceptions=True
            )
            await self.cache.settled()
            return results

        for result in self.runner.run(main()):
            if isinstance(expected, Exception):
                assert type(result) is type(expected)
            else:
                assert result == expected
                result.append("spoilt")

    @rule(seconds=st.sampled_from([0.5, 1, 2, 2.5, 4, 10]))
    def wait(self, seconds):
        self.runner.run(asyncio.sleep(seconds))

    @rule(question=questions)
    def forget(self, question):
        self.kept.pop(question, None)
        self.runner.run(self.cache.invalidate(question))

    @rule()
    def forget_all(self):
        self.kept.clear()
        self.runner.run(self.cache.clear())

    @rule(error=st.sampled_from([None, OSError("down"), LookupError("none")]))
    def fail(self, error):
        self.failing = error

    @precondition(lambda self: self.kept)
    @rule(question=questions)
    def ask_for_a_stale_one(self, question):
        result, stored_s = self.kept.get(question, (None, -math.inf))
        age_s = self.loop.time() - stored_s
        is_there = not isinstance(result, Exception) and age_s < TTL_S + max(STALE_S, ERROR_S)

        async def main():
            try:
                return await self.cache.stale()(question)
            except LookupError:
                return None

        assert self.runner.run(main()) == (result if is_there else None)
        if is_there or (isinstance(result, Exception) and age_s < NEGATIVE_S):
            self.kept[question] = self.kept.pop(question)
        else:
            self.kept.pop(question, None)

    @invariant()
    def calls_and_size_are_those_of_the_model(self):
        assert self.model.call_count == self.calls
        assert len(self.cache._asking.flights) == 0
        stats = self.cache.get_stats()
        assert stats["size"] == len(self.kept) <= SIZE

    def teardown(self):
        self.runner.close()
        self.loop.close()  # which a runner that has run nothing leaves open
        self.clock.__exit__(None, None, None)


TestCached = Cached.TestCase
TestCached.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
