"""How long calls have taken lately, in order."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, insort
from collections import deque

ENOUGH = 10
_KEPT = 200


class Latencies:
    """The last latencies and their quantiles; safe to use from any loop and thread.

    >>> latencies = Latencies()
    >>> for latency_s in range(1, 11):
    ...     latencies.add(latency_s)
    >>> latencies.quantile(0.95), latencies.quantile(0.5)
    (10, 5)
    """

    __slots__ = ("_in_order", "_lock", "_newest")

    def __init__(self, kept: int = _KEPT) -> None:
        self._newest: deque[float] = deque(maxlen=kept)
        self._in_order: list[float] = []
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Latencies], tuple[()]]:
        return type(self), ()  # elsewhere, calls take other times

    def add(self, latency_s: float) -> None:
        """Keep one more, in place of the oldest."""
        with self._lock:
            if len(self._newest) == self._newest.maxlen:
                del self._in_order[bisect_left(self._in_order, self._newest[0])]
            self._newest.append(latency_s)
            insort(self._in_order, latency_s)

    def quantile(self, share: float) -> float | None:
        """Return the shortest latency that this share of the calls kept; None while few are known.

        The nearest rank: always a latency that was observed.
        """
        with self._lock:
            known = len(self._in_order)
            if known < ENOUGH:
                return None
            return self._in_order[max(0, math.ceil(share * known) - 1)]
