"""The items of a map that are still to be dealt out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tta_notebook.core.errors import TravelError
from tta_notebook.scale.gathering import Gathering
from tta_notebook.scale.packing import packed
from tta_notebook.scale.sizes import shortened
from tta_notebook.scale.source import Source


@dataclass(slots=True)
class Item:
    """An item on its way.

    Attributes:
        index: its place.
        data: as bytes.
        attempts: how often it may have been begun on a worker that was lost.
    """

    index: int
    data: bytes
    attempts: int = 0


class Backlog:
    """Items to deal out: those that come from the source, and those that come back.

    Args:
        source: where they come from.
        gathering: where each has a place for its result.
        attempts: how often one is begun at most when workers are lost.
    """

    def __init__(self, source: Source, gathering: Gathering, attempts: int) -> None:
        self._source = source
        self._gathering = gathering
        self._attempts = attempts
        self._again: deque[Item] = deque()
        self._suspects: deque[Item] = deque()

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to deal, and nothing more to come."""
        return self._source.is_over and not self._again and not self._suspects

    def put_back(self, item: Item) -> bool:
        """Take back an item without a result; tell whether it may be begun again."""
        if item.attempts >= self._attempts:
            return False
        is_last_attempt = item.attempts and item.attempts + 1 == self._attempts
        (self._suspects if is_last_attempt else self._again).append(item)
        return True

    def suspect(self) -> Item | None:
        """Return an item for its last attempt, if there is one.

        It is to have a worker to itself: if that is lost once more, it was this item, and no other
        is taken for it.
        """
        return self._suspects.popleft() if self._suspects else None

    def take(self, length: int) -> list[Item]:
        """Return up to so many items; none while none have come."""
        return self._returned(length) if self._again else self._fresh(length)

    def _returned(self, length: int) -> list[Item]:
        attempts = self._again[0].attempts
        length = shortened(length, attempts)
        items: list[Item] = []
        while self._again and self._again[0].attempts == attempts and len(items) < length:
            items.append(self._again.popleft())
        return items

    def _fresh(self, length: int) -> list[Item]:
        items: list[Item] = []
        while not items and self._gathering.failure is None:
            given = self._source.take(length)
            if not given:
                break
            for value in given:
                index = self._gathering.expect()
                try:
                    items.append(Item(index, packed(value, f"item {index}")))
                except TravelError as error:
                    self._gathering.put_error(index, error)
        return items
