"""How things become compositions: coercion, and flattening that keeps `>>` and `|` associative."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from tta_notebook.core.errors import CompositionError
from tta_notebook.core.function import LambdaPrimitive
from tta_notebook.core.parallel import ParallelPrimitive
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.sequential import SequentialPrimitive


def as_primitive(thing: Any) -> WorkflowPrimitive[Any, Any]:
    """Return `thing` as a primitive.

    A primitive stays itself, a callable becomes a step, a list or tuple a parallel with a list as
    its result, a mapping a parallel with a dict.

    Raises:
        CompositionError: it is none of these.

    >>> as_primitive({"upper": str.upper, "length": len}).run_sync("four")
    {'upper': 'FOUR', 'length': 4}
    """
    if isinstance(thing, WorkflowPrimitive):
        return cast("WorkflowPrimitive[Any, Any]", thing)
    if isinstance(thing, (Mapping, list, tuple)):
        try:
            return ParallelPrimitive(cast("list[Any]", thing))
        except RecursionError:
            raise CompositionError(
                f"{thing!r} cannot be part of a workflow: it contains itself, so its branches have "
                "no end. Build a new list instead of adding a list to itself."
            ) from None
    if callable(thing) and not _is_primitive_class(thing):
        return LambdaPrimitive(thing)
    raise CompositionError(_refusal(thing))


def sequence(first: Any, then: Any) -> SequentialPrimitive[Any, Any]:
    """Return `first >> then`."""
    return SequentialPrimitive.joined(_steps(as_primitive(first)), _steps(as_primitive(then)))


def parallel(one: Any, other: Any) -> ParallelPrimitive[Any, Any]:
    """Return `one | other`."""
    return ParallelPrimitive([*_branches(as_primitive(one)), *_branches(as_primitive(other))])


def _steps(primitive: WorkflowPrimitive[Any, Any]) -> tuple[WorkflowPrimitive[Any, Any], ...]:
    if isinstance(primitive, SequentialPrimitive) and not primitive.is_named:
        return primitive.steps
    return (primitive,)


def _branches(primitive: WorkflowPrimitive[Any, Any]) -> tuple[WorkflowPrimitive[Any, Any], ...]:
    if isinstance(primitive, ParallelPrimitive) and primitive.is_plain:
        return primitive.branches
    return (primitive,)


def _is_primitive_class(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, WorkflowPrimitive)


def _refusal(thing: Any) -> str:
    return (
        f"{thing!r} cannot be part of a workflow: a {type(thing).__name__} is neither a primitive "
        "nor something to call. Give a primitive, a function of the input, a list of branches or a "
        "mapping of named branches."
    )
