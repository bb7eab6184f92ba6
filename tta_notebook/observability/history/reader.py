"""Reading a history: beside whoever writes it, and without being able to change it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tta_notebook.core.errors import ConfigurationError, StorageError
from tta_notebook.observability.history.schema import MIGRATIONS, TABLES
from tta_notebook.storage.owner import Owner
from tta_notebook.storage.sqlite_errors import described, is_file_error

# A reader waits for nobody but whoever recovers the file after a crash.
_BUSY_TIMEOUT_S = 5.0

_READS = (
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
)


class Answer(NamedTuple):
    """What a query gives."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


class Reader:
    """Asks a history's file, each time over a connection of its own.

    A connection of its own sees one consistent state and holds up nobody who writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._owner = Owner(Path(f"{path}-owners"))

    def rows(self, query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the rows of one of our own queries; none while there is no file."""
        with self._opened() as db:
            return [] if db is None else db.execute(query, parameters).fetchall()

    def sql(self, query: str, parameters: Sequence[Any]) -> Answer:
        """Return what a user's query gives on the tables as they are shown."""
        with self._opened() as db:
            if db is None:
                raise StorageError(
                    f"{self.path}: there is no history yet, so there is nothing to ask. Start one "
                    "and run a workflow.",
                    path=str(self.path),
                )
            for name, shown in TABLES.items():
                columns = ", ".join(f'{sql} AS "{column}"' for column, sql in shown.columns.items())
                select = f"SELECT {columns} FROM {shown.source}"  # noqa: S608 - no word of a user's
                db.execute(f"CREATE TEMP VIEW {name} AS {select}")
            db.set_authorizer(_only_reading)
            return _asked(db, query, parameters)

    @contextmanager
    def _opened(self) -> Generator[sqlite3.Connection | None]:
        if not self.path.exists():
            yield None
            return
        try:
            with closing(self._connection()) as db:
                yield db if self._is_made(db) else None
        except sqlite3.Error as error:
            if not is_file_error(error):
                raise
            message = described(error, self.path, "reading", _BUSY_TIMEOUT_S)
            raise StorageError(message, path=str(self.path)) from error

    def _connection(self) -> sqlite3.Connection:
        uri = f"{self.path.as_uri()}?mode=ro"
        if not Path(f"{self.path}-wal").exists() and not _can_be_written(self.path.parent):
            # SQLite would make a file to coordinate with writers, of which there are none.
            uri += "&immutable=1"
        return sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)

    def _is_made(self, db: sqlite3.Connection) -> bool:
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("BEGIN")  # one state of things for all that is asked now
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > len(MIGRATIONS):
            raise StorageError(
                f"{self.path}: a newer version of tta-notebook has written it. Update this one, or "
                "use another file.",
                path=str(self.path),
            )
        if version == 0:
            return False
        db.execute("CREATE TEMP TABLE alive (owner TEXT PRIMARY KEY)")
        owners = db.execute("SELECT DISTINCT owner FROM main.runs WHERE status = 'running'")
        alive = [(owner,) for (owner,) in owners.fetchall() if self._owner.is_alive(owner)]
        db.executemany("INSERT INTO alive VALUES (?)", alive)
        return True


def _asked(db: sqlite3.Connection, query: str, parameters: Sequence[Any]) -> Answer:
    try:
        cursor = db.execute(query, parameters)
    except sqlite3.DatabaseError as error:
        if not _is_refusal(error):
            raise
        raise ConfigurationError(
            f"History.sql({query!r}): it would change something, and this only reads. Ask with "
            "SELECT; prune() and clear() remove rows."
        ) from error
    return Answer([column[0] for column in cursor.description or ()], cursor.fetchall())


def _is_refusal(error: sqlite3.DatabaseError) -> bool:
    # Views and the open transaction refuse some statements before the authorizer is asked.
    is_refused = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_AUTH
    return is_refused or str(error).startswith(("cannot modify", "cannot VACUUM"))


def _only_reading(action: int, *_: object) -> int:
    return sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY


def _can_be_written(folder: Path) -> bool:
    return os.access(folder, os.W_OK)
