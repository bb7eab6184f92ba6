"""The state machine of a circuit breaker: synchronous, so that any loop and thread may ask it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable
from enum import Enum
from typing import Any

from tta_notebook.core import clock
from tta_notebook.recovery.circuit_config import CircuitBreakerConfig
from tta_notebook.recovery.window import CountWindow, TimeWindow, Window


class CircuitState(Enum):
    """What a circuit does with calls.

    >>> CircuitState.HALF_OPEN.value
    'half_open'
    """

    CLOSED = "closed"
    """It lets them through and watches."""
    OPEN = "open"
    """It lets none through until the recovery timeout is over."""
    HALF_OPEN = "half_open"
    """It lets a few through, to see whether they succeed."""
    ISOLATED = "isolated"
    """It lets none through until it is closed by hand."""


class Permit:
    """Leave to make a call, from which of the circuit's periods, and until when it counts."""

    __slots__ = ("generation", "lapses_ns")

    def __init__(self, generation: int, lapses_ns: float = math.inf) -> None:
        self.generation = generation
        self.lapses_ns = lapses_ns


class Circuit:
    """Decides whether a call may be made, by how the calls before it ended.

    Every change of state begins a new generation. A result counts in the generation that admitted
    it and in no other: a success that comes late closes nothing, a failure that comes late opens
    nothing. Half-open, a call holds one of a few permits. It gives the permit back when it ends in
    any way, and loses it when it takes too long, so that a call that hangs cannot hold the circuit.

    It holds a lock for a few instructions and never awaits. It can be shared by several breakers
    and pickled; then the time that it stays open goes on where it was.

    Args:
        config: what opens and closes it.
        on_change: called with the circuit after every change of state.

    >>> circuit = Circuit(CircuitBreakerConfig(failure_threshold=1))
    >>> circuit.failed(circuit.admit())
    <CircuitState.OPEN: 'open'>
    >>> circuit.admit() is None
    True
    """

    state: CircuitState
    """What it does with calls."""

    because: str
    """Why it does that."""

    failure_count: int
    """Failures in a row, or those that opened it."""

    success_count: int
    """Successes in a row, half-open."""

    is_quiet: bool
    """Whether a success would change nothing: then nobody needs to tell of it."""

    permit: Permit
    """What a closed circuit gives to every call."""

    key: Hashable = None
    """Which of a breaker's circuits it is, where that has one for each key."""

    def __init__(
        self,
        config: CircuitBreakerConfig | None = None,
        on_change: Callable[[Circuit], object] | None = None,
    ) -> None:
        self.config = CircuitBreakerConfig() if config is None else config
        self._on_change: Callable[[Circuit], object] | None = None
        self._lock = threading.Lock()
        self.permit = Permit(0)
        self._begin(CircuitState.CLOSED, "")
        self._on_change = on_change

    # What callers ask and tell

    def admit(self) -> Permit | None:
        """Return leave to make one call, or None; tell how it ended with the permit."""
        with self._lock:
            now_ns = clock.source()
            if self.state is CircuitState.OPEN and now_ns >= self._opens_until_ns:
                self._begin(CircuitState.HALF_OPEN, "the recovery timeout is over")
            if self.state is CircuitState.CLOSED:
                return self.permit
            return self._probe(now_ns) if self.state is CircuitState.HALF_OPEN else None

    def succeeded(self, permit: Permit, duration_s: float = 0.0) -> CircuitState | None:
        """Count a success; return the new state if it changed."""
        return self._ended(permit, has_failed=False, duration_s=duration_s)

    def failed(self, permit: Permit, duration_s: float = 0.0) -> CircuitState | None:
        """Count a failure; return the new state if it changed."""
        return self._ended(permit, has_failed=True, duration_s=duration_s)

    def released(self, permit: Permit) -> None:
        """Take a permit back from a call that says nothing: it was cancelled, say."""
        with self._lock:
            self._probes.discard(permit)

    def retry_after(self) -> float | None:
        """Return the seconds until it tries again; None when only a hand can close it."""
        if self.state is CircuitState.ISOLATED:
            return None
        if self.state is not CircuitState.OPEN:
            return 0.0
        return max(0.0, (self._opens_until_ns - clock.source()) / 1e9)

    # By hand

    def open(self) -> None:
        """Let no call through until the recovery timeout is over."""
        self._change(CircuitState.OPEN, "it was opened by hand")

    def close(self) -> None:
        """Let calls through and forget what was counted."""
        self._change(CircuitState.CLOSED, "it was closed by hand")

    def isolate(self) -> None:
        """Let no call through until `close()`."""
        self._change(CircuitState.ISOLATED, "it was isolated by hand")

    def _change(self, state: CircuitState, because: str) -> None:
        with self._lock:
            self._begin(state, because)

    # What it makes of that

    def _probe(self, now_ns: int) -> Permit | None:
        lapsed = [probe for probe in self._probes if probe.lapses_ns <= now_ns]
        self._probes.difference_update(lapsed)
        if len(self._probes) >= self.config.half_open_permits:
            return None
        probe = Permit(self.permit.generation, now_ns + self.config.probe_timeout_s * 1e9)
        self._probes.add(probe)
        return probe

    def _ended(self, permit: Permit, *, has_failed: bool, duration_s: float) -> CircuitState | None:
        with self._lock:
            if permit.generation != self.permit.generation:
                return None
            before = self.permit
            is_slow = duration_s >= self.config.slow_from_s
            if self.state is CircuitState.CLOSED:
                self._count(has_failed=has_failed, is_slow=is_slow)
            elif permit in self._probes:
                self._probes.discard(permit)
                self._judge_probe(has_failed=has_failed, is_slow=is_slow)
            return None if self.permit is before else self.state

    def _count(self, *, has_failed: bool, is_slow: bool) -> None:
        self.failure_count = self.failure_count + 1 if has_failed else 0
        if self._window is not None:
            self._window.add(has_failed=has_failed, is_slow=is_slow)
        if because := self._reason_to_open():
            self._begin(CircuitState.OPEN, because)
        else:
            self._settle()

    def _reason_to_open(self) -> str:
        config, window = self.config, self._window
        threshold = config.consecutive_failures
        if threshold is not None and self.failure_count >= threshold:
            return f"{self.failure_count} failures in a row"
        if window is None or window.calls < config.least_calls:
            return ""
        if (
            config.failure_rate is not None
            and window.failures >= config.failure_rate * window.calls
        ):
            return f"{window.failures} of {window.calls} calls failed"
        if (
            config.slow_call_rate is not None
            and window.slow >= config.slow_call_rate * window.calls
        ):
            return f"{window.slow} of {window.calls} calls were slow"
        return ""

    def _judge_probe(self, *, has_failed: bool, is_slow: bool) -> None:
        if has_failed or is_slow:
            what = "failed" if has_failed else "was slow"
            self._begin(CircuitState.OPEN, f"a call that tried it out {what}")
            return
        self.success_count += 1
        if self.success_count >= self.config.success_threshold:
            self._begin(CircuitState.CLOSED, f"{self.success_count} calls succeeded")

    def _begin(self, state: CircuitState, because: str) -> None:
        self.permit = Permit(self.permit.generation + 1)
        self.state, self.because = state, because
        if state is not CircuitState.OPEN:
            self.failure_count = 0  # an open circuit shows what opened it
        self.success_count = 0
        self._probes: set[Permit] = set()
        self._window: Window | None = self._new_window() if state is CircuitState.CLOSED else None
        self._opens_until_ns: float = clock.source() + self.config.recovery_timeout * 1e9
        self._settle()
        if self._on_change is not None:
            self._on_change(self)

    def _settle(self) -> None:
        self.is_quiet = (
            self.state is CircuitState.CLOSED and self._window is None and not self.failure_count
        )

    def _new_window(self) -> Window | None:
        config = self.config
        if config.failure_rate is None and config.slow_call_rate is None:
            return None
        if config.window_seconds is not None:
            return TimeWindow(config.window_seconds)
        return CountWindow(config.window_calls)

    # Instants of a monotonic clock mean nothing elsewhere, and locks cannot travel

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            state: dict[str, Any] = {**self.__dict__, "_probes": set[Permit]()}
        del state["_lock"]
        state["_opens_until_ns"] -= clock.source()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._opens_until_ns += clock.source()
        self._lock = threading.Lock()
