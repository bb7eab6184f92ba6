"""A run that stands still for a while: no step begins, and its time limits wait with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from tta_notebook.core import clock
from tta_notebook.core.here import current

if TYPE_CHECKING:
    from tta_notebook.core.deadline import Deadline


class Gate:
    """What every step of a started run passes before it begins.

    It belongs to the outermost run; runs inside have the same one. When that run is cancelled the
    gate no longer holds anybody up: what cleans up after the cancellation is made of steps too.

    Args:
        loop: the run's.

    Attributes:
        task: that of the outermost run.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.task: asyncio.Task[Any] | None = None
        self._loop = loop
        self._shut_ns: int | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        # Those that run, with the seconds that they have left while the gate is shut.
        self._limits: dict[asyncio.Timeout, float | None] = {}
        self._deadlines: WeakSet[Deadline] = WeakSet()

    @property
    def is_shut(self) -> bool:
        """Whether steps wait."""
        if self._shut_ns is None:
            return False
        return self.task is None or not self.task.cancelling()

    def now_ns(self) -> int:
        """Return the time as the run has it: while the gate is shut it stands still."""
        return clock.source() if self._shut_ns is None else self._shut_ns

    async def wait(self) -> None:
        """Wait until the gate is open."""
        while self.is_shut:
            # Of the loop where the step is, which may be another one than the run's.
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    def ask(self, ask: Callable[[Gate], None]) -> bool:
        """Call `ask` with this gate on its loop, from any thread; tell whether there is one."""
        try:
            running: object = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            ask(self)
            return True
        try:
            self._loop.call_soon_threadsafe(ask, self)
        except RuntimeError:  # the loop was closed in the middle of the run
            return False
        return True

    def shut(self) -> bool:
        """Let nobody pass any more, on the run's loop; tell whether that is a change."""
        if self._shut_ns is not None:
            return False
        self._shut_ns = clock.source()
        for limit in self._limits:
            self._halt(limit)
        return True

    def open(self) -> float | None:
        """Let everybody pass, on the run's loop; return for how many seconds nobody did."""
        if self._shut_ns is None:
            return None
        passed_ns = clock.source() - self._shut_ns
        self._shut_ns = None
        for deadline in self._deadlines:
            deadline.at_ns += passed_ns
        for limit, left_s in self._limits.items():
            if left_s is not None and not limit.expired():
                limit.reschedule(self._loop.time() + left_s)
            self._limits[limit] = None
        for waiter in tuple(self._waiters):
            waiter.get_loop().call_soon_threadsafe(_wake, waiter)
        return passed_ns / 1e9

    # Time

    def adopt(self, deadline: Deadline) -> None:
        """Put a deadline of the run off by the time that the gate is shut."""
        deadline.gate = self
        self._deadlines.add(deadline)

    @contextmanager
    def halting(self, limit: asyncio.Timeout) -> Generator[None]:
        """Let a limit that has been entered stand still while the gate is shut."""
        if asyncio.get_running_loop() is not self._loop:
            yield  # it is another loop's to change
            return
        self._limits[limit] = None
        if self._shut_ns is not None:
            self._halt(limit)
        try:
            yield
        finally:
            del self._limits[limit]

    def _halt(self, limit: asyncio.Timeout) -> None:
        when = limit.when()
        if when is not None and not limit.expired():
            self._limits[limit] = when - self._loop.time()
            limit.reschedule(None)


def gate_here() -> Gate | None:
    """Return the gate of the run that the code here belongs to, if it has one."""
    found = current()
    run = None if found is None else found.run
    return None if run is None else run.gate


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
