"""Windows over the outcomes of calls: the last so many, or those of the last so many seconds."""

from __future__ import annotations

from typing import Protocol

from tta_notebook.core import clock

_BUCKETS = 10

_FAILED, _SLOW = 1, 2


class Window(Protocol):
    """Counts outcomes; adding one takes the same time however many there are.

    Attributes:
        calls: outcomes in the window.
        failures: those of them that failed.
        slow: those of them that were slow.
    """

    calls: int
    failures: int
    slow: int

    def add(self, *, has_failed: bool, is_slow: bool) -> None:
        """Count an outcome, and drop what has left the window."""
        ...


class CountWindow:
    """The last `size` outcomes.

    >>> window = CountWindow(2)
    >>> for has_failed in (True, False, False):
    ...     window.add(has_failed=has_failed, is_slow=False)
    >>> window.calls, window.failures
    (2, 0)
    """

    def __init__(self, size: int) -> None:
        self.calls = self.failures = self.slow = 0
        self._ring = bytearray(size)
        self._next = 0

    def add(self, *, has_failed: bool, is_slow: bool) -> None:
        """Count an outcome in place of the oldest."""
        if self.calls == len(self._ring):
            oldest = self._ring[self._next]
            self.failures -= oldest & _FAILED
            self.slow -= (oldest & _SLOW) >> 1
        else:
            self.calls += 1
        self._ring[self._next] = has_failed * _FAILED + is_slow * _SLOW
        self._next = (self._next + 1) % len(self._ring)
        self.failures += has_failed
        self.slow += is_slow


class TimeWindow:
    """The outcomes of the last `seconds`, to a tenth of that.

    >>> window = TimeWindow(60.0)
    >>> window.add(has_failed=True, is_slow=False)
    >>> window.calls, window.failures
    (1, 1)
    """

    def __init__(self, seconds: float) -> None:
        self.calls = self.failures = self.slow = 0
        self._bucket_ns = max(1, int(seconds * 1e9) // _BUCKETS)
        self._buckets = [[0, 0, 0] for _ in range(_BUCKETS)]
        self._newest: int | None = None

    def add(self, *, has_failed: bool, is_slow: bool) -> None:
        """Count an outcome in the newest of ten buckets, and drop those that are too old."""
        bucket = self._bucket_of_now()
        bucket[0] += 1
        bucket[1] += has_failed
        bucket[2] += is_slow
        self.calls += 1
        self.failures += has_failed
        self.slow += is_slow

    def _bucket_of_now(self) -> list[int]:
        tick = clock.source() // self._bucket_ns
        if self._newest is None:
            self._newest = tick
        for passed in range(min(tick - self._newest, _BUCKETS)):
            self._drop(self._buckets[(self._newest + 1 + passed) % _BUCKETS])
        self._newest = max(tick, self._newest)
        return self._buckets[self._newest % _BUCKETS]

    def _drop(self, bucket: list[int]) -> None:
        self.calls -= bucket[0]
        self.failures -= bucket[1]
        self.slow -= bucket[2]
        bucket[:] = [0, 0, 0]
