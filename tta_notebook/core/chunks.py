"""Streams as values: one chunk of a value, one value of chunks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
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
    """Give values as chunks, and an empty one at the end, which says that it is the end.

    Chunks among the values keep their metadata, except for the stated output: who reads a stream
    and passes its end on may have changed what came before it.
    """
    index, last, about = -1, None, dict[str, Any]()
    try:
        async for value in values:
            chunk = value if isinstance(value, StreamChunk) else StreamChunk(value)
            if is_end(chunk):
                about.update(_without_output(chunk))
                continue
            index, last = index + 1, chunk.content
            yield StreamChunk(last, index, metadata=_without_output(chunk))
    finally:
        if isinstance(values, AsyncGenerator):
            await values.aclose()
    end = "" if isinstance(last, str) else None
    yield StreamChunk(end, index + 1, is_final=True, metadata=about)


def is_end(chunk: StreamChunk) -> bool:
    """Tell whether a chunk only says that the stream is over; None and "" are values, too."""
    content = chunk.content
    # Not `content in ("", None)`: an array or a table answers == with another one.
    is_empty = content is None or (isinstance(content, str) and not content)
    return chunk.is_final and is_empty and not _is_whole(chunk)


def _is_whole(chunk: StreamChunk) -> bool:
    stated = chunk.metadata.get("output", chunk)  # the chunk itself stands for nothing stated
    return chunk.chunk_index == 0 and stated is chunk.content


def _without_output(chunk: StreamChunk) -> Mapping[str, Any]:
    return {key: value for key, value in chunk.metadata.items() if key != "output"}


async def contents(chunks: Chunks) -> AsyncGenerator[Any, None]:
    """Give the contents of chunks, without the empty one at the end."""
    async with aclosing(chunks):
        async for chunk in chunks:
            if not is_end(chunk):
                yield chunk.content


async def collect(chunks: Chunks) -> Any:
    """Return what a stream amounts to: its stated output, else its joined text, else a list."""
    gathered: list[Any] = []
    output, has_output = None, False
    async with aclosing(chunks):
        async for chunk in chunks:
            if "output" in chunk.metadata:
                output, has_output = chunk.metadata["output"], True
            elif not is_end(chunk):
                gathered.append(chunk.content)
    if has_output:
        return output
    if gathered and all(isinstance(content, str) for content in gathered):
        return "".join(gathered)
    return gathered
