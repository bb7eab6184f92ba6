"""Charts: one set of data as plotly, as SVG that needs no script, and as text."""

import json
import math
import xml.etree.ElementTree as ET
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import Ledger, Price, PriceBook, Usage
from tta_notebook.report import Chart, Series, cost_chart

CHART = Chart(
    "Misses <by> size",
    [
        Series("lru", [1, 10, 100], [1.0, 0.5, 0.25], [0.9, 0.4, 0.2], [1.0, 0.6, 0.3]),
        Series("none & such", [1, 100], [1.0, None]),
    ],
    kind="line",
    x_title="entries",
    y_title="misses",
    y_format=".2f",
    caution="An estimate.",
)


def shapes(chart):
    svg = ET.fromstring(chart.to_svg())  # noqa: S314 - our own
    return svg, [element.tag for element in svg.iter()]


def test_text_has_a_line_for_every_place_and_leaves_gaps():
    assert str(CHART).splitlines() == [
        "Misses <by> size",
        "       lru   none & such",
        "1     1.00          1.00",
        "10    0.50",
        "100   0.25",
        "An estimate.",
    ]


def test_the_svg_is_well_formed_and_needs_nothing_from_outside():
    svg, tags = shapes(CHART)
    assert svg.attrib["role"] == "img"
    assert svg.find("title").text == "Misses <by> size"
    assert tags.count("circle") == 4  # the gap has none
    assert tags.count("polyline") == 2
    text = CHART.to_html()
    assert "script" not in text
    assert "http" not in text
    assert "currentColor" in text
    assert "An estimate." in text


def test_the_figure_has_the_same_data():
    figure = CHART.figure()
    assert [trace.name for trace in figure.data] == ["lru", "none &amp; such"]
    assert list(figure.data[0].y) == [1.0, 0.5, 0.25]
    assert list(figure.data[0].error_y.array) == pytest.approx([0, 0.1, 0.05])
    assert list(figure.data[0].error_y.arrayminus) == pytest.approx([0.1, 0.1, 0.05])


def test_the_figure_takes_days_for_names_and_shares_for_per_cent():
    figure = Chart("t", [Series("s", ["2026-11-25"], [0.5])], y_format=".1%").figure()
    assert figure.layout.xaxis.type == "category"
    assert (figure.layout.yaxis.rangemode, figure.layout.yaxis.tickformat) == ("tozero", ".1%")
    assert CHART.figure().layout.xaxis.type is None


def test_plotly_gets_no_markup_in_any_name():
    odd = "<b>a</b> & 'c'"
    series = [Series(odd, [odd, "b", 1], [1, 2, 3]), Series("&lt;", [odd], [1])]
    chart = Chart(odd, series, x_title=odd, y_title=odd, caution=odd)
    figure = json.loads(chart.figure().to_json())
    shown = "&lt;b&gt;a&lt;/b&gt; &amp; 'c'"
    assert [trace["name"] for trace in figure["data"]] == [shown, "&amp;lt;"]
    assert figure["data"][0]["x"] == [shown, "b", 1]
    assert figure["data"][0]["y"] == [1, 2, 3]
    layout = figure["layout"]
    assert layout["title"]["text"] == layout["title"]["subtitle"]["text"] == shown
    assert layout["xaxis"]["title"]["text"] == layout["yaxis"]["title"]["text"] == shown
    assert odd in str(chart)


def test_the_figure_says_its_caution_and_its_title_as_they_are():
    title = CHART.figure().layout.title
    assert (title.text, title.subtitle.text) == ("Misses &lt;by&gt; size", "An estimate.")
    long = Chart("t", [Series("s", ["a"], [1])], caution="it is so. " * 30).figure()
    lines = long.layout.title.subtitle.text.split("<br>")
    assert max(map(len, lines)) <= 100
    assert " ".join(lines) == ("it is so. " * 30).strip()


def test_the_bundle_is_small_and_without_a_template():
    bundle = CHART._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.plotly.v1+json", "text/html", "text/plain"}
    assert "template" not in bundle["application/vnd.plotly.v1+json"]["layout"]
    assert len(str(bundle)) < 10_000


@pytest.mark.parametrize("x", [["a", "b"], [date(2026, 1, 1), date(2026, 1, 2)], [1.5, 2.5]])
@pytest.mark.parametrize("kind", ["bar", "line"])
def test_places_of_any_kind_are_drawn(x, kind):
    chart = Chart("t", [Series("s", x, [0, 3])], kind=kind)
    svg, _ = shapes(chart)
    texts = [element.text for element in svg.iter("text")]
    assert {str(place) for place in x} <= set(texts)
    assert len(chart._repr_mimebundle_()["application/vnd.plotly.v1+json"]["data"]) == 1


@pytest.mark.parametrize("series", [[], [Series("s", [], [])], [Series("s", ["a"], [None])]])
def test_a_chart_of_nothing_is_drawn_all_the_same(series):
    chart = Chart("t", series)
    shapes(chart)
    assert str(chart).startswith("t")
    assert chart._repr_mimebundle_()["text/plain"]


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=40))
def test_no_bar_leaves_the_picture(values):
    chart = Chart("t", [Series("s", list(range(len(values))), values)])
    svg, _ = shapes(chart)
    bars = [element for element in svg.iter("rect") if element.find("title") is not None]
    assert len(bars) == len(values)
    for bar in bars:
        assert 0 <= float(bar.attrib["y"]) <= 240
        assert float(bar.attrib["height"]) >= -0.05
        assert math.isfinite(float(bar.attrib["x"]))


def test_costs_by_day_stand_in_the_order_of_days_and_name_what_is_left_out():
    ledger = Ledger(PriceBook(overrides={"m": Price(input_per_1m=0, output_per_1m=1_000_000)}))
    ledger.record("m", Usage(output_tokens=2), user="a")
    ledger.record("m", Usage(output_tokens=3), user="b")
    ledger.record("mystery", Usage(output_tokens=3))
    by_day = cost_chart(ledger, "day")
    assert by_day.series[0].x == [datetime.now(UTC).date().isoformat()]
    assert by_day.series[0].y == [5]
    by_user = cost_chart(ledger, "user")
    assert by_user.series[0].x == ["b", "a", "-"]
    assert by_user.caution == "1 call has no price and is left out."
