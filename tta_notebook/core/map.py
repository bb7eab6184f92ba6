"""One primitive for every item of a collection."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import Any, ClassVar, cast

from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import CompositionError
from tta_notebook.core.fanout import DEFAULT_LIMIT, Work, checked_limit, checked_mode, fan_out
from tta_notebook.core.primitive import WorkflowPrimitive


class MapPrimitive(WorkflowPrimitive[Any, list[Any]]):
    """Runs a primitive for every item of its input and gives the results in the same order.

    Args:
        primitive: what runs for each item; whatever `>>` takes.
        max_concurrency: how many run at once; items are pulled as places become free.
        mode: "fail_fast", or "collect": errors stand in their items' places.
        name: by default made of the primitive's name.

    >>> MapPrimitive(len).run_sync(["a", "bb", "ccc"])
    [1, 2, 3]
    """

    kind: ClassVar[str] = "map"

    def __init__(
        self,
        primitive: Any,
        *,
        max_concurrency: int | None = DEFAULT_LIMIT,
        mode: str = "fail_fast",
        name: str | None = None,
    ) -> None:
        from tta_notebook.core.algebra import as_primitive  # noqa: PLC0415 - it knows all primitives

        self.primitive = as_primitive(primitive)
        super().__init__(name=name, default_name=f"map {self.primitive.name}")
        self.max_concurrency = checked_limit(max_concurrency, "MapPrimitive")
        self.mode = checked_mode(mode, "MapPrimitive")

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return the primitive."""
        return [("each", self.primitive)]

    async def execute(self, input_data: Any, context: WorkflowContext = HERE) -> list[Any]:
        """Run for every item; when this returns or raises, nothing is running any more.

        Raises:
            CompositionError: the input cannot be iterated.
        """
        work = self._work(input_data, context)
        return await fan_out(work, limit=self.max_concurrency, mode=self.mode)

    def _work(self, items: Any, context: WorkflowContext) -> Iterable[Work] | AsyncIterable[Work]:
        if isinstance(items, AsyncIterable):
            return self._work_of_stream(cast("AsyncIterable[Any]", items), context)
        if isinstance(items, Iterable) and not isinstance(items, (str, bytes)):
            each = cast("Iterable[Any]", items)
            return (self.primitive.execute(item, context) for item in each)
        raise CompositionError(
            f"{self.name!r}: got {type(items).__name__} {str(items)[:80]!r}, which is one value, "
            "not a collection of items. Give a list, any iterable or an async iterable."
        )

    async def _work_of_stream(
        self, items: AsyncIterable[Any], context: WorkflowContext
    ) -> AsyncIterator[Work]:
        async for item in items:
            yield self.primitive.execute(item, context)
