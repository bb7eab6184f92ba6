"""The signal that a value cannot be encoded, which gathers its path on the way out."""

from __future__ import annotations


class Unfit(Exception):  # noqa: N818 - it never leaves this room
    """A value cannot be encoded.

    Attributes:
        reason: why, and what to do.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self._path: list[str] = []

    def inside(self, where: str) -> None:
        """Say where in the value around it the unfit one stands."""
        self._path.append(where)

    def where(self) -> str:
        """Return the path from the outermost value; the middle of a long one is left out."""
        steps = self._path[::-1]
        if len(steps) > 12:  # noqa: PLR2004 - about a line
            steps = [*steps[:8], "…", *steps[-3:]]
        return "".join(steps)
