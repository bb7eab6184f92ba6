"""Sums of calls: what a line of a report says."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from tta_notebook.core.money import decimal_usd, usd
from tta_notebook.cost.entry import LedgerEntry


@dataclass(slots=True)
class Totals:
    """What a number of calls come to.

    Attributes:
        requests: how many there were.
        input_tokens: of all of them, cached ones included.
        output_tokens: of all of them.
        cost_pico: of those that have a price, in pico-dollars.
        unpriced: how many have none.

    >>> Totals(requests=2, input_tokens=1_000, output_tokens=500, cost_pico=3 * 10**9).usd_per_1k
    0.002
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_pico: int = 0
    unpriced: int = 0

    def add(self, entry: LedgerEntry) -> None:
        """Count one more call."""
        self.requests += 1
        self.input_tokens += entry.usage.input_tokens
        self.output_tokens += entry.usage.output_tokens
        if entry.cost_pico is None:
            self.unpriced += 1
        else:
            self.cost_pico += entry.cost_pico

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    @property
    def cost_usd(self) -> float:
        """The cost in USD."""
        return usd(self.cost_pico)

    @property
    def cost_decimal(self) -> Decimal:
        """The cost in USD, exact."""
        return decimal_usd(self.cost_pico)

    @property
    def usd_per_1k(self) -> float | None:
        """The cost of a thousand tokens in USD; None without any tokens, or where a price lacks."""
        if not self.tokens or self.unpriced:
            return None
        return usd(self.cost_pico) * 1_000 / self.tokens
