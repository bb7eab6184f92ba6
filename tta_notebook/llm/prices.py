"""What models cost: the user's own prices first, then the bundled table, else nothing is known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import TypeAlias, cast

from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.money import decimal_usd
from tta_notebook.core.usage import Usage
from tta_notebook.llm import genai_price_source
from tta_notebook.llm.price import Price
from tta_notebook.llm.quote import Quote
from tta_notebook.llm.seed_prices import SEED_PRICES

__all__ = ["SEED_PRICES", "Price", "PriceBook", "Quote"]

Overrides: TypeAlias = Mapping[str, Price | Sequence[Price]]

_LOCAL = "local"
# What our own backends call themselves that are no model of anybody, whatever their name is.
_STAND_INS = ("function", "scripted")
_FREE = Price(input_per_1m=0, output_per_1m=0)
# More than a process asks for: only a stream of made-up names reaches it.
_MOST_QUOTES = 4096


class PriceBook:
    """Knows what models cost; never changes, so any number of threads may share it.

    A model is looked up in `overrides`, as it was asked for and then without its provider; the
    embedded model ("local") costs nothing; then in the table of genai-prices, where that is
    installed. What is found nowhere has no price: it is never taken for free, nor for a model with
    a similar name.

    Args:
        overrides: prices by model ("provider:model", or the name alone for any provider); several
            for one model are told apart by their `valid_from`.
        at: the day (UTC) whose prices count; by default the day of the question.
        bundled: whether the table of genai-prices is asked.

    Raises:
        ConfigurationError: an override is no price, or two of a model begin on one day.

    >>> book = PriceBook(overrides={"gpt-4": Price(input_per_1m=30, output_per_1m=60)})
    >>> book.cost("gpt-4", Usage(input_tokens=158, output_tokens=100))
    Decimal('0.01074')
    >>> print(book.cost("gpt-4-omega", Usage(input_tokens=158, output_tokens=100)))
    None
    """

    __slots__ = ("_at", "_bundled", "_overrides", "_quotes")

    def __init__(
        self,
        overrides: Overrides | None = None,
        *,
        at: dt.date | None = None,
        bundled: bool = True,
    ) -> None:
        self._overrides = {name: _dated(name, own) for name, own in (overrides or {}).items()}
        self._at = None if at is None else _day(at)
        self._bundled = bundled
        self._quotes: dict[tuple[str, str | None, dt.date, bool], Quote] = {}

    def __repr__(self) -> str:
        names = (
            f"overrides for {len(self._overrides)} models" if self._overrides else "no overrides"
        )
        return f"PriceBook({names}, at={self._at}, bundled={self._bundled})"

    @property
    def overrides(self) -> Mapping[str, tuple[Price, ...]]:
        """The user's own prices, the latest of each model first."""
        return MappingProxyType(self._overrides)

    def quote(
        self,
        model: str,
        *,
        provider: str | None = None,
        at: dt.date | None = None,
        batch: bool = False,
    ) -> Quote | None:
        """Return the price of a model on a day, or None when nobody knows it.

        Args:
            model: as it was asked for ("openai:gpt-5"), or as a provider calls it.
            provider: who serves it, where the name does not say.
            at: a day in UTC; by default the book's, else today.
            batch: whether calls go through a batch interface.
        """
        day = _day(at) if at is not None else self._at or dt.datetime.now(dt.UTC).date()
        key = (model, provider, day, batch)
        quote = self._quotes.get(key)
        return self._look_up(*key) if quote is None else quote

    def cost(
        self, model: str, usage: Usage, *, at: dt.date | None = None, batch: bool = False
    ) -> Decimal | None:
        """Return what a call cost in USD, exactly; None when the model has no price.

        Raises:
            ConfigurationError: a number of tokens is negative or not whole.
        """
        quote = self.quote(model, at=at, batch=batch)
        return None if quote is None else decimal_usd(quote.cost(usage))

    def known(self, model: str) -> bool:
        """Return whether a model has a price."""
        return self.quote(model) is not None

    def with_overrides(self, overrides: Overrides) -> PriceBook:
        """Return a book with these prices too; they replace its own of the same names."""
        return PriceBook({**self._overrides, **overrides}, at=self._at, bundled=self._bundled)

    def unpriced_advice(self, model: str) -> str:
        """Return a sentence on how a model gets a price.

        >>> print(PriceBook(bundled=False).unpriced_advice("mine"))
        Give 'mine' a price: PriceBook(overrides={'mine': Price(input_per_1m=…, output_per_1m=…)}).
        """
        own = f"PriceBook(overrides={{{model!r}: Price(input_per_1m=…, output_per_1m=…)}})"
        advice = f"Give {model!r} a price: {own}"
        if self._bundled and not genai_price_source.is_installed():
            return f"{advice}, or run `pip install 'tta-notebook[prices]'` for a table of prices."
        return f"{advice}."

    def _look_up(self, model: str, provider: str | None, day: dt.date, batch: bool) -> Quote | None:
        for source, price in self._prices(model, provider, day, batch=batch):
            if price is not None:
                quote = Quote(model, price, day, source, batch)
                # Only what was found is kept: a table that is installed later must be seen.
                if len(self._quotes) >= _MOST_QUOTES:
                    self._quotes.clear()
                self._quotes[model, provider, day, batch] = quote
                return quote
        return None

    def _prices(
        self, model: str, provider: str | None, day: dt.date, *, batch: bool
    ) -> Iterable[tuple[str, Price | None]]:
        head, colon, name = model.partition(":")
        names = [model, name] if colon else [f"{provider}:{model}", model]
        yield from (("user", self._own(each, day)) for each in names)
        # Ollama is not local here: it also serves hosted models, which are paid for.
        yield _LOCAL, _FREE if _LOCAL in {model, provider} else None
        if not self._bundled:
            return
        if colon and genai_price_source.is_provider(head):
            # What was asked for counts, whoever stands in for its provider.
            model, provider = name, head
        elif provider in _STAND_INS or (colon and provider is None):
            return
        yield "genai-prices", genai_price_source.table_price(model, provider, day, batch=batch)

    def _own(self, name: str, day: dt.date) -> Price | None:
        for price in self._overrides.get(name, ()):
            if price.valid_from is None or price.valid_from <= day:
                return price
        return None


