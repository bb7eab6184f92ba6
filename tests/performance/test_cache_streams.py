"""Streams that are shared, kept when complete, and replayed."""

import asyncio
from contextlib import aclosing

import pytest

from tta_notebook import LambdaPrimitive, WorkflowContext, capture
from tta_notebook.core.events import StreamChunk
from tta_notebook.core.usage import Usage
from tta_notebook.llm.text import LLMText
from tta_notebook.performance import CachePrimitive
from tta_notebook.testing import MockPrimitive, cancel_everywhere, run_virtual


class Words:
    """A streaming step that counts what is asked of it."""

    def __init__(self, words=("a", "b", "c"), pause_s=1.0, error=None):
        self.words, self.pause_s, self.error = words, pause_s, error
        self.begun = self.given = self.closed = 0

    def step(self):
        async def words(x):
            self.begun += 1
            try:
                for word in self.words:
                    await asyncio.sleep(self.pause_s)
                    self.given += 1
                    yield word
                if self.error is not None:
                    raise self.error
            finally:
                self.closed += 1

        return LambdaPrimitive(words)


async def read(step, context=None):
    return [chunk.content async for chunk in step.stream("q", context)]


def test_a_stream_is_kept_and_replayed_piece_by_piece():
    words = Words()
    cache = CachePrimitive(words.step())

    async def main():
        first = [chunk async for chunk in cache.stream("q")]
        began_s = asyncio.get_running_loop().time()
        second = [chunk async for chunk in cache.stream("q")]
        assert asyncio.get_running_loop().time() == began_s
        return first, second

    first, second = run_virtual(main)
    assert first == second
    assert [chunk.content for chunk in first] == ["a", "b", "c", ""]
    assert [chunk.is_final for chunk in first] == [False, False, False, True]
    assert words.begun == words.closed == 1


def test_a_stream_and_a_call_share_their_answers():
    words = Words()
    cache = CachePrimitive(words.step())

    async def main():
        await read(cache)
        assert await cache("q") == "abc"
        await cache.clear()
        assert await cache("q") == "abc"
        assert [chunk async for chunk in cache.stream("q")] == [
            StreamChunk("abc", 0, is_final=True, metadata={"output": "abc"})
        ]

    run_virtual(main)
    assert words.begun == 2


def test_concurrent_readers_share_one_stream_and_late_ones_get_it_from_the_start():
    words = Words()
    cache = CachePrimitive(words.step())

    async def late(after_s):
        await asyncio.sleep(after_s)
        return await read(cache)

    async def main():
        readers = [late(number * 0.3) for number in range(10)]
        assert await asyncio.gather(*readers) == [["a", "b", "c", ""]] * 10
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 3
    assert words.begun == 1
    assert len(cache._asking.flights) == 0
    assert cache.get_stats()["joined"] == 9


def test_a_call_joins_the_stream_that_is_under_way():
    words = Words()
    cache = CachePrimitive(words.step())

    async def main():
        return await asyncio.gather(read(cache), cache("q"))

    assert run_virtual(main) == [["a", "b", "c", ""], "abc"]
    assert words.begun == 1


def test_a_stream_joins_the_call_that_is_under_way():
    words = Words()
    cache = CachePrimitive(words.step())

    async def main():
        return await asyncio.gather(cache("q"), read(cache))

    assert run_virtual(main) == ["abc", ["abc"]]
    assert words.begun == 1


def test_what_nobody_reads_is_not_asked_for():
    words = Words()
    cache = CachePrimitive(words.step())

    async def main():
        async with aclosing(cache.stream("q")) as pieces:
            assert (await anext(pieces)).content == "a"
            await asyncio.sleep(60)
        assert words.given == 1
        assert words.closed == 1
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main)
    assert cache.get_stats()["size"] == 0
    assert len(cache._asking.flights) == 0


