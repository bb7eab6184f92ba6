"""Answers by what their questions mean."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tta_notebook.core import clock
from tta_notebook.core.usage import Tally
from tta_notebook.performance.neighbours import Neighbour, Neighbours


class Kept(NamedTuple):
    """An answer to a text."""

    text: str
    value: Any
    spent: Tally
    stored_s: float


class Alike:
    """Answers that are found by questions like theirs, the least recently used forgotten first.

    A copy in another process begins empty.

    Args:
        max_size: the most answers.
        ttl_s: how long each is good; None for ever.

    >>> alike = Alike(max_size=1, ttl_s=None)
    >>> for text in ("first", "second"):
    ...     alike.keep("all", [1.0, 0.0], Kept(text, text.upper(), Tally(), clock.monotonic()))
    >>> [near.item.value for near in alike.near("all", [1.0, 0.1], at_least=0.9)]
    ['SECOND']
    """

    def __init__(self, max_size: int, ttl_s: float | None) -> None:
        self._max_size = max_size
        self._ttl_s = ttl_s
        self._next = 0
        # By what must be equal, and in the order of their use.
        self._partitions: dict[str, Neighbours[Kept]] = {}
        self._used: OrderedDict[int, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._used)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._max_size, self._ttl_s)

    def near(
        self, partition: str, vector: Sequence[float], at_least: float
    ) -> Iterator[Neighbour[Kept]]:
        """Give the answers to questions at least that similar, the nearest first.

        Raises:
            ValueError: the vector has another length than those that are kept.
        """
        found = self._partitions.get(partition)
        if found is not None:
            self._drop_expired(found)
            yield from found.to(vector, at_least)

    def used(self, key: int) -> None:
        """Tell that an answer was given."""
        self._used.move_to_end(key)

    def keep(self, partition: str, vector: Sequence[float], kept: Kept) -> None:
        """Keep an answer, and make room for it."""
        number, self._next = self._next, self._next + 1
        self._partitions.setdefault(partition, Neighbours()).put(number, vector, kept)
        self._used[number] = partition
        while len(self._used) > self._max_size:
            self._forget(*self._used.popitem(last=False))

    def clear(self) -> None:
        """Forget all answers."""
        self._partitions.clear()
        self._used.clear()

    def _drop_expired(self, partition: Neighbours[Kept]) -> None:
        if self._ttl_s is None:
            return
        limit_s = clock.monotonic() - self._ttl_s
        for number in partition.keys_where(lambda kept: kept.stored_s <= limit_s):
            self._forget(number, self._used.pop(number))

    def _forget(self, number: int, name: str) -> None:
        partition = self._partitions[name]
        partition.drop(number)
        if not len(partition):
            del self._partitions[name]
