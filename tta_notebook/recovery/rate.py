"""Requests and tokens per minute, reserved before a call and settled after it."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from tta_notebook.core import checked, clock, travel
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import ConfigurationError, LimitExceededError
from tta_notebook.core.protocols import PlannedCall
from tta_notebook.core.usage import Usage
from tta_notebook.recovery.places import Places
from tta_notebook.recovery.rate_headers import Resource, allowance

_MINUTE_NS = 60e9
_OWNER = "RateLimit"


class RateLimit:
    """A limit of requests and tokens per minute, for everything that shares the object.

    Before a call the most that it may use is reserved; after it what it did use is settled, and the
    rest given back. Who waits does so in line, so that a large call is not starved by small ones.
    It works across event loops and threads, and is a guard: in
    `WorkflowContext().using(guards=(limit,))` it limits every call to a model of a run.

    It is a token bucket (Turner 1986): full at first, refilled evenly. The copies in the workers of
    a cluster get equal shares of what is in it, of what refills it and of what it holds.

    Args:
        requests_per_minute: how many calls; by default any number.
        tokens_per_minute: how many tokens, input and output; by default any number.
        burst: the share of a minute's allowance that may be used at once.
        max_wait_seconds: how long a call may wait; by default as long as its deadline lets.
        name: how it is called in errors and traces.

    >>> limit = RateLimit(requests_per_minute=60, burst=0.05)
    >>> limit.free("requests")
    3.0
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        *,
        burst: float = 1.0,
        max_wait_seconds: float | None = None,
        name: str = "rate limit",
    ) -> None:
        share = checked.share(_OWNER, "burst", burst)
        self._buckets: dict[Resource, _Bucket] = {}
        if requests_per_minute is not None:
            rate = checked.number(_OWNER, "requests_per_minute", requests_per_minute, least=1)
            self._buckets["requests"] = _Bucket(rate, max(1.0, rate * share))
        if tokens_per_minute is not None:
            rate = checked.number(_OWNER, "tokens_per_minute", tokens_per_minute, least=1)
            self._buckets["tokens"] = _Bucket(rate, rate * share)
        if not self._buckets:
            raise ConfigurationError(
                "RateLimit: neither requests_per_minute nor tokens_per_minute was given, so there "
                "is nothing to limit. Give at least one."
            )
        if max_wait_seconds is not None:
            max_wait_seconds = checked.seconds(_OWNER, "max_wait_seconds", max_wait_seconds)
        self.max_wait_seconds = max_wait_seconds
        self.name = name
        self._blocked_until_ns = 0.0
        self._shares = 1
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._turn = Places(1)
        self._queued: dict[Resource, float] = dict.fromkeys(self._buckets, 0.0)
        self._first: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._lock = threading.Lock()

    def free(self, resource: Resource) -> float:
        """Return how much may be used now; negative when more was used than reserved."""
        bucket = self._buckets.get(resource)
        return math.inf if bucket is None else bucket.level()

    def limits(self, resource: Resource) -> bool:
        """Tell whether it limits requests, or tokens."""
        return resource in self._buckets

    # What callers ask and tell

    async def reserve(self, call: PlannedCall) -> RateHold:
        """Reserve a call to a model, as a guard: its input and the most of its output.

        Raises:
            LimitExceededError: see `acquire`.
        """
        tokens = (call.input_tokens or 0) + call.max_output_tokens
        return await self.acquire(tokens, call.context)

    async def acquire(self, tokens: float, context: WorkflowContext) -> RateHold:
        """Reserve one request and so many tokens; wait in line for it.

        Raises:
            LimitExceededError: it can never be had, or not before the deadline or in
                `max_wait_seconds`; then nothing is waited for.
        """
        asked: dict[Resource, float] = {"requests": 1.0, "tokens": tokens}
        asked = {resource: asked[resource] for resource in self._buckets}
        self._refuse_impossible(asked)
        start_ns = clock.source()
        if not (self._turn.waiting == 0 and self._turn.free and self._take(asked)):
            await self._wait(asked, context)
            context.note("rate_limit", limit=self.name, waited_s=(clock.source() - start_ns) / 1e9)
        return RateHold(self, asked)

    def observe(self, headers: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        """Take in what a provider says of its own limits.

        Args:
            headers: of an answer or an error, names in any case.
            retry_after_s: for how many seconds it wants no call at all.
        """
        lower = {str(name).lower(): str(value) for name, value in headers.items()}
        with self._lock:
            now_ns = clock.source()
            for resource, bucket in self._buckets.items():
                said = allowance(lower, resource)
                if said is not None:
                    bucket.cap(said.remaining, said.reset_s)
            if retry_after_s is not None and 0 <= retry_after_s < math.inf:
                self._blocked_until_ns = max(self._blocked_until_ns, now_ns + retry_after_s * 1e9)

    def give_back(self, amounts: Mapping[Resource, float]) -> None:
        """Return what was reserved and not used; negative amounts were used beyond it."""
        with self._lock:
            for resource, amount in amounts.items():
                self._buckets[resource].add(amount)
            first = self._first
        if first is not None:
            with suppress(RuntimeError):  # its loop was closed
                first[0].call_soon_threadsafe(first[1].set)

    # How it waits

    async def _wait(self, asked: Mapping[Resource, float], context: WorkflowContext) -> None:
        self._refuse_too_late(asked, context)
        self._enqueue(asked, 1)
        try:
            await self._turn.take()
            try:
                await self._wait_as_first(asked, context)
            finally:
                self._turn.give_back()
        finally:
            self._enqueue(asked, -1)

    async def _wait_as_first(
        self, asked: Mapping[Resource, float], context: WorkflowContext
    ) -> None:
        more = asyncio.Event()
        self._first = (asyncio.get_running_loop(), more)
        try:
            while not self._take(asked):
                delay_s = self._delay_s(asked)
                self._refuse_if_longer(delay_s, context)
                more.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        await more.wait()
        finally:
            self._first = None

    def _enqueue(self, asked: Mapping[Resource, float], sign: int) -> None:
        with self._lock:
            for resource, amount in asked.items():
                self._queued[resource] += sign * amount

    def _take(self, asked: Mapping[Resource, float]) -> bool:
        with self._lock:
            if clock.source() < self._blocked_until_ns:
                return False
            if any(self._buckets[resource].lacks(amount) for resource, amount in asked.items()):
                return False
            for resource, amount in asked.items():
                self._buckets[resource].add(-amount)
            return True

    def _delay_s(self, asked: Mapping[Resource, float]) -> float:
        with self._lock:
            blocked_s = (self._blocked_until_ns - clock.source()) / 1e9
            waits = [self._buckets[resource].wait_s(amount) for resource, amount in asked.items()]
            return max(0.0, blocked_s, *waits)

    # What it refuses

    def _refuse_impossible(self, asked: Mapping[Resource, float]) -> None:
        for resource, amount in asked.items():
            bucket = self._buckets[resource]
            if not amount <= bucket.capacity:  # a NaN compares with nothing
                share = "" if self._shares == 1 else f" of this share of {self._shares}"
                raise LimitExceededError(
                    f"RateLimit {self.name!r}: a call needs {amount:g} {resource}, and no more "
                    f"than {bucket.capacity:g}{share} can be had at once, so it would wait for "
                    "ever. Make "
                    "the call smaller (max_output_tokens counts in full), or raise "
                    f"{resource}_per_minute or burst.",
                    limit=self.name,
                    retryable=False,
                )

    def _refuse_too_late(self, asked: Mapping[Resource, float], context: WorkflowContext) -> None:
        """Refuse what cannot be had in time even if everybody in line is served at once."""
        with self._lock:
            ahead: dict[Resource, float] = {
                resource: self._queued[resource] + amount for resource, amount in asked.items()
            }
        self._refuse_if_longer(self._delay_s(ahead), context)

    def _refuse_if_longer(self, delay_s: float, context: WorkflowContext) -> None:
        limits = (self.max_wait_seconds, context.remaining())
        patience_s = min((limit for limit in limits if limit is not None), default=math.inf)
        if delay_s > patience_s:
            context.note("rate_limit", limit=self.name, refused=True, wait_s=delay_s)
            raise LimitExceededError(
                f"RateLimit {self.name!r}: a call would wait {delay_s:.3g} s for its turn, and has "
                f"{max(0.0, patience_s):.3g} s. Call again later, allow more time, or raise the "
                "limit.",
                limit=self.name,
                retry_after=delay_s,
            )

    # How it is divided. Instants of a monotonic clock mean nothing elsewhere

    def __getstate__(self) -> dict[str, Any]:
        shares = travel.shares_of(f"RateLimit {self.name!r}")
        with self._lock:
            if "requests" in self._buckets and self._buckets["requests"].capacity < shares:
                raise self._too_small(shares)
            return {
                "max_wait_seconds": self.max_wait_seconds,
                "name": self.name,
                "buckets": {name: each.share(shares) for name, each in self._buckets.items()},
                "blocked_ns": self._blocked_until_ns - clock.source(),
                "shares": self._shares * shares,
            }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.max_wait_seconds = state["max_wait_seconds"]
        self.name = state["name"]
        self._buckets = {name: _Bucket.of(share) for name, share in state["buckets"].items()}
        self._blocked_until_ns = clock.source() + state["blocked_ns"]
        self._shares = state["shares"]
        self._start_afresh()

    def _too_small(self, shares: int) -> ConfigurationError:
        capacity = self._buckets["requests"].capacity
        return ConfigurationError(
            f"RateLimit {self.name!r}: the {capacity:g} requests that it lets through at once are "
            f"to be divided among {shares} worker processes, and a share below 1 would let none "
            "through. Use fewer workers, or raise burst or requests_per_minute."
        )


class RateHold:
    """What was reserved for one call.

    Attributes:
        max_output_tokens: a rate limit does not shorten answers.
    """

    max_output_tokens: int | None = None

    def __init__(self, limit: RateLimit, amounts: Mapping[Resource, float]) -> None:
        self._limit = limit
        self._amounts: Mapping[Resource, float] | None = amounts

    def settle(self, usage: Any) -> None:
        """Book what the call really used; settling again changes nothing."""
        used = Usage.read(usage)
        amounts, self._amounts = self._amounts, None
        if amounts is not None and used is not None and "tokens" in amounts:
            self._limit.give_back({"tokens": amounts["tokens"] - used.total_tokens})

    def release(self) -> None:
        """Give everything back: nothing was sent."""
        amounts, self._amounts = self._amounts, None
        if amounts is not None:
            self._limit.give_back(amounts)


class _Share(NamedTuple):
    """A part of a bucket: what refills it, what it holds, what is in it, how long it is shut."""

    per_minute: float
    capacity: float
    level: float
    empty_ns: float | None


class _Bucket:
    """An allowance that refills evenly."""

    def __init__(self, per_minute: float, capacity: float) -> None:
        self.capacity = capacity
        self._per_ns = per_minute / _MINUTE_NS
        self._level = capacity
        self._at_ns: float = clock.source()
        self._empty_until_ns: float | None = None

    def share(self, shares: int) -> _Share:
        """Return one of `shares` equal parts of it."""
        now_ns, level = clock.source(), self.level()
        empty_ns = None if self._empty_until_ns is None else self._empty_until_ns - now_ns
        return _Share(
            self._per_ns * _MINUTE_NS / shares, self.capacity / shares, level / shares, empty_ns
        )

    @classmethod
    def of(cls, share: _Share) -> _Bucket:
        """Return a bucket that goes on from there."""
        bucket = cls(share.per_minute, share.capacity)
        bucket._level = share.level
        if share.empty_ns is not None:
            bucket._empty_until_ns = clock.source() + share.empty_ns
        return bucket

    def level(self) -> float:
        now_ns = clock.source()
        if self._empty_until_ns is None:
            # A limit made before a test's virtual clock began would be from the future.
            passed_ns = max(0.0, now_ns - self._at_ns)
            refilled = self._level + passed_ns * self._per_ns
            self._level = min(self.capacity, refilled)
        elif now_ns >= self._empty_until_ns:
            self._level, self._empty_until_ns = self.capacity, None
        self._at_ns = now_ns
        return self._level

    def lacks(self, amount: float) -> bool:
        # A billionth is less than a float's error over the waiting that came before.
        return self.level() < amount * (1 - 1e-9)

    def add(self, amount: float) -> None:
        self._level = min(self.capacity, self.level() + amount)

    def cap(self, level: float, reset_s: float | None) -> None:
        """Take in that no more than `level` is left, and all of it again in `reset_s`."""
        self._level = min(self.level(), level)
        if level == 0 and reset_s is not None:
            self._empty_until_ns = clock.source() + reset_s * 1e9

    def wait_s(self, amount: float) -> float:
        lacking = amount - self.level()
        if lacking <= 0:
            return 0.0
        if self._empty_until_ns is not None:
            return max(0.0, self._empty_until_ns - clock.source()) / 1e9
        return lacking / self._per_ns / 1e9
