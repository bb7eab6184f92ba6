"""The results of a map, as they come in."""

from __future__ import annotations

from typing import Any

from tta_notebook.core.events import STOPPED
from tta_notebook.scale.packing import said

# What fails beside the first is noted on it; of a map where everything fails that would be all.
_MOST_NOTES = 5


class Gathering:
    """Results in the order of their items, and what failed.

    Args:
        is_collecting: whether an error stands in its item's place and the others go on.

    Attributes:
        failure: why the map fails, as soon as that is known.
    """

    def __init__(self, *, is_collecting: bool) -> None:
        self._is_collecting = is_collecting
        self._results: list[Any] = []
        self.failure: BaseException | None = None
        self._noted = 0

    def expect(self) -> int:
        """Make a place for one more result, and return which."""
        self._results.append(None)
        return len(self._results) - 1

    def put(self, index: int, output: Any) -> None:
        """Take in a result."""
        self._results[index] = output

    def put_error(self, index: int, error: BaseException) -> None:
        """Take in what an item raised: as its result, or as the failure of the map."""
        if self._is_collecting and isinstance(error, Exception):
            self._results[index] = error
        else:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Let the map fail: with the first that is told; it has a note of some of the others."""
        if self.failure is None:
            self.failure = error
        elif not isinstance(error, STOPPED) and self._noted < _MOST_NOTES:
            self._noted += 1
            self.failure.add_note(f"Beside it failed: {said(error)}")

    def outcome(self) -> list[Any]:
        """Return the results, or raise."""
        if self.failure is not None:
            raise self.failure
        return self._results
