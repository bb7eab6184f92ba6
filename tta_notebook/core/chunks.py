"""Streams as values: one chunk of a value, one value of chunks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from tta_notebook.core.events import StreamChunk

Chunks = AsyncGenerator[StreamChunk, None]


def whole(value: Any) -> StreamChunk:
    """Return `value` as a stream's only chunk."""
    return StreamChunk(value, 0, is_final=True, metadata={"output": value})


async def once(value: Any) -> Chunks:
    """Give `value` as a stream of one chunk."""
    yield whole(value)


async def numbered(values: AsyncIterator[Any]) -> Chunks:
    """Give values as chunks, and an empty one at the end, which says that it is the end."""
    index, last = -1, None
    try:
        async for value in values:
            index += 1
            last = value.content if isinstance(value, StreamChunk) else value
            yield StreamChunk(last, index)
    finally:
        if isinstance(values, AsyncGenerator):
            await values.aclose()
    yield StreamChunk("" if isinstance(last, str) else None, index + 1, is_final=True)


async def contents(chunks: Chunks) -> AsyncGenerator[Any, None]:
    """Give the contents of chunks, without the empty one at the end."""
    async with aclosing(chunks):
        async for chunk in chunks:
            if not (chunk.is_final and chunk.content in ("", None)):
                yield chunk.content


async def collect(chunks: Chunks) -> Any:
    """Return what a stream amounts to: its stated output, else its joined text, else a list."""
    gathered: list[Any] = []
    output, has_output = None, False
    async with aclosing(chunks):
        async for chunk in chunks:
            if "output" in chunk.metadata:
                output, has_output = chunk.metadata["output"], True
            elif not (chunk.is_final and chunk.content in ("", None)):
                gathered.append(chunk.content)
    if has_output:
        return output
    if gathered and all(isinstance(content, str) for content in gathered):
        return "".join(gathered)
    return gathered
