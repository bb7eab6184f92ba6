"""One of many ways, by a selected value."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, cast

from tta_notebook.core.calling import Call, prefixed_name
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import ConfigurationError, Names, RouteError
from tta_notebook.core.primitive import Chunks, TIn, TOut, WorkflowPrimitive


class SwitchPrimitive(WorkflowPrimitive[TIn, TOut]):
    """Runs the primitive that belongs to the value which a selector gives.

    Args:
        selector: a function of `(x)` or `(x, ctx)`, sync or async.
        cases: a primitive for each value.
        default: what runs for any other value; without one, any other is a RouteError.
        name: by default the selector's name.

    >>> by_type = SwitchPrimitive(type, {str: str.upper, int: lambda n: n + 1})
    >>> by_type.run_sync("a"), by_type.run_sync(1)
    ('A', 2)
    """

    kind: ClassVar[str] = "switch"

    def __init__(
        self,
        selector: Callable[..., Any],
        cases: Mapping[Any, Any],
        default: Any = None,
        *,
        name: str | None = None,
    ) -> None:
        from tta_notebook.core.algebra import as_primitive  # noqa: PLC0415 - it knows all primitives

        super().__init__(name=name, default_name=prefixed_name("switch", selector))
        if not cases:
            raise ConfigurationError(
                "SwitchPrimitive(cases={}): there is nothing to choose from. Give at least one."
            )
        self._select = Call(selector, "SwitchPrimitive(selector=…)")
        self.cases = {value: as_primitive(case) for value, case in cases.items()}
        self.default = None if default is None else as_primitive(default)

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return the cases, and the default last."""
        ways = [(str(value), case) for value, case in self.cases.items()]
        return ways if self.default is None else [*ways, ("default", self.default)]

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Select, then run the case.

        Raises:
            RouteError: the selector gave a value without a case, and there is no default.
        """
        case = await self._case(input_data, context)
        return cast("TOut", await case.execute(input_data, context))

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        case = await self._case(input_data, context)
        async with aclosing(case.stream(input_data, context)) as pieces:
            async for chunk in pieces:
                yield chunk

    async def _case(self, input_data: Any, context: WorkflowContext) -> WorkflowPrimitive[Any, Any]:
        value = await self._select(input_data, context)
        case = self.cases.get(value, self.default) if isinstance(value, Hashable) else self.default
        context.note("switch", value=value, is_default=case is self.default)
        if case is None:
            raise RouteError(
                f"SwitchPrimitive {self.name!r}: the selector gave {value!r}; cases are "
                f"{Names(self.cases).instead_of(value)}. Add a case for it or pass default=….",
                route=value,
                routes=self.cases,
            )
        return case
