"""The standard library's TypedDict, in a form that pydantic reads before Python 3.12."""

from __future__ import annotations

import sys
from types import UnionType
from typing import Any, NotRequired, Required, Union, cast, get_args, get_origin, get_type_hints


def readable(annotation: Any) -> Any:
    """Return `annotation` with every `typing.TypedDict` in it as one pydantic accepts.

    Before Python 3.12 the standard library's TypedDict does not tell which keys were required where
    it was inherited from, so pydantic refuses it. Keys are taken from the class as it stands.
    """
    if sys.version_info >= (3, 12):
        return annotation
    return _rebuilt(annotation)


def _rebuilt(annotation: Any) -> Any:
    if _is_of_typing(annotation):
        return _twin(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if not arguments or not any(_is_changed(argument) for argument in arguments):
        return annotation
    inner = tuple(map(_rebuilt, arguments))
    return Union[inner] if origin in (Union, UnionType) else origin[inner]  # noqa: UP007 - built from a tuple


def _is_changed(annotation: Any) -> bool:
    return _rebuilt(annotation) is not annotation


def _is_of_typing(annotation: Any) -> bool:
    return type(annotation).__name__ == "_TypedDictMeta" and type(annotation).__module__ == "typing"


def _twin(typed_dict: Any) -> Any:
    from typing_extensions import TypedDict  # noqa: PLC0415 - comes with pydantic

    fields = {
        key: (Required if key in typed_dict.__required_keys__ else NotRequired)[_rebuilt(hint)]
        for key, hint in get_type_hints(typed_dict).items()
    }
    make = cast("Any", TypedDict)
    return make(typed_dict.__name__, fields)
