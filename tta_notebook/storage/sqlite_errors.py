"""What SQLite's errors mean, in words that say what to do."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

# Result codes (sqlite.org/rescode.html); the low byte of an extended code is its primary one.
_PRIMARY = 0xFF

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_CORRUPTED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_MEANINGS = {
    sqlite3.SQLITE_FULL: (
        "there is no room left on the disk",
        "Free some, or use a file on another disk.",
    ),
    sqlite3.SQLITE_READONLY: (
        "the file is read-only",
        "Allow this user to write it and its folder, or use another file.",
    ),
    sqlite3.SQLITE_PERM: (
        "this user may not use the file",
        "Allow it, or use another file.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "this user may not open or create it",
        "Allow this user to read and write the file and its folder, or use another one.",
    ),
    sqlite3.SQLITE_IOERR: (
        "the disk does not do what it should",
        "Look at the disk's health and connection; what was committed before is safe.",
    ),
    sqlite3.SQLITE_NOMEM: (
        "there is no memory left for it",
        "Close other programs.",
    ),
}


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether somebody else holds the file locked."""
    return _code(error) in _BUSY


def is_corrupted(error: sqlite3.Error) -> bool:
    """Tell whether the file is damaged, or no database at all."""
    return _code(error) in _CORRUPTED


def is_file_error(error: sqlite3.Error) -> bool:
    """Tell whether an error is about the file; the others are about what was asked of it."""
    return _code(error) in (*_BUSY, *_CORRUPTED, *_MEANINGS)


def described(error: sqlite3.Error, path: Path, doing: str, busy_timeout_s: float) -> str:
    """Return what was attempted, what was found, why that cannot work and what to do."""
    found, advice = _meaning(error, path, busy_timeout_s)
    return f"{path}: {doing} it failed, because {found} ({error}). {advice}"


def folder_refused(error: OSError) -> str:
    """Return what to say of a folder in which no file can be made."""
    return (
        f"its folder cannot be used ({error}), so there is nowhere to keep anything. Allow this "
        "user to write it, or use another folder."
    )


def _meaning(error: sqlite3.Error, path: Path, busy_timeout_s: float) -> tuple[str, str]:
    if os.path.isdir(path):  # noqa: PTH112 - Path's own raises where a folder may not be looked into
        return "it is a folder", "Give the path of a file."
    if is_busy(error):
        return (
            f"another connection has held it locked for more than {busy_timeout_s:g} s",
            "Let that finish, or wait longer with busy_timeout_s=….",
        )
    if is_corrupted(error):
        return (
            "it is damaged, or was never a database",
            "Restore it from a copy, or move it away to begin with an empty one.",
        )
    return _MEANINGS[_code(error)]


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY
