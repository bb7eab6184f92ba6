"""Charts of answers: the same numbers, with intervals, in every form."""

import asyncio

import pytest

from tta_notebook import (
    CachePrimitive,
    LLMPrimitive,
    Price,
    Reply,
    RetryPrimitive,
    ScriptedModel,
    Usage,
    WorkflowContext,
    capture,
    configured,
)
from tta_notebook.cost.whatif import WhatIf
from tta_notebook.llm import PriceBook
from tta_notebook.report.whatif_figures import whatif_chart
from tta_notebook.testing import run_virtual

BOOK = PriceBook(
    overrides={
        "big": Price(input_per_1m=0, output_per_1m=10**6),
        "small": Price(input_per_1m=0, output_per_1m=10**5),
    },
    bundled=False,
)
GOOD = Reply("yes", usage=Usage(1, 10))


@pytest.fixture
def what_if():
    script = [GOOD, ConnectionError("lost"), GOOD, GOOD]
    model = LLMPrimitive(ScriptedModel(script, name="big"), name="model")
    retried = RetryPrimitive(model, initial_delay=1, jitter=False, budget=None)
    step = CachePrimitive(retried, name="answers")

    async def main():
        runs = []
        for asked in "abca":
            runs.append(await step.run(asked, WorkflowContext("w")))
            await asyncio.sleep(10)
        return runs

    with capture(), configured(prices=BOOK):
        return WhatIf(run_virtual(main), prices=BOOK)


def test_models_are_bars_with_the_interval_of_the_new_cost(what_if):
    chart = whatif_chart(what_if.reprice("small", token_ratio=(0.5, 2)))
    recorded, new = chart.series
    # Three calls of ten tokens: 30 dollars; at a tenth of the price 3, of 1.5 to 6.
    assert (list(recorded.y), list(new.y), new.low, new.high) == ([30], [3], [1.5], [6])
    assert "small" in chart.to_svg()
    assert "as good" in chart.caution


def test_caches_are_lines_of_miss_ratios_one_for_each_time_to_live(what_if):
    chart = whatif_chart(what_if.cache([1, 3], [None, 5], over="answers"))
    ever, five = chart.series
    assert (ever.name, list(ever.x), list(ever.y)) == ("ever", [1, 3], [1.0, 0.75])
    assert (five.name, list(five.y)) == ("TTL 5 s", [1.0, 1.0])


def test_retries_are_bars_with_the_likely_interval(what_if):
    chart = whatif_chart(what_if.retry(0))
    (series,) = chart.series
    assert (list(series.y), series.low, series.high) == ([1.0, 0.0], [1.0, 0.0], [1.0, 0.0])


def test_budgets_are_bars_by_window_between_the_ways_it_could_have_gone(what_if):
    chart = whatif_chart(what_if.budget(25))
    recorded, spent = chart.series
    assert (list(recorded.x), list(recorded.y)) == (["all"], [30])
    # Two of the three calls of ten dollars fit. Held at their worst case, 1,024 tokens of a dollar,
    # none does.
    assert (spent.low, spent.high) == ([0], [20])


def test_every_chart_is_a_figure_an_image_and_text(what_if):
    answers = (
        what_if.reprice("small"), what_if.cache(), what_if.retry(1), what_if.budget(1, "run"),
    )  # fmt: skip
    for answer in answers:
        bundle = whatif_chart(answer)._repr_mimebundle_()
        assert bundle["application/vnd.plotly.v1+json"]["data"]
        assert "<svg" in bundle["text/html"]
        assert "<script" not in bundle["text/html"]


def test_what_is_no_answer_cannot_be_drawn():
    with pytest.raises(TypeError, match="no answer that can be drawn"):
        whatif_chart(7)
