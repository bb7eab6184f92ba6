"""Answers that are kept, so that the same question is asked once."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, cast

from tta_notebook.core import canonical, checked, clock
from tta_notebook.core.chance import Chance
from tta_notebook.core.checked import UNSET, UnsetType
from tta_notebook.core.chunks import Chunks
from tta_notebook.core.context import HERE, WorkflowContext, current_context
from tta_notebook.core.errors import CacheKeyError, ConfigurationError
from tta_notebook.core.primitive import TIn, TOut
from tta_notebook.core.version import VersionWatch
from tta_notebook.core.wrapper import WrapperPrimitive
from tta_notebook.performance.asking import Asking, Question
from tta_notebook.performance.entry import CacheStore, Entry, now_s
from tta_notebook.performance.freshness import Freshness
from tta_notebook.performance.hits import FRESH, NEGATIVE, STALE, Hits
from tta_notebook.performance.keeper import Keeper, chosen_store
from tta_notebook.performance.keys import Keys, Scope
from tta_notebook.performance.stale import StalePrimitive, missing
from tta_notebook.performance.statistics import Statistics

_OWNER = "CachePrimitive"

KeyFn = Callable[..., Any]


class CachePrimitive(WrapperPrimitive[TIn, TOut]):
    """Keeps the answers of the step it wraps, and gives them again to the same input.

    Concurrent calls with the same input are one call. An answer is one of the step's version: when
    its code, or what the code refers to, changes, it is asked anew. Errors are not kept. A store
    that fails costs a miss, never the answer. Streams are kept when complete, and replayed.

    What the step reads of its context (`state`, `metadata`) is no part of the key: where its answer
    depends on that, a `key_fn` has to say so.

    Args:
        primitive: the step; whatever `>>` takes.
        ttl_seconds: how long an answer is fresh; None for ever.
        max_size: the most answers in memory, 1000 by default.
        key_fn: a function of `(data)` or `(data, context)` whose result stands for the input.
        cache_key_fn: the same as `key_fn`.
        store: where answers are kept; by default in a `MemoryStore` of its own.
        backend: the same as `store`.
        max_bytes: the most bytes in memory, see `MemoryStore`.
        scope: who shares answers: "user" (one user each, where the context has one), "shared", or
            a function of the context.
        namespace: tells caches apart that share a store; by default the step's name.
        version: of the step, in place of the one that is made of its code.
        stale_while_revalidate: seconds past its expiry in which an answer is given while one call
            in the background gets a new one.
        stale_if_error: seconds past its expiry in which an answer is given when the call fails.
        early_refresh: from above 0 on, popular answers are refreshed in the background before they
            expire, the earlier the longer they take: the beta of Vattani, Chierichetti and
            Lowenstein, "Optimal Probabilistic Cache Stampede Prevention" (2015), where 1 is best.
        negative_ttl: for how many seconds which errors are remembered: `{NotFoundError: 60}`.
        copy: give and keep copies of answers that can change. False is for who never changes them.
        rng: where the chance of `early_refresh` comes from.
        name: how it is called in traces and pictures.

    Raises:
        ConfigurationError: an argument means nothing.
        ArgumentError: an argument was given under both of its names.

    >>> cached = CachePrimitive(str.upper, ttl_seconds=60)
    >>> cached.run_sync("hello"), cached.run_sync("hello")
    ('HELLO', 'HELLO')
    >>> stats = cached.get_stats()
    >>> stats["hits"], stats["misses"], stats["hit_rate"]
    (1, 1, 50.0)
    """

    kind: ClassVar[str] = "cache"

    def __init__(
        self,
        primitive: Any,
        ttl_seconds: float | None = 3600.0,
        max_size: int | UnsetType = UNSET,
        key_fn: KeyFn | UnsetType | None = UNSET,
        *,
        cache_key_fn: KeyFn | UnsetType | None = UNSET,
        store: CacheStore | UnsetType | None = UNSET,
        backend: CacheStore | UnsetType | None = UNSET,
        max_bytes: int | UnsetType | None = UNSET,
        scope: Scope = "user",
        namespace: str | None = None,
        version: str | int | None = None,
        stale_while_revalidate: float = 0.0,
        stale_if_error: float = 0.0,
        early_refresh: float = 0.0,
        negative_ttl: Mapping[type[Exception], float] | None = None,
        copy: bool = True,
        rng: random.Random | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(primitive, prefix="cache", name=name)
        function = checked.either(
            _OWNER, ("key_fn", key_fn), ("cache_key_fn", cache_key_fn), default=None
        )
        given = checked.either(_OWNER, ("store", store), ("backend", backend), default=None)
        self._freshness = Freshness.checked(
            ttl_seconds=ttl_seconds,
            stale_while_revalidate=stale_while_revalidate,
            stale_if_error=stale_if_error,
            early_refresh=early_refresh,
            negative_ttl=negative_ttl,
        )
        self._is_early_on = self._freshness.beta > 0
        self._rng = rng or Chance()
        # Not made of the step's code here: what wraps this one walks through to the step itself,
        # also when the step, in turn, calls this cache.
        self.version = _checked_version(version)
        self._watch = VersionWatch(self.primitive if version is None else None)
        space = self.primitive.name if namespace is None else namespace
        self._keys = Keys(_OWNER, space, scope, function)
        self._counts = Statistics()
        self._keeper = Keeper(chosen_store(given, max_size, max_bytes), self._counts)
        self._hits = Hits(self._keeper, self._counts, copies=copy)
        self._asking = Asking(
            self.primitive,
            self.name,
            freshness=self._freshness,
            keeper=self._keeper,
            hits=self._hits,
            counts=self._counts,
            watch=self._watch,
            version=self._version,
            copies=copy,
        )

    @property
    def store(self) -> CacheStore:
        """Where the answers are kept."""
        return self._keeper.store

    # Looking up

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Give the stored answer, or get one and store it.

        Raises:
            CacheKeyError: no key can be made of the input.
            CacheRecursionError: the step asks for the very answer it works on.
        """
        keys, keeper = self._keys, self._keeper
        version = self.version or self._watch.current()
        if keys.is_simple:
            key = keys.simple(version, input_data, context)
        else:
            key = await keys.of(version, input_data, context)
        landed: int | None = None
        if keeper.get_now is None:
            landed = self._asking.flights.landed
            entry = await keeper.get(key, context)
            now_ns = clock.source()
            at_s = clock.wall_ns(now_ns) / 1e9
        else:
            # Keeper.get in place: a hit is answered without another coroutine.
            now_ns = clock.source()
            at_s = clock.wall_ns(now_ns) / 1e9
            try:
                entry = keeper.get_now(key, at_s)
            except Exception as error:  # noqa: BLE001 - a cache's back end
                keeper.failed("get", error, context)
                entry = None
        if entry is not None:
            if entry.is_plain and at_s < entry.expires_at_s and not self._is_early_on:
                # What the two calls below come to for most texts, in half the time.
                self._counts.hits += 1
                saved = entry.saved
                if (span := context.span) is not None:
                    age_s = at_s - entry.stored_at_s
                    data = {"hit": True, "age_s": age_s, "saved": saved, "key": key}
                    if entry.cost_pico is not None:
                        data["saved_pico"] = entry.cost_pico
                    span.note("cache", now_ns, data)
                if entry.usage is not None:
                    self._counts.tokens_saved += saved
                    context.reused(entry.value)
                value: TOut = entry.value  # no cast: that is a call, and every hit would pay it
                return value
            mark = self._mark(entry, at_s, key, version, input_data, context)
            if mark is not None:
                return cast("TOut", self._hits.value(key, entry, at_s, mark, context))
        question = Question(key, version, input_data, context, entry, landed)
        return cast("TOut", await self._asking.answer(question))

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        version = self._version()
        key = await self._keys.of(version, input_data, context)
        landed = self._asking.flights.landed
        entry = await self._keeper.get(key, context)
        if entry is not None:
            at_s = now_s()
            mark = self._mark(entry, at_s, key, version, input_data, context)
            if mark is not None:
                for chunk in self._hits.chunks(key, entry, at_s, mark, context):
                    yield chunk
                return
        question = Question(key, version, input_data, context, entry, landed)
        async with aclosing(self._asking.stream(question)) as pieces:
            async for chunk in pieces:
                yield chunk

    def _version(self) -> str:
        return self.version or self._watch.current()

    def _mark(
        self,
        entry: Entry,
        at_s: float,
        key: str,
        version: str,
        input_data: Any,
        context: WorkflowContext,
    ) -> Mapping[str, Any] | None:
        """Return what a note says beside "hit", None where it is none; begin a refresh if due."""
        is_fresh = at_s < entry.expires_at_s
        if entry.error is not None:
            return NEGATIVE if is_fresh else None
        if is_fresh and not self._freshness.is_early(entry, at_s, self._rng):
            return FRESH
        if is_fresh or self._freshness.may_revalidate(entry, at_s):
            self._asking.refresh(Question(key, version, input_data, context))
            return FRESH if is_fresh else STALE
        return None

    async def _key(self, input_data: Any, context: WorkflowContext) -> str:
        return await self._keys.of(self._version(), input_data, context)

    async def settled(self) -> None:
        """Wait until the calls in the background that were begun on this loop are over."""
        await self._asking.settled()

    # What else it can be asked

    def stale(self, max_age_seconds: float | None = None) -> StalePrimitive[TIn, TOut]:
        """Return a step that gives stored answers, also expired ones, and never asks."""
        return StalePrimitive(self, max_age_seconds)

    async def kept(
        self, input_data: TIn, context: WorkflowContext, max_age_s: float | None
    ) -> TOut:
        """Give the stored answer, also if it has expired; for `stale()`.

        Raises:
            CacheMissError: there is none, or it is too old.
        """
        key = await self._key(input_data, context)
        entry = await self._keeper.get(key, context)
        at_s = now_s()
        age_s = None if entry is None or entry.error is not None else entry.age_s(at_s)
        if entry is None or age_s is None or (max_age_s is not None and age_s > max_age_s):
            context.note("cache", hit=False, key=key)
            raise missing(self.name, age_s, max_age_s)
        mark = FRESH if at_s < entry.expires_at_s else STALE
        return cast("TOut", self._hits.value(key, entry, at_s, mark, context))

    async def invalidate(self, input_data: TIn, context: WorkflowContext | None = None) -> None:
        """Forget the answer to an input, and do not keep the one that is under way.

        Args:
            input_data: the input.
            context: of the user whose answer it is; by default the current one.

        Raises:
            Exception: what the store raises; the answer may be there still.
        """
        key = await self._key(input_data, context or current_context() or WorkflowContext())
        self._asking.flights.disown(key)
        await self.store.delete(key)

    async def clear(self) -> None:
        """Forget all answers in the store, also those of other caches that share it."""
        self._asking.flights.disown()
        await self.store.clear()

    def get_stats(self) -> dict[str, Any]:
        """Return what was counted; `hit_rate` is hits in per cent of hits and misses."""
        counts, stored = self._counts, self.store.counters()
        return {
            "size": stored.size,
            "hits": counts.hits,
            "misses": counts.misses,
            "joined": counts.joined,
            "expirations": stored.expirations,
            "evictions": stored.evictions,
            "stale": counts.stale,
            "refreshes": counts.refreshes,
            "errors": counts.errors,
            "tokens_saved": counts.tokens_saved,
            "hit_rate": counts.hit_rate,
        }


def _checked_version(version: str | int | None) -> str | None:
    if version is None:
        return None
    try:
        return canonical.digest(version, root="version")
    except CacheKeyError as error:
        raise ConfigurationError(
            f"{_OWNER}: version={version!r} cannot be part of a key. Give a text or a number."
        ) from error
