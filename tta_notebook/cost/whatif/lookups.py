"""What a cache would have been asked: by a model's calls, or by a recorded cache's own lookups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from tta_notebook.core.errors import ConfigurationError, Names
from tta_notebook.cost.whatif.answer import counted
from tta_notebook.cost.whatif.columns import UNKNOWN
from tta_notebook.cost.whatif.trace import Trace

REQUESTS = "requests"
"""Stands for a cache around every call to a model."""


@dataclass(slots=True)
class Asked:
    """Lookups in the order of time, by column.

    Attributes:
        keys: equal for what one answer would do for.
        at_s: when, in seconds since 1970.
        stored_s: when the answer was there, or would be.
        tokens: what a hit saves.
        pico: the same in money; UNKNOWN where that is not known.
        caveats: what was left out.
        recorded_hits: how many the recorded cache itself answered; None for calls.
    """

    keys: list[Hashable] = field(default_factory=list[Hashable])
    at_s: list[float] = field(default_factory=list[float])
    stored_s: list[float] = field(default_factory=list[float])
    tokens: list[int] = field(default_factory=list[int])
    pico: list[int] = field(default_factory=list[int])
    caveats: list[str] = field(default_factory=list[str])
    recorded_hits: int | None = None

    def add(self, key: Hashable, at_ns: int, stored_ns: int, tokens: int, pico: int) -> None:
        """Add a lookup."""
        self.keys.append(key)
        # As a cache reckons it, in floating-point seconds: what expires just then must do so here.
        self.at_s.append(at_ns / 1e9)
        self.stored_s.append(stored_ns / 1e9)
        self.tokens.append(tokens)
        self.pico.append(pico)

    def overlapping(self) -> int:
        """Return how many came while an earlier one had no answer yet."""
        latest, count = float("-inf"), 0
        for at, stored in zip(self.at_s, self.stored_s, strict=True):
            count += at < latest
            latest = max(latest, stored)
        return count


def asked_by_calls(trace: Trace, *, by_user: bool) -> Asked:
    """Return the calls as lookups of a cache that would stand before the models."""
    calls, asked = trace.calls, Asked()
    left_out: Counter[str] = Counter()
    for place, key in enumerate(calls.request_key):
        if calls.status[place] != "ok":
            left_out["failed"] += 1
        elif key is None:
            left_out["nameless"] += 1
        else:
            at_ns = calls.time_ns[place]
            asked.add(
                (key, calls.user[place]) if by_user else key,
                at_ns,
                at_ns + calls.duration_ns[place],
                calls.tokens(place),
                calls.cost[place],
            )
    if left_out["nameless"]:
        has = counted(left_out["nameless"], "call", ("has", "have"))
        asked.caveats.append(f"{has} no key of its request, and is left out.")
    _tell_failed(asked, left_out["failed"], "call")
    return asked


def asked_of_cache(trace: Trace, name: str, *, by_user: bool) -> Asked:
    """Return the lookups of a recorded cache.

    Raises:
        ConfigurationError: no such cache is recorded.
    """
    _check_name(trace, name)
    lookups, asked = trace.lookups, Asked(recorded_hits=0)
    known: dict[Hashable, tuple[int, int, int]] = {}
    failed = 0
    for place in _in_time(trace, name):
        if lookups.status[place] != "ok":
            failed += 1
            continue
        own = lookups.key[place]
        key = (own, lookups.user[place]) if by_user else own
        started, at_ns = lookups.started_ns[place], lookups.time_ns[place]
        is_reused = bool(lookups.is_hit[place] or lookups.is_joined[place])
        asked.recorded_hits = (asked.recorded_hits or 0) + is_reused
        if is_reused:
            # A join is noted when the answer is there.
            at_ns = started if lookups.is_joined[place] else at_ns
            # The cache itself notes what its answer reports, which may leave out steps before.
            saved = max(lookups.saved_tokens[place], 0)
            tokens, pico, took_ns = known.get(own, (saved, UNKNOWN, 0))
            asked.add(key, at_ns, at_ns + took_ns, tokens, pico)
        else:
            tokens, pico = _spent_inside(trace, lookups.span_id[place])
            took_ns = lookups.duration_ns[place]
            known[own] = tokens, pico, took_ns
            asked.add(key, at_ns, started + took_ns, tokens, pico)
    _tell_failed(asked, failed, "lookup")
    return asked


def _in_time(trace: Trace, name: str) -> Iterator[int]:
    """Give the places of a cache's lookups in the order in which they were asked."""
    lookups = trace.lookups
    places = [
        place
        for place, cache in enumerate(lookups.cache)
        if cache == name and lookups.kind[place] == "cache" and lookups.key[place] is not None
    ]

    def asked_ns(place: int) -> int:
        times = lookups.started_ns if lookups.is_joined[place] else lookups.time_ns
        return times[place]

    places.sort(key=asked_ns)
    seen: set[tuple[int, str | None]] = set()
    for place in places:
        # One that missed, and found the answer when it looked again, has two marks.
        mark = (lookups.span_id[place], lookups.key[place])
        if mark not in seen:
            seen.add(mark)
            yield place


def _spent_inside(trace: Trace, span_id: int) -> tuple[int, int]:
    """Return the tokens and the money that went for an answer."""
    calls = trace.calls
    inside = trace.inside.get(span_id, ())
    costs = [calls.cost[place] for place in inside if calls.has_usage(place)]
    tokens = sum(calls.tokens(place) for place in inside)
    return tokens, UNKNOWN if UNKNOWN in costs else sum(costs)


def _check_name(trace: Trace, name: object) -> None:
    lookups = trace.lookups
    known = dict(zip(lookups.cache, lookups.kind, strict=True))
    if name not in known:
        names = Names([REQUESTS, *known]).instead_of(name)
        raise ConfigurationError(
            f"WhatIf.cache: over={name!r} is no cache that has a recorded lookup; it can be "
            f"{names}. 'requests' puts a cache around every call to a model."
        )
    if known[str(name)] != "cache":
        raise ConfigurationError(
            f"WhatIf.cache: over={name!r} is a {known[str(name)]}, which answers what is alike, "
            "and no text is recorded that could be compared. Ask over='requests', or over a "
            "CachePrimitive."
        )


def _tell_failed(asked: Asked, failed: int, thing: str) -> None:
    if failed:
        has = counted(failed, thing)
        asked.caveats.append(
            f"{has} that failed {'is' if failed == 1 else 'are'} left out: an error is not kept, "
            "though a kept answer would have spared some of them."
        )
