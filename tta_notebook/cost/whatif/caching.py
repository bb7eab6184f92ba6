"""What caches of any size and any time to live would have saved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, compress
from typing import TYPE_CHECKING, NamedTuple, cast

from tta_notebook.core import checked, money
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.cost.whatif.answer import Answer, Table, counted, data_frame
from tta_notebook.cost.whatif.columns import UNKNOWN
from tta_notebook.cost.whatif.lookups import Asked
from tta_notebook.cost.whatif.lru import walk
from tta_notebook.cost.whatif.stack import COLD, distances

if TYPE_CHECKING:
    import pandas as pd

_OWNER = "WhatIf.cache"

_LATER_STEPS = (
    "A cached answer may differ from the one that was given: what later steps asked would have "
    "differed, too."
)


@dataclass(frozen=True, slots=True)
class CachePoint:
    """What one cache would have done.

    Attributes:
        size: the most entries.
        ttl_seconds: how long an answer is fresh; None for ever.
        tokens_saved: what its hits would have used.
        saved_pico: what they would have cost.
        unpriced_hits: how many of them have no known cost, and count in no sum of money.

    >>> point = CachePoint(100, None, 3, 1, tokens_saved=700, saved_pico=10**12, unpriced_hits=0)
    >>> point.hit_rate, point.saved_usd
    (0.75, 1.0)
    """

    size: int
    ttl_seconds: float | None
    hits: int
    misses: int
    tokens_saved: int
    saved_pico: int
    unpriced_hits: int

    @property
    def hit_rate(self) -> float:
        """Which part of the lookups it answers; 0 where there are none."""
        lookups = self.hits + self.misses
        return self.hits / lookups if lookups else 0.0

    @property
    def saved_usd(self) -> float:
        """What its hits would have cost, in USD."""
        return money.usd(self.saved_pico)


class _Sums(NamedTuple):
    """Of hits in caches of each size, from 0."""

    hits: list[int]
    tokens: list[int]
    pico: list[int]
    unpriced: list[int]


class _Caches:
    """Caches of any size and time to live over some lookups."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked

    @cached_property
    def by_size(self) -> _Sums:
        """What caches of every size do without a time to live, by one pass."""
        asked, distinct = self.asked, len(set(self.asked.keys))
        columns = [[0] * (distinct + 1) for _ in _Sums._fields]
        hits, tokens, pico, unpriced = columns
        for place, distance in enumerate(distances(asked.keys)):
            if distance == COLD:
                continue
            hits[distance] += 1
            tokens[distance] += asked.tokens[place]
            if asked.pico[place] == UNKNOWN:
                unpriced[distance] += 1
            else:
                pico[distance] += asked.pico[place]
        return _Sums(*(list(accumulate(column)) for column in columns))

    def point(self, size: int, ttl_s: float | None) -> CachePoint:
        """Return what one of them does."""
        hits, tokens, pico, unpriced = self._sums(size, ttl_s)
        misses = len(self.asked.keys) - hits
        return CachePoint(size, ttl_s, hits, misses, tokens, pico, unpriced)

    def _sums(self, size: int, ttl_s: float | None) -> tuple[int, int, int, int]:
        if ttl_s is None:
            place = min(size, len(self.by_size.hits) - 1)
            hits, tokens, pico, unpriced = (column[place] for column in self.by_size)
            return hits, tokens, pico, unpriced
        asked = self.asked
        answered = walk(asked.keys, asked.at_s, asked.stored_s, size, ttl_s)
        costs = list(compress(asked.pico, answered))
        unpriced = costs.count(UNKNOWN)
        saved = sum(costs) - unpriced * UNKNOWN
        return len(costs), sum(compress(asked.tokens, answered)), saved, unpriced


