"""Stretches of time after which a budget begins anew."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal, TypeAlias, cast
from zoneinfo import ZoneInfo

from tta_notebook.core import checked, clock
from tta_notebook.core.errors import ConfigurationError

Per: TypeAlias = Literal["request", "run", "day", "month", "total"]

PERIODS = ("request", "run", "day", "month", "total")


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time with a name.

    Attributes:
        name: "2026-11-25", "2026-11"; empty for all time.
        start: its first moment; None for all time.
        end: the first moment after it; None for all time.
    """

    name: str = ""
    start: datetime | None = None
    end: datetime | None = None

    def said(self) -> dict[str, str | int]:
        """Return it as a note says it; nothing of all time.

        >>> first = datetime(2026, 11, 1, tzinfo=UTC)
        >>> Window("2026-11", first, first.replace(month=12)).said()
        {'window': '2026-11', 'start_ns': 1793491200000000000, 'end_ns': 1796083200000000000}
        """
        if self.start is None or self.end is None:
            return {}
        # Midnights are whole seconds, which a float holds exactly.
        start_ns, end_ns = (int(at.timestamp()) * 10**9 for at in (self.start, self.end))
        return {"window": self.name, "start_ns": start_ns, "end_ns": end_ns}


def zone_of(owner: str, timezone: str) -> tzinfo:
    """Return a time zone by its name in the IANA database.

    Raises:
        ConfigurationError: there is no such zone.
    """
    if timezone == "UTC":
        return UTC  # also where there is no database
    try:
        return ZoneInfo(timezone)
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise ConfigurationError(
            f"{owner}: timezone={timezone!r} is no time zone that is known here, so nobody knows "
            "when its midnight is. Give an IANA name such as 'Europe/Berlin'; where the system has "
            "no zones, pip install tzdata."
        ) from error


def period(owner: str, per: str) -> Per:
    """Return `per` if it is one of the periods, else raise."""
    return cast("Per", checked.choice(owner, "per", per, PERIODS))


def window_now(per: Per, zone: tzinfo) -> Window:
    """Return the day or month it is in a time zone, or all time.

    Days begin and end at midnight in that zone: the days of a change of clocks have 23 or 25 hours.
    """
    if per not in ("day", "month"):
        return Window()
    now = datetime.fromtimestamp(clock.now_ns() / 1e9, zone)
    midnight = datetime(now.year, now.month, now.day, tzinfo=zone)
    if per == "day":
        # In wall time: the next midnight, however many hours away.
        return Window(f"{now:%Y-%m-%d}", midnight, midnight + timedelta(days=1))
    first = midnight.replace(day=1)
    return Window(f"{now:%Y-%m}", first, (first + timedelta(days=32)).replace(day=1))
