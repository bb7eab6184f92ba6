"""Charts of what ledgers know."""

from __future__ import annotations

from datetime import datetime, timedelta

from tta_notebook.cost.ledger import Ledger
from tta_notebook.report.chart import Chart, Series


def cost_chart(
    ledger: Ledger, by: str = "model", since: datetime | timedelta | None = None
) -> Chart:
    """Return what a ledger's calls cost by a dimension, as bars; by day in the order of days.

    Args:
        ledger: the books.
        by: a dimension, see `Ledger.by`.
        since: a moment, or a length of time until now.

    >>> from tta_notebook import Price, PriceBook, Usage
    >>> ledger = Ledger(PriceBook(overrides={"m": Price(input_per_1m=2, output_per_1m=10)}))
    >>> entry = ledger.record("m", Usage(input_tokens=1_000, output_tokens=200))
    >>> print(cost_chart(ledger))
    Cost by model
          USD
    m   0.004
    """
    costs = ledger.by(by, since)
    if by == "day":
        costs = dict(sorted(costs.items()))
    caution = ""
    if unpriced := ledger.totals(since).unpriced:
        calls = (
            "1 call has no price and is"
            if unpriced == 1
            else f"{unpriced:,} calls have no price and are"
        )
        caution = f"{calls} left out."
    series = Series("USD", list(costs), list(costs.values()))
    return Chart(f"Cost by {by}", [series], x_title=by, y_title="USD", caution=caution)
