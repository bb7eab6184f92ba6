"""The magics that are about money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope
from IPython.core.magic import no_var_expand as raw_line

from tta_notebook.core.errors import ConfigurationError
from tta_notebook.notebook.ipython import UsageError
from tta_notebook.notebook.magics.base import Family
from tta_notebook.notebook.money import budget_text
from tta_notebook.notebook.options import timedelta_in
from tta_notebook.notebook.tables.costs import COSTS, STANDING_BUDGET

if TYPE_CHECKING:
    from tta_notebook.cost.report import LedgerReport
    from tta_notebook.report.chart import Chart


@magics_class
class CostMagics(Family):
    """What runs have cost, and what they may."""

    @raw_line
    @line_magic
    def tta_costs(self, line: str) -> LedgerReport | Chart | None:
        """Show what calls to models have cost. %tta_costs -h has the rest."""
        arguments = self._read(COSTS, line)
        if arguments is None:
            return None
        ledger, values = self._money.ledger, arguments.values
        since = timedelta_in(values["since"]) if "since" in values else None
        by = values.get("by")
        if "plot" in values:
            from tta_notebook.report.figures import cost_chart  # noqa: PLC0415 - only who draws

            return cost_chart(ledger, by or "model", since)
        if by is None:
            return ledger.report(since)
        from tta_notebook.cost.report import LedgerReport  # noqa: PLC0415 - loaded by now

        return LedgerReport(ledger.totals(since), {by: ledger.lines(by, since)})

    @raw_line
    @needs_local_scope
    @line_magic
    def tta_budget(self, line: str, local_ns: dict[str, Any] | None = None) -> None:
        """Show, set or clear the notebook's budget. %tta_budget -h has the rest."""
        arguments = self._read(STANDING_BUDGET, line)
        if arguments is None:
            return
        verb, *amount = arguments.words or ["show"]
        if verb == "set" and amount:
            self._set_budget(self._evaluate(amount[0], local_ns), arguments.values)
        elif verb == "clear" and not amount and not arguments.values:
            self._money.clear_budget()
        elif verb != "show" or amount or arguments.values:
            title = STANDING_BUDGET.title
            raise UsageError(
                f"{title}: write {title} set USD [--per day], {title} clear, or {title} alone; -h "
                "has the rest."
            )
        print(budget_text(self._money.budget))  # noqa: T201 - a magic prints

    def _set_budget(self, amount: Any, values: dict[str, str]) -> None:
        try:
            self._money.set_budget(
                amount,
                values.get("per", "total"),
                values.get("scope"),
                values.get("timezone", "UTC"),
            )
        except ConfigurationError as error:
            raise UsageError(str(error)) from None
