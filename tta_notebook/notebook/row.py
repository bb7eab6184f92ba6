"""One line of a picture of a run: a step, or many executions of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tta_notebook.core import clock
from tta_notebook.core.events import Span, Status
from tta_notebook.notebook.badges import Badge, badge_of
from tta_notebook.notebook.crowd import Crowd
from tta_notebook.notebook.figures import cost, counted, money, tokens
from tta_notebook.notebook.lanes import Lane

Item: TypeAlias = Span | Crowd

_MAX_BADGES = 4
# Badges no longer than this stand beside the step's name, others on a line of their own, where
# nothing cuts them off; so do short ones where with the name they are longer than its column.
_BESIDE = 22
_COLUMN = 32


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a picture.

    Attributes:
        item: the step, or many executions of one; None where steps are left out.
        depth: how deep it lies under the root, from 0.
        guides: the lines of the tree before its name.
        hidden: how many steps are left out here, or all those under the step.
        is_group: whether other steps lie under it.
        lane: which of several attempts it is.
        badges: what else it says, in a few words each.
    """

    item: Item | None
    depth: int
    guides: str = ""
    hidden: int = 0
    is_group: bool = False
    lane: Lane | None = None
    badges: tuple[Badge, ...] = ()

    @property
    def span(self) -> Span | None:
        """The step, where it is a single one."""
        return self.item if isinstance(self.item, Span) else None

    @property
    def name(self) -> str:
        """The step's name, with how many there are of it; without a step, how many are left out."""
        if self.item is None:
            return f"… {counted(self.hidden, 'more step')}"
        if isinstance(self.item, Crowd):
            return f"{self.item.size:,} × {self.item.name}"  # noqa: RUF001 - times
        return self.item.name

    @property
    def stem(self) -> str:
        """The guides of a second line under this one."""
        below = "│  " if self.is_group and not self.hidden else ""
        return self.guides.replace("├─ ", "│  ").replace("└─ ", "   ") + below

    @property
    def is_wordy(self) -> bool:
        """Whether the badges need a line of their own."""
        said = sum(len(badge.text) for badge in self.badges)
        lane = "" if self.lane is None else self.lane.short
        named = len(self.guides) + len(lane) + len(self.name)
        return said > _BESIDE or (said > 0 and named + said > _COLUMN)

    @property
    def status(self) -> Status:
        """How it ended, or that it runs."""
        return "ok" if self.item is None else self.item.status

    @property
    def start_ns(self) -> int:
        """When it began."""
        return 0 if self.item is None else self.item.start_ns

    @property
    def end_ns(self) -> int:
        """When it was over; 0 while it runs."""
        return 0 if self.item is None or self.status == "running" else self.item.end_ns

    @property
    def duration_s(self) -> float:
        """Seconds from the start to the end, or until now."""
        return ((self.end_ns or clock.source()) - self.start_ns) / 1e9

    @property
    def tokens(self) -> str:
        """Tokens of its own calls; of many executions, those of everything under them."""
        return "" if self.item is None else tokens(self.item.usage)

    @property
    def cost(self) -> str:
        """What those calls cost."""
        if isinstance(self.item, Crowd):
            return money(self.item.cost_pico)
        return "" if self.item is None else cost(self.item)


def badges(item: Item, hidden: int) -> list[Badge]:
    """Return what else a line says: steps under it that are not shown, and its notes."""
    if isinstance(item, Crowd):
        return item.badges()
    notes = list(item.notes)
    if len(notes) > _MAX_BADGES:  # the first ones say how it began, the last one how it ended
        notes = [*notes[: _MAX_BADGES - 1], notes[-1]]
    left_out = [Badge(f"+ {counted(hidden, 'step')}")] if hidden else []
    return left_out + [badge_of(note, item) for note in notes]
