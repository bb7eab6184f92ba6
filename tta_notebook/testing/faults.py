"""Faults that a test injects: chosen by a seed and by the number of the call, never by timing."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias

from tta_notebook.core.errors import ConfigurationError

Kind: TypeAlias = Literal["ok", "error", "cancel"]
Raisable: TypeAlias = BaseException | type[BaseException]

_KINDS = ("ok", "error", "cancel")


class InjectedFaultError(Exception):
    """The error that `Faults` raises unless it is told another one.

    >>> Faults(error_rate=1).plan(0).error
    InjectedFaultError('injected into call 1')
    """


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one call.

    Attributes:
        latency_s: seconds it takes before anything else happens.
        error: what it raises then, if anything.
        is_cancelled: whether its task is cancelled then.

    >>> Fault(latency_s=0.5)
    Fault(latency_s=0.5, error=None, is_cancelled=False)
    """

    latency_s: float = 0.0
    error: BaseException | None = None
    is_cancelled: bool = False

    async def inject(self) -> None:
        """Wait, then raise or be cancelled, as planned.

        A cancellation is a real one, of the task that makes the call: `task.cancelling()` tells.
        """
        if self.latency_s > 0:
            await asyncio.sleep(self.latency_s)
        if self.is_cancelled and (task := asyncio.current_task()) is not None:
            task.cancel("injected")
            await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """A plan of latencies, errors and cancellations that depends on a seed alone.

    What happens to the n-th call is the same in every run and under every interleaving.

    Args:
        seed: another seed, another plan.
        latency_s: seconds every call takes, or a range (low, high) to draw from evenly.
        error_rate: the share of calls that fail, 0 to 1.
        cancel_rate: the share of calls whose task is cancelled, 0 to 1.
        error: what failing calls raise: an exception, its class, or a function of the call's index
            (from 0) that makes one.
        outcomes: what happens to the first calls, in order: "ok", "error", "cancel" or an exception
            to raise; the rates hold for the calls after them.

    Raises:
        ConfigurationError: a rate, latency or outcome that means nothing.

    >>> faults = Faults(seed=7, error_rate=0.5, latency_s=(0.1, 0.2))
    >>> [faults.plan(index).error is None for index in range(6)]
    [False, True, True, False, False, True]
    >>> Faults(outcomes=["error", "ok"]).plan(1).error is None
    True
    """

    seed: int = 0
    latency_s: float | tuple[float, float] = 0.0
    error_rate: float = 0.0
    cancel_rate: float = 0.0
    error: Raisable | Callable[[int], BaseException] | None = None
    outcomes: Sequence[Kind | Raisable] = ()

    def __post_init__(self) -> None:
        low, high = self._latency_range()
        # Written so that NaN fails too.
        if not 0 <= low <= high < math.inf:
            raise ConfigurationError(
                f"Faults(latency_s={self.latency_s!r}): a latency is a finite number of seconds "
                "from 0 on, or (low, high) with low <= high. Give one of these."
            )
        rates = (self.error_rate, self.cancel_rate)
        if not (min(rates) >= 0 and sum(rates) <= 1):
            raise ConfigurationError(
                f"Faults(error_rate={self.error_rate!r}, cancel_rate={self.cancel_rate!r}): rates "
                "are shares of the calls, so they lie between 0 and 1, and so does their sum."
            )
        for outcome in self.outcomes:
            if outcome not in _KINDS and not is_raisable(outcome):
                raise ConfigurationError(
                    f"Faults(outcomes=…): {outcome!r} is no outcome; outcomes are 'ok', 'error', "
                    "'cancel' or an exception."
                )

    def plan(self, index: int) -> Fault:
        """Return what happens to the call with this index (from 0)."""
        # Seeded with a text, whose hash is the same in every process, and drawn in a fixed order,
        # so that the latencies stay when a rate is changed.
        chance = Random(f"{self.seed}:{index}")  # noqa: S311 - reproducible on purpose
        latency_s = chance.uniform(*self._latency_range())
        outcome = self._outcome(index, chance.random())
        if outcome == "ok":
            return Fault(latency_s)
        if outcome == "cancel":
            return Fault(latency_s, is_cancelled=True)
        return Fault(latency_s, self._error(index) if outcome == "error" else made(outcome))

    def _outcome(self, index: int, draw: float) -> Kind | Raisable:
        if index < len(self.outcomes):
            return self.outcomes[index]
        if draw < self.error_rate:
            return "error"
        return "cancel" if draw < self.error_rate + self.cancel_rate else "ok"

    def _error(self, index: int) -> BaseException:
        if self.error is None:
            return InjectedFaultError(f"injected into call {index + 1}")
        if isinstance(self.error, type | BaseException):
            return made(self.error)
        return self.error(index)

    def _latency_range(self) -> tuple[float, float]:
        if isinstance(self.latency_s, tuple):
            return self.latency_s
        return self.latency_s, self.latency_s


def is_raisable(value: object) -> bool:
    """Tell whether `value` is an exception or a class of exceptions."""
    return isinstance(value, BaseException) or (
        inspect.isclass(value) and issubclass(value, BaseException)
    )


def made(error: Raisable) -> BaseException:
    """Return the exception itself, made from its class if need be."""
    return error() if inspect.isclass(error) else error
