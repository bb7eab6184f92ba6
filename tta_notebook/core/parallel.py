"""Several branches at once on the same input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast, overload

from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.fanout import checked_limit, checked_mode, fan_out
from tta_notebook.core.primitive import TIn, TOut, WorkflowPrimitive, joined_names


class ParallelPrimitive(WorkflowPrimitive[TIn, TOut]):
    """Branches that run at once on the same input; written `a | b`, `[a, b]` or `{"x": a, "y": b}`.

    The branches share the run's state as it is: what one writes, another may see. The first failure
    cancels the other branches, waits until they have cleaned up and is raised as it is.

    Args:
        primitives: the branches. A list gives a list in the same order, a mapping gives a dict.
        max_concurrency: how many run at once; all of them by default.
        mode: "fail_fast", or "collect": errors stand in their branches' places in the result.
        name: by default the branches' names.

    Raises:
        ConfigurationError: there is no branch, or an option means nothing.
        CompositionError: something is no branch.

    >>> ParallelPrimitive({"upper": str.upper, "length": len}).run_sync("four")
    {'upper': 'FOUR', 'length': 4}
    """

    kind: ClassVar[str] = "parallel"

    @overload
    def __init__(
        self: ParallelPrimitive[Any, dict[str, Any]],
        primitives: Mapping[str, Any],
        *,
        max_concurrency: int | None = ...,
        mode: str = ...,
        name: str | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: ParallelPrimitive[Any, list[Any]],
        primitives: Iterable[Any],
        *,
        max_concurrency: int | None = ...,
        mode: str = ...,
        name: str | None = ...,
    ) -> None: ...
    def __init__(
        self,
        primitives: Any,
        *,
        max_concurrency: int | None = None,
        mode: str = "fail_fast",
        name: str | None = None,
    ) -> None:
        from tta_notebook.core.algebra import as_primitive  # noqa: PLC0415 - it makes parallels

        keys: tuple[Any, ...] | None = None
        branches: Iterable[Any] = primitives
        if isinstance(primitives, Mapping):
            named = cast("Mapping[Any, Any]", primitives)
            keys, branches = tuple(named), named.values()
        self.keys = keys
        self.branches = tuple(as_primitive(thing) for thing in branches)
        super().__init__(name=name, default_name=joined_names(keys or self.branches, " | "))
        self.max_concurrency = checked_limit(max_concurrency, "ParallelPrimitive")
        self.mode = checked_mode(mode, "ParallelPrimitive")
        if not self.branches:
            raise ConfigurationError(
                f"ParallelPrimitive({primitives!r}): no branches were given, so there is nothing "
                "to run. Give at least one."
            )

    @property
    def is_plain(self) -> bool:
        """Whether nothing but its branches was stated: then `|` makes one flat parallel of it."""
        stated = (self.is_named, self.keys, self.max_concurrency, self.mode != "fail_fast")
        return not any(stated)

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return the branches with their keys."""
        keys = self.keys or ("",) * len(self.branches)
        return [(str(key), branch) for key, branch in zip(keys, self.branches, strict=True)]

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Run the branches; when this returns or raises, none is running any more."""
        results = await fan_out(
            (branch.execute(input_data, context) for branch in self.branches),
            limit=self.max_concurrency,
            mode=self.mode,
        )
        if self.keys is None:
            return cast("TOut", results)
        return cast("TOut", dict(zip(self.keys, results, strict=True)))

    def _stated_types(self) -> tuple[Any, Any]:
        return Any, list if self.keys is None else dict
