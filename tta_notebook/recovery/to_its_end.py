"""Work that is finished whatever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(
    work: Coroutine[Any, Any, T],
) -> tuple[asyncio.Task[T], asyncio.CancelledError | None]:
    """Run work in a task of its own and wait for it however often the caller is cancelled.

    Returns:
        The task, which is done, and the first cancellation that came meanwhile: the caller has to
        raise it when it is through.
    """
    task = asyncio.create_task(work)
    stopped: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as cancelled:
            stopped = stopped or cancelled
    return task, stopped
