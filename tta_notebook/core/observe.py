"""The one place where execution is observed.

Every class that overrides `execute` has it wrapped once, when the class is made. The wrapper
decides in one comparison whether anyone watches: if not, the class's own `execute` takes over.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, cast

from tta_notebook.core import clock
from tta_notebook.core.context import (
    FRESH,
    NARROWED,
    PLAIN,
    WATCHED,
    WorkflowContext,
    context_of,
    current_context,
    entered,
    plain_root,
)
from tta_notebook.core.deadline import Deadline, bounded, bounded_stream
from tta_notebook.core.errors import StepTimeoutError
from tta_notebook.core.events import Span, StreamChunk
from tta_notebook.core.here import current, make_current
from tta_notebook.core.ids import span_ids
from tta_notebook.core.run import Run
from tta_notebook.core.stream import stream
from tta_notebook.core.usage import Tally

if TYPE_CHECKING:
    from tta_notebook.core.primitive import WorkflowPrimitive

Execute = Callable[[Any, Any, Any], Coroutine[Any, Any, Any]]
Direct = Callable[[Any], Awaitable[Any]]
Step = tuple[Any, Direct | None]


def observed(cls: type[WorkflowPrimitive[Any, Any]], own: Execute) -> Execute:
    """Return `own`, the `execute` of `cls`, with observation around it.

    The wrapper is a plain function that returns a coroutine: when nobody watches, a step costs no
    frame of ours while it runs.
    """

    @wraps(own)
    def execute(
        self: WorkflowPrimitive[Any, Any], input_data: Any, context: WorkflowContext | None = None
    ) -> Coroutine[Any, Any, Any]:
        if context is None:
            context = current_context()
        if type(self) is not cls and type(self).execute is not execute:
            # super().execute(): the span of the subclass's execute is open already.
            return own(self, input_data, context)
        if context is None:
            return run_root(self, own, input_data, None)
        mode = context.mode
        if mode == PLAIN:
            return own(self, input_data, context)
        if mode == WATCHED:
            return run_step(self, own, input_data, context)
        if mode == FRESH:
            return run_root(self, own, input_data, context)
        return _run_narrowed(self, own, input_data, context)

    execute.is_observed = True  # type: ignore[attr-defined]  # read by is_observed() alone
    return execute


def own_execute(cls: type[WorkflowPrimitive[Any, Any]]) -> Execute:
    """Return the `execute` of a class as it was written, without the wrapper."""
    execute: Any = cls.execute
    return cast("Execute", getattr(execute, "__wrapped__", execute))


def is_observed(execute: object) -> bool:
    """Tell whether `execute` is wrapped already."""
    return getattr(execute, "is_observed", False)


async def run_root(
    primitive: WorkflowPrimitive[Any, Any],
    own: Execute,
    input_data: Any,
    context: WorkflowContext | None,
) -> Any:
    """Execute the outermost primitive: enter its context and, if anyone watches, record a run."""
    if stream.is_recording or (context is not None and context.step_store is not None):
        name = None if context is None else context.workflow_id
        return await run_recorded(primitive, input_data, context, Run(name or primitive.name))
    plain = plain_root() if context is None else entered(context, None, None, PLAIN)
    if plain.deadline is not None:
        own = _kept(own)
    previous = current()
    make_current(plain)
    try:
        return await own(primitive, input_data, plain)
    finally:
        make_current(previous)


async def run_step(
    primitive: WorkflowPrimitive[Any, Any], own: Execute, input_data: Any, context: WorkflowContext
) -> Any:
    """Execute a primitive under a span of its own."""
    run = context.run
    assert run is not None
    if run.gate is not None and run.gate.is_shut:
        await run.gate.wait()
    span = Span(context, primitive, span_ids.next(), clock.source())
    child = context.derive(run, span, WATCHED)
    run.begin(span, input_data)
    previous = current()
    make_current(child)
    try:
        if child.shared.step_store is None:
            result = await own(primitive, input_data, child)
        else:
            result = await _recall_or_run(primitive, own, input_data, child)
    except BaseException as error:
        run.fail(span, error)
        raise
    else:
        run.finish(span, result)
        return result
    finally:
        make_current(previous)


async def _run_narrowed(
    primitive: WorkflowPrimitive[Any, Any], own: Execute, input_data: Any, context: WorkflowContext
) -> Any:
    inside = context.entered()
    if inside.run is not None:
        return await run_step(primitive, _kept(own), input_data, inside)
    with inside.active():
        return await _kept(own)(primitive, input_data, inside)


def _kept(own: Execute) -> Execute:
    """Return `own` with the context's deadline kept: the work is cancelled when it comes."""

    async def execute(
        primitive: WorkflowPrimitive[Any, Any], input_data: Any, context: WorkflowContext
    ) -> Any:
        work = own(primitive, input_data, context)
        remaining_s = context.remaining()
        if remaining_s is None:
            return await work
        late = partial(context.note, "late_result")
        return await bounded(work, remaining_s, partial(_too_late, primitive, context), late)

    return execute


