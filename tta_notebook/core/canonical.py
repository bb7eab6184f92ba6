"""Plain values as bytes: equal values give equal bytes, different ones different bytes.

Every value becomes a tag, a length or count, and its content, so that no two values share an
encoding and nothing in a value can pass for its neighbour. The bytes are the same in every process
and on every version of Python.

- Mappings and sets have no order. Lists, tuples, mappings and sets are told apart, and so are 1,
  1.0, True, "1" and b"1", and 0.0 and -0.0 (a step can tell them, too). All NaNs are one value.
- Enum members, dataclasses (the fields that take part in `==`), attrs classes, named tuples,
  pydantic models (without the fields they exclude) and subclasses of the types below count by the
  full name of their class and their content: a step may do with a subclass of `str` what it does
  not do with a `str`.
- A class may say what its instances count by: `__tta_key__(self)` returns a plain value.
- Numbers, texts, bytes, dates, times, `Decimal`, `Fraction`, `UUID`, paths, ranges, patterns, and
  numpy's arrays and scalars are plain. Functions, clients, open files are not.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import fractions
import pathlib
import re
import sys
import uuid
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum, Flag
from hashlib import blake2b
from struct import Struct
from typing import Any, cast

from tta_notebook.core.errors import CacheKeyError

DIGEST_BYTES = 20
MAX_DEPTH = 100

_TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"

# type(), with a result that type checkers know; calling it costs nothing more.
class_of: Callable[[object], type[Any]] = type

_float_bytes = Struct(">d").pack


def digest(value: object, *, root: str = "input") -> str:
    """Return a hash of `value`: 40 hexadecimal digits.

    Args:
        value: a plain value.
        root: what errors call it.

    Raises:
        CacheKeyError: it holds something that is not plain; `path` says where.

    >>> digest({"a": 1, "b": [2.0]}) == digest({"b": [2.0], "a": 1})
    True
    >>> digest({"messages": [{"client": print}]})
    Traceback (most recent call last):
    tta_notebook.core.errors.CacheKeyError: input['messages'][0]['client'] is <built-in function \
