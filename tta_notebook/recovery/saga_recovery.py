"""Undoing what killed processes, and undos that failed, have left in a journal."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import (
    CompensationFailedError,
    ConfigurationError,
    WorkflowError,
)
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.recovery.saga_journal import SagaJournal, SagaRow, StepRow
from tta_notebook.recovery.saga_record import JournalRecord
from tta_notebook.recovery.saga_step import Ended, Stage, Step, UnfinishedStep
from tta_notebook.recovery.saga_undo import Undo
from tta_notebook.recovery.to_its_end import to_its_end
from tta_notebook.storage.codec import decode


@dataclass(frozen=True, slots=True)
class RecoveredSaga:
    """What `recover()` did for one saga.

    Attributes:
        saga_id: which execution it was.
        undone: the names of the steps that were undone now, in that order.
        uncompensated: the names of those whose undo failed (again).

    >>> RecoveredSaga("7f", ("pay", "book")).undone
    ('pay', 'book')
    """

    saga_id: str
    undone: tuple[str, ...] = ()
    uncompensated: tuple[str, ...] = ()


class SagaRecovery(WorkflowPrimitive[object, list[RecoveredSaga]]):
    """Undoes what is left of a saga's executions in its journal.

    Args:
        saga: the saga's name, which its executions bear in the journal.
        stages: its definition.
        journal: where they are.
        shape: the definition as the journal compares it.
        timeout_s: seconds for the undos of each execution.
        retries: how often a failed undo is tried again.
        gives_input: whether undos get what their steps were given.
    """

    kind: ClassVar[str] = "recovery"

    def __init__(
        self,
        saga: str,
        stages: Sequence[Stage],
        journal: SagaJournal,
        *,
        shape: str,
        timeout_s: float,
        retries: int,
        gives_input: bool,
    ) -> None:
        super().__init__(default_name=f"recover {saga}")
        self._saga = saga
        self._stages = stages
        self._journal = journal
        self._shape = shape
        self._timeout_s = timeout_s
        self._retries = retries
        self._gives_input = gives_input

    async def execute(
        self,
        input_data: object,  # noqa: ARG002 - what is left is in the journal
        context: WorkflowContext = HERE,
    ) -> list[RecoveredSaga]:
        """Undo one execution after the other; raise at the end what went wrong."""
        rows = await self._journal.unfinished(self._saga)
        for row in rows:
            self._check_shape(row)
        recovered: list[RecoveredSaga] = []
        failures: list[CompensationFailedError] = []
        for row in rows:
            claimed = await self._claim(row)
            if claimed is None:
                continue
            done, failed, stopped = await self._undo(claimed, context)
            recovered.append(done)
            failures += [] if failed is None else [failed]
            if stopped is not None:
                raise stopped from failed
        if failures:
            raise _joined(self._saga, failures)
        return recovered

    async def _claim(self, row: SagaRow) -> SagaRow | None:
        # To its end: a claim that nobody knows of would never be let go.
        task, stopped = await to_its_end(self._journal.claim(row.id))
        if stopped is None:
            return task.result()
        if not task.cancelled() and task.exception() is None and task.result() is not None:
            record = self._record(row)
            await to_its_end(record.undo_ended(is_whole=False))
            record.close()
        raise stopped

    async def _undo(
        self, row: SagaRow, context: WorkflowContext
    ) -> tuple[RecoveredSaga, CompensationFailedError | None, asyncio.CancelledError | None]:
        record = self._record(row)
        undo = Undo(
            self._saga, row.id, context, record, timeout_s=self._timeout_s, retries=self._retries
        )
        try:
            failed = await undo.undo_all(_Read(self._stages, row, self._gives_input).ended(), None)
        finally:
            record.close()
        left = () if failed is None else failed.uncompensated
        return RecoveredSaga(row.id, tuple(undo.undone), left), failed, undo.stopped

    def _record(self, row: SagaRow) -> JournalRecord:
        return JournalRecord(self._journal, row.id, self._saga, self._shape)

    def _check_shape(self, row: SagaRow) -> None:
        if row.shape != self._shape:
            raise ConfigurationError(
                f"{self._saga!r}: the journal {self._journal.path} holds an unfinished execution "
                f"whose steps are {row.shape}, and this saga's are {self._shape}: nobody can know "
                "which undo belongs to which step, so nothing was undone. Recover with the saga as "
                "it was, or give the new one another name."
            )


class _Read:
    """The steps of an execution as its journal tells them.

    What was given and what came out is decoded only when an undo asks for it: one value that cannot
    be decoded must not keep the other undos from running.
    """

    def __init__(self, stages: Sequence[Stage], row: SagaRow, gives_input: bool) -> None:
        self._stages = stages
        self._row = row
        self._gives_input = gives_input
        self._rows = {step.number: step for step in row.steps}

    def ended(self) -> list[Ended]:
        """Return the steps that were begun, in the order in which they ended."""
        found = [
            self._read(self._rows[step.index], step, number)
            for number, stage in enumerate(self._stages)
            for step in stage.steps
            if step.index in self._rows
        ]
        return [each for _, each in sorted(found, key=lambda pair: pair[0])]

    def _read(self, row: StepRow, step: Step, stage: int) -> tuple[tuple[float, int], Ended]:
        place = math.inf if row.place is None else row.place
        # What had not ended when the process died is uncertain, also in its journal from now on.
        is_ambiguous = row.state in ("started", "uncertain")
        ended = Ended(
            step,
            partial(self._argument, row, stage),
            error=None if row.error is None else WorkflowError(row.error),
            is_ambiguous=is_ambiguous,
            is_wanted=row.state not in ("undone", "skipped"),
        )
        return (place, row.number), ended

    def _argument(self, row: StepRow, stage: int) -> Any:
        if self._gives_input:
            return self._given(stage)
        if row.state == "done":
            assert row.output is not None
            return decode(row.output)
        error = None if row.error is None else WorkflowError(row.error)
        key = f"{self._row.id}/{row.number}"
        return UnfinishedStep(self._given(stage), error, key, row.state != "failed")

    def _given(self, stage: int) -> Any:
        """Return what a stage was given: what the one before it gave."""
        if stage == 0:
            return decode(self._row.input)
        before = self._stages[stage - 1]
        outputs = [decode(self._rows[step.index].output or b"") for step in before.steps]
        return outputs if before.is_group else outputs[0]


def _joined(saga: str, failures: Sequence[CompensationFailedError]) -> CompensationFailedError:
    names = [name for failure in failures for name in failure.uncompensated]
    return CompensationFailedError(
        f"{saga!r}: undos of {len(failures)} executions failed again, so "
        f"{', '.join(map(repr, names))} may still be done. Call recover() once more when the cause "
        "is gone, or undo that by hand.",
        [error for failure in failures for error in failure.exceptions],
        names,
    )
