"""A chart: lines or bars over places."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from typing import Any, Literal

from tta_notebook.report.picture import Picture, plotly_text

_WIDTH, _HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 12, 14, 44
_MOST_LABELS = 8
# Distinct in light and dark, and for most kinds of colour blindness (Okabe and Ito 2008).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


@dataclass(frozen=True, slots=True)
class Series:
    """One line or row of bars.

    Attributes:
        name: in the legend.
        x: places or names.
        y: values; None leaves a gap.
        low: the lower ends of intervals around the values, where they are uncertain.
        high: the upper ends.
    """

    name: str
    x: Sequence[Any]
    y: Sequence[float | None]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Chart(Picture):
    """A chart with its title and axes.

    Attributes:
        title: what it shows.
        series: the data.
        kind: "bar" or "line".
        x_title: what stands along the bottom.
        y_title: what is measured, unit included.
        y_format: how values are written, as in `format(value, y_format)`.
        caution: what a reader has to know beside it.

    >>> chart = Chart("Cost", [Series("USD", ["a", "b"], [1.0, 2.5])], y_format=".2f")
    >>> print(chart)
    Cost
         USD
    a   1.00
    b   2.50
    """

    title: str
    series: Sequence[Series]
    kind: Literal["bar", "line"] = "bar"
    x_title: str = ""
    y_title: str = ""
    y_format: str = ",.6g"
    caution: str = ""

    def figure(self) -> Any:
        """Return it as a `plotly.graph_objects.Figure`."""
        # It takes a while to load, and most of it is untyped.
        go: Any = import_module("plotly.graph_objects")
        traces: list[Any] = []
        for series in self.series:
            error: dict[str, Any] | None = None
            if series.low is not None and series.high is not None:
                values = [0.0 if y is None else y for y in series.y]
                error = {
                    "type": "data",
                    "symmetric": False,
                    "array": [h - y for h, y in zip(series.high, values, strict=True)],
                    "arrayminus": [y - w for w, y in zip(series.low, values, strict=True)],
                }
            about = {
                "x": [plotly_text(x) if isinstance(x, str) else x for x in series.x],
                "y": list(series.y),
                "name": plotly_text(series.name),
            }
            if self.kind == "bar":
                traces.append(go.Bar(**about, error_y=error))
            else:
                traces.append(go.Scatter(**about, mode="lines+markers", error_y=error))
        figure = self._figure_of(traces, _COLOURS, 320)
        figure.update_layout(showlegend=len(self.series) > 1)
        figure.update_xaxes(title=plotly_text(self.x_title))
        if all(isinstance(place, str) for place in _places(self.series)):
            # Else plotly takes days for instants, and a single day for a millisecond of it.
            figure.update_xaxes(type="category")
        figure.update_yaxes(
            title={"text": plotly_text(self.y_title), "standoff": 12},
            rangemode="tozero",
            tickformat=self.y_format if self.y_format.endswith("%") else None,
        )
        return figure

    def __str__(self) -> str:
        places = _places(self.series)
        table = [["", *(series.name for series in self.series)]]
        for place in places:
            values = (_value_at(series, place) for series in self.series)
            table.append([str(place), *(self.written(value) for value in values)])
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width + 1)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]
        return "\n".join(filter(None, [self.title, *lines, self.caution]))

    def to_svg(self) -> str:
        """Return it as SVG that needs no script and follows the page's colour."""
        return _Drawing(self).svg()

    def written(self, value: float | None) -> str:
        """Return a value as the chart writes it; empty for a gap."""
        return "" if value is None else format(value, self.y_format)


