"""A coroutine that counts its suspensions, and the probe that cancels it at one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Literal, TypeAlias, TypeVar

from tta_notebook.testing.places import await_of, trail

T = TypeVar("T")

Moment: TypeAlias = Literal["suspended", "waking"]


class EndlessError(AssertionError):
    """There were more suspensions than the limit allows."""


class Probe:
    """Counts suspensions and cancels the suspended task at one of them.

    Args:
        target: the suspension at which to cancel, from 1; None only counts.
        moment: "suspended" cancels at once, "waking" when what is awaited is done.
        limit: suspensions a run may have.
        every_task: whether the suspensions of all tasks count, or those of the main one.

    Attributes:
        count: suspensions so far.
        is_delivered: whether it has cancelled a task.
        went_on: whether that task was suspended again afterwards.
        place: where it was suspended.
        trail: the places of all calls it was suspended in.
        overrun: what to say of a run that passed the limit, empty otherwise.
    """

    def __init__(
        self,
        target: int | None = None,
        moment: Moment = "suspended",
        *,
        limit: int,
        every_task: bool,
    ) -> None:
        self.every_task = every_task
        self.count = 0
        self.is_delivered = False
        self.went_on = False
        self.place = ""
        self.trail = ""
        self.overrun = ""
        self._target = target
        self._moment = moment
        self._limit = limit
        self._victim: asyncio.Task[Any] | None = None

    def suspended(self, coroutine: object, awaited: Any) -> None:
        """Take note that the current task's coroutine waits for `awaited` now."""
        self.count += 1
        task = asyncio.current_task()
        self.went_on |= self.is_delivered and task is self._victim
        if self.count > self._limit:
            self.overrun = (
                f"it has more than {self._limit} suspensions and may never end, at "
                f"{await_of(coroutine)}; if it does end, pass a larger limit="
            )
            raise EndlessError(self.overrun)
        if self.count == self._target:
            self.place = str(await_of(coroutine))
            self.trail = " > ".join(str(place) for place in trail(coroutine))
            self._cancel_at_its_moment(task, awaited)

    def release(self) -> asyncio.Task[Any] | None:
        """Return the cancelled task, if there is one, and forget it."""
        victim, self._victim = self._victim, None
        return victim

    def _cancel_at_its_moment(self, task: asyncio.Task[Any] | None, awaited: Any) -> None:
        if self._moment == "suspended":
            self._cancel(task)
        elif asyncio.isfuture(awaited):
            # The task has not yet asked to be woken, so this runs just before it wakes. (A bare
            # yield, as in sleep(0), waits for nothing that could be done.)
            awaited.add_done_callback(lambda _: self._cancel(task))

    def _cancel(self, task: asyncio.Task[Any] | None) -> None:
        if task is not None and task.cancel():
            self._victim, self.is_delivered = task, True


class Counted(Coroutine[Any, Any, T]):
    """A coroutine as it is, except that a probe sees each of its suspensions.

    It is given to a task in the place of the coroutine itself, so that the task, its context and
    `current_task()` are those of ordinary code.
    """

    def __init__(self, inner: Coroutine[Any, Any, T], probe: Probe) -> None:
        self._inner = inner
        self._probe = probe

    def send(self, value: Any) -> Any:
        """Resume the coroutine."""
        return self._seen(self._inner.send(value))

    def throw(self, *error: Any) -> Any:
        """Resume the coroutine with an exception, such as a cancellation."""
        return self._seen(self._inner.throw(*error))

    def close(self) -> None:
        """Close the coroutine."""
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:
        # What names, shows and inspects coroutines looks for cr_frame, __qualname__ and the like.
        return getattr(self._inner, name)

    def _seen(self, awaited: Any) -> Any:
        try:
            self._probe.suspended(self._inner, awaited)
        except EndlessError:
            self._inner.close()
            raise
        return awaited
