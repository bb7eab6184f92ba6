"""Moments, as people say them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias

from tta_notebook.core import clock, moments
from tta_notebook.core.errors import ConfigurationError

When: TypeAlias = datetime | date | timedelta | str
"""A moment, or how long ago it was: `timedelta(days=7)`, "7d", "24h", "90min", "30s"."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AGO = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h|d|w)")
_UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def now_ns() -> int:
    """Return the present in nanoseconds since the Unix epoch."""
    return clock.wall_ns(clock.source())


def instant_ns(owner: str, name: str, when: When) -> int:
    """Return a moment in nanoseconds since the Unix epoch.

    A datetime without a time zone, and a date, count in local time. What lies before 1677 or after
    2262 is the first or the last moment that a database can tell.

    Raises:
        ConfigurationError: it is no moment.

    >>> instant_ns("History.df", "since", "2026-11-01T12:00:00+00:00")
    1793534400000000000
    """
    if isinstance(when, str):
        when = _read(owner, name, when)
    if isinstance(when, timedelta):
        return moments.ns_before(now_ns(), when)
    if isinstance(when, date) and not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day)  # noqa: DTZ001 - local time, said below
    if isinstance(when, datetime):
        return moments.ns_of(when)
    raise _refused(owner, name, when)


def moment(ns: int) -> datetime:
    """Return nanoseconds since the Unix epoch as a datetime in UTC, to the microsecond.

    >>> moment(1793534400000000000).isoformat()
    '2026-11-01T12:00:00+00:00'
    """
    return _EPOCH + timedelta(microseconds=ns // 1_000)


def _read(owner: str, name: str, text: str) -> datetime | timedelta:
    if ago := _AGO.fullmatch(text.strip()):
        try:
            return timedelta(**{_UNITS[ago[2]]: float(ago[1])})
        except OverflowError:
            return timedelta.max  # longer ago than anything
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise _refused(owner, name, text) from None


def _refused(owner: str, name: str, found: object) -> ConfigurationError:
    return ConfigurationError(
        f"{owner}: {name}={found!r} is no moment. Give a datetime, a timedelta or a text: "
        "'2026-11-01', '2026-11-01T12:00', or how long ago it was: '7d', '24h', '90min'."
    )
