"""A step with others that stand in for it when it fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, ClassVar, Literal, cast

from tta_notebook.core import checked
from tta_notebook.core.checked import UNSET
from tta_notebook.core.context import HERE, PLAIN, WorkflowContext
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.events import StreamChunk
from tta_notebook.core.primitive import Chunks, TIn, TOut, WorkflowPrimitive
from tta_notebook.core.wrapper import subject
from tta_notebook.recovery.cancelling import stands_for_cancellation
from tta_notebook.recovery.condition import ErrorTest, result_test
from tta_notebook.recovery.held import Held, gathered
from tta_notebook.recovery.original import copied
from tta_notebook.recovery.told import attach, shown, tell

_OWNER = "FallbackPrimitive"

Work = Callable[[WorkflowPrimitive[Any, Any], Any, WorkflowContext], Awaitable[Any]]


class FallbackPrimitive(WorkflowPrimitive[TIn, TOut]):
    """Runs a step, and where it fails another one instead, and so on.

    Every level gets the input as it was, whatever the levels before have done to it: mappings,
    lists and sets in it are copied. When all fail, the error of the primary step is raised,
    unchanged, with notes about the others and all errors in its `fallback_errors`. A cancellation
    is no failure.

    A stream that fails before its first piece falls back like any other step. One that fails later
    raises, with the text so far in the error's `partial_text`: what a reader has seen cannot be
    taken back. With `stream_policy="restart"` the next level begins from the start instead, and its
    first piece says `{"restarted": True}` in its metadata.

    Args:
        primary: what runs first; whatever `>>` takes.
        fallbacks: what runs instead, in order; one step or several.
        fallback: the same under its other name.
        fallback_on: which errors fall back; by default all. A class, several, or a function of
            `(error)` or `(error, ctx)`, sync or async.
        fallback_if_result: a function of `(result)` or `(result, ctx)` that tells which results
            fall back as well. When no level does better, the last result is given. A stream is held
            back then until its result has been judged.
        stream_policy: "raise" or "restart".
        name: by default the primary step's name after "fallback".

    Raises:
        Exception: the error of the primary step.

    >>> answer = FallbackPrimitive(lambda x: 1 / x, fallbacks=[lambda x: float("inf")])
    >>> answer.run_sync(4), answer.run_sync(0)
    (0.25, inf)
    """

    kind: ClassVar[str] = "fallback"

    def __init__(
        self,
        primary: Any,
        fallbacks: Any = UNSET,
        *,
        fallback: Any = UNSET,
        fallback_on: Any = None,
        fallback_if_result: Callable[..., Any] | None = None,
        stream_policy: Literal["raise", "restart"] = "raise",
        name: str | None = None,
    ) -> None:
        from tta_notebook.core.algebra import as_primitive  # noqa: PLC0415 - it knows all primitives

        others = _as_list(checked.either(_OWNER, ("fallbacks", fallbacks), ("fallback", fallback)))
        self.primary: WorkflowPrimitive[TIn, TOut] = as_primitive(primary)
        self.fallbacks = tuple(as_primitive(other) for other in others)
        super().__init__(name=name, default_name=f"fallback {subject(self.primary)}")
        self.stream_policy = checked.choice(
            _OWNER, "stream_policy", stream_policy, ("raise", "restart")
        )
        self.condition = (
            None if fallback_on is None else ErrorTest(_OWNER, "fallback_on", fallback_on)
        )
        self._rejects = result_test(_OWNER, "fallback_if_result", fallback_if_result)
        self._levels: Sequence[WorkflowPrimitive[Any, Any]] = (self.primary, *self.fallbacks)

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return the levels in order."""
        others = [(f"fallback {number}", step) for number, step in enumerate(self.fallbacks, 1)]
        return [("primary", self.primary), *others]

    @property
    def can_stream(self) -> bool:
        """Whether some level gives its output piece by piece."""
        return any(level.can_stream for level in self._levels)

    @property
    def input_type(self) -> Any:
        """What the primary step takes."""
        return self.primary.input_type

    @property
    def output_type(self) -> Any:
        """What all levels give; Any where they differ."""
        first = self.primary.output_type
        return first if all(level.output_type == first for level in self._levels) else Any

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Run the levels in order until one succeeds."""
        return cast("TOut", await self._cascade(_run, input_data, context))

    async def _cascade(self, work: Work, input_data: Any, context: WorkflowContext) -> Any:
        falls = _Falls(self, input_data, context)
        while True:
            level, given = falls.level()
            failure: Exception | None = None
            try:
                result = await work(level, given, context)
            except Exception as error:  # noqa: BLE001 - it is raised, or another level runs
                failure = error
            else:
                if not await self._is_rejected(result, context):
                    return result
                falls.rejected(result)
            if not await falls.go_on(failure):
                return falls.end()

    async def _is_rejected(self, result: Any, context: WorkflowContext) -> bool:
        if self._rejects is None:
            return False
        if isinstance(result, Held):
            result = result.output
        return bool(await self._rejects(result, context))

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        if self._rejects is not None:
            # What a reader has seen cannot be taken back.
            for chunk in cast("Held", await self._cascade(_held, input_data, context)):
                yield chunk
            return
        falls = _Falls(self, input_data, context)
        while True:
            level, given = falls.level()
            has_begun = False
            try:
                async with aclosing(level.stream(given, context)) as pieces:
                    async for chunk in pieces:
                        yield chunk if has_begun else falls.first(chunk)
                        has_begun = True
                        falls.seen.append(chunk.content)
            except Exception as error:
                if has_begun and self.stream_policy == "raise":
                    falls.end_midway(error)
                    raise
                failure = error
            else:
                return
            if not await falls.go_on(failure):
                falls.end()


def _run(
    level: WorkflowPrimitive[Any, Any], given: Any, context: WorkflowContext
) -> Awaitable[Any]:
    if context.mode == PLAIN and level.direct is not None:
        return level.direct(given)
    return level.execute(given, context)


def _held(
    level: WorkflowPrimitive[Any, Any], given: Any, context: WorkflowContext
) -> Awaitable[Any]:
    return gathered(level.stream(given, context))


class _Falls:
    """What one execution has tried so far, and whether it goes on.

    Attributes:
        seen: what a reader has seen of the level whose stream began last.
    """

    __slots__ = (
        "_context",
        "_errors",
        "_input",
        "_original",
        "_owner",
        "_results",
        "_tried",
        "seen",
    )

    def __init__(
        self, owner: FallbackPrimitive[Any, Any], input_data: Any, context: WorkflowContext
    ) -> None:
        self.seen: list[Any] = []
        self._input = input_data
        self._original = copied(input_data)
        self._owner = owner
        self._context = context
        self._errors: list[tuple[int, Exception]] = []
        self._results: list[Any] = []
        self._tried = 0

    def level(self) -> tuple[WorkflowPrimitive[Any, Any], Any]:
        """Return the level to run and its input: the input itself, or a copy of the original."""
        others = self._owner.fallbacks
        if not self._tried:
            return self._owner.primary, self._input
        is_last = self._tried == len(others)
        given = self._original if is_last else copied(self._original)
        return others[self._tried - 1], given

    def rejected(self, result: Any) -> None:
        """Keep a result that was rejected: it is given when no level does better."""
        self._results = [result]

    def first(self, chunk: StreamChunk) -> StreamChunk:
        """Return a level's first piece, which says so where a reader has seen another level's."""
        has_restarted = bool(self.seen)
        self.seen = []
        return _restarted(chunk) if has_restarted else chunk

    async def go_on(self, error: Exception | None) -> bool:
        """Tell whether the next level is to run.

        Args:
            error: what the level raised; None where its result was rejected.
        """
        if error is not None:
            self._errors.append((self._tried, error))
        self._tried += 1
        if self._tried > len(self._owner.fallbacks):
            return False
        if error is not None and not await self._falls_back(error):
            return False
        said = "its result was rejected" if error is None else shown(error)
        self._context.note("fell_back", level=self._tried, error=said)
        return True

    async def _falls_back(self, error: Exception) -> bool:
        if stands_for_cancellation(error):
            return False
        condition = self._owner.condition
        if condition is None:
            return True
        try:
            return await condition.holds(error, self._context)
        except Exception as broken:
            if broken is error:
                raise
            raise broken from error  # the condition's own mistake must not hide the step's

    def end(self) -> Any:
        """Return the last result although it was rejected, or raise the first error."""
        self._context.note("fallbacks_failed", levels=self._tried, has_result=bool(self._results))
        if self._results:
            return self._results[0]
        error = self._errors[0][1]
        if self.seen:
            attach(error, "partial_text", _text(self.seen))
        self._tell(error)
        raise error

    def end_midway(self, error: Exception) -> None:
        """Say on the error of a stream that has begun how far it came."""
        self._errors.append((self._tried, error))
        text = _text(self.seen)
        attach(error, "partial_text", text)
        self._tell(error, f"its stream failed after {len(text)} characters had been given")
        self._context.note("failed_midway", level=self._tried, characters=len(text))

    def _tell(self, error: Exception, *also: str) -> None:
        attach(error, "fallback_errors", tuple(one for _, one in self._errors))
        others = [
            f"{self._called(level)} failed as well: {shown(one)}"
            for level, one in self._errors
            if one is not error
        ]
        tell(error, f"{_OWNER} {self._owner.name!r}", [*others, *also])

    def _called(self, level: int) -> str:
        label, step = self._owner.parts()[level]
        return f"{label} ({step.name!r})"


def _text(contents: Sequence[Any]) -> str:
    return "".join(content for content in contents if isinstance(content, str))


def _restarted(chunk: StreamChunk) -> StreamChunk:
    return replace(chunk, metadata={**chunk.metadata, "restarted": True})


def _as_list(fallbacks: Any) -> Sequence[Any]:
    if not isinstance(fallbacks, (list, tuple)):
        return [fallbacks]
    if not fallbacks:
        raise ConfigurationError(
            f"{_OWNER}: fallbacks={fallbacks!r} has nothing in it to fall back to. Give at least "
            "one step."
        )
    return cast("Sequence[Any]", fallbacks)
