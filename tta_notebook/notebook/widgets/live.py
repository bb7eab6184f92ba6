"""The live view of a run as a small widget: what it is sent, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anywidget

from tta_notebook.core.events import Span
from tta_notebook.core.run import Run
from tta_notebook.notebook.badges import Badge, budget_badge
from tta_notebook.notebook.display import error_text, step_lines
from tta_notebook.notebook.figures import counted, duration, run_cost, tokens
from tta_notebook.notebook.loop import cancel_route
from tta_notebook.notebook.picture import paint, spared
from tta_notebook.notebook.row import Row
from tta_notebook.notebook.rows import place_of, rows_of_tree
from tta_notebook.notebook.tree import Tree
from tta_notebook.notebook.widgets import bundle

_MAX_ROWS = 60
_MAX_STREAMS = 4
_MAX_TEXT = 4_000
_MAX_DETAIL = 2_000

Message = dict[str, Any]


class LiveRun(anywidget.AnyWidget):
    """The front end's half of a live view. It keeps no state: everything is sent as messages."""

    # Read once: a path would make anywidget watch the file.
    _esm = bundle.script()
    _css = bundle.style()


class Batches:
    """What changed in a run since the last message.

    A batch holds the rows that are new or different, the order when it is, and the new pieces of
    streamed text. A snapshot holds everything.
    """

    def __init__(self, run: Run[Any]) -> None:
        self.run = run
        self._tree = Tree(run)
        self._route = cancel_route()
        self._rows: dict[str, Message] = {}
        self._order: list[str] = []
        self._poured: dict[str, int] = {}
        self._shown: dict[str, Row] = {}

    def next(self, *, is_snapshot: bool = False) -> Message:
        """Return the next message for the front end."""
        if is_snapshot:
            self._rows, self._order, self._poured = {}, [], {}
        self._tree.update()
        self._shown = _by_id(rows_of_tree(self._tree, _MAX_ROWS))
        rows = {key: self._row(key, row) for key, row in self._shown.items()}
        changed = [row for key, row in rows.items() if self._rows.get(key) != row]
        order = list(rows)
        message: Message = {
            "type": "state",
            "run": self._head(),
            "rows": changed,
            "order": None if order == self._order else order,
            "streams": self._streams(),
        }
        self._rows, self._order = rows, order
        return message

    def details(self, key: str) -> Message:
        """Return what is known of one of the rows that were sent last."""
        row = self._shown.get(key)
        lines = ["This step is not shown any more."] if row is None else _details(row)
        return {"type": "details", "id": key, "text": "\n".join(lines)}

    def _head(self) -> Message:
        run, tree = self.run, self._tree
        failed = _escaped(run.failed_span)
        facts = [
            f"{tree.running:,} of {counted(len(run.spans) + run.spans_dropped, 'step')} running"
        ]
        facts += [f"{used} tokens"] if (used := tokens(run.usage)) else []
        trouble = f"{place_of(failed)}\n{error_text(failed.error)}" if failed else ""
        return {
            "name": run.workflow_name,
            "status": run.status,
            "paused": run.is_paused,
            "ms": run.duration_s * 1e3,
            "facts": [*facts, *filter(None, [run_cost(run)]), *spared(tree)],
            "budgets": [_chip(budget_badge(note.data)) for note in tree.budgets.values()],
            "trouble": trouble,
            "failed": failed.span_id_hex if failed else None,
            "cancel": self._route,
        }

    def _row(self, key: str, row: Row) -> Message:
        has_item = row.item is not None
        return {
            "id": key,
            "guides": row.guides,
            "stem": row.stem,
            "lane": [f"{row.lane.short} ", row.lane.spoken] if row.lane else ["", ""],
            "name": row.name[:80],
            "status": row.status if has_item else "",
            "paint": paint(row),
            "group": row.is_group,
            "start": (row.start_ns - self.run.start_ns) / 1e6 if has_item else 0,
            "ms": row.duration_s * 1e3 if row.end_ns else None,
            "tokens": row.tokens,
            "cost": row.cost,
            "notes": [_chip(badge) for badge in row.badges],
            "below": row.is_wordy,
        }

    def _streams(self) -> list[Message]:
        speaking = self._tree.speaking()
        return [self._piece(span) for span in speaking[-_MAX_STREAMS:]]

    def _piece(self, span: Span) -> Message:
        """Return what the step has said since the last message; `at` is 0 where the view begins."""
        text = span.text
        said = self._poured.get(span.span_id_hex, 0)
        self._poured[span.span_id_hex] = len(text)
        add = text[said:] if said else text[-_MAX_TEXT:]
        return {"id": span.span_id_hex, "name": span.name, "at": said, "add": add}


def _escaped(failed: Span | None) -> Span | None:
    """Return a failed step once its failure has left the step around it: a retry may not let it."""
    around = None if failed is None else failed.parent
    return failed if around is None or around.error is not None else None


def _chip(badge: Badge) -> Message:
    return {"text": badge.text, "tone": badge.tone, "share": badge.share}


def _by_id(rows: Sequence[Row]) -> dict[str, Row]:
    ids: dict[str, Row] = {}
    key = ""
    for row in rows:
        if row.item is None:
            key = f"after {key}"  # steps that are left out are known by their place
        else:
            key = row.item.span_id_hex if isinstance(row.item, Span) else row.item.id
        ids[key] = row
    return ids


def _details(row: Row) -> list[str]:
    if row.item is None:
        return [row.name]
    lines = [f"{row.name} ({row.item.kind}): {row.status}, {duration(row.duration_s)}"]
    lines += [f"· {badge.text}" for badge in row.badges]
    if row.span is not None:
        lines += step_lines(row.span, _MAX_DETAIL)
        if len(lines) == 1:
            lines.append("Nothing else is known yet.")
    return lines
