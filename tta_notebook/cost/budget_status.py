"""How a budget stands, and what it has to tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

EventKind: TypeAlias = Literal["warning", "capped", "refused", "overrun"]


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """How a budget stands.

    Attributes:
        limit_usd: what may be spent.
        spent_usd: what settled calls cost.
        held_usd: what is set aside for calls under way.
        lost_usd: what processes that are gone had set aside; it may have been spent.
        window: "2026-11-25" or "2026-11"; empty where it is for all time.
    """

    limit_usd: float
    spent_usd: float
    held_usd: float
    lost_usd: float
    window: str = ""

    @property
    def left_usd(self) -> float:
        """What a call may still set aside."""
        return self.limit_usd - self.spent_usd - self.held_usd - self.lost_usd

    @property
    def used_rate(self) -> float:
        """The share of the limit that is spent or lost, from 0."""
        gone = self.spent_usd + self.lost_usd
        return gone / self.limit_usd if self.limit_usd else float(gone > 0)


@dataclass(frozen=True, slots=True)
class BudgetEvent:
    """Something a budget tells its `on_event`.

    Attributes:
        kind: "warning" (a level is reached), "capped" (an answer was cut to what could be paid),
            "refused", or "overrun" (a call cost more than its provider had said it could).
        budget: the name of the budget.
        scope: whose it is: "user u-1"; empty for everybody's.
        status: how it stands.
        level: the share of the limit that was reached, of a warning.
        model: the model that was asked, or was to be.
    """

    kind: EventKind
    budget: str
    scope: str
    status: BudgetStatus
    level: float | None = None
    model: str = ""
