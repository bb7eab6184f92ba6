"""What a model costs: dollars per million tokens, and the exact arithmetic behind them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias, cast

from tta_notebook.core.checked import count
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.money import PICO, decimal, scaled, to_pico

Dollars: TypeAlias = Decimal | float
Tiers: TypeAlias = "Mapping[int, Price] | Iterable[tuple[int, Price]]"

# Prices per million tokens are kept to 18 decimals: the finest in the tables of providers have 18.
_RATE_DECIMALS = 18
# A rate is in 10**-18 dollars per 10**6 tokens; times tokens it is in 10**-24 dollars.
_RATE_UNITS_PER_PICO = 10 ** (_RATE_DECIMALS + 6) // PICO

# What a tier cannot state: it belongs to the price as a whole.
_WHOLE = ("batch_factor", "per_request", "tiers", "valid_from")


class Rates(NamedTuple):
    """Prices of the kinds of tokens, as whole numbers in one unit."""

    input: int
    cached_input: int
    cache_write: int
    output: int
    reasoning: int

    @property
    def dearest_input(self) -> int:
        """What a token of input costs at most."""
        return max(self.input, self.cached_input, self.cache_write)

    @property
    def dearest_output(self) -> int:
        """What a token of output costs at most."""
        return max(self.output, self.reasoning)


class Terms(NamedTuple):
    """From a sum of tokens times rates to pico-dollars: `sum * numerator / denominator`."""

    per_request: int
    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs in USD, exact to 18 decimals; floats count as they are written.

    Args:
        input_per_1m: per million tokens of input.
        output_per_1m: per million tokens of output.
        cached_input_per_1m: of input that the provider had cached; by default as other input.
        cache_write_per_1m: of input that is written to its cache; by default as other input.
        reasoning_per_1m: of output that is reasoning; by default as other output.
        batch_factor: what tokens cost in a batch, as a share of this: 0.5 is half price.
        per_request: added to every call, in batches too.
        tiers: a number of input tokens, and the price of calls with more than that: it holds for
            all tokens of such a call, as with Anthropic, Google and OpenAI. A tier states prices
            of tokens alone.
        valid_from: the first day (UTC) of this price; None for ever.

    Raises:
        ConfigurationError: a price is negative, not finite or no number; a tier is none.

    >>> long = Price(input_per_1m=2.5, output_per_1m=15)
    >>> price = Price(input_per_1m=1.25, output_per_1m=10, tiers={200_000: long})
    >>> price.input_per_1m, price.tiers[0][0]
    (Decimal('1.25'), 200000)
    """

    input_per_1m: Dollars
    output_per_1m: Dollars
    cached_input_per_1m: Dollars | None = None
    cache_write_per_1m: Dollars | None = None
    reasoning_per_1m: Dollars | None = None
    batch_factor: Dollars = 1
    per_request: Dollars = 0
    tiers: Tiers = ()
    valid_from: dt.date | None = None
    _rates: Rates = field(init=False, repr=False, compare=False)
    _steps: tuple[tuple[int, Rates], ...] = field(init=False, repr=False, compare=False)
    _terms: tuple[Terms, Terms] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("input_per_1m", "output_per_1m", "per_request"):
            self._keep(name, _dollars(name, getattr(self, name)))
        for name in ("cached_input_per_1m", "cache_write_per_1m", "reasoning_per_1m"):
            if getattr(self, name) is not None:
                self._keep(name, _dollars(name, getattr(self, name)))
        self._keep("batch_factor", _factor(self.batch_factor))
        tiers = _tiers(self.tiers)
        self._keep("tiers", tiers)
        _check_day(self.valid_from)
        self._keep("_rates", self._own_rates())
        self._keep("_steps", tuple((above, price.rates(0)) for above, price in tiers))
        self._keep("_terms", (self._terms_of(Decimal(1)), self._terms_of(self.batch_factor)))

    def stated(self) -> dict[str, Any]:
        """Return what was stated, numbers as texts; `Price(**…)` of it as Decimals is this price.

        >>> Price(input_per_1m=1.25, output_per_1m=10).stated()
        {'input_per_1m': '1.25', 'output_per_1m': '10'}
        """
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        stated: dict[str, Any] = {
            name: str(number)
            for name, number in numbers.items()
            if number is not None and number != _UNSTATED.get(name)
        }
        if self.tiers:
            stated["tiers"] = {str(above): price.stated() for above, price in _tiers(self.tiers)}
        if self.valid_from is not None:
            stated["valid_from"] = self.valid_from.isoformat()
        return stated

    def rates(self, input_tokens: int) -> Rates:
        """Return the rates of a call with this many tokens of input."""
        found = self._rates
        for above, rates in self._steps:
            if input_tokens <= above:
                break
            found = rates
        return found

    def rates_up_to(self, input_tokens: int) -> list[Rates]:
        """Return the rates of all calls with at most this many tokens of input."""
        return [self._rates, *(rates for above, rates in self._steps if input_tokens > above)]

    def terms(self, *, batch: bool) -> Terms:
        """Return how a sum of tokens times rates becomes money."""
        return self._terms[batch]

    def _terms_of(self, share: Dollars) -> Terms:
        numerator, denominator = share.as_integer_ratio()
        return Terms(to_pico(self.per_request), numerator, denominator * _RATE_UNITS_PER_PICO)

    def _own_rates(self) -> Rates:
        cached = _either(self.cached_input_per_1m, self.input_per_1m)
        write = _either(self.cache_write_per_1m, self.input_per_1m)
        reasoning = _either(self.reasoning_per_1m, self.output_per_1m)
        stated = (self.input_per_1m, cached, write, self.output_per_1m, reasoning)
        return Rates(*(scaled(cast("Decimal", usd), _RATE_DECIMALS) for usd in stated))

    def _keep(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


_NUMBERS = (
    "input_per_1m",
    "output_per_1m",
    "cached_input_per_1m",
    "cache_write_per_1m",
    "reasoning_per_1m",
    "batch_factor",
    "per_request",
)
# Left out of a record where nothing else was stated.
_UNSTATED = {"batch_factor": 1, "per_request": 0}


def _either(stated: Dollars | None, other: Dollars) -> Dollars:
    return other if stated is None else stated


def _dollars(name: str, value: object) -> Decimal:
    # Text is refused: "0.15" from a form may be "0,15" next time.
    number = None if isinstance(value, str) else decimal("Price", name, value)
    if number is not None and number >= 0:
        return number
    raise ConfigurationError(
        f"Price: {name}={value!r} is not a price, so no cost can be made of it. Give a number of "
        "dollars from 0."
    )


def _factor(value: object) -> Decimal:
    number = _dollars("batch_factor", value)
    if 0 < number <= 1:
        return number
    raise ConfigurationError(
        f"Price: batch_factor={value!r} is no share of a price. Give a number greater than 0 and "
        "up to 1, like 0.5 for half price."
    )


def _tiers(given: Tiers) -> tuple[tuple[int, Price], ...]:
    try:
        pairs = dict(given).items()
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"Price: tiers={given!r} maps nothing to prices. Give tiers={{200_000: "
            "Price(input_per_1m=…, output_per_1m=…)}."
        ) from None
    return tuple(sorted((_tier(above, price) for above, price in pairs), key=lambda tier: tier[0]))


def _tier(above: int, price: object) -> tuple[int, Price]:
    threshold = count("Price", "tiers", above, least=0)
    if not isinstance(price, Price):
        raise ConfigurationError(
            f"Price: tiers={{{above!r}: {price!r}}} has no price in it. Give tiers={{{threshold}: "
            "Price(input_per_1m=…, output_per_1m=…)}."
        )
    defaults = {stated.name: stated.default for stated in fields(Price)}
    for name in _WHOLE:
        if getattr(price, name) != defaults[name]:
            raise ConfigurationError(
                f"Price: the tier above {threshold} tokens states {name}, which belongs to the "
                f"price as a whole. Give {name}=… to the outer Price."
            )
    return threshold, price


def _check_day(day: object) -> None:
    # A datetime is a date, but the two cannot be compared.
    if day is None or (isinstance(day, dt.date) and not isinstance(day, dt.datetime)):
        return
    raise ConfigurationError(
        f"Price: valid_from={day!r} is no day. Give a datetime.date, like date(2026, 1, 31)."
    )
