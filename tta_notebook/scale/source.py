"""The items of a map, as far as they have come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable
from itertools import islice
from typing import Any


class Source:
    """Gives items as they are wanted, never many ahead: memory stays flat.

    Args:
        items: any iterable or asynchronous iterable.
        wake: called when something has come that was waited for.
        ahead: how many of an asynchronous source may wait to be taken: while what was taken is
            worked on, a slow one fills the next chunks.

    Attributes:
        failure: what the items raised where they come from.
    """

    def __init__(
        self, items: Iterable[Any] | AsyncIterable[Any], wake: Callable[[], None], *, ahead: int
    ) -> None:
        self._later = items if isinstance(items, AsyncIterable) else None
        self._now = None if isinstance(items, AsyncIterable) else iter(items)
        self._wake = wake
        self._ready: deque[Any] = deque()
        self._ahead = ahead
        self._wanted = asyncio.Event()
        self._has_ended = False
        self._task: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to come."""
        return self._has_ended and not self._ready

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Begin to take from an asynchronous source."""
        if self._later is not None:
            self._task = group.create_task(self._feed(self._later))

    def take(self, most: int) -> list[Any]:
        """Return up to so many items: those that are there.

        What an iterable raises is raised here; what it gave before is lost with it, as the map is.
        """
        self._pull(most)
        taken = [self._ready.popleft() for _ in range(min(most, len(self._ready)))]
        self._wanted.set()
        return taken

    def look(self) -> None:
        """Find out whether there is a next item, where nobody is going to take it."""
        self._pull(1)

    def _pull(self, most: int) -> None:
        if self._now is not None and not self._has_ended:
            self._ready.extend(islice(self._now, most - len(self._ready)))
            self._has_ended = len(self._ready) < most

    async def _feed(self, items: AsyncIterable[Any]) -> None:
        try:
            async for item in items:
                self._ready.append(item)
                self._wake()
                while len(self._ready) >= self._ahead:
                    self._wanted.clear()
                    await self._wanted.wait()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - see failure
            self._fail(error)
        finally:
            self._has_ended = True
            self._wake()

    def _fail(self, error: BaseException) -> None:
        """Keep what the source raised; one that raises CancelledError by itself has failed, too."""
        if self._task is not None and self._task.cancelling():
            raise error
        self.failure = error

    async def close(self) -> None:
        """Stop taking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
