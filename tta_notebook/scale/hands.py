"""What is out: the chunks that workers have."""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Iterator
from dataclasses import dataclass

from tta_notebook.scale.backlog import Item
from tta_notebook.scale.roster import Roster


@dataclass(slots=True)
class Dealt:
    """A chunk that is out.

    Attributes:
        number: its number.
        worker: who has it.
        items: those without a report yet, in the order in which they are begun.
        width: how many of them run at once.
        given_ns: when it was given, on the monotonic clock.
        is_alone: whether its worker is to have nothing beside it.
    """

    number: int
    worker: str
    items: dict[int, Item]
    width: int
    given_ns: int
    is_alone: bool

    @property
    def is_ending(self) -> bool:
        """Whether a quarter of what may run at once does not: its place is free for another one.

        Items take their time: to wait for a chunk's slowest would leave most of its place empty.
        """
        return len(self.items) < self.width - self.width // 4

    def begun(self) -> list[Item]:
        """Return those that may have been begun: as many as run at once, since they begin in order.

        Reports that were lost with the worker make it less; never less than one.
        """
        return list(self.items.values())[: self.width]


class Hands:
    """The chunks that are out, and whose hands are free."""

    def __init__(self) -> None:
        self._dealt: dict[int, Dealt] = {}

    def __iter__(self) -> Iterator[Dealt]:
        return iter(list(self._dealt.values()))

    def __bool__(self) -> bool:
        return bool(self._dealt)

    def add(self, dealt: Dealt) -> None:
        """Take in a chunk that goes out."""
        self._dealt[dealt.number] = dealt

    def find(self, number: int) -> Dealt | None:
        """Return a chunk; None when it is not out any more."""
        return self._dealt.get(number)

    def pop(self, number: int) -> Dealt | None:
        """Return a chunk that has come to its end."""
        return self._dealt.pop(number, None)

    def pop_of(self, worker: str) -> list[Dealt]:
        """Return the chunks of a worker that is gone."""
        return [self._dealt.pop(dealt.number) for dealt in self if dealt.worker == worker]

    @property
    def running(self) -> int:
        """How many items may be running: no more than are without a report."""
        return sum(min(dealt.width, len(dealt.items)) for dealt in self._dealt.values())

    def freest(self, roster: Roster) -> str | None:
        """Return the worker with the most free places, then the fewest items; None for none."""
        busy = Counted(dealt.worker for dealt in self._dealt.values() if not dealt.is_ending)
        alone = {dealt.worker for dealt in self._dealt.values() if dealt.is_alone}
        free = {worker: places - busy[worker] for worker, places in roster if worker not in alone}
        items = Counted[str]()
        for dealt in self._dealt.values():
            items[dealt.worker] += len(dealt.items)
        worker = max(free, key=lambda worker: (free[worker], -items[worker]), default=None)
        return worker if worker is not None and free[worker] > 0 else None

    def idle(self, roster: Roster) -> str | None:
        """Return a worker that has nothing to do, None when all have."""
        busy = {dealt.worker for dealt in self._dealt.values()}
        return next((worker for worker, _ in roster if worker not in busy), None)
