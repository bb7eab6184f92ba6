"""What recorded calls would cost at a price: exact, and fast enough for millions of them."""

from __future__ import annotations

from datetime import date
from math import ceil, floor
from typing import TypeAlias

from tta_notebook.core.money import divided
from tta_notebook.llm.prices import PriceBook
from tta_notebook.llm.quote import Quote

_DAY_NS = 24 * 3_600 * 10**9
_EPOCH_DAY = date(1970, 1, 1).toordinal()


Counts: TypeAlias = tuple[int, int, int, int, int]
"""Tokens as `Usage` counts them: input, output, cached, written and reasoning."""


def fewest(counts: Counts, ratio: float) -> Counts:
    """Return the tokens of the same texts in a vocabulary that takes fewer."""
    input_, output, *parts = counts
    cached, written, reasoning = (floor(part * ratio) for part in parts) if any(parts) else parts
    return floor(input_ * ratio), floor(output * ratio), cached, written, reasoning


def most(counts: Counts, ratio: float) -> Counts:
    """Return the same in one that takes more, where nothing of the input is cached."""
    input_, output, _, written, reasoning = counts
    if written or reasoning:
        written, reasoning = ceil(written * ratio), ceil(reasoning * ratio)
    return ceil(input_ * ratio), ceil(output * ratio), 0, written, reasoning


class Tariff:
    """The price of a model on a day.

    It reckons as `Quote.cost` does, without an object and checks per call: a third of the time.

    Args:
        quote: the price.
    """

    __slots__ = ("_price", "_terms", "worst_case")

    def __init__(self, quote: Quote) -> None:
        self.worst_case = quote.worst_case
        self._price = quote.price
        self._terms = quote.price.terms(batch=quote.batch)

    def cost(self, counts: Counts) -> int:
        """Return what a call costs that uses this, in pico-dollars."""
        input_, output, cached, written, reasoning = counts
        per_request, numerator, denominator = self._terms
        if not (cached or written or reasoning):  # as most are
            rates = self._price.rates(input_)
            amount = input_ * rates.input + output * rates.output
            return per_request + divided(amount * numerator, denominator)
        fresh, plain = max(0, input_ - cached - written), max(0, output - reasoning)
        rates = self._price.rates(fresh + cached + written)
        amount = (
            fresh * rates.input
            + cached * rates.cached_input
            + written * rates.cache_write
            + plain * rates.output
            + reasoning * rates.reasoning
        )
        return per_request + divided(amount * numerator, denominator)


class Tariffs:
    """The prices of a book, by model and day.

    Args:
        prices: the book.
        at: the day whose prices count; by default that of each call, in UTC.
    """

    def __init__(self, prices: PriceBook, at: date | None) -> None:
        self._prices = prices
        self._at = at
        self._found: dict[tuple[str, str | None, str | None, int], Tariff | None] = {}

    def of(
        self, model: str, provider: str | None, served: str | None, time_ns: int
    ) -> Tariff | None:
        """Return the price of a call; None when nobody knows it.

        Args:
            model: as it was asked for.
            provider: who serves it.
            served: the model that answered, looked up when the other name has no price.
            time_ns: when it is made, in nanoseconds since 1970.
        """
        key = (model, provider, served, 0 if self._at else time_ns // _DAY_NS)
        if key not in self._found:
            self._found[key] = self._look_up(model, provider, served, time_ns)
        return self._found[key]

    def _look_up(
        self, model: str, provider: str | None, served: str | None, time_ns: int
    ) -> Tariff | None:
        day = self._at or date.fromordinal(_EPOCH_DAY + time_ns // _DAY_NS)
        quote = self._prices.quote(model, provider=provider, at=day)
        if quote is None and served:
            quote = self._prices.quote(served, provider=provider, at=day)
        return None if quote is None else Tariff(quote)
