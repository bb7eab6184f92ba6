"""Values as bytes and back, exactly: JSON with tags for what JSON lacks, under a checksum.

Never pickle: reading a file must not be able to run anything. What comes back is equal to what went
in and of the same types; two references to one list become two lists.

The bytes are `T1`, sixteen hexadecimal digits of BLAKE2b over the rest, a line break and the JSON.
A mapping with the key `$` in that JSON is a tag: `{"$": "tuple", "v": [1, 2]}` stands for (1, 2).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, cast

from tta_notebook.core.errors import DecodeError, EncodeError
from tta_notebook.storage import classes
from tta_notebook.storage.atoms import ATOMS, atom_of
from tta_notebook.storage.unfit import Unfit

MAX_DEPTH = 100
"""How deep containers may be nested: far from Python's own limit, wherever it is called."""

_MAGIC = b"T1"
_HEADER = len(_MAGIC) + 16 + 1

# Integers whose decimal digits Python may refuse to read (sys.set_int_max_str_digits) go in hex.
_LONG_BITS = 1024


def encode(value: object) -> bytes:
    """Return `value` as bytes from which `decode` makes an equal value of the same types.

    It can hold None, numbers, texts, bytes, lists, tuples, dicts, sets, dates and times, UUIDs,
    decimals, paths, enum members, dataclasses, named tuples, pydantic models and classes with the
    methods `__tta_encode__(self)` (gives any of these) and `__tta_decode__(cls, data)`; nested at
    most 100 deep.

    Raises:
        EncodeError: it holds something else; `path` says where.

    >>> decode(encode({"when": (1, 2.5), b"raw": {None}}))
    {'when': (1, 2.5), b'raw': {None}}
    """
    try:
        text = json.dumps(
            _pack(value, 0), ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )
        body = text.encode()
    except Unfit as unfit:
        where = f"value{unfit.where()}"
        raise EncodeError(f"{where} cannot be encoded: {unfit.reason}", path=where) from None
    except RecursionError:
        raise EncodeError(
            "value cannot be encoded here: too little of the stack is left for its "
            "nesting. Call from less deep, or nest it less.",
            path="value",
        ) from None
    return _MAGIC + _checksum(body) + b"\n" + body


def decode(data: bytes) -> Any:
    """Return the value that `encode` made `data` of.

    No code runs but that of classes that ask for it: those with `__tta_decode__`. Classes are
    looked up in modules that are loaded already, and in this package.

    Raises:
        DecodeError: the bytes are not what `encode` gave, or a class is not what it was.
    """
    body = _checked_body(data)
    try:
        return _unpack(json.loads(body))
    except Exception as error:
        raise DecodeError(
            f"the bytes are whole but cannot be decoded ({type(error).__name__}: {error}): another "
            "version or another program wrote them. Make the value anew."
        ) from error


def _checked_body(data: bytes) -> bytes:
    raw = bytes(data)
    body = raw[_HEADER:]
    if raw[:_HEADER] == _MAGIC + _checksum(body) + b"\n":
        return body
    raise DecodeError(
        f"{len(raw)} bytes were to be decoded, but their checksum is not that of what was encoded: "
        "they are damaged, cut off, or of another origin. Restore them from a copy, or make the "
        "value anew."
    )


def _checksum(body: bytes) -> bytes:
    return blake2b(body, digest_size=8).hexdigest().encode()


# Packing: a value as what JSON has


def _pack(value: Any, depth: int) -> Any:
    kind = cast("type[Any]", type(value))
    if pack := _PACKERS.get(kind):
        return pack(value, depth)
    if depth > MAX_DEPTH:
        raise _too_deep()
    if (atom := atom_of(kind)) is not None:
        return {"$": atom.tag, "v": _pack(atom.apart(value), depth + 1)}
    if (found := classes.apart(value, kind)) is not None:
        tag, name, data = found
        return {"$": tag, "class": name, "v": _packed_data(tag, data, depth + 1)}
    raise Unfit(
        f"a {kind.__module__}.{kind.__qualname__} is nothing that could be written down and come "
        "back as it was. Make it a dataclass, or give its class __tta_encode__ and __tta_decode__."
    )


