"""The event loop under a cell: kept turning, interruptible, and reachable for Cancel."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Literal, TypeAlias
from weakref import WeakKeyDictionary

# "main" and "subshell": a message from the front end is handled while a cell awaits, on the
# kernel's own loop or on another thread. "interrupt": it waits until the cell has ended.
CancelRoute: TypeAlias = Literal["main", "subshell", "interrupt"]

_BEAT_S = 0.1
_MAIN_LOOP_COMMS = (7, 4)
_SUBSHELL_COMMS = (7, 1)


class Heartbeat:
    """Turns the loop ten times a second while a cell runs.

    Python runs signal handlers in the main thread, between bytecodes. A loop that sleeps in its
    selector runs none: an interrupt of an idle await took 15.5 s without this.
    """

    def __init__(self) -> None:
        self._cells: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()
        self._beats: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.TimerHandle] = (
            WeakKeyDictionary()
        )

    def start(self, *_: object) -> None:
        """Begin to beat in the running loop, if there is one; a cell begins."""
        loop = _running_loop()
        if loop is None:
            return
        self._cells[loop] = self._cells.get(loop, 0) + 1
        if loop not in self._beats:
            self._beat(loop)

    def stop(self, *_: object) -> None:
        """End with the outermost cell."""
        loop = _running_loop()
        if loop is None:
            return
        self._cells[loop] = max(self._cells.get(loop, 0) - 1, 0)
        if not self._cells[loop] and (beat := self._beats.pop(loop, None)):
            beat.cancel()

    def close(self) -> None:
        """Stop at once: the cell that unloads the extension will not say that it ends."""
        for beat in self._beats.values():
            beat.cancel()
        self._beats.clear()
        self._cells.clear()

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beats[loop] = loop.call_later(_BEAT_S, self._beat, loop)


@contextmanager
def interrupt_cancels() -> Generator[None, None, None]:
    """Let Ctrl-C cancel the current task inside the block, where nobody else sees to it.

    A Jupyter kernel does so by itself. In a terminal KeyboardInterrupt would break out of the loop
    and leave the task behind, to go on when the next cell turns the loop.
    """
    task = asyncio.current_task()
    if task is None or not _is_interrupt_unhandled():
        yield
        return
    loop = asyncio.get_running_loop()
    has_cancelled = False

    def cancel(signum: int, frame: FrameType | None) -> None:
        nonlocal has_cancelled
        if has_cancelled:  # the second Ctrl-C does not wait for anyone's clean-up
            signal.default_int_handler(signum, frame)
        has_cancelled = True
        loop.call_soon_threadsafe(task.cancel)

    previous = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def cancel_route() -> CancelRoute:
    """Tell how a Cancel from the front end reaches a run while its cell runs."""
    kernel = sys.modules.get("ipykernel")
    version: tuple[int, ...] = tuple(getattr(kernel, "version_info", ()))[:2]
    if version >= _MAIN_LOOP_COMMS:
        return "main"
    return "subshell" if version >= _SUBSHELL_COMMS else "interrupt"


def _is_interrupt_unhandled() -> bool:
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
