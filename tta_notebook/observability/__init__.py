"""Watching runs beyond the run itself."""

from tta_notebook.observability.instrumented import InstrumentedPrimitive

__all__ = ["InstrumentedPrimitive"]