@dataclass(frozen=True, repr=False)
class CacheCurve(Answer):
    """What LRU caches would have answered.

    Attributes:
        over: "requests", or the recorded cache's name.
        lookups: how many there were.
        distinct: how many different ones: a larger cache answers no more.
        recorded_hits: what the recorded cache itself answered; None over requests.
        points: for each time to live and size that was asked for.

    >>> from tta_notebook.cost.whatif import WhatIf
    >>> curve = WhatIf([]).cache(sizes=[10, 100], ttl_seconds=60)
    >>> [(point.size, point.ttl_seconds, point.hits) for point in curve.points]
    [(10, 60.0, 0), (100, 60.0, 0)]
    """

    over: str
    lookups: int
    distinct: int
    recorded_hits: int | None
    points: tuple[CachePoint, ...]
    _caches: _Caches = field(repr=False, compare=False)

    @cached_property
    def miss_ratios(self) -> list[float]:
        """The miss-ratio curve: which part of the lookups caches of 1, 2, 3, … entries miss.

        Without a time to live; the last one is of a cache with room for everything.
        """
        return [1 - hits / self.lookups for hits in self._caches.by_size.hits[1:]]

    def at(self, size: int, ttl_seconds: float | None = None) -> CachePoint:
        """Return what a cache of this size and time to live would have done.

        Raises:
            ConfigurationError: there is no such cache.
        """
        size = checked.count(_OWNER, "size", size)
        return self._caches.point(size, _checked_ttl(ttl_seconds))

    def table(self) -> Table:
        """Return a line for each size and time to live."""
        recorded = "" if self.recorded_hits is None else f", {self.recorded_hits:,} recorded hits"
        title = (
            f"LRU caches over {self.over}: {counted(self.lookups, 'lookup')}, "
            f"{self.distinct:,} distinct{recorded}"
        )
        head = ("size", "TTL", "hits", "misses", "hit rate", "tokens saved", "saved")
        rows = [
            (
                f"{point.size:,}",
                "ever" if point.ttl_seconds is None else f"{point.ttl_seconds:,g} s",
                f"{point.hits:,}",
                f"{point.misses:,}",
                f"{point.hit_rate:.1%}",
                f"{point.tokens_saved:,}",
                money.shown(point.saved_pico),
            )
            for point in self.points
        ]
        return Table(title, head, rows)

    def frame(self) -> pd.DataFrame:
        """Return a row for each size and time to live."""
        points = self.points
        return data_frame(
            {
                "size": [point.size for point in points],
                "ttl_seconds": [point.ttl_seconds for point in points],
                "hits": [point.hits for point in points],
                "misses": [point.misses for point in points],
                "hit_rate": [point.hit_rate for point in points],
                "tokens_saved": [point.tokens_saved for point in points],
                "saved_usd": [point.saved_usd for point in points],
                "unpriced_hits": [point.unpriced_hits for point in points],
            }
        )


def cache_curve(
    asked: Asked, over: str, sizes: Iterable[int] | None, ttl_seconds: object
) -> CacheCurve:
    """Return what caches would have done; see `WhatIf.cache`."""
    ttls = _checked_ttls(ttl_seconds)
    distinct = len(set(asked.keys))
    if sizes is None:
        wanted = _decades(distinct)
    else:
        wanted = [checked.count(_OWNER, "sizes", size) for size in sizes]
    caches = _Caches(asked)
    points = tuple(caches.point(size, ttl) for ttl in ttls for size in wanted)
    caveats = (*_gaps(asked, points), *asked.caveats)
    return CacheCurve(caveats, over, len(asked.keys), distinct, asked.recorded_hits, points, caches)


def _decades(distinct: int) -> list[int]:
    """Return 1, 10, 100, … and the size that has room for everything."""
    sizes = [10**power for power in range(len(str(max(distinct, 1))))]
    return sizes if sizes[-1] == distinct or not distinct else [*sizes, distinct]


def _checked_ttls(given: object) -> list[float | None]:
    if given is None or isinstance(given, int | float | str):
        return [_checked_ttl(given)]
    if isinstance(given, Iterable):
        # One walk each, so the same one twice is not walked twice.
        ttls = cast("Iterable[object]", given)
        return list(dict.fromkeys(_checked_ttl(ttl) for ttl in ttls))
    raise ConfigurationError(
        f"{_OWNER}: ttl_seconds={given!r} is no time to live. Give seconds, None for ever, or a "
        "list of these."
    )


def _checked_ttl(ttl: object) -> float | None:
    if ttl is None:
        return None
    return checked.seconds(_OWNER, "ttl_seconds", ttl, zero=False)  # type: ignore[arg-type]  # what it checks


def _gaps(asked: Asked, points: Sequence[CachePoint]) -> list[str]:
    if not asked.keys:
        return ["No lookup is recorded, so there is nothing that a cache could have answered."]
    caveats: list[str] = []
    unpriced = max((point.unpriced_hits for point in points), default=0)
    if unpriced:
        has = counted(unpriced, "hit", ("has", "have"))
        caveats.append(f"Up to {has} no known cost, and counts in no sum of money.")
    overlapping = asked.overlapping()
    if overlapping:
        came = counted(overlapping, "lookup")
        caveats.append(
            f"{came} came while an earlier call was under way. A repeated one counts as a hit, "
            "where a cache lets it join that call, which saves the same."
        )
    return [*caveats, _LATER_STEPS]
