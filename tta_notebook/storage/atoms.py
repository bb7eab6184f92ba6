"""Values of the standard library that JSON lacks, as simpler ones and back."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from tta_notebook.storage.unfit import Unfit


@dataclass(frozen=True, slots=True)
class Atom:
    """How values of one kind are written.

    Attributes:
        tag: its name in the JSON.
        apart: makes a value of simpler kinds.
        together: makes the value of that again.
    """

    tag: str
    apart: Callable[[Any], Any]
    together: Callable[[Any], Any]


def atom_of(kind: type[Any]) -> Atom | None:
    """Return how values of exactly this class are written, None for other classes."""
    return _BY_CLASS.get(kind)


def _text(raw: bytes | bytearray) -> str:
    return base64.b64encode(raw).decode("ascii")


def _raw(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _zone_apart(zone: tzinfo | None) -> Any:
    if zone is None:
        return None
    if type(zone) is timezone:
        # (offset,) or (offset, name): what pickle would be told as well.
        offset, *name = cast("Any", zone).__getinitargs__()
        return [_span_apart(offset), *name]
    if type(zone) is ZoneInfo and zone.key is not None:
        return zone.key
    raise Unfit(
        f"its time zone {zone!r} is neither a datetime.timezone nor a ZoneInfo with a key. Convert "
        "it with astimezone()."
    )


def _zone(parts: Any) -> tzinfo | None:
    if parts is None:
        return None
    if isinstance(parts, str):
        return ZoneInfo(parts)
    offset, *name = parts
    return timezone(timedelta(*offset), *name)


def _span_apart(span: timedelta) -> list[int]:
    return [span.days, span.seconds, span.microseconds]


def _moment_apart(moment: datetime | time) -> list[Any]:
    naive = moment.replace(tzinfo=None, fold=0)
    return [naive.isoformat(), moment.fold, _zone_apart(moment.tzinfo)]


def _datetime(parts: list[Any]) -> datetime:
    text, fold, zone = parts
    return datetime.fromisoformat(text).replace(fold=fold, tzinfo=_zone(zone))


def _time(parts: list[Any]) -> time:
    text, fold, zone = parts
    return time.fromisoformat(text).replace(fold=fold, tzinfo=_zone(zone))


_PATHS: dict[str, type[PurePath]] = {
    kind.__name__: kind
    for kind in (PosixPath, WindowsPath, PurePosixPath, PureWindowsPath, Path, PurePath)
}

_PATH = Atom(
    "path",
    lambda path: [type(path).__name__, str(path)],
    lambda parts: _PATHS[parts[0]](parts[1]),
)

_BY_CLASS: dict[type[Any], Atom] = {
    bytes: Atom("bytes", _text, _raw),
    bytearray: Atom("bytearray", _text, lambda text: bytearray(_raw(text))),
    complex: Atom("complex", lambda z: [z.real, z.imag], lambda parts: complex(*parts)),
    datetime: Atom("datetime", _moment_apart, _datetime),
    date: Atom("date", date.isoformat, date.fromisoformat),
    time: Atom("time", _moment_apart, _time),
    timedelta: Atom("timedelta", _span_apart, lambda parts: timedelta(*parts)),
    UUID: Atom("uuid", lambda uuid: uuid.hex, UUID),
    Decimal: Atom("decimal", str, Decimal),
    **dict.fromkeys(_PATHS.values(), _PATH),
}

ATOMS: dict[str, Atom] = {atom.tag: atom for atom in _BY_CLASS.values()}
