"""Guards of a run, asked from another process: the side of the run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.protocols import PlannedCall
from tta_notebook.core.usage import Usage
from tta_notebook.llm.holds import Holds, guards_of
from tta_notebook.scale.failures import able_to_travel
from tta_notebook.scale.messages import Answer, Ask, Settle

_Key = tuple[int, int]


class Counter:
    """Asks a run's guards for its workers.

    Args:
        context: of the step that maps: the calls count as its own.
        tell: sends an answer to a worker.
        fail: told of what goes wrong with the guards themselves, or on the way to a worker.
        group: whose tasks the questions are.
    """

    def __init__(
        self,
        context: WorkflowContext,
        tell: Callable[[str, Answer], Awaitable[None]],
        fail: Callable[[Exception], object],
        group: asyncio.TaskGroup,
    ) -> None:
        self._context = context
        self._tell = tell
        self._fail = fail
        self._group = group
        self._open: dict[_Key, _Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, worker: str, ask: Ask) -> None:
        """Begin to answer a question; one that is open already is not asked again."""
        key = (ask.chunk, ask.number)
        if key in self._open:
            return
        call = self._open[key] = _Call(PlannedCall(context=self._context, **ask.call))
        task = call.task = self._group.create_task(self._answer(worker, key, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, worker: str, key: _Key, call: _Call) -> None:
        answer = await self._asked(key, call)
        try:
            await self._tell(worker, answer)
        except Exception as error:  # noqa: BLE001 - it is raised where the map was called
            self._fail(error)

    async def _asked(self, key: _Key, call: _Call) -> Answer:
        guards = guards_of(self._context, call.planned.source)  # type: ignore[arg-type]  # a Source
        try:
            holds = await Holds.reserve(guards, call.planned)
        except (Exception, asyncio.CancelledError) as error:
            if _is_cancelled():
                raise
            self._open.pop(key, None)
            return Answer(key[1], refusal=able_to_travel(error))
        if key not in self._open:  # it was given up, and the guards have not heard it
            holds.release()
            raise asyncio.CancelledError
        call.holds = holds
        return Answer(key[1], holds.max_output_tokens)

    def settle(self, settle: Settle) -> None:
        """Book what a call used, or give back what was set aside for it."""
        call = self._open.pop((settle.chunk, settle.number), None)
        if call is not None:
            self._close(call, settle.usage)

    def _close(self, call: _Call, usage: Usage | None) -> None:
        if call.holds is None:
            call.give_up()
            return
        try:
            call.holds.release() if usage is None else call.holds.settle(usage)
        except Exception as error:  # noqa: BLE001 - a guard's own, raised where the map was called
            self._fail(error)

    def ended(self, chunk: int) -> None:
        """Give back what a chunk that came to its end has left open."""
        for call in self._calls_of(chunk):
            self._close(call, None)

    def lost(self, chunk: int) -> int:
        """Book the most that the open calls of a worker can have used that is gone; count them.

        Nobody knows whether they were made. What was set aside for them is spent rather than given
        back: so the sum of what is booked is never below what providers will charge.
        """
        calls = self._calls_of(chunk)
        for call in calls:
            self._close(call, call.most())
        return sum(call.holds is not None for call in calls)

    def _calls_of(self, chunk: int) -> list[_Call]:
        return [self._open.pop(key) for key in list(self._open) if key[0] == chunk]

    def close(self) -> None:
        """Let go of answers that are still on their way."""
        for task in self._tasks:
            task.cancel()


class _Call:
    """A call for which something was set aside, or is about to be."""

    def __init__(self, planned: PlannedCall) -> None:
        self.planned = planned
        self.task: asyncio.Task[None] | None = None
        self.holds: Holds | None = None

    def give_up(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def most(self) -> Usage:
        return Usage(
            input_tokens=self.planned.input_tokens or 0,
            output_tokens=0 if self.holds is None else self.holds.max_output_tokens,
            estimated=True,
        )


def _is_cancelled() -> bool:
    """Tell whether the task here was told to stop, by whoever gave the call up."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
