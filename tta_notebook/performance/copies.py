"""Copies that are safe to hand out, and no copy where none is needed."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

from tta_notebook.core.canonical import class_of
from tta_notebook.core.events import StreamChunk

_IMMUTABLE: frozenset[type] = frozenset(
    {str, int, float, bool, bytes, complex, type(None), type(...), range}
)


def copied(value: Any) -> Any:
    """Return a copy that shares nothing that can change with `value`.

    What cannot change is returned as it is: texts, numbers, tuples and frozen dataclasses of such,
    and objects that are their own deep copies. Lists and dicts of these are copied several times
    faster than by `copy.deepcopy`, which does the rest.

    Raises:
        Exception: what copying it raises; a file or a generator cannot be copied.

    >>> answer = {"tags": ["a"], "text": "b"}
    >>> other = copied(answer)
    >>> other == answer, other["tags"] is answer["tags"], copied("text") is copied("text")
    (True, False, True)
    """
    try:
        return _copied(value)
    except RecursionError:
        return copy.deepcopy(value)  # it may hold itself: deepcopy remembers what it has met


def _copied(value: Any) -> Any:
    kind = class_of(value)
    if kind in _IMMUTABLE:
        return value
    copier = _BY_TYPE.get(kind)
    return _other(value) if copier is None else copier(value)


def _list(value: list[Any]) -> list[Any]:
    return [item if type(item) in _IMMUTABLE else _copied(item) for item in value]


def _dict(value: dict[Any, Any]) -> dict[Any, Any]:
    return {
        (key if type(key) in _IMMUTABLE else _copied(key)): (
            item if type(item) in _IMMUTABLE else _copied(item)
        )
        for key, item in value.items()
    }


def _tuple(value: tuple[Any, ...]) -> tuple[Any, ...]:
    items = tuple(_copied(item) for item in value)
    is_same = all(new is old for new, old in zip(items, value, strict=True))
    return value if is_same else items


def _chunk(chunk: StreamChunk) -> StreamChunk:
    content, metadata = _copied(chunk.content), chunk.metadata
    if content is chunk.content and not metadata:
        return chunk
    return dataclasses.replace(chunk, content=content, metadata=_copied(metadata))


_BY_TYPE: dict[type, Callable[[Any], Any]] = {
    list: _list,
    dict: _dict,
    tuple: _tuple,
    StreamChunk: _chunk,
}


def _other(value: Any) -> Any:
    cls = class_of(value)
    own = getattr(cls, "__deepcopy__", None)
    if own is not None:
        return own(value, {})
    if _is_frozen(cls) and all(
        (held := getattr(value, field.name)) is _copied(held) for field in dataclasses.fields(cls)
    ):
        return value
    return copy.deepcopy(value)


def _is_frozen(cls: type[Any]) -> bool:
    parameters = getattr(cls, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        return False
    # One without slots may hold more than its fields say; a subclass is no dataclass by itself.
    return "__dataclass_params__" in cls.__dict__
