"""Two runs side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from tta_notebook.core.events import Span
from tta_notebook.core.money import shown
from tta_notebook.core.preview import preview
from tta_notebook.core.run import Run
from tta_notebook.notebook.display import error_text
from tta_notebook.notebook.rows import duration, run_cost, short_id, tokens

_MAX_CHARS = 200
_MAX_STEPS = 20


class Fact(NamedTuple):
    """One thing in which two runs are compared.

    Attributes:
        name: what it is.
        one: of the one run.
        other: of the other run.
        change: how the other differs; empty where that cannot be said in a word.
    """

    name: str
    one: str
    other: str
    change: str = ""


class Comparison:
    """What differs between two runs: outcome, time, tokens, money, and the same for each step.

    Steps are matched by name; one that ran several times counts as their sum.

    Args:
        one: a run.
        other: another one, of the same workflow or not.

    >>> import asyncio
    >>> from tta_notebook import LambdaPrimitive
    >>> shout = LambdaPrimitive(str.upper, name="shout")
    >>> async def twice():
    ...     return await shout.run("a"), await shout.run("b")
    >>> one, other = asyncio.run(twice())
    >>> [fact.change for fact in Comparison(one, other).facts if fact.name == "answer"]
    ['differs']
    """

    def __init__(self, one: Run[Any], other: Run[Any]) -> None:
        self.one = one
        self.other = other

    @property
    def facts(self) -> list[Fact]:
        """The two runs as wholes."""
        one, other = self.one, self.other
        return [
            Fact("workflow", one.workflow_name, other.workflow_name),
            Fact("status", one.status, other.status),
            Fact("answer", _answer(one), _answer(other), "" if _agree(one, other) else "differs"),
            Fact(
                "time",
                duration(one.duration_s),
                duration(other.duration_s),
                _ratio(one.duration_s, other.duration_s),
            ),
            Fact("tokens", tokens(one.usage), tokens(other.usage), _tokens_ratio(one, other)),
            Fact("cost", run_cost(one), run_cost(other), _cost_change(one, other)),
            Fact("steps", str(len(one.spans)), str(len(other.spans))),
            Fact("cache hits", _hits(one), _hits(other)),
        ]

    @property
    def steps(self) -> list[Fact]:
        """Time and calls of each step that took time in either run, the largest change first."""
        here, there = _by_name(self.one.spans), _by_name(self.other.spans)
        names = sorted(here.keys() | there.keys(), key=lambda name: -abs(there[name] - here[name]))
        calls, other_calls = _counts(self.one.spans), _counts(self.other.spans)
        return [
            Fact(
                name,
                _step(here[name], calls[name]),
                _step(there[name], other_calls[name]),
                _ratio(here[name], there[name]),
            )
            for name in names[:_MAX_STEPS]
        ]

    def __str__(self) -> str:
        head = ("", f"run {short_id(self.one)}", f"run {short_id(self.other)}", "")
        rows = [head, *self.facts, ("step", "", "", ""), *self.steps]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        head = (
            f"<tr><th></th><th>run {short_id(self.one)}</th><th>run {short_id(self.other)}</th>"
            "<th></th></tr>"
        )
        body = "".join(map(_html_row, self.facts))
        steps = "".join(map(_html_row, self.steps))
        return (
            '<table class="tta-compare mathjax_ignore tex2jax_ignore" '
            'style="border-collapse:collapse;color:inherit">'
            f"<thead>{head}</thead><tbody>{body}"
            '<tr><th scope="rowgroup" colspan="4" style="text-align:left;padding-top:.6em">steps'
            f"</th></tr>{steps}</tbody></table>"
        )


def _html_row(fact: Fact) -> str:
    cells = "".join(
        f'<td style="text-align:left;padding:.1em .8em">{escape(cell)}</td>' for cell in fact[1:]
    )
    return f'<tr><th scope="row" style="text-align:left">{escape(fact.name)}</th>{cells}</tr>'


def _answer(run: Run[Any]) -> str:
    text = error_text(run.error) if run.error is not None else preview(run.output)
    text = " ".join(text.split())
    return text if len(text) <= _MAX_CHARS else text[: _MAX_CHARS - 1] + "…"


def _agree(one: Run[Any], other: Run[Any]) -> bool:
    try:
        same = bool(one.output == other.output)
    except Exception:  # noqa: BLE001 - someone's __eq__ may raise anything, or give an array
        same = preview(one.output) == preview(other.output)
    return same and type(one.error) is type(other.error)


def _ratio(one: float, other: float) -> str:
    """Return how many times as much the other is; empty where that says nothing.

    >>> _ratio(2.0, 1.0), _ratio(1.0, 1.0), _ratio(0.0, 1.0)
    ('0.5x', '', '')
    """
    if not one or not other or abs(other / one - 1) < 0.005:  # noqa: PLR2004 - it would read 1x
        return ""
    return f"{other / one:.2g}x"


def _tokens_ratio(one: Run[Any], other: Run[Any]) -> str:
    if one.usage is None or other.usage is None:
        return ""
    return _ratio(one.usage.total_tokens, other.usage.total_tokens)


def _cost_change(one: Run[Any], other: Run[Any]) -> str:
    if one.cost_pico is None or other.cost_pico is None or one.cost_pico == other.cost_pico:
        return ""
    change = other.cost_pico - one.cost_pico
    return f"+{shown(change)}" if change > 0 else shown(change)


def _hits(run: Run[Any]) -> str:
    looked = [note.data.get("hit") for span in run.spans for note in span.noted("cache")]
    return f"{sum(map(bool, looked))} of {len(looked)}" if looked else ""


def _by_name(spans: Sequence[Span]) -> Counter[str]:
    # A Counter of seconds: what is not there took none.
    seconds: Counter[str] = Counter()
    for span in spans:
        seconds[span.name] += span.duration_s  # type: ignore[assignment]  # typeshed knows whole numbers
    return seconds


def _counts(spans: Sequence[Span]) -> Counter[str]:
    return Counter(span.name for span in spans)


def _step(seconds: float, calls: int) -> str:
    if not calls:
        return "-"
    return duration(seconds) if calls == 1 else f"{duration(seconds)} in {calls:,} calls"
