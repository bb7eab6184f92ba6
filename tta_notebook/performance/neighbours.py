"""The nearest of some vectors, exactly."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Neighbour(NamedTuple, Generic[T]):
    """Something near.

    Attributes:
        key: under which it was put.
        item: what was put.
        similarity: the cosine of the angle between the two vectors.
    """

    key: int
    item: T
    similarity: float


class Neighbours(Generic[T]):
    """Items by their vectors. A search looks at all of them: 0.1 ms for a thousand.

    >>> near = Neighbours[str]()
    >>> near.put(1, [1.0, 0.0], "east")
    >>> near.put(2, [0.0, 1.0], "north")
    >>> [(found.item, round(found.similarity, 2)) for found in near.to([3.0, 1.0], at_least=0.9)]
    [('east', 0.95)]
    """

    def __init__(self) -> None:
        self._items: OrderedDict[int, tuple[Any, T]] = OrderedDict()
        # All vectors as one array, made when it is asked for after a change.
        self._matrix: Any = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, key: int, vector: Sequence[float], item: T) -> None:
        """Keep an item."""
        self._items[key] = (_unit(vector), item)
        self._matrix = None

    def drop(self, key: int) -> None:
        """Forget an item."""
        del self._items[key]
        self._matrix = None

    def keys_where(self, holds: Callable[[T], bool]) -> list[int]:
        """Return the keys of the items of which something holds."""
        return [key for key, (_, item) in self._items.items() if holds(item)]

    def to(self, vector: Sequence[float], at_least: float) -> Iterator[Neighbour[T]]:
        """Give the items at least that similar, the nearest first.

        Raises:
            ValueError: the vector has another length than those that are kept.
        """
        if not self._items:
            return
        import numpy as np  # noqa: PLC0415 - it takes 0.1 s to load, and few need it

        if self._matrix is None:
            self._matrix = np.stack([kept for kept, _ in self._items.values()])
        similarities = self._matrix @ _unit(vector)
        keys = list(self._items)
        order: list[int] = np.argsort(-similarities, kind="stable").tolist()
        for index in order:
            similarity = float(similarities[index])
            if not similarity >= at_least:  # a NaN is near nothing
                return
            key = keys[index]
            if key in self._items:  # dropped while the reader looked at nearer ones
                yield Neighbour(key, self._items[key][1], similarity)


def _unit(vector: Sequence[float]) -> Any:
    import numpy as np  # noqa: PLC0415 - as above

    array = np.asarray(vector, dtype=np.float32)
    length = float(np.linalg.norm(array))
    return array / length if length else array
