"""Forgetting what is old, a little at a time."""

from __future__ import annotations

import sqlite3

from tta_notebook.storage.sqlite import Database

SLICE = 5_000
"""The most spans of one transaction: a fraction of a second, and others write in between."""

_TABLES = ("events", "spans", "runs", "prices")


def prune(database: Database, before_ns: int) -> int:
    """Remove what began before a moment, and return how many runs that were."""
    removed = 0
    while True:
        runs, spans = database.run_sync(lambda db: prune_some(db, before_ns, SLICE))
        removed += runs
        if not runs and not spans:
            return removed


def prune_some(db: sqlite3.Connection, before_ns: int, most: int) -> tuple[int, int]:
    """Remove the oldest of what began before a moment; return how many runs and spans it was."""
    old_spans = "SELECT span_id FROM spans WHERE started_ns < ? ORDER BY started_ns LIMIT ?"
    old_runs = "SELECT id FROM runs WHERE started_ns < ? ORDER BY started_ns LIMIT ?"
    which = (before_ns, most)
    db.execute(f"DELETE FROM events WHERE span_id IN ({old_spans})", which)  # noqa: S608 - no word of a user's
    spans = db.execute(f"DELETE FROM spans WHERE span_id IN ({old_spans})", which).rowcount  # noqa: S608
    runs = db.execute(f"DELETE FROM runs WHERE id IN ({old_runs})", which).rowcount  # noqa: S608
    return runs, spans


def clear(database: Database) -> None:
    """Remove everything but who owns which identities."""

    def delete(db: sqlite3.Connection) -> None:
        for table in _TABLES:
            db.execute(f"DELETE FROM {table}")  # noqa: S608 - no word of a user's

    database.run_sync(delete)
