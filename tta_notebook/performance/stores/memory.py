"""Entries in this process's memory."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, cast

from tta_notebook.core import checked
from tta_notebook.core.objects import state_of
from tta_notebook.performance.entry import Entry, StoreCounters, now_s

# What an entry, its key and its place in the order take beside the answer, on CPython 3.11.
OVERHEAD_BYTES = 400

_MAX_DEPTH = 50


class MemoryStore:
    """Keeps entries in memory; the least recently used one makes room for a new one.

    Reading counts as use. It may be shared by several caches, event loops and threads. A copy in
    another process begins empty.

    Args:
        max_size: the most entries.
        max_bytes: the most bytes, if they are bounded. Sizes are estimated: `sys.getsizeof` of the
            answer and of everything in it, each object once, plus 400 bytes. An answer that is
            larger than the whole store is not kept.

    >>> import asyncio
    >>> store = MemoryStore(max_size=1)
    >>> async def main():
    ...     await store.put("a", Entry("first", now_s()))
    ...     await store.put("b", Entry("second", now_s()))
    ...     return await store.get("a"), (await store.get("b")).value
    >>> asyncio.run(main()), store.counters().evictions
    ((None, 'second'), 1)
    """

    keeps_objects: bool = True

    def __init__(self, max_size: int = 1000, max_bytes: int | None = None) -> None:
        self._max_size = checked.count("MemoryStore", "max_size", max_size)
        self._max_bytes = (
            None if max_bytes is None else checked.count("MemoryStore", "max_bytes", max_bytes)
        )
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._bytes = 0
        self._expirations = 0
        self._evictions = 0
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._max_size, self._max_bytes)

    def __repr__(self) -> str:
        return f"<MemoryStore {len(self)} of {self._max_size}>"

    def get_now(self, key: str, at_s: float) -> Entry | None:
        """Return the entry, also if it has expired; None when there is none to be had."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.drop_at_s <= at_s:
            self._expire(key, entry)
            return None
        try:
            # Without the lock, which is a fifth of what a hit costs: each of the two is atomic.
            self._entries.move_to_end(key)
        except KeyError:
            return entry  # another thread has just dropped it
        return entry

    def _expire(self, key: str, entry: Entry) -> None:
        with self._changing:
            if self._entries.get(key) is entry:
                self._drop(key)
                self._expirations += 1

    def put_now(self, key: str, entry: Entry) -> None:
        """Keep the entry, and make room for it."""
        if self._max_bytes is not None and not entry.size:
            entry.size = OVERHEAD_BYTES + _size(entry)
        with self._changing:
            known = self._entries.get(key)
            if known is not None:
                self._expirations += known.expires_at_s <= entry.stored_at_s
                self._drop(key)
            self._entries[key] = entry
            self._bytes += entry.size
            while self._is_full():
                self._evict()

    def _is_full(self) -> bool:
        if len(self._entries) > self._max_size:
            return True
        return self._max_bytes is not None and self._bytes > self._max_bytes

    def _evict(self) -> None:
        key, entry = next(iter(self._entries.items()))
        if self._max_bytes is not None:
            newest, last = next(reversed(self._entries.items()))
            if last.size > self._max_bytes:
                # It goes itself rather than everything before it.
                key, entry = newest, last
        self._drop(key)
        if entry.drop_at_s <= now_s():
            self._expirations += 1
        else:
            self._evictions += 1

    def _drop(self, key: str) -> None:
        self._bytes -= self._entries.pop(key).size

    async def get(self, key: str) -> Entry | None:
        """Return the entry, also if it has expired; None when there is none to be had."""
        return self.get_now(key, now_s())

    async def put(self, key: str, entry: Entry) -> None:
        """Keep the entry, and make room for it."""
        self.put_now(key, entry)

    async def delete(self, key: str) -> None:
        """Forget the entry, if there is one."""
        with self._changing:
            if key in self._entries:
                self._drop(key)

    async def clear(self) -> None:
        """Forget everything."""
        with self._changing:
            self._entries.clear()
            self._bytes = 0

    def counters(self) -> StoreCounters:
        """Return how many entries there are, and how many have expired or been displaced."""
        return StoreCounters(len(self), self._expirations, self._evictions)


def _size(entry: Entry) -> int:
    seen = set[int]()
    return sum(_bytes_of(part, seen, 0) for part in (entry.value, entry.chunks, entry.error))


def _bytes_of(value: Any, seen: set[int], depth: int) -> int:
    if id(value) in seen:
        return 0
    seen.add(id(value))
    size = sys.getsizeof(value, 0)
    if depth >= _MAX_DEPTH or isinstance(value, str | bytes | int | float | type):
        return size
    return size + sum(_bytes_of(part, seen, depth + 1) for part in _parts(value))


def _parts(value: Any) -> list[Any]:
    parts: list[Any] = []
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value)
        parts += [*items.keys(), *items.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        parts += cast("list[Any]", value)
    return [*parts, *(held for _, _, held in state_of(value))]
