"""A step that is left alone for a while when it keeps failing."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import aclosing
from typing import Any, ClassVar

from tta_notebook.core import checked, clock
from tta_notebook.core.calling import Call
from tta_notebook.core.checked import UNSET, UnsetType
from tta_notebook.core.context import HERE, PLAIN, WorkflowContext, current_context
from tta_notebook.core.errors import (
    CacheKeyError,
    CircuitOpenError,
    LimitExceededError,
)
from tta_notebook.core.primitive import Chunks, TIn, TOut
from tta_notebook.core.wrapper import WrapperPrimitive
from tta_notebook.recovery.circuit import Circuit, CircuitState, Permit
from tta_notebook.recovery.circuit_config import CircuitBreakerConfig
from tta_notebook.recovery.circuits import Circuits
from tta_notebook.recovery.key_label import key_label
from tta_notebook.recovery.matching import ErrorCondition, matches

# These say that nothing was asked: they tell nothing about what is protected.
_NOT_ASKED = (CircuitOpenError, LimitExceededError, CacheKeyError)


class CircuitBreakerPrimitive(WrapperPrimitive[TIn, TOut]):
    """Stops calling a step that keeps failing, and tries it out again after a while.

    Closed, it lets calls through and counts; open, it raises CircuitOpenError without a call;
    half-open, it lets exactly `half_open_permits` calls through at a time. A cancelled call is
    neither a success nor a failure. It holds no asyncio lock and works from any loop and thread.

    Args:
        primitive: what is protected; whatever `>>` takes.
        failure_threshold: failures in a row that open it.
        recovery_timeout: seconds that it stays open before it tries again.
        config: all options at once, in place of those by name.
        success_threshold: successes in a row that close it again.
        expected_exception: what counts as a failure: a type, several, or a function of the error.
        ignore: what does not count although it is expected, in the same forms.
        failure_rate: share of failures in the window that opens it.
        slow_call_rate: share of slow calls in the window that opens it.
        slow_call_seconds: from when a call is slow.
        window_calls: how many calls the window has.
        window_seconds: or how many seconds.
        minimum_calls: calls in the window below which a rate says nothing.
        half_open_permits: calls that may try it out at the same time.
        probe_timeout: seconds after which such a call no longer counts and another may try.
        key: a function of `(x)` or `(x, ctx)` that names each call's own circuit: a region, a
            tenant.
        max_keys: how many closed circuits are remembered.
        circuit: a circuit that several breakers share, in place of options.
        name: by default the step's name after "breaker".

    Raises:
        CircuitOpenError: the step was not called; `retry_after` says when it will be.

    >>> breaker = CircuitBreakerPrimitive(str.upper, failure_threshold=3)
    >>> breaker.run_sync("hello"), breaker.state.value
    ('HELLO', 'closed')
    """

    kind: ClassVar[str] = "circuit_breaker"

    def __init__(
        self,
        primitive: Any,
        failure_threshold: int | UnsetType = UNSET,
        recovery_timeout: float | UnsetType = UNSET,
        *,
        config: CircuitBreakerConfig | None = None,
        success_threshold: int | UnsetType = UNSET,
        expected_exception: ErrorCondition | UnsetType = UNSET,
        ignore: ErrorCondition | UnsetType = UNSET,
        failure_rate: float | UnsetType | None = UNSET,
        slow_call_rate: float | UnsetType | None = UNSET,
        slow_call_seconds: float | UnsetType | None = UNSET,
        window_calls: int | UnsetType = UNSET,
        window_seconds: float | UnsetType | None = UNSET,
        minimum_calls: int | UnsetType = UNSET,
        half_open_permits: int | UnsetType = UNSET,
        probe_timeout: float | UnsetType | None = UNSET,
        key: Callable[..., Any] | None = None,
        max_keys: int = 1000,
        circuit: Circuit | None = None,
        name: str | None = None,
    ) -> None:
        arguments = locals()
        options = {field: arguments[field] for field in CircuitBreakerConfig.__dataclass_fields__}
        given = {field: value for field, value in options.items() if value is not UNSET}
        super().__init__(primitive, prefix="breaker", name=name)
        if circuit is not None:
            others = {"config": config, "key": key}
            others = {field: value for field, value in others.items() if value is not None}
            checked.alone("CircuitBreakerPrimitive", "circuit", {**given, **others})
            config = circuit.config
        elif config is None:
            config = CircuitBreakerConfig(**given)
        else:
            checked.alone("CircuitBreakerPrimitive", "config", given)
        self.config = config
        self._direct = self.primitive.direct
        self._key = None if key is None else Call(key, "CircuitBreakerPrimitive(key=…)")
        self._circuits = Circuits(self.config, max_keys)
        self._circuit = circuit or Circuit(self.config)

    # What people ask and do by hand

    def circuit(self, key: Hashable = None) -> Circuit:
        """Return the circuit, or the one of a key."""
        return self._circuit if self._key is None else self._circuits[key]

    def keys(self) -> list[Hashable]:
        """Return the keys of the circuits that are remembered."""
        return self._circuits.keys()

    @property
    def state(self) -> CircuitState:
        """What the circuit does with calls; of one without keys."""
        return self._circuit.state

    @property
    def failure_count(self) -> int:
        """Failures in a row, or those that opened it."""
        return self._circuit.failure_count

    @property
    def success_count(self) -> int:
        """Successes in a row, half-open."""
        return self._circuit.success_count

    def reset(self, key: Hashable = None) -> None:
        """Close the circuit and forget what was counted."""
        self._by_hand(Circuit.close, key)

    def open(self, key: Hashable = None) -> None:
        """Let no call through until the recovery timeout is over."""
        self._by_hand(Circuit.open, key)

    def isolate(self, key: Hashable = None) -> None:
        """Let no call through until `reset()`."""
        self._by_hand(Circuit.isolate, key)

    def _by_hand(self, change: Callable[[Circuit], None], key: Hashable) -> None:
        circuit = self.circuit(key)
        before = circuit.state
        change(circuit)
        context = current_context()
        if context is not None and circuit.state is not before:
            # It stands in the trace of the step that did it, so it says whose circuit it was.
            _tell(circuit, context, breaker=self.name)

    # What it does

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Call the step if the circuit lets it.

        Raises:
            CircuitOpenError: it does not.
        """
        circuit = self._circuit
        if not circuit.is_quiet or self._key is not None:
            return await self._watched(input_data, context)
        # Nothing went wrong lately: a success would change nothing.
        permit = circuit.permit
        result: TOut  # said here: a cast is a call, and this is what every call pays
        try:
            if context.mode == PLAIN and self._direct is not None:
                result = await self._direct(input_data)
            else:
                result = await self.primitive.execute(input_data, context)
        except BaseException as error:
            self._failed(circuit, permit, error, 0.0, context)
            raise
        if not circuit.is_quiet:
            circuit.succeeded(permit)  # type: ignore[unreachable]  # calls fail in the meantime
        return result

    async def _watched(self, input_data: TIn, context: WorkflowContext) -> TOut:
        circuit, permit = await self._admitted(input_data, context)
        start_ns = clock.source()
        try:
            result = await self.primitive.execute(input_data, context)
        except BaseException as error:
            self._failed(circuit, permit, error, (clock.source() - start_ns) / 1e9, context)
            raise
        self._succeeded(circuit, permit, (clock.source() - start_ns) / 1e9, context)
        return result

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        circuit, permit = await self._admitted(input_data, context)
        start_ns = clock.source()
        try:
            async with aclosing(self.primitive.stream(input_data, context)) as pieces:
                async for chunk in pieces:
                    yield chunk
        except BaseException as error:
            self._failed(circuit, permit, error, (clock.source() - start_ns) / 1e9, context)
            raise
        self._succeeded(circuit, permit, (clock.source() - start_ns) / 1e9, context)

    async def _admitted(self, input_data: Any, context: WorkflowContext) -> tuple[Circuit, Permit]:
        key = None if self._key is None else await self._key(input_data, context)
        circuit = self.circuit(key)
        was_open = circuit.state is CircuitState.OPEN
        permit = circuit.admit()
        if was_open and permit is not None:
            _tell(circuit, context)
        if permit is None:
            raise self._refusal(circuit, key)
        return circuit, permit

    def _succeeded(
        self, circuit: Circuit, permit: Permit, duration_s: float, context: WorkflowContext
    ) -> None:
        if circuit.succeeded(permit, duration_s) is not None:
            _tell(circuit, context)

    def _failed(
        self,
        circuit: Circuit,
        permit: Permit,
        error: BaseException,
        duration_s: float,
        context: WorkflowContext,
    ) -> None:
        try:
            has_failed = self._tells_of_failure(error)
        except BaseException:  # a condition of the user's: the permit is given back all the same
            circuit.released(permit)
            raise
        if has_failed is None:
            circuit.released(permit)
        elif not has_failed:
            self._succeeded(circuit, permit, duration_s, context)
        elif circuit.failed(permit, duration_s) is not None:
            _tell(circuit, context)

    def _tells_of_failure(self, error: BaseException) -> bool | None:
        """Tell whether an error is a failure of what is protected; None when it says nothing."""
        if not isinstance(error, Exception):  # cancelled, or a stream that was closed early
            return None
        if isinstance(error, _NOT_ASKED) or matches(self.config.ignore, error):
            return None
        # An error of another kind was an answer: what it says is the caller's affair.
        return matches(self.config.expected_exception, error)

    def _refusal(self, circuit: Circuit, key: Hashable) -> CircuitOpenError:
        wait_s = circuit.retry_after()
        which = "" if self._key is None else f" for {key!r}"
        then = {None: "until somebody closes it", 0.0: "until a call that tries it out has ended"}
        until = then.get(wait_s) or f"for {wait_s:.3g} s more"
        return CircuitOpenError(
            f"CircuitBreakerPrimitive {self.name!r}: {self.primitive.name!r} was not called. The "
            f"circuit{which} is {circuit.state.value}, because {circuit.because}, and stays so "
            f"{until}. Put a fallback around it, or close it with reset().",
            primitive=self.name,
            key=key,
            retry_after=wait_s,
        )


def _tell(circuit: Circuit, context: WorkflowContext, **more: str) -> None:
    if circuit.key is not None:
        more["key"] = key_label(circuit.key)
    context.note("circuit", state=circuit.state.value, because=circuit.because, **more)
