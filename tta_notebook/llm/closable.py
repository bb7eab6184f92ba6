"""Asynchronous iterators that are closed with certainty."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any, TypeVar

T = TypeVar("T")


async def closable(items: AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """Give what `items` gives; closing this closes `items` too, if it can be closed.

    Leaving an `async for` early closes nothing: without this the work behind an iterator would go
    on until the garbage collector comes by.
    """
    try:
        async for item in items:
            yield item
    finally:
        close: Any = getattr(items, "aclose", None)
        if close is not None:
            await close()
