"""What kind of thing a version is asked of, and what state it has."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Iterable
from typing import Any, cast

from tta_notebook.core import packages
from tta_notebook.core.calling import Call
from tta_notebook.core.canonical import class_of
from tta_notebook.core.places import MISSING
from tta_notebook.core.primitive import WorkflowPrimitive

LRU_CACHED: type[Any] = type(functools.lru_cache(int))

NATIVE: tuple[type[Any], ...] = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)

ATOMS: frozenset[type] = frozenset({str, int, float, bool, bytes, complex, type(None), type(...)})

# A step's name is for people, and a key opens the same model as another one.
_NO_STATE = frozenset({"is_named", "_api_key"})

_CODE = (
    types.FunctionType,
    types.MethodType,
    functools.partial,
    LRU_CACHED,
    functools.cached_property,
    staticmethod,
    classmethod,
    property,
    Call,
    WorkflowPrimitive,
    *NATIVE,
)


def is_code(value: object) -> bool:
    """Tell whether a value is something that runs."""
    return isinstance(value, _CODE)


def is_immutable(value: object) -> bool:
    """Tell whether a value stays as it is, apart from what it refers to by name."""
    return type(value) in ATOMS or isinstance(
        value,
        (
            types.FunctionType,
            types.ModuleType,
            type,
            WorkflowPrimitive,
            *NATIVE,
            staticmethod,
            classmethod,
            property,
            functools.cached_property,
            LRU_CACHED,
            Call,
        ),
    )


def holds_code(value: object) -> bool:
    """Tell whether a value is something that runs, or holds such things."""
    if isinstance(value, dict):
        value = tuple(cast("dict[Any, Any]", value).values())
    if isinstance(value, tuple | list):
        return any(is_code(item) for item in cast("Iterable[object]", value))
    return is_code(value)


@functools.cache
def _arguments(cls: type[Any]) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(cls).parameters)
    except (TypeError, ValueError):
        return frozenset()


def is_argument(cls: type[Any], name: str) -> bool:
    """Tell whether an attribute is called like an argument of the constructor."""
    return name.lstrip("_") in _arguments(cast("Any", cls))


def is_machinery(attribute: object) -> bool:
    """Tell whether nothing of the user's is in it: a lock, a clock, random numbers."""
    if isinstance(attribute, types.MethodType):
        attribute = attribute.__func__
    if isinstance(attribute, types.FunctionType):
        return packages.release_of_function(attribute) is not None and not attribute.__closure__
    is_ours = packages.release_of_class(class_of(attribute)) is not None
    return is_ours and (isinstance(attribute, NATIVE) or not holds_code(attribute))


def is_label(owner: object, attribute: object) -> bool:
    """Tell whether an attribute says which of its kind an object of ours is, as a model's name.

    Texts do; numbers count what has happened, and a step's texts are for people.
    """
    return isinstance(attribute, str) and not isinstance(owner, WorkflowPrimitive)


def state_of(value: Any) -> list[tuple[str, Any, Any]]:
    """Return an object's attributes as (name, what to read it from, value), by name.

    Names of steps, keys and what is worked out once are left out.
    """
    cls = class_of(value)
    found: list[tuple[str, Any, Any]] = [
        (name, vars(value), held) for name, held in getattr(value, "__dict__", {}).items()
    ]
    for base in cls.__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            held = getattr(value, name, MISSING)
            if name not in ("__dict__", "__weakref__") and held is not MISSING:
                found.append((name, _Slotted(value), held))
    return sorted((each for each in found if _counts(cls, each[0])), key=lambda each: each[0])


def _counts(cls: type[Any], name: str) -> bool:
    if name in _NO_STATE or (name == "name" and issubclass(cls, WorkflowPrimitive)):
        return False
    # What is worked out once, and kept, says nothing new.
    return not isinstance(inspect.getattr_static(cls, name, None), functools.cached_property)


class _Slotted:
    """An object whose attributes stand in slots, read like a mapping."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def get(self, name: str, default: Any) -> Any:
        return getattr(self._value, name, default)
