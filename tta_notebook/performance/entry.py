"""What a cache keeps, and what keeps it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from tta_notebook.core import clock
from tta_notebook.core.events import StreamChunk
from tta_notebook.core.usage import Usage


def now_s() -> float:
    """Return seconds since the Unix epoch, which other processes count alike.

    It is read from the monotonic clock, anchored once per process: within one process it never goes
    back, and virtual time moves it.
    """
    return clock.wall_ns(clock.source()) / 1e9


@dataclass(slots=True, eq=False)
class Entry:
    """An answer with what it took to get it.

    Attributes:
        value: the answer; None where `error` is it.
        stored_at_s: when it was stored, in seconds since the Unix epoch.
        expires_at_s: until when it is fresh; infinity for ever.
        drop_at_s: when a store may forget it: an expired answer may still be of use.
        chunks: the pieces in which it was streamed, if it was.
        compute_s: how many seconds it took.
        usage: what it used, which a hit saves.
        cost_pico: what that cost, in pico-dollars, where it is known.
        error: the error of a call that failed in a way that is remembered.
        size: bytes, estimated by a store that counts them; 0 where none does.
        is_immutable: whether the answer can be handed out without a copy; no matter to a store of
            bytes.
        is_plain: whether that is all there is to handing it out: it is no error.
        saved: the tokens that a hit saves.
    """

    value: Any
    stored_at_s: float
    expires_at_s: float = math.inf
    drop_at_s: float = math.inf
    chunks: tuple[StreamChunk, ...] | None = None
    compute_s: float = 0.0
    usage: Usage | None = None
    cost_pico: int | None = None
    error: Exception | None = None
    size: int = 0
    is_immutable: bool = False
    is_plain: bool = False
    saved: int = 0

    def age_s(self, at_s: float) -> float:
        """Return how old it is; another process's clock may be a little ahead."""
        return max(0.0, at_s - self.stored_at_s)


@dataclass(slots=True)
class StoreCounters:
    """What a store counts.

    Attributes:
        size: how many entries it holds; None where that is not known at once.
        expirations: entries it dropped because their time was over.
        evictions: entries it dropped to make room, or had no room for.
    """

    size: int | None = 0
    expirations: int = 0
    evictions: int = 0


class CacheStore(Protocol):
    """Where a cache keeps its entries, under keys of 40 hexadecimal digits.

    A store may raise anything: that costs a miss and is counted, but never costs the answer. A
    store in this process's memory may also have `get_now(key, at_s)` and
    `put_now(key, entry)`, the same without a coroutine: a hit takes half the time then.
    """

    @property
    def keeps_objects(self) -> bool:
        """Whether `get` gives the very object that was put, which is copied then.

        A store of bytes gives a new one each time.
        """
        ...

    async def get(self, key: str) -> Entry | None:
        """Return the entry, also if it has expired; None when there is none or its `drop_at_s` is past."""  # noqa: E501
        ...

    async def put(self, key: str, entry: Entry) -> None:
        """Keep the entry until `drop_at_s`, or until it is displaced.

        A store of bytes may leave out what it cannot write: a remembered error, say.
        """
        ...

    async def delete(self, key: str) -> None:
        """Forget the entry; a key that is not there is no error."""
        ...

    async def clear(self) -> None:
        """Forget everything."""
        ...

    def counters(self) -> StoreCounters:
        """Return what it has counted so far."""
        ...
