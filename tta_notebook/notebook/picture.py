"""A run as HTML that needs nothing: no script, no kernel, no network, one theme or another.

Colours come from the notebook's own variables with fallbacks, every colour stands beside a word,
and where a site strips styles and SVG, a readable table remains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any, cast

from tta_notebook.core.events import Span
from tta_notebook.core.preview import preview
from tta_notebook.core.run import Run
from tta_notebook.notebook.display import error_text, progress_text
from tta_notebook.notebook.rows import (
    MAX_NOTES,
    Row,
    cost,
    counted,
    duration,
    place_of,
    remark,
    remarks,
    rows_of,
    run_cost,
    short_id,
    tokens,
)

MARKS = {"ok": "✓", "error": "✗", "cancelled": "■", "running": "●"}

_MAX_ANSWER_CHARS = 4_000
_MAX_PARTS = 20
# A notebook with a few large runs should stay below 100 kB.
_MAX_ROWS = 60
# A bar is at least this wide, in per cent, so that the quickest step can be seen.
_MIN_BAR = 0.4


@cache
def stylesheet() -> str:
    """Return the style that the static picture and the live view share."""
    return Path(__file__).with_name("run.css").read_text(encoding="utf-8")


def run_html(run: Run[Any]) -> str:
    """Return a run as HTML: state, answer, and its steps as a table with a waterfall in SVG.

    >>> from tta_notebook import LambdaPrimitive
    >>> import asyncio
    >>> run = asyncio.run(LambdaPrimitive(str.upper, name="shout").run("<hi>"))
    >>> "&lt;HI&gt;" in run_html(run), "<script" in run_html(run)
    (True, False)
    """
    label = f"Run of {run.workflow_name}: {run.status}, {duration(run.duration_s)}"
    return (
        f'<div class="tta-run" role="group" aria-label="{escape(label)}">'
        f"<style>{stylesheet()}</style>{_head(run)}{_outcome(run)}{_steps(run)}</div>"
    )


def _head(run: Run[Any]) -> str:
    facts = [duration(run.duration_s), counted(len(run.spans) + run.spans_dropped, "step")]
    if run.usage is not None:
        facts.append(f"{tokens(run.usage)} tokens")
    facts += filter(None, [run_cost(run)])
    return (
        f'<div class="tta-head"><span class="tta-name">{escape(run.workflow_name)}</span> '
        f'<span class="tta-state tta-{run.status}">{MARKS[run.status]} {run.status}</span> '
        f'<span class="tta-soft">{" · ".join(facts)}</span> '
        f'<span class="tta-soft tta-push" title="{escape(run.id)}">run {short_id(run)}</span></div>'
    )


def _outcome(run: Run[Any]) -> str:
    if run.status == "ok":
        return f'<div class="tta-answer">{_answer(run.output)}</div>'
    if run.status == "error":
        place, said = escape(place_of(run.failed_span)), escape(error_text(run.error, 1000))
        return (
            '<div class="tta-answer tta-trouble">'
            f'<span class="tta-soft">{place}</span>\n{said}</div>'
        )
    if run.status == "cancelled":
        return f'<div class="tta-answer tta-halt">{escape(progress_text(run))}</div>'
    return ""


def _answer(output: object) -> str:
    pairs = _pairs(output)
    return _parts(pairs) if 0 < len(pairs) <= _MAX_PARTS else escape(_text(output))


def _pairs(output: Any) -> list[tuple[str, object]]:
    """Return the named or numbered parts of a result; none where it is one thing."""
    items: Iterator[tuple[object, object]]
    if isinstance(output, Mapping):
        items = iter(cast("Mapping[object, object]", output).items())
    elif isinstance(output, list | tuple):
        items = iter(enumerate(cast("Sequence[object]", output)))
    else:
        return []
    return [(preview(key), value) for key, value in islice(items, _MAX_PARTS + 1)]


def _parts(parts: Sequence[tuple[str, object]]) -> str:
    limit = _MAX_ANSWER_CHARS // len(parts)
    pairs = (
        f"<dt>{escape(name)}</dt> <dd>{escape(_text(value, limit))}</dd>" for name, value in parts
    )
    return f"<dl>{''.join(pairs)}</dl>"


def _text(value: object, limit: int = _MAX_ANSWER_CHARS) -> str:
    if not isinstance(value, str):
        return preview(value)
    if len(value) <= limit:
        return str(value)
    return f"{value[:limit]}… ({len(value):,} characters)"


def _steps(run: Run[Any]) -> str:
    rows = rows_of(run, _MAX_ROWS)
    if not rows:
        return ""
    has_tokens = any(row.span is not None and row.span.usage is not None for row in rows)
    has_costs = any(row.span is not None and cost(row.span) for row in rows)
    end_ns = run.end_ns or max(row.span.end_ns for row in rows if row.span)
    scale = _Scale(run.start_ns, max(end_ns - run.start_ns, 1))
    head = (
        '<tr><th scope="col">step</th><th scope="col" aria-label="time line">'
        f'<div class="tta-axis"><span>0</span><span>{duration(scale.length_ns / 1e9)}</span></div>'
        '</th><th scope="col">time</th>'
        f'<th scope="col">{"tokens in → out" if has_tokens else ""}</th>'
        f'<th scope="col">{"cost" if has_costs else ""}</th></tr>'
    )
    body = "".join(_row(row, scale) for row in rows)
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _row(row: Row, scale: _Scale) -> str:
    guides = f'<span class="tta-guides">{row.guides}</span>'
    if row.span is None:
        more = f"{guides}<span class='tta-soft'>… {counted(row.hidden, 'more step')}</span>"
        return f'<tr><td colspan="5">{more}</td></tr>'
    span = row.span
    chips = "".join(f' <span class="tta-chip">{escape(said)}</span>' for said in remarks(row))
    name = f'<span class="{"tta-group" if row.is_group else ""}">{escape(span.name[:80])}</span>'
    return (
        f'<tr><td title="{escape(_tip(span))}">{guides}'
        f'<span class="tta-dot tta-{span.status}" role="img" aria-label="{span.status}">'
        f"{MARKS[span.status]}</span>{name}{chips}</td>"
        f"<td>{_bar(span, scale, is_group=row.is_group)}</td>"
        f"<td>{duration(span.duration_s)}</td><td>{tokens(span.usage)}</td>"
        f"<td>{cost(span)}</td></tr>"
    )


def _tip(span: Span) -> str:
    lines = [f"{span.name} ({span.kind}): {span.status}, {duration(span.duration_s)}"]
    if span.input_preview:
        lines.append(f"in: {span.input_preview[:160]}")
    if span.output_preview:
        lines.append(f"out: {span.output_preview[:160]}")
    if span.error is not None:
        lines.append(error_text(span.error))
    return "\n".join(lines)


class _Scale:
    """Instants of a run as per cent of its length."""

    def __init__(self, start_ns: int, length_ns: int) -> None:
        self.start_ns = start_ns
        self.length_ns = length_ns

    def at(self, instant_ns: int) -> float:
        """Return where an instant lies, 0 to 100."""
        share = (instant_ns - self.start_ns) / self.length_ns
        return min(max(share * 100, 0.0), 100.0)


def _bar(span: Span, scale: _Scale, *, is_group: bool) -> str:
    left = min(scale.at(span.start_ns), 100 - _MIN_BAR)
    right = scale.at(span.end_ns) if span.end_ns else 100.0
    width = max(right - left, _MIN_BAR)
    y, height = (6, 4) if is_group else (3, 10)
    marks = "".join(
        f'<rect x="{scale.at(note.time_ns):.2f}%" y="1" width="2" height="14" fill="currentColor">'
        f"<title>{escape(remark(note))}</title></rect>"
        for note in (span.notes or [])[:MAX_NOTES]
    )
    opacity = ".28" if is_group else ".45"
    label = f"{span.name}: {span.status}, {duration(span.duration_s)}"
    return (
        f'<svg role="img" width="100%" height="16"><title>{escape(label)}</title>'
        f'<rect class="tta-{_paint(span)}" x="{left:.2f}%" y="{y}" width="{width:.2f}%" '
        f'height="{height}" rx="2" fill="currentColor" fill-opacity="{opacity}"/>{marks}</svg>'
    )


def _paint(span: Span) -> str:
    """Return what colours a bar: how it ended when that is not well, else its kind."""
    if span.status in ("error", "cancelled"):
        return span.status
    return "llm" if span.kind == "llm" else "step"
