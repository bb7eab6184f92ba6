"""Whether what one step gives can be what the next one takes, by their annotations.

Only a pair that can never meet is refused. Whatever leaves a doubt passes: Any, TypeVars,
Protocols, unions that overlap, subclasses in either direction, int where a float is wanted.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Awaitable, Callable
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NewType,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

if TYPE_CHECKING:
    from tta_notebook.core.primitive import WorkflowPrimitive

UNKNOWN: Any = Any


def signature_types(function: Callable[..., Any]) -> tuple[Any, Any]:
    """Return the types of a function's first parameter and its result, UNKNOWN where not said."""
    return _stated(function, 0)


def _stated(function: Callable[..., Any], position: int) -> tuple[Any, Any]:
    try:
        hints = get_type_hints(function, include_extras=False)
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError, NameError, AttributeError):
        # No signature (a builtin), or names that mean nothing yet: then nothing is said.
        return UNKNOWN, UNKNOWN
    first = parameters[position : position + 1]
    takes = hints.get(first[0].name, UNKNOWN) if first else UNKNOWN
    return takes, hints.get("return", UNKNOWN)


def method_types(method: Callable[..., Any]) -> tuple[Any, Any]:
    """Return the same for a method: its first parameter after `self`."""
    return _stated(method, 1)


def class_types(cls: type[Any], base: type[Any]) -> tuple[Any, Any]:
    """Return the types a primitive's class states as `WorkflowPrimitive[TIn, TOut]`."""
    for parent in cls.__mro__:
        for generic in parent.__dict__.get("__orig_bases__", ()):
            origin = get_origin(generic)
            if isinstance(origin, type) and issubclass(origin, base):
                arguments = get_args(generic)
                if len(arguments) == 2:  # noqa: PLR2004 - what it takes and what it gives
                    return arguments
    return UNKNOWN, UNKNOWN


def awaited(annotation: Any) -> Any:
    """Return what awaiting a value of this type gives; the type itself where it is no awaitable."""
    origin = get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, Awaitable):
        return get_args(annotation)[-1]
    return annotation


def mismatch(
    before: WorkflowPrimitive[Any, Any], after: WorkflowPrimitive[Any, Any]
) -> tuple[Any, Any] | None:
    """Return what `before` gives and what `after` takes when these can never meet, else None."""
    gives, takes = before.output_type, after.input_type
    return None if can_meet(gives, takes) else (gives, takes)


def type_name(annotation: Any) -> str:
    """Return an annotation as people write it."""
    if isinstance(annotation, type) and not get_args(annotation):
        return "None" if annotation is type(None) else annotation.__name__
    return re.sub(r"\w+\.(?=\w)", "", str(annotation))  # without the modules


def can_meet(gives: Any, takes: Any) -> bool:
    """Tell whether some value of type `gives` may also be of type `takes`."""
    gives, takes = _plain(gives), _plain(takes)
    if _is_open(gives) or _is_open(takes):
        return True
    for one, other, is_swapped in ((gives, takes, False), (takes, gives, True)):
        if _is_union(one):
            members = get_args(one)
            return any(
                can_meet(other, member) if is_swapped else can_meet(member, other)
                for member in members
            )
    return _classes_meet(gives, takes)


def _plain(annotation: Any) -> Any:
    """Return the class or generic behind the ways of dressing it up."""
    if annotation is None:
        return type(None)
    if isinstance(annotation, NewType):
        return _plain(annotation.__supertype__)
    origin = get_origin(annotation)
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    if origin is Literal:
        values: tuple[object, ...] = get_args(annotation)
        types_of_values = cast("tuple[Any, ...]", tuple(map(type, values)))
        return _plain(Union[types_of_values])  # noqa: UP007 - built from a tuple
    if is_typeddict(annotation):
        return dict
    return _plain(annotation.__value__) if hasattr(annotation, "__value__") else annotation


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _is_open(annotation: Any) -> bool:
    """Tell whether an annotation leaves open what it stands for."""
    if annotation in (Any, object, inspect.Parameter.empty) or isinstance(annotation, TypeVar):
        return True
    if _is_union(annotation):
        return False
    cls = get_origin(annotation) or annotation
    return not isinstance(cls, type) or getattr(cls, "_is_protocol", False)


def _classes_meet(gives: Any, takes: Any) -> bool:
    one, other = get_origin(gives) or gives, get_origin(takes) or takes
    if _is_number_for(one, other):
        return True
    if not (issubclass(one, other) or issubclass(other, one)):
        return False
    mine, theirs = get_args(gives), get_args(takes)
    if one is not other or len(mine) != len(theirs) or one is tuple or ... in (*mine, *theirs):
        return True
    return all(can_meet(a, b) for a, b in zip(mine, theirs, strict=True))


def _is_number_for(one: type[Any], other: type[Any]) -> bool:
    tower = (int, float, complex)
    return one in tower and other in tower and tower.index(one) <= tower.index(other)
