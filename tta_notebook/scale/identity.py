"""What the context of a run says, on its way to the runs of its items elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import TravelError
from tta_notebook.scale.packing import packed, travels

_MAPPINGS = ("metadata", "state", "tags", "baggage")


def packed_identity(context: WorkflowContext) -> bytes:
    """Return as bytes what contexts elsewhere are to say as this one does.

    Raises:
        TravelError: something in it cannot travel.
    """
    shared = context.shared
    identity: dict[str, Any] = {
        # One trace with what steps elsewhere tell to others, such as services that they call.
        "trace": (context.trace_id_hex, f"{context.span_id:016x}"),
        "workflow_id": shared.workflow_id,
        "session_id": shared.session_id,
        "correlation_id": context.correlation_id,
        **{name: _copied(getattr(shared, name)) for name in _MAPPINGS},
    }
    try:
        return packed(identity, "what the run's context says")
    except TravelError as error:
        raise _named(identity, error) from error.__cause__


def context_like(identity: Mapping[str, Any]) -> WorkflowContext:
    """Return a new context that says the same; what can be written to is the mappings' own."""
    said = dict(identity)
    trace = said.pop("trace")
    context = WorkflowContext(**said)
    context.shared.trace_id, context.shared.remote_parent = trace
    return context


def _copied(mapping: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if mapping is None else dict(mapping)


def _named(identity: Mapping[str, Any], error: TravelError) -> TravelError:
    """Return the error with the entry that it is about."""
    for name in _MAPPINGS:
        entries: Mapping[str, object] = identity[name] or {}
        for key, value in entries.items():
            if not travels(value):
                part = f"the run's {name}[{key!r}]"
                return TravelError(
                    f"{part} is a {type(value).__name__} that cannot travel to another process: "
                    f"{error.__cause__}. Let steps make it where they run, and keep plain values "
                    "in the context.",
                    part=part,
                )
    return error
