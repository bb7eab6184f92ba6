"""A price as it stands on one day: what calls cost by it, and what they can cost."""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

from tta_notebook.core.checked import count
from tta_notebook.core.money import divided
from tta_notebook.core.usage import Usage
from tta_notebook.llm.price import Price, Rates


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of a model on one day; amounts are whole pico-dollars.

    Attributes:
        model: as it was asked for.
        price: what it costs.
        date: the day (UTC) whose price it is.
        source: whose price it is: "user", "local" or "genai-prices".
        batch: whether calls go through a batch interface.

    >>> quote = Quote("m", Price(input_per_1m=0.02, output_per_1m=0), dt.date(2026, 1, 1), "user")
    >>> quote.cost(Usage(input_tokens=1))
    20000
    """

    model: str
    price: Price
    date: dt.date
    source: str
    batch: bool = False

    def terms(self) -> dict[str, Any]:
        """Return the price as it was stated, as texts: what a record keeps of it."""
        return self.price.stated()

    def cost(self, usage: Usage) -> int:
        """Return what a call cost that used this; rounded once, half a pico-dollar to even.

        A report of more cached tokens than input, or more reasoning than output, is charged for
        every token it names.

        Raises:
            ConfigurationError: a number of tokens is negative or not whole.
        """
        tokens = _tokens(usage)
        terms = self.price.terms(batch=self.batch)
        amount = tokens.times(self.price.rates(tokens.all_input))
        return terms.per_request + divided(amount * terms.numerator, terms.denominator)

    def worst_case(self, input_tokens: int, max_output_tokens: int) -> int:
        """Return the most a call can cost with at most this many tokens.

        It takes the dearest kind of token in the dearest tier within reach, and rounds up.
        """
        size = _whole("input_tokens", input_tokens)
        output = _whole("max_output_tokens", max_output_tokens)
        terms = self.price.terms(batch=self.batch)
        most = max(
            size * rates.dearest_input + output * rates.dearest_output
            for rates in self.price.rates_up_to(size)
        )
        return terms.per_request - (-most * terms.numerator // terms.denominator)

    def affordable_output_tokens(self, pico: int, input_tokens: int) -> int:
        """Return the most tokens of output whose `worst_case` is within an amount.

        Returns:
            -1 when not even the input is; `sys.maxsize` when output costs nothing.
        """
        size = _whole("input_tokens", input_tokens)
        if self.worst_case(size, 0) > pico:
            return -1
        terms = self.price.terms(batch=self.batch)
        units = (pico - terms.per_request) * terms.denominator
        return min(
            (
                (units - size * rates.dearest_input * terms.numerator)
                // (rates.dearest_output * terms.numerator)
                for rates in self.price.rates_up_to(size)
                if rates.dearest_output
            ),
            default=sys.maxsize,
        )


class _Tokens(NamedTuple):
    """The tokens of a call, each counted under one kind."""

    fresh: int
    cached: int
    written: int
    plain: int
    reasoning: int

    @property
    def all_input(self) -> int:
        return self.fresh + self.cached + self.written

    def times(self, rates: Rates) -> int:
        return (
            self.fresh * rates.input
            + self.cached * rates.cached_input
            + self.written * rates.cache_write
            + self.plain * rates.output
            + self.reasoning * rates.reasoning
        )


def _tokens(usage: Usage) -> _Tokens:
    cached = _whole("cached_input_tokens", usage.cached_input_tokens)
    written = _whole("cache_write_tokens", usage.cache_write_tokens)
    reasoning = _whole("reasoning_tokens", usage.reasoning_tokens)
    fresh = max(0, _whole("input_tokens", usage.input_tokens) - cached - written)
    plain = max(0, _whole("output_tokens", usage.output_tokens) - reasoning)
    return _Tokens(fresh, cached, written, plain, reasoning)


def _whole(name: str, value: int) -> int:
    # The check for any kind of whole number takes longer than all the arithmetic.
    return value if type(value) is int and value >= 0 else count("Quote", name, value, least=0)
