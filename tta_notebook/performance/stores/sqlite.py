"""A cache in a file, shared by the processes of one machine."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from tta_notebook.core import checked
from tta_notebook.core.home import home
from tta_notebook.performance.entry import StoreCounters, now_s
from tta_notebook.performance.stores.encoded import EncodedStore
from tta_notebook.storage.sqlite import Database

_MIGRATIONS = (
    """
    CREATE TABLE answer (
        key TEXT PRIMARY KEY,
        value BLOB NOT NULL,
        drop_at_s REAL,
        used_at_s REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX answer_by_use ON answer (used_at_s);
    """,
)

# The order of use is kept to a minute: a hit would cost a write otherwise.
_USE_S = 60.0
# How often it is looked whether there are too many.
_PUTS_BETWEEN_LOOKS = 100


class SQLiteStore(EncodedStore):
    """Keeps a cache's entries in a SQLite file: they survive the process, also a killed one.

    Several processes of one machine may share the file. One that is damaged is set aside and begun
    anew. Answers must be plain values, dataclasses, or what else `tta_notebook.storage` can write
    down; others are given and not kept.

    Args:
        path: the file; by default `cache.db` in the user's data folder (`TTA_HOME`).
        max_size: the most entries; the least recently used go first, to a minute.
        timeout_seconds: how long an operation may take before it counts as a miss.

    >>> import tempfile
    >>> from tta_notebook import CachePrimitive
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = SQLiteStore(folder + "/answers.db")
    ...     print(CachePrimitive(str.upper, store=store).run_sync("hello"))
    ...     store.close()
    HELLO
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        max_size: int = 100_000,
        timeout_seconds: float = 1.0,
    ) -> None:
        self._table = _Table(path, checked.count("SQLiteStore", "max_size", max_size))
        super().__init__(self._table, timeout_seconds=timeout_seconds)

    @property
    def path(self) -> Path:
        """The file."""
        return self._table.database.path

    def counters(self) -> StoreCounters:
        """Return what it has counted, the size by asking the file."""
        return self._table.counters()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._table.database.close()


class _Table:
    """Bytes under keys in a SQLite file."""

    def __init__(self, path: str | os.PathLike[str] | None, max_size: int) -> None:
        self.database = Database(
            home() / "cache.db" if path is None else path,
            migrations=_MIGRATIONS,
            on_corrupted="set_aside",
        )
        self._max_size = max_size
        self._puts = 0
        self._counted = StoreCounters()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_puts": 0, "_counted": StoreCounters()}

    async def get(self, key: str) -> bytes | None:
        now = now_s()
        rows: list[tuple[bytes, float | None, float]] = await self.database.read(
            lambda db: db.execute(
                "SELECT value, drop_at_s, used_at_s FROM answer WHERE key = ?", (key,)
            ).fetchall(),
            missing=[],
        )
        for value, drop_at_s, used_at_s in rows:
            if drop_at_s is not None and drop_at_s <= now:
                return None  # a look-over drops it, or the answer that takes its place
            if now - used_at_s > _USE_S:
                await self.database.run(
                    lambda db: db.execute(
                        "UPDATE answer SET used_at_s = ? WHERE key = ?", (now, key)
                    )
                )
            return bytes(value)
        return None

    async def put(self, key: str, value: bytes, ttl_s: float | None = None) -> None:
        now = now_s()
        row = (key, value, None if ttl_s is None else now + ttl_s, now)

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?)", row)
            if self._puts % min(_PUTS_BETWEEN_LOOKS, self._max_size) == 0:
                self._look_over(db, now)
            self._puts += 1

        await self.database.run(write)

    def _look_over(self, db: sqlite3.Connection, now: float) -> None:
        dropped = db.execute("DELETE FROM answer WHERE drop_at_s <= ?", (now,)).rowcount
        self._counted.expirations += dropped
        (size,) = db.execute("SELECT COUNT(*) FROM answer").fetchone()
        if size > self._max_size:
            oldest = "SELECT key FROM answer ORDER BY used_at_s LIMIT ?"
            evicted = db.execute(
                f"DELETE FROM answer WHERE key IN ({oldest})",  # noqa: S608 - no word of a user's
                (size - self._max_size,),
            )
            self._counted.evictions += evicted.rowcount

    async def delete(self, key: str) -> None:
        await self.database.run(lambda db: db.execute("DELETE FROM answer WHERE key = ?", (key,)))

    async def clear(self) -> None:
        await self.database.run(lambda db: db.execute("DELETE FROM answer"))

    def counters(self) -> StoreCounters:
        (size,) = self.database.read_sync(
            lambda db: db.execute("SELECT COUNT(*) FROM answer").fetchone(), missing=(0,)
        )
        return StoreCounters(size, self._counted.expirations, self._counted.evictions)
