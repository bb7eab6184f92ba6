"""What one saga tells its journal, before it goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from tta_notebook.core import clock
from tta_notebook.core.errors import EncodeError, StorageError
from tta_notebook.recovery.saga_journal import SagaJournal, Write
from tta_notebook.recovery.saga_step import Ended, Stage, Step
from tta_notebook.recovery.told import shown
from tta_notebook.storage.codec import encode


class Record:
    """What one saga tells its journal; this one has none and forgets.

    The methods named after what steps do may raise, which stops the saga; those named after what
    its undo does give their error, which does not stop the undo.
    """

    async def begin(self, input_data: Any, first: Stage) -> None:
        """Write that the saga begins, with the steps of its first stage."""

    async def ended(self, step: Step, output: Any) -> None:
        """Write what a step of a group gave."""

    async def ended_stage(self, step: Step, output: Any, then: Stage | None) -> None:
        """Write what a single step gave, and that the next stage begins or the saga is done."""

    async def began(self, then: Stage | None) -> None:
        """Write that the next stage begins, or that the saga is done."""

    async def undoing(self, ended: Sequence[Ended]) -> StorageError | None:
        """Write that the undo begins, and of which steps."""

    async def undone(self, step: Step) -> StorageError | None:
        """Write that a step is undone."""

    async def undo_ended(self, *, is_whole: bool) -> StorageError | None:
        """Write that all is undone, or leave the rest to `recover()`."""

    def close(self) -> None:
        """Let go of the saga."""


class JournalRecord(Record):
    """What one saga tells its journal.

    Args:
        journal: where.
        saga_id: this execution of the saga.
        name: the saga's name.
        shape: its definition, as text.
    """

    def __init__(self, journal: SagaJournal, saga_id: str, name: str, shape: str) -> None:
        self._journal = journal
        self._id = saga_id
        self._name = name
        self._shape = shape
        self._written: set[int] = set()
        journal.under_way.add(saga_id)

    async def begin(self, input_data: Any, first: Stage) -> None:
        """Write that the saga begins, with the steps of its first stage."""
        data = encode(input_data)
        began_at_ns = clock.wall_ns(clock.source())

        def insert(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO saga VALUES (?, ?, ?, 'running', ?, ?, ?)",
                (self._id, self._name, self._shape, self._journal.owner.id, data, began_at_ns),
            )

        await self._journal.write(insert, self._going_on(first))

    async def ended(self, step: Step, output: Any) -> None:
        """Write what a step of a group gave."""
        await self._journal.write(self._done(step, encode(output)))
        self._written.add(step.index)

    async def ended_stage(self, step: Step, output: Any, then: Stage | None) -> None:
        """Write what a single step gave, and that the next stage begins or the saga is done."""
        await self._journal.write(self._done(step, encode(output)), self._going_on(then))
        self._written.add(step.index)

    async def began(self, then: Stage | None) -> None:
        """Write that the next stage begins, or that the saga is done."""
        await self._journal.write(self._going_on(then))

    async def undoing(self, ended: Sequence[Ended]) -> StorageError | None:
        """Write that the undo begins, and of which steps."""
        rows = [
            (*self._decided(each), place, self._id, each.step.index)
            for place, each in enumerate(ended)
        ]

        def decide(db: sqlite3.Connection) -> None:
            # What the commit of the last step said no longer holds; an undone saga stays undone.
            db.execute(
                "UPDATE saga SET state = 'undoing' WHERE id = ? AND state <> 'undone'", (self._id,)
            )
            db.execute(
                "UPDATE step SET state = 'skipped' WHERE saga = ? AND state = 'started'",
                (self._id,),
            )
            db.executemany(
                "UPDATE step SET state = ?, error = ?, output = coalesce(?, output), place = ? "
                "WHERE saga = ? AND number = ? AND state <> 'undone'",
                rows,
            )

        return await self._journal.write_or_owe(decide)

    async def undone(self, step: Step) -> StorageError | None:
        """Write that a step is undone."""
        row = (self._id, step.index)
        return await self._journal.write_or_owe(
            lambda db: db.execute(
                "UPDATE step SET state = 'undone' WHERE saga = ? AND number = ?", row
            )
        )

    async def undo_ended(self, *, is_whole: bool) -> StorageError | None:
        """Write that all is undone, or leave the rest to `recover()`."""
        if is_whole:
            return await self._journal.write_or_owe(lambda db: self._finish(db, "undone"))
        return await self._journal.write_or_owe(
            lambda db: db.execute("UPDATE saga SET owner = NULL WHERE id = ?", (self._id,))
        )

    def close(self) -> None:
        """Let go of the saga."""
        self._journal.under_way.discard(self._id)

    def _done(self, step: Step, data: bytes) -> Write:
        row = (data, self._id, self._id, step.index)
        return lambda db: db.execute(
            "UPDATE step SET state = 'done', output = ?, "
            "place = (SELECT count(place) FROM step WHERE saga = ?) WHERE saga = ? AND number = ?",
            row,
        )

    def _going_on(self, then: Stage | None) -> Write:
        if then is None:
            return lambda db: self._finish(db, "done")
        rows = [(self._id, step.index) for step in then.steps]
        return lambda db: db.executemany(
            "INSERT INTO step (saga, number, state) VALUES (?, ?, 'started')", rows
        )

    def _finish(self, db: sqlite3.Connection, state: str) -> None:
        db.execute("UPDATE saga SET state = ?, owner = NULL WHERE id = ?", (state, self._id))
        db.execute(
            "DELETE FROM saga WHERE id IN (SELECT id FROM saga WHERE state = ? "
            "ORDER BY began_at_ns DESC LIMIT -1 OFFSET ?)",
            (state, self._journal.keep_finished),
        )

    def _decided(self, ended: Ended) -> tuple[str, str | None, bytes | None]:
        """Return the state, the error's text and the output of a step when the undo begins."""
        if ended.error is not None:
            state = "uncertain" if ended.is_ambiguous else "failed"
            return (state if ended.is_wanted else "skipped"), shown(ended.error), None
        if ended.step.index in self._written:
            return "done", None, None
        try:
            return "done", None, encode(ended.output)
        except EncodeError as error:
            return "uncertain", shown(error), None