class _Drawing:
    """A chart on a grid of pixels."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.places = _places(chart.series)
        values = [y for series in chart.series for y in (*series.y, *(series.high or ()))]
        self.top = _round_up(max((y for y in values if y is not None), default=0.0))

    def svg(self) -> str:
        chart = self.chart
        said = "; ".join(str(chart).split("\n")[1:])
        return (
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 26}" role="img" style="max-width:{_WIDTH}px;'
            'width:100%;font:11px sans-serif;color:var(--jp-ui-font-color1,currentColor)" '
            f'fill="currentColor"><title>{escape(chart.title)}</title>'
            f"<desc>{escape(said[:1000])}</desc>"
            f'<text x="{_LEFT}" y="12" font-weight="bold">{escape(chart.title)}</text>'
            f'<g transform="translate(0 24)">{self._axes()}{self._data()}{self._legend()}</g></svg>'
        )

    def _axes(self) -> str:
        lines: list[str] = []
        for step in range(5):
            value = self.top * step / 4
            y = self._y(value)
            lines.append(
                f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
                'stroke="currentColor" stroke-opacity=".2"/>'
                f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill-opacity=".75">'
                f"{escape(self.chart.written(value))}</text>"
            )
        every = max(1, math.ceil(len(self.places) / _MOST_LABELS))
        for index, place in enumerate(self.places):
            if index % every == 0:
                lines.append(
                    f'<text x="{self._x(index):.1f}" y="{_HEIGHT - _BOTTOM + 16}" '
                    f'text-anchor="middle" fill-opacity=".75">{escape(str(place)[:24])}</text>'
                )
        lines.append(
            f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 10}" text-anchor="middle" '
            f'fill-opacity=".75">{escape(self.chart.x_title)}</text>'
        )
        return "".join(lines)

    def _data(self) -> str:
        draw = self._bars if self.chart.kind == "bar" else self._line
        return "".join(
            draw(series, number, _COLOURS[number % len(_COLOURS)])
            for number, series in enumerate(self.chart.series)
        )

    def _bars(self, series: Series, number: int, colour: str) -> str:
        count = len(self.chart.series)
        width = 0.7 * (_WIDTH - _LEFT - _RIGHT) / max(len(self.places), 1) / count
        width = min(width, 60.0)
        shapes: list[str] = []
        for index, place in enumerate(self.places):
            value = _value_at(series, place)
            if value is None:
                continue
            x, y = self._x(index) + (number - count / 2) * width, self._y(value)
            shapes.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width - 1, 1):.1f}" '
                f'height="{self._y(0) - y:.1f}" fill="{colour}"><title>{escape(series.name)}, '
                f"{escape(str(place))}: {escape(self.chart.written(value))}</title></rect>"
            )
            shapes.append(self._interval(series, place, x + width / 2))
        return "".join(shapes)

    def _line(self, series: Series, number: int, colour: str) -> str:
        del number
        shapes: list[str] = []
        points: list[str] = []
        for index, place in enumerate(self.places):
            value = _value_at(series, place)
            if value is None:
                continue
            x, y = self._x(index), self._y(value)
            points.append(f"{x:.1f},{y:.1f}")
            shapes.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"><title>'
                f"{escape(series.name)}, {escape(str(place))}: "
                f"{escape(self.chart.written(value))}</title></circle>"
            )
            shapes.append(self._interval(series, place, x))
        line = f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}"/>'
        return line + "".join(shapes)

    def _interval(self, series: Series, place: Any, x: float) -> str:
        if series.low is None or series.high is None:
            return ""
        index = list(series.x).index(place)
        low, high = self._y(series.low[index]), self._y(series.high[index])
        ends = f'x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"'
        return f'<line {ends} stroke="currentColor"/>'

    def _legend(self) -> str:
        if len(self.chart.series) < 2:  # noqa: PLR2004 - one needs no telling apart
            return ""
        entries: list[str] = []
        x = float(_LEFT + 4)
        for number, series in enumerate(self.chart.series):
            colour = _COLOURS[number % len(_COLOURS)]
            entries.append(
                f'<rect x="{x:.0f}" y="0" width="9" height="9" fill="{colour}"/>'
                f'<text x="{x + 13:.0f}" y="9">{escape(series.name[:28])}</text>'
            )
            x += 26 + 6.2 * min(len(series.name), 28)
        return "".join(entries)

    def _x(self, index: int) -> float:
        width = (_WIDTH - _LEFT - _RIGHT) / max(len(self.places), 1)
        return _LEFT + width * (index + 0.5)

    def _y(self, value: float) -> float:
        height = _HEIGHT - _BOTTOM - _TOP
        return _TOP + height * (1 - value / self.top)


def _places(series: Sequence[Series]) -> list[Any]:
    return list(dict.fromkeys(place for each in series for place in each.x))


def _value_at(series: Series, place: Any) -> float | None:
    for x, y in zip(series.x, series.y, strict=True):
        if x == place:
            return y
    return None


def _round_up(value: float) -> float:
    """Return the next round number from which quarters can be read off."""
    if not sys.float_info.min <= value < math.inf:  # nothing, or next to it
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next((step * size for step in (1, 2, 4, 8) if step * size >= value), 10 * size)
