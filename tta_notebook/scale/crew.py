"""What a map needs of those that work for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from tta_notebook.scale.messages import Answer, Chunk, Event


class Crew(Protocol):
    """Workers, as one map sees them.

    What it has to say comes as events, in the loop of the map: `Workers` when some have come,
    `Gone` when one is lost, after all that it had sent before; and the messages of each worker in
    the order in which it sent them.
    """

    @property
    def patience_s(self) -> float:
        """How long to wait for a worker when there is none."""
        ...

    async def open(self, notify: Callable[[Event], None]) -> Mapping[str, int]:
        """Make ready for a map; return the workers there are, with how many chunks each takes.

        Args:
            notify: takes events.
        """
        ...

    async def give(self, worker: str, chunk: Chunk, package: bytes) -> None:
        """Let a worker begin a chunk; of one that is gone, `Gone` tells.

        Args:
            worker: which.
            chunk: what to do.
            package: the map's workflow, which a worker loads once.
        """
        ...

    async def answer(self, worker: str, answer: Answer) -> None:
        """Send an answer to a worker's question; a worker that is gone is no error."""
        ...

    async def stop(self, chunks: Iterable[int]) -> None:
        """Cancel chunks; each still sends its reports and that it has ended, begun or not."""
        ...

    async def close(self) -> None:
        """Let go of everything that the map held; it was never opened, perhaps."""
        ...
