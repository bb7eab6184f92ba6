"""Objects of people's classes, taken apart into their fields and put together again.

Putting together calls none of their code, neither `__init__` nor a validator: the fields are set as
they were. Only `__tta_decode__` is called, which a class has for this very purpose.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Callable
from enum import Enum, Flag
from functools import cached_property
from typing import Any, cast

from tta_notebook.storage.unfit import Unfit

BY_FIELDS = frozenset({"dataclass", "namedtuple", "pydantic"})
"""The tags of objects whose data are their fields by name."""

_PACKAGE = "tta_notebook"


def apart(value: Any, kind: type[Any]) -> tuple[str, str, Any] | None:
    """Return an object's tag, the name of its class and its data; None for one that has no way.

    Raises:
        Unfit: it has a way, but would not come back as it was.
    """
    tag = _tag(kind)
    if tag is None:
        return None
    return tag, _name_of(kind), _APART[tag](value)


def together(tag: str, name: str, data: Any) -> Any:
    """Return the object again.

    Raises:
        LookupError: there is no such class.
        TypeError: the class is not of that kind any more, or has other fields.
    """
    kind = _find(name)
    if not isinstance(kind, type) or _tag(cast("type[Any]", kind)) != tag:
        raise TypeError(f"{name} is no {tag} class any more")
    return _TOGETHER[tag](cast("type[Any]", kind), data)


def _tag(kind: type[Any]) -> str | None:
    if hasattr(kind, "__tta_encode__") and hasattr(kind, "__tta_decode__"):
        return "hook"
    if issubclass(kind, Enum):
        return "enum"
    if dataclasses.is_dataclass(kind):
        return "dataclass"
    if _is_named_tuple(kind):
        return "namedtuple"
    return "pydantic" if _is_model(kind) else None


def _is_named_tuple(kind: Any) -> bool:
    names = cast("dict[str, Any]", vars(kind)).get("_fields")
    return isinstance(names, tuple) and issubclass(kind, tuple)


def _is_model(kind: type[Any]) -> bool:
    base = getattr(
        sys.modules.get("pydantic"), "BaseModel", None
    )  # if nobody loaded it, it is none
    return base is not None and issubclass(kind, base)


# Names of classes


def _name_of(kind: type[Any]) -> str:
    name = f"{kind.__module__}:{kind.__qualname__}"
    try:
        found = _find(name)
    except LookupError:
        found = None
    if found is not kind:
        raise Unfit(
            f"its class {kind.__qualname__} cannot be found again in module {kind.__module__}: it "
            "was made inside a function, or has been defined anew since. Define it at the top of a "
            "module, and make the value from the newest definition."
        )
    return name


def _find(name: str) -> object:
    """Return what has that name, running nothing: no `__getattr__` of a module, no property."""
    module_name, _, qualname = name.partition(":")
    found: object = sys.modules.get(module_name)
    if found is None and _is_ours(module_name):
        found = importlib.import_module(module_name)
    if found is None:
        raise LookupError(f"module {module_name!r} is not loaded; import it first")
    for part in qualname.split("."):
        try:
            found = vars(found)[part]
        except (KeyError, TypeError):
            raise LookupError(f"there is no {qualname!r} in module {module_name!r}") from None
    return found


def _is_ours(module_name: str) -> bool:
    # __main__ would run the command line.
    return module_name.startswith(_PACKAGE + ".") and "__main__" not in module_name


# Kind by kind


def _enum_apart(member: Enum) -> Any:
    # Combinations of flags have no name of their own.
    name = member.name
    return [name] if name in type(member).__members__ else [None, member.value]


def _enum_together(kind: type[Any], data: list[Any]) -> Any:
    name, *value = data
    members = cast("dict[str, Enum]", vars(kind)["_member_map_"])
    if name is not None:
        return members[name]
    missing, of_flags = cast("Any", kind)._missing_, cast("Any", Flag)._missing_
    if missing.__func__ is not of_flags.__func__:  # code of the class's own, which would be called
        raise TypeError(f"{kind.__qualname__} has no such member")
    return kind(*value)


def _dataclass_apart(value: Any) -> dict[str, Any]:
    kind = cast("type[Any]", type(value))
    names = [field.name for field in dataclasses.fields(value)]
    extra = set(getattr(value, "__dict__", ())) - set(names)
    unknown = sorted(name for name in extra if not _is_cached(kind, name))
    missing = [name for name in names if not hasattr(value, name)]
    if unknown or missing:
        wrong = f"has {unknown[0]!r} beside" if unknown else f"lacks {missing[0]!r} of"
        raise Unfit(
            f"the {kind.__qualname__} {wrong} its fields, which would not come back. Keep to the "
            "fields, or give the class __tta_encode__ and __tta_decode__."
        )
    _check_plain(kind)
    return {name: getattr(value, name) for name in names}


def _is_cached(kind: type[Any], name: str) -> bool:
    return isinstance(getattr(kind, name, None), cached_property)


def _check_plain(kind: type[Any]) -> None:
    try:
        object.__new__(kind)
    except TypeError:
        raise Unfit(
            f"its class {kind.__qualname__} inherits from a builtin, whose own part would be lost. "
            "Give it __tta_encode__ and __tta_decode__."
        ) from None


def _dataclass_together(kind: type[Any], data: dict[str, Any]) -> Any:
    _check_fields(kind, data, [field.name for field in dataclasses.fields(kind)])
    value: Any = object.__new__(kind)
    for name, each in data.items():
        object.__setattr__(value, name, each)  # frozen ones, too
    return value


def _namedtuple_apart(value: Any) -> dict[str, Any]:
    names = cast("tuple[str, ...]", value._fields)
    return dict(zip(names, value, strict=True))


def _namedtuple_together(kind: type[Any], data: dict[str, Any]) -> Any:
    _check_fields(kind, data, kind._fields)
    # Not the class's own __new__.
    return cast("Any", tuple).__new__(kind, [data[name] for name in kind._fields])


# The four parts of a model's state, as pydantic itself pickles it.
_FIELDS, _SET, _EXTRA, _PRIVATE = (
    "__dict__",
    "__pydantic_fields_set__",
    "__pydantic_extra__",
    "__pydantic_private__",
)


def _model_apart(model: Any) -> dict[str, Any]:
    # Not model_dump: it would turn nested models into dicts and lose what subclasses add.
    state = cast("dict[str, Any]", sys.modules["pydantic"].BaseModel.__getstate__(model))
    fields = cast("Any", type(model)).model_fields
    kept = {name: value for name, value in state[_FIELDS].items() if name in fields}
    about = {_SET: state[_SET], _EXTRA: state[_EXTRA], _PRIVATE: state[_PRIVATE]}
    return {**kept, **{name: value for name, value in about.items() if value}}


def _model_together(kind: type[Any], data: dict[str, Any]) -> Any:
    about = {name: data.pop(name, None) for name in (_SET, _EXTRA, _PRIVATE)}
    _check_fields(kind, data, kind.model_fields)
    is_open = kind.model_config.get("extra") == "allow"
    state: dict[str, Any] = {
        _FIELDS: data,
        _SET: about[_SET] or set(),
        _EXTRA: about[_EXTRA] or ({} if is_open else None),
        _PRIVATE: about[_PRIVATE],
    }
    model: Any = object.__new__(kind)
    sys.modules["pydantic"].BaseModel.__setstate__(model, state)
    return model


def _check_fields(kind: type[Any], data: dict[str, Any], names: Any) -> None:
    if set(data) != set(names):
        raise TypeError(
            f"{kind.__qualname__} has the fields {sorted(names)} now and had {sorted(data)}"
        )


def _hook_apart(value: Any) -> Any:
    return value.__tta_encode__()


def _hook_together(kind: type[Any], data: Any) -> Any:
    return cast("Any", kind).__tta_decode__(data)


_APART: dict[str, Callable[[Any], Any]] = {
    "hook": _hook_apart,
    "enum": _enum_apart,
    "dataclass": _dataclass_apart,
    "namedtuple": _namedtuple_apart,
    "pydantic": _model_apart,
}
_TOGETHER: dict[str, Callable[[type[Any], Any], Any]] = {
    "hook": _hook_together,
    "enum": _enum_together,
    "dataclass": _dataclass_together,
    "namedtuple": _namedtuple_together,
    "pydantic": _model_together,
}
