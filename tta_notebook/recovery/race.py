"""Calls that race: the first success wins, and nothing outlives the race."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from tta_notebook.core import clock
from tta_notebook.core.context import WorkflowContext

T = TypeVar("T")


class Race(Generic[T]):
    """Starts a call, and further ones while none has succeeded.

    Args:
        call: makes one call.
        delay_s: seconds after which the next call starts beside those under way.
        most: how many calls there may be.
        context: where it is noted, and whose deadline counts.

    Attributes:
        winner: the number of the call that succeeded first; 0 for none.
        result: what it gave.
        failures: what calls raised, by their numbers, in the order in which they did.
        began_ns: when each call began.
        ended_ns: when the first success came.
    """

    def __init__(
        self,
        call: Callable[[], Coroutine[Any, Any, T]],
        delay_s: float,
        most: int,
        context: WorkflowContext,
    ) -> None:
        self.winner = 0
        self.result: T | None = None
        self.failures: dict[int, Exception] = {}
        self.began_ns: list[int] = []
        self.ended_ns = 0
        self._call = call
        self._delay_s = delay_s
        self._most = most
        self._context = context
        self._numbers: dict[asyncio.Task[T | _Failed], int] = {}
        self._is_stopped = False

    async def run(self) -> None:
        """Run until one has succeeded or all have failed; then stop the others and wait for them.

        Raises:
            CancelledError: the race was cancelled, or one of its calls from elsewhere.
        """
        async with asyncio.TaskGroup() as group:
            self._start(group)
            while self._numbers and not self.winner and not self._is_stopped:
                await self._wait(group)
            for task in self._numbers:
                task.cancel("another call was faster")
        if self._is_stopped and not self.winner:
            raise asyncio.CancelledError

    async def _wait(self, group: asyncio.TaskGroup) -> None:
        passed_s = (clock.source() - self.began_ns[-1]) / 1e9
        pause_s = max(0.0, self._delay_s - passed_s)
        done, _ = await asyncio.wait(
            self._numbers,
            timeout=pause_s if self._may_start(pause_s) else None,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in sorted(done, key=self._numbers.__getitem__):
            self._ended(task)
        # The delay is over, or one has failed: then nothing is won by waiting.
        if not (self.winner or self._is_stopped) and self._may_start(0.0):
            self._context.note(
                "hedge",
                number=len(self.began_ns) + 1,
                after_s=(clock.source() - self.began_ns[0]) / 1e9,
            )
            self._start(group)

    def _may_start(self, delay_s: float) -> bool:
        if len(self.began_ns) >= self._most:
            return False
        left_s = self._context.remaining()
        return left_s is None or delay_s < left_s

    def _start(self, group: asyncio.TaskGroup) -> None:
        number = len(self.began_ns) + 1
        self.began_ns.append(clock.source())
        self._numbers[group.create_task(self._run())] = number

    async def _run(self) -> T | _Failed:
        try:
            return await self._call()
        except Exception as error:  # noqa: BLE001 - in a group it would stop the others
            return _Failed(error)

    def _ended(self, task: asyncio.Task[T | _Failed]) -> None:
        number = self._numbers.pop(task)
        if task.cancelled():
            self._is_stopped = True
            return
        outcome = task.result()
        if isinstance(outcome, _Failed):
            self.failures[number] = outcome.error
        elif not self.winner:
            self.winner, self.result, self.ended_ns = number, outcome, clock.source()


class _Failed:
    """An error in the place of a result: errors can be results, too."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error
