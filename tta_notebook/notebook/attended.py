"""A run that somebody waits for to its end: what is closed with it, and what its cell raises."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tta_notebook.core.errors import BudgetExceededError, TravelError, WorkerLostError
from tta_notebook.core.run import Run
from tta_notebook.notebook import stopped
from tta_notebook.notebook.follow import View, following
from tta_notebook.notebook.ipython import Shell

if TYPE_CHECKING:
    from tta_notebook.llm.cassettes.cassette import Cassette


@dataclass(slots=True)
class Attended:
    """A run, and what it was started with.

    Attributes:
        run: the run.
        limit: the timer over it, which has been set and not entered.
        timeout_s: how long that is; None for no limit.
        cassette: its own, which ends with it.
        view: what shows it meanwhile.
    """

    run: Run[Any]
    limit: asyncio.Timeout
    timeout_s: float | None = None
    cassette: Cassette | None = None
    view: View | None = None

    async def to_its_end(self, shell: Shell) -> BaseException | None:
        """Wait for the run, show it meanwhile, and return what its cell is to raise for it."""
        try:
            with nullcontext() if self.cassette is None else closing(self.cassette):
                async with following(self.run, self.view, shell), self.limit:
                    with self._halting():
                        await self.run
        except BaseException as error:  # noqa: BLE001 - it is raised in the cell
            return self._reason(error)
        return None

    def _halting(self) -> AbstractContextManager[None]:
        """Let the limit stand still while the run is paused."""
        gate = self.run.gate
        return nullcontext() if gate is None else gate.halting(self.limit)

    def _reason(self, error: BaseException) -> BaseException:
        """Return what the cell should raise for what the run raised."""
        run, timeout_s = self.run, self.timeout_s
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            return stopped.cancelled(run, by_interrupt=task is not None and task.cancelling() > 0)
        if timeout_s is not None and isinstance(error, TimeoutError) and run.status == "cancelled":
            return stopped.timed_out(run, timeout_s)
        if isinstance(error, BudgetExceededError):
            return stopped.over_budget(run, error)
        if isinstance(error, TravelError | WorkerLostError):
            return stopped.at_workers(error)
        stopped.point_at_step(error, run)
        stopped.leave_out_our_frames(error, run)
        return error
