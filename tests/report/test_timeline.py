"""Timelines: lanes of states, as plotly, as SVG that needs no script, and as text."""

import json
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import pytest

from tta_notebook.report import Lane, Segment, Timeline

NINE = datetime(2026, 11, 26, 9, tzinfo=UTC)
COLOURS = {"up": "#009e73", "half": "#e69f00", "down": "#d55e00"}


def at(minutes):
    return NINE + timedelta(minutes=minutes)


DOORS = Timeline(
    "Doors & <gates>",
    [
        Lane("front <1>", [Segment("up", at(0), at(60)), Segment("down", at(60), at(80), "a & b")]),
        Lane("back", [Segment("down", at(20), at(40)), Segment("up", at(60), at(100))]),
    ],
    COLOURS,
)


def bars(timeline):
    svg = ET.fromstring(timeline.to_svg())  # noqa: S314 - our own
    found = [each for each in svg.iter("rect") if each.find("title") is not None]
    return svg, [
        (each.attrib["fill"], float(each.attrib["x"]), float(each.attrib["width"]))
        for each in found
    ]


def test_bars_lie_where_their_times_are():
    svg, found = bars(DOORS)
    # 100 minutes on 474 pixels from 150 on: 4.74 pixels a minute.
    assert found == [
        ("#009e73", 150.0, 284.4),
        ("#d55e00", 434.4, 94.8),
        ("#d55e00", 244.8, 94.8),
        ("#009e73", 434.4, 189.6),
    ]
    titles = [each.text for each in svg.iter("title")]
    assert titles[0] == "Doors & <gates>"
    assert "front <1>: down from 10:00 to 10:20, a & b" in titles


def test_words_stand_beside_colours_of_states_that_occur():
    svg, _ = bars(DOORS)
    texts = [each.text for each in svg.iter("text")]
    assert texts[:3] == ["Doors & <gates>", "up", "down"]
    assert "half" not in texts
    assert {"09:00", "10:40", "2026-11-26, UTC"} <= set(texts)
    assert svg.attrib["role"] == "img"
    assert "script" not in DOORS.to_html()
    assert "http" not in DOORS.to_html()


def test_the_text_says_the_last_states_of_each():
    assert str(DOORS).splitlines() == [
        "Doors & <gates>",
        "front <1>: up from 09:00; down from 10:00 (a & b); until 10:20",
        "back: down from 09:20; up from 10:00; until 10:40",
    ]
    flapping = [Segment("up" if n % 2 else "down", at(n), at(n + 1)) for n in range(9)]
    (line,) = str(Timeline("t", [Lane("x", flapping)], COLOURS)).splitlines()[1:]
    assert line.startswith("x: 3 before; up from 09:03:00; down from 09:04:00")


def test_the_figure_has_a_trace_for_each_state_in_its_colour():
    figure = DOORS.figure()
    assert [trace.name for trace in figure.data] == ["up", "down"]
    assert list(figure.layout.colorway) == [COLOURS["up"], COLOURS["down"]]
    down = figure.data[1]
    assert (down.orientation, list(down.y)) == ("h", ["front &lt;1&gt;", "back"])
    assert list(down.base) == ["2026-11-26 10:00:00", "2026-11-26 09:20:00"]
    assert list(down.x) == [20 * 60_000] * 2
    assert list(figure.layout.yaxis.categoryarray) == ["front &lt;1&gt;", "back"]
    assert (figure.layout.xaxis.type, figure.layout.yaxis.autorange) == ("date", "reversed")


def test_the_bundle_is_json_and_small():
    bundle = DOORS._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.plotly.v1+json", "text/html", "text/plain"}
    assert len(json.dumps(bundle, allow_nan=False)) < 10_000


def test_a_moment_is_seen_and_stays_in_the_picture():
    lanes = [Lane("x", [Segment("up", at(0), at(999)), Segment("down", at(999), at(999))])]
    _, found = bars(Timeline("t", lanes, COLOURS))
    assert found[1] == ("#d55e00", 623.0, 1.0)


@pytest.mark.parametrize(
    "lanes",
    [
        [],
        [Lane("x", [])],
        [Lane("x", [Segment("up", at(0), at(0))])],
        [Lane("x", [Segment("odd <b>", at(0), at(1))])],
        [Lane("ß" * 99, [Segment("up", at(0), at(10**6))])],
    ],
)
def test_odd_lanes_are_drawn_all_the_same(lanes):
    timeline = Timeline("t", lanes, COLOURS, "Be careful.")
    bars(timeline)
    assert str(timeline).endswith("Be careful.")
    assert "<p>Be careful.</p>" in timeline.bundle()["text/html"]


@pytest.mark.parametrize(
    ("minutes", "said"),
    [(5, "09:00:00"), (600, "09:00"), (3_000, "11-26 09:00"), (30_000, "2026-11-26")],
)
def test_moments_are_as_exact_as_the_time_is_long(minutes, said):
    timeline = Timeline("t", [Lane("x", [Segment("up", at(0), at(minutes))])], COLOURS)
    assert f"up from {said};" in str(timeline)
