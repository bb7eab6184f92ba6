"""The one place that knows SQLite: opening, migrating, transactions, and what goes wrong.

A database has one connection per process, used from any thread under a lock. SQLite lets one writer
in at a time anyway, so a connection per thread would gain nothing but "database is locked" between
threads of one process, and would have to be closed in threads that may be gone.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, cast

from tta_notebook.core import checked, travel
from tta_notebook.core.errors import ConfigurationError, StorageError
from tta_notebook.storage.sqlite_errors import (
    described,
    folder_refused,
    is_busy,
    is_corrupted,
    is_file_error,
)

T = TypeVar("T")

Work: TypeAlias = Callable[[sqlite3.Connection], T]

# Between two tries to switch a new file to write-ahead logging, which SQLite's own wait leaves out.
_SWITCH_PAUSE_S = 0.01

# Connections of the parent that a forked child must not close: that could take the log from under
# the parent (sqlite.org/howtocorrupt.html, 2.6).
_inherited: list[sqlite3.Connection] = []


class Database:
    """A SQLite file, opened when it is first used and again after `close()`.

    Reading never creates anything; the file and its folders are created by the first `run`.
    A file that was deleted or replaced meanwhile is opened anew. A copy in another process opens
    the same file; on another machine it raises a StorageError when it is loaded.

    Args:
        path: the file.
        migrations: scripts, the first for an empty file; `PRAGMA user_version` counts those done.
            Scripts are only ever added at the end.
        synchronous: "NORMAL" survives a killed process, and a power cut may cost the last
            transactions; "FULL" survives both and waits for the disk each time (journals).
        busy_timeout_s: how long to wait for another process's transaction.
        on_corrupted: "raise", or "set_aside": rename the file to `<name>.corrupt-1` and begin an
            empty one (caches; never what cannot be made again).

    Raises:
        StorageError: the file cannot be used; the message says why and what to do.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     notes = Database(Path(folder, "notes.db"), migrations=["CREATE TABLE note (text)"])
    ...     _ = notes.run_sync(lambda db: db.execute("INSERT INTO note VALUES ('kept')"))
    ...     notes.read_sync(lambda db: db.execute("SELECT text FROM note").fetchall(), missing=[])
    ...     notes.close()
    [('kept',)]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        migrations: Sequence[str],
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
        busy_timeout_s: float = 5.0,
        on_corrupted: Literal["raise", "set_aside"] = "raise",
    ) -> None:
        if not isinstance(path, (str, os.PathLike)) or not str(path):
            raise ConfigurationError(
                f"Database(path={path!r}): this names no file. Give the path of one as a text or "
                "a Path."
            )
        # A relative path means the folder of today, also when the program changes it later.
        self.path = Path(path).expanduser().absolute()
        self.migrations = tuple(migrations)
        self.synchronous = checked.choice("Database", "synchronous", synchronous, _SYNCHRONOUS)
        self.busy_timeout_s = checked.seconds("Database", "busy_timeout_s", busy_timeout_s)
        self.on_corrupted = checked.choice("Database", "on_corrupted", on_corrupted, _ON_CORRUPTED)
        self._start_afresh()

    def _start_afresh(self) -> None:
        self.set_aside: list[Path] = []
        self._session = _Session()
        self._finalizer: weakref.finalize[..., Database] | None = None

    def __getstate__(self) -> dict[str, Any]:
        names = ("path", "migrations", "synchronous", "busy_timeout_s", "on_corrupted")
        return {"host": travel.host_name(), **{name: getattr(self, name) for name in names}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        travel.check_host(state["path"], state.pop("host"))
        self.__dict__.update(state)
        self._start_afresh()

    def __repr__(self) -> str:
        return f"<Database {str(self.path)!r}>"

    async def run(self, work: Work[T]) -> T:
        """Do `work(connection)` as one write transaction, in this database's own thread.

        Transactions happen in the order of the calls. A caller that is cancelled is let go at once:
        what has begun is finished all the same, what has not is dropped.
        """
        return await self._in_thread(lambda: self.run_sync(work))

    async def read(self, work: Work[T], missing: T) -> T:
        """Do `work(connection)` on one consistent view; give `missing` while there is no file."""
        return await self._in_thread(lambda: self.read_sync(work, missing))

    def run_sync(self, work: Work[T]) -> T:
        """Do `work(connection)` as one write transaction: all of it or nothing."""
        return self._guarded(work, "BEGIN IMMEDIATE")

    def read_sync(self, work: Work[T], missing: T) -> T:
        """Do `work(connection)` on one consistent view; give `missing` while there is no file."""
        return missing if self._file() is None else self._guarded(work, "BEGIN")

    def close(self) -> None:
        """Finish what has begun, end the thread and close the file; the next use opens it again."""
        session, self._session = self._here(), _Session()
        session.close(wait=True)
        if self._finalizer is not None:
            self._finalizer.detach()
            self._finalizer = None

    # How a transaction happens

    async def _in_thread(self, call: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._here().worker(self.path.name), call)

    def _guarded(self, work: Work[T], begin: str) -> T:
        session = self._here()
        try:
            with session.lock:
                try:
                    return self._transaction(session, work, begin)
                except sqlite3.Error as error:
                    if not is_corrupted(error) or self.on_corrupted == "raise":
                        raise
                self._put_aside(session)
                return self._transaction(session, work, begin)
        except sqlite3.Error as error:
            if not is_file_error(error):
                raise
            doing = "reading" if begin == "BEGIN" else "writing"
            message = described(error, self.path, doing, self.busy_timeout_s)
            raise StorageError(message, path=str(self.path)) from error

    def _transaction(self, session: _Session, work: Work[T], begin: str) -> T:
        connection = self._connection(session)
        try:
            connection.execute(begin)
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):  # a failure has rolled it back already, most often
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error) and not is_busy(error):
                session.disconnect()  # whatever state it is in, the next one is fresh
            raise
        return result

    # How a file is opened

    def _here(self) -> _Session:
        """Return this process's session: a connection must not be carried across a fork."""
        if self._session.pid != os.getpid():
            self._session = _Session()
            self._finalizer = None
        return self._session

    def _connection(self, session: _Session) -> sqlite3.Connection:
        if session.connection is not None:
            if session.file == self._file():
                return session.connection
            session.disconnect()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"{self.path}: {folder_refused(error)}"
            raise StorageError(message, path=str(self.path)) from error
        connection = sqlite3.connect(
            self.path,
            timeout=self.busy_timeout_s,
            isolation_level=None,  # transactions are begun where they can be seen
            check_same_thread=False,  # the session's lock sees to it
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        session.connection, session.file = connection, self._file()
        if self._finalizer is None:
            self._finalizer = weakref.finalize(self, session.close, wait=False)
        return connection

    def _file(self) -> tuple[int, int] | None:
        """Return which file it is, None while there is none."""
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            message = f"{self.path}: {folder_refused(error)}"
            raise StorageError(message, path=str(self.path)) from error
        return found.st_dev, found.st_ino

    def _prepare(self, connection: sqlite3.Connection) -> None:
        _log_ahead(connection, tries=1 + int(self.busy_timeout_s / _SWITCH_PAUSE_S))
        connection.execute(f"PRAGMA synchronous = {self.synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        if self._version(connection) < len(self.migrations):
            for number in range(1, len(self.migrations) + 1):
                self._migrate(connection, number)

    def _version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(self.migrations):
            raise StorageError(
                f"{self.path}: the file has version {version} of its tables, and this program "
                f"knows {len(self.migrations)}: a newer one wrote it. Update tta-notebook, or use "
                "another file.",
                path=str(self.path),
            )
        tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
        if version == 0 and (foreign := connection.execute(tables).fetchone()):
            raise StorageError(
                f"{self.path}: the file holds a table {foreign[0]!r} that is not ours: it belongs "
                "to another program, whose records would be mixed with these. Use another file.",
                path=str(self.path),
            )
        return version

    def _migrate(self, connection: sqlite3.Connection, number: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Looked at again inside the transaction: another process may be at it, too.
            if self._version(connection) < number:
                for statement in _statements(self.migrations[number - 1]):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _put_aside(self, session: _Session) -> None:
        session.disconnect()
        names = (self.path.with_name(f"{self.path.name}.corrupt-{number}") for number in count(1))
        aside = next(path for path in names if not path.exists())
        with suppress(FileNotFoundError):  # another process was faster
            self.path.rename(aside)
            self.set_aside.append(aside)
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")


class _Session:
    """What a database holds in one process: a connection with its lock, and a thread."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.RLock()
        self.connection: sqlite3.Connection | None = None
        self.file: tuple[int, int] | None = None
        # Apart from the other lock, which a transaction may hold for long: the loop asks for it.
        self._worker_lock = threading.Lock()
        self._worker: ThreadPoolExecutor | None = None

    def worker(self, name: str) -> ThreadPoolExecutor:
        with self._worker_lock:
            if self._worker is None:
                self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"tta-{name}")
            return self._worker

    def disconnect(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def close(self, *, wait: bool) -> None:
        if self.pid != os.getpid():
            if self.connection is not None:
                _inherited.append(self.connection)
            return
        if self._worker is not None:
            self._worker.shutdown(wait=wait)
        with self.lock:
            self.disconnect()


_SYNCHRONOUS = ("NORMAL", "FULL")
_ON_CORRUPTED = ("raise", "set_aside")


def _log_ahead(connection: sqlite3.Connection, tries: int) -> None:
    """Switch to write-ahead logging: readers and a writer do not wait for each other then."""
    for left in reversed(range(tries)):
        try:
            mode = cast("str", connection.execute("PRAGMA journal_mode").fetchone()[0])
            if mode != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # SQLite does not wait here when several processes open a new file at once.
            if not is_busy(error) or not left:
                raise
            time.sleep(_SWITCH_PAUSE_S)
        else:
            return


def _statements(script: str) -> Iterator[str]:
    """Split a script: `executescript` would commit the transaction that is open."""
    statement = ""
    for piece in script.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement) and statement.strip("; \n"):
            yield statement
            statement = ""
