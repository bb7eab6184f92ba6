"""Repeated executions of one step as numbered lanes: the attempts of a retry, levels, hedges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tta_notebook.core.events import Span

# Of a parent's kind: the mark of its lanes and the word for one.
_LANES = {"retry": ("↻", "attempt"), "fallback": ("⤷", "level"), "hedge": ("⇉", "call")}


class Lane(NamedTuple):
    """One of several executions for the same purpose.

    Attributes:
        mark: what stands for its kind.
        word: what one is called.
        number: which one, from 1.
        of: how many there are.
    """

    mark: str
    word: str
    number: int
    of: int

    @property
    def short(self) -> str:
        """The lane as it stands before the step's name."""
        return f"{self.mark} {self.number}/{self.of}"

    @property
    def spoken(self) -> str:
        """The lane in words."""
        return f"{self.word} {self.number} of {self.of}"


def lanes(parent: Span | None, children: Sequence[Span]) -> dict[Span, Lane]:
    """Return the lane of each child; none where the children are different steps."""
    if parent is None or parent.kind not in _LANES or len(children) < 2:  # noqa: PLR2004 - one is no choice
        return {}
    mark, word = _LANES[parent.kind]
    return {span: Lane(mark, word, n, len(children)) for n, span in enumerate(children, 1)}
