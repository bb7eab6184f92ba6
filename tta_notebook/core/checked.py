"""Arguments of constructors, checked where they are given: in a notebook, in the cell at fault."""

from __future__ import annotations

import math
from enum import Enum
from numbers import Integral, Real
from typing import Final, Literal, TypeVar, cast

from tta_notebook.core.errors import ArgumentError, ConfigurationError

T = TypeVar("T")


class Unset(Enum):
    """Stands for an argument that was left out, where None means something."""

    UNSET = "left out"

    def __repr__(self) -> str:
        return "…"


UNSET: Final = Unset.UNSET
UnsetType = Literal[Unset.UNSET]


def seconds(
    owner: str, name: str, value: float, *, zero: bool = True, infinite: bool = False
) -> float:
    """Return `value` if it is a duration, else raise.

    Args:
        owner: who asks ("RetryPrimitive").
        name: the argument's name.
        value: the duration in seconds.
        zero: whether no time at all means something.
        infinite: whether endless time does.

    >>> seconds("RetryPrimitive", "initial_delay", 1)
    1.0
    """
    least = "from 0" if zero else "greater than 0"
    if _is_real(value) and (value > 0 or (zero and value == 0)) and (infinite or value < math.inf):
        return float(value)
    raise ConfigurationError(
        f"{owner}: {name}={value!r} is no duration that could be kept. Give a number of seconds "
        f"{least}{', or infinity' if infinite else ''}."
    )


def count(owner: str, name: str, value: int, *, least: int = 1) -> int:
    """Return `value` if it is a whole number from `least`, else raise.

    >>> count("CachePrimitive", "max_size", 1000)
    1000
    """
    if _is_whole(value) and value >= least:
        return int(value)
    raise ConfigurationError(
        f"{owner}: {name}={value!r} cannot be counted to. Give a whole number from {least}."
    )


def share(owner: str, name: str, value: float, *, zero: bool = False) -> float:
    """Return `value` if it is a rate between 0 and 1, else raise.

    >>> share("RetryBudget", "ratio", 0.2)
    0.2
    """
    if _is_real(value) and (value > 0 or (zero and value == 0)) and value <= 1:
        return float(value)
    least = "from 0" if zero else "greater than 0 and"
    raise ConfigurationError(
        f"{owner}: {name}={value!r} is no share of anything. Give a number {least} up to 1."
    )


def number(owner: str, name: str, value: float, *, least: float) -> float:
    """Return `value` if it is a finite number from `least`, else raise.

    >>> number("RetryPrimitive", "backoff_factor", 2, least=1)
    2.0
    """
    if _is_real(value) and least <= value < math.inf:
        return float(value)
    raise ConfigurationError(
        f"{owner}: {name}={value!r} cannot be reckoned with. Give a finite number from {least:g}."
    )


def choice(owner: str, name: str, value: str, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`, else raise.

    >>> choice("FallbackPrimitive", "stream_policy", "raise", ("raise", "restart"))
    'raise'
    """
    if isinstance(value, str) and value in choices:
        return value
    from tta_notebook.core.errors import Names  # noqa: PLC0415 - only mistakes need it

    raise ConfigurationError(
        f"{owner}: {name}={value!r} means nothing; it can be {Names(choices).instead_of(value)}."
    )


def either(
    owner: str,
    first: tuple[str, T | UnsetType],
    second: tuple[str, T | UnsetType],
    default: T | UnsetType = UNSET,
) -> T:
    """Return an argument that has two names.

    Args:
        owner: who asks.
        first: the documented name, and what was given under it.
        second: the other name, and what was given under it.
        default: what it is when it is left out under both; by default it may not be.

    Raises:
        ArgumentError: it was given under both names, or must be given and was not.

    >>> either("CachePrimitive", ("key_fn", UNSET), ("cache_key_fn", len))
    <built-in function len>
    """
    if first[1] is not UNSET and second[1] is not UNSET:
        raise ArgumentError(
            f"{owner}: {first[0]}=… and {second[0]}=… were given, which are two names of one "
            f"thing. Give {first[0]}=… alone."
        )
    given = second[1] if first[1] is UNSET else first[1]
    found = default if given is UNSET else given
    if found is UNSET:
        raise ArgumentError(
            f"{owner}: {first[0]}=… is missing, without which there is nothing to do. Give it."
        )
    return cast("T", found)


def alone(owner: str, one: str, others: dict[str, object]) -> None:
    """Raise if any of `others` was given beside `one`, which says it all.

    >>> alone("RetryPrimitive", "strategy", {"max_retries": UNSET})
    """
    given = [name for name, value in others.items() if value is not UNSET]
    if given:
        raise ArgumentError(
            f"{owner}: {one}=… and {', '.join(f'{name}=…' for name in given)} were given, which "
            f"say the same thing twice. Give one or the other."
        )


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_real(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return not math.isnan(value)
