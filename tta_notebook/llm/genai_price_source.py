"""The price table that comes inside the package genai-prices, read offline."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from tta_notebook.llm.price import Price

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

# Names of providers that the table has under another one.
_SAME_AS = {
    "bedrock": "aws",
    "google-gla": "google",
    "google-vertex": "google",
    "openai-chat": "openai",
    "openai-responses": "openai",
    "xai": "x-ai",
}

# What may follow a model's name without making it another model: a date, a revision, a word for
# its newest release. The table matches many names by how they begin, and there is no telling what
# a "claude-sonnet-4-5-mega" will cost.
_RELEASE = re.compile(
    r"(?:[-@.:]?(?:latest|preview|exp|default|\d{8}|\d{4}-\d\d-\d\d|\d\d-\d{2,4}|\d{2,4}"
    r"|v\d+)|[:.]\d+)*"
    r"(?::[\w.-]+:[\w.-]*:[\w-]+)?"  # whose fine-tuned model it is, at OpenAI
)
_COMPACT_DATE = re.compile(r"-(20\d\d)(\d\d)(\d\d)$")
_WIDE = Context(prec=60)


def is_installed() -> bool:
    """Return whether there is a table to read."""
    return find_spec("genai_prices") is not None


def is_provider(name: str) -> bool:
    """Return whether the table has models of a provider."""
    return _SAME_AS.get(name, name) in _providers()


def table_price(model: str, provider: str | None, day: date, *, batch: bool) -> Price | None:
    """Return what a model costs on a day, or None where the table does not say.

    Where a model has no batch price on that day, batches cost the full price; where its price
    depends on the hour, it is the dearest of the day.

    Args:
        model: its name, without the provider.
        provider: who serves it; None to find that by the name.
        day: a day in UTC.
        batch: whether it goes through a batch interface.
    """
    found = _find(model.lower(), provider)
    if found is None:
        return None
    # The table has its batch prices for a provider's own models, not for those of another that it
    # serves as well.
    asks = {"processing": "batch"} if batch and found.is_own else None
    priced = [found.model.get_prices(moment, asks) for moment in _moments(found.model, day)]
    return max(filter(None, map(_price, priced)), key=_dearness, default=None)


class _Found(NamedTuple):
    model: ModelInfo
    is_own: bool


def _providers() -> dict[str, Provider]:
    try:
        return _table()
    except ImportError:
        return {}


@cache
def _table() -> dict[str, Provider]:
    # The table itself, not its `calc_price`: that one answers from the net when somebody in the
    # process has started updates. By its name: an extra that takes 0.2 s to import, and a literal
    # of which type checkers take minutes to infer the type.
    providers: Sequence[Provider] = import_module("genai_prices.data").providers
    return {provider.id: provider for provider in providers}


def _find(name: str, provider: str | None) -> _Found | None:
    home = _home(name, provider)
    if home is None:
        return None
    names = dict.fromkeys((name, _COMPACT_DATE.sub(r"-\1-\2-\3", name)))
    for place in (home.id, *(home.fallback_model_providers or ())):
        for model in _providers()[place].models:
            if any(_is_named(model.match, each) for each in names):
                return _Found(model, place == home.id)
    return None


def _home(name: str, provider: str | None) -> Provider | None:
    providers = _providers()
    if provider is not None:
        return providers.get(_SAME_AS.get(provider, provider))
    matches = (p for p in providers.values() if p.model_match and p.model_match.is_match(name))
    return next(matches, None)


def _is_named(clause: Any, name: str) -> bool:
    """Return whether a clause of the table means this very model, in one of its releases."""
    if hasattr(clause, "or_"):
        return any(_is_named(part, name) for part in clause.or_)
    if hasattr(clause, "and_"):
        return all(_is_named(part, name) for part in clause.and_)
    if not clause.is_match(name):
        return False
    for kind in ("starts_with", "contains"):
        if (text := getattr(clause, kind, None)) is not None:
            rest = name.rpartition(text.lower())[2]
            return _RELEASE.fullmatch(rest) is not None
    return True


def _moments(model: ModelInfo, day: date) -> set[datetime]:
    """Return moments of a day between which its price does not change."""
    times = {time()}
    for conditional in model.prices if isinstance(model.prices, list) else ():
        for edge in ("start_time", "end_time"):
            times.add(getattr(conditional.constraint, edge, time()))
    return {datetime.combine(day, each.replace(tzinfo=each.tzinfo or UTC)) for each in times}


def _price(table: ModelPrice) -> Price | None:
    # A model without a price for text is not free: it is paid by the second, or by agreement.
    if table.input_mtok is None:
        return None
    starts = {tier.start for key in _RATES.values() for tier in _tiers(getattr(table, key))}
    per_1000 = _at(table.requests_kcount, 0)
    return Price(
        **_stated(table, 0),
        per_request=0 if per_1000 is None else per_1000.scaleb(-3, context=_WIDE),
        tiers={start: Price(**_stated(table, start + 1)) for start in starts},
    )


# Our names for prices, and the table's. It has one more, for what is kept in Anthropic's cache for
# an hour, which no usage tells apart.
_RATES = {
    "input_per_1m": "input_mtok",
    "output_per_1m": "output_mtok",
    "cached_input_per_1m": "cache_read_mtok",
    "cache_write_per_1m": "cache_write_mtok",
    "reasoning_per_1m": "output_reasoning_mtok",
}


def _stated(table: ModelPrice, input_tokens: int) -> dict[str, Any]:
    rates = {ours: _at(getattr(table, key), input_tokens) for ours, key in _RATES.items()}
    # Models that give no text (embeddings, classifiers) have no price for it.
    return {**rates, "output_per_1m": rates["output_per_1m"] or Decimal(0)}


def _at(price: Any, input_tokens: int) -> Decimal | None:
    """Return a price of the table in a call with this many tokens of input."""
    found: Decimal | None = getattr(price, "base", price)
    for tier in _tiers(price):
        if input_tokens > tier.start:
            found = tier.price
    return found


def _tiers(price: Any) -> list[Any]:
    tiers: list[Any] = getattr(price, "tiers", [])
    return tiers


def _dearness(price: Price) -> float:
    return float(price.input_per_1m) + float(price.output_per_1m)
