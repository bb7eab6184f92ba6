"""What a ledger says, as text and as HTML that needs no script."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import ClassVar

from tta_notebook.core.money import shown
from tta_notebook.cost.totals import Totals

_HEAD = ("", "calls", "tokens in", "tokens out", "cost", "per 1k tokens")


class LedgerReport:
    """The sums of a ledger, ready to be read.

    Args:
        total: over all calls.
        parts: by "model", "user" and "workflow".
    """

    PARTS: ClassVar[tuple[str, ...]] = ("model", "user", "workflow")

    def __init__(self, total: Totals, parts: Mapping[str, Mapping[str, Totals]]) -> None:
        self.total = total
        self.parts = parts

    def __str__(self) -> str:
        rows = [("all calls", *_cells(self.total))]
        for part, lines in self.parts.items():
            rows.append((f"by {part}", *[""] * (len(_HEAD) - 1)))
            rows += [(f"  {name}", *_cells(totals)) for name, totals in lines.items()]
        table = [_HEAD, *rows]
        widths = [max(len(row[column]) for row in table) for column in range(len(_HEAD))]
        text = "\n".join(
            "  ".join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        )
        return f"{text}\n{self._caution()}".rstrip()

    def __repr__(self) -> str:
        return str(self)

    def to_html(self) -> str:
        """Return tables that look right in light and dark, also without a kernel."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in _HEAD)
        body = _html_row("all calls", self.total, is_strong=True)
        for part, lines in self.parts.items():
            body += (
                f'<tr><th scope="rowgroup" colspan="{len(_HEAD)}" style="text-align:left;'
                f'padding-top:.6em">by {escape(part)}</th></tr>'
            )
            body += "".join(_html_row(name, totals) for name, totals in lines.items())
        caution = f"<p>{escape(self._caution())}</p>" if self.total.unpriced else ""
        return (
            # Jupyter would take what stands between two dollar signs for a formula.
            '<table class="tta-costs mathjax_ignore tex2jax_ignore" '
            'style="border-collapse:collapse;color:inherit">'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{caution}"
        )

    def _repr_html_(self) -> str:
        return self.to_html()

    def _caution(self) -> str:
        if not self.total.unpriced:
            return ""
        calls = "1 call has" if self.total.unpriced == 1 else f"{self.total.unpriced:,} calls have"
        return f"{calls} no price and count in no sum of money."


def _cells(totals: Totals) -> tuple[str, ...]:
    per_1k = "" if totals.usd_per_1k is None else shown(round(totals.usd_per_1k * 1e12))
    return (
        f"{totals.requests:,}",
        f"{totals.input_tokens:,}",
        f"{totals.output_tokens:,}",
        _cost(totals),
        per_1k,
    )


def _cost(totals: Totals) -> str:
    if totals.unpriced == totals.requests and totals.requests:
        return "no price"
    return shown(totals.cost_pico) + (f" + {totals.unpriced:,} unpriced" if totals.unpriced else "")


def _html_row(name: str, totals: Totals, *, is_strong: bool = False) -> str:
    numbers = "".join(
        f'<td style="text-align:right;padding:.1em .8em">{escape(cell)}</td>'
        for cell in _cells(totals)
    )
    weight = "bold" if is_strong else "normal"
    return (
        f'<tr><th scope="row" style="text-align:left;font-weight:{weight}">{escape(name)}</th>'
        f"{numbers}</tr>"
    )