def _too_late(primitive: WorkflowPrimitive[Any, Any], context: WorkflowContext) -> Exception:
    return StepTimeoutError(
        f"{primitive.name!r} was stopped {context.elapsed_ms() / 1e3:.3g} s after its run began, "
        "when the context's deadline passed. Allow more time with context.within(…), or do less.",
        kind="deadline",
        primitive=primitive.name,
        timeout_s=None,
    )


async def run_chain(steps: Sequence[Step], value: Any, context: WorkflowContext) -> Any:
    """Execute steps one after the other, each with what the one before gave.

    The same as calling `execute` of every step, without a coroutine and a reset of the current
    context for each: chains of functions are what most workflows are made of.
    """
    if context.mode == PLAIN:
        for step, direct in steps:
            value = await (step.execute(value, context) if direct is None else direct(value))
        return value
    run = context.run
    assert run is not None
    if context.shared.step_store is not None:
        for step, _ in steps:
            value = await step.execute(value, context)
        return value
    # The names below are bound before the loop because it is what every traced step costs.
    next_id, set_current, begin, finish = span_ids.next, make_current, run.begin, run.finish
    now_ns = clock.source()
    try:
        for step, direct in steps:
            if direct is None:
                value = await step.execute(value, context)
                now_ns = clock.source()
                continue
            if run.gate is not None and run.gate.is_shut:
                await run.gate.wait()
                now_ns = clock.source()
            # One reading of the clock ends a step and starts the next.
            span = Span(context, step, next_id(), now_ns)
            begin(span, value)
            set_current(span)
            try:
                value = await direct(value)
            except BaseException as error:
                run.fail(span, error)
                raise
            now_ns = finish(span, value)
    finally:
        set_current(context)
    return value


async def _recall_or_run(
    primitive: WorkflowPrimitive[Any, Any], own: Execute, input_data: Any, context: WorkflowContext
) -> Any:
    store = context.step_store
    assert store is not None
    answer = await store.recall(primitive, input_data, context)
    if answer is not None:
        spent = answer.spent or Tally.of(answer.output)
        context.note("recalled", source=answer.source, **spent.saved())
        context.reused(answer.output)
        return answer.output
    result = await own(primitive, input_data, context)
    await store.keep(primitive, input_data, result, context)
    return result


async def run_recorded(
    primitive: WorkflowPrimitive[Any, Any],
    input_data: Any,
    context: WorkflowContext | None,
    run: Run[Any],
) -> Any:
    """Execute a primitive as the root of a run, and close the run's record with what came of it."""
    inside = open_run(run, context)
    own = own_execute(type(primitive))
    if inside.deadline is not None:
        # Also when the deadline is that of the run around: a run of its own is in a task of its
        # own, and whoever keeps the deadline outside stops only the task outside.
        own = _kept(own)
    try:
        result = await run_step(primitive, own, input_data, inside)
    except BaseException as error:
        close_run(run, None, error)
        raise
    close_run(run, result, None)
    return result


