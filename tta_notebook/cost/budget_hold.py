"""What a budget has set aside for one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tta_notebook.core.protocols import PlannedCall, Quote
from tta_notebook.cost.accounts import Taken, Verdict
from tta_notebook.cost.desk import Desk

if TYPE_CHECKING:
    from tta_notebook.cost.budget import Budget


class BudgetHold:
    """What a budget has set aside for one call.

    Attributes:
        max_output_tokens: the most tokens of output that it pays for; None for no limit.
        amount_pico: how much, in pico-dollars.
        teaches: told how many tokens of input the call really had, unless that is an estimate.
    """

    teaches: Callable[..., None] | None = None

    def __init__(
        self,
        budget: Budget,
        desk: Desk,
        call: PlannedCall,
        quote: Quote | None,
        taken: Taken,
        cap: int | None,
    ) -> None:
        self.max_output_tokens = cap
        self._budget = budget
        self._desk = desk
        self._call = call
        self._quote = quote
        self._hold = taken.hold
        self.amount_pico = 0 if isinstance(taken.amount, Verdict) else taken.amount

    def settle(self, usage: Any) -> None:
        """Spend what the call cost and give back the rest; settling again changes nothing."""
        if self.teaches is not None and not usage.estimated:
            self.teaches(real=usage.input_tokens)
        self.spend(self._cost(usage))

    def spend(self, cost_pico: int) -> None:
        """Spend this much, in pico-dollars, and give back the rest."""
        hold, self._hold = self._hold, None
        if hold is not None:
            balance = self._desk.settle(hold, cost_pico)
            self._budget.settled(
                self._desk, self._call, balance, beyond=cost_pico > self.amount_pico
            )

    def release(self) -> None:
        """Give everything back: nothing was sent."""
        hold, self._hold = self._hold, None
        if hold is not None:
            self._desk.settle(hold, 0)

    def _cost(self, usage: Any) -> int:
        try:
            return self.amount_pico if self._quote is None else self._quote.cost(usage)
        except Exception:  # noqa: BLE001 - what cannot be reckoned costs the most that it could
            return self.amount_pico
