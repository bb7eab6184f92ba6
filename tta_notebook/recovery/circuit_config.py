"""What opens and closes a circuit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tta_notebook.core import checked
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.recovery.matching import ErrorCondition, checked_condition

_OWNER = "CircuitBreakerPrimitive"


@dataclass(frozen=True, slots=True)
class CircuitBreakerConfig:
    """What opens and closes a circuit.

    By default it opens after `failure_threshold` failures in a row. With `failure_rate` or
    `slow_call_rate` it opens when that share of the calls in a window failed or was slow; then
    failures in a row count only where `failure_threshold` is given as well.

    Attributes:
        failure_threshold: failures in a row that open it; 5 where no rate is given.
        recovery_timeout: seconds that it stays open before it tries again.
        success_threshold: successes in a row that close it again.
        expected_exception: what counts as a failure: a type of error, several, or a function of
            the error. Cancellations never do.
        ignore: what does not count although it is expected, in the same forms. Errors that say that
            nothing was asked (an open circuit, a limit) never count.
        failure_rate: share of failures in the window that opens it.
        slow_call_rate: share of slow calls in the window that opens it.
        slow_call_seconds: from when a call is slow.
        window_calls: how many calls the window has.
        window_seconds: or how many seconds.
        minimum_calls: calls in the window below which a rate says nothing.
        half_open_permits: calls that may try it out at the same time.
        probe_timeout: seconds after which such a call no longer counts and another may try; by
            default the recovery timeout, at least 1.

    >>> CircuitBreakerConfig(failure_rate=0.5).consecutive_failures is None
    True
    """

    failure_threshold: int | None = None
    recovery_timeout: float = 60.0
    success_threshold: int = 2
    expected_exception: ErrorCondition = Exception
    ignore: ErrorCondition = ()
    failure_rate: float | None = None
    slow_call_rate: float | None = None
    slow_call_seconds: float | None = None
    window_calls: int = 100
    window_seconds: float | None = None
    minimum_calls: int = 10
    half_open_permits: int = 1
    probe_timeout: float | None = None

    def __post_init__(self) -> None:
        if self.failure_threshold is not None:
            checked.count(_OWNER, "failure_threshold", self.failure_threshold)
        for name in ("success_threshold", "window_calls", "minimum_calls", "half_open_permits"):
            checked.count(_OWNER, name, getattr(self, name))
        checked.seconds(_OWNER, "recovery_timeout", self.recovery_timeout)
        for name in ("slow_call_seconds", "window_seconds", "probe_timeout"):
            if getattr(self, name) is not None:
                checked.seconds(_OWNER, name, getattr(self, name), zero=False)
        for name in ("failure_rate", "slow_call_rate"):
            if getattr(self, name) is not None:
                checked.share(_OWNER, name, getattr(self, name))
        for name in ("expected_exception", "ignore"):
            condition = checked_condition(_OWNER, name, getattr(self, name))
            object.__setattr__(self, name, condition)  # a list has become a tuple
        if (self.slow_call_rate is None) != (self.slow_call_seconds is None):
            raise ConfigurationError(
                f"{_OWNER}: of slow_call_rate={self.slow_call_rate!r} and "
                f"slow_call_seconds={self.slow_call_seconds!r} one was given without the other, "
                "so nothing says when a call is slow, or how many may be. Give both or neither."
            )

    @property
    def consecutive_failures(self) -> int | None:
        """How many failures in a row open it; None where they do not count."""
        if self.failure_threshold is not None:
            return self.failure_threshold
        return 5 if self.failure_rate is None and self.slow_call_rate is None else None

    @property
    def least_calls(self) -> int:
        """Calls in the window below which a rate says nothing: never more than it holds."""
        if self.window_seconds is not None:
            return self.minimum_calls
        return min(self.minimum_calls, self.window_calls)

    @property
    def slow_from_s(self) -> float:
        """From how many seconds on a call is slow."""
        return math.inf if self.slow_call_seconds is None else self.slow_call_seconds

    @property
    def probe_timeout_s(self) -> float:
        """For how many seconds a call that tries it out holds its permit."""
        if self.probe_timeout is not None:
            return self.probe_timeout
        # No recovery timeout at all must not mean that permits lapse at once.
        return max(self.recovery_timeout, 1.0)
