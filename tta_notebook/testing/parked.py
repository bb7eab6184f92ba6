"""Which threads wait for the loop that waits for them."""

import sys
from concurrent.futures import Future
from threading import Condition
from types import FrameType
from typing import Any

_RESULT = Future[Any].result.__code__


def parked_threads() -> int:
    """Count the threads blocked in `Future.result()` of a future that is not done.

    A worker that called `run_coroutine_threadsafe(...).result()` is busy to its executor, but
    nothing happens in it before the loop goes on: a loop that waits for it waits for ever.
    """
    # The one public way to see where another thread is (the docs name deadlocks as its purpose).
    frames = sys._current_frames().values()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return sum(_is_parked(frame) for frame in frames)


def _is_parked(frame: FrameType) -> bool:
    caller = frame.f_back
    if caller is None or frame.f_code is not Condition.wait.__code__:
        return False
    if caller.f_code is not _RESULT:
        return False
    # None once result() is on its way out; done when the thread has been told but not yet woken.
    future: Future[Any] | None = caller.f_locals.get("self")
    return future is not None and not future.done()
