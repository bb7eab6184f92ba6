"""Watching runs beyond the run itself."""

from typing import TYPE_CHECKING, Any

from tta_notebook.observability.instrumented import InstrumentedPrimitive

if TYPE_CHECKING:
    from tta_notebook.observability.history import (
        History,
        RecordedEvent,
        RecordedRun,
        RecordedSpan,
    )

__all__ = ["History", "InstrumentedPrimitive", "RecordedEvent", "RecordedRun", "RecordedSpan"]


def __getattr__(name: str) -> Any:
    # Loaded when first used: a class with an _execute_impl needs no database.
    if name in __all__:
        from tta_notebook.observability import history  # noqa: PLC0415 - the point of it

        return getattr(history, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
