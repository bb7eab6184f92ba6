"""A number of places and a queue for them, fair and for any number of event loops."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict


class Places:
    """So many places, handed over in the order in which they were asked for.

    A place that becomes free goes to whoever waits longest, never to somebody who comes along just
    then. A waiter that is cancelled leaves the queue; if the place was handed to it already, it
    goes to the next.

    Attributes:
        free: places that nobody has.

    >>> import asyncio
    >>> async def main():
    ...     places = Places(1)
    ...     await places.take()
    ...     return places.free, places.waiting
    >>> asyncio.run(main())
    (0, 0)
    """

    def __init__(self, count: int) -> None:
        self.free = count
        self._waiters: OrderedDict[asyncio.Future[None], asyncio.AbstractEventLoop] = OrderedDict()
        # For a few instructions only: waiters may live in several threads' loops.
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiters)

    def take_now(self) -> bool:
        """Take a place if there is a free one; tell whether there was."""
        with self._lock:
            # Those who wait come first, also in the moment before they have woken up.
            if self.free and not self._waiters:
                self.free -= 1
                return True
            return False

    async def take(self) -> None:
        """Take a place, and wait for it if need be; it must be given back."""
        if self.take_now():
            return
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if self.free and not self._waiters:
                self.free -= 1
                return
            self._waiters[waiter] = loop
        try:
            await waiter
        except BaseException:
            self._leave(waiter)
            raise

    def give_back(self) -> None:
        """Give a place back: to the longest waiting, if anybody waits."""
        with self._lock:
            self._pass_on()

    def _leave(self, waiter: asyncio.Future[None]) -> None:
        with self._lock:
            if self._waiters.pop(waiter, None) is None:
                self._pass_on()  # it has the place already, and will not use it

    def _pass_on(self) -> None:
        while self._waiters:
            waiter, loop = self._waiters.popitem(last=False)
            try:
                loop.call_soon_threadsafe(_wake, waiter)
            except RuntimeError:  # its loop was closed, and nobody waits there any more
                continue
            return
        self.free += 1


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
