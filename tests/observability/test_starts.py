"""Sinks that only want the starts of runs, and how little a step does for any sink."""

import asyncio
import threading

import pytest

from tta_notebook import ConfigurationError, MapPrimitive, as_primitive, flush, unsubscribe
from tta_notebook.core.stream import stream, subscribe

step = as_primitive(lambda x: x).named("step")
chain = step >> step


@pytest.fixture
def listen():
    feeds = []

    def listen(sink, **options):
        feeds.append(stream.subscribe(sink, **options))
        return feeds[-1]

    yield listen
    for feed in feeds:
        unsubscribe(feed.sink)


def told(seen):
    return [(event.kind, event.span.name) for event in seen]


def test_a_sink_may_want_the_starts_of_runs_only(listen):
    seen = []
    listen(seen.extend, starts="roots")
    chain.run_sync(0)
    flush()
    assert told(seen) == [
        ("start", "step >> step"),
        ("end", "step"),
        ("end", "step"),
        ("end", "step >> step"),
    ]


def test_sinks_beside_each_other_are_told_what_each_wants(listen):
    every, roots = [], []
    listen(every.extend)
    listen(roots.extend, starts="roots")
    chain.run_sync(0)
    flush()
    assert len(every) == 6
    assert [event for event in every if event in roots] == roots
    assert len(roots) == 4


def test_the_start_of_a_run_inside_another_is_told(listen):
    seen = []

    async def outer(x):
        return (await step.run(x)).output

    listen(seen.extend, starts="roots")
    (step >> outer).run_sync(0)
    flush()
    starts = [event.span for event in seen if event.kind == "start"]
    assert [span.run.root for span in starts] == starts
    assert [span.name for span in starts] == ["step >> outer", "step"]


def test_ends_arrive_while_a_run_waits(listen):
    arrived = threading.Event()

    def sink(batch):
        if any(event.kind == "end" and event.span.name == "first" for event in batch):
            arrived.set()

    async def wait(x):
        await asyncio.to_thread(arrived.wait, 10)
        return arrived.is_set()

    listen(sink, starts="roots")
    assert (step.named("first") >> wait).run_sync(0)


def test_the_end_of_work_in_the_background_arrives_after_the_run(listen):
    arrived = threading.Event()

    def sink(batch):
        if any(event.kind == "end" and event.span.name == "late" for event in batch):
            arrived.set()

    async def main():
        ended = asyncio.Event()
        late = as_primitive(lambda x: ended.wait()).named("late")
        tasks = []

        async def begin(x):
            tasks.append(asyncio.ensure_future(late(x)))
            await asyncio.sleep(0)

        run = await as_primitive(begin).run(0)
        assert run.has_more_to_come()
        flush()
        ended.set()
        await tasks[0]
        assert not run.has_more_to_come()
        return await asyncio.to_thread(arrived.wait, 10)

    listen(sink, starts="roots")
    assert asyncio.run(main())


def test_one_endless_run_does_not_fill_the_memory_while_a_sink_hangs(listen):
    entered, release = threading.Event(), threading.Event()

    def slow(batch):
        entered.set()
        release.wait(30)

    feed = listen(slow, capacity=10, starts="roots")
    try:
        chain.run_sync(0)
        assert entered.wait(10)
        MapPrimitive(step).run_sync(range(25_000))
        assert len(feed._ring) == 10
        assert feed.dropped == 1 + 25_001 - 10
    finally:
        release.set()


def test_a_sink_may_ask_for_previews(listen):
    seen = []
    listen(seen.extend, previews=True)
    chain.run_sync("text")
    flush()
    assert {(event.span.input_preview, event.span.output_preview) for event in seen} == {
        ("text", "text")
    }


def test_a_way_to_listen_that_means_nothing_is_refused():
    with pytest.raises(ConfigurationError, match="starts='some' means nothing"):
        subscribe(print, starts="some")


def test_the_thread_sleeps_when_the_runs_have_ended(listen):
    feed = listen([].extend, starts="roots")
    chain.run_sync(0)
    asleep = threading.Event()
    wait = feed._waken.wait
    feed._waken.wait = lambda: (asleep.set(), wait())
    chain.run_sync(0)
    assert asleep.wait(10)
