"""The event stream: what sinks get, and that they can harm nobody."""

import asyncio
import logging
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tta_notebook import (
    MapPrimitive,
    as_primitive,
    capture,
    flush,
    subscribe,
    unsubscribe,
)
from tta_notebook.core.stream import BATCH_EVENTS, Feed, stream

step = as_primitive(lambda x: x).named("step")
chain = step >> step


def run_script(code):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def listen():
    """Subscribe sinks for the length of a test."""
    feeds = []

    def listen(sink):
        feeds.append(subscribe(sink))
        return feeds[-1]

    yield listen
    for feed in feeds:
        unsubscribe(feed.sink)
    assert stream.feeds == ()
    assert not stream.is_recording


def test_events_come_in_order_start_before_end(listen):
    seen = []
    listen(seen.extend)
    chain.run_sync(0)
    flush()
    assert [(event.kind, event.span.name) for event in seen] == [
        ("start", "step >> step"),
        ("start", "step"),
        ("end", "step"),
        ("start", "step"),
        ("end", "step"),
        ("end", "step >> step"),
    ]


def test_events_come_in_bounded_batches(listen):
    batches = []
    listen(batches.append)
    MapPrimitive(step).run_sync(range(BATCH_EVENTS))
    flush()
    assert sum(map(len, batches)) == 2 * BATCH_EVENTS + 2
    assert max(map(len, batches)) <= BATCH_EVENTS


def test_events_arrive_without_anyone_flushing(listen):
    arrived = threading.Event()

    def sink(batch):
        if any(event.span.parent is None and event.kind == "end" for event in batch):
            arrived.set()

    listen(sink)
    chain.run_sync(0)
    assert arrived.wait(10)


def test_a_sink_runs_in_a_thread_of_its_own(listen):
    threads, arrived = set(), threading.Event()

    def sink(batch):
        threads.add(threading.current_thread())
        arrived.set()

    listen(sink)
    chain.run_sync(0)
    assert arrived.wait(10)
    assert threading.main_thread() not in threads


def test_two_sinks_get_the_same(listen):
    one, other = [], []
    listen(one.extend)
    listen(other.extend)
    chain.run_sync(0)
    flush()
    assert one == other != []


def test_unsubscribing_delivers_the_rest_and_nothing_after():
    seen = []
    subscribe(seen.extend)
    chain.run_sync(0)
    unsubscribe(seen.extend)
    assert len(seen) == 6
    chain.run_sync(0)
    flush()
    assert len(seen) == 6
    assert not stream.is_recording


def test_a_run_that_outlives_its_sink_goes_on():
    seen = []

    async def leave(x):
        unsubscribe(seen.extend)
        return x

    subscribe(seen.extend)
    assert (step >> leave >> step).run_sync(1) == 1
    assert [event.kind for event in seen] == ["start", "start", "end", "start"]


def test_unsubscribing_what_is_not_subscribed_does_nothing():
    before = stream.feeds
    unsubscribe(print)
    assert stream.feeds == before


@pytest.mark.parametrize("error", [OSError("down"), SystemExit(1), asyncio.CancelledError()])
def test_a_broken_sink_is_dropped_and_reported_once_while_runs_go_on(listen, caplog, error):
    calls, seen = [], []

    def broken(batch):
        calls.append(batch)
        raise error

    feed = listen(broken)
    listen(seen.extend)
    for _ in range(3):
        assert chain.run_sync(1) == 1
        flush()
    assert feed.is_broken
    assert len(calls) == 1
    assert len(seen) == 18
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "raised and gets no more events" in caplog.text
    assert [other.sink for other in stream.feeds] == [seen.extend]


def test_a_slow_sink_loses_the_oldest_with_a_count_and_delays_nobody(listen):
    entered, release, seen = threading.Event(), threading.Event(), []

    def slow(batch):
        entered.set()
        release.wait(30)
        seen.extend(batch)

    feed = stream.subscribe(slow, capacity=10)
    try:
        chain.run_sync(0)
        assert entered.wait(10)
        MapPrimitive(step).run_sync(range(500))  # comes back although the sink hangs
        last = [event.span for event in feed._ring]
        assert feed.dropped == 1002 - 10
        assert len(last) == 10
        release.set()
        flush()
        assert [event.span for event in seen[-10:]] == last
        assert len(seen) == 6 + 10
    finally:
        release.set()
        unsubscribe(slow)


def test_a_sink_is_never_called_twice_at_a_time_even_if_it_flushes(listen):
    depth, deepest = 0, 0

    def sink(batch):
        nonlocal depth, deepest
        depth += 1
        deepest = max(deepest, depth)
        flush()
        depth -= 1

    listen(sink)
    MapPrimitive(step).run_sync(range(3 * BATCH_EVENTS))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: flush(), range(8)))
    assert deepest == 1


