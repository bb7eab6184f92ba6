"""What a dashboard shows, as text and as HTML that needs no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from tta_notebook.notebook.dashboards.share import Share
from tta_notebook.report.picture import Picture

if TYPE_CHECKING:
    import pandas as pd

# `tables()` and the files have all of them.
_MOST_ROWS = 20

_STYLE = """
.tta-dash{color:var(--jp-ui-font-color1,inherit);font:13px/1.4 sans-serif}
.tta-dash h3{margin:.2em 0}.tta-dash h4{margin:1em 0 .3em}
.tta-dash dl{display:flex;flex-wrap:wrap;gap:.5em 2em;margin:.6em 0}
.tta-dash.tta-dash dt,.tta-dash.tta-dash dd{float:none;width:auto;margin:0;padding:0}
.tta-dash.tta-dash dt{opacity:.75;font-weight:400}.tta-dash.tta-dash dd{font-size:1.5em}
.tta-dash meter{width:9em;height:1em}
.tta-dash figure{margin:1em 0}
.tta-dash table{border-collapse:collapse;color:inherit}
.tta-dash th,.tta-dash td{padding:.15em .8em;border-bottom:1px solid rgba(128,128,128,.3)}
"""
_PAGE_STYLE = """
:root{color-scheme:light dark}
body{margin:2em;background:#fff;color:#222}
@media (prefers-color-scheme:dark){body{background:#181818;color:#ddd}}
"""


@dataclass(frozen=True, slots=True)
class Page:
    """What a dashboard shows at a moment.

    Attributes:
        title: what it is about.
        about: what of the history it looks at.
        facts: the numbers to read first, by what they are; a `Share` has a gauge on the page.
        charts: the pictures that have something to show.
        tables: the tables by name, empty ones too.
        empty: what to say when there is nothing.
    """

    title: str
    about: str
    facts: Mapping[str, str]
    charts: Sequence[Picture]
    tables: Mapping[str, pd.DataFrame]
    empty: str

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not self.charts and all(len(table) == 0 for table in self.tables.values())

    def text(self) -> str:
        """Return it as text."""
        head = f"{self.title}: {self.about}"
        if self.is_empty:
            return f"{head}\n{self.empty}"
        facts = "\n".join(f"{name}: {value}" for name, value in self.facts.items())
        tables = [f"{name}{_more(table)}\n{_plain(table)}" for name, table in self._filled()]
        return "\n\n".join([f"{head}\n{facts}", *map(str, self.charts), *tables])

    def fragment(self) -> str:
        """Return it as HTML to stand in a page."""
        charts = "".join(f"<figure>{chart.to_html()}</figure>" for chart in self.charts)
        return _dashboard(f"{self._head()}{charts}{self._tables()}")

    def head(self) -> str:
        """Return what stands above the charts, as HTML of its own."""
        return _dashboard(self._head())

    def foot(self) -> str:
        """Return what stands below the charts, as HTML of its own."""
        return _dashboard(self._tables())

    def html(self) -> str:
        """Return it as a page of its own, for light and dark."""
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f"<title>{escape(self.title)}</title><style>{_PAGE_STYLE}</style></head>"
            f"<body>{self.fragment()}</body></html>"
        )

    def _head(self) -> str:
        facts = "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd>{_gauge(name, value)}</div>"
            for name, value in self.facts.items()
        )
        said = f"<p>{escape(self.empty)}</p>" if self.is_empty else f"<dl>{facts}</dl>"
        return f"<h3>{escape(self.title)}</h3><p>{escape(self.about)}</p>{said}"

    def _tables(self) -> str:
        return "".join(
            f"<h4>{escape(name)}{_more(table)}</h4>{_table(table.head(_MOST_ROWS))}"
            for name, table in self._filled()
        )

    def _filled(self) -> list[tuple[str, pd.DataFrame]]:
        return [(name, table) for name, table in self.tables.items() if len(table)]


def _dashboard(content: str) -> str:
    # Jupyter would take what stands between two dollar signs for a formula.
    classes = "tta-dash mathjax_ignore tex2jax_ignore"
    return f'<div class="{classes}"><style>{_STYLE}</style>{content}</div>'


def _gauge(name: str, value: str) -> str:
    """Return how full a share is, beside its text: whoever shows no meter loses nothing."""
    if not isinstance(value, Share):
        return ""
    # Beyond `high` a meter whose optimum lies below takes another colour.
    bad = "" if value.warns_at is None else f' high="{value.warns_at:g}" optimum="0"'
    return (
        f'<dd><meter min="0" max="1" value="{min(max(value.share, 0), 1):.4g}"{bad} '
        f'aria-label="{escape(f"{name}: {value}")}"></meter></dd>'
    )


def _more(table: pd.DataFrame) -> str:
    return f", the first {_MOST_ROWS} of {len(table):,}" if len(table) > _MOST_ROWS else ""


def _plain(table: pd.DataFrame) -> str:
    first = table.head(_MOST_ROWS).astype("object")
    return first.where(first.notna(), "").to_string(index=False, float_format="{:,.6g}".format)


def _table(table: pd.DataFrame) -> str:
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in table.columns)
    rows = "".join(
        f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.itertuples(index=False, name=None)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(value: Any) -> str:
    import pandas as pd  # noqa: PLC0415 - loaded by now, with the frame

    if pd.isna(value):
        return "<td></td>"
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    said = f"{value:,.6g}" if isinstance(value, float) else f"{value:,}"
    return f'<td style="text-align:right">{escape(said)}</td>'
