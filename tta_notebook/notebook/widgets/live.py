"""The live view of a run as a small widget: what it is sent, and what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget

from tta_notebook.core.events import Span
from tta_notebook.core.run import Run
from tta_notebook.notebook.loop import cancel_route
from tta_notebook.notebook.picture import stylesheet
from tta_notebook.notebook.rows import Row, cost, counted, remarks, rows_of, run_cost, tokens

_HERE = Path(__file__).parent
_MAX_ROWS = 60
_MAX_STREAMS = 4
_MAX_TEXT = 4_000

Message = dict[str, Any]

# A row without a step.
_BLANK: Message = {
    "status": "",
    "kind": "",
    "group": False,
    "start": 0,
    "ms": None,
    "tokens": "",
    "cost": "",
    "notes": [],
}


class LiveRun(anywidget.AnyWidget):
    """The front end's half of a live view. It keeps no state: everything is sent as messages."""

    # Read once: a path would make anywidget watch the file.
    _esm = (_HERE / "live.js").read_text(encoding="utf-8")
    _css = stylesheet() + (_HERE / "live.css").read_text(encoding="utf-8")


class Batches:
    """What changed in a run since the last message.

    A batch holds the rows that are new or different, the order when it is, and the new pieces of
    streamed text. A snapshot holds everything.
    """

    def __init__(self, run: Run[Any]) -> None:
        self.run = run
        self._route = cancel_route()
        self._rows: dict[str, Message] = {}
        self._order: list[str] = []
        self._poured: dict[str, int] = {}

    def next(self, *, is_snapshot: bool = False) -> Message:
        """Return the next message for the front end."""
        if is_snapshot:
            self._rows, self._order, self._poured = {}, [], {}
        rows = {row["id"]: row for row in map(self._row, rows_of(self.run, _MAX_ROWS))}
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

    def _head(self) -> Message:
        run = self.run
        return {
            "name": run.workflow_name,
            "status": run.status,
            "ms": run.duration_s * 1e3,
            "steps": counted(len(run.spans) + run.spans_dropped, "step"),
            "tokens": tokens(run.usage),
            "cost": run_cost(run),
            "cancel": self._route,
        }

    def _row(self, row: Row) -> Message:
        span = row.span
        if span is None:
            # Its place is its identity: one such row may stand under each parent.
            return _BLANK | {
                "id": f"{row.depth}{row.guides}",
                "guides": row.guides,
                "name": f"… {counted(row.hidden, 'more step')}",
            }
        return {
            "id": span.span_id_hex,
            "guides": row.guides,
            "name": span.name[:80],
            "status": span.status,
            "kind": span.kind,
            "group": row.is_group,
            "start": (span.start_ns - self.run.start_ns) / 1e6,
            "ms": span.duration_s * 1e3 if span.end_ns else None,
            "tokens": tokens(span.usage),
            "cost": cost(span),
            "notes": remarks(row),
        }

    def _streams(self) -> list[Message]:
        speaking = [span for span in list(self.run.spans) if span.text]
        busy = [span for span in speaking if not span.end_ns]
        return [self._piece(span) for span in (busy or speaking[-1:])[-_MAX_STREAMS:]]

    def _piece(self, span: Span) -> Message:
        """Return what the step has said since the last message; `at` is 0 where the view begins."""
        text = span.text
        said = self._poured.get(span.span_id_hex, 0)
        self._poured[span.span_id_hex] = len(text)
        add = text[said:] if said else text[-_MAX_TEXT:]
        return {"id": span.span_id_hex, "name": span.name, "at": said, "add": add}
