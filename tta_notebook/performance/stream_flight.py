"""One stream for all who ask the same at the same time."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from tta_notebook.core.chunks import Chunks
from tta_notebook.core.events import StreamChunk
from tta_notebook.performance.flight import LOST, Flight

if TYPE_CHECKING:
    from tta_notebook.core.context import WorkflowContext
    from tta_notebook.performance.flight import Flights


class StreamFlight(Flight[Any]):
    """A stream in a task of its own, which many read.

    It goes on only when a reader wants more: what nobody reads is not asked for, and not paid for.
    Who comes late gets it from the start. The last reader that leaves early closes it.

    Attributes:
        chunks: what has come so far.
    """

    def __init__(
        self, flights: Flights, key: str, context: WorkflowContext, *, is_background: bool
    ) -> None:
        super().__init__(flights, key, context, is_background=is_background)
        self.chunks: list[StreamChunk] = []
        self._demand: asyncio.Future[None] | None = None

    async def record(self, source: Chunks) -> None:
        """Read the stream to its end, as its readers ask for it."""
        async with aclosing(source) as pieces:
            async for chunk in pieces:
                self.chunks.append(chunk)
                self.wake()
                # After the last one there is nothing left to pay for, and the end is to be known.
                if not chunk.is_final and not self.is_awaited:
                    self._demand = asyncio.get_running_loop().create_future()
                    await self._demand

    @property
    def is_complete(self) -> bool:
        """Whether the last chunk has come."""
        return bool(self.chunks) and self.chunks[-1].is_final

    async def read(self, ticket: object) -> Chunks:
        """Give the chunks from the first on.

        Args:
            ticket: what `enter` gave.

        Raises:
            Exception: the stream's error, after the chunks before it.
        """
        index = 0
        is_cancelled = False
        try:
            while True:
                while index < len(self.chunks):
                    yield self.chunks[index]
                    index += 1
                if self.task.done():
                    break
                self._want_more()
                await self.woken()
        except asyncio.CancelledError:
            is_cancelled = True
            raise
        finally:
            await self.leave(ticket, is_complete=self.is_complete and not is_cancelled)
        if self.outcome() is LOST:
            # Somebody cancelled it who does not read it. It cannot be taken up in the middle.
            raise asyncio.CancelledError(f"the stream of {self.name!r} was cancelled")

    def _want_more(self) -> None:
        demand, self._demand = self._demand, None
        if demand is not None and not demand.done():
            demand.set_result(None)
