"""Streams: of every primitive, through compositions, chunk by chunk, closed early and failing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import (
    ConditionalPrimitive,
    LambdaPrimitive,
    MapPrimitive,
    ParallelPrimitive,
    RouterPrimitive,
    SequentialPrimitive,
    StreamChunk,
    SwitchPrimitive,
    WorkflowPrimitive,
    as_primitive,
    capture,
    collect,
    current_context,
    last_run,
)
from tta_notebook.testing import MockPrimitive, run_virtual

happened = []


@pytest.fixture(autouse=True)
def _forget():
    happened.clear()


def now():
    return asyncio.get_running_loop().time()


async def words(text):
    try:
        for word in text.split():
            await asyncio.sleep(1)
            happened.append((now(), "said", word))
            yield word
    finally:
        happened.append((now(), "closed", "words"))


async def shout(texts: AsyncIterator[str]):
    async for text in texts:
        happened.append((now(), "shouted", text))
        yield text.upper()


async def numbers(chunks: AsyncIterator[StreamChunk]):
    async for chunk in chunks:
        yield (chunk.chunk_index, chunk.content, chunk.is_final)


async def everything(workflow, x):
    return [chunk async for chunk in workflow.stream(x)]


def contents(workflow, x):
    return [chunk.content for chunk in run_virtual(lambda: everything(workflow, x))]


async def inc(x):
    return x + 1


class Step(WorkflowPrimitive[int, int]):
    async def execute(self, input_data, context):
        return input_data + 1


@pytest.mark.parametrize(
    ("workflow", "expected"),
    [
        (Step(), 2),
        (as_primitive(inc), 2),
        (LambdaPrimitive(lambda x: x + 1, thread=True), 2),
        (as_primitive(inc) >> inc, 3),
        (as_primitive(inc) | inc, [2, 2]),
        (as_primitive({"a": inc}), {"a": 2}),
        (as_primitive(lambda x: [x, x]) >> MapPrimitive(inc), [2, 2]),
        (ConditionalPrimitive(lambda x: True, inc), 2),
        (SwitchPrimitive(lambda x: 1, {1: inc}), 2),
        (RouterPrimitive({"fast": inc}, lambda x: "fast"), 2),
        (MockPrimitive(return_value=2), 2),
        (as_primitive(lambda x: None), None),
    ],
    ids=repr,
)
def test_what_cannot_stream_gives_its_value_as_one_final_chunk(workflow, expected):
    (chunk,) = run_virtual(lambda: everything(workflow, 1))
    assert (chunk.content, chunk.chunk_index, chunk.is_final) == (expected, 0, True)
    assert chunk.metadata == {"output": expected}


def test_a_generator_gives_numbered_chunks_and_an_empty_final_one():
    chunks = run_virtual(lambda: everything(as_primitive(words), "a b"))
    assert [(c.content, c.chunk_index, c.is_final) for c in chunks] == [
        ("a", 0, False),
        ("b", 1, False),
        ("", 2, True),
    ]


def test_a_generator_may_take_the_context():
    async def repeat(x, ctx):
        for _ in range(ctx.state.setdefault("times", 2)):
            yield x

    assert contents(as_primitive(repeat), 5) == [5, 5, None]


def test_a_reader_is_fed_chunk_by_chunk_as_they_come():
    assert contents(as_primitive(words) >> shout, "a b") == ["A", "B", ""]
    assert happened == [
        (1, "said", "a"),
        (1, "shouted", "a"),
        (2, "said", "b"),
        (2, "shouted", "b"),
        (2, "closed", "words"),
    ]


def test_the_consumer_gets_each_chunk_before_the_next_is_made():
    async def main():
        seen = [
            (now(), chunk.content) async for chunk in (as_primitive(words) >> shout).stream("a b")
        ]
        return seen, [time for time, *_ in happened]

    seen, _ = run_virtual(main)
    assert seen == [(1, "A"), (2, "B"), (2, "")]


def test_a_reader_of_chunks_gets_them_whole():
    assert contents(as_primitive(words) >> numbers, "a b")[:-1] == [
        (0, "a", False),
        (1, "b", False),
        (2, "", True),
    ]


def test_three_readers_in_a_row_and_a_function_after_them():
    workflow = as_primitive(words) >> shout >> shout >> len
    assert contents(workflow, "a bc") == [3]
    assert run_virtual(lambda: workflow("a bc")) == 3


def test_a_plain_function_after_a_stream_gets_the_whole_value():
    assert run_virtual(lambda: (as_primitive(words) >> str.upper)("a b")) == "AB"


def test_a_step_before_a_stream_runs_first():
    assert contents(as_primitive(str.lower) >> words >> shout, "A B") == ["A", "B", ""]


@given(st.lists(st.text(alphabet="abc", min_size=1), max_size=5))
def test_executing_gives_what_the_stream_amounts_to(parts):
    workflow = as_primitive(words) >> shout
    streamed = contents(workflow, " ".join(parts))
    whole = run_virtual(lambda: workflow(" ".join(parts)))
    assert whole == ("".join(streamed[:-1]) if parts else [])


def test_a_reader_that_stands_first_is_fed_the_value_as_one_piece():
    assert contents(as_primitive(shout), "abc") == ["ABC", ""]
    assert run_virtual(lambda: as_primitive(shout)("abc")) == "ABC"


@pytest.mark.parametrize("value", [None, "", 0, False], ids=repr)
def test_falsy_values_are_fed_like_any_other(value):
    async def gather(values: AsyncIterator[object]):
        yield [each async for each in values]

    assert run_virtual(lambda: (as_primitive(lambda x: value) >> gather)(0)) == [[value]]


def test_values_that_answer_equality_with_something_else_can_be_streamed():
    class Array:
        def __eq__(self, other):
            return self

        def __bool__(self):
            raise ValueError("ambiguous")

        __hash__ = None

    async def keep(values: AsyncIterator[object]):
        async for value in values:
            yield value

    array = Array()
    (result,) = run_virtual(lambda: (as_primitive(lambda x: array) >> keep)(0))
    assert result is array


def test_metadata_of_a_generators_chunks_is_kept_but_not_a_stale_output():
    async def source(x):
        yield StreamChunk("a", metadata={"score": 1})
        yield StreamChunk("", is_final=True, metadata={"output": "a", "model": "m"})

    async def louder(chunks: AsyncIterator[StreamChunk]):
        async for chunk in chunks:
            yield StreamChunk(chunk.content.upper(), 0, chunk.is_final, chunk.metadata)

    workflow = as_primitive(source) >> louder
    first, last = run_virtual(lambda: everything(workflow, 0))
    assert (first.content, first.metadata) == ("A", {"score": 1})
    assert (last.is_final, last.metadata) == (True, {"model": "m"})
    assert run_virtual(lambda: workflow(0)) == "A"


# Leaving early, failing


def test_closing_early_cancels_the_producer_at_once():
    async def main():
        async with aclosing((as_primitive(words) >> shout).stream("a b c")) as chunks:
            async for _ in chunks:
                break
        return now()

    with capture() as spans:
        assert run_virtual(main) == 1
    assert happened[-1] == (1, "closed", "words")
    assert [(span.name, span.status) for span in spans] == [
        ("words", "cancelled"),
        ("shout", "cancelled"),
        ("words >> shout", "cancelled"),
    ]
    assert last_run().status == "cancelled"


def test_a_stream_that_is_forgotten_is_closed_with_its_loop():
    async def main():
        async for _ in as_primitive(words).stream("a b c"):
            return

    with capture() as spans:
        run_virtual(main)
    assert happened[-1][1:] == ("closed", "words")
    assert [span.status for span in spans] == ["cancelled"]


def test_a_stream_may_be_closed_in_another_task():
    async def main():
        stream = as_primitive(words).stream("a b c")
        first = await asyncio.create_task(anext(stream))
        await asyncio.create_task(stream.aclose())
        return first.content, current_context()

    with capture() as spans:
        assert run_virtual(main) == ("a", None)
    assert [span.status for span in spans] == ["cancelled"]


def test_every_chunk_may_be_asked_for_in_a_task_of_its_own():
    async def main():
        stream, seen = (as_primitive(words) >> shout).stream("a b"), []
        while (chunk := await asyncio.create_task(anext(stream, None))) is not None:
            seen.append(chunk.content)
        return seen

    assert run_virtual(main) == ["A", "B", ""]


def test_cancelling_the_consumer_closes_the_producer():
    async def main():
        task = asyncio.create_task(everything(as_primitive(words) >> shout, "a b c"))
        await asyncio.sleep(1.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return now()

    with capture() as spans:
        assert run_virtual(main) == 1.5
    assert {span.status for span in spans} == {"cancelled"}
    assert happened[-1] == (1.5, "closed", "words")


def test_an_error_in_midstream_ends_the_spans_as_errors():
    async def fail(x):
        yield "a"
        raise OSError("lost")

    seen = []

    async def read(x):
        async for chunk in (as_primitive(fail) >> shout).stream(x):
            seen.append(chunk.content)  # noqa: PERF401 - the loop is what users write

    with capture() as spans, pytest.raises(OSError, match="lost"):
        run_virtual(lambda: read(0))
    assert seen == ["A"]
    assert [span.status for span in spans] == ["error"] * 3
    assert (last_run().status, last_run().failed_span.name) == ("error", "fail")


def test_an_error_of_the_reader_closes_the_source():
    async def fail(texts: AsyncIterator[str]):
        async for _ in texts:
            raise ValueError("no")
        yield

    with capture() as spans, pytest.raises(ValueError, match="no"):
        contents(as_primitive(words) >> fail, "a b")
    assert happened[-1] == (1, "closed", "words")
    assert [(span.name, span.status) for span in spans][:2] == [
        ("words", "cancelled"),
        ("fail", "error"),
    ]


def test_a_reader_that_stops_early_ends_the_source_and_the_stream_well():
    async def first(texts: AsyncIterator[str]):
        async for text in texts:
            yield text
            return

    assert contents(as_primitive(words) >> first, "a b c") == ["a", ""]
    assert happened[-1] == (1, "closed", "words")


# The trace


def parents(spans):
    return {span.name: span.parent and span.parent.name for span in spans}


def test_nested_calls_in_a_generator_and_its_clean_up_have_the_right_parent():
    inner, tidy = LambdaPrimitive(inc, name="inner"), LambdaPrimitive(inc, name="tidy")

    async def source(x):
        try:
            yield await inner(x)
            yield 2
        finally:
            await tidy(x)

    async def consumer(x):
        async with aclosing(as_primitive(source).stream(x)) as chunks:
            async for _ in chunks:
                await LambdaPrimitive(inc, name="mine")(x)
                break

    with capture() as spans:
        run_virtual(lambda: as_primitive(consumer)(0))
    assert parents(spans) == {
        "inner": "source",
        "mine": "consumer",
        "tidy": "source",
        "source": "consumer",
        "consumer": None,
    }


def test_readers_call_under_their_own_spans():
    async def reading(texts: AsyncIterator[str]):
        async for text in texts:
            yield await LambdaPrimitive(str.upper, name="read")(text)

    async def source(x):
        yield await LambdaPrimitive(str, name="made")(x)

    with capture() as spans:
        run_virtual(lambda: everything(as_primitive(source) >> reading, 1))
    assert parents(spans) == {
        "made": "source",
        "read": "reading",
        "source": "source >> reading",
        "reading": "source >> reading",
        "source >> reading": None,
    }


@pytest.mark.parametrize("watched", [True, False])
def test_the_consumers_context_is_untouched_between_chunks(watched):
    async def main():
        return [current_context() async for _ in (as_primitive(words) >> shout).stream("a b")]

    if watched:
        with capture():
            assert run_virtual(main) == [None] * 3
    else:
        assert run_virtual(main) == [None] * 3


def test_streams_in_parallel_branches_are_one_trace():
    workflow = ParallelPrimitive({"a": as_primitive(words) >> shout, "b": words})
    with capture() as spans:
        assert run_virtual(lambda: workflow("x y")) == {"a": "XY", "b": "xy"}
    assert len({span.trace_id_hex for span in spans}) == 1
    assert {span.status for span in spans} == {"ok"}


def test_a_failing_branch_closes_a_stream_beside_it():
    async def fail(x):
        await asyncio.sleep(1.5)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_virtual(lambda: (as_primitive(words) | fail)("a b c"))
    assert happened[-1] == (1.5, "closed", "words")


def test_two_streams_of_one_workflow_do_not_mix():
    workflow = as_primitive(words) >> shout

    async def main():
        return await asyncio.gather(*(everything(workflow, text) for text in ("a b", "c d")))

    with capture() as spans:
        one, other = run_virtual(main)
    assert [chunk.content for chunk in one] == ["A", "B", ""]
    assert [chunk.content for chunk in other] == ["C", "D", ""]
    assert len({span.trace_id_hex for span in spans}) == 2


def test_a_stream_that_nobody_watches_leaves_no_record():
    before = last_run()
    assert contents(as_primitive(words) >> shout, "a") == ["A", ""]
    assert last_run() is before


def test_streams_keep_their_spans_open_until_they_end():
    async def main():
        async with aclosing(as_primitive(words).stream("a b")) as chunks:
            await anext(chunks)
            run = last_run()
            running = run.root.status
            async for _ in chunks:
                pass
            return running, run.root.status, run.root.duration_s

    with capture():
        assert run_virtual(main) == ("running", "ok", 2)


def test_a_thousand_streams_at_once():
    async def main():
        return await asyncio.gather(
            *((as_primitive(words) >> shout)(f"a{n} b") for n in range(1000))
        )

    assert run_virtual(main) == [f"A{n}B" for n in range(1000)]


# What a stream amounts to


async def given_chunks(*chunks):
    for chunk in chunks:
        yield chunk


END = StreamChunk("", 9, is_final=True)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([], []),
        ([StreamChunk(None, 0, is_final=True)], []),
        ([StreamChunk("a"), StreamChunk("b"), END], "ab"),
        ([StreamChunk(""), END], ""),
        ([StreamChunk(1), StreamChunk(2)], [1, 2]),
        ([StreamChunk("a"), StreamChunk(2)], ["a", 2]),
        ([StreamChunk(None), StreamChunk(None)], [None, None]),
        ([StreamChunk("a", 0, is_final=True)], "a"),
        ([StreamChunk("a"), StreamChunk("", 1, is_final=True, metadata={"output": None})], None),
        (
            [StreamChunk("a"), StreamChunk("", 1, is_final=True, metadata={"output": {"k": 1}})],
            {"k": 1},
        ),
    ],
    ids=repr,
)
def test_what_a_stream_amounts_to(chunks, expected):
    assert asyncio.run(collect(given_chunks(*chunks))) == expected


def test_collecting_closes_a_stream_that_fails():
    async def fail():
        try:
            yield StreamChunk("a")
            raise OSError("lost")
        finally:
            happened.append("closed")

    with pytest.raises(OSError, match="lost"):
        asyncio.run(collect(fail()))
    assert happened == ["closed"]


def test_a_sequence_of_one_stream_streams():
    assert contents(SequentialPrimitive([words]), "a b") == ["a", "b", ""]
