"""How long to wait before the next attempt.

Exponential Backoff and Jitter, Marc Brooker, AWS Architecture Blog, 2015: with full jitter clients
that failed together do not come back together, and make the fewest calls.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from tta_notebook.core import checked
from tta_notebook.core.errors import ConfigurationError

Schedule: TypeAlias = Literal["exponential", "linear", "constant"] | Callable[[int], float]
Jitter: TypeAlias = bool | Literal["full", "decorrelated"]
Uniform: TypeAlias = Callable[[float, float], float]

_SCHEDULES = ("exponential", "linear", "constant")
_JITTERS = ("full", "decorrelated")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next attempt, never longer than `max_delay`.

    Attributes:
        strategy: "exponential" (`initial_delay * factor**n`, n from 0), "linear"
            (`initial_delay * (n + 1)`), "constant", or a function of the number of the attempt that
            failed, from 1, that gives seconds.
        initial_delay: seconds before the first retry.
        factor: by what each exponential delay is longer than the one before.
        max_delay: the longest delay in seconds, jitter included.
        jitter: True or "full" draws evenly between 0 and the delay, "decorrelated" between
            `initial_delay` and three times the delay before, and False draws nothing.
        owner: whom messages about these arguments name.

    >>> backoff = Backoff(jitter=False, max_delay=5)
    >>> [backoff.delay_s(attempt) for attempt in (1, 2, 3, 4, 1_000_000)]
    [1.0, 2.0, 4.0, 5.0, 5.0]
    """

    strategy: Schedule = "exponential"
    initial_delay: float = 1.0
    factor: float = 2.0
    max_delay: float = 60.0
    jitter: Jitter = True
    owner: str = field(default="Backoff", repr=False, compare=False)

    def __post_init__(self) -> None:
        owner = self.owner
        if not callable(self.strategy):
            checked.choice(owner, "backoff_strategy", self.strategy, _SCHEDULES)
        checked.seconds(owner, "initial_delay", self.initial_delay)
        checked_factor(owner, "backoff_factor", self.factor)
        checked.seconds(owner, "max_delay", self.max_delay)
        if not isinstance(self.jitter, bool):
            checked.choice(owner, "jitter", self.jitter, _JITTERS)
        if self.jitter == "decorrelated" and self.strategy != "exponential":
            raise ConfigurationError(
                f"{owner}: jitter='decorrelated' draws a schedule of its own, so that "
                f"backoff_strategy={self.strategy!r} would mean nothing. Give one of them."
            )

    def delay_s(
        self, attempt: int, previous_s: float | None = None, uniform: Uniform | None = None
    ) -> float:
        """Return the seconds to wait after an attempt has failed.

        Args:
            attempt: its number, from 1.
            previous_s: what this returned after the attempt before it.
            uniform: draws between two numbers; by default `random.uniform`, which differs in every
                forked process.

        Raises:
            ConfigurationError: a strategy that is a function gave what is no duration.
        """
        draw = random.uniform if uniform is None else uniform
        if self.jitter == "decorrelated":
            before = self.initial_delay if previous_s is None else previous_s
            return self._capped(draw(self.initial_delay, before * 3))
        longest = self.ceiling_s(attempt)
        return self._capped(draw(0.0, longest)) if self.jitter else longest

    def ceiling_s(self, attempt: int) -> float:
        """Return the delay without jitter."""
        try:
            return self._capped(self._planned(attempt))
        except OverflowError:  # beyond 2**1024 there are no floats; any cap is nearer
            return float(self.max_delay)

    def _planned(self, attempt: int) -> float:
        if callable(self.strategy):
            given: Any = self.strategy(attempt)
            return checked.seconds(self.owner, f"backoff_strategy({attempt})", given, infinite=True)
        if self.strategy == "constant" or self.initial_delay == 0:
            return self.initial_delay
        if self.strategy == "linear":
            return self.initial_delay * attempt
        return self.initial_delay * float(self.factor) ** (attempt - 1)

    def _capped(self, delay_s: float) -> float:
        return min(float(self.max_delay), max(0.0, float(delay_s)))


def checked_factor(owner: str, name: str, value: float) -> float:
    """Return `value` if delays can grow, or shrink, by it."""
    if checked.number(owner, name, value, least=0) > 0:
        return float(value)
    raise ConfigurationError(
        f"{owner}: {name}={value!r} would leave no delay but the first. Give a number greater than "
        "0, or backoff_strategy='constant', initial_delay=0 for no delays."
    )
