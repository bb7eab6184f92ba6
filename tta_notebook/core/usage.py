"""What a call used, in tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from tta_notebook.core.money import to_pico

# The names under which results in the field report the same figures.
_NAMES = {
    "input_tokens": ("input_tokens", "prompt_tokens"),
    "output_tokens": ("output_tokens", "completion_tokens"),
    "cached_input_tokens": ("cached_input_tokens", "cache_read_tokens"),
    "cache_write_tokens": ("cache_write_tokens",),
    "reasoning_tokens": ("reasoning_tokens",),
}


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens by type; amounts of several calls add up.

    Attributes:
        input_tokens: all tokens of the input, cached ones included.
        output_tokens: all tokens of the output, reasoning included.
        cached_input_tokens: those of the input that the provider had cached.
        cache_write_tokens: those of the input that were written to its cache.
        reasoning_tokens: those of the output that are reasoning.
        estimated: whether the provider did not say (a cancelled stream, say).

    >>> (Usage(input_tokens=12, output_tokens=3) + Usage(output_tokens=5)).total_tokens
    20
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.estimated or other.estimated,
        )

    @classmethod
    def read(cls, reported: object) -> Usage | None:
        """Return what `reported` says in any of the usual forms, or None when it says nothing.

        Args:
            reported: a Usage, or a mapping or object with `input_tokens` or `prompt_tokens`, ….
        """
        if isinstance(reported, cls):
            return reported
        look = _reader(reported)
        found = {field: _first_count(look, names) for field, names in _NAMES.items()}
        if found["input_tokens"] is None and found["output_tokens"] is None:
            return None
        counts = {field: number for field, number in found.items() if number is not None}
        return cls(**counts, estimated=look("estimated") is True)


@dataclass(slots=True)
class Tally:
    """What several calls used together.

    Attributes:
        usage: their tokens; None when none reported any.
        cost_pico: what they cost, in pico-dollars; None when none had a price.
    """

    usage: Usage | None = None
    cost_pico: int | None = None

    def add(self, usage: Usage | None, cost_pico: int | None) -> None:
        """Count what another call used, and what it cost."""
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage + usage
        if cost_pico is not None:
            self.cost_pico = cost_pico + (self.cost_pico or 0)

    @classmethod
    def of(cls, result: object) -> Tally:
        """Return what a step's result says of itself."""
        reported = usage_of(result)
        usage = None if reported is None else Usage.read(reported)
        return cls() if usage is None else cls(usage, cost_of(result))

    def or_of(self, result: object) -> Tally:
        """Return this, or what a result says of itself where nothing was added up."""
        return Tally.of(result) if self.usage is None else self

    def saved(self) -> dict[str, int]:
        """Return for a note what is saved where the calls need not be made again.

        >>> Tally(Usage(3, 4), 50).saved(), Tally().saved()
        ({'saved': 7, 'saved_pico': 50}, {'saved': 0})
        """
        saved = {"saved": 0 if self.usage is None else self.usage.total_tokens}
        if self.cost_pico is not None:
            saved["saved_pico"] = self.cost_pico
        return saved


def usage_of(result: object) -> object | None:
    """Return what a step's result holds as its usage: `.usage` or `["usage"]`; None without one."""
    try:
        # A model's answer is a text, and whether something is a mapping takes long to find out.
        if not isinstance(result, str) and isinstance(result, Mapping):
            return cast("Mapping[str, object]", result).get("usage")
        return getattr(result, "usage", None)
    except Exception:  # noqa: BLE001 - a property of someone's result may raise anything; it reports nothing then
        return None


def cost_of(result: object) -> int | None:
    """Return what a step's result says it cost, `.cost_usd` or `["cost_usd"]`, in pico-dollars."""
    try:
        if not isinstance(result, str) and isinstance(result, Mapping):
            stated = cast("Mapping[str, object]", result).get("cost_usd")
        else:
            stated = getattr(result, "cost_usd", None)
        return None if stated is None else to_pico(cast("Any", stated))
    except Exception:  # noqa: BLE001 - as above; and what is no amount of money says nothing
        return None


def _reader(reported: object) -> Callable[[str], object]:
    if isinstance(reported, Mapping):
        return cast("Mapping[str, object]", reported).get

    def look(name: str) -> object:
        return getattr(reported, name, None)

    return look


def _first_count(look: Callable[[str], object], names: tuple[str, ...]) -> int | None:
    for name in names:
        number = look(name)
        if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
            return number
    return None
