"""Turning what has to travel into bytes, and saying which part of it cannot."""

from __future__ import annotations

import pickle
from typing import Any

from tta_notebook.core.errors import ConfigurationError, TravelError
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.travel import Trip, travelling
from tta_notebook.scale.pickling import dumps


def packed_workflow(primitive: WorkflowPrimitive[Any, Any], rest: object, trip: Trip) -> bytes:
    """Return a workflow as bytes, with what comes beside it.

    Args:
        primitive: the workflow; functions and classes of a notebook travel with their code.
        rest: what its runs need beside it.
        trip: where it goes.

    Raises:
        TravelError: some part of it cannot travel.
    """
    with travelling(trip):
        try:
            return dumps((primitive, rest))
        except Exception as error:
            raise _cannot_travel(primitive, error) from error


def packed(value: object, what: str) -> bytes:
    """Return a value as bytes.

    Args:
        value: anything.
        what: what it is, for the error.

    Raises:
        TravelError: it cannot travel.
    """
    try:
        return dumps(value)
    except ConfigurationError:
        raise
    except Exception as error:
        raise TravelError(
            f"{what} is a {type(value).__name__} that cannot travel to another process: "
            f"{said(error)}. Give plain values: texts, numbers, lists, mappings, dataclasses.",
            part=what,
        ) from error


def unpacked(data: bytes) -> Any:
    """Return what was packed."""
    return pickle.loads(data)  # noqa: S301 - from the user's own cluster, which runs their code anyway


def travels(value: object) -> bool:
    """Tell whether a value can be packed and read again."""
    try:
        unpacked(dumps(value))
    except Exception:  # noqa: BLE001 - the answer is that it cannot
        return False
    return True


def said(error: BaseException) -> str:
    """Return an error in words, within a sentence, also one that fails to say what it is."""
    try:
        return f"{type(error).__name__}: {error}".rstrip(".")
    except Exception:  # noqa: BLE001 - a class of someone's; its name is what there is
        return type(error).__name__


def _cannot_travel(primitive: WorkflowPrimitive[Any, Any], error: Exception) -> Exception:
    if isinstance(error, ConfigurationError):
        return error
    part = _culprit(primitive)
    if part is None:
        where = f"what stands over the run of {primitive.name!r}"
    else:
        where = f"the step {part.name!r} ({type(part).__name__}) of {primitive.name!r}"
    return TravelError(
        f"{where} cannot travel to another process: {said(error)}. Let the step make what cannot "
        "travel (a client, a connection, a lock) when it is first called there, or run the "
        "workflow here, without executor=….",
        part=where,
    )


def _culprit(
    primitive: WorkflowPrimitive[Any, Any], seen: frozenset[int] = frozenset()
) -> WorkflowPrimitive[Any, Any] | None:
    """Return the innermost step that cannot travel."""
    if id(primitive) in seen or _can_leave(primitive):
        return None
    for _, part in primitive.parts():
        if (found := _culprit(part, seen | {id(primitive)})) is not None:
            return found
    return primitive


def _can_leave(primitive: WorkflowPrimitive[Any, Any]) -> bool:
    try:
        dumps(primitive)
    except Exception:  # noqa: BLE001 - the answer is that it cannot
        return False
    return True
