"""The circuit against a naive model, call by call, on a clock of the test's own."""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tta_notebook.core import clock
from tta_notebook.recovery.circuit import Circuit, CircuitState
from tta_notebook.recovery.circuit_config import CircuitBreakerConfig
from tta_notebook.recovery.window import CountWindow, TimeWindow


class NaiveCircuit:
    """What the documentation says, with lists and without any cleverness."""

    def __init__(self, config):
        self.config = config
        self.state, self.period, self.now = "closed", 0, 0.0
        self.in_a_row, self.outcomes, self.successes = 0, [], 0
        self.opened_at, self.probes = None, {}

    def to(self, state):
        self.state, self.period = state, self.period + 1
        self.in_a_row, self.outcomes, self.successes, self.probes = 0, [], 0, {}
        self.opened_at = self.now

    def admit(self, call):
        if self.state == "open" and self.now - self.opened_at >= self.config.recovery_timeout:
            self.to("half_open")
        if self.state == "closed":
            return self.period
        if self.state != "half_open":
            return None
        limit = self.config.probe_timeout_s
        self.probes = {c: at for c, at in self.probes.items() if self.now - at < limit}
        if len(self.probes) >= self.config.half_open_permits:
            return None
        self.probes[call] = self.now
        return self.period

    def ended(self, call, period, *, has_failed, is_slow):
        if period != self.period:
            return
        if self.state == "closed":
            self.in_a_row = self.in_a_row + 1 if has_failed else 0
            self.outcomes.append((has_failed, is_slow))
            self.outcomes = self.outcomes[-self.config.window_calls :]
            if self.should_open():
                self.to("open")
        elif call in self.probes:
            del self.probes[call]
            self.successes += 1
            if has_failed or is_slow:
                self.to("open")
            elif self.successes >= self.config.success_threshold:
                self.to("closed")

    def should_open(self):
        config = self.config
        row = config.consecutive_failures
        if row is not None and self.in_a_row >= row:
            return True
        if len(self.outcomes) < min(config.minimum_calls, config.window_calls):
            return False
        failed, slow = (
            sum(column) / len(self.outcomes) for column in zip(*self.outcomes, strict=True)
        )
        by_failures = config.failure_rate is not None and failed >= config.failure_rate
        return by_failures or (config.slow_call_rate is not None and slow >= config.slow_call_rate)


CONFIGS = st.builds(
    CircuitBreakerConfig,
    failure_threshold=st.none() | st.integers(1, 4),
    recovery_timeout=st.sampled_from([0.0, 5.0, 20.0]),
    success_threshold=st.integers(1, 3),
    failure_rate=st.none() | st.sampled_from([0.25, 0.5, 1.0]),
    slow_call_rate=st.just(0.5),
    slow_call_seconds=st.just(3.0),
    window_calls=st.integers(1, 6),
    minimum_calls=st.integers(1, 6),
    half_open_permits=st.integers(1, 3),
    probe_timeout=st.none() | st.just(7.0),
) | st.builds(
    CircuitBreakerConfig,
    failure_threshold=st.integers(1, 4),
    recovery_timeout=st.sampled_from([0.0, 5.0, 20.0]),
    success_threshold=st.integers(1, 3),
    half_open_permits=st.integers(1, 3),
)


