"""What failed, and what was done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tta_notebook.notebook.dashboards import circuits
from tta_notebook.notebook.dashboards.base import Dashboard
from tta_notebook.notebook.dashboards.series import bars, by_time, drawn, records, with_others
from tta_notebook.notebook.dashboards.share import Share
from tta_notebook.notebook.figures import duration
from tta_notebook.observability.history.times import moment
from tta_notebook.report.chart import Chart

if TYPE_CHECKING:
    import pandas as pd

    from tta_notebook.report.picture import Picture
    from tta_notebook.report.timeline import Timeline

_LAST_TRANSITIONS = 50
_HOUR_S = 3_600


class ResilienceDashboard(Dashboard):
    """Shows retries, fallbacks, circuits, timeouts, waits, refusals and errors.

    Its arguments are those of every `Dashboard`.

    >>> import tempfile
    >>> from tta_notebook import FallbackPrimitive, LambdaPrimitive
    >>> from tta_notebook.observability.history import History
    >>> folder = tempfile.TemporaryDirectory()
    >>> careful = FallbackPrimitive(LambdaPrimitive(int, name="read"), LambdaPrimitive(len))
    >>> with History(folder.name + "/history.db") as history:
    ...     [careful.run_sync(word) for word in ("7", "eight")]
    [7, 5]
    >>> dashboard = ResilienceDashboard(history)
    >>> dashboard.tables()["fallbacks"]["share"].to_list()
    [0.5]
    >>> dashboard.tables()["errors"][["error", "step", "count"]].values.tolist()
    [['ValueError', 'read', 1]]
    >>> folder.cleanup()
    """

    title: ClassVar[str] = "Resilience"

    def _read(self) -> tuple[dict[str, str], list[Picture], dict[str, pd.DataFrame]]:
        broken = circuits.circuits(self._asked, self.filters, getattr(self.history, "path", None))
        tables = {
            "retries": self._retries(),
            "fallbacks": self._fallbacks(),
            "circuits": _table(broken),
            "circuit transitions": self._circuits(),
            "timeouts": self._timeouts(),
            "waits": self._waits(),
            "budget refusals": self._refusals(),
            "errors": self._errors(),
        }
        facts = _facts(tables) | self._shares(tables, broken)
        return facts, self._charts(tables, circuits.timeline(broken)), tables

    def _charts(self, tables: dict[str, pd.DataFrame], timeline: Timeline) -> list[Picture]:
        hops = records(tables["fallbacks"])
        for row in hops:
            row["hop of"] = f"{row['step']}, hop {row['hop']}"
        counted = drawn(
            Chart(
                "Attempts per execution",
                bars(records(tables["retries"]), "step", ["amplification"]),
                x_title="step",
                y_title="attempts",
                y_format=",.3g",
            ),
            Chart(
                "Share of executions that fell back",
                bars(hops, "hop of", ["share"]),
                x_title="step and hop",
                y_title="share",
                y_format=".1%",
            ),
            self._errors_over_time(),
        )
        return [*counted, timeline] if timeline.lanes else counted

    def _shares(
        self, tables: dict[str, pd.DataFrame], broken: list[circuits.Circuit]
    ) -> dict[str, str]:
        shares: dict[str, str] = {}
        where, values = self.filters.rows("spans", "kind = 'fallback'")
        (row,) = records(self._asked(f"SELECT COUNT(*) AS count FROM spans WHERE {where}", values))  # noqa: S608 - no word of a user's
        if row["count"]:
            fallbacks = tables["fallbacks"]
            first = int(fallbacks.loc[fallbacks["hop"] == 1, "count"].sum())
            shares["executions that fell back"] = Share(first / row["count"], warns_at=0)
        known_s = sum(each.seconds() for each in broken)
        if known_s:
            open_s = sum(each.open_s for each in broken)
            said = f"{_long(open_s)} of {_long(known_s)}"
            shares["time that circuits were open"] = Share(open_s / known_s, said, warns_at=0)
        return shares

    def _retries(self) -> pd.DataFrame:
        where, values = self.filters.rows("spans", "kind = 'retry'")
        noted, of_notes = self.filters.rows("events", "kind = 'retry'", "name = 'retry'")
        return self._asked(
            "SELECT s.step, s.executions, s.executions + COALESCE(e.retries, 0) AS attempts, "  # noqa: S608 - no word of a user's
            "1.0 + COALESCE(e.retries, 0) * 1.0 / s.executions AS amplification, "
            "s.failed, COALESCE(e.waited_s, 0.0) AS waited_s "
            "FROM (SELECT name AS step, COUNT(*) AS executions, SUM(status = 'error') AS failed "
            f"FROM spans WHERE {where} GROUP BY 1) AS s LEFT JOIN (SELECT step, COUNT(*) AS "
            "retries, SUM(json_extract(data, '$.delay_s')) AS waited_s "
            f"FROM events WHERE {noted} GROUP BY 1) AS e ON e.step IS s.step "
            "ORDER BY 4 DESC, 1",
            values,
            of_notes,
        )

    def _fallbacks(self) -> pd.DataFrame:
        where, values = self.filters.rows("spans", "kind = 'fallback'")
        noted, of_notes = self.filters.rows("events", "kind = 'fallback'", "name = 'fell_back'")
        return self._asked(
            "SELECT e.step, e.hop, s.executions, e.count, e.count * 1.0 / s.executions AS share "  # noqa: S608 - no word of a user's
            "FROM (SELECT step, json_extract(data, '$.level') AS hop, COUNT(*) AS count "
            f"FROM events WHERE {noted} GROUP BY 1, 2) AS e JOIN (SELECT name AS step, COUNT(*) "
            f"AS executions FROM spans WHERE {where} GROUP BY 1) AS s ON s.step IS e.step "
            "ORDER BY s.executions DESC, 1, 2",
            of_notes,
            values,
        )

    def _circuits(self) -> pd.DataFrame:
        where, values = self.filters.rows("events", "name = 'circuit'", "json_valid(data)")
        last = self._asked(
            f"SELECT time_ns AS time, {circuits.WHOSE} AS step, "  # noqa: S608 - no word of a user's
            "json_extract(data, '$.key') AS key, workflow, json_extract(data, '$.state') AS state, "
            "json_extract(data, '$.because') AS because "
            f"FROM events WHERE {where} ORDER BY time_ns DESC LIMIT {_LAST_TRANSITIONS}",
            values,
        )
        last["time"] = [moment(int(ns)).isoformat(" ", "seconds") for ns in last["time"]]
        return last

    def _timeouts(self) -> pd.DataFrame:
        where, values = self.filters.rows("events", "name = 'timed_out'")
        return self._asked(
            "SELECT step, json_extract(data, '$.kind') AS limited, "  # noqa: S608 - no word of a user's
            "json_extract(data, '$.instead') AS instead, COUNT(*) AS count "
            f"FROM events WHERE {where} GROUP BY 1, 2, 3 ORDER BY count DESC",
            values,
        )

    def _waits(self) -> pd.DataFrame:
        where, values = self.filters.rows("events", "name IN ('rate_limit', 'bulkhead')")
        refused = "json_extract(data, '$.refused') IS NOT NULL"
        waited = "COALESCE(json_extract(data, '$.waited_s'), 0.0)"
        return self._asked(
            "SELECT name AS \"limit\", COALESCE(json_extract(data, '$.limit'), step) AS which, "  # noqa: S608 - no word of a user's
            f"SUM({waited} > 0) AS waits, SUM({waited}) AS waited_s, MAX({waited}) AS longest_s, "
            f"SUM({refused}) AS refused FROM events WHERE {where} GROUP BY 1, 2 "
            "HAVING waits OR refused ORDER BY waited_s DESC",
            values,
        )

    def _refusals(self) -> pd.DataFrame:
        where, values = self._where_it_arose("error_type = 'BudgetExceededError'")
        return self._asked(
            'SELECT name AS step, workflow, "user", COUNT(*) AS count '  # noqa: S608 - no word of a user's
            f"FROM spans WHERE {where} GROUP BY 1, 2, 3 ORDER BY count DESC",
            values,
        )

    def _errors(self) -> pd.DataFrame:
        where, values = self._where_it_arose()
        return self._asked(
            "SELECT error_type AS error, name AS step, COUNT(*) AS count, MAX(error) AS example "  # noqa: S608 - no word of a user's
            f"FROM spans WHERE {where} GROUP BY 1, 2 ORDER BY count DESC, 1",
            values,
        )

    def _errors_over_time(self) -> Chart:
        buckets = self.filters.buckets()
        where, values = self._where_it_arose()
        rows = records(
            self._asked(
                f"SELECT {buckets.of('started_ns')} AS at, error_type AS error, "  # noqa: S608 - no word of a user's
                f"COUNT(*) AS count FROM spans WHERE {where} GROUP BY 1, 2",
                values,
            )
        )
        return Chart(
            f"Errors per {buckets.unit}",
            by_time(with_others(rows, "error", "count"), buckets, "error", "count"),
            x_title=f"{buckets.unit} (UTC)",
            y_title="errors, where they arose",
            y_format=",.4g",
        )

    def _where_it_arose(self, *also: str) -> tuple[str, list[object]]:
        """Return the condition on steps that failed by themselves: others only passed it on."""
        outer, values = self.filters.rows(
            "spans", "status = 'error'", "error_type IS NOT NULL", *also
        )
        inner, more = self.filters.rows(
            "spans", "status = 'error'", "parent_id || error_type IS NOT NULL"
        )
        passed_on = f"SELECT parent_id || error_type FROM spans WHERE {inner}"  # noqa: S608 - no word of a user's
        # As one text: SQLite looks through all rows for each pair that is not among them.
        return f"{outer} AND span_id || error_type NOT IN ({passed_on})", [*values, *more]


def _table(found: list[circuits.Circuit]) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - loaded by now, with what was asked

    return pd.DataFrame([each.row() for each in found], columns=list(circuits.COLUMNS))


def _long(seconds: float) -> str:
    return f"{seconds / _HOUR_S:,.1f} h" if seconds >= _HOUR_S else duration(seconds)


def _facts(tables: dict[str, pd.DataFrame]) -> dict[str, str]:
    retries, waits = tables["retries"], tables["waits"]
    executions = int(retries["executions"].sum())
    facts = {
        "retries": f"{int(retries['attempts'].sum()) - executions:,}",
        "fallbacks": f"{int(tables['fallbacks']['count'].sum()):,}",
        "timeouts": f"{int(tables['timeouts']['count'].sum()):,}",
        "seconds waited for limits": f"{float(waits['waited_s'].sum()):,.3g}",
        "budget refusals": f"{int(tables['budget refusals']['count'].sum()):,}",
        "errors": f"{int(tables['errors']['count'].sum()):,}",
    }
    if executions:
        facts["attempts per execution"] = f"{retries['attempts'].sum() / executions:,.3g}"
    return facts
