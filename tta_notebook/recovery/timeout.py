"""A limit of time for a step."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, ClassVar, TypeVar, cast

from tta_notebook.core import checked, chunks, clock
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.deadline import END, Deadline, bounded, next_piece
from tta_notebook.core.errors import ConfigurationError, StepTimeoutError, TimeoutKind
from tta_notebook.core.events import StreamChunk
from tta_notebook.core.here import current, make_current
from tta_notebook.core.primitive import Chunks, TIn, TOut, WorkflowPrimitive
from tta_notebook.core.wrapper import WrapperPrimitive

T = TypeVar("T")

# Steps that would not stop: a loop itself keeps only weak references to the tasks it runs.
_abandoned: set[asyncio.Task[Any]] = set()


class TimeoutPrimitive(WrapperPrimitive[TIn, TOut]):
    """Stops a step that takes too long: cancels it, waits for its clean-up and raises.

    What is inside knows how much time is left (`context.remaining()`). A TimeoutError of the step's
    own stays itself. A step that is told to stop and gives a result all the same has not given its
    result: it may be half of it; the trace says so. One that never waits for anything cannot be
    stopped; its result counts, and the trace says by how much it overran.

    Around a stream it lasts until the stream is closed, whatever its reader does in the meantime.

    Args:
        primitive: what is limited; whatever `>>` takes.
        timeout_seconds: the limit; 0 times out at once, without a call.
        raise_on_timeout: whether to raise, or to give `default` instead.
        default: what is given instead.
        fallback: what runs instead, on the same input and without this limit.
        first_token_seconds: the limit for a stream's first piece.
        between_tokens_seconds: the limit for every further piece, without the reader's time.
        abandon_after_seconds: how long to wait for the clean-up of a step that does not stop before
            it is left to itself; by default as long as it takes.
        track_timeouts: count timeouts in `context.state["timeout_count"]`.
        name: by default the step's name after "timeout".

    Raises:
        StepTimeoutError: the time was over; `kind` says which.
        ConfigurationError: a limit is no duration, or a limit for pieces is set on a step that does
            not stream.

    >>> TimeoutPrimitive(str.upper, 30.0).run_sync("in time")
    'IN TIME'
    """

    kind: ClassVar[str] = "timeout"

    def __init__(
        self,
        primitive: Any,
        timeout_seconds: float,
        raise_on_timeout: bool = True,
        *,
        default: Any = None,
        fallback: Any = None,
        first_token_seconds: float | None = None,
        between_tokens_seconds: float | None = None,
        abandon_after_seconds: float | None = None,
        track_timeouts: bool = False,
        name: str | None = None,
    ) -> None:
        from tta_notebook.core.algebra import as_primitive  # noqa: PLC0415 - it knows all primitives

        super().__init__(primitive, prefix="timeout", name=name)
        self.timeout_seconds = _seconds("timeout_seconds", timeout_seconds)
        self.first_token_seconds = _optional("first_token_seconds", first_token_seconds)
        self.between_tokens_seconds = _optional("between_tokens_seconds", between_tokens_seconds)
        self.abandon_after_seconds = _optional("abandon_after_seconds", abandon_after_seconds)
        self.raise_on_timeout = raise_on_timeout
        self.default = default
        self.fallback = None if fallback is None else as_primitive(fallback)
        self.track_timeouts = track_timeouts
        self._watches_pieces = (first_token_seconds, between_tokens_seconds) != (None, None)
        if self._watches_pieces and not self.primitive.can_stream:
            raise ConfigurationError(
                f"TimeoutPrimitive: first_token_seconds or between_tokens_seconds was given, but "
                f"{self.primitive.name!r} does not stream, so there are no pieces to wait for. "
                "Leave them out, or wrap the step that streams."
            )

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return what is limited, and what runs instead."""
        instead = [] if self.fallback is None else [("timed out", self.fallback)]
        return [("", self.primitive), *instead]

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Run the step within the limit."""
        if self._watches_pieces:
            return cast("TOut", await chunks.collect(self._stream(input_data, context)))
        deadline = Deadline.after(self.timeout_seconds, context.deadline)
        inside = context.until(deadline)
        too_late = _TooLate(self, "own", self.timeout_seconds)
        previous = current()
        make_current(inside)
        try:
            work = self.primitive.execute(input_data, inside)
            if self.abandon_after_seconds is not None:
                work = self._abandonable(work, self.abandon_after_seconds, context)
            late = partial(context.note, "late_result")
            result = await bounded(work, self.timeout_seconds, too_late, late)
        except StepTimeoutError as error:
            if error is not too_late.error:
                raise
            make_current(previous)
            return cast("TOut", await self._instead(error, input_data, context))
        finally:
            make_current(previous)
        if context.span is not None and (over_ns := clock.source() - deadline.at_ns) > 0:
            context.note("overran", by_s=over_ns / 1e9)
        return result

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        inside = context.until(Deadline.after(self.timeout_seconds, context.deadline))
        index = 0
        try:
            async with aclosing(self._pieces(input_data, inside)) as pieces:
                async for chunk in pieces:
                    index += 1
                    yield chunk
        except _TimedOut as timed_out:
            error = timed_out.error
        else:
            return
        # What the reader has seen cannot be taken back by a fallback.
        if self.fallback is None or index:
            output = await self._instead(error, input_data, context, can_fall_back=False)
            about = {"output": output, "timed_out": True}
            yield StreamChunk(None if index == 0 else "", index, is_final=True, metadata=about)
            return
        self._report(error, context, instead="fallback")
        async with aclosing(self.fallback.stream(input_data, context)) as pieces:
            async for chunk in pieces:
                yield chunk

    async def _pieces(self, input_data: Any, inside: WorkflowContext) -> Chunks:
        """Pass the stream on, each piece of it within its limit and the whole."""
        deadline = inside.deadline
        assert deadline is not None
        kind: TimeoutKind = "first_token"
        limit_s = self.first_token_seconds
        async with aclosing(self.primitive.stream(input_data, inside)) as pieces:
            while True:
                left_s = (deadline.at_ns - clock.source()) / 1e9
                too_late = _TooLate(self, "own", self.timeout_seconds)
                if limit_s is not None and limit_s < left_s:
                    left_s, too_late = limit_s, _TooLate(self, kind, limit_s)
                try:
                    with inside.active():
                        chunk = await bounded(next_piece(pieces), left_s, too_late)
                except StepTimeoutError as error:
                    if error is not too_late.error:
                        raise
                    raise _TimedOut(error) from error.__cause__
                if chunk is END:
                    return
                kind, limit_s = "between_tokens", self.between_tokens_seconds
                yield chunk

    async def _instead(
        self,
        error: StepTimeoutError,
        input_data: Any,
        context: WorkflowContext,
        *,
        can_fall_back: bool = True,
    ) -> Any:
        """Give what comes instead of a result, or raise."""
        if can_fall_back and self.fallback is not None:
            self._report(error, context, instead="fallback")
            return await self.fallback.execute(input_data, context)
        self._report(error, context, instead="error" if self.raise_on_timeout else "default")
        if self.raise_on_timeout:
            raise error
        return self.default

    def _report(self, error: StepTimeoutError, context: WorkflowContext, instead: str) -> None:
        context.note("timed_out", kind=error.kind, timeout_s=error.timeout_s, instead=instead)
        if self.track_timeouts:
            context.state["timeout_count"] = context.state.get("timeout_count", 0) + 1

    async def _abandonable(
        self, work: Coroutine[Any, Any, T], grace_s: float, context: WorkflowContext
    ) -> T:
        """Await work in a task of its own, which may be left behind when it does not stop."""
        task = asyncio.create_task(work)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            _abandoned.add(task)
            task.add_done_callback(_forget)
            await asyncio.wait({task}, timeout=grace_s)
            if not task.done():
                context.note("abandoned", after_s=grace_s)
            raise
        return task.result()


class _TooLate:
    """Makes the error of a limit, and remembers it: errors of other limits pass unchanged."""

    __slots__ = ("error", "kind", "owner", "timeout_s")

    def __init__(
        self, owner: TimeoutPrimitive[Any, Any], kind: TimeoutKind, timeout_s: float
    ) -> None:
        self.owner = owner
        self.kind: TimeoutKind = kind
        self.timeout_s = timeout_s
        self.error: StepTimeoutError | None = None

    def __call__(self) -> StepTimeoutError:
        self.error = StepTimeoutError(
            f"TimeoutPrimitive {self.owner.name!r}: {self.owner.primitive.name!r} was stopped, "
            f"because {_SAID[self.kind]} took longer than {self.timeout_s:g} s. Allow more with "
            f"{_ARGUMENTS[self.kind]}=…, or give a fallback.",
            kind=self.kind,
            primitive=self.owner.name,
            timeout_s=self.timeout_s,
        )
        return self.error


_SAID = {
    "own": "it",
    "first_token": "its first piece",
    "between_tokens": "its next piece",
}
_ARGUMENTS = {
    "own": "timeout_seconds",
    "first_token": "first_token_seconds",
    "between_tokens": "between_tokens_seconds",
}


class _TimedOut(Exception):  # noqa: N818 - it never leaves this file
    """Carries the end of a stream's time out of the generators that pass the stream on."""

    def __init__(self, error: StepTimeoutError) -> None:
        super().__init__(str(error))
        self.error = error


def _forget(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()  # nobody is left to whom it could be told


def _seconds(name: str, value: float) -> float:
    return checked.seconds("TimeoutPrimitive", name, value)


def _optional(name: str, value: float | None) -> float | None:
    return None if value is None else _seconds(name, value)
