"""One of something per event loop: an HTTP client belongs to the loop it has connections on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


async def _nothing_to_close() -> None:
    return


class Opened(NamedTuple, Generic[T]):
    """A resource and how it is closed."""

    resource: T
    close: Callable[[], Awaitable[object]] = _nothing_to_close


class PerLoop(Generic[T]):
    """Opens a resource once per event loop and closes it when the loop shuts down.

    A loop announces its end to the asynchronous generators it has seen, and to nothing else: so
    each resource is held open inside one. `asyncio.run` and `asyncio.Runner` close them that way.

    Args:
        open_resource: opens it. Not an asynchronous context manager: the generator inside of that
            would be told of the loop's end as well, at the same time.
    """

    def __init__(self, open_resource: Callable[[], Opened[T]]) -> None:
        self._open = open_resource
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._held: WeakKeyDictionary[asyncio.AbstractEventLoop, _Held[T]] = WeakKeyDictionary()

    # A copy opens its own: what is held belongs to loops of this process

    def __getstate__(self) -> dict[str, Any]:
        return {"_open": self._open}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_afresh()

    async def get(self) -> T:
        """Return the running loop's resource, opening it if this is the first time."""
        loop = asyncio.get_running_loop()
        with self._lock:
            held = self._held.get(loop)
            if held is None:
                self._forget_closed_loops()
                held = self._held[loop] = self._hold(loop)
        if not held.is_kept:
            held.is_kept = True
            await anext(held.keeper)
        return held.resource

    def _hold(self, loop: asyncio.AbstractEventLoop) -> _Held[T]:
        opened = self._open()
        return _Held(opened.resource, self._keep(loop, opened))

    async def _keep(
        self, loop: asyncio.AbstractEventLoop, opened: Opened[T]
    ) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(loop, None)
            await opened.close()

    def _forget_closed_loops(self) -> None:
        # A loop that was closed without ceremony would be kept alive by its own resource.
        for loop in [known for known in self._held if known.is_closed()]:
            del self._held[loop]


class _Held(Generic[T]):
    """One loop's resource and the generator that closes it in the end."""

    def __init__(self, resource: T, keeper: AsyncGenerator[None, None]) -> None:
        self.resource = resource
        self.keeper = keeper
        self.is_kept = False
