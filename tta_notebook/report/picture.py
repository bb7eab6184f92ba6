"""What shows everywhere: plotly where that is drawn, SVG and text where it is not."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from html import escape
from importlib import import_module
from textwrap import wrap
from typing import Any

_CAUTION_CHARS = 100


def plotly_text(text: str) -> str:
    """Return a text that plotly shows as it is: it takes tags and entities for markup, everywhere.

    >>> plotly_text("<b> & 'c'")
    "&lt;b&gt; &amp; 'c'"
    """
    return escape(text, quote=False)  # it knows no &quot;


class Picture(ABC):
    """Something to look at, with a title.

    As a cell's value it is a plotly figure in JupyterLab, and an SVG without script on GitHub, in
    exports and where no front end knows plotly. Nothing of plotly is loaded before it is drawn.

    Attributes:
        title: what it shows.
        caution: what a reader has to know beside it.
    """

    __slots__ = ()

    title: str
    caution: str

    @abstractmethod
    def figure(self) -> Any:
        """Return it as a `plotly.graph_objects.Figure`."""

    @abstractmethod
    def to_svg(self) -> str:
        """Return it as SVG that needs no script and follows the page's colour."""

    @abstractmethod
    def __str__(self) -> str: ...

    def to_html(self) -> str:
        """Return the SVG with its caution."""
        caution = f"<p>{escape(self.caution)}</p>" if self.caution else ""
        return f"{self.to_svg()}{caution}"

    def bundle(self) -> dict[str, Any]:
        """Return its forms by mime type; a front end takes the richest that it knows."""
        # Through plotly's own encoder: dates and numpy's numbers are no JSON.
        plotly = json.loads(str(self.figure().to_json()))
        plotly.get("layout", {}).pop("template", None)  # 6 kB that no theme needs
        return {
            "application/vnd.plotly.v1+json": plotly,
            "text/html": self.to_html(),
            "text/plain": str(self),
        }

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        del include, exclude  # IPython leaves out what is not wanted
        return self.bundle()

    def _figure_of(self, traces: Iterable[Any], colours: Iterable[str], height: int) -> Any:
        """Return plotly's figure of some traces in the looks that all pictures have."""
        # It takes a while to load, and most of it is untyped.
        go: Any = import_module("plotly.graph_objects")
        figure = go.Figure(list(traces))
        # Plotly breaks no lines.
        caution = [plotly_text(line) for line in wrap(self.caution, _CAUTION_CHARS)]
        subtitle = {"text": "<br>".join(caution), "font": {"size": 11}}
        figure.update_layout(
            title={"text": plotly_text(self.title), "subtitle": subtitle},
            height=height,
            margin={"l": 70, "r": 20, "t": 50 + 18 * len(caution), "b": 50},
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(0,0,0,0)",
            # The grey that stands out as much from white as from JupyterLab's black.
            font={"color": "#797979"},
            colorway=list(colours),
        )
        figure.update_xaxes(gridcolor="rgba(128,128,128,.25)")
        figure.update_yaxes(gridcolor="rgba(128,128,128,.25)", automargin=True)
        return figure
