"""A primitive that stands in for another one in tests."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, ClassVar, cast, overload

from tta_notebook.core.calling import Call
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.events import StreamChunk
from tta_notebook.core.primitive import Chunks, TOut, WorkflowPrimitive
from tta_notebook.testing.calls import CallLog, MockCall, ending
from tta_notebook.testing.faults import Faults, Raisable, is_raisable, made

# Tells a stated None from nothing; a class, so that it survives copying.
_UNSET: Any = type("_UNSET", (), {})


class MockPrimitive(WorkflowPrimitive[Any, TOut]):
    """A primitive that answers as it is told and remembers how it was called.

    Calls count from the moment they begin, also those that fail or are cancelled later. A copy under
    another name (`mock.named("draft")`) shares its record with the original.

    Args:
        name: how it is called in traces; by default the class's name.
        return_value: what calls return.
        side_effect: an exception (or its class) to raise; or values and exceptions for the calls in
            turn; or a function of `(x)` or `(x, ctx)`, sync or async, whose result is returned. It
            goes before `return_value`.
        raise_error: an exception (or its class) to raise.
        stream: what `.stream()` gives, piece by piece; exceptions among the pieces are raised in
            their place. Without a `return_value` the pieces put together are the result.
        faults: latencies, errors and cancellations that come before the answer.

    Raises:
        ConfigurationError: a side effect that is none of these, or several ways to answer at once.

    >>> model = MockPrimitive("model", side_effect=[TimeoutError, "hello"])
    >>> model.run_sync("hi")
    Traceback (most recent call last):
    TimeoutError
    >>> model.run_sync("hi again")
    'hello'
    >>> model.call_count, model.last_input, [call.status for call in model.calls]
    (2, 'hi again', ['error', 'ok'])
    >>> model.assert_called_once()
    Traceback (most recent call last):
    AssertionError: MockPrimitive 'model' was called 2 times and should have been called once: 'hi', 'hi again'
    """  # noqa: E501 - a doctest's message does not wrap

    kind: ClassVar[str] = "mock"

    @overload
    def __init__(
        self: MockPrimitive[None], name: str | None = ..., *, faults: Faults | None = ...
    ) -> None: ...
    @overload
    def __init__(
        self,
        name: str | None = ...,
        *,
        return_value: TOut,
        stream: Iterable[Any] | None = ...,
        faults: Faults | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self, name: str | None, return_value: TOut, *, faults: Faults | None = ...
    ) -> None: ...
    @overload
    def __init__(
        self: MockPrimitive[Any],
        name: str | None = ...,
        *,
        side_effect: Raisable,
        faults: Faults | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self,
        name: str | None = ...,
        *,
        side_effect: Callable[[Any], Coroutine[Any, Any, TOut]]
        | Callable[[Any, WorkflowContext], Coroutine[Any, Any, TOut]],
        faults: Faults | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self,
        name: str | None = ...,
        *,
        side_effect: Callable[[Any], TOut] | Callable[[Any, WorkflowContext], TOut],
        faults: Faults | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: MockPrimitive[Any],
        name: str | None = ...,
        *,
        side_effect: Iterable[Any],
        faults: Faults | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: MockPrimitive[Any],
        name: str | None = ...,
        *,
        raise_error: Raisable,
        faults: Faults | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: MockPrimitive[str],
        name: str | None = ...,
        *,
        stream: Iterable[str],
        faults: Faults | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: MockPrimitive[Any],
        name: str | None = ...,
        *,
        stream: Iterable[Any],
        faults: Faults | None = ...,
    ) -> None: ...
    def __init__(
        self,
        name: str | None = None,
        return_value: Any = _UNSET,
        *,
        side_effect: Any = None,
        raise_error: Raisable | None = None,
        stream: Iterable[Any] | None = None,
        faults: Faults | None = None,
    ) -> None:
        super().__init__(name=name)
        stated = {"side_effect": side_effect, "raise_error": raise_error, "stream": stream}
        _check_ways(stated)
        effect = side_effect if raise_error is None else raise_error
        # First, so that it is pickled first and can say why what it goes through cannot be.
        self._turns = _begun(effect)
        self.return_value = return_value
        self.side_effect = effect
        self.faults = faults
        self._pieces: Sequence[Any] | None = None if stream is None else tuple(stream)
        self._log = CallLog()

    async def execute(self, input_data: Any, context: WorkflowContext = HERE) -> TOut:
        """Answer as the mock was told to."""
        with ending(self._log.begin(input_data, context)) as call:
            # Before anything is awaited, so that the n-th value goes to the n-th call.
            effect = self._next_effect()
            await self._inject_fault(call)
            call.result = await self._result(effect, call)
            return cast("TOut", call.result)

    @property
    def can_stream(self) -> bool:
        """Whether the mock was told what to stream."""
        return self._pieces is not None

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        with ending(self._log.begin(input_data, context)) as call:
            await self._inject_fault(call)
            pieces = self._pieces or ()
            for index, piece in enumerate(pieces):
                if is_raisable(piece):
                    raise made(piece)
                if isinstance(piece, str):
                    context.chunk(piece)
                yield StreamChunk(piece, index)
            call.result = self._value()
            end = "" if isinstance(call.result, str) else None
            yield StreamChunk(end, len(pieces), is_final=True, metadata={"output": call.result})

    # What it remembers

    @property
    def calls(self) -> list[MockCall]:
        """The records of all calls, in the order in which they began."""
        return self._log.calls

    @property
    def call_count(self) -> int:
        """How many calls have begun."""
        return len(self.calls)

    @property
    def last_input(self) -> Any:
        """What the newest call was given; None before the first."""
        return self.calls[-1].input if self.calls else None

    @property
    def last_context(self) -> WorkflowContext | None:
        """The context of the newest call; None before the first."""
        return self.calls[-1].context if self.calls else None

    def reset(self) -> None:
        """Forget all calls and begin again: faults with call 0, a list of side effects in front."""
        self._log.clear()
        self._turns = _begun(self.side_effect)

    def assert_called(self) -> None:
        """Assert that there was a call."""
        if not self.calls:
            raise AssertionError(f"{self._title} was not called and should have been.")

    def assert_not_called(self) -> None:
        """Assert that there was no call."""
        if self.calls:
            raise self._wrong_count("should not have been called")

    def assert_called_once(self) -> None:
        """Assert that there was exactly one call."""
        if self.call_count != 1:
            raise self._wrong_count("should have been called once")

    def assert_called_with(self, input_data: Any) -> None:
        """Assert that the newest call was given something equal to `input_data`."""
        self.assert_called()
        if self.last_input != input_data:
            raise AssertionError(
                f"{self._title} was last called with {self.last_input!r} and should have been "
                f"called with {input_data!r}."
            )

    def assert_called_once_with(self, input_data: Any) -> None:
        """Assert that there was exactly one call, given something equal to `input_data`."""
        self.assert_called_once()
        self.assert_called_with(input_data)

    # How it answers

    async def _inject_fault(self, call: MockCall) -> None:
        if self.faults is not None:
            await self.faults.plan(call.index).inject()

    def _next_effect(self) -> Any:
        """Return the side effect of the call that has just begun, `_UNSET` where there is none."""
        if self._turns is None:
            return _UNSET
        with self._log.lock:
            effect = next(self._turns, _UNSET)
        if effect is _UNSET:
            raise AssertionError(
                f"{self._title} has no side effect left for call {self.call_count}. Give it more "
                "values, or a function."
            )
        return effect

    async def _result(self, effect: Any, call: MockCall) -> Any:
        if effect is _UNSET:
            return self._value()
        if is_raisable(effect):
            raise made(effect)
        if isinstance(effect, Call):
            return await effect(call.input, call.context)
        return effect

    def _value(self) -> Any:
        if self.return_value is not _UNSET:
            return self.return_value
        if self._pieces is None:
            return None
        if all(isinstance(piece, str) for piece in self._pieces):
            return "".join(self._pieces)
        return list(self._pieces)

    @property
    def _title(self) -> str:
        return f"MockPrimitive {self.name!r}"

    def _wrong_count(self, wanted: str) -> AssertionError:
        inputs = ", ".join(repr(call.input) for call in self.calls) or "no calls"
        return AssertionError(
            f"{self._title} was called {self.call_count} times and {wanted}: {inputs}"
        )


class _Turns(Iterator[Any]):
    """What the calls do in turn; a copy in another process begins in front."""

    def __init__(self, side_effect: Any) -> None:
        self._side_effect = side_effect
        self._left = _turns_of(side_effect)

    def __next__(self) -> Any:
        return next(self._left)

    def __reduce__(self) -> tuple[Any, ...]:
        shown = repr(self._side_effect)
        if isinstance(self._side_effect, Iterator):
            raise TypeError(
                f"MockPrimitive(side_effect={shown}) cannot be pickled: values that "
                "one process has taken from an iterator are gone for all others. Give a list."
            )
        return type(self), (self._side_effect,)


def _begun(side_effect: Any) -> _Turns | None:
    return None if side_effect is None else _Turns(side_effect)


def _turns_of(side_effect: Any) -> Iterator[Any]:
    """Return the side effects of the calls in turn: exceptions, `Call`s or values."""
    if is_raisable(side_effect):
        return repeat(side_effect)
    if callable(side_effect):
        return repeat(Call(side_effect, "MockPrimitive(side_effect=…)"))
    if hasattr(side_effect, "__iter__") and not isinstance(side_effect, str | bytes | Mapping):
        return iter(side_effect)
    raise ConfigurationError(
        f"MockPrimitive(side_effect={side_effect!r}): this is neither an exception, nor a list of "
        "values for the calls in turn, nor a function. To return it from every call, pass it as "
        "return_value."
    )


def _check_ways(stated: Mapping[str, Any]) -> None:
    given = [name for name, value in stated.items() if value is not None]
    if len(given) > 1:
        raise ConfigurationError(
            f"MockPrimitive({'=…, '.join(given)}=…): these say in different ways what a call does, "
            "so they exclude each other. Keep one."
        )
    error = stated["raise_error"]
    if error is not None and not is_raisable(error):
        raise ConfigurationError(
            f"MockPrimitive(raise_error={error!r}): a {type(error).__name__} cannot be raised. "
            "Give an exception or its class, or pass the value as return_value."
        )
