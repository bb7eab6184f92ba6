"""One of two ways, by a condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

from tta_notebook.core.calling import Call, prefixed_name
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.primitive import TIn, TOut, WorkflowPrimitive


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
        from tta_notebook.core.algebra import as_primitive

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
        holds = bool(await self._holds(input_data, context))
        chosen = self.then_primitive if holds else self.else_primitive
        context.note("condition", holds=holds)
        if chosen is None:
            context.note("passed_through")
            return cast("TOut", input_data)
        return cast("TOut", await chosen.execute(input_data, context))