def _packed_data(tag: str, data: Any, depth: int) -> Any:
    if tag in classes.BY_FIELDS:
        fields = cast("dict[str, Any]", data)
        return {name: _inside(f".{name}", each, depth) for name, each in fields.items()}
    return _pack(data, depth)


def _pack_int(value: int, _: int) -> Any:
    return value if value.bit_length() <= _LONG_BITS else {"$": "int", "v": hex(value)}


def _pack_float(value: float, _: int) -> Any:
    if value - value == 0:  # finite
        return value
    return {"$": "float", "v": repr(value)}


def _pack_str(value: str, _: int) -> Any:
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:  # lone surrogates: JSON would join two of them to one character
        return {"$": "str", "v": value.encode("utf-8", "surrogatepass").hex()}
    return value


def _pack_list(value: Iterable[Any], depth: int) -> list[Any]:
    if depth > MAX_DEPTH:
        raise _too_deep()
    packed: list[Any] = []
    try:
        for each in value:
            packed.append(_pack(each, depth + 1))  # noqa: PERF401 - its length says where it failed
    except Unfit as unfit:
        unfit.inside(f"[{len(packed)}]")
        raise
    return packed


def _pack_dict(value: dict[Any, Any], depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise _too_deep()
    if all(type(key) is str and key.isascii() and key != "$" for key in value):
        return {key: _inside(f"[{key!r}]", each, depth + 1) for key, each in value.items()}
    pairs = [
        [_inside(f".keys()[{index}]", key, depth + 1), _inside(f"[{key!r}]", each, depth + 1)]
        for index, (key, each) in enumerate(value.items())
    ]
    return {"$": "dict", "v": pairs}


def _inside(where: str, value: Any, depth: int) -> Any:
    try:
        return _pack(value, depth)
    except Unfit as unfit:
        unfit.inside(where)
        raise


def _tagged(tag: str) -> Callable[[Any, int], Any]:
    return lambda value, depth: {"$": tag, "v": _pack_list(value, depth)}


def _too_deep() -> Unfit:
    return Unfit(
        f"it is nested more than {MAX_DEPTH} levels deep, or contains itself. Flatten it, or keep "
        "its parts apart."
    )


def _same(value: Any, _: int) -> Any:
    return value


_PACKERS: dict[type[Any], Callable[[Any, int], Any]] = {
    type(None): _same,
    bool: _same,
    int: _pack_int,
    float: _pack_float,
    str: _pack_str,
    list: _pack_list,
    dict: _pack_dict,
    tuple: _tagged("tuple"),
    set: _tagged("set"),
    frozenset: _tagged("frozenset"),
}


# Unpacking: what JSON has as a value


def _unpack(packed: Any) -> Any:
    if isinstance(packed, list):
        return [_unpack(each) for each in cast("list[Any]", packed)]
    if not isinstance(packed, dict):
        return packed
    entries = cast("dict[str, Any]", packed)
    if "$" not in entries:
        return {key: _unpack(each) for key, each in entries.items()}
    tag, data = entries["$"], entries["v"]
    if unpack := _UNPACKERS.get(tag):
        return unpack(data)
    if tag in classes.BY_FIELDS:
        data = {name: _unpack(each) for name, each in data.items()}
    else:
        data = _unpack(data)
    atom = ATOMS.get(tag)
    return atom.together(data) if atom else classes.together(tag, entries["class"], data)


_UNPACKERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda text: int(text, 16),
    "float": float,
    "str": lambda text: bytes.fromhex(text).decode("utf-8", "surrogatepass"),
    "dict": lambda pairs: {_unpack(key): _unpack(each) for key, each in pairs},
    "tuple": lambda parts: tuple(_unpack(parts)),
    "set": lambda parts: set(_unpack(parts)),
    "frozenset": lambda parts: frozenset(_unpack(parts)),
}
