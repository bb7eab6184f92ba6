"""Running many at once, structured: nothing outlives the call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
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
    task = asyncio.current_task()
    assert task is not None
    cancelled_before = task.cancelling()
    prepare: Callable[[Work], Work] = _returning_its_error if mode == "collect" else _as_it_is
    try:
        if limit is None and not isinstance(work, AsyncIterable):
            return await _all_at_once(map(prepare, work))
        return await _in_places(work, limit or DEFAULT_LIMIT, prepare)
    except BaseExceptionGroup as group:
        failures = group.exceptions
    if task.cancelling() > cancelled_before:
        # Up to 3.12 a task group lets an error win over a cancellation that came at the same time;
        # whoever handles the error would run on although it was told to stop.
        raise asyncio.CancelledError
    # Raised outside of the except block: the group must not become the context of a user's error.
    raise _first(failures)


async def _all_at_once(work: Iterable[Work]) -> list[Any]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
    return [task.result() for task in tasks]


async def _in_places(
    work: Iterable[Work] | AsyncIterable[Work], limit: int, prepare: Callable[[Work], Work]
) -> list[Any]:
    """Take the next piece only when there is a place for it: memory stays flat."""
    places = asyncio.Semaphore(limit)
    results: list[Any] = []

    async def fill(index: int, each: Work) -> None:
        try:
            results[index] = await each
        finally:
            places.release()

    pieces = work if isinstance(work, AsyncIterable) else _asynchronous(work)
    async with asyncio.TaskGroup() as group:
        await places.acquire()
        async for each in pieces:
            results.append(None)
            group.create_task(fill(len(results) - 1, prepare(each)))
            await places.acquire()
    return results


async def _asynchronous(work: Iterable[Work]) -> AsyncIterator[Work]:
    for each in work:
        yield each


def _as_it_is(work: Work) -> Work:
    return work


async def _returning_its_error(work: Work) -> Any:
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - collect mode is asked for every failure
        return error


def _first(failures: tuple[BaseException, ...]) -> BaseException:
    first, *others = failures
    for other in others:
        first.add_note(f"A parallel branch failed beside it: {type(other).__name__}: {other}")
    return first


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
