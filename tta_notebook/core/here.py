"""Where in a workflow the code that runs is."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tta_notebook.core.context import WorkflowContext
    from tta_notebook.core.events import Span

# Where execution is: a context, or the span of a step whose context nobody has asked for yet.
# Making one for every step would be an eighth of what a traced step costs.
here: ContextVar[WorkflowContext | Span | None] = ContextVar("tta_notebook.here", default=None)

# Bound once: asked of an imported name, CPython 3.11 makes the bound method anew for each call.
current, make_current = here.get, here.set


class Active:
    """Makes a context the current one inside a `with` block.

    Written out: an error that cannot be changed does not pass through contextlib's generators.
    """

    __slots__ = ("_context", "_previous")

    def __init__(self, context: WorkflowContext) -> None:
        self._context = context

    def __enter__(self) -> WorkflowContext:
        self._previous = current()
        make_current(self._context)
        return self._context

    def __exit__(self, *_: object) -> None:
        # By value, not by token: a stream may be closed from another context than it began in.
        make_current(self._previous)
