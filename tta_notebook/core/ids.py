"""Identities of spans and runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count


class Ids:
    """Identities of spans or of runs: a counter under a random prefix, so that one costs nothing.

    The prefix is drawn when the first identity is asked for, and again in a forked process.
    """

    next: Callable[[], int]

    def __init__(self) -> None:
        self.next = self._first

    def _first(self) -> int:
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._draw)
        self._draw()
        return self.next()

    def _draw(self) -> None:
        self.next = count(int.from_bytes(os.urandom(4)) << 32 | 1).__next__


span_ids = Ids()
