"""Questions to the history, in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from tta_notebook.core import checked
from tta_notebook.core.errors import ConfigurationError, Names
from tta_notebook.observability.history.ids import from_hex
from tta_notebook.observability.history.schema import CALLS, IDENTITIES, TABLES
from tta_notebook.observability.history.times import When, instant_ns

_HOUR_NS = 3_600 * 10**9

GROUPS = {
    "model": "s.model",
    "provider": "s.provider",
    "source": "s.source",
    "step": "s.name",
    "kind": "s.kind",
    "workflow": "r.workflow",
    "session": "r.session",
    "user": "r.user",
    "hour": f"s.started_ns / {_HOUR_NS} * {_HOUR_NS}",
    "day": f"s.started_ns / {24 * _HOUR_NS} * {24 * _HOUR_NS}",
}

_SUMS = {
    "calls": "COUNT(*)",
    "input_tokens": "SUM(s.input_tokens)",
    "output_tokens": "SUM(s.output_tokens)",
    "cost_pico": "SUM(s.cost_pico)",
    "cost_usd": "SUM(s.cost_pico) / 1e12",
    "unpriced_calls": "SUM(s.cost_pico IS NULL AND s.input_tokens IS NOT NULL)",
}


@dataclass(slots=True)
class Conditions:
    """What the rows of a table must be, as SQL with parameters.

    Args:
        owner: who asks, for errors.
        table: of TABLES.
    """

    owner: str
    table: str
    terms: list[str] = field(default_factory=list[str])
    parameters: list[Any] = field(default_factory=list[Any])

    def between(self, since: When | None, until: When | None) -> None:
        """Keep what began at or after `since` and before `until`."""
        time = TABLES[self.table].time
        for name, sign, when in (("since", ">=", since), ("until", "<", until)):
            if when is None:
                continue
            if time is None:
                raise ConfigurationError(
                    f"{self.owner}: {name}=… was given, but the rows of {self.table!r} have no "
                    "time. Leave it out."
                )
            self.terms.append(f"{time} {sign} ?")
            self.parameters.append(instant_ns(self.owner, name, when))

    def having(self, filters: Mapping[str, object]) -> None:
        """Keep what has a value, one of several (in a list), or none (None) in a column."""
        columns = TABLES[self.table].columns
        for name, wanted in filters.items():
            checked.choice(self.owner, "filter", name, tuple(columns))
            self._having(name, columns[name], wanted)

    def _having(self, name: str, column: str, wanted: object) -> None:
        if wanted is None:
            self.terms.append(f"{column} IS NULL")
            return
        values: list[Any] = [wanted]
        if isinstance(wanted, Collection) and not isinstance(wanted, (str, bytes)):
            values = list(cast("Collection[Any]", wanted))
        if (identity := IDENTITIES[self.table].get(name)) is not None:
            column, values = identity, [from_hex(value) for value in values]
        self.terms.append(f"{column} IN ({', '.join('?' * len(values))})")
        self.parameters += values

    def sql(self) -> str:
        """Return the WHERE clause, empty without conditions."""
        return f" WHERE {' AND '.join(self.terms)}" if self.terms else ""


def rows_query(
    where: Conditions, columns: Sequence[str] | None, limit: int | None
) -> tuple[str, list[str]]:
    """Return the query for rows of a table in the order of time, and the columns it gives."""
    shown = TABLES[where.table]
    names = list(shown.columns) if columns is None else list(columns)
    for name in names:
        checked.choice(where.owner, "columns", name, tuple(shown.columns))
    wanted = ", ".join(f'{shown.columns[name]} AS "{name}"' for name in names)
    order = shown.time or "p.date"
    query = f"SELECT {wanted} FROM {shown.source}{where.sql()}"  # noqa: S608 - no word of a user's
    if limit is None:
        return f"{query} ORDER BY {order}", names
    # The newest; whoever reads them turns them round.
    return (
        f"{query} ORDER BY {order} DESC LIMIT {checked.count(where.owner, 'limit', limit)}",
        names,
    )


def costs_query(where: Conditions, by: Sequence[str]) -> tuple[str, list[str]]:
    """Return the query for what calls cost, grouped, and the columns it gives."""
    for name in by:
        checked.choice(where.owner, "by", name, tuple(GROUPS))
    if not by:
        raise ConfigurationError(
            f"{where.owner}: by={by!r} groups by nothing. Give {Names(tuple(GROUPS))}, or several."
        )
    groups = {name: GROUPS[name] for name in by}
    wanted = ", ".join(f'{sql} AS "{name}"' for name, sql in (groups | _SUMS).items())
    where.terms.insert(0, CALLS)
    # SQLite itself leaves out an unused join, but not where something is added up.
    is_about_runs = any("r." in sql for sql in (*groups.values(), *where.terms))
    source = TABLES["spans"].source if is_about_runs else "main.spans AS s"
    numbers = ", ".join(str(number + 1) for number in range(len(groups)))
    return (
        f"SELECT {wanted} FROM {source}{where.sql()} "  # noqa: S608 - no word of a user's
        f"GROUP BY {numbers} ORDER BY {numbers}"
    ), [*groups, *_SUMS]
