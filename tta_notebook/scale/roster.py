"""The workers of a map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice


class Roster:
    """Who works for a map, and who could.

    Where a limit of the workflow is divided among its workers, only so many may have a share of it:
    whoever comes later takes the place of one that is lost.
    """

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._most: int | None = None

    def limit(self, most: int | None) -> None:
        """Use so many workers at once; None for all there are."""
        self._most = most

    def update(self, workers: Mapping[str, int]) -> None:
        """Take in who is there, with how many chunks each takes at once."""
        self._known.update({worker: places for worker, places in workers.items() if places > 0})

    def lose(self, worker: str) -> None:
        """Forget a worker."""
        self._known.pop(worker, None)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Go through those that are used, with their places."""
        return islice(self._known.items(), self._most)

    def __bool__(self) -> bool:
        return bool(self._known)

    @property
    def places(self) -> int:
        """How many chunks they take at once."""
        return sum(places for _, places in self)
