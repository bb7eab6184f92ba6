"""Which steps of a run a view shows, and in what order: the shared first half of every picture.

A run may have ten thousand spans; a picture has room for a hundred. Shallow steps come first, and
the way to the step that failed is always among them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from tta_notebook.core.events import Note, Span
from tta_notebook.core.money import PICO, shown
from tta_notebook.core.run import Run
from tta_notebook.core.usage import Usage

MAX_ROWS = 100
MAX_NOTES = 3
_MAX_FAILED_PATH = 30
_MAX_NOTE_CHARS = 60
# What notes say that has a column of its own, or is for reports.
_ELSEWHERE = frozenset(
    {"cost_usd", "key", "price", "price_date", "price_source", "provider", "request_key"}
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a picture.

    Attributes:
        span: the step; None where steps are left out.
        depth: how deep it lies under the root, from 0.
        guides: the lines of the tree before its name.
        hidden: how many steps are left out here, or all those under the step.
        is_group: whether other steps lie under it.
    """

    span: Span | None
    depth: int
    guides: str = ""
    hidden: int = 0
    is_group: bool = False


def rows_of(run: Run[Any], limit: int = MAX_ROWS) -> list[Row]:
    """Return at most about `limit` rows that show the run's steps as a tree."""
    spans = list(run.spans)
    children: dict[Span | None, list[Span]] = {}
    for span in spans:
        children.setdefault(span.parent, []).append(span)
    roots = children.get(None, spans[:1])
    chosen = _chosen(roots, children, path_of(run.failed_span), limit)
    rows: list[Row] = []
    # A stack, not recursion: a chain of steps may be deeper than Python's.
    stack = [Row(root, 0) for root in reversed(roots) if root in chosen]
    while stack:
        row = stack.pop()
        below = children.get(row.span, []) if row.span else []
        shown = _rows_below(row, below, chosen)
        # Where nothing under a step is shown, the step itself says how much there is.
        hidden = len(below) if below and not shown else row.hidden
        rows.append(Row(row.span, row.depth, row.guides, hidden, is_group=bool(below)))
        stack.extend(reversed(shown))
    if run.spans_dropped:
        rows.append(Row(None, 0, hidden=run.spans_dropped))
    return rows


def _chosen(
    roots: Sequence[Span],
    children: Mapping[Span | None, list[Span]],
    failed: Sequence[Span],
    limit: int,
) -> set[Span]:
    chosen = set(failed if len(failed) <= _MAX_FAILED_PATH else ())
    queue = deque(roots)
    while queue and len(chosen) < limit:
        span = queue.popleft()
        chosen.add(span)
        queue.extend(children.get(span, ()))
    return chosen


def _rows_below(parent: Row, spans: Sequence[Span], chosen: set[Span]) -> list[Row]:
    shown = [span for span in spans if span in chosen]
    hidden = len(spans) - len(shown)
    # The last glyph of the parent's guides turns into what runs beside its children.
    stem = parent.guides.replace("├─ ", "│  ").replace("└─ ", "   ")
    depth = parent.depth + 1
    rows = [Row(span, depth, stem + "├─ ") for span in shown]
    if hidden and shown:
        rows.append(Row(None, depth, stem + "└─ ", hidden))
    elif rows:
        rows[-1] = Row(shown[-1], depth, stem + "└─ ")
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


def duration(seconds: float) -> str:
    """Return a duration in the unit that suits it.

    >>> duration(0.00004), duration(0.0021), duration(0.25), duration(2.345), duration(75)
    ('40 µs', '2.1 ms', '250 ms', '2.35 s', '1 m 15 s')
    """
    if seconds < 0.0009995:  # noqa: PLR2004 - units change where three digits no longer suffice
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.00995:  # noqa: PLR2004
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 0.9995:  # noqa: PLR2004
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 59.995:  # noqa: PLR2004
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest} s"


def tokens(usage: Usage | None) -> str:
    """Return tokens in and out, `~` where they are an estimate; empty without any.

    >>> tokens(Usage(input_tokens=1200, output_tokens=64))
    '1,200 → 64'
    """
    if usage is None:
        return ""
    mark = "~" if usage.estimated else ""
    return f"{mark}{usage.input_tokens:,} → {usage.output_tokens:,}"


def cost(span: Span) -> str:
    """Return what a step's own calls cost; empty when nothing, "no price" when nobody knows it."""
    if span.cost_pico is not None:
        return shown(span.cost_pico) if span.cost_pico else ""
    # A stand-in costs nothing: only a real call without a price is worth a word.
    live = (note for note in span.noted("model") if note.data.get("source") == "live")
    return "no price" if span.usage is not None and any(live) else ""


def run_cost(run: Run[Any]) -> str:
    """Return what a run cost, and whether calls without a price come on top; empty for nothing."""
    known = shown(run.cost_pico) if run.cost_pico else ""
    unpriced = sum(cost(span) == "no price" for span in run.spans) if run.unpriced_calls else 0
    more = f"{counted(unpriced, 'call')} without a price" if unpriced else ""
    return " + ".join(part for part in (known, more) if part)


def remarks(row: Row) -> list[str]:
    """Return what else a row says: steps under it that are not shown, and its first notes."""
    if row.span is None:
        return []
    hidden = [f"+ {counted(row.hidden, 'step')}"] if row.hidden else []
    return hidden + [remark(note) for note in (row.span.notes or [])[:MAX_NOTES]]


def remark(note: Note) -> str:
    """Return a note as a few words: its name and what it says."""
    facts = (pair for pair in note.data.items() if pair[0] not in _ELSEWHERE)
    said = " ".join(_fact(key, value) for key, value in facts)
    text = " ".join(f"{note.name} {said}".split())
    return text if len(text) <= _MAX_NOTE_CHARS else text[: _MAX_NOTE_CHARS - 1] + "…"


def _fact(key: str, value: object) -> str:
    if value is None or isinstance(value, Usage):  # tokens have a column of their own
        return ""
    if isinstance(value, bool):
        return f"{key.replace('_', ' ')}: {'yes' if value else 'no'}"
    if isinstance(value, (int, float)) and key.endswith("_s"):
        return f"{key[:-2].replace('_', ' ')} {duration(value)}"
    if isinstance(value, (int, float)) and key.endswith("_usd"):
        return f"{key[:-4].replace('_', ' ')} {shown(round(value * PICO))}"
    if isinstance(value, (int, float)):  # a bare number says nothing; a text mostly does
        number = f"{value:.3g}" if isinstance(value, float) else f"{value:,}"
        return f"{key.replace('_', ' ')} {number}"
    return str(value)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "step"), counted(1200, "step")
    ('1 step', '1,200 steps')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
