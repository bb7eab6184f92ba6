"""Streams that are held back until somebody has judged what they amount to."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from tta_notebook.core import chunks
from tta_notebook.core.events import StreamChunk
from tta_notebook.core.primitive import Chunks


class Held(list[StreamChunk]):
    """The pieces of a stream.

    Attributes:
        output: what they amount to.
    """

    output: Any = None


async def gathered(pieces: Chunks) -> Held:
    """Return all pieces of a stream."""
    async with aclosing(pieces):
        held = Held([chunk async for chunk in pieces])
    held.output = await chunks.collect(replayed(held))
    return held


async def replayed(held: Held) -> Chunks:
    """Give the pieces again."""
    for chunk in held:
        yield chunk
