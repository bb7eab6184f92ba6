"""Many executions of one step under one parent, seen as one line: a map over a thousand items."""

from __future__ import annotations

from bisect import insort
from collections import Counter

from tta_notebook.core.events import Span, Status
from tta_notebook.core.usage import Usage
from tta_notebook.notebook.badges import Badge
from tta_notebook.notebook.figures import duration

# So many executions of one step are shown one by one; more of them are a crowd.
FEW = 12
_MAX_FAILED = 3
_MAX_SLOWEST = 2


class Crowd:
    """What is known of many executions together, kept up one by one.

    Attributes:
        name: the step's name.
        kind: its kind.
        size: how many executions have begun.
        start_ns: when the first began.
        end_ns: when the last of those that are over ended.
        usage: what they and everything under them used; None for nothing.
        cost_pico: what that cost, in pico-dollars; None when nobody knows.
        first: the first executions; one by one they are shown while they are few.
    """

    def __init__(self, span: Span) -> None:
        self.name, self.kind, self.start_ns = span.name, span.kind, span.start_ns
        self.id = f"{span.parent_id or 0:x}*{span.span_id_hex}"
        self.size = self.end_ns = 0
        self.usage: Usage | None = None
        self.cost_pico: int | None = None
        self.first: list[Span] = []
        self._ended: Counter[Status] = Counter()
        self._durations_s: list[float] = []
        self._failed: list[Span] = []
        self._slowest: list[tuple[float, int, Span]] = []

    def add(self, span: Span) -> None:
        """Count an execution that has begun."""
        self.size += 1
        if len(self.first) < FEW:
            self.first.append(span)

    def end(self, span: Span) -> None:
        """Count how an execution ended."""
        self._ended[span.status] += 1
        self.end_ns = max(self.end_ns, span.end_ns)
        # Sorted as they come: quantiles cost nothing then, and an insertion is two microseconds.
        insort(self._durations_s, span.duration_s)
        if span.status == "error" and len(self._failed) < _MAX_FAILED:
            self._failed.append(span)
        insort(self._slowest, (-span.duration_s, span.span_id, span))
        del self._slowest[_MAX_SLOWEST:]

    def spend(self, usage: Usage, cost_pico: int | None) -> None:
        """Count what an execution, or a step under it, used."""
        self.usage = usage if self.usage is None else self.usage + usage
        if cost_pico is not None:
            self.cost_pico = cost_pico + (self.cost_pico or 0)

    @property
    def is_many(self) -> bool:
        """Whether there are too many to show them one by one."""
        return self.size > FEW

    @property
    def running(self) -> int:
        """How many are under way."""
        return self.size - len(self._durations_s)

    @property
    def status(self) -> Status:
        """How they do together: the worst of those that are over, once none is under way."""
        if self.running:
            return "running"
        return (
            "error" if self._ended["error"] else "cancelled" if self._ended["cancelled"] else "ok"
        )

    def shown(self) -> dict[Span, Badge]:
        """Return the executions that are worth a line: those that failed, then the slowest."""
        slowest = [span for _, _, span in self._slowest if span.status == "ok"]
        marks = dict.fromkeys(self._failed, Badge("failed", "bad"))
        return marks | dict.fromkeys(slowest, Badge("slowest"))

    def badges(self) -> list[Badge]:
        """Return how many there are in which state, and how long they take."""
        states: list[Badge] = [Badge(f"{self._ended['ok']:,} ok", "good")]
        if failed := self._ended["error"]:
            states.append(Badge(f"{failed:,} failed", "bad"))
        if cancelled := self._ended["cancelled"]:
            states.append(Badge(f"{cancelled:,} cancelled", "warn"))
        if running := self.running:
            states.append(Badge(f"{running:,} running"))
        if self._durations_s:
            p50, p95 = duration(self.quantile_s(0.5)), duration(self.quantile_s(0.95))
            states.append(Badge(f"p50 {p50} · p95 {p95}"))
        return states

    def quantile_s(self, share: float) -> float:
        """Return the duration that this share of the executions does not exceed (nearest rank)."""
        rank = -(-len(self._durations_s) * share // 1)  # rounded up
        return self._durations_s[max(int(rank), 1) - 1]
