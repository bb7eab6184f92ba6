"""What a hit saves: everything that the cached step asked for, with what it cost."""

import asyncio

import pytest

from tta_notebook import (
    CachePrimitive,
    LambdaPrimitive,
    RetryPrimitive,
    Usage,
    WorkflowContext,
    WorkflowPrimitive,
    capture,
)
from tta_notebook.core.protocols import Answer
from tta_notebook.core.usage import Tally
from tta_notebook.performance.semantic import SemanticCachePrimitive
from tta_notebook.performance.stores.sqlite import SQLiteStore
from tta_notebook.testing import run_virtual


class Reply(str):
    """A text that says what it used and cost."""

    __slots__ = ("cost_usd", "usage")


class Model(WorkflowPrimitive):
    """Answers with 10 tokens for a tenth of a dollar."""

    kind = "llm"

    async def execute(self, input_data, context):
        await asyncio.sleep(0.01)
        reply = Reply(f"on {input_data}")
        reply.usage, reply.cost_usd = Usage(4, 6), 0.1
        return reply


def plain(text):
    return str(text)[:200]


def hits(cached, questions, context=None):
    """Ask one after the other, watched, and return the notes of hits."""

    async def ask():
        for question in questions:
            await cached.execute(question, context)

    with capture() as spans:
        run_virtual(ask)
    notes = [note.data for span in spans for note in span.noted("cache")]
    return [note for note in notes if note["hit"]]


DIME = 10**11


def test_a_hit_saves_what_the_model_inside_cost_where_the_answer_says_nothing_of_it():
    cached = CachePrimitive(Model(name="m") >> plain)
    (hit,) = hits(cached, ["tea", "tea"])
    assert (hit["saved"], hit["saved_pico"]) == (10, DIME)
    assert cached.get_stats()["tokens_saved"] == 10


def test_a_hit_saves_all_the_calls_that_the_answer_took():
    drops = iter([True])

    class Flaky(Model):
        async def execute(self, input_data, context):
            reply = await super().execute(input_data, context)
            if next(drops, False):
                context.used(reply.usage, DIME)
                raise ConnectionError
            return reply

    cached = CachePrimitive(RetryPrimitive(Flaky(name="m")) >> plain)
    (hit,) = hits(cached, ["tea", "tea"])
    assert (hit["saved"], hit["saved_pico"]) == (20, 2 * DIME)


def test_what_is_asked_beside_a_cached_step_is_not_saved_by_it():
    model = Model(name="m")
    asked = {"cached": CachePrimitive(model >> plain), "beside": model}

    async def both(question):
        return await asyncio.gather(*(step.execute(question) for step in asked.values()))

    workflow = LambdaPrimitive(both)
    (hit,) = hits(workflow, ["tea", "tea"])
    assert (hit["saved"], hit["saved_pico"]) == (10, DIME)


def test_callers_at_once_save_each_what_one_call_cost():
    cached = CachePrimitive(Model(name="m") >> plain)

    async def crowd(_):
        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(cached.execute(f"q{number % 5}"))
        for number in range(5):
            await cached.execute(f"q{number}")

    found = hits(LambdaPrimitive(crowd), [0])
    assert [(hit["saved"], hit["saved_pico"]) for hit in found] == [(10, DIME)] * 5
    assert cached.get_stats()["tokens_saved"] == 1000  # 95 joined, 5 hit


def test_where_nobody_watches_an_answer_speaks_for_itself():
    cached, composed = CachePrimitive(Model(name="m")), CachePrimitive(Model(name="m") >> plain)
    run_virtual(lambda: cached.execute("tea"))
    run_virtual(lambda: composed.execute("tea"))
    (hit,), (silent,) = hits(cached, ["tea"]), hits(composed, ["tea"])
    assert (hit["saved"], hit["saved_pico"]) == (10, DIME)
    assert silent["saved"] == 0
    assert "saved_pico" not in silent


def test_savings_are_kept_in_a_file_with_the_answer(tmp_path):
    questions = ["tea"]
    for expected in ([], [(10, DIME)]):
        cached = CachePrimitive(
            Model(name="m") >> plain, namespace="n", version=1, store=SQLiteStore(tmp_path / "c.db")
        )
        found = hits(cached, questions)
        assert [(hit["saved"], hit["saved_pico"]) for hit in found] == expected


def test_a_semantic_hit_saves_the_same():
    class Letters:
        async def embed(self, texts):
            return [[float(text.count(letter)) for letter in "abcdefgh"] for text in texts]

    cached = SemanticCachePrimitive(Model(name="m") >> plain, embedder=Letters())
    (hit,) = hits(cached, ["a cabbage", "a cabbage"])
    assert (hit["saved"], hit["saved_pico"]) == (10, DIME)


def test_a_replayed_stream_saves_what_it_took():
    cached = CachePrimitive(Model(name="m") >> plain)

    async def read(question):
        return [chunk.content async for chunk in cached.stream(question)]

    (hit,) = hits(LambdaPrimitive(read), ["tea", "tea"])
    assert (hit["saved"], hit["saved_pico"]) == (10, DIME)


def test_a_recalled_step_says_what_it_saved_and_is_not_paid_again():
    model = Model(name="m")
    first = run_virtual(lambda: model.run("tea"))

    class Journal:
        async def recall(self, step, input_data, context):
            return Answer(first.output, "journal")

        async def keep(self, step, input_data, output, context):
            raise AssertionError("nothing is run")

    again = run_virtual(lambda: model.run("tea", WorkflowContext().using(step_store=Journal())))
    (note,) = again.root.noted("recalled")
    assert note.data == {"source": "journal", "saved": 10, "saved_pico": DIME}
    assert (again.output, again.usage, again.cost_usd) == (first.output, None, None)
    assert first.cost_usd == pytest.approx(0.1)


def test_tallies_add_up_tokens_and_prices_apart():
    tally = Tally()
    tally.add(None, 5)
    tally.add(Usage(1, 2), None)
    tally.add(Usage(3, 0), 7)
    assert (tally.usage, tally.cost_pico) == (Usage(4, 2), 12)
    assert Tally.of({"usage": {"input_tokens": 3}, "cost_usd": 1}).saved() == {
        "saved": 3,
        "saved_pico": 10**12,
    }
    assert Tally.of("nothing").saved() == {"saved": 0}
