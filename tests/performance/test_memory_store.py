"""The store in memory: what goes when there is no room."""

import asyncio
import sys
import threading

import pytest

from tta_notebook import ConfigurationError
from tta_notebook.core import clock
from tta_notebook.performance.entry import Entry, now_s
from tta_notebook.performance.stores.memory import OVERHEAD_BYTES, MemoryStore
from tta_notebook.testing import run_virtual


def entry(value=None, ttl_s=1000.0):
    return Entry(value, now_s(), now_s() + ttl_s, now_s() + ttl_s)


def keys(store):
    return list(store._entries)


async def put(store, *names, **arguments):
    for name in names:
        await store.put(name, entry(**arguments))


def test_the_least_recently_used_entry_makes_room():
    store = MemoryStore(max_size=3)

    async def main():
        await put(store, "a", "b", "c")
        await store.get("a")
        await put(store, "d")

    asyncio.run(main())
    assert keys(store) == ["c", "a", "d"]
    assert store.counters().evictions == 1


def test_writing_again_takes_no_room():
    store = MemoryStore(max_size=2)
    asyncio.run(put(store, "a", "b", "a", "a"))
    assert keys(store) == ["b", "a"]
    assert store.counters().evictions == 0


def test_an_entry_whose_time_is_over_is_gone_and_counted_once():
    store = MemoryStore()

    async def main():
        await put(store, "a", ttl_s=10)
        await asyncio.sleep(9)
        assert await store.get("a") is not None
        await asyncio.sleep(1)
        assert await store.get("a") is None
        assert await store.get("a") is None

    run_virtual(main)
    assert store.counters().expirations == 1
    assert len(store) == 0


def test_an_expired_entry_that_makes_room_has_expired():
    store = MemoryStore(max_size=1)

    async def main():
        await put(store, "a", ttl_s=10)
        await asyncio.sleep(11)
        await put(store, "b")

    run_virtual(main)
    assert (store.counters().expirations, store.counters().evictions) == (1, 0)


def test_bytes_are_bounded_by_the_documented_estimate():
    value = "x" * 1000
    one = OVERHEAD_BYTES + sys.getsizeof(value) + sys.getsizeof(None)
    store = MemoryStore(max_bytes=2 * one)
    asyncio.run(put(store, "a", "b", value=value))
    assert keys(store) == ["a", "b"]
    asyncio.run(put(store, "c", value=value))
    assert keys(store) == ["b", "c"]
    assert store._bytes == 2 * one
    asyncio.run(store.delete("b"))
    asyncio.run(store.delete("b"))
    assert store._bytes == one


def test_what_an_answer_holds_counts_each_object_once():
    store = MemoryStore(max_bytes=10**9)
    shared = "y" * 5000
    asyncio.run(put(store, "a", value={"one": [shared], "two": (shared, {shared})}))
    assert 5000 < store._bytes < 7000


def test_what_is_larger_than_the_store_is_not_kept_and_displaces_nothing():
    store = MemoryStore(max_bytes=5000)
    asyncio.run(put(store, "a", "b", value="x"))
    asyncio.run(put(store, "c", value="x" * 10_000))
    assert keys(store) == ["a", "b"]
    assert store.counters().evictions == 1


def test_clearing_empties_it():
    store = MemoryStore(max_bytes=5000)
    asyncio.run(put(store, "a", "b"))
    asyncio.run(store.clear())
    assert (len(store), store._bytes) == (0, 0)


@pytest.mark.parametrize("size", [0, -1, True, "10", 1.5])
@pytest.mark.parametrize("name", ["max_size", "max_bytes"])
def test_a_bound_that_means_nothing_is_refused(name, size):
    with pytest.raises(ConfigurationError, match=name):
        MemoryStore(**{name: size})


def test_many_threads_may_use_it_at_once():
    store = MemoryStore(max_size=20, max_bytes=10**6)
    errors = []

    def work(number):
        try:
            for turn in range(2000):
                key = str((number * 7 + turn) % 40)
                if turn % 3 == 0:
                    store.put_now(key, entry(ttl_s=0.001 if turn % 2 else 100))
                else:
                    store.get_now(key, now_s())
        except Exception as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store) <= 20
    assert store._bytes == sum(kept.size for kept in store._entries.values())


def test_the_clock_is_the_one_other_processes_have():
    assert abs(now_s() - clock.wall_ns(clock.source()) / 1e9) < 1
