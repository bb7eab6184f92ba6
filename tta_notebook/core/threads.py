"""Waiting for a coroutine from synchronous code."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar, cast

T = TypeVar("T")

# asyncio.Runner answers the first Ctrl-C by cancelling the task that waits here, which it cannot
# notice while it blocks: so it looks.
LOOK_S = 0.05


_turns_nested = False


def turn_running_loop(*, nested: bool) -> None:
    """Say whether a loop that runs may be turned from within, as it may once it is patched for it.

    Args:
        nested: True makes `run_blocking` use the running loop itself: what belongs to that loop, a
            client with connections, can be used then.
    """
    global _turns_nested  # noqa: PLW0603 - the patch is the process's, and so is this
    _turns_nested = nested


def run_blocking(begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the coroutine that `begin` makes and return what it gives.

    Without a running loop in this thread the coroutine gets a loop of its own here. Under a running
    loop it gets one in another thread, with this thread's context variables. An interrupt, and a
    cancellation of the task that waits, cancel it and wait for its clean-up.
    """
    if _is_loop_running():
        if _turns_nested:
            return _turned(begin)
        return cast("T", _Elsewhere(begin).result())
    with asyncio.Runner() as runner:
        return runner.run(begin())


def _turned(begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on the loop that runs here, which turns on meanwhile."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(begin(), name="tta-run-sync")
    try:
        return loop.run_until_complete(task)
    except BaseException:
        if not task.done():  # an interrupt: the task would run on into whatever comes next
            task.cancel()
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        raise


def _is_loop_running() -> bool:
    # Apart, so that an error of the work is not shown as one that came while handling this one.
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Elsewhere:
    """A coroutine on a loop of its own in another thread."""

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._begin = begin
        self._ended = threading.Event()
        self._output: Any = None
        self._error: BaseException | None = None
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_cancelled = False
        self._waiting = asyncio.current_task()
        self._cancelled_before = self._cancellations()  # now: the thread may run ahead of `_wait`
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._work,), name="tta-run-sync")

    def result(self) -> Any:
        self._thread.start()
        try:
            self._wait()
        except BaseException:  # an interrupt, or whatever a signal handler raises
            self._cancel()
            raise
        finally:
            self._thread.join()
        if self._error is not None:
            raise self._error
        return self._output

    def _wait(self) -> None:
        while not self._ended.wait(LOOK_S):
            if self._cancellations() > self._cancelled_before:
                self._cancel()
                self._ended.wait()

    def _cancellations(self) -> int:
        return 0 if self._waiting is None else self._waiting.cancelling()

    def _work(self) -> None:
        try:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                self._output = runner.run(self._main())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the waiting thread
            self._error = error
        finally:
            self._ended.set()

    async def _main(self) -> Any:
        self._task = asyncio.current_task()
        if self._is_cancelled and self._task is not None:  # before there was a task to cancel
            self._task.cancel()
        return await self._begin()

    def _cancel(self) -> None:
        self._is_cancelled = True
        if self._task is not None and self._loop is not None:
            with suppress(RuntimeError):  # it may have ended, and its loop be closed, by now
                self._loop.call_soon_threadsafe(self._task.cancel)
