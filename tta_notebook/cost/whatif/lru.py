"""A walk through a trace with one cache: what has expired is no hit, so one pass is not enough."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Sequence


def walk(
    keys: Sequence[Hashable],
    at_s: Sequence[float],
    stored_s: Sequence[float],
    size: int,
    ttl_s: float,
) -> list[bool]:
    """Return which lookups a `MemoryStore` answers, as `CachePrimitive` uses it.

    An answer is fresh until `ttl_s` after it was stored, exclusively; one that has expired keeps
    its place until it is looked up or displaced.

    Args:
        keys: what is looked up.
        at_s: when, in seconds.
        stored_s: when the answer would be there if it had to be asked for.
        size: the most entries.
        ttl_s: how long an answer is fresh; infinity for ever.

    >>> walk("abaab", [0, 1, 2, 3, 4], [0, 1, 2, 3, 4], 2, 3.0)
    [False, False, True, False, False]
    """
    fresh_until: OrderedDict[Hashable, float] = OrderedDict()
    answered: list[bool] = []
    for key, at, stored in zip(keys, at_s, stored_s, strict=True):
        is_hit = at < fresh_until.get(key, -math.inf)
        answered.append(is_hit)
        if not is_hit:
            fresh_until[key] = stored + ttl_s
        fresh_until.move_to_end(key)
        if len(fresh_until) > size:
            fresh_until.popitem(last=False)
    return answered