def test_a_sink_may_subscribe_and_unsubscribe_and_run_workflows(listen):
    late = []

    def sink(batch):
        unsubscribe(sink)
        listen(late.extend)
        step.run_sync(0)

    listen(sink)
    chain.run_sync(0)
    flush()
    flush()
    assert [event.span.name for event in late] == ["step", "step"]


def test_flush_returns_although_a_busy_sink_makes_events_itself(listen):
    rounds = []

    def sink(batch):
        if len(rounds) < 50:
            rounds.append(len(batch))
            step.run_sync(0)

    listen(sink)
    step.run_sync(0)
    flush()
    assert rounds[:1] == [2]


def test_many_threads_subscribe_and_run_at_once():
    def work(number):
        seen = []
        subscribe(seen.extend)
        with capture() as spans:
            MapPrimitive(step).run_sync(range(20))
        unsubscribe(seen.extend)
        own = {span.run for span in spans if span.kind == "map"}
        return len(seen) >= 42, len(spans) >= 21, len(own) >= 1

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(40))) == {(True, True, True)}
    assert (stream.feeds, stream.captures, stream.is_recording) == ((), (), False)


def test_events_put_by_many_threads_start_one_thread_only(listen):
    seen = []
    feed = listen(seen.extend)
    before = threading.active_count()
    barrier = threading.Barrier(8)

    def work(_):
        barrier.wait()
        step.run_sync(0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    flush()
    assert len(seen) == 16
    assert threading.active_count() <= before + 1
    assert feed.dropped == 0


def test_the_thread_of_a_feed_ends_with_it(listen):
    feed = listen([].extend)
    step.run_sync(0)
    thread = feed._thread
    unsubscribe(feed.sink)
    thread.join(10)
    assert not thread.is_alive()


def test_captures_nest_and_see_each_what_ends_inside():
    with capture() as outer:
        step.run_sync(0)
        with capture() as inner:
            chain.run_sync(0)
        step.run_sync(0)
    step.run_sync(0)
    assert (len(outer), len(inner)) == (5, 3)


def test_captures_end_with_the_block_also_when_it_raises():
    with pytest.raises(KeyError), capture():
        raise KeyError
    assert not stream.is_recording


def test_the_ring_is_bounded():
    feed = Feed(print, 100, lambda feed: None)
    feed._is_awake = True  # nobody drains
    for number in range(1000):
        feed.put(number)
    assert (len(feed._ring), feed.dropped) == (100, 900)


def test_a_thread_that_cannot_start_harms_no_run(listen, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    seen = []
    listen(seen.extend)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert chain.run_sync(1) == 1
    flush()
    assert len(seen) == 6


def test_events_at_the_exit_of_the_interpreter_are_delivered():
    assert run_script(
        """
        import tta_notebook as tta
        tta.subscribe(lambda batch: print(len(batch)))
        tta.as_primitive(len).run_sync("four")
        """
    ) == ["2"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_process_goes_on_with_a_stream_of_its_own():
    assert run_script(
        """
        import os, threading, warnings
        import tta_notebook as tta
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of forks beside threads
        seen = []
        entered, release = threading.Event(), threading.Event()
        def sink(batch):
            seen.extend(batch)
            entered.set()
            release.wait(10)
        tta.subscribe(sink)
        step = tta.as_primitive(len)
        step.run_sync("a")
        entered.wait(10)  # the parent's thread holds the feed's lock now
        step.run_sync("b")
        read, write = os.pipe()
        if pid := os.fork():
            release.set()
            os.waitpid(pid, 0)
            tta.flush()
            print(len(seen), os.read(read, 100).decode())
        else:
            seen.clear()
            release.set()
            arrived = threading.Event()
            tta.subscribe(lambda batch: arrived.set())
            step.run_sync("c")
            tta.flush()
            ok = arrived.is_set() and len(seen) == 2
            ids = {event.span.span_id for event in seen}
            os.write(write, f"{len(seen)} {ok}".encode())
            os._exit(0)
        """
    ) == ["4", "2", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_forked_processes_draw_identities_of_their_own():
    ids = run_script(
        """
        import os
        from tta_notebook.core.ids import span_ids
        span_ids.next()
        read, write = os.pipe()
        if pid := os.fork():
            os.waitpid(pid, 0)
            print(os.read(read, 100).decode(), span_ids.next())
        else:
            os.write(write, str(span_ids.next()).encode())
            os._exit(0)
        """
    )
    assert len(set(ids)) == 2