def _dated(name: object, given: object) -> tuple[Price, ...]:
    """Return the prices of a model, the latest first."""
    prices = (given,) if isinstance(given, Price) else given
    if not isinstance(name, str) or not name:
        raise _unfit(name, given, "the name of a model is a text")
    if not isinstance(prices, Sequence) or not prices or isinstance(prices, str):
        raise _unfit(name, given, "that is no price")
    own: list[Price] = []
    for price in cast("Sequence[object]", prices):
        if not isinstance(price, Price):
            raise _unfit(name, given, f"{price!r} is no price")
        if price.valid_from in {other.valid_from for other in own}:
            raise _unfit(name, given, "two of them begin on one day")
        own.append(price)
    return tuple(sorted(own, key=lambda price: price.valid_from or dt.date.min, reverse=True))


def _unfit(name: object, given: object, found: str) -> ConfigurationError:
    return ConfigurationError(
        f"PriceBook: overrides={{{name!r}: {given!r}}}: {found}. Give {{'model': "
        "Price(input_per_1m=…, output_per_1m=…)}, or a list of prices with a valid_from each."
    )


def _day(at: dt.date) -> dt.date:
    if isinstance(at, dt.datetime):
        return (at if at.tzinfo is None else at.astimezone(dt.UTC)).date()
    if isinstance(at, dt.date):
        return at
    raise ConfigurationError(
        f"PriceBook: at={at!r} is no day. Give a datetime.date, like date(2026, 1, 31)."
    )
