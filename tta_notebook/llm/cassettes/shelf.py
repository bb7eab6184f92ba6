"""The recordings of a cassette while it is open: which are left, and whose turn it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import TypeAlias

from tta_notebook.llm.cassettes.recording import Recording
from tta_notebook.llm.cassettes.request import Asked, Matching

_Turn: TypeAlias = tuple[int, int]


class Shelf:
    """Gives every recording once, those of equal requests in the order in which they were asked.

    Its owner's lock is held around every method but `give_back`.

    Args:
        recordings: what there is, in the order of the file.
        matching: which requests count as equal.
        repeats: whether equal requests begin again with the first recording after the last.
    """

    def __init__(
        self, recordings: Iterable[Recording], matching: Matching, *, repeats: bool
    ) -> None:
        self.recordings: list[Recording] = []
        self._matching = matching
        self._repeats = repeats
        self._all: dict[str, list[_Turn]] = {}
        self._left: dict[str, list[_Turn]] = {}
        self._taken: dict[Recording, tuple[str, _Turn]] = {}
        self._returned: deque[Recording] = deque()
        for recording in recordings:
            self._add(recording)
        self._calls = max((recording.call for recording in self.recordings), default=-1) + 1
        self.rewind()

    def next_call(self) -> int:
        """Return the number of a call that is about to be asked."""
        self._calls += 1
        return self._calls - 1

    def peek(self, asked: Asked) -> Recording | None:
        """Return what `take` would return, and leave it."""
        left = self._left_of(self._matching.key(asked))
        return self.recordings[left[0][1]] if left else None

    def take(self, asked: Asked) -> Recording | None:
        """Return the next recording of a request, None when there is none left."""
        key = self._matching.key(asked)
        left = self._left_of(key)
        if not left:
            return None
        turn = heappop(left)
        recording = self.recordings[turn[1]]
        self._taken[recording] = key, turn
        return recording

    def give_back(self, recording: Recording) -> None:
        """Put back a recording that was not read to its end.

        It needs no lock: it may be called by a generator that is closed anywhere, by the garbage
        collector even.
        """
        self._returned.append(recording)

    def keep(self, recording: Recording) -> None:
        """Add what was recorded just now; it is given from the next `rewind` on."""
        self._add(recording)

    def recorded(self, asked: Asked) -> int:
        """Return how many recordings of a request there are."""
        return len(self._all.get(self._matching.key(asked), ()))

    def rewind(self) -> None:
        """Begin again with the first recording of every request."""
        self._taken.clear()
        self._left = {key: list(turns) for key, turns in self._all.items()}
        for left in self._left.values():
            heapify(left)

    def _add(self, recording: Recording) -> None:
        key = self._matching.key(recording.asked)
        self._all.setdefault(key, []).append((recording.call, len(self.recordings)))
        self.recordings.append(recording)

    def _left_of(self, key: str) -> list[_Turn]:
        self._settle()
        left = self._left.setdefault(key, [])
        if not left and self._repeats:
            left += sorted(self._all.get(key, ()))
        return left

    def _settle(self) -> None:
        while self._returned:
            found = self._taken.pop(self._returned.popleft(), None)
            if found is not None:  # else everything was rewound meanwhile
                key, turn = found
                heappush(self._left[key], turn)
