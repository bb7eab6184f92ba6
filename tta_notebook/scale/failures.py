"""Errors on their way to another process: where they were raised, and what is left of them."""

from __future__ import annotations

import asyncio
import traceback

from tta_notebook.core.errors import WorkflowError
from tta_notebook.scale.packing import said, travels

# Of a traceback: the innermost say where it was raised; one error raised again and again grows.
_MOST_FRAMES = 20
_RAISED = "Raised on the worker"


def tell_where(error: BaseException, where: str) -> None:
    """Note where an error was raised, with its traceback and its causes, which cannot travel.

    Args:
        error: any; one that has such a note is left alone.
        where: the worker's name.
    """
    if error.__traceback__ is None or _is_told(error):
        return
    lines = traceback.format_tb(error.__traceback__, limit=-_MOST_FRAMES)
    error.add_note(f"{_RAISED} {where}:\n{''.join(lines).rstrip()}")
    if (cause := error.__cause__) is not None:
        error.add_note(f"It was caused there by {said(cause)}")


def _is_told(error: BaseException) -> bool:
    return any(str(note).startswith(_RAISED) for note in getattr(error, "__notes__", ()))


def able_to_travel(error: BaseException) -> BaseException:
    """Return an error, or one of the same words where it cannot travel itself."""
    if travels(error):
        return error
    stops = isinstance(error, asyncio.CancelledError)
    words = asyncio.CancelledError(said(error)) if stops else WorkflowError(said(error))
    for note in getattr(error, "__notes__", ()):
        words.add_note(str(note))
    return words
