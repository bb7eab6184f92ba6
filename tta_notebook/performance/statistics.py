"""What a cache counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Statistics:
    """Counts of lookups: each is a hit, a miss or a join of a call under way. A copy begins at 0.

    Counting takes no lock: where several threads share a cache, a count may be lost.

    Attributes:
        hits: answers from the store, stale ones and remembered errors included.
        misses: calls that were begun because there was no answer.
        joined: lookups that waited for a call that another one had begun.
        stale: hits that had expired.
        refreshes: calls begun in the background.
        errors: operations of the store, copies and refreshes that failed.
        vetoes: answers to questions that seemed to mean the same, and did not.
        tokens_saved: what hits and joins would have used.
    """

    hits: int = 0
    misses: int = 0
    joined: int = 0
    stale: int = 0
    refreshes: int = 0
    errors: int = 0
    vetoes: int = 0
    tokens_saved: int = 0

    @property
    def hit_rate(self) -> float:
        """Hits in per cent of hits and misses."""
        lookups = self.hits + self.misses
        return 100 * self.hits / lookups if lookups else 0.0

    def __reduce__(self) -> tuple[type[Statistics], tuple[()]]:
        return type(self), ()
