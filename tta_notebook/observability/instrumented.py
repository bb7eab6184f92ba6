"""The base class of primitives that override `_execute_impl`."""

from __future__ import annotations

from typing import Any, cast

from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import CompositionError
from tta_notebook.core.primitive import TIn, TOut, WorkflowPrimitive


class InstrumentedPrimitive(WorkflowPrimitive[TIn, TOut]):
    """A primitive whose work is in `_execute_impl`.

    Every primitive is observed; this is the same mechanism for classes written in that form.

    >>> class Shout(InstrumentedPrimitive[str, str]):
    ...     def __init__(self):
    ...         super().__init__(name="shout")
    ...     async def _execute_impl(self, input_data, context):
    ...         return input_data.upper()
    >>> Shout().run_sync("hello")
    'HELLO'
    """

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Do what `_execute_impl` says."""
        return cast("TOut", await self._execute_impl(input_data, context))

    async def _execute_impl(self, input_data: Any, context: WorkflowContext) -> Any:  # noqa: ARG002 - for overrides
        """Do the work; override this."""
        raise CompositionError(
            f"{type(self).__name__}._execute_impl(): the class does not say what it does, so it "
            "cannot run. Override `async def _execute_impl(self, input_data, context)`."
        )
