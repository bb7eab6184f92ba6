"""When the steps of a run happened, as bars of text."""

from __future__ import annotations

from typing import Any

from tta_notebook.core.run import Run
from tta_notebook.notebook.figures import duration
from tta_notebook.notebook.rows import rows_of

_WIDTH = 48
_BARS = {"ok": "█", "error": "✗", "cancelled": "▒", "running": "░"}


def run_gantt(run: Run[Any], width: int = _WIDTH) -> str:
    """Return a run as a plain chart of time, a line a step, from the run's start to its end.

    Args:
        run: the run.
        width: of the chart, in characters; names and times stand beside it.
    """
    whole_ns = max(1.0, run.duration_s * 1e9)
    lines: list[tuple[str, str, str]] = []
    for row in rows_of(run):
        name = f"{row.guides}{row.name}"
        if row.item is None:
            lines.append((name, " " * width, ""))
            continue
        start = (row.start_ns - run.start_ns) / whole_ns * width
        length = row.duration_s * 1e9 / whole_ns * width
        first = min(int(start), width - 1)
        # A step that took no time to speak of still happened.
        last = max(first + 1, min(round(start + length), width))
        bar = " " * first + _BARS[row.status] * (last - first)
        lines.append((name, bar.ljust(width), duration(row.duration_s)))
    widest = max((len(name) for name, _, _ in lines), default=0)
    return "\n".join(f"{name:<{widest}} │{bar}│ {took}" for name, bar, took in lines)