def test_the_last_reader_that_leaves_closes_the_stream():
    words = Words(words=["a"] * 100)
    cache = CachePrimitive(words.step())

    async def some(count):
        async with aclosing(cache.stream("q")) as pieces:
            for _ in range(count):
                await anext(pieces)

    async def main():
        short, long = asyncio.create_task(some(2)), asyncio.create_task(some(5))
        await short
        assert words.closed == 0
        await long
        assert words.closed == 1

    run_virtual(main)
    assert words.given == 5


def test_who_stops_at_the_last_chunk_has_read_it_all():
    words = Words()
    cache = CachePrimitive(words.step())

    async def main():
        async with aclosing(cache.stream("q")) as pieces:
            async for chunk in pieces:
                if chunk.is_final:
                    break
        assert await read(cache) == ["a", "b", "c", ""]

    run_virtual(main)
    assert words.begun == 1


def test_a_stream_that_fails_is_not_kept_and_its_error_comes_after_its_chunks():
    error = OSError("lost")
    words = Words(error=error)
    cache = CachePrimitive(words.step())

    async def one():
        seen = []

        async def note_down():
            async for chunk in cache.stream("q"):
                seen.append(chunk.content)  # noqa: PERF401 - those before the error count

        with pytest.raises(OSError, match="lost"):
            await note_down()
        return seen

    async def main():
        assert await asyncio.gather(one(), one()) == [["a", "b", "c"]] * 2
        assert await one() == ["a", "b", "c"]

    run_virtual(main)
    assert words.begun == 2


def test_a_cancelled_reader_does_not_hurt_the_others():
    words = Words()
    cache = CachePrimitive(words.step())

    async def main():
        first = asyncio.create_task(read(cache))
        await asyncio.sleep(1.5)
        second = asyncio.create_task(read(cache))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await second == ["a", "b", "c", ""]

    run_virtual(main)
    assert words.begun == 1


@pytest.mark.parametrize("every_task", [False, True])
def test_streams_take_cancellation_at_every_await(every_task):
    caches = []

    async def scenario():
        cache = CachePrimitive(Words().step())
        caches.append(cache)
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(read(cache))
        return await read(cache)

    with capture() as spans:
        assert cancel_everywhere(scenario, every_task=every_task).runs
    assert all(len(cache._asking.flights) == 0 for cache in caches)
    assert all(span.status != "running" for span in spans)


def test_readers_get_chunks_of_their_own():
    async def step(x):
        yield ["a"]

    cache = CachePrimitive(step)

    async def main():
        for _ in range(3):
            async for chunk in cache.stream("q"):
                if chunk.content:
                    assert chunk.content == ["a"]
                    chunk.content.append("spoilt")

    run_virtual(main)


def test_a_stale_stream_stands_in_for_one_that_fails_before_its_first_chunk():
    model = MockPrimitive(stream=["a", "b"])
    cache = CachePrimitive(model, ttl_seconds=10, stale_if_error=60)

    async def main():
        await read(cache)
        await asyncio.sleep(11)
        model._pieces = (OSError("down"),)
        return await read(cache)

    assert run_virtual(main) == ["a", "b", ""]


def test_a_streams_usage_is_counted_once_and_saved_by_a_replay():
    answer = LLMText("ab", usage=Usage(5, 2))
    model = MockPrimitive("model", stream=["a", "b"], return_value=answer)
    cache = CachePrimitive(model)

    async def consume(x):
        return await read(cache)

    async def main():
        both = (LambdaPrimitive(consume, name="one") | consume).start("q")
        await both
        replayed = LambdaPrimitive(consume).start("q")
        await replayed
        return both, replayed

    with capture() as spans:
        both, replayed = run_virtual(main)
    assert both.usage == Usage(5, 2)
    assert replayed.usage is None
    [*_, replay] = [span for span in spans if span.name == "cache model"]
    assert replay.noted("cache")[0].data["saved"] == 7
    assert replay.text == "ab"


def test_one_user_does_not_get_the_stream_of_another():
    words = Words()
    cache = CachePrimitive(words.step())

    async def main():
        await asyncio.gather(
            read(cache, WorkflowContext(user_id="ann")), read(cache, WorkflowContext(user_id="bob"))
        )

    run_virtual(main)
    assert words.begun == 2
