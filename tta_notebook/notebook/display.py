"""A run as text: the tree, the table and the JSON that work anywhere Python does."""

from __future__ import annotations

import json
from typing import Any

from tta_notebook.core.events import Span
from tta_notebook.core.preview import preview
from tta_notebook.core.run import Run
from tta_notebook.notebook.figures import counted, duration, run_cost, tokens
from tta_notebook.notebook.row import Row
from tta_notebook.notebook.rows import place_of, rows_of
from tta_notebook.notebook.tree import Tree

_MAX_STOPPED = 3
_MAX_NAME = 60
# Three hours, to a tenth of a millisecond.
_MS_WIDTH = 13
# Of the tree, before the remarks: name, state, time, tokens, cost.
_COLUMNS = 5


def run_text(run: Run[Any]) -> str:
    """Return a run as a tree of its steps with state, time and tokens.

    >>> from tta_notebook import LambdaPrimitive
    >>> import asyncio
    >>> run = asyncio.run(LambdaPrimitive(str.upper, name="shout").run("hi"))
    >>> print(run_text(run))  # doctest: +ELLIPSIS
    shout  ok  ...  1 step
    shout  ok  ...
    → HI
    """
    rows = rows_of(run)
    table = [_cells(row) for row in rows]
    widths = [max((len(cells[i]) for cells in table), default=0) for i in range(_COLUMNS)]
    lines = [headline(run)]
    for row, cells in zip(rows, table, strict=True):
        columns = [cells[0].ljust(widths[0]), cells[1].ljust(widths[1])]
        # A column that is empty in every row leaves no gap.
        columns += [cells[i].rjust(widths[i]) for i in range(2, _COLUMNS) if widths[i] or i < 4]  # noqa: PLR2004 - the first four are always there
        columns.append(cells[_COLUMNS])
        lines.append("  ".join(columns if row.item else cells[:1]).rstrip())
    lines.append(outcome(run))
    return "\n".join(line for line in lines if line)


def headline(run: Run[Any]) -> str:
    """Return a run in a line: its workflow, state, time, tokens and number of steps."""
    count = len(run.spans) + run.spans_dropped
    facts = [run.workflow_name, run.status, duration(run.duration_s), counted(count, "step")]
    if run.usage is not None:
        facts.append(f"{tokens(run.usage)} tokens")
    return "  ".join(filter(None, [*facts, run_cost(run)]))


def outcome(run: Run[Any]) -> str:
    """Return the end of a run in a line: its answer, or what stopped it and where."""
    if run.status == "ok":
        return f"→ {_one_line(preview(run.output))}"
    if run.status == "error":
        return f"✗ {place_of(run.failed_span)}: {error_text(run.error)}"
    return f"■ {progress_text(run)}" if run.status == "cancelled" else ""


def error_text(error: BaseException | None, limit: int = 300) -> str:
    """Return an error in a line, its type first."""
    if error is None:
        return ""
    try:
        said = _one_line(str(error))
    except Exception as broken:  # noqa: BLE001 - someone's __str__ may raise anything
        said = f"its message raised {type(broken).__name__}"
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def step_lines(span: Span, limit: int) -> list[str]:
    """Return what went into a step and what came out, a line each, as far as it is known."""
    texts = (("in", span.input_preview), ("out", span.output_preview))
    lines = [f"{name}: {text[:limit]}" for name, text in texts if text]
    return lines + ([error_text(span.error, limit * 2)] if span.error is not None else [])


def progress_text(run: Run[Any]) -> str:
    """Return how far a run had come when it was stopped, in a line."""
    tree = Tree(run).update()
    leaves = [span for span in run.spans if span not in tree.children]
    done = sum(span.status == "ok" for span in leaves)
    stopped = [place_of(span) for span in leaves if span.status == "cancelled"]
    where = f"; stopped in {', '.join(stopped[:_MAX_STOPPED])}" if stopped else ""
    more = f" and {len(stopped) - _MAX_STOPPED} more" if len(stopped) > _MAX_STOPPED else ""
    return f"{counted(done, 'step')} done{where}{more}."


def run_table(run: Run[Any]) -> str:
    """Return a run as a plain table, a line a step; `start` counts from the run's start."""
    head = ("step", "kind", "state", "start", "time", "tokens", "cost")
    lines: list[tuple[str, ...]] = [head]
    for row in rows_of(run):
        if row.item is None:
            lines.append((f"{'  ' * row.depth}… {row.hidden:,} more", "", "", "", "", "", ""))
            continue
        times = (_ms((row.start_ns - run.start_ns) / 1e6), _ms(row.duration_s * 1e3))
        name = f"{'  ' * row.depth}{_name(row)}"
        lines.append((name, row.item.kind, row.status, *times, row.tokens, row.cost))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if i < 3 else text.rjust(width)  # noqa: PLR2004 - three texts, then figures
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _ms(value: float) -> str:
    # As wide as it gets: where the width followed the figures, no two runs had the same heading.
    return f"{value:.1f} ms".rjust(_MS_WIDTH)


def run_json(run: Run[Any]) -> str:
    """Return a run with all its recorded spans as JSON; times are milliseconds from its start."""
    spans = [
        {
            "id": span.span_id_hex,
            "parent": None if span.parent is None else span.parent.span_id_hex,
            "name": span.name,
            "kind": span.kind,
            "status": span.status,
            "start_ms": round((span.start_ns - run.start_ns) / 1e6, 3),
            "duration_ms": round(span.duration_s * 1e3, 3),
            "tokens": _usage_json(span.usage),
            "cost_usd": span.cost_usd,
            "error": error_text(span.error) or None,
            "notes": [{"name": note.name, **note.data} for note in span.notes or ()],
        }
        for span in run.spans
    ]
    whole = {
        "id": run.id,
        "workflow": run.workflow_name,
        "status": run.status,
        "duration_ms": round(run.duration_s * 1e3, 3),
        "tokens": _usage_json(run.usage),
        "cost_usd": run.cost_usd,
        "spans": spans,
        "spans_dropped": run.spans_dropped,
    }
    return json.dumps(whole, indent=1, default=preview, ensure_ascii=False)


def _usage_json(usage: Any) -> dict[str, int] | None:
    if usage is None:
        return None
    return {"input": usage.input_tokens, "output": usage.output_tokens}


def _cells(row: Row) -> tuple[str, ...]:
    if row.item is None:
        return (f"{row.guides}… {row.hidden:,} more", "", "", "", "", "")
    said = "  ".join(badge.text for badge in row.badges)
    figures = (duration(row.duration_s), row.tokens, row.cost)
    return (f"{row.guides}{_name(row)}", row.status, *figures, said)


def _name(row: Row) -> str:
    return _short(row.name if row.lane is None else f"{row.lane.short} {row.name}")


def _short(name: str) -> str:
    name = _one_line(name)
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"


def _one_line(text: str) -> str:
    return " ".join(text.split())
