"""The base of everything that can be composed and run."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, overload

from tta_notebook.core import chunks, fit, observe
from tta_notebook.core.context import HERE, WorkflowContext, current_context
from tta_notebook.core.errors import CompositionError, ConfigurationError, WorkflowError
from tta_notebook.core.events import StreamChunk
from tta_notebook.core.guarding import within_budget
from tta_notebook.core.run import Run
from tta_notebook.core.threads import run_blocking

if TYPE_CHECKING:
    from tta_notebook.core.graph import Graph
    from tta_notebook.core.protocols import Executor, Guard

TIn = TypeVar("TIn", contravariant=True)
TOut = TypeVar("TOut", covariant=True)
T = TypeVar("T")
A = TypeVar("A")

Chunks = AsyncGenerator[StreamChunk, None]


class WorkflowPrimitive(Generic[TIn, TOut]):
    """A step, or a composition of steps: something that takes an input and gives an output.

    Subclass it and override `execute`; being observed, composed, streamed and drawn comes with it.

    Args:
        name: how it is called in traces and pictures.
        default_name: the same when `name` is left out; by default the class's name.

    >>> class Shout(WorkflowPrimitive[str, str]):
    ...     async def execute(self, input_data, context):
    ...         return input_data.upper() + "!"
    >>> (Shout() >> len).run_sync("hello")
    6
    """

    kind: ClassVar[str] = "step"
    takes_stream: bool = False

    direct: Callable[[Any], Awaitable[Any]] | None = None
    """An async function of the input alone that does just what `execute` does, if there is one."""

    name: str
    """How it is called in traces and pictures."""

    is_named: bool = False
    """Whether it was given a name: compositions keep a named part in one piece."""

    def __init__(self, *, name: str | None = None, default_name: str | None = None) -> None:
        if name is not None:
            self.name, self.is_named = _checked_name(name), True
        elif default_name:
            self.name = default_name

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "name" not in cls.__dict__:
            # On the class, so that a subclass which forgets super().__init__() works all the same.
            cls.name = cls.__name__
        own = cls.__dict__.get("execute")
        if own is not None and not observe.is_observed(own):
            cls.execute = observe.observed(cls, own)  # type: ignore[method-assign, assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    # What it does

    async def execute(self, input_data: TIn, *args: Any, **kwargs: Any) -> TOut:  # noqa: ARG002 - for overrides
        """Do the work: this is what a subclass overrides, as `execute(self, input_data, context)`.

        An override always gets a context. Callers may leave it out: then the step is part of the
        one that calls it, or the start of a run of its own. (The open signature lets type checkers
        accept overrides with and without a default for the context.)

        Raises:
            CompositionError: the class does not override it.
        """
        raise CompositionError(
            f"{type(self).__name__}.execute(): the class does not say what it does, so it cannot "
            "run. Override `async def execute(self, input_data, context)`."
        )

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        """Give the output piece by piece; override this where that is possible."""
        yield chunks.whole(await self.execute(input_data, context))

    def _pipe(self, source: Chunks, context: WorkflowContext) -> Chunks:  # noqa: ARG002 - for overrides
        """Turn a stream into a stream; override this where `takes_stream` is true."""
        raise CompositionError(
            f"{type(self).__name__}._pipe(): the class says takes_stream = True but not what it "
            "does with a stream. Override `async def _pipe(self, source, context)`."
        )

    @property
    def can_stream(self) -> bool:
        """Whether it gives its output piece by piece."""
        return getattr(type(self), "_stream", None) is not vars(WorkflowPrimitive)["_stream"]

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return what it is made of as (label, primitive), for pictures; override in composites."""
        return ()

    # How it is called

    def __call__(
        self, input_data: TIn, context: WorkflowContext | None = None
    ) -> Coroutine[Any, Any, TOut]:
        """Run and give the output; the same as `execute`."""
        return self.execute(input_data, context)

    async def run(
        self,
        input_data: TIn,
        context: WorkflowContext | None = None,
        *,
        budget: Guard | None = None,
    ) -> Run[TOut]:
        """Run and give the record of it.

        Args:
            input_data: the input.
            context: the run's context; by default a child of the current one, or a new one.
            budget: a `Budget` that the calls to models in this run have to keep to, beside others.

        Raises:
            BaseException: what the workflow raises; `tta_notebook.last_run()` has the record then.
        """
        run = self.start(input_data, context, budget=budget)
        await run
        return run

    def start(
        self,
        input_data: TIn,
        context: WorkflowContext | None = None,
        *,
        budget: Guard | None = None,
    ) -> Run[TOut]:
        """Start running in the background and give the record at once; arguments as for `run`.

        The record can be awaited for the output and cancelled.

        Raises:
            WorkflowError: no event loop is running here.
        """
        loop = _running_loop(self.name)
        context = context or current_context() or WorkflowContext()
        if budget is not None:
            context = within_budget(context, budget)
        name = context.workflow_id if context.run is None else None
        run: Run[TOut] = Run(name or self.name, outer=context.run)
        run.start_in(loop, observe.run_recorded(self, input_data, context, run))
        return run

    def run_sync(
        self,
        input_data: TIn,
        context: WorkflowContext | None = None,
        *,
        budget: Guard | None = None,
    ) -> TOut:
        """Run from synchronous code, whether or not an event loop is running in this thread.

        Arguments as for `run`.

        Under a running loop the work happens on a loop of its own in another thread while this
        thread waits, which holds up the running loop: in a notebook cell prefer `await`.
        """
        around = context or current_context()
        if budget is not None:
            around = within_budget(around or WorkflowContext(), budget)
        if around is not None and around.deadline is not None:
            # A loop of its own needs a timer of its own: the one outside cannot reach into it.
            around = around.within(around.deadline.remaining_s())
        return run_blocking(lambda: self.execute(input_data, around))

    async def stream(self, input_data: TIn, context: WorkflowContext | None = None) -> Chunks:
        """Run and give the output piece by piece.

        A primitive that cannot stream gives one final chunk. Whoever leaves the loop early should
        close the iterator (`contextlib.aclosing`): what it was doing is cancelled then.
        """
        if not self.can_stream:
            yield chunks.whole(await self.execute(input_data, context))
            return
        passed = observe.stream_through(
            self, lambda inner: self._stream(input_data, inner), input_data, context
        )
        async with aclosing(passed) as pieces:
            async for chunk in pieces:
                yield chunk

    async def pipe(self, source: Chunks, context: WorkflowContext | None = None) -> Chunks:
        """Turn a stream into a stream: chunk by chunk where `takes_stream` is true, else whole."""
        if not self.takes_stream:
            yield chunks.whole(await self.execute(await chunks.collect(source), context))
            return
        passed = observe.stream_through(
            self, lambda inner: self._pipe(source, inner), None, context
        )
        async with aclosing(passed) as pieces:
            async for chunk in pieces:
                yield chunk

    async def map(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        max_concurrency: int = 100,
        mode: str = "fail_fast",
        executor: Executor | None = None,
        context: WorkflowContext = HERE,
    ) -> list[Any]:
        """Run once for every item and give the results in the items' order.

        Args:
            items: pulled one by one as places become free.
            max_concurrency: how many run at once.
            mode: "fail_fast" raises the first error after cancelling the others; "collect" puts
                errors in their items' places.
            executor: where they run: a `Cluster`, say; by default here.
            context: as in `execute`.
        """
        from tta_notebook.core.map import MapPrimitive  # noqa: PLC0415 - it is made of primitives

        mapped = MapPrimitive(self, max_concurrency=max_concurrency, mode=mode, executor=executor)
        return await mapped.execute(items, context)

    # How it is composed

    @overload
    def __rshift__(self, other: WorkflowPrimitive[TOut, T]) -> WorkflowPrimitive[TIn, T]: ...
    # What a stream amounts to is known when it ends: text, a list, or the output that it states.
    @overload
    def __rshift__(
        self, other: Callable[[TOut], AsyncIterator[Any]]
    ) -> WorkflowPrimitive[TIn, Any]: ...
    @overload
    def __rshift__(
        self, other: Callable[[TOut, WorkflowContext], AsyncIterator[Any]]
    ) -> WorkflowPrimitive[TIn, Any]: ...
    @overload
    def __rshift__(
        self, other: Callable[[TOut], Coroutine[Any, Any, T]]
    ) -> WorkflowPrimitive[TIn, T]: ...
    @overload
    def __rshift__(
        self, other: Callable[[TOut, WorkflowContext], Coroutine[Any, Any, T]]
    ) -> WorkflowPrimitive[TIn, T]: ...
    @overload
    def __rshift__(self, other: Callable[[TOut], T]) -> WorkflowPrimitive[TIn, T]: ...
    @overload
    def __rshift__(
        self, other: Callable[[TOut, WorkflowContext], T]
    ) -> WorkflowPrimitive[TIn, T]: ...
    @overload
    def __rshift__(self, other: Mapping[str, Any]) -> WorkflowPrimitive[TIn, dict[str, Any]]: ...
    @overload
    def __rshift__(self, other: Sequence[Any]) -> WorkflowPrimitive[TIn, list[Any]]: ...
    # Last: pyright would give a lambda the first argument type that it finds.
    @overload
    def __rshift__(
        self, other: Callable[[AsyncIterator[Any]], AsyncIterator[Any]]
    ) -> WorkflowPrimitive[TIn, Any]: ...
    @overload
    def __rshift__(
        self, other: Callable[[AsyncIterator[Any], WorkflowContext], AsyncIterator[Any]]
    ) -> WorkflowPrimitive[TIn, Any]: ...
    def __rshift__(self, other: Any) -> Any:
        """Return a sequence: `other` gets what this gives.

        `a >> b` and `a.then(b)` are the same; type checkers infer a lambda's argument only in the
        second form.
        """
        return _algebra().sequence(self, other)

    then = __rshift__

    # What the function gives is stated, because a primitive is a callable, too: with Any there,
    # type checkers would take every primitive that `__rshift__` has refused.
    @overload
    def __rrshift__(
        self, other: Callable[[A], AsyncIterator[Any]]
    ) -> WorkflowPrimitive[A, TOut]: ...
    @overload
    def __rrshift__(
        self, other: Callable[[A, WorkflowContext], AsyncIterator[Any]]
    ) -> WorkflowPrimitive[A, TOut]: ...
    @overload
    def __rrshift__(
        self, other: Callable[[A], Coroutine[Any, Any, TIn]]
    ) -> WorkflowPrimitive[A, TOut]: ...
    @overload
    def __rrshift__(
        self, other: Callable[[A, WorkflowContext], Coroutine[Any, Any, TIn]]
    ) -> WorkflowPrimitive[A, TOut]: ...
    @overload
    def __rrshift__(self, other: Callable[[A], TIn]) -> WorkflowPrimitive[A, TOut]: ...
    @overload
    def __rrshift__(
        self, other: Callable[[A, WorkflowContext], TIn]
    ) -> WorkflowPrimitive[A, TOut]: ...
    @overload
    def __rrshift__(
        self, other: Mapping[str, Any] | Sequence[Any]
    ) -> WorkflowPrimitive[Any, TOut]: ...
    def __rrshift__(self, other: Any) -> Any:
        return _algebra().sequence(other, self)

    def __or__(self, other: Any) -> WorkflowPrimitive[TIn, list[Any]]:
        """Return a parallel: both get the same input, the results come as a list."""
        both: WorkflowPrimitive[Any, list[Any]] = _algebra().parallel(self, other)
        return both

    def __ror__(self, other: Any) -> WorkflowPrimitive[Any, list[Any]]:
        both: WorkflowPrimitive[Any, list[Any]] = _algebra().parallel(other, self)
        return both

    def named(self, name: str) -> Self:
        """Return a copy under another name; compositions then keep it in one piece."""
        renamed = copy.copy(self)
        renamed.name, renamed.is_named = _checked_name(name), True
        return renamed

    def graph(self) -> Graph:
        """Return a picture of the workflow as nodes and edges; nothing is run."""
        from tta_notebook.core.graph import Graph  # noqa: PLC0415 - drawn on demand only

        return Graph.of(self)

    # What it takes and gives, for the check at composition

    @property
    def input_type(self) -> Any:
        """The annotated type of the input; Any where nothing is said."""
        return self._stated_types()[0]

    @property
    def output_type(self) -> Any:
        """The annotated type of the output; Any where nothing is said."""
        return self._stated_types()[1]

    def _stated_types(self) -> tuple[Any, Any]:
        stated = fit.class_types(type(self), WorkflowPrimitive)
        if stated != (fit.UNKNOWN, fit.UNKNOWN):
            return stated
        return fit.method_types(observe.own_execute(type(self)))


def joined_names(parts: Sequence[Any], separator: str) -> str:
    """Return a composition's name: its first three parts' names."""
    names = [str(getattr(part, "name", part)) for part in parts[:3]]
    return separator.join([*names, "…"] if len(parts) > len(names) else names)


def _algebra() -> Any:
    """Return the module that composes; it is made of primitives, so it is found late."""
    from tta_notebook.core import algebra  # noqa: PLC0415

    return algebra


def _running_loop(name: str) -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise WorkflowError(
            f"{name!r} was to be started in the background, but no event loop is running in this "
            "thread, so there is none. Use run_sync() to run it here and now, or call start() "
            "inside an async function."
        ) from None


def _checked_name(name: str) -> str:
    if isinstance(name, str) and name.strip():
        return name
    raise ConfigurationError(
        f"name={name!r}: a primitive's name is shown in traces and pictures, so it must be a text "
        "that is not empty. Leave it out to get one from the class or function."
    )
