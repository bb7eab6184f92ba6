"""The steps of a run as a tree that grows with it: each look costs what is new, not what there is.

A run may have ten thousand spans and a view looks ten times a second. So a span is filed once when
it has begun and once when it has ended; in between only those under way are looked at again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, TypeAlias

from tta_notebook.core.events import Note, Span
from tta_notebook.core.run import Run
from tta_notebook.core.usage import Usage
from tta_notebook.notebook.crowd import FEW, Crowd

Kin: TypeAlias = dict[tuple[str, str], Crowd]


class Tree:
    """A run's spans by their parents, with what they amount to.

    Attributes:
        run: the run.
        children: the spans under each; under None those whose parents belong to another run.
        crowds: under each that has many, the crowds by kind and name of their step.
        spared: how caches answered ("hit", "miss", "joined"), how many steps were "recalled", and
            what that has "saved", in pico-dollars.
        budgets: the last note of each budget.
    """

    def __init__(self, run: Run[Any]) -> None:
        self.run = run
        self.children: dict[Span | None, list[Span]] = {}
        self.crowds: dict[Span | None, Kin] = {}
        self.budgets: dict[tuple[str, str | None], Note] = {}
        self._spared: Counter[str] = Counter()
        self._open: dict[Span, None] = {}
        self._known: set[Span] = set()
        self._spoken: list[Span] = []
        self._seen = 0

    def update(self) -> Tree:
        """File what is new; return the tree."""
        spans = self.run.spans
        for number in range(self._seen, len(spans)):
            self._begin(spans[number])
        self._seen = len(spans)
        for span in [span for span in self._open if span.end_ns]:
            del self._open[span]
            self._end(span)
        return self

    @property
    def running(self) -> int:
        """How many steps are under way."""
        return len(self._open)

    @property
    def spared(self) -> Counter[str]:
        """How often caches answered, and how, what else did not run, and what that has saved."""
        counts = Counter(self._spared)
        for span in self._open:
            self._count_notes(span, counts)
        return counts

    def speaking(self) -> list[Span]:
        """Return the steps under way that stream text; without any, the last one that has."""
        return [span for span in self._open if span.text] or self._spoken

    def __contains__(self, span: Span) -> bool:
        return span in self._known

    def parent_of(self, span: Span) -> Span | None:
        """Return the step a step is part of; None for the run's own first one."""
        # A run inside another one hangs under a span that is not among these.
        return span.parent if span.parent in self._known else None

    def crowd_of(self, span: Span) -> Crowd | None:
        """Return the executions of the same step beside a step; None while there are few."""
        kin = self.crowds.get(self.parent_of(span))
        return None if kin is None else kin[span.kind, span.name]

    def _begin(self, span: Span) -> None:
        parent = self.parent_of(span)
        self._known.add(span)
        self._open[span] = None
        siblings = self.children.setdefault(parent, [])
        siblings.append(span)
        kin = self.crowds.get(parent)
        if kin is not None:
            self._join(kin, span)
        elif len(siblings) > FEW:
            kin = self.crowds[parent] = {}
            for sibling in siblings:
                self._join(kin, sibling)

    def _join(self, kin: Kin, span: Span) -> None:
        crowd = kin.setdefault((span.kind, span.name), Crowd(span))
        crowd.add(span)
        if span not in self._open:
            crowd.end(span)
        for each in self._under(span):
            if each.usage is not None and each not in self._open:
                crowd.spend(each.usage, each.cost_pico)

    def _end(self, span: Span) -> None:
        if crowd := self.crowd_of(span):
            crowd.end(span)
        if (usage := span.usage) is not None:
            self._spend(span, usage, span.cost_pico)
        if span.text:
            self._spoken = [span]
        if span.notes:
            self._count_notes(span, self._spared)

    def _spend(self, span: Span | None, usage: Usage, cost_pico: int | None) -> None:
        while span in self._known:
            if crowd := self.crowd_of(span):
                crowd.spend(usage, cost_pico)
            span = span.parent

    def _count_notes(self, span: Span, counts: Counter[str]) -> None:
        for note in span.notes:
            if note.name == "cache" and "hit" in note.data:
                joined = "joined" if note.data.get("joined") else "miss"
                counts["hit" if note.data["hit"] else joined] += 1
                counts["saved"] += note.data.get("saved_pico", 0)
            elif note.name == "recalled":
                counts["recalled"] += 1
                counts["saved"] += note.data.get("saved_pico", 0)
            elif note.name == "budget" and "limit_usd" in note.data:
                key = (str(note.data.get("budget")), note.data.get("scope"))
                last = self.budgets.get(key)
                if last is None or last.time_ns <= note.time_ns:
                    self.budgets[key] = note

    def _under(self, span: Span) -> Iterator[Span]:
        stack = [span]
        while stack:
            yield (each := stack.pop())
            stack.extend(self.children.get(each, ()))
