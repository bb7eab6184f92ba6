"""What calls to models cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tta_notebook.core.money import shown
from tta_notebook.notebook.dashboards import budgets
from tta_notebook.notebook.dashboards.base import Dashboard
from tta_notebook.notebook.dashboards.series import bars, by_time, drawn, records, with_others
from tta_notebook.report.chart import Chart

if TYPE_CHECKING:
    import pandas as pd

    from tta_notebook.report.picture import Picture

_SHOWN = ["calls", "input_tokens", "output_tokens", "cost_usd", "unpriced_calls"]
_TOKENS = ("input", "cached input", "cache writes", "output", "reasoning")


class CostDashboard(Dashboard):
    """Shows what models cost: over time, per successful run, for whom, and of which budgets.

    Its arguments are those of every `Dashboard`.

    >>> import tempfile
    >>> from tta_notebook import LLMPrimitive, Price, PriceBook, Reply, ScriptedModel, Usage
    >>> from tta_notebook import WorkflowContext, configure
    >>> from tta_notebook.observability.history import History
    >>> price = Price(input_per_1m=0, output_per_1m=1_000_000)
    >>> configure(prices=PriceBook(overrides={"m": price}, bundled=False))
    >>> reply = Reply("yes", usage=Usage(input_tokens=5, output_tokens=3))
    >>> folder = tempfile.TemporaryDirectory()
    >>> with History(folder.name + "/history.db") as history:
    ...     LLMPrimitive(ScriptedModel([reply], name="m"), max_output_tokens=3).run_sync("well?")
    'yes'
    >>> dashboard = CostDashboard(history)
    >>> dashboard.page().facts["cost"]
    '$3.00'
    >>> dashboard.filter(model="other").charts()
    []
    >>> configure(prices=None)
    >>> folder.cleanup()
    """

    title: ClassVar[str] = "Cost"

    def _read(self) -> tuple[dict[str, str], list[Picture], dict[str, pd.DataFrame]]:
        tables = {f"cost by {by}": self._costs(by) for by in ("model", "workflow", "user", "step")}
        total, tokens = self._total()
        caution = _caution(total["unpriced_calls"])
        runs = self._runs()
        tables["runs"] = runs
        ok = int(runs["ok"].sum())
        facts: dict[str, str] = {
            "cost": shown(total["cost_pico"]),
            "calls": f"{total['calls']:,}",
            "tokens": f"{total['tokens']:,}",
            "successful runs": f"{ok:,}",
            "unpriced calls": f"{total['unpriced_calls']:,}",
        }
        if ok:
            facts["cost per successful run"] = shown(round(total["cost_pico"] / ok))
        found = budgets.accounts(self._asked, self.filters)
        facts |= budgets.fullest(found)
        tables["budgets"] = _table(found)
        burned = budgets.over_time(self._asked, self.filters, found)
        charts = drawn(self._over_time(caution), burned, _per_run(runs, caution), tokens)
        return facts, charts, tables

    def _costs(self, by: str) -> pd.DataFrame:
        costs = self.history.costs(by, **self.filters.of_calls())
        ordered = costs.sort_values(["cost_usd", "calls"], ascending=False, na_position="last")
        return ordered[[by, *_SHOWN]].reset_index(drop=True)

    def _total(self) -> tuple[dict[str, Any], Chart]:
        where, values = self.filters.calls()
        (row,) = records(
            self._asked(
                "SELECT COUNT(*) AS calls, COALESCE(SUM(cost_pico), 0) AS cost_pico, "  # noqa: S608 - no word of a user's
                "COALESCE(SUM(cost_pico IS NULL AND input_tokens IS NOT NULL), 0) "
                "AS unpriced_calls, SUM(input_tokens) AS input, SUM(output_tokens) AS output, "
                'SUM(cached_input_tokens) AS "cached input", '
                'SUM(cache_write_tokens) AS "cache writes", SUM(reasoning_tokens) AS reasoning '
                f"FROM spans WHERE {where}",
                values,
            )
        )
        row["tokens"] = (row["input"] or 0) + (row["output"] or 0)
        kinds = [{"kind": kind, "tokens": row[kind]} for kind in _TOKENS]
        chart = Chart(
            "Tokens by type",
            bars(kinds, "kind", ["tokens"]),
            y_title="tokens",
            y_format=",.0f",
            caution="Cached and written tokens are part of the input, reasoning of the output.",
        )
        return row, chart

    def _over_time(self, caution: str) -> Chart:
        buckets = self.filters.buckets()
        where, values = self.filters.calls()
        rows = records(
            self._asked(
                f"SELECT {buckets.of('started_ns')} AS at, model, "  # noqa: S608 - no word of a user's
                "SUM(cost_pico) / 1e12 AS cost_usd "
                f"FROM spans WHERE {where} AND cost_pico IS NOT NULL GROUP BY 1, 2",
                values,
            )
        )
        return Chart(
            f"Cost per {buckets.unit} by model",
            by_time(with_others(rows, "model", "cost_usd"), buckets, "model", "cost_usd"),
            x_title=f"{buckets.unit} (UTC)",
            y_title="USD",
            caution=caution,
        )

    def _runs(self) -> pd.DataFrame:
        runs, of_runs = self.filters.rows("runs")
        calls, of_calls = self.filters.calls()
        return self._asked(
            "SELECT r.workflow, r.runs, r.ok, c.cost_usd, c.cost_usd / NULLIF(r.ok, 0) "  # noqa: S608 - no word of a user's
            "AS usd_per_ok_run FROM (SELECT workflow, COUNT(*) AS runs, SUM(status = 'ok') AS ok "
            f"FROM runs WHERE {runs} GROUP BY 1) AS r JOIN (SELECT workflow, "
            f"SUM(cost_pico) / 1e12 AS cost_usd FROM spans WHERE {calls} GROUP BY 1) AS c "
            "ON c.workflow IS r.workflow ORDER BY c.cost_usd DESC",
            of_runs,
            of_calls,
        )


def _per_run(runs: pd.DataFrame, caution: str) -> Chart:
    return Chart(
        "Cost per successful run",
        bars(records(runs), "workflow", ["usd_per_ok_run"]),
        x_title="workflow",
        y_title="USD",
        caution=" ".join(filter(None, ["What failed runs cost is in it.", caution])),
    )


def _table(found: list[budgets.Account]) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - loaded by now, with what was asked

    return pd.DataFrame([each.row() for each in found], columns=list(budgets.COLUMNS))


def _caution(unpriced: int) -> str:
    if not unpriced:
        return ""
    calls = "1 call has" if unpriced == 1 else f"{unpriced:,} calls have"
    return f"{calls} no price and count in no sum of money."
