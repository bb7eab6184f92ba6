"""Which steps of a run a view shows, and in what order: the shared first half of every picture.

A run may have ten thousand spans; a picture has room for a hundred. Shallow steps come first, many
executions of one step are one line, and the way to the step that failed is always among them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any, TypeGuard

from tta_notebook.core.events import Span
from tta_notebook.core.run import Run
from tta_notebook.notebook.badges import Badge
from tta_notebook.notebook.crowd import Crowd
from tta_notebook.notebook.figures import counted, duration, run_cost, tokens
from tta_notebook.notebook.lanes import lanes
from tta_notebook.notebook.row import Item, Row, badges
from tta_notebook.notebook.tree import Tree

__all__ = [
    "MAX_ROWS",
    "Row",
    "counted",
    "duration",
    "is_run",
    "path_of",
    "place_of",
    "rows_of",
    "rows_of_tree",
    "run_cost",
    "short_id",
    "tokens",
]

MAX_ROWS = 100
_MAX_FAILED_PATH = 30
_NO_BADGES: Mapping[Span, Badge] = {}


def rows_of(run: Run[Any], limit: int = MAX_ROWS) -> list[Row]:
    """Return at most about `limit` rows that show the run's steps as a tree."""
    return rows_of_tree(Tree(run).update(), limit)


def rows_of_tree(tree: Tree, limit: int = MAX_ROWS) -> list[Row]:
    """Return the rows of a tree; what that costs grows with the limit, not with the tree."""
    rows = list(_Picture(tree, limit).rows())
    if tree.run.spans_dropped:
        rows.append(Row(None, 0, hidden=tree.run.spans_dropped))
    return rows


class _Picture:
    """What is chosen from a tree for a picture of some size."""

    def __init__(self, tree: Tree, limit: int) -> None:
        self._tree = tree
        self._limit = limit
        # The way to the failure: what must be shown under each item.
        self._due: dict[Item | None, list[Item]] = {}
        failed = path_of(tree.run.failed_span)
        for span in failed if len(failed) <= _MAX_FAILED_PATH else ():
            self._require(span)
        self._chosen: set[Item] = set(chain.from_iterable(self._due.values()))
        self._choose()

    def _require(self, span: Span) -> None:
        if span not in self._tree:
            return
        parent: Item | None = self._tree.parent_of(span)
        crowd = self._tree.crowd_of(span)
        if crowd is not None and crowd.is_many:
            self._due.setdefault(parent, []).append(crowd)
            parent = crowd
        self._due.setdefault(parent, []).append(span)

    def _choose(self) -> None:
        queue = deque(self._below(None))
        while queue and len(self._chosen) < self._limit:
            item = queue.popleft()
            self._chosen.add(item)
            queue.extend(self._below(item))

    def _below(self, parent: Item | None) -> list[Item]:
        """Return what lies under an item, as far as there may be room for it."""
        due = self._due.get(parent, [])
        if isinstance(parent, Crowd):
            return list(dict.fromkeys([*due, *parent.shown()]))
        return list(dict.fromkeys([*self._children(parent), *due]))

    def _children(self, parent: Span | None) -> list[Item]:
        kin = self._tree.crowds.get(parent)
        if kin is None:
            return list(self._tree.children.get(parent, ()))
        parted: Iterator[Sequence[Item]] = (
            [crowd] if crowd.is_many else crowd.first for crowd in kin.values()
        )
        return list(islice(chain.from_iterable(parted), self._limit))

    def rows(self) -> Iterator[Row]:
        """Yield the rows from the top."""
        roots = [item for item in self._below(None) if item in self._chosen]
        # A stack, not recursion: a chain of steps may be deeper than Python's.
        stack = [Row(root, 0) for root in reversed(roots)]
        while stack:
            row = stack.pop()
            if row.item is None:
                yield row
                continue
            below = self._below(row.item)
            shown = self._rows_below(row, [item for item in below if item in self._chosen])
            # Where nothing under a step is shown, the step itself says how much there is.
            hidden = 0 if shown else self._count_below(row.item)
            said = (*row.badges, *badges(row.item, hidden))
            yield replace(row, hidden=hidden, badges=said, is_group=bool(below))
            stack.extend(reversed(shown))

    def _count_below(self, item: Item) -> int:
        """Return how many steps lie under an item; a crowd has said so itself."""
        return 0 if isinstance(item, Crowd) else len(self._tree.children.get(item, ()))

    def _rows_below(self, parent: Row, items: Sequence[Item]) -> list[Row]:
        if not items or parent.item is None:
            return []
        sizes = (item.size if isinstance(item, Crowd) else 1 for item in items)
        hidden = max(self._count_below(parent.item) - sum(sizes), 0)
        # The last glyph of the parent's guides turns into what runs beside its children.
        stem = parent.guides.replace("├─ ", "│  ").replace("└─ ", "   ")
        glyphs = ["├─ "] * (len(items) - 1) + ["├─ " if hidden else "└─ "]
        lane_of = lanes(parent.span, [item for item in items if isinstance(item, Span)])
        said = parent.item.shown() if isinstance(parent.item, Crowd) else _NO_BADGES
        rows: list[Row] = []
        for item, glyph in zip(items, glyphs, strict=True):
            row = Row(item, parent.depth + 1, stem + glyph)
            if isinstance(item, Span):
                mark = (said[item],) if item in said else ()
                row = replace(row, lane=lane_of.get(item), badges=mark)
            rows.append(row)
        if hidden:
            rows.append(Row(None, parent.depth + 1, stem + "└─ ", hidden))
        return rows


def path_of(span: Span | None) -> list[Span]:
    """Return the spans from the root down to `span`."""
    path: list[Span] = []
    while span is not None:
        path.append(span)
        span = span.parent
    return path[::-1]


def place_of(span: Span | None) -> str:
    """Return where a step stands in its workflow: `ask > check > parse`."""
    names = [step.name for step in path_of(span)]
    if len(names) > 6:  # noqa: PLR2004 - what fits in a line; the ends say the most
        names = [*names[:2], "…", *names[-3:]]
    return " > ".join(names)


def is_run(value: object) -> TypeGuard[Run[Any]]:
    """Tell whether a value is the record of a run."""
    return isinstance(value, Run)


def short_id(run: Run[Any]) -> str:
    """Return the part of a run's id that tells it from the process's other runs."""
    return run.id[8:].lstrip("0") or run.id
