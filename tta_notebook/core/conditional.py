"""One of two ways, by a condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, cast

from tta_notebook.core import chunks
from tta_notebook.core.calling import Call, prefixed_name
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.primitive import Chunks, TIn, TOut, WorkflowPrimitive


class ConditionalPrimitive(WorkflowPrimitive[TIn, TOut]):
    """Runs one primitive if a condition holds, else another.

    Args:
        condition: a function of `(x)` or `(x, ctx)`, sync or async.
        then_primitive: what runs when it holds.
        else_primitive: what runs when it does not; without one the input passes through, and the
            trace says so.
        name: by default the condition's name.

    >>> shorten = ConditionalPrimitive(lambda text: len(text) > 5, lambda text: text[:5] + "…")
    >>> shorten.run_sync("hello world"), shorten.run_sync("hello")
    ('hello…', 'hello')
    """

    kind: ClassVar[str] = "conditional"

    def __init__(
        self,
        condition: Callable[..., Any],
        then_primitive: Any,
        else_primitive: Any = None,
        *,
        name: str | None = None,
    ) -> None:
        from tta_notebook.core.algebra import as_primitive  # noqa: PLC0415 - it knows all primitives

        super().__init__(name=name, default_name=prefixed_name("if", condition))
        self._holds = Call(condition, "ConditionalPrimitive(condition=…)")
        self.then_primitive = as_primitive(then_primitive)
        self.else_primitive = None if else_primitive is None else as_primitive(else_primitive)

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return both ways."""
        ways = [("then", self.then_primitive), ("else", self.else_primitive)]
        return [(label, way) for label, way in ways if way is not None]

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Ask the condition, then run the chosen way."""
        way = await self._way(input_data, context)
        if way is None:
            return cast("TOut", input_data)
        return cast("TOut", await way.execute(input_data, context))

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        way = await self._way(input_data, context)
        passed = chunks.once(input_data) if way is None else way.stream(input_data, context)
        async with aclosing(passed) as pieces:
            async for chunk in pieces:
                yield chunk

    async def _way(
        self, input_data: Any, context: WorkflowContext
    ) -> WorkflowPrimitive[Any, Any] | None:
        holds = bool(await self._holds(input_data, context))
        way = self.then_primitive if holds else self.else_primitive
        context.note("condition", holds=holds)
        if way is None:
            context.note("passed_through")
        return way
