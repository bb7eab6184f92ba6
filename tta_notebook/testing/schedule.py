"""Which schedules a seed chooses from: neighbouring steps of tasks, and timers of one instant."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import groupby
from random import Random
from typing import Any, Self, cast
from weakref import WeakKeyDictionary


class Instant(float):
    """A time that also knows its place among equal times; timers are compared by their times.

    >>> Instant(1.0, (0.0, 2)) < Instant(1.0, (0.0, 3)) < Instant(1.5, (0.0, 1))
    True
    """

    __slots__ = ("order",)
    order: tuple[float, int]

    def __new__(cls, when: float, order: tuple[float, int]) -> Self:
        """Make a time that comes where `order` says among equal ones."""
        instant = super().__new__(cls, when)
        instant.order = order
        return instant

    def __lt__(self, other: float) -> bool:
        if isinstance(other, Instant) and float(self) == float(other):
            return self.order < other.order
        return float(self) < float(other)


def permute_steps(
    ready: deque[asyncio.Handle], chance: Random, numbers: WeakKeyDictionary[asyncio.Task[Any], int]
) -> None:
    """Exchange neighbouring steps of different tasks; a task has at most one step in the queue."""
    # In place and from the left: worker threads may append on the right at any moment.
    handles = [ready.popleft() for _ in range(len(ready))]
    permuted: list[asyncio.Handle] = []
    for is_step, group in groupby(handles, lambda handle: _stepping(handle) is not None):
        run = list(group)
        if is_step:
            # From a fixed order: asyncio keeps tasks in sets, whose order differs between runs.
            run.sort(key=lambda handle: numbers.get(_stepping(handle), 0))  # type: ignore[arg-type]
            chance.shuffle(run)
        permuted += run
    ready.extendleft(reversed(permuted))


def _stepping(handle: asyncio.Handle) -> asyncio.Task[Any] | None:
    """Return the task whose next step a handle is; None for any other callback."""
    callback: Any = getattr(handle, "_callback", None)
    owner = getattr(callback, "__self__", None)
    # Other methods of a task, such as cancel, may be callbacks too; a first step has no name.
    is_step = getattr(callback, "__name__", "") in {"", "task_wakeup", "__step", "__wakeup"}
    return cast("asyncio.Task[Any]", owner) if is_step and asyncio.isfuture(owner) else None
