"""What a call costs: by the run's prices, else by the standard price book."""

from __future__ import annotations

from datetime import date
from functools import cache

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.protocols import Quote
from tta_notebook.llm.prices import PriceBook


@cache
def standard_prices() -> PriceBook:
    """Return the price book where nobody gave another one."""
    return PriceBook()


def quote_of(
    model: str,
    context: WorkflowContext,
    *,
    source: str,
    provider: str,
    served: str = "",
    at: date | None = None,
) -> Quote | None:
    """Return the price of a model in a run, or None.

    A stand-in ("mock") has a price only where the run gives it one: a script named like a real
    model costs nothing, and that must not look like a price.

    Args:
        model: as it was asked for.
        context: of the step that asks.
        source: where the answer comes from.
        provider: who serves it.
        served: the model that answered, looked up when the other name has no price.
        at: the day whose price counts; today by default.
    """
    prices = context.prices
    if prices is None:
        if source == "mock":
            return None
        prices = standard_prices()
    quote = prices.quote(model, provider=provider, at=at)
    if quote is None and served:
        quote = prices.quote(served, provider=provider, at=at)
    return quote
