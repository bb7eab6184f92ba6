"""Moments in nanoseconds since the Unix epoch, as far as a database's integers go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# 64 bits reach from September 1677 to April 2262. Nothing was recorded beyond.
_FIRST_NS, _LAST_NS = -(2**63), 2**63 - 1


def ns_of(moment: datetime) -> int:
    """Return a moment in nanoseconds since the epoch; one without a time zone is in local time.

    A moment before 1677 or after 2262 is the first or the last one that there is.

    >>> ns_of(datetime(2026, 11, 1, 12, tzinfo=UTC))
    1793534400000000000
    >>> ns_of(datetime.max) == 2**63 - 1
    True
    """
    if moment.tzinfo is None:
        try:
            moment = moment.astimezone()
        except (ValueError, OverflowError, OSError):  # next to the calendar's ends
            moment = moment.replace(tzinfo=UTC)
    return _within((moment - _EPOCH) // _MICROSECOND * 1_000)


def ns_before(now_ns: int, span: timedelta) -> int:
    """Return the moment so long before another, with the same first and last ones."""
    return _within(now_ns - span // _MICROSECOND * 1_000)


def _within(ns: int) -> int:
    return min(max(ns, _FIRST_NS), _LAST_NS)
