"""The undo of a saga: in reverse, to its end whatever happens, each step in its share of time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

from tta_notebook.core import clock
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.deadline import Deadline, bounded
from tta_notebook.core.errors import (
    CompensationFailedError,
    StepTimeoutError,
    StorageError,
    WorkflowError,
)
from tta_notebook.recovery.original import copied
from tta_notebook.recovery.saga_record import Record
from tta_notebook.recovery.saga_step import Ended, SagaStep, run_as
from tta_notebook.recovery.to_its_end import to_its_end
from tta_notebook.recovery.told import shown

# Before a failed undo is tried again: doubled each time, up to the longest.
_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


class Undo:
    """The undo of one execution of a saga.

    It happens in the saga's own task, but everything that waits does so in a task of its own. A
    cancellation then meets only the wait, which goes on; it is remembered in `stopped`.

    Args:
        saga: the saga's name.
        saga_id: this execution of it.
        context: that of the saga; its deadline may be gone and is not asked.
        record: the journal's.
        timeout_s: seconds for all undos together.
        retries: how often a failed undo is tried again.

    Attributes:
        stopped: the first cancellation that came meanwhile.
        undone: the names of the steps that are undone.
    """

    def __init__(
        self,
        saga: str,
        saga_id: str,
        context: WorkflowContext,
        record: Record,
        *,
        timeout_s: float,
        retries: int,
    ) -> None:
        self.stopped: asyncio.CancelledError | None = None
        self.undone: list[str] = []
        self._saga = saga
        self._saga_id = saga_id
        self._context = context
        self._record = record
        self._timeout_s = timeout_s
        self._retries = retries

    async def undo_all(
        self, ended: Sequence[Ended], because: BaseException | None
    ) -> CompensationFailedError | None:
        """Undo what has to be, the last first; give what went wrong.

        Args:
            ended: the steps in the order in which they ended; the journal knows them.
            because: what made it necessary; None when the process died.
        """
        wanted = [each for each in reversed(ended) if each.is_undoable]
        if wanted:
            names = [each.step.name for each in wanted]
            said = "its process died" if because is None else shown(because)
            self._context.note("compensating", steps=names, because=said)
        failed: list[tuple[Ended, Exception]] = []
        began = clock.monotonic()
        for number, each in enumerate(wanted):
            # What others have left is shared out, and nobody takes from the share of those after.
            left_s = self._timeout_s - (clock.monotonic() - began)
            share_s = max(self._timeout_s / len(wanted), left_s / (len(wanted) - number))
            error = await self._undo(each, share_s)
            if error is not None:
                failed.append((each, error))
                self._context.note("undo_failed", step=each.step.name, error=shown(error))
                continue
            self.undone.append(each.step.name)
            self._context.note("compensated", step=each.step.name)
            await self.tell(self._record.undone(each.step))
        await self.tell(self._record.undo_ended(is_whole=not failed))
        return _failure(self._saga, failed, len(wanted)) if failed else None

    async def _undo(self, ended: Ended, share_s: float) -> Exception | None:
        if ended.is_ambiguous:
            said = "its process died" if ended.error is None else shown(ended.error)
            self._context.note("uncertain", step=ended.step.name, error=said)
        deadline = Deadline.after(share_s)
        error = await self._attempt(ended, deadline, share_s)
        for number in range(self._retries):
            pause_s = min(_PAUSE_S * 2**number, _LONGEST_PAUSE_S)
            if error is None or deadline.remaining_s() <= pause_s:
                break
            await self._to_its_end(asyncio.sleep(pause_s))
            error = await self._attempt(ended, deadline, share_s)
        return error

    async def _attempt(self, ended: Ended, deadline: Deadline, share_s: float) -> Exception | None:
        task = await self._to_its_end(self._run(ended, deadline, share_s))
        if task.cancelled():
            return WorkflowError(
                f"{self._saga!r}: the undo of {ended.step.name!r} was cancelled from outside, so "
                "that nobody knows what it has done. Do not cancel tasks that are not yours."
            )
        error = task.exception()
        if error is None or isinstance(error, Exception):
            return error
        raise error  # an interrupt

    async def _run(self, ended: Ended, deadline: Deadline, share_s: float) -> None:
        undo = ended.step.undo
        assert undo is not None
        step = SagaStep(self._saga, self._saga_id, ended.step.name, ended.step.index, is_undo=True)
        # Its own deadline, which it is told and which is kept here: the run's may be gone.
        inside = self._context.until(deadline if share_s < math.inf else None)
        with inside.active():
            work = run_as(step, undo, copied(ended.argument()), inside)
            if share_s == math.inf:
                await work
            else:
                too_late = partial(self._too_late, ended, share_s)
                await bounded(work, deadline.remaining_s(), too_late)

    def _too_late(self, ended: Ended, share_s: float) -> StepTimeoutError:
        return StepTimeoutError(
            f"{self._saga!r}: the undo of {ended.step.name!r} was stopped after its share of the "
            f"time, {share_s:.3g} s. Allow more with compensation_timeout=….",
            kind="own",
            primitive=self._saga,
            timeout_s=share_s,
        )

    async def tell(self, telling: Coroutine[Any, Any, StorageError | None]) -> None:
        """Tell the journal something, to its end; the undo goes on when that fails."""
        task = await self._to_its_end(telling)
        error = asyncio.CancelledError() if task.cancelled() else task.exception() or task.result()
        if error is not None:
            # What is owed to the journal is written with the next write that succeeds.
            self._context.note("journal_failed", error=shown(error))

    async def _to_its_end(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task, stopped = await to_its_end(work)
        self.stopped = self.stopped or stopped
        return task


def _failure(
    saga: str, failed: Sequence[tuple[Ended, Exception]], count: int
) -> CompensationFailedError:
    names = [ended.step.name for ended, _ in failed]
    return CompensationFailedError(
        f"{saga!r}: {len(failed)} of {count} undos failed, so "
        f"{', '.join(map(repr, names))} may still be done. Undo that by hand, or with "
        "recover() where the saga has a journal.",
        [error for _, error in failed],
        names,
    )
