"""Asking recorded runs, models and caches from cells."""

import pytest
from IPython.core.error import UsageError

from tta_notebook.notebook.compare import Comparison

KEPT = """\
from tta_notebook import CachePrimitive
ask = CachePrimitive(model, name="kept") >> str.upper
"""


@pytest.fixture
def shell(priced):
    priced.run(KEPT)
    for question in ("one", "two", "one"):
        priced.run(f"%tta_run ask '{question}'")
    return priced


def test_history_lists_runs_the_newest_last(shell):
    frame = shell.value("%tta_history")
    assert frame["workflow"].to_list() == ["ask"] * 3
    assert frame["cost_usd"].fillna(0).to_list() == [3, 3, 0]
    assert len(shell.value("%tta_history --limit 1")) == 1
    assert len(shell.value("%tta_history --workflow other --since 1h")) == 0
    assert len(shell.value("%tta_history --status ok")) == 3


def test_models_are_listed_with_what_they_came_to_and_what_they_cost(shell):
    frame = shell.value("%tta_models")
    (row,) = frame.to_dict("records")
    assert (row["model"], row["calls"], row["cost_usd"]) == ("m", 2, 6)
    assert (row["output_per_1m"], row["price"]) == (1_000_000, "user")


def test_caches_show_what_they_saved_and_are_cleared(shell):
    (row,) = shell.value("%tta_cache").to_dict("records")
    assert (row["workflow"], row["cache"]) == ("ask", "kept")
    assert (row["hits"], row["misses"], row["tokens_saved"]) == (1, 2, 8)
    assert shell.value("%tta_cache clear ask")["size"].to_list() == [0]
    cell = shell.run("%tta_cache clear model")
    assert isinstance(cell.error, UsageError)
    assert "there is one in 'ask'" in str(cell.error)


def test_two_runs_are_shown_side_by_side(shell):
    shell.run("first = %tta_run ask 'three'")
    shell.run("second = %tta_run ask 'three'")
    comparison = shell.value("%tta_compare first second")
    assert isinstance(comparison, Comparison)
    facts = {fact.name: fact for fact in comparison.facts}
    assert (facts["answer"].one, facts["answer"].change) == ("YES", "")
    assert (facts["cost"].one, facts["cost"].other) == ("$3.00", "")
    assert facts["cache hits"].other == "1 of 1"
    assert next(fact for fact in comparison.steps if fact.name == "m").other == "-"
    text, html = str(comparison), comparison._repr_html_()
    assert "cache hits" in text
    assert "<script" not in html
    assert shell.value("%tta_compare first").other is shell.value("second")


def test_recorded_runs_are_asked_what_if(shell):
    cheaper = shell.value("%tta_whatif model 'small'")
    assert (cheaper.recorded_usd, round(cheaper.new_usd, 6)) == (6, 0.6)
    assert shell.value("%tta_whatif budget 4 --per total").refused[0] == 1
    assert shell.value("%tta_whatif cache [1, 2] --ttl 60").lookups == 2
    assert shell.value("%tta_whatif retry 0").failing == 0
    bundle = shell.ip.display_formatter.format(shell.value("%tta_whatif cache --plot"))[0]
    assert "application/vnd.plotly.v1+json" in bundle
    shell.run("run = %tta_run ask 'four'")
    assert shell.value("%tta_whatif model 'small' --run run").recorded_usd == 3


@pytest.mark.parametrize(
    "line",
    [
        "%tta_history --limit none",
        "%tta_history --status fine",
        "%tta_models x",
        "%tta_cache forget",
        "%tta_cache clear nothing",
        "%tta_compare",
        "%tta_compare nothing",
        "%tta_whatif",
        "%tta_whatif model",
        "%tta_whatif model 'smal'",
        "%tta_whatif budget -1",
        "%tta_whatif weather 3",
    ],
)
def test_what_means_nothing_is_a_usage_error_in_a_line(shell, line):
    cell = shell.run(line)
    assert isinstance(cell.error, UsageError), cell.error
    assert "Traceback" not in cell.out + cell.err
