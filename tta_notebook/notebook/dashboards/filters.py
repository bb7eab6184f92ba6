"""What of the history a dashboard looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple

from tta_notebook.core import checked
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.observability.history.times import When, instant_ns, now_ns

_HOUR_NS = 3_600 * 10**9
_TIMES = {"runs": "started_ns", "spans": "started_ns", "events": "time_ns"}
# Up to two days, hours say more than two bars.
_LONGEST_BY_HOUR_NS = 48 * _HOUR_NS


class Where(NamedTuple):
    """A condition in SQL and the values of its question marks."""

    sql: str
    values: list[Any]


class Buckets(NamedTuple):
    """The pieces into which time is cut; in UTC."""

    unit: Literal["second", "minute", "hour", "day"]
    size_ns: int

    def of(self, column: str) -> str:
        """Return when a moment's bucket begins, in SQL."""
        return f"{column} / {self.size_ns} * {self.size_ns}"


@dataclass(frozen=True, slots=True)
class Filters:
    """What of the history counts; None for everything.

    Attributes:
        model: calls of this model; where there is no model, workflows that have asked it.
        workflow: runs of this workflow.
        user: runs for this user.
        since: the first moment, or how long ago ("7d").

    >>> print(Filters(model="m", since="24h"))
    model m, since 24h
    """

    model: str | None = None
    workflow: str | None = None
    user: str | None = None
    since: When | None = None

    def __str__(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        said = [f"{name} {value}" for name, value in values.items() if value is not None]
        return ", ".join(said) or "everything that is recorded"

    def changed(self, owner: str, wanted: Mapping[str, Any]) -> Filters:
        """Return them with some changed.

        Raises:
            ConfigurationError: a name is none of them, or its value cannot be one.
        """
        names = tuple(field.name for field in fields(self))
        for name, value in wanted.items():
            checked.choice(owner, "filter", name, names)
            if name == "since" and value is not None:
                instant_ns(owner, "since", value)
            elif value is not None and not isinstance(value, str):
                raise ConfigurationError(
                    f"{owner}: {name}={value!r} is no name that a {name} could have. Give one as "
                    "text, or None for all."
                )
        return replace(self, **wanted)

    def of_calls(self) -> dict[str, Any]:
        """Return them as arguments of `History.costs`."""
        values = {"model": self.model, "workflow": self.workflow, "user": self.user}
        return {
            "since": self.since,
            **{name: value for name, value in values.items() if value is not None},
        }

    def calls(self) -> Where:
        """Return the condition on spans that are calls to models."""
        terms, values = self._terms("spans")
        if self.model is not None:
            terms, values = [*terms, "model = ?"], [*values, self.model]
        return _joined([*terms, "(model IS NOT NULL OR input_tokens IS NOT NULL)"], values)

    def rows(self, table: str, *also: str) -> Where:
        """Return the condition on rows that know no model themselves: those of their workflow.

        A hit or a retry has no model of its own. Its workflow has asked one, if not in this run,
        then in others of the same time.

        Args:
            table: "runs", "spans" or "events".
            also: further conditions.
        """
        terms, values = self._terms(table)
        if self.model is not None:
            asked, more = self.calls()
            terms.append(f"workflow IN (SELECT workflow FROM spans WHERE {asked})")  # noqa: S608 - no word of a user's
            values += more
        return _joined([*also, *terms], values)

    def buckets(self) -> Buckets:
        """Return how time is cut: by hours up to two days, else by days."""
        if self.since is not None:
            length_ns = now_ns() - instant_ns("Dashboard", "since", self.since)
            if length_ns <= _LONGEST_BY_HOUR_NS:
                return Buckets("hour", _HOUR_NS)
        return Buckets("day", 24 * _HOUR_NS)

    def _terms(self, table: str) -> tuple[list[str], list[Any]]:
        terms: list[str] = []
        values: list[Any] = []
        if self.since is not None:
            terms.append(f"{_TIMES[table]} >= ?")
            values.append(instant_ns("Dashboard", "since", self.since))
        for name, value in (("workflow", self.workflow), ("user", self.user)):
            if value is not None:
                terms.append(f'"{name}" = ?')
                values.append(value)
        return terms, values


def _joined(terms: list[str], values: list[Any]) -> Where:
    return Where(" AND ".join(terms) or "TRUE", values)