print>, of which no key can be made: a builtin_function_or_method is no plain value. Leave it out, \
give a key_fn, or give its class a __tta_key__() that returns a plain value.
    """
    return blake2b(encode(value, root=root), digest_size=DIGEST_BYTES).hexdigest()


def encode(value: object, *, root: str = "input") -> bytes:
    r"""Return the canonical bytes of `value`.

    No value's bytes begin with all of another's, so that what stands one after the other can be
    told apart without a separator.

    Raises:
        CacheKeyError: it holds something that is not plain; `path` says where.

    >>> encode("é"), encode(7), encode([7])
    (b's2:\xc3\xa9', b'i7;', b'l1:i7;')
    """
    if type(value) is str:
        return _str(value, 0)
    try:
        return _encoded(value, 0)
    except _NotPlainError as found:
        raise found.as_key_error(root) from found.__cause__
    except RecursionError:
        raise _NotPlainError(value, _TOO_DEEP).as_key_error(root) from None


class _NotPlainError(Exception):
    """Something of which no bytes can be made; the way to it is put together on the way up."""

    def __init__(self, value: object, reason: str) -> None:
        super().__init__(reason)
        self.value = value
        self.reason = reason
        self._steps: list[str] = []
        self._around: list[object] = []

    def inside(self, step: str, container: object) -> None:
        self._steps.insert(0, step)
        self._around.insert(0, container)

    def as_key_error(self, root: str) -> CacheKeyError:
        steps, reason, value = self._steps, self.reason, self.value
        if reason is _TOO_DEEP:
            # Only now is it worth asking whether it is deep or goes round in a circle.
            seen: dict[int, int] = {}
            for place, container in enumerate([*self._around, value]):
                if seen.setdefault(id(container), place) != place:
                    steps, reason, value = steps[:place], "it holds itself", container
                    break
        path = root + "".join(steps[:12]) + ("…" if len(steps) > 12 else "")  # noqa: PLR2004 - enough to find it
        return CacheKeyError(
            f"{path} is {_shown(value)}, of which no key can be made: {reason}. Leave it out, give "
            "a key_fn, or give its class a __tta_key__() that returns a plain value.",
            path=path,
        )


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a repr() of someone's class may raise anything
        return f"an instance of {type(value).__name__}"
    return text if len(text) <= 80 else text[:79] + "…"  # noqa: PLR2004 - one line of a message


def _encoded(value: Any, depth: int) -> bytes:
    encoder = _BY_TYPE.get(class_of(value))
    return _other(value, depth) if encoder is None else encoder(value, depth)


# Of the types themselves


def _str(value: str, _: int) -> bytes:
    # Lone surrogates are no UTF-8, yet texts may hold them.
    data = value.encode("utf-8", "surrogatepass")
    return b"s%d:%b" % (len(data), data)


def _bytes(value: bytes, _: int) -> bytes:
    return b"b%d:%b" % (len(value), value)


def _int(value: int, _: int) -> bytes:
    # In hexadecimal: Python refuses to write numbers of many decimal digits.
    return b"i%x;" % value


def _float(value: float, _: int) -> bytes:
    return b"f" + _float_bytes(value) if value == value else b"n"  # noqa: PLR0124 - NaN is not


def _list(value: list[Any], depth: int) -> bytes:
    return b"l%d:" % len(value) + _items(value, value, depth)


def _tuple(value: tuple[Any, ...], depth: int) -> bytes:
    return b"t%d:" % len(value) + _items(value, value, depth)


def _items(values: list[Any] | tuple[Any, ...], container: object, depth: int) -> bytes:
    if depth >= MAX_DEPTH:
        raise _NotPlainError(container, _TOO_DEEP)
    index = 0
    parts: list[bytes] = []
    try:
        for index, item in enumerate(values):  # noqa: B007 - told to the error
            encoder = _BY_TYPE.get(class_of(item))
            parts.append(_other(item, depth + 1) if encoder is None else encoder(item, depth + 1))
    except _NotPlainError as found:
        found.inside(f"[{index}]", container)
        raise
    return b"".join(parts)


def _mapping(value: Mapping[Any, Any], depth: int) -> bytes:
    if depth >= MAX_DEPTH:
        raise _NotPlainError(value, _TOO_DEEP)
    key = None
    pairs: list[bytes] = []
    try:
        for key, item in value.items():
            name = _str(key, 0) if type(key) is str else _encoded(key, depth + 1)
            encoder = _BY_TYPE.get(class_of(item))
            pairs.append(
                name + (_other(item, depth + 1) if encoder is None else encoder(item, depth + 1))
            )
    except _NotPlainError as found:
        found.inside(f"[{_shown(key)}]", value)
        raise
    # Sorted as pairs, not by key: several NaNs may be keys of one mapping.
    pairs.sort()
    return b"d%d:" % len(pairs) + b"".join(pairs)


def _set(value: AbstractSet[Any], depth: int) -> bytes:
    if depth >= MAX_DEPTH:
        raise _NotPlainError(value, _TOO_DEEP)
    try:
        items = sorted(_encoded(item, depth + 1) for item in value)
    except _NotPlainError as found:
        found.inside("{…}", value)
        raise
    return b"e%d:" % len(items) + b"".join(items)


def _tagged(tag: str, *content: Any) -> bytes:
    """Encode a value of some other type as its name and what it consists of."""
    return b"o" + _str(tag, 0) + _tuple(content, 0)


def _moment(value: dt.datetime | dt.time, _: int) -> bytes:
    # The zone's name as well: the same moment in another zone is another date to a reader.
    zone = None if value.tzinfo is None else getattr(value.tzinfo, "key", None)
    return _tagged(type(value).__name__, value.isoformat(), getattr(value, "fold", 0), zone)


def _duration(value: dt.timedelta, _: int) -> bytes:
    # Subclasses may be finer than datetime's own (pandas).
    nanoseconds = getattr(value, "nanoseconds", 0)
    return _tagged("timedelta", value.days, value.seconds, value.microseconds, nanoseconds)


def _pattern(value: re.Pattern[Any], _: int) -> bytes:
    return _tagged("Pattern", value.pattern, value.flags)


def _class_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


_BY_TYPE: dict[type, Callable[[Any, int], bytes]] = {
    str: _str,
    int: _int,
    bool: lambda value, _: b"T" if value else b"F",
    float: _float,
    type(None): lambda _, __: b"N",
    dict: _mapping,
    list: _list,
    tuple: _tuple,
    bytes: _bytes,
    set: _set,
    frozenset: lambda value, depth: b"z" + _set(value, depth),
    complex: lambda value, _: _tagged("complex", value.real, value.imag),
    bytearray: lambda value, _: _tagged("bytearray", bytes(value)),
    memoryview: lambda value, _: _tagged(
        "memoryview", value.tobytes(), value.format, value.shape and tuple(value.shape)
    ),
    range: lambda value, _: _tagged("range", value.start, value.stop, value.step),
    type(...): lambda _, __: b"o3:...",
    dt.datetime: _moment,
    dt.time: _moment,
    dt.date: lambda value, _: _tagged("date", value.isoformat()),
    dt.timedelta: _duration,
    decimal.Decimal: lambda value, _: _tagged("Decimal", str(value)),
    fractions.Fraction: lambda value, _: _tagged("Fraction", value.numerator, value.denominator),
    uuid.UUID: lambda value, _: _tagged("UUID", value.bytes),
    re.Pattern: _pattern,
    type: lambda value, _: _tagged("class", _class_name(value)),
}

# Subclasses of these count by their class and as these; bool and None have no subclasses.
_BASES: tuple[type, ...] = (
    *(str, int, float, complex, list, tuple, dict, bytes, bytearray, set, frozenset),
    *(dt.datetime, dt.time, dt.date, dt.timedelta),
    *(decimal.Decimal, fractions.Fraction, uuid.UUID),
)


# Of everything else


def _other(value: Any, depth: int) -> bytes:
    cls = class_of(value)
    if depth >= MAX_DEPTH:
        raise _NotPlainError(value, _TOO_DEEP)
    content, way = _content(value, cls)
    label = b"c" + _str(_class_name(cls), 0)
    try:
        return label + _encoded(content, depth + 1)
    except _NotPlainError as found:
        found.inside(way, value)
        raise


def _content(value: Any, cls: type[Any]) -> tuple[Any, str]:
    """Return what a value counts by beside its class, and how errors call the way there."""
    if hasattr(cls, "__tta_key__"):
        return _own_key(value), ".__tta_key__()"
    for way in (_member, _numpy_content, _fields_of, _based, _by_text):
        content = way(value)
        if content is not None:
            return content, ""
    raise _NotPlainError(value, f"a {cls.__name__} is no plain value")


def _member(value: Any) -> Any:
    if not isinstance(value, Enum):
        return None
    # Combinations of flags may have no name.
    return ("member", value.name, value.value if isinstance(value, Flag) else None)


def _fields_of(value: Any) -> Any:
    cls: Any = class_of(value)
    if dataclasses.is_dataclass(cls):
        return _Fields(value, [field.name for field in dataclasses.fields(cls) if field.compare])
    # Asked of the class alone: nothing is imported, and who has no pydantic pays nothing.
    if hasattr(cls, "model_dump") and hasattr(cls, "model_fields"):
        names = [name for name, about in cls.model_fields.items() if not about.exclude]
        return _Fields(value, [*names, *(getattr(value, "__pydantic_extra__", None) or ())])
    if hasattr(cls, "__attrs_attrs__"):
        return _Fields(value, [field.name for field in cls.__attrs_attrs__ if field.eq])
    return None


def _based(value: Any) -> Any:
    base = next((base for base in _BASES if isinstance(value, base)), None)
    return None if base is None else _Plain(value, base)


def _by_text(value: Any) -> Any:
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if isinstance(value, type):
        return _class_name(cast("type[Any]", value))
    return dict(cast("Mapping[Any, Any]", value)) if isinstance(value, Mapping) else None


class _Plain:
    """A value to be encoded as one of a class it inherits from."""

    def __init__(self, value: Any, base: type) -> None:
        self.value = value
        self.base = base


class _Fields:
    """Attributes of an object, by name."""

    def __init__(self, value: Any, names: list[str]) -> None:
        self.value = value
        self.names = names


def _plain(plain: _Plain, depth: int) -> bytes:
    value = plain.value
    if plain.base is str:
        value = str.__str__(value)  # a subclass may have an encode() of its own
    return _BY_TYPE[plain.base](value, depth)


def _fields(fields: _Fields, depth: int) -> bytes:
    parts = [b"a%d:" % len(fields.names)]
    for name in fields.names:
        try:
            parts.append(_str(name, 0) + _encoded(_attribute(fields.value, name), depth + 1))
        except _NotPlainError as found:
            found.inside(f".{name}", fields.value)
            raise
    return b"".join(parts)


_BY_TYPE[_Plain] = _plain
_BY_TYPE[_Fields] = _fields


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name)
    except Exception as error:
        raise _NotPlainError(value, f"its {name} cannot be read ({error!r})") from error


def _own_key(value: Any) -> Any:
    try:
        return value.__tta_key__()
    except Exception as error:
        raise _NotPlainError(value, f"its __tta_key__() failed with {error!r}") from error


def _numpy_content(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "ndarray"):
        return None
    if isinstance(value, numpy.generic) or type(value) is numpy.ndarray:
        dtype = value.dtype
        if dtype.hasobject:
            return ("object array", list(value.shape), value.reshape(-1).tolist())
        return (
            "array",
            str(dtype.descr if dtype.names else dtype.str),
            value.shape,
            value.tobytes(),
        )
    return None
