"""A timeline: a lane for each thing, and on it when it was in which state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from importlib import import_module
from typing import Any

from tta_notebook.report.picture import Picture, plotly_text

_WIDTH, _LEFT, _RIGHT = 640, 150, 16
_LANE, _BAR, _TOP, _BOTTOM = 26, 16, 40, 40
_TICKS = 4
_NAME_CHARS = 24
# A text is read, not looked at: it says how things have been of late.
_MOST_SAID = 6
# Up to which span moments are written how.
_FORMATS = (
    (timedelta(minutes=10), "%H:%M:%S"),
    (timedelta(days=1), "%H:%M"),
    (timedelta(days=10), "%m-%d %H:%M"),
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time in one state.

    Attributes:
        state: which, as its colour is found by.
        start: its first moment.
        end: the first moment after it.
        note: what else there is to say.
    """

    state: str
    start: datetime
    end: datetime
    note: str = ""

    @property
    def duration(self) -> timedelta:
        """How long it is."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Lane:
    """One thing and its states; what lies between its segments is not known.

    Attributes:
        name: of the thing; each lane has one of its own.
        segments: its states in order.
    """

    name: str
    segments: Sequence[Segment]


@dataclass(frozen=True, slots=True)
class Timeline(Picture):
    """Lanes over one axis of time.

    Attributes:
        title: what it shows.
        lanes: from top to bottom.
        colours: of the states; they stand in the legend in this order. Others are grey.
        caution: what a reader has to know beside it.

    >>> from datetime import UTC
    >>> at = [datetime(2026, 11, 26, hour, tzinfo=UTC) for hour in (9, 10, 12)]
    >>> states = [Segment("up", at[0], at[1]), Segment("down", at[1], at[2], "the cable")]
    >>> print(Timeline("Door", [Lane("front", states)], {"up": "green", "down": "red"}))
    Door
    front: up from 09:00; down from 10:00 (the cable); until 12:00
    """

    title: str
    lanes: Sequence[Lane]
    colours: Mapping[str, str]
    caution: str = ""

    @property
    def start(self) -> datetime:
        """The first moment of all; there has to be a segment."""
        return min(each.start for lane in self.lanes for each in lane.segments)

    @property
    def end(self) -> datetime:
        """The last moment of all."""
        return max(each.end for lane in self.lanes for each in lane.segments)

    def figure(self) -> Any:
        """Return it as a `plotly.graph_objects.Figure` of horizontal bars."""
        go: Any = import_module("plotly.graph_objects")
        states = self._states()
        traces = [go.Bar(**self._bars(state)) for state in states]
        colours = [self._colour(state) for state in states]
        figure = self._figure_of(traces, colours, 160 + 34 * len(self.lanes))
        figure.update_layout(showlegend=True)
        figure.update_xaxes(type="date", title="UTC")
        figure.update_yaxes(
            type="category",
            categoryorder="array",
            categoryarray=[plotly_text(lane.name) for lane in self.lanes],
            autorange="reversed",
        )
        return figure

    def _bars(self, state: str) -> dict[str, Any]:
        found = [
            (lane.name, each)
            for lane in self.lanes
            for each in lane.segments
            if each.state == state
        ]
        return {
            "name": plotly_text(state),
            "orientation": "h",
            "y": [plotly_text(name) for name, _ in found],
            # Plotly's dates have no zone; its lengths are milliseconds.
            "base": [each.start.replace(tzinfo=None).isoformat(" ") for _, each in found],
            "x": [each.duration / timedelta(milliseconds=1) for _, each in found],
            "text": [plotly_text(self._said(name, each)) for name, each in found],
            "textposition": "none",
            "hoverinfo": "text",
            # With a place of their own bars lie in one lane, also among figures of other bars.
            "offset": -0.35,
            "width": 0.7,
        }

    def __str__(self) -> str:
        return "\n".join(filter(None, [self.title, *map(self._line, self.lanes), self.caution]))

    def _line(self, lane: Lane) -> str:
        last = lane.segments[-_MOST_SAID:]
        parts = [f"{len(lane.segments) - len(last):,} before"] if last != lane.segments[:] else []
        for each in last:
            note = f" ({each.note})" if each.note else ""
            parts.append(f"{each.state} from {self._moment(each.start)}{note}")
        if last:
            parts.append(f"until {self._moment(last[-1].end)}")
        return f"{lane.name}: {'; '.join(parts)}"

    def to_svg(self) -> str:
        """Return it as SVG that needs no script and follows the page's colour."""
        height = _TOP + _LANE * len(self.lanes) + _BOTTOM
        said = "; ".join(str(self).split("\n")[1:])
        lanes = "".join(self._lane(number, lane) for number, lane in enumerate(self.lanes))
        return (
            f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" style="max-width:{_WIDTH}px;'
            'width:100%;font:11px sans-serif;color:var(--jp-ui-font-color1,currentColor)" '
            f'fill="currentColor"><title>{escape(self.title)}</title>'
            f"<desc>{escape(said[:1000])}</desc>"
            f'<text x="{_LEFT}" y="12" font-weight="bold">{escape(self.title)}</text>'
            f"{self._legend()}{self._axis()}{lanes}</svg>"
        )

    def _lane(self, number: int, lane: Lane) -> str:
        y = _TOP + _LANE * number
        bars: list[str] = []
        for each in lane.segments:
            x = self._x(each.start)
            # What is too short to be seen is seen all the same.
            width = max(self._x(each.end) - x, 1.0)
            bars.append(
                f'<rect x="{min(x, _WIDTH - _RIGHT - 1):.1f}" y="{y + (_LANE - _BAR) / 2:.0f}" '
                f'width="{width:.1f}" height="{_BAR}" fill="{escape(self._colour(each.state))}">'
                f"<title>{escape(self._said(lane.name, each))}</title></rect>"
            )
        name = escape(_cut(lane.name))
        return (
            f'<text x="{_LEFT - 8}" y="{y + _LANE / 2 + 4:.0f}" text-anchor="end">{name}'
            f"<title>{escape(lane.name)}</title></text>{''.join(bars)}"
        )

    def _axis(self) -> str:
        if not self._states():
            return ""
        bottom = _TOP + _LANE * len(self.lanes)
        span = self.end - self.start
        parts: list[str] = []
        for step in range(_TICKS + 1):
            at = self.start + span * step / _TICKS
            x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / _TICKS
            anchor = "end" if step == _TICKS else "start" if step == 0 else "middle"
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}" '
                'stroke="currentColor" stroke-opacity=".2"/>'
                f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="{anchor}" '
                f'fill-opacity=".75">{self._moment(at)}</text>'
            )
        day = f"{self.start:%Y-%m-%d}, UTC" if span < timedelta(days=1) else "UTC"
        return "".join(parts) + (
            f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{bottom + 30}" '
            f'text-anchor="middle" fill-opacity=".75">{day}</text>'
        )

    def _legend(self) -> str:
        entries: list[str] = []
        x = float(_LEFT)
        for state in self._states():
            entries.append(
                f'<rect x="{x:.0f}" y="21" width="9" height="9" '
                f'fill="{escape(self._colour(state))}"/>'
                f'<text x="{x + 13:.0f}" y="30">{escape(state)}</text>'
            )
            x += 30 + 6.2 * len(state)
        return "".join(entries)

    def _states(self) -> list[str]:
        present = {each.state for lane in self.lanes for each in lane.segments}
        return [
            *(each for each in self.colours if each in present),
            *sorted(present - {*self.colours}),
        ]

    def _colour(self, state: str) -> str:
        return self.colours.get(state, "#808080")

    def _said(self, name: str, each: Segment) -> str:
        note = f", {each.note}" if each.note else ""
        start, end = self._moment(each.start), self._moment(each.end)
        return f"{name}: {each.state} from {start} to {end}{note}"

    def _moment(self, at: datetime) -> str:
        span = self.end - self.start
        return at.strftime(next((form for most, form in _FORMATS if span < most), "%Y-%m-%d"))

    def _x(self, at: datetime) -> float:
        span = (self.end - self.start) or timedelta(seconds=1)
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * ((at - self.start) / span)


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_CHARS else name[: _NAME_CHARS - 1] + "…"
