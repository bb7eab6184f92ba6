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

from tta_notebook.core.preview import preview
from tta_notebook.core.run import Run
from tta_notebook.notebook.badges import Badge, budget_badge
from tta_notebook.notebook.display import error_text, progress_text, step_lines
from tta_notebook.notebook.figures import counted, duration, money, run_cost, tokens
from tta_notebook.notebook.row import Row
from tta_notebook.notebook.rows import place_of, rows_of_tree, short_id
from tta_notebook.notebook.tree import Tree

# Jupyter would take what stands between two dollar signs for a formula.
_NO_MATH = "mathjax_ignore tex2jax_ignore"
MARKS = {"ok": "✓", "error": "✗", "cancelled": "■", "running": "●"}

_MAX_ANSWER_CHARS = 4_000
_MAX_PARTS = 20
# A notebook with a few large runs should stay below 100 kB.
_MAX_ROWS = 60
# A bar is at least this wide, in per cent, so that the quickest step can be seen.
_MIN_BAR = 0.4
_MAX_MARKS = 3


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
    tree = Tree(run).update()
    return (
        f'<div class="tta-run" role="group" aria-label="{escape(label)}">'
        f"<style>{stylesheet()}</style>{_head(tree)}{_outcome(run)}{_steps(tree)}</div>"
    )


def _head(tree: Tree) -> str:
    run = tree.run
    facts = [duration(run.duration_s), counted(len(run.spans) + run.spans_dropped, "step")]
    if run.usage is not None:
        facts.append(f"{tokens(run.usage)} tokens")
    facts += [*filter(None, [run_cost(run)]), *spared(tree)]
    budgets = "".join(badge_html(budget_badge(note.data)) for note in tree.budgets.values())
    return (
        f'<div class="tta-head {_NO_MATH}">'
        f'<span class="tta-name">{escape(run.workflow_name)}</span> '
        f'<span class="tta-state tta-{run.status}">{MARKS[run.status]} {run.status}</span> '
        f'<span class="tta-soft">{" · ".join(facts)}</span> {budgets}'
        f'<span class="tta-soft tta-push" title="{escape(run.id)}">run {short_id(run)}</span></div>'
    )


def spared(tree: Tree) -> list[str]:
    """Return what did not have to run, in a few words each, and what that has saved."""
    counts = tree.spared
    asked = counts["hit"] + counts["miss"] + counts["joined"]
    joined = f", {counts['joined']:,} joined" if counts["joined"] else ""
    said: list[str] = []
    if asked:
        said.append(f"cache {counts['hit']:,} of {asked:,} hit{joined}")
    if counts["recalled"]:
        said.append(f"{counted(counts['recalled'], 'step')} not run again")
    if counts["saved"]:
        said.append(f"saved {money(counts['saved'])}")
    return said


def badge_html(badge: Badge) -> str:
    """Return a badge as HTML: its words, and a meter where it is about a share of something."""
    meter = ""
    if badge.share is not None:
        share = f"{badge.share:.2f}"
        meter = f'<meter min="0" max="1" low=".8" high=".99" optimum="0" value="{share}"></meter>'
    return f' <span class="tta-chip tta-{badge.tone}">{meter}{escape(badge.text)}</span>'


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


def _steps(tree: Tree) -> str:
    run = tree.run
    rows = rows_of_tree(tree, _MAX_ROWS)
    if not rows:
        return ""
    end_ns = run.end_ns or max(row.end_ns for row in rows)
    scale = _Scale(run.start_ns, max(end_ns - run.start_ns, 1))
    head = (
        '<tr><th scope="col">step</th><th scope="col" aria-label="time line">'
        f'<div class="tta-axis"><span>0</span><span>{duration(scale.length_ns / 1e9)}</span></div>'
        '</th><th scope="col">time</th>'
        f'<th scope="col">{"tokens in → out" if any(row.tokens for row in rows) else ""}</th>'
        f'<th scope="col">{"cost" if any(row.cost for row in rows) else ""}</th></tr>'
    )
    body = "".join(_row(row, scale) for row in rows)
    return f"<table class='{_NO_MATH}'><thead>{head}</thead><tbody>{body}</tbody></table>"


def _row(row: Row, scale: _Scale) -> str:
    guides = f'<span class="tta-guides">{row.guides}</span>'
    if row.item is None:
        more = f"{guides}<span class='tta-soft'>{row.name}</span>"
        return f'<tr><td colspan="5">{more}</td></tr>'
    lane = ""
    if row.lane is not None:
        lane = f'<span class="tta-lane" title="{row.lane.spoken}">{row.lane.short}</span> '
    name = f'<span class="{"tta-group" if row.is_group else ""}">{escape(row.name[:80])}</span>'
    said = "".join(map(badge_html, row.badges))
    beside, below = ("", said) if row.is_wordy else (said, "")
    if below:
        below = (
            f'<tr class="tta-more"><td colspan="5"><span class="tta-guides">{row.stem}</span>'
            f"<div>{below}</div></td></tr>"
        )
    return (
        f'<tr><td title="{escape(_tip(row))}">{guides}'
        f'<span class="tta-dot tta-{row.status}" role="img" aria-label="{row.status}">'
        f"{MARKS[row.status]}</span>{lane}{name}{beside}</td>"
        f"<td>{_bar(row, scale)}</td>"
        f"<td>{duration(row.duration_s)}</td><td>{row.tokens}</td><td>{row.cost}</td></tr>{below}"
    )


def _tip(row: Row) -> str:
    lines = [f"{row.name}: {row.status}, {duration(row.duration_s)}"]
    lines += [badge.text for badge in row.badges]
    if row.span is not None:
        lines += step_lines(row.span, 160)
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


def _bar(row: Row, scale: _Scale) -> str:
    left = min(scale.at(row.start_ns), 100 - _MIN_BAR)
    right = scale.at(row.end_ns) if row.end_ns else 100.0
    width = max(right - left, _MIN_BAR)
    y, height, opacity = (6, 4, ".28") if row.is_group else (3, 10, ".45")
    marks = "".join(
        f'<rect x="{scale.at(note.time_ns):.2f}%" y="1" width="2" height="14" fill="currentColor"/>'
        for note in (row.span.notes[:_MAX_MARKS] if row.span else ())
    )
    label = f"{row.name}: {row.status}, {duration(row.duration_s)}"
    return (
        f'<svg role="img" width="100%" height="16"><title>{escape(label)}</title>'
        f'<rect class="tta-{paint(row)}" x="{left:.2f}%" y="{y}" width="{width:.2f}%" '
        f'height="{height}" rx="2" fill="currentColor" fill-opacity="{opacity}"/>{marks}</svg>'
    )


def paint(row: Row) -> str:
    """Return what colours a bar: how it ended when that is not well, else its kind."""
    if row.status in ("error", "cancelled"):
        return row.status
    return "llm" if row.item is not None and row.item.kind == "llm" else "step"
