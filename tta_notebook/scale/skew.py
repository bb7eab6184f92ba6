"""The clock of another machine beside the one here."""

from __future__ import annotations

from tta_notebook.core import clock


class Skew:
    """By how much a worker's clock is off, as far as what it sends gives it away.

    Nothing that it did began before it was told to, and nothing had ended after what it sent came
    in. One for all that a worker sends: its spans keep their order.
    """

    def __init__(self) -> None:
        self._least_ns: int | None = None
        self._most_ns: int | None = None

    def look(self, *, began_ns: int, sent_ns: int, given_ns: int, now_ns: int) -> None:
        """Take in what a report says.

        Args:
            began_ns: when its item began, there.
            sent_ns: when it was sent, there.
            given_ns: when the work was given, here.
            now_ns: when it came in, here.
        """
        least_ns, most_ns = given_ns - began_ns, now_ns - sent_ns
        self._least_ns = max(least_ns, least_ns if self._least_ns is None else self._least_ns)
        self._most_ns = min(most_ns, most_ns if self._most_ns is None else self._most_ns)

    @property
    def behind_ns(self) -> int:
        """What to add to its times: nothing while they can be true as they are."""
        if self._least_ns is not None and self._least_ns > 0:
            return self._least_ns
        if self._most_ns is not None and self._most_ns < 0:
            return self._most_ns
        return 0


class Between:
    """Turns wall-clock times of a worker into instants of the monotonic clock here.

    Args:
        skew: of the worker.
        given_ns: when the work was given, on the monotonic clock.
        now_ns: now, on the same: nothing lies outside of these two.
    """

    def __init__(self, skew: Skew, given_ns: int, now_ns: int) -> None:
        self._shift_ns = skew.behind_ns - clock.wall_ns(0)
        self._given_ns = given_ns
        self._now_ns = now_ns

    def instant(self, wall_ns: int) -> int:
        """Return the instant of a time there."""
        return min(max(wall_ns + self._shift_ns, self._given_ns), self._now_ns)
