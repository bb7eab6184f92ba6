"""Whether an error stands in the place of a cancellation."""

from __future__ import annotations

import asyncio
import sys
from typing import cast


def stands_for_cancellation(error: BaseException) -> bool:
    """Tell whether the current task is being cancelled and somebody has made this error of it.

    Whoever would go on after that error, with another attempt or another step, would swallow the
    cancellation. Code that cleans up after one is another matter: there the cancellation is being
    handled, and what the clean-up does may be retried.
    """
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        return False
    # The count alone does not tell: up to 3.12 a task group that fails leaves its parent's at 1.
    is_cleaning_up = isinstance(sys.exc_info()[1], asyncio.CancelledError)
    return not is_cleaning_up and _stems_from_one(error, set())


def _stems_from_one(error: BaseException, seen: set[int]) -> bool:
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, asyncio.CancelledError):
            return True
        if isinstance(one, BaseExceptionGroup):
            # Where a branch has failed first, its error stems from nothing.
            members = cast("BaseExceptionGroup[BaseException]", one).exceptions
            if all(_stems_from_one(member, seen) for member in members):
                return True
        if isinstance(one, TimeoutError) and isinstance(one.__cause__, asyncio.CancelledError):
            continue  # asyncio.timeout has cancelled the task, and taken it back
        left += [one.__context__, one.__cause__]
    return False
