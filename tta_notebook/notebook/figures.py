"""Figures of a run as people read them: durations, tokens, money, counts."""

from __future__ import annotations

from typing import Any

from tta_notebook.core.events import Span
from tta_notebook.core.money import shown
from tta_notebook.core.run import Run
from tta_notebook.core.usage import Usage


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
        return money(span.cost_pico)
    # A stand-in costs nothing: only a real call without a price is worth a word.
    live = (note for note in span.noted("model") if note.data.get("source") == "live")
    return "no price" if span.usage is not None and any(live) else ""


def money(pico: int | None) -> str:
    """Return an amount in pico-dollars; empty for nothing.

    >>> money(12_719_000_000), money(None)
    ('$0.012719', '')
    """
    return shown(pico) if pico else ""


def run_cost(run: Run[Any]) -> str:
    """Return what a run cost, and whether calls without a price come on top; empty for nothing."""
    known = money(run.cost_pico)
    unpriced = sum(cost(span) == "no price" for span in run.spans) if run.unpriced_calls else 0
    more = f"{counted(unpriced, 'call')} without a price" if unpriced else ""
    return " + ".join(part for part in (known, more) if part)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "step"), counted(1200, "step")
    ('1 step', '1,200 steps')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
