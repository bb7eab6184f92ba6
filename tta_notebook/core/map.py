"""One primitive for every item of a collection."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import Any, ClassVar, cast

from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import CompositionError, ConfigurationError
from tta_notebook.core.fanout import DEFAULT_LIMIT, Work, checked_limit, checked_mode, fan_out
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.protocols import Executor


class MapPrimitive(WorkflowPrimitive[Any, list[Any]]):
    """Runs a primitive for every item of its input and gives the results in the same order.

    Args:
        primitive: what runs for each item; whatever `>>` takes.
        max_concurrency: how many run at once; items are pulled as places become free.
        mode: "fail_fast", or "collect": errors stand in their items' places.
        executor: where they run: a `Cluster`, say; by default here. It is no part of the version:
            the same code gives the same answers anywhere.
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
        executor: Executor | None = None,
        name: str | None = None,
    ) -> None:
        from tta_notebook.core.algebra import as_primitive  # noqa: PLC0415 - it knows all primitives

        self.primitive = as_primitive(primitive)
        super().__init__(name=name, default_name=f"map {self.primitive.name}")
        self.max_concurrency = checked_limit(max_concurrency, "MapPrimitive")
        self.mode = checked_mode(mode, "MapPrimitive")
        if executor is not None and not callable(getattr(executor, "run_all", None)):
            raise ConfigurationError(
                f"MapPrimitive: executor={executor!r} is a {type(executor).__name__}, which cannot "
                "run a workflow for items. Give a Cluster, or leave it out to run here."
            )
        # Not under the argument's name, which would make it a part of the version.
        self._runs_on = executor

    @property
    def executor(self) -> Executor | None:
        """Where it runs; None for here."""
        return self._runs_on

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return the primitive."""
        return [("each", self.primitive)]

    async def execute(self, input_data: Any, context: WorkflowContext = HERE) -> list[Any]:
        """Run for every item; when this returns or raises, nothing is running any more.

        Raises:
            CompositionError: the input cannot be iterated.
        """
        if self._runs_on is not None:
            return await self._runs_on.run_all(
                self.primitive,
                self._items(input_data),
                context,
                max_concurrency=self.max_concurrency,
                mode=self.mode,
            )
        work = self._work(self._items(input_data), context)
        return await fan_out(work, limit=self.max_concurrency, mode=self.mode)

    def _work(
        self, items: Iterable[Any] | AsyncIterable[Any], context: WorkflowContext
    ) -> Iterable[Work] | AsyncIterable[Work]:
        if isinstance(items, AsyncIterable):
            return self._work_of_stream(items, context)
        return (self.primitive.execute(item, context) for item in items)

    def _items(self, given: Any) -> Iterable[Any] | AsyncIterable[Any]:
        if isinstance(given, AsyncIterable | Iterable) and not isinstance(given, str | bytes):
            return cast("Iterable[Any] | AsyncIterable[Any]", given)
        raise CompositionError(
            f"{self.name!r}: got {type(given).__name__} {str(given)[:80]!r}, which is one value, "
            "not a collection of items. Give a list, any iterable or an async iterable."
        )

    async def _work_of_stream(
        self, items: AsyncIterable[Any], context: WorkflowContext
    ) -> AsyncIterator[Work]:
        async for item in items:
            yield self.primitive.execute(item, context)