def open_run(run: Run[Any], context: WorkflowContext | None) -> WorkflowContext:
    """Return the context in which a run's first step executes."""
    # A context with a span is that of a run in which this one was started: one connected trace.
    outer = plain_root() if context is None else context
    inside = entered(outer, run, outer.span, WATCHED)
    if run.gate is not None and inside.deadline is not None and run.is_outermost:
        # Its own: it is put off when this run is paused, and others may keep to the same one.
        inside.deadline = Deadline(inside.deadline.first_ns())
        run.gate.adopt(inside.deadline)
    run.context = inside
    stream.last_run = run
    return inside


def close_run(run: Run[Any], output: Any, error: BaseException | None) -> None:
    """Record how a run has ended."""
    if error is None:
        run.close("ok", output, None)
    else:
        run.close("error" if run.root is None else run.root.status, None, error)


Chunks = AsyncGenerator[StreamChunk, None]
OpenStream = Callable[[WorkflowContext], Chunks]


async def stream_through(
    primitive: WorkflowPrimitive[Any, Any],
    begin: OpenStream,
    input_data: Any,
    context: WorkflowContext | None,
) -> Chunks:
    """Open a primitive's stream with `begin` and pass it on; its span lasts to its close."""
    if context is None:
        context = current_context()
    if context is not None and context.deadline is not None and context.mode in (FRESH, NARROWED):
        begin = partial(_kept_stream, primitive, begin)
    if context is not None and context.mode == NARROWED:
        context = context.entered()
    if context is None or context.mode == FRESH:
        passed = _stream_root(primitive, begin, input_data, context)
    elif context.mode == PLAIN:
        passed = _passed_on(begin(context), context)
    else:
        passed = _stream_step(primitive, begin, input_data, context)
    async with aclosing(passed) as chunks:
        async for chunk in chunks:
            yield chunk


def _kept_stream(
    primitive: WorkflowPrimitive[Any, Any], begin: OpenStream, context: WorkflowContext
) -> Chunks:
    assert context.deadline is not None
    return bounded_stream(
        begin(context), context.deadline.remaining_s, partial(_too_late, primitive, context)
    )


async def _stream_root(
    primitive: WorkflowPrimitive[Any, Any],
    begin: OpenStream,
    input_data: Any,
    context: WorkflowContext | None,
) -> Chunks:
    if not stream.is_recording:
        plain = plain_root() if context is None else entered(context, None, None, PLAIN)
        async with aclosing(_passed_on(begin(plain), plain)) as chunks:
            async for chunk in chunks:
                yield chunk
        return
    name = None if context is None else context.workflow_id
    run: Run[Any] = Run(name or primitive.name)
    inside = open_run(run, context)
    output: Any = None
    try:
        async with aclosing(_stream_step(primitive, begin, input_data, inside)) as chunks:
            async for chunk in chunks:
                output = chunk.metadata.get("output")
                yield chunk
    except BaseException as error:
        close_run(run, None, error)
        raise
    close_run(run, output, None)


async def _stream_step(
    primitive: WorkflowPrimitive[Any, Any],
    begin: OpenStream,
    input_data: Any,
    context: WorkflowContext,
) -> Chunks:
    run = context.run
    assert run is not None
    if run.gate is not None and run.gate.is_shut:
        await run.gate.wait()
    span = Span(context, primitive, span_ids.next(), clock.source())
    child = context_of(span)
    run.begin(span, input_data)
    result: Any = None
    try:
        async with aclosing(_passed_on(begin(child), child)) as chunks:
            async for chunk in chunks:
                result = chunk.metadata.get("output")
                yield chunk
    except BaseException as error:
        run.fail(span, error)
        raise
    else:
        run.finish(span, result)


async def _passed_on(chunks: Chunks, context: WorkflowContext) -> Chunks:
    """Pass a stream on; its own code finds `context` as the current one.

    A generator runs in the context of whoever asks for its next value, so the current context is
    set around every step of it, its clean-up included, and never across a yield.
    """
    try:
        while True:
            with context.active():
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
            yield chunk
    finally:
        with context.active():
            await chunks.aclose()
