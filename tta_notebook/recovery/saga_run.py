"""One execution of a saga: forward, and back when it cannot be finished."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any, NoReturn
from uuid import uuid4

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import CompensationFailedError
from tta_notebook.core.fanout import fan_out
from tta_notebook.recovery.original import copied
from tta_notebook.recovery.saga_journal import SagaJournal
from tta_notebook.recovery.saga_record import JournalRecord, Record
from tta_notebook.recovery.saga_step import (
    Ended,
    SagaStep,
    Stage,
    Step,
    UnfinishedStep,
    is_ambiguous,
    run_as,
)
from tta_notebook.recovery.saga_undo import Undo


class SagaRun:
    """One execution of a saga.

    Args:
        name: the saga's name.
        stages: its definition.
        context: where it runs.
        journal: where it is written down, if anywhere.
        shape: the definition as the journal compares it.
        compensates_failed: whether the undo of a step that has surely failed runs, too.
        gives_input: whether undos get what their steps were given.
    """

    def __init__(
        self,
        name: str,
        stages: Sequence[Stage],
        context: WorkflowContext,
        *,
        journal: SagaJournal | None,
        shape: str,
        compensates_failed: bool,
        gives_input: bool,
    ) -> None:
        self.id = uuid4().hex
        self._name = name
        self._stages = stages
        self._context = context
        self._compensates_failed = compensates_failed
        self._gives_input = gives_input
        self._ended: list[Ended] = []
        self._handled = sys.exception()
        self._record = Record() if journal is None else JournalRecord(journal, self.id, name, shape)

    async def run(self, input_data: Any, *, timeout_s: float, retries: int) -> Any:
        """Give what the last stage gives, or undo what was done and raise."""
        undo = Undo(
            self._name,
            self.id,
            self._context,
            self._record,
            timeout_s=timeout_s,
            retries=retries,
        )
        try:
            return await self._forward(input_data)
        except GeneratorExit:
            raise  # its loop is gone; nothing can be awaited any more
        except BaseException as error:  # noqa: BLE001 - _raise raises it, or what came of the undo
            await undo.tell(self._record.undoing(self._ended))
            failed = await undo.undo_all(self._ended, error)
            _raise(error, failed, undo.stopped)
        finally:
            self._record.close()

    async def _forward(self, value: Any) -> Any:
        await self._record.begin(value, self._stages[0])
        for stage, then in zip(self._stages, [*self._stages[1:], None], strict=True):
            if stage.is_group:
                work = (self._branch(step, value) for step in stage.steps)
                value = await fan_out(work, limit=None, mode="fail_fast")
                await self._record.began(then)
            else:
                step = stage.steps[0]
                value = await self._step(step, value)
                await self._record.ended_stage(step, value, then)
        return value

    async def _branch(self, step: Step, value: Any) -> Any:
        output = await self._step(step, value)
        await self._record.ended(step, output)
        return output

    async def _step(self, step: Step, value: Any) -> Any:
        # Copied, because later steps may change what they are handed on. Only the undo needs it.
        given = None if step.undo is None else copied(value)
        identity = SagaStep(self._name, self.id, step.name, step.index, is_undo=False)
        try:
            output = await run_as(identity, step.forward, value, self._context)
        except BaseException as error:
            self._ended.append(self._unfinished(step, given, error, identity.idempotency_key))
            raise
        kept = output if step.undo is None else copied(output)
        argument = given if self._gives_input else kept
        self._ended.append(Ended(step, lambda: argument, output=kept))
        return output

    def _unfinished(self, step: Step, given: Any, error: BaseException, key: str) -> Ended:
        uncertain = is_ambiguous(error, self._handled)
        unfinished = UnfinishedStep(given, error, key, uncertain)
        argument = given if self._gives_input else unfinished
        return Ended(
            step,
            lambda: argument,
            error=error,
            is_ambiguous=uncertain,
            is_wanted=uncertain or self._compensates_failed,
        )


def _raise(
    error: BaseException,
    failed: CompensationFailedError | None,
    stopped: asyncio.CancelledError | None,
) -> NoReturn:
    """Raise what comes of a saga that was undone: a cancellation stays one."""
    if stopped is not None and isinstance(error, Exception):
        # It came during the undo: told apart from one that made the undo necessary by its cause.
        if failed is None:
            raise stopped from error
        failed.__cause__ = error
        stopped.add_note(str(failed))
        raise stopped from failed
    if failed is None:
        raise error
    if isinstance(error, Exception):
        raise failed from error
    error.add_note(str(failed))
    raise error from failed