class CircuitMachine(RuleBasedStateMachine):
    @initialize(config=CONFIGS)
    def begin(self, config):
        self.now_ns = 10**12
        self.previous, clock.source = clock.source, lambda: self.now_ns
        self.circuit, self.naive = Circuit(config), NaiveCircuit(config)
        self.under_way = {}
        self.calls = 0

    def teardown(self):
        if hasattr(self, "previous"):
            clock.source = self.previous

    @rule()
    def ask(self):
        self.calls += 1
        permit, period = self.circuit.admit(), self.naive.admit(self.calls)
        assert (permit is None) == (period is None)
        if permit is not None:
            self.under_way[self.calls] = (permit, period)

    @precondition(lambda self: getattr(self, "under_way", None))
    @rule(
        which=st.randoms(use_true_random=False),
        has_failed=st.booleans(),
        duration_s=st.sampled_from([0.0, 2.9, 3.0, 9.0]),
    )
    def end(self, which, has_failed, duration_s):
        call = which.choice(sorted(self.under_way))
        permit, period = self.under_way.pop(call)
        before = self.circuit.state
        tell = self.circuit.failed if has_failed else self.circuit.succeeded
        changed = tell(permit, duration_s)
        is_slow = duration_s >= self.circuit.config.slow_from_s
        self.naive.ended(call, period, has_failed=has_failed, is_slow=is_slow)
        assert changed in (None, self.circuit.state)
        assert (changed is None) == (self.circuit.state is before)

    @precondition(lambda self: getattr(self, "under_way", None))
    @rule(which=st.randoms(use_true_random=False))
    def cancel(self, which):
        call = which.choice(sorted(self.under_way))
        permit, _ = self.under_way.pop(call)
        self.circuit.released(permit)
        self.naive.probes.pop(call, None)

    @rule(seconds=st.sampled_from([1, 5, 7, 20]))
    def wait(self, seconds):
        self.now_ns += seconds * 10**9
        self.naive.now += seconds

    @rule(state=st.sampled_from(["open", "closed", "isolated"]))
    def by_hand(self, state):
        {
            "open": self.circuit.open,
            "closed": self.circuit.close,
            "isolated": self.circuit.isolate,
        }[state]()
        self.naive.to(state)

    @invariant()
    def they_agree(self):
        if not hasattr(self, "naive"):
            return
        assert self.circuit.state.value == self.naive.state
        assert len(self.circuit._probes) <= self.circuit.config.half_open_permits
        if self.circuit.state is CircuitState.CLOSED:
            assert self.circuit.failure_count == self.naive.in_a_row
        if self.circuit.state is CircuitState.HALF_OPEN:
            assert self.circuit.success_count == self.naive.successes
        # Only then may successes go untold.
        config = self.circuit.config
        has_rates = (config.failure_rate, config.slow_call_rate) != (None, None)
        assert self.circuit.is_quiet == (
            self.circuit.state is CircuitState.CLOSED and not has_rates and self.naive.in_a_row == 0
        )


CircuitMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestCircuit = CircuitMachine.TestCase


class WindowMachine(RuleBasedStateMachine):
    @initialize(size=st.integers(1, 5))
    def begin(self, size):
        self.now_ns = 10**12
        self.previous, clock.source = clock.source, lambda: self.now_ns
        self.last, self.count = deque(maxlen=size), CountWindow(size)
        self.timed, self.time = [], TimeWindow(10.0)

    def teardown(self):
        if hasattr(self, "previous"):
            clock.source = self.previous

    @rule(has_failed=st.booleans(), is_slow=st.booleans())
    def add(self, has_failed, is_slow):
        self.last.append((has_failed, is_slow))
        self.timed.append((self.now_ns // 10**9, has_failed, is_slow))
        self.count.add(has_failed=has_failed, is_slow=is_slow)
        self.time.add(has_failed=has_failed, is_slow=is_slow)
        assert (self.count.calls, self.count.failures, self.count.slow) == (
            len(self.last),
            sum(failed for failed, _ in self.last),
            sum(slow for _, slow in self.last),
        )
        recent = [row for row in self.timed if row[0] > self.now_ns // 10**9 - 10]
        assert (self.time.calls, self.time.failures, self.time.slow) == (
            len(recent),
            sum(row[1] for row in recent),
            sum(row[2] for row in recent),
        )

    @rule(seconds=st.sampled_from([1, 3, 9, 10, 1000]))
    def wait(self, seconds):
        self.now_ns += seconds * 10**9


WindowMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestWindows = WindowMachine.TestCase
