"""What a notebook knows of money: its books, which go on, and its budget."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from tta_notebook.core.home import home
from tta_notebook.core.money import shown, to_pico
from tta_notebook.core.protocols import Hold, PlannedCall
from tta_notebook.core.standing import standing

if TYPE_CHECKING:
    from tta_notebook.cost.budget import Budget
    from tta_notebook.cost.ledger import Ledger

BUDGET_NAME = "notebooks"


class Money:
    """The ledger and the budget that stand over every run of a kernel.

    It is the guard that books: the ledger itself is loaded and opened with the first call to a
    model, so that loading the extension takes no longer for it.

    Attributes:
        budget: what `%tta_budget set` has set; None without.
    """

    needs_input_bound = False

    def __init__(self) -> None:
        self.budget: Budget | None = None

    @cached_property
    def ledger(self) -> Ledger:
        """The books, in the user's folder."""
        from tta_notebook.cost.ledger import Ledger  # noqa: PLC0415 - not before it is needed

        return Ledger(path=home() / "costs.db")

    async def reserve(self, call: PlannedCall) -> Hold:
        """Open a line in the ledger for a call."""
        return await self.ledger.reserve(call)

    def add(self) -> None:
        """Book every run from now on."""
        standing.add(self)

    def remove(self) -> None:
        """Leave runs alone; what is booked stays."""
        self.clear_budget()
        standing.remove(self)
        if "ledger" in self.__dict__:
            self.ledger.close()

    def set_budget(self, amount: object, per: str, scope: str | None, timezone: str) -> Budget:
        """Put a budget over every run, in place of the one there was.

        Raises:
            ConfigurationError: an argument means nothing.
        """
        from tta_notebook.cost.budget import Budget  # noqa: PLC0415 - as for the ledger

        # What a day's budget has spent must not be forgotten when the kernel is started anew.
        lasts = per in ("day", "month")
        whose = f" by {scope}" if scope else ""
        budget = Budget(
            amount,
            per,  # type: ignore[arg-type]  # checked there, with a message that names the periods
            scope,
            timezone,
            path=home() / "budgets.db" if lasts else None,
            name=f"{BUDGET_NAME}, each {per}{whose}" if lasts else None,
        )
        self.clear_budget()
        self.budget = budget
        standing.add(budget)
        return budget

    def clear_budget(self) -> None:
        """Take the budget away; what it has spent stays spent."""
        budget, self.budget = self.budget, None
        if budget is not None:
            standing.remove(budget)
            budget.close()


def budget_text(budget: Budget | None) -> str:
    """Return how the notebook's budget stands, in a line.

    >>> from tta_notebook import Budget
    >>> print(budget_text(Budget(2)))
    Budget: $0.00 of $2.00 is spent, in all.
    """
    if budget is None:
        return "Budget: none is set; %tta_budget set 5 --per day sets one."
    limit = shown(budget.limit_pico)
    if budget.scope is not None or budget.per in ("request", "run"):
        whose = f" for each {budget.scope}" if budget.scope is not None else ""
        return f"Budget: {limit} per {budget.per}{whose}."
    status = budget.status()
    window = f"on {status.window}" if budget.per == "day" else f"in {status.window}"
    when = "in all" if budget.per == "total" else window
    held = f", {shown(to_pico(status.held_usd))} set aside" if status.held_usd else ""
    lost = f", {shown(to_pico(status.lost_usd))} lost with processes" if status.lost_usd else ""
    return f"Budget: {shown(to_pico(status.spent_usd))} of {limit} is spent{held}{lost}, {when}."
