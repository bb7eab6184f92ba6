"""How many items go out together, and how many of them run at once."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from tta_notebook.core.fanout import DEFAULT_LIMIT

MOST_ITEMS = 500
"""Of a chunk: with so many, dealing takes a ten-thousandth of a second an item."""

# After a loss, items come in ever smaller chunks: so one that ends every worker is found out.
SMALLER = 8

# Four chunks a place even out what takes longer.
CHUNKS_A_PLACE = 4


@dataclass(frozen=True, slots=True)
class Sizes:
    """What chunks of a map are to be like.

    Attributes:
        max_concurrency: how many items run at once, everywhere together; None for 100 a place.
        chunk_size: how many items a chunk has; None to choose.
        items: how many there are in all, where that is known.
    """

    max_concurrency: int | None
    chunk_size: int | None
    items: int | None

    def width(self, places: int, running: int) -> int:
        """Return how many items of the next chunk may run at once, 0 for none.

        Args:
            places: how many chunks the workers take at once.
            running: how many items may be running already.
        """
        limit = self.max_concurrency
        if limit is None:
            limit = DEFAULT_LIMIT * self._used(places)
        return max(0, min(self._share(places), limit - running))

    def length(self, places: int, width: int) -> int:
        """Return how many items the next chunk has.

        Args:
            places: how many chunks the workers take at once.
            width: how many of its items run at once.
        """
        if self.chunk_size is not None:
            return self.chunk_size
        if self.items is None or width < self._share(places):
            # Beside one that comes to its end: what it leaves free is filled bit by bit.
            return width
        used = self._used(places)
        # Few enough for four chunks a place; but each is to fill its place.
        fair = ceil(self.items / (CHUNKS_A_PLACE * used))
        full = min(width, ceil(self.items / used))
        return max(1, min(MOST_ITEMS, max(fair, full)))

    def _share(self, places: int) -> int:
        if self.max_concurrency is None:
            return DEFAULT_LIMIT
        return ceil(self.max_concurrency / self._used(places))

    def _used(self, places: int) -> int:
        return max(1, places if self.max_concurrency is None else min(places, self.max_concurrency))


def shortened(length: int, attempts: int) -> int:
    """Return the length of a chunk of items that were begun so often on workers that were lost."""
    smaller: int = length // SMALLER**attempts
    return max(1, smaller)
