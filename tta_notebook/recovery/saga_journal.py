"""The journal of sagas: what was begun, what ended, what is undone, on disk before going on."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

from tta_notebook.core import checked
from tta_notebook.core.errors import StorageError
from tta_notebook.core.home import home
from tta_notebook.storage.owner import Owner
from tta_notebook.storage.sqlite import Database

Write: TypeAlias = Callable[[sqlite3.Connection], object]

# A saga is running, undoing, done or undone; a step is started, done or undone. When an undo begins
# steps without an output become uncertain, failed (and to be undone) or skipped.
_MIGRATIONS = [
    """
    CREATE TABLE saga (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        shape TEXT NOT NULL,
        state TEXT NOT NULL,
        owner TEXT,
        input BLOB NOT NULL,
        began_at_ns INTEGER NOT NULL
    );
    CREATE INDEX saga_by_state ON saga (state, began_at_ns);
    CREATE TABLE step (
        saga TEXT NOT NULL REFERENCES saga (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        state TEXT NOT NULL,
        place INTEGER,
        output BLOB,
        error TEXT,
        PRIMARY KEY (saga, number)
    );
    """
]

_OPEN = "state IN ('running', 'undoing')"


@dataclass(frozen=True, slots=True)
class StepRow:
    """What the journal knows of one step."""

    number: int
    state: str
    place: int | None
    output: bytes | None
    error: str | None


@dataclass(frozen=True, slots=True)
class SagaRow:
    """What the journal knows of one saga that is not finished."""

    id: str
    shape: str
    input: bytes
    steps: tuple[StepRow, ...] = ()


class SagaJournal:
    """Keeps what sagas do in a SQLite file, so that a killed process's work can be undone.

    Every write waits for the disk. Several sagas, threads and processes may share one journal.
    Nothing is created before the first saga runs.

    Args:
        path: the file; by default `sagas.db` in the package's folder (`TTA_HOME`).
        busy_timeout_s: how long to wait for another process's write.
        keep_finished: how many finished sagas to remember, the newest ones.

    >>> SagaJournal("trips.db").path.name
    'trips.db'
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        busy_timeout_s: float = 5.0,
        keep_finished: int = 1000,
    ) -> None:
        self.keep_finished = checked.count("SagaJournal", "keep_finished", keep_finished, least=0)
        self.database = Database(
            home() / "sagas.db" if path is None else path,
            migrations=_MIGRATIONS,
            synchronous="FULL",
            busy_timeout_s=checked.seconds("SagaJournal", "busy_timeout_s", busy_timeout_s),
        )
        self.owner = Owner(Path(f"{self.path}-owners"))
        self._start_afresh()

    def _start_afresh(self) -> None:
        self.under_way: set[str] = set()
        # Writes of undos that could not be made: made with the next one.
        self._owed: dict[int, Write] = {}
        self._numbers = count()

    # A copy in another process writes to the same file; sagas under way and writes owed stay here

    def __getstate__(self) -> dict[str, Any]:
        names = ("keep_finished", "database", "owner")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_afresh()

    def __repr__(self) -> str:
        return f"<SagaJournal {str(self.path)!r}>"

    @property
    def path(self) -> Path:
        """The file."""
        return self.database.path

    def close(self) -> None:
        """Close the file, end its thread and let go of the claim on sagas; using it begins anew."""
        self.database.close()
        self.owner.release()

    async def write(self, *writes: Write) -> None:
        """Write in one transaction, after what is owed.

        Raises:
            StorageError: it cannot be written.
        """
        owed = dict(self._owed)

        def work(db: sqlite3.Connection) -> None:
            for write in (*owed.values(), *writes):
                write(db)

        await self.database.run(work)
        for number in owed:
            self._owed.pop(number, None)

    async def write_or_owe(self, *writes: Write) -> StorageError | None:
        """Write, or remember what to write later; give what went wrong."""
        try:
            await self.write(*writes)
        except StorageError as error:
            self._owed |= {next(self._numbers): write for write in writes}
            return error
        return None

    # Looking for what is left

    async def unfinished(self, name: str) -> list[SagaRow]:
        """Return the sagas of that name which are not finished and which nobody works on."""
        if self._owed:
            await self.write()
        query = f"SELECT id, shape, input, owner FROM saga WHERE {_OPEN} AND name = ? ORDER BY began_at_ns"  # noqa: S608, E501 - a constant

        def work(db: sqlite3.Connection) -> list[SagaRow]:
            rows = db.execute(query, (name,)).fetchall()
            return [SagaRow(*row[:3]) for row in rows if self._is_left(row[0], row[3])]

        return await self.database.read(work, [])

    async def claim(self, saga_id: str) -> SagaRow | None:
        """Make an unfinished saga this process's own; None when somebody else was faster."""
        query = f"SELECT id, shape, input, owner FROM saga WHERE {_OPEN} AND id = ?"  # noqa: S608

        def work(db: sqlite3.Connection) -> SagaRow | None:
            row = db.execute(query, (saga_id,)).fetchone()
            if row is None or not self._is_left(row[0], row[3]):
                return None
            db.execute(
                "UPDATE saga SET owner = ?, state = 'undoing' WHERE id = ?",
                (self.owner.id, saga_id),
            )
            # Here, in the one thread of the database: two claims in this process see each other.
            self.under_way.add(saga_id)
            claimed.append(saga_id)
            steps = db.execute(
                "SELECT number, state, place, output, error FROM step WHERE saga = ?", (saga_id,)
            )
            _, shape, data, _ = row
            return SagaRow(saga_id, shape, data, tuple(StepRow(*step) for step in steps))

        claimed: list[str] = []
        try:
            return await self.database.run(work)
        except StorageError:
            self.under_way.difference_update(claimed)
            raise

    def _is_left(self, saga_id: str, owner: str | None) -> bool:
        if saga_id in self.under_way:
            return False
        return owner is None or owner == self.owner.id or not self.owner.is_alive(owner)
