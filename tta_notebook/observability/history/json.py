"""Anything as JSON or as text that a database takes: never fails, and never grows large."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any, cast

from tta_notebook.core.preview import preview

MAX_JSON = 16_384
"""The most characters of one JSON value; of a larger one the parts are cut."""

MAX_TEXT = 1_000

_MAX_PARTS = 500
_MAX_DEPTH = 8
# SQLite's integers; JSON's may be larger, but who reads them out of it would get them as floats.
_MOST = 2**63 - 1


def json_of(value: object) -> str:
    r"""Return JSON for `value`: what JSON lacks becomes a short text, what is too large is cut.

    >>> json_of({"at": {1}, "why": ValueError("odd"), "share": float("nan")})
    '{"at":[1],"why":"ValueError(\'odd\')","share":"nan"}'
    """
    try:
        text = _encode(value)
        if len(text) <= MAX_JSON and (text.isascii() or text.encode()):
            return text
    except Exception:  # noqa: BLE001 - it holds what JSON lacks, or someone's repr raised
        return _cut(value)
    return _cut(value)


def text_of(value: object) -> str | None:
    r"""Return a text that can be stored, None for None; what is no text is shown.

    >>> text_of("plain"), text_of("half a pair: \ud800"), text_of(7), text_of(None)
    ('plain', 'half a pair: ?', '7', None)
    """
    if value is None:
        return None
    text = str.__str__(value) if isinstance(value, str) else preview(value)
    if len(text) > MAX_TEXT:
        text = text[: MAX_TEXT - 1] + "…"
    return text if text.isascii() else text.encode(errors="replace").decode()


def count_of(value: object) -> int | None:
    """Return a whole number that can be stored, else None."""
    return int(value) if isinstance(value, int) and -_MOST <= value <= _MOST else None


def real_of(value: object) -> float | None:
    """Return a number that can be stored, else None."""
    return float(value) if isinstance(value, (int, float)) and abs(value) < _MOST else None


def cell_of(value: object) -> object:
    """Return `value` as something that a cell of a table can hold."""
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int):
        return count_of(value)
    if isinstance(value, str):  # JSON may be longer than other texts
        return str.__str__(value).encode(errors="replace").decode()
    return text_of(value)


def _shown(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, AbstractSet):
        return list(cast("AbstractSet[object]", value))
    if isinstance(value, Mapping):
        return dict(cast("Mapping[object, object]", value))
    return preview(value)


_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_shown
).encode


def _cut(value: object) -> str:
    text = _encode(_Cut().of(value, 0))
    if len(text) <= MAX_JSON:
        return text
    # Escapes may double its length.
    return _encode({"cut": text[: MAX_JSON // 2 - 16]})


class _Cut:
    """Makes a bounded copy of any value, of nothing but what JSON has."""

    def __init__(self) -> None:
        self._parts_left = _MAX_PARTS

    def of(self, value: object, depth: int) -> object:
        self._parts_left -= 1
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value) if abs(value) <= _MOST else text_of(preview(value))
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else str(float(value))
        if isinstance(value, str) or depth > _MAX_DEPTH:
            return text_of(value)
        try:
            return self._of_parts(value, depth)
        except Exception:  # noqa: BLE001 - someone's mapping or property may raise anything
            return text_of(preview(value))

    def _of_parts(self, value: object, depth: int) -> object:
        if not isinstance(value, (Mapping, list, tuple)):
            shown = _shown(value)
            return text_of(shown) if isinstance(shown, str) else self._of_parts(shown, depth)
        if isinstance(value, Mapping):
            pairs = self._few(cast("Mapping[Any, Any]", value).items())
            return {text_of(key) or "null": self.of(each, depth + 1) for key, each in pairs}
        return [self.of(each, depth + 1) for each in self._few(cast("list[Any]", value))]

    def _few(self, parts: Iterable[Any]) -> list[Any]:
        return list(islice(parts, max(self._parts_left, 0)))
