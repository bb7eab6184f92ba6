"""Stack distances: from one pass over a trace, the hits of LRU caches of every size.

An LRU cache of s entries holds the s keys that were used last, so a lookup hits in every cache with
at least as many entries as there were other keys since the last lookup of its own, plus one: its
stack distance (Mattson, Gecsei, Slutz and Traiger, "Evaluation techniques for storage hierarchies",
IBM Systems Journal 9(2), 1970).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

COLD = 0
"""The distance of a key's first lookup, which no cache answers."""


def distances(keys: Sequence[Hashable]) -> list[int]:
    """Return the stack distance of each lookup, in O(n log n).

    >>> distances(["a", "b", "a", "a", "c", "b"])
    [0, 0, 2, 1, 0, 3]
    """
    # Between a lookup at i and its key's last one at p there were i - p - 1 lookups. Of these the
    # ones with a last lookup of their own after p are repetitions; the others are distinct keys.
    # A Fenwick tree over the places of last lookups counts those up to p.
    size = len(keys)
    tree = [0] * (size + 1)
    last: dict[Hashable, int] = {}
    found: list[int] = []
    repeated = 0
    for place, key in enumerate(keys, 1):
        before = last.get(key, 0)
        last[key] = place
        if not before:
            found.append(COLD)
            continue
        up_to, node = 0, before
        while node:
            up_to += tree[node]
            node &= node - 1
        found.append(place - before - (repeated - up_to))
        repeated += 1
        node = before
        while node <= size:
            tree[node] += 1
            node += node & -node
    return found
