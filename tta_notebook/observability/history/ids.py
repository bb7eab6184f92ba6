"""Under which identities a process stores its rows."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from functools import cache
from uuid import uuid4

_BITS = 32
_SIGNED = 2**63
_WRAP = 2**64


def this_process() -> str:
    """Return a name that no other process has had."""
    return _name_of(os.getpid())


@cache
def _name_of(_: int) -> str:
    return uuid4().hex


def signed(number: int) -> int:
    """Return an identity as SQLite stores it.

    >>> signed(0xFFFF_FFFF_0000_0001), signed(7)
    (-4294967295, 7)
    """
    return number - _WRAP if number >= _SIGNED else number


def from_hex(text: str) -> int | None:
    """Return an identity of 16 hexadecimal digits as it is stored; None for other texts."""
    try:
        return signed(int(text, 16)) if len(text) <= _BITS // 2 else None
    except (TypeError, ValueError):
        return None


def identity_of(text: str) -> int:
    """Return an identity that is the same for the same text."""
    return signed(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()))


class Shifts(dict[int, int]):
    """What is to be added to an identity to store it, by the upper half of the identity.

    Nearly always it only makes the number a signed one. When another process owns the prefix in
    this file, it stands for one that is free.
    """

    def __init__(self, db: sqlite3.Connection, kind: str, process: str) -> None:
        super().__init__()
        self._db, self._kind, self._process = db, kind, process

    def __missing__(self, drawn: int) -> int:
        stored = self._known(drawn)
        if stored is None:
            stored = drawn
            while not self._claim(drawn, stored):
                stored = int.from_bytes(os.urandom(4))
        self[drawn] = shift = signed(stored << _BITS) - (drawn << _BITS)
        return shift

    def _claim(self, drawn: int, stored: int) -> bool:
        row = (self._kind, stored, self._process, drawn)
        statement = "INSERT OR IGNORE INTO prefixes VALUES (?, ?, ?, ?)"
        return self._db.execute(statement, row).rowcount == 1

    def _known(self, drawn: int) -> int | None:
        row = self._db.execute(
            "SELECT stored FROM prefixes WHERE kind = ? AND process = ? AND drawn = ?",
            (self._kind, self._process, drawn),
        ).fetchone()
        return None if row is None else int(row[0])
