"""Answers as they are handed out of a store."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from tta_notebook.core import chunks
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.events import StreamChunk
from tta_notebook.core.usage import Tally
from tta_notebook.performance.copies import copied
from tta_notebook.performance.entry import Entry
from tta_notebook.performance.keeper import Keeper
from tta_notebook.performance.statistics import Statistics

# What a note says of a hit beside that it is one.
FRESH: Final[Mapping[str, Any]] = {}
NEGATIVE: Final[Mapping[str, Any]] = {"negative": True}
STALE: Final[Mapping[str, Any]] = {"stale": True}
FOR_ERROR: Final[Mapping[str, Any]] = {"stale": "error"}


class Hits:
    """Hands out stored answers: counted, noted, copied, and marked as paid for.

    Args:
        keeper: where they come from.
        counts: where they are counted.
        copies: whether answers that can change are copied.
    """

    def __init__(self, keeper: Keeper, counts: Statistics, *, copies: bool) -> None:
        self._counts = counts
        self._copies = copies and keeper.needs_copies

    def value(
        self, key: str, entry: Entry, at_s: float, mark: Mapping[str, Any], context: WorkflowContext
    ) -> Any:
        """Return the answer, or raise the error that it is."""
        self._count(key, entry, at_s, mark, context)
        if entry.error is not None:
            raise copy.copy(entry.error)
        value = entry.value if entry.is_immutable or not self._copies else copied(entry.value)
        if entry.usage is not None:
            context.reused(value)
        return value

    def chunks(
        self, key: str, entry: Entry, at_s: float, mark: Mapping[str, Any], context: WorkflowContext
    ) -> tuple[StreamChunk, ...]:
        """Return the answer in the pieces in which it was streamed, or in one."""
        if entry.chunks is None or entry.error is not None:
            return (chunks.whole(self.value(key, entry, at_s, mark, context)),)
        self._count(key, entry, at_s, mark, context)
        pieces: tuple[StreamChunk, ...] = copied(entry.chunks) if self._copies else entry.chunks
        for chunk in pieces:
            if isinstance(chunk.content, str) and chunk.content:
                context.chunk(chunk.content)
            context.reused(chunk.metadata.get("output"))
        return pieces

    def _count(
        self, key: str, entry: Entry, at_s: float, mark: Mapping[str, Any], context: WorkflowContext
    ) -> None:
        counts = self._counts
        counts.hits += 1
        counts.stale += "stale" in mark
        saved = Tally(entry.usage, entry.cost_pico).saved()
        counts.tokens_saved += saved["saved"]
        context.note("cache", hit=True, age_s=entry.age_s(at_s), key=key, **saved, **mark)
