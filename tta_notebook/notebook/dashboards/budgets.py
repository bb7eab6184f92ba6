"""How budgets were used up, and where they get to at this pace."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tta_notebook.core.money import PICO, shown
from tta_notebook.notebook.dashboards.filters import Buckets, Filters
from tta_notebook.notebook.dashboards.series import MOST_SERIES, between, labels, records
from tta_notebook.notebook.dashboards.share import Share
from tta_notebook.observability.history.times import moment, now_ns
from tta_notebook.report.chart import Chart, Series

Asked = Callable[..., Any]
"""Answers SQL with lists of values as a frame: `Dashboard._asked`."""

_MINUTE_NS = 60 * 10**9
_HOUR_NS = 60 * _MINUTE_NS
_DAY_NS = 24 * _HOUR_NS
# From when on a rate says something: a call in a window's first second says nothing of its end.
_LEAST_OF_A_WINDOW = 0.01
_LEAST_NOTES = 2
# A limit that is reached later than that is not reached.
_LONGEST_NS = 10 * 365 * _DAY_NS
# As the default of Budget(warn_at=…).
_WARNS_AT = 0.8
# There is one of these for each run or call, and nothing to foresee: the dearest one is shown.
_EACH = ("run", "request")
_WINDOWS = {"total": "all time", "run": "each run", "request": "each request"}
_SAID = ", ".join(
    f"COALESCE(CAST(json_extract(data, '$.{name}') AS TEXT), {other}) AS \"{name}\""
    for name, other in (("budget", "'-'"), ("scope", "NULL"), ("per", "NULL"), ("window", "NULL"))
)
_NUMBERS = ", ".join(
    f"json_extract(data, '$.{name}') AS {name}"
    for name in ("start_ns", "end_ns", "limit_usd", "spent_usd")
)
_ONE = 'budget, scope, per, "window"'
_LAST = "time_ns DESC, spent_usd DESC"


@dataclass(frozen=True, slots=True)
class Account:
    """A budget in one of its windows, as it stood at a moment.

    Attributes:
        budget: its name.
        scope: whose; None for everybody's.
        per: "day", "month", "total", "run" or "request"; None where a note does not say.
        window: the name of the day or month.
        start_ns: its first moment; None where it has none.
        end_ns: the first moment after it; None where it has none.
        limit_usd: what may be spent, by the last note; None for what is no amount.
        spent_usd: what is; of one for each run or request what the dearest has spent.
        notes: how many there are.
        first_ns: when the first was written.
        first_usd: what had been spent then.
        now_ns: the present.

    >>> hour = 3_600 * 10**9
    >>> of_a_day = {"start_ns": 0, "end_ns": 24 * hour, "now_ns": 6 * hour}
    >>> notes = {"notes": 2, "first_ns": hour, "first_usd": 1.0}
    >>> money = {"limit_usd": 10.0, "spent_usd": 4.0}
    >>> Account("day", None, "day", "1970-01-01", **of_a_day, **money, **notes).said
    '$4.00 of $10.00, $16.00 by its end at this pace'
    """

    budget: str
    scope: str | None
    per: str | None
    window: str | None
    start_ns: int | None
    end_ns: int | None
    limit_usd: float | None
    spent_usd: float | None
    notes: int
    first_ns: int
    first_usd: float | None
    now_ns: int

    @property
    def name(self) -> str:
        """What to call it: its name, and whose it is."""
        return f"{self.budget}, {self.scope}" if self.scope else self.budget

    @property
    def is_current(self) -> bool:
        """Whether it is being spent from: it stands for all time, or its window is not over."""
        return self.per == "total" or (self.end_ns is not None and self.now_ns < self.end_ns)

    @property
    def used(self) -> float | None:
        """The share of the limit that is spent; None without a limit above zero."""
        return _share(self.spent_usd, self.limit_usd)

    @property
    def usd_per_day(self) -> float | None:
        """The pace since the window began, or of a total since its first note; None if unknown."""
        if not self.is_current or self.notes < _LEAST_NOTES or self.spent_usd is None:
            return None
        since_ns, length_ns, before = self.first_ns, _DAY_NS, self.first_usd
        if self.per != "total":
            if self.start_ns is None or self.end_ns is None:
                return None
            since_ns, length_ns, before = self.start_ns, self.end_ns - self.start_ns, 0.0
        elapsed_ns = self.now_ns - since_ns
        # Less than before was spent when a program in whose memory it stood began anew.
        if before is None or elapsed_ns < _LEAST_OF_A_WINDOW * length_ns or elapsed_ns <= 0:
            return None
        gained = self.spent_usd - before
        return gained / elapsed_ns * _DAY_NS if gained >= 0 else None

    @property
    def projected_usd(self) -> float | None:
        """What is spent by the end of the window at this pace; None if unknown, or without end."""
        pace = self.usd_per_day
        if pace is None or self.spent_usd is None or self.end_ns is None:
            return None
        return self.spent_usd + pace * (self.end_ns - self.now_ns) / _DAY_NS

    @property
    def used_up(self) -> str | None:
        """When the limit is reached at this pace, in UTC; None if not before the end."""
        if not self.is_current or self.used is None:
            return None
        if self.used >= 1:
            return "reached"
        pace = self.usd_per_day
        if not pace or self.limit_usd is None or self.spent_usd is None:
            return None
        left_ns = (self.limit_usd - self.spent_usd) / pace * _DAY_NS
        most_ns = _LONGEST_NS if self.end_ns is None else self.end_ns - self.now_ns
        if not left_ns <= most_ns:
            return None
        return moment(self.now_ns + round(left_ns)).strftime("%Y-%m-%d %H:%M")

    @property
    def said(self) -> str:
        """How it stands, in a sentence."""
        said = f"{_usd(self.spent_usd)} of {_usd(self.limit_usd)}"
        if self.used_up == "reached":
            return f"{said}, all of it"
        if self.projected_usd is not None:
            return f"{said}, {_usd(self.projected_usd)} by its end at this pace"
        if self.usd_per_day is not None:
            return f"{said}, {_usd(self.usd_per_day)} a day at this pace"
        return said

    def row(self) -> dict[str, Any]:
        """Return it as a row of a table."""
        return {
            "budget": self.budget,
            "scope": self.scope,
            "window": self.window or _WINDOWS.get(self.per or ""),
            "spent_usd": self.spent_usd,
            "limit_usd": self.limit_usd,
            "used": self.used,
            "usd_per_day": self.usd_per_day,
            "projected_usd": self.projected_usd,
            "used_up": self.used_up,
        }


COLUMNS = (
    "budget",
    "scope",
    "window",
    "spent_usd",
    "limit_usd",
    "used",
    "usd_per_day",
    "projected_usd",
    "used_up",
)


def accounts(asked: Asked, filters: Filters) -> list[Account]:
    """Return budgets by window: what is being spent from first, the fullest before others."""
    notes, values = _notes(filters)
    found = records(
        asked(
            f"WITH notes AS ({notes}) SELECT * FROM (SELECT *, COUNT(*) OVER one AS notes, "  # noqa: S608 - no word of a user's
            "MIN(time_ns) OVER one AS first_ns, FIRST_VALUE(spent_usd) OVER "
            f"(PARTITION BY {_ONE} ORDER BY time_ns, spent_usd) AS first_usd, "
            f"ROW_NUMBER() OVER (PARTITION BY {_ONE} ORDER BY "
            "CASE WHEN per IN ('run', 'request') THEN spent_usd END DESC, "
            f"{_LAST}) AS place FROM notes WINDOW one AS (PARTITION BY {_ONE})) WHERE place = 1",
            values,
        )
    )
    present_ns = now_ns()
    read = [_account(row, present_ns) for row in found]
    return sorted(
        read,
        key=lambda each: (
            not each.is_current,
            0 if each.is_current else -(each.end_ns or 0),
            -(each.used or 0),
        ),
    )


def fullest(found: Sequence[Account]) -> dict[str, str]:
    """Return the fullest budget that is being spent from, as a fact."""
    current = [each for each in found if each.is_current and each.used is not None]
    if not current:
        return {}
    most = max(current, key=lambda each: each.used or 0)
    named = most.name if most.name.startswith("budget") else f"budget {most.name}"
    return {named: Share(most.used or 0, most.said, _WARNS_AT)}


def over_time(asked: Asked, filters: Filters, found: Sequence[Account]) -> Chart:
    """Return how much of their limits budgets had spent by when; a window begins at nothing."""
    chosen = _first_of_each([each for each in found if each.per not in (None, *_EACH)])
    chosen = chosen[: MOST_SERIES - 1]  # the last colour is for the limit
    if not chosen:
        return Chart("Budgets", [])
    notes, values = _notes(filters)
    wanted = " OR ".join("(budget IS ? AND scope IS ? AND per IS ?)" for _ in chosen)
    whose = [part for each in chosen for part in _key(each)]
    mine = f"WITH notes AS ({notes}), mine AS (SELECT * FROM notes WHERE {wanted})"  # noqa: S608 - no word of a user's
    (span,) = records(
        asked(f"{mine} SELECT MIN(time_ns) AS a, MAX(time_ns) AS b FROM mine", values, whose)  # noqa: S608 - no word of a user's
    )
    buckets = _buckets(int(span["b"]) - int(span["a"]))
    at = buckets.of("time_ns")
    rows = records(
        asked(
            f"{mine} SELECT * FROM (SELECT *, {at} AS at, ROW_NUMBER() OVER (PARTITION BY "  # noqa: S608 - no word of a user's
            f"budget, scope, per, {at} ORDER BY {_LAST}) AS place FROM mine) WHERE place = 1 "
            "ORDER BY at",
            values,
            whose,
        )
    )
    places = between([row["at"] for row in rows], buckets.size_ns)
    names = labels(places, buckets)
    series = [
        Series(
            f"{each.name} ({_usd(each.limit_usd)})",
            names,
            _carried([row for row in rows if _is_of(row, each)], places),
        )
        for each in chosen
    ]
    limit = Series("limit", list(dict.fromkeys((names[0], names[-1]))), [1.0] * min(len(names), 2))
    return Chart(
        f"Budgets spent, by the {buckets.unit}",
        [*series, limit] if any(y is not None for one in series for y in one.y) else [],
        kind="line",
        x_title=f"{buckets.unit} (UTC)",
        y_title="spent of the limit",
        y_format=".1%",
    )


def _notes(filters: Filters) -> tuple[str, list[Any]]:
    where, values = filters.rows("events", "name = 'budget'", "json_valid(data)")
    return f"SELECT time_ns, {_SAID}, {_NUMBERS} FROM events WHERE {where}", values  # noqa: S608 - no word of a user's


def _account(row: dict[str, Any], present_ns: int) -> Account:
    return Account(
        budget=row["budget"],
        scope=row["scope"],
        per=row["per"],
        window=row["window"],
        start_ns=_whole(row["start_ns"]),
        end_ns=_whole(row["end_ns"]),
        limit_usd=_amount(row["limit_usd"]),
        spent_usd=_amount(row["spent_usd"]),
        notes=int(row["notes"]),
        first_ns=int(row["first_ns"]),
        first_usd=_amount(row["first_usd"]),
        now_ns=present_ns,
    )


def _first_of_each(found: Sequence[Account]) -> list[Account]:
    first: dict[tuple[str, str | None, str | None], Account] = {}
    for each in found:
        first.setdefault(_key(each), each)
    return list(first.values())


def _key(each: Account) -> tuple[str, str | None, str | None]:
    return each.budget, each.scope, each.per


def _is_of(row: dict[str, Any], each: Account) -> bool:
    return (row["budget"], row["scope"], row["per"]) == _key(each)


def _carried(rows: Sequence[dict[str, Any]], places: Sequence[int]) -> list[float | None]:
    """Return the share at each place: as it last was, and nothing once its window is over."""
    by_place = {int(row["at"]): row for row in rows}
    shares: list[float | None] = []
    last: dict[str, Any] = {}
    for place in places:
        last = by_place.get(place, last)
        end_ns = _whole(last.get("end_ns"))
        is_over = end_ns is not None and place >= end_ns
        share = _share(_amount(last.get("spent_usd")), _amount(last.get("limit_usd")))
        shares.append(0.0 if is_over and share is not None else share)
    return shares


def _buckets(length_ns: int) -> Buckets:
    """Return how time is cut, finer than for sums: a budget may be gone within minutes."""
    if length_ns < 2 * _MINUTE_NS:
        return Buckets("second", _MINUTE_NS // 60)
    if length_ns < _HOUR_NS:
        return Buckets("minute", _MINUTE_NS)
    if length_ns <= 3 * _DAY_NS:
        return Buckets("hour", _HOUR_NS)
    return Buckets("day", _DAY_NS)


def _share(spent_usd: float | None, limit_usd: float | None) -> float | None:
    return None if spent_usd is None or not limit_usd else spent_usd / limit_usd


def _amount(value: object) -> float | None:
    """Return an amount of money that can be one."""
    if not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _whole(value: object) -> int | None:
    number = _amount(value)
    return None if number is None else int(number)


def _usd(amount: float | None) -> str:
    return "-" if amount is None else shown(round(amount * PICO))
