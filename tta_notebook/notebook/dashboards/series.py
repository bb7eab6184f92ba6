"""Rows of a history as series of a chart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from tta_notebook.notebook.dashboards.filters import Buckets
from tta_notebook.observability.history.times import moment
from tta_notebook.report.chart import Chart, Series
from tta_notebook.report.picture import Picture

if TYPE_CHECKING:
    import pandas as pd

# A chart has six colours.
MOST_SERIES = 6
# Gaps in time are drawn as gaps, unless that would make a picture of nothing else.
_MOST_BUCKETS = 400
# More bars than that nobody compares; tables have the rest.
_MOST_PLACES = 20
_LABELS = {
    "second": "%m-%d %H:%M:%S",
    "minute": "%m-%d %H:%M",
    "hour": "%m-%d %H:00",
    "day": "%Y-%m-%d",
}


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows, with None for what is not known."""
    filled = frame.astype("object").where(frame.notna(), None)
    return cast("list[dict[str, Any]]", filled.to_dict("records"))


def by_time(
    rows: Sequence[dict[str, Any]], buckets: Buckets, name: str, value: str
) -> list[Series]:
    """Return a series for each name, over all pieces of time from the first to the last.

    Args:
        rows: each with "at" (nanoseconds), a name and a value; each pair once.
        buckets: how time is cut.
        name: the column of names.
        value: the column of values.
    """
    places = between([row["at"] for row in rows], buckets.size_ns)
    found = {(row[name], row["at"]): row[value] for row in rows}
    names = dict.fromkeys(row[name] for row in rows)
    told = labels(places, buckets)
    return [
        Series(_named(each), told, [_number(found.get((each, at))) for at in places])
        for each in list(names)[:MOST_SERIES]
    ]


def with_others(rows: Sequence[dict[str, Any]], name: str, value: str) -> list[dict[str, Any]]:
    """Return rows whose smaller names are added up as "other", the biggest name first."""
    sums: dict[Any, float] = {}
    for row in rows:
        sums[row[name]] = sums.get(row[name], 0) + (row[value] or 0)
    names = sorted(sums, key=lambda each: sums[each], reverse=True)
    if len(names) > MOST_SERIES:
        names = [*names[: MOST_SERIES - 1], "other"]
    added: dict[tuple[Any, int], float] = {}
    for row in rows:
        key = (row[name] if row[name] in names else "other", row["at"])
        added[key] = added.get(key, 0) + (row[value] or 0)
    ordered = sorted(added.items(), key=lambda each: (names.index(each[0][0]), each[0][1]))
    return [{name: key[0], "at": key[1], value: amount} for key, amount in ordered]


def bars(rows: Iterable[dict[str, Any]], x: str, values: Sequence[str]) -> list[Series]:
    """Return a series for each column of values over one column of names."""
    rows = list(islice(rows, _MOST_PLACES))
    places = [_named(row[x]) for row in rows]
    return [
        Series(value.replace("_", " "), places, [_number(row[value]) for row in rows])
        for value in values
    ]


def drawn(*charts: Chart) -> list[Picture]:
    """Return those charts that have something to show."""
    return [
        chart for chart in charts if any(y is not None for each in chart.series for y in each.y)
    ]


def between(found: Sequence[int], size_ns: int) -> list[int]:
    """Return all pieces of time from the first to the last that is found."""
    present = sorted(set(found))
    if not present or (present[-1] - present[0]) // size_ns >= _MOST_BUCKETS:
        return present
    return list(range(present[0], present[-1] + 1, size_ns))


def labels(places: Sequence[int], buckets: Buckets) -> list[str]:
    """Return what to call pieces of time that begin at some moments."""
    return [moment(at_ns).strftime(_LABELS[buckets.unit]) for at_ns in places]


def _named(value: object) -> str:
    return "-" if value is None else str(value)


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
