"""Batches of events into the history's tables, each as one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from tta_notebook.core.errors import StorageError
from tta_notebook.core.events import Event, Span
from tta_notebook.core.run import Run
from tta_notebook.observability.history import rows as rows_of
from tta_notebook.observability.history.ids import Shifts, this_process
from tta_notebook.observability.history.json import cell_of
from tta_notebook.storage.owner import Owner
from tta_notebook.storage.sqlite import Database

# Spans in one statement. Other threads get the interpreter while SQLite executes it; until then
# this many are made into rows, in a fraction of a millisecond.
SLICE = 128

# Runs of batches that could not be written are written with the next that can: not for ever, since
# each holds its spans.
_MOST_OWED = 1_000

# What the sqlite3 module raises for values that SQLite cannot store: lone surrogates, integers of
# more than 64 bits, objects.
_ODD = (UnicodeError, OverflowError, sqlite3.InterfaceError, sqlite3.ProgrammingError)

_owners: dict[Path, Owner] = {}


def owner_of(path: Path) -> Owner:
    """Return this process's claim on what it has under way in a history."""
    # One per process and file: runs that go on after stop() are still under way, also for whoever
    # forgets the History.
    return _owners.setdefault(path, Owner(Path(f"{path}-owners")))


class Writer:
    """Writes what ended and which runs began.

    Args:
        database: where to.
        content: whether previews of inputs and results are kept.

    Attributes:
        written: how many spans it has written.
    """

    def __init__(self, database: Database, *, content: bool) -> None:
        self.written = 0
        self._database = database
        self._content = content
        self._owed: dict[Run[Any], None] = {}

    def write(self, events: Sequence[Event]) -> None:
        """Write a batch, all of it or nothing.

        Raises:
            StorageError: the file takes nothing now.
        """
        spans = [event.span for event in events if event.kind == "end"]
        runs = dict.fromkeys(event.span.run for event in events) | self._owed
        self._owed = dict(list(runs.items())[:_MOST_OWED])
        try:
            self._database.run_sync(partial(self._insert, spans, runs, list))
        except _ODD:
            # Rare enough not to look at every value for it.
            self._database.run_sync(partial(self._insert, spans, runs, _storable))
        self._owed = {}
        self.written += len(spans)

    def close(self) -> None:
        """Close the file, and let go of the claim on runs when none is under way."""
        owner = _owners.get(self._database.path)
        if owner is None:
            self._database.close()
            return
        running = "SELECT 1 FROM runs WHERE status = 'running' AND owner = ? LIMIT 1"
        with suppress(StorageError):  # nobody can tell, so it is kept
            if not self._database.read_sync(
                lambda db: db.execute(running, (owner.id,)).fetchall(), missing=[]
            ):
                owner.release()
        self._database.close()

    def _insert(
        self,
        spans: Sequence[Span],
        runs: Iterable[Run[Any]],
        storable: Callable[[list[Any]], list[Any]],
        db: sqlite3.Connection,
    ) -> None:
        owner = owner_of(self._database.path).id
        process = this_process()
        span_ids, run_ids = Shifts(db, "span", process), Shifts(db, "run", process)
        make = rows_of.SpanRows(span_ids, run_ids, content=self._content)
        for start in range(0, len(spans), SLICE):
            rows = make.of(spans[start : start + SLICE])
            insert(db, "spans", rows_of.PLAIN, storable(rows.plain))
            insert(db, "spans", rows_of.PLAIN + rows_of.DETAILS, storable(rows.detailed))
            insert(db, "events", rows_of.EVENTS, storable(rows.events))
            insert(db, "prices", rows_of.PRICES, storable(rows.prices))
        flat: list[Any] = []
        for run in runs:
            flat += rows_of.run_row(run, run_ids, owner)
        insert(db, "runs", rows_of.RUNS, storable(flat), conflict="REPLACE")


def insert(
    db: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    flat: list[Any],
    conflict: str = "IGNORE",
) -> None:
    """Insert rows that stand one after the other in a flat list.

    Many rows in one statement: with `executemany` the interpreter is let go and asked for again for
    every row, which takes twice as long, and far longer beside a thread that computes.
    """
    width, start = len(columns), 0
    for count in (SLICE, SLICE // 8, 1):
        statement = _statement(table, tuple(columns), count, conflict)
        while len(flat) - start >= count * width:
            db.execute(statement, flat[start : start + count * width])
            start += count * width


@cache
def _statement(table: str, columns: tuple[str, ...], count: int, conflict: str) -> str:
    row = f"({', '.join('?' * len(columns))})"
    rows = ", ".join([row] * count)
    return f"INSERT OR {conflict} INTO {table} ({', '.join(columns)}) VALUES {rows}"  # noqa: S608 - no word of a user's


def _storable(flat: list[Any]) -> list[Any]:
    return [cell_of(value) for value in flat]
