"""Running many at once, structured: nothing outlives the call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Coroutine, Iterable
from contextlib import aclosing
from typing import Any, Literal, TypeAlias, get_args

from tta_notebook.core.errors import ConfigurationError, Names

DEFAULT_LIMIT = 100

Mode: TypeAlias = Literal["fail_fast", "collect"]
Work: TypeAlias = Coroutine[Any, Any, Any]


async def fan_out(
    work: Iterable[Work] | AsyncIterable[Work], *, limit: int | None, mode: str
) -> list[Any]:
    """Run coroutines at once and return their results in order.

    Args:
        work: the coroutines; each is taken when there is a place for it.
        limit: how many run at once; None for all.
        mode: "fail_fast": the first failure cancels the others, waits for them and is raised as it
            is, with a note of what failed beside it. "collect": failures stand among the results.
    """
    siblings = _Siblings(is_collecting=mode == "collect")
    try:
        async with asyncio.TaskGroup() as group:
            if limit is None and not isinstance(work, AsyncIterable):
                for each in work:
                    siblings.begin(group, each)
            else:
                siblings.begin_feeding(group, work, limit or DEFAULT_LIMIT)
        return siblings.outcome()
    except BaseException:
        siblings.forget_all()
        raise


class _Siblings:
    """Tasks of which the first to fail stops the others.

    They stop each other themselves. A task group that does it cancels its parent as well, and up to
    3.12 loses count of that: the parent cannot tell a sibling's failure from its own cancellation.
    """

    def __init__(self, *, is_collecting: bool) -> None:
        self._tasks: dict[asyncio.Task[None], Work | None] = {}
        self._is_collecting = is_collecting
        self._is_stopped = False
        self._results: list[Any] = []
        self._failures: list[BaseException] = []
        self._parent = asyncio.current_task()
        self._asked_before = self._times_asked()

    def begin(self, group: asyncio.TaskGroup, work: Work) -> asyncio.Task[None]:
        self._results.append(None)
        task = group.create_task(self._fill(len(self._results) - 1, work))
        self._tasks[task] = work
        return task

    def begin_feeding(
        self, group: asyncio.TaskGroup, work: Iterable[Work] | AsyncIterable[Work], limit: int
    ) -> None:
        self._tasks[group.create_task(self._feed(group, work, limit))] = None

    async def _feed(
        self, group: asyncio.TaskGroup, work: Iterable[Work] | AsyncIterable[Work], limit: int
    ) -> None:
        """Begin the next piece of work only when there is a place for it: memory stays flat."""
        places = asyncio.Semaphore(limit)

        def leave(task: asyncio.Task[None]) -> None:
            self._forget(task)
            places.release()

        try:
            async with aclosing(_asynchronous(work)) as pieces:
                await places.acquire()
                async for each in pieces:
                    self.begin(group, each).add_done_callback(leave)
                    await places.acquire()
        except Exception as error:  # noqa: BLE001 - it is raised by outcome()
            self._stop(error)

    def _forget(self, task: asyncio.Task[None]) -> None:
        work = self._tasks.pop(task)
        if work is not None:
            work.close()  # a task that is cancelled before it begins leaves its work unawaited

    def forget_all(self) -> None:
        for task in list(self._tasks):
            self._forget(task)

    async def _fill(self, index: int, work: Work) -> None:
        try:
            self._results[index] = await work
        except asyncio.CancelledError as error:
            self._stop(error)
            raise
        except Exception as error:  # noqa: BLE001 - it is raised by outcome(), or was asked for
            if self._is_collecting:
                self._results[index] = error
            else:
                self._stop(error)

    def _stop(self, reason: BaseException) -> None:
        if self._is_stopped:
            if isinstance(reason, Exception):  # it failed while it cleaned up
                self._failures.append(reason)
            return
        self._is_stopped = True
        self._failures.append(reason)
        if self._times_asked() > self._asked_before:
            return  # the group cancels all of them; a second time would interrupt their clean-up
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    def _times_asked(self) -> int:
        """Return how often the caller was asked to stop."""
        return 0 if self._parent is None else self._parent.cancelling()

    def outcome(self) -> list[Any]:
        if not self._failures:
            return self._results
        first, *others = self._failures
        for other in others:
            first.add_note(f"A parallel branch failed beside it: {type(other).__name__}: {other}")
        raise first


async def _asynchronous(work: Iterable[Work] | AsyncIterable[Work]) -> AsyncGenerator[Work, None]:
    if isinstance(work, AsyncIterable):
        async for each in work:
            yield each
    else:
        for each in work:
            yield each


def checked_limit(max_concurrency: int | None, owner: str) -> int | None:
    """Return `max_concurrency` if it is a number of places, else raise."""
    is_number = isinstance(max_concurrency, int) and not isinstance(max_concurrency, bool)
    if max_concurrency is None or (is_number and max_concurrency > 0):
        return max_concurrency
    raise ConfigurationError(
        f"{owner}: max_concurrency={max_concurrency!r} cannot be a number of places. Give a whole "
        "number from 1, or leave it out."
    )


def checked_mode(mode: str, owner: str) -> str:
    """Return `mode` if it is one, else raise."""
    modes = get_args(Mode)
    if mode in modes:
        return mode
    raise ConfigurationError(
        f"{owner}: mode={mode!r} says nothing about failures; modes are "
        f"{Names(modes).instead_of(mode)}."
    )
