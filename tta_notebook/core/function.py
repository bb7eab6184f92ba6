"""A plain function as a step."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, ClassVar, cast, get_args, get_origin, overload

from tta_notebook.core import chunks, fit
from tta_notebook.core.calling import Call, name_of
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.events import StreamChunk
from tta_notebook.core.primitive import A, Chunks, TIn, TOut, WorkflowPrimitive


class LambdaPrimitive(WorkflowPrimitive[TIn, TOut]):
    """A function as a step; `>>` and `|` make one of every callable.

    Args:
        fn: a function of `(x)` or `(x, ctx)`, sync or async, an object with an async `__call__`, or
            an async generator function. A generator over `AsyncIterator` is fed the stream of the
            step before it, chunk by chunk; any other begins a stream from a value.
        name: by default the function's name.
        thread: run a blocking function in a thread, so that it does not hold up the loop. A thread
            cannot be stopped: when the step is cancelled, the function runs on to its end unseen.

    >>> double = LambdaPrimitive(lambda x: 2 * x, name="double")
    >>> double.run_sync(21)
    42
    """

    kind: ClassVar[str] = "function"

    @overload
    def __init__(
        self: LambdaPrimitive[A, Any],
        fn: Callable[[A], AsyncIterator[Any]],
        *,
        name: str | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: LambdaPrimitive[A, Any],
        fn: Callable[[A, WorkflowContext], AsyncIterator[Any]],
        *,
        name: str | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self,
        fn: Callable[[TIn], Coroutine[Any, Any, TOut]],
        *,
        name: str | None = ...,
        thread: bool = ...,
    ) -> None: ...
    @overload
    def __init__(
        self,
        fn: Callable[[TIn, WorkflowContext], Coroutine[Any, Any, TOut]],
        *,
        name: str | None = ...,
        thread: bool = ...,
    ) -> None: ...
    @overload
    def __init__(
        self, fn: Callable[[TIn], TOut], *, name: str | None = ..., thread: bool = ...
    ) -> None: ...
    @overload
    def __init__(
        self,
        fn: Callable[[TIn, WorkflowContext], TOut],
        *,
        name: str | None = ...,
        thread: bool = ...,
    ) -> None: ...
    def __init__(
        self, fn: Callable[..., Any], *, name: str | None = None, thread: bool = False
    ) -> None:
        call = Call(fn, "LambdaPrimitive")
        super().__init__(name=name, default_name=name_of(fn))
        self.function = fn
        self._call = call
        self._fn = fn
        self._takes_context = call.takes_context
        self._is_coroutine = call.is_coroutine
        self._in_thread = thread
        self._is_generator = inspect.isasyncgenfunction(fn)
        if call.is_coroutine and not call.takes_context:
            self.direct = fn
        self.takes_stream = self._is_generator and _is_stream(fit.signature_types(fn)[0])
        if thread and (self._is_generator or call.is_coroutine):
            raise ConfigurationError(
                f"LambdaPrimitive({self.name}, thread=True): the function is async already, and a "
                "thread is for functions that block. Leave thread out."
            )

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Call the function."""
        if self._in_thread:
            arguments = (input_data, context) if self._takes_context else (input_data,)
            return cast("TOut", await asyncio.to_thread(self._fn, *arguments))
        if self._is_generator:
            return cast("TOut", await chunks.collect(self._stream(input_data, context)))
        # Call.__call__ in place: every step of every workflow of functions passes here.
        result = self._fn(input_data, context) if self._takes_context else self._fn(input_data)
        if self._is_coroutine or hasattr(result, "__await__"):
            return cast("TOut", await result)
        return cast("TOut", result)

    @property
    def can_stream(self) -> bool:
        """Whether the function gives its output piece by piece."""
        return self._is_generator

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        if self.takes_stream:
            begun = self._pipe(chunks.once(input_data), context)
        else:
            arguments = (input_data, context) if self._takes_context else (input_data,)
            begun = chunks.numbered(cast("AsyncIterator[Any]", self._fn(*arguments)))
        async with aclosing(begun) as pieces:
            async for chunk in pieces:
                yield chunk

    async def _pipe(self, source: Chunks, context: WorkflowContext) -> Chunks:
        wants_chunks = StreamChunk in get_args(fit.signature_types(self._fn)[0])
        async with aclosing(source if wants_chunks else chunks.contents(source)) as fed:
            arguments = (fed, context) if self._takes_context else (fed,)
            made = cast("AsyncIterator[Any]", self._fn(*arguments))
            async with aclosing(chunks.numbered(made)) as pieces:
                async for chunk in pieces:
                    yield chunk

    def _stated_types(self) -> tuple[Any, Any]:
        takes, gives = fit.signature_types(self._fn)
        if self._is_generator or inspect.isclass(self._fn):
            # A generator's annotations speak of chunks; a class's constructor says None.
            return (fit.UNKNOWN if self.takes_stream else takes), fit.UNKNOWN
        return takes, fit.awaited(gives)


def _is_stream(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    return inspect.isclass(origin) and issubclass(origin, AsyncIterable)
