"""Conditions that may have to be awaited: of errors, and of results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tta_notebook.core.calling import Call
from tta_notebook.core.context import WorkflowContext
from tta_notebook.recovery.matching import checked_condition

Types = tuple[type[BaseException], ...]


class ErrorTest:
    """Tells whether an error is one of those that are meant.

    Args:
        owner: who asks ("RetryPrimitive").
        name: the argument's name.
        condition: an exception class, several, or a function of `(error)` or `(error, ctx)`, sync
            or async.

    Attributes:
        types: the classes; None where a function decides.
    """

    __slots__ = ("_call", "types")

    def __init__(self, owner: str, name: str, condition: Any) -> None:
        checked = checked_condition(owner, name, condition)
        self.types: Types | None = None
        self._call: Call | None = None
        if isinstance(checked, tuple):
            self.types = checked
        elif isinstance(checked, type):
            self.types = (checked,)
        else:
            self._call = Call(checked, f"{owner}({name}=…)")

    def names(self, cls: type[BaseException]) -> bool:
        """Tell whether `cls` itself is named, and not just a class above it."""
        return any(issubclass(one, cls) for one in self.types or ())

    async def holds(self, error: BaseException, context: WorkflowContext) -> bool:
        """Tell whether `error` is meant."""
        if self._call is None:
            return isinstance(error, self.types or ())
        return bool(await self._call(error, context))


def result_test(owner: str, name: str, predicate: Callable[..., Any] | None) -> Call | None:
    """Return a function of `(result)` or `(result, ctx)` as it is called; None for none."""
    return None if predicate is None else Call(predicate, f"{owner}({name}=…)")
