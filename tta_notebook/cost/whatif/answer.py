"""How every answer is read: as text, as a table without script, as a frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from tta_notebook.core.money import shown

if TYPE_CHECKING:
    import pandas as pd

_STYLE = "border-collapse:collapse;color:inherit"
_CELL = "text-align:right;padding:.1em .8em"


class Table(NamedTuple):
    """A short table, cells as they are shown."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, repr=False)
class Answer(ABC):
    """What a question gives.

    Attributes:
        caveats: what the recorded runs cannot answer, in sentences.
    """

    caveats: tuple[str, ...]

    @abstractmethod
    def table(self) -> Table:
        """Return what matters, as a short table."""

    @abstractmethod
    def frame(self) -> pd.DataFrame:
        """Return all of it as a data frame."""

    def __str__(self) -> str:
        title, head, rows = self.table()
        lines = [list(head), *map(list, rows)]
        widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
        text = "\n".join(
            "  ".join(
                cell.ljust(width) if place == 0 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )
        return "\n".join([title, text, *(f"- {caveat}" for caveat in self.caveats)])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        title, head, rows = self.table()
        heads = "".join(f'<th style="{_CELL}">{escape(cell)}</th>' for cell in head)
        body = "".join(f"<tr>{_html_cells(row)}</tr>" for row in rows)
        notes = "".join(f"<li>{escape(caveat)}</li>" for caveat in self.caveats)
        return (
            # Jupyter would take what stands between two dollar signs for a formula.
            f'<div class="tta-whatif mathjax_ignore tex2jax_ignore"><table style="{_STYLE}">'
            f"<caption>{escape(title)}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
            + (f"<ul>{notes}</ul></div>" if notes else "</div>")
        )


def _html_cells(row: Sequence[str]) -> str:
    name, *numbers = row
    return f'<th scope="row" style="text-align:left">{escape(name)}</th>' + "".join(
        f'<td style="{_CELL}">{escape(number)}</td>' for number in numbers
    )


def data_frame(columns: Mapping[str, Any]) -> pd.DataFrame:
    """Return columns as a data frame."""
    import pandas as pd  # noqa: PLC0415 - only who asks for a frame waits for pandas

    return pd.DataFrame(dict(columns))


def interval(low: int, high: int) -> str:
    """Return two amounts as an interval, or as one where they are equal.

    >>> interval(2 * 10**12, 3 * 10**12), interval(10**12, 10**12)
    ('$2.00 to $3.00', '$1.00')
    """
    return shown(low) if low == high else f"{shown(low)} to {shown(high)}"


def between(low: float, high: float, form: str = ",") -> str:
    """Return two numbers as an interval, or as one where they are equal.

    >>> between(1, 1_000), between(0.25, 0.5, ".0%"), between(3, 3)
    ('1 to 1,000', '25% to 50%', '3')
    """
    first, last = format(low, form), format(high, form)
    return first if first == last else f"{first} to {last}"


def counted(number: int, thing: str, verb: tuple[str, str] = ("", "")) -> str:
    """Return a number of things, and the verb that goes with it.

    >>> counted(1, "call", ("has", "have")), counted(1_200, "call", ("has", "have"))
    ('1 call has', '1,200 calls have')
    """
    one = number == 1
    said = verb[0] if one else verb[1]
    return f"{number:,} {thing}{'' if one else 's'}{' ' if said else ''}{said}"


def tallied(names: Mapping[str, int]) -> str:
    """Return names with how often each occurs, the most frequent first.

    >>> tallied({"a": 1, "b": 2})
    "'b' (2), 'a' (1)"
    """
    most = sorted(names.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{name!r} ({count:,})" for name, count in most[:6]) + (
        ", …" if len(most) > 6 else ""  # noqa: PLR2004 - more than anybody reads
    )
