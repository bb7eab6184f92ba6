"""Dashboards: sums over recorded runs, as charts, tables, files and controls in a cell."""

import asyncio
import copy
import pickle
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from tta_notebook import (
    Budget,
    CachePrimitive,
    CircuitBreakerPrimitive,
    ConfigurationError,
    FallbackPrimitive,
    LambdaPrimitive,
    LLMPrimitive,
    Price,
    PriceBook,
    RateLimit,
    Reply,
    RetryPrimitive,
    ScriptedModel,
    StorageError,
    TimeoutPrimitive,
    Usage,
    WorkflowContext,
    configure,
)
from tta_notebook.notebook.dashboards import CacheDashboard, CostDashboard, ResilienceDashboard
from tta_notebook.notebook.dashboards.controls import Controls
from tta_notebook.notebook.dashboards.page import Page
from tta_notebook.notebook.dashboards.share import Share
from tta_notebook.observability.history import History
from tta_notebook.observability.history.questions import Questions
from tta_notebook.report import Chart
from tta_notebook.testing import MockPrimitive, run_virtual

KINDS = (CostDashboard, CacheDashboard, ResilienceDashboard)
DAY_NS = 24 * 3_600 * 10**9
REPLY = Reply("yes", usage=Usage(input_tokens=5, output_tokens=3))
# A dollar per token of output, a tenth of that for the small one, so that a call is $3 or $0.30.
PRICES = PriceBook(
    overrides={
        "m": Price(input_per_1m=0, output_per_1m=1_000_000),
        "small": Price(input_per_1m=0, output_per_1m=100_000),
    },
    bundled=False,
)


@pytest.fixture(autouse=True)
def prices():
    configure(prices=PRICES)
    yield
    configure(prices=None)


@pytest.fixture
def history(tmp_path):
    with History(tmp_path / "history.db") as history:
        yield history


def model(name, **options):
    return LLMPrimitive(ScriptedModel([REPLY] * 9, name=name), max_output_tokens=3, **options)


def run(step, value, workflow, user=None):
    context = WorkflowContext(workflow_id=workflow)
    if user is not None:
        context.metadata["user_id"] = user
    return run_virtual(lambda: step(value, context))


def failing(step, value, workflow, error=Exception):
    with pytest.raises(error):
        run(step, value, workflow)


@pytest.fixture
def asked(history):
    """Ask m three times through a cache (one is a hit), small once, and one without a price."""
    kept = CachePrimitive(model("m"), name="kept")
    for question in ("one", "two", "one"):
        run(kept, question, "ask", "ada")
    run(model("small"), "three", "cheap", "bob")
    run(model("mystery"), "four", "cheap", "bob")
    return history


def moved(history, workflow, by_ns):
    """Let a workflow's runs have been earlier."""
    history.flush()
    with closing(sqlite3.connect(history.path)) as db, db:
        ids = [i for (i,) in db.execute("SELECT id FROM runs WHERE workflow = ?", (workflow,))]
        for run_id in ids:
            db.execute("UPDATE runs SET started_ns = started_ns - ? WHERE id = ?", (by_ns, run_id))
            db.execute(
                "UPDATE spans SET started_ns = started_ns - ? WHERE run_id = ?", (by_ns, run_id)
            )


def chart(dashboard, title):
    return next(each for each in dashboard.charts() if each.title == title)


def rows(table):
    return table.to_numpy().tolist()


def values(of):
    return {series.name: dict(zip(series.x, series.y, strict=True)) for series in of.series}


# Costs


def test_costs_are_those_of_the_calls(asked):
    facts = CostDashboard(asked).page().facts
    # Two misses at $3 and a small call at $0.30; five runs, of which all are successful.
    assert facts == {
        "cost": "$6.30",
        "calls": "4",
        "tokens": "32",
        "successful runs": "5",
        "unpriced calls": "1",
        "cost per successful run": "$1.26",
    }


def test_costs_by_model_name_calls_without_a_price(asked):
    table = CostDashboard(asked).tables()["cost by model"]
    assert table["model"].to_list() == ["m", "small", "mystery"]
    assert table["cost_usd"].fillna(0).to_list() == pytest.approx([6, 0.3, 0])
    assert table["unpriced_calls"].to_list() == [0, 0, 1]
    assert "1 call has no price" in chart(CostDashboard(asked), "Cost per day by model").caution


def test_a_successful_run_bears_what_failed_ones_cost(history):
    def check(text):
        if text == "bad":
            raise ValueError(text)

    step = model("m") >> LambdaPrimitive(lambda said: said, name="check")
    run(step, "good", "w")
    failing(model("m") >> LambdaPrimitive(lambda _: check("bad"), name="check"), "x", "w")
    (row,) = CostDashboard(history).tables()["runs"].to_dict("records")
    assert (row["runs"], row["ok"], row["cost_usd"], row["usd_per_ok_run"]) == (2, 1, 6, 6)


def test_tokens_stand_by_type(asked):
    shown = values(chart(CostDashboard(asked), "Tokens by type"))["tokens"]
    assert (shown["input"], shown["output"], shown["reasoning"]) == (20, 12, 0)


def test_days_without_calls_are_gaps(asked):
    moved(asked, "cheap", 2 * DAY_NS)
    shown = values(chart(CostDashboard(asked), "Cost per day by model"))
    assert list(shown["m"].values()) == [None, None, 6]
    assert list(shown["small"].values()) == [pytest.approx(0.3), None, None]
    assert list(shown["m"]) == sorted(shown["m"])


def test_up_to_two_days_are_cut_into_hours(asked):
    assert chart(CostDashboard(asked, since="48h"), "Cost per hour by model").series
    assert chart(CostDashboard(asked, since="49h"), "Cost per day by model").series
    assert chart(CostDashboard(asked, since=None), "Cost per day by model").series


def test_many_models_become_the_biggest_five_and_the_others(history):
    names = [f"m{number}" for number in range(8)]
    prices = {
        name: Price(input_per_1m=0, output_per_1m=1_000_000 * (number + 1))
        for number, name in enumerate(names)
    }
    configure(prices=PriceBook(overrides=prices, bundled=False))
    for name in names:
        run(model(name), "x", "w")
    shown = values(chart(CostDashboard(history), "Cost per day by model"))
    assert list(shown) == ["m7", "m6", "m5", "m4", "m3", "other"]
    assert list(shown["other"].values()) == [3 * (1 + 2 + 3)]


# Filters


@pytest.mark.parametrize(
    ("wanted", "cost"),
    [
        ({"model": "m"}, "$6.00"),
        ({"model": "small"}, "$0.30"),
        ({"workflow": "cheap"}, "$0.30"),
        ({"user": "ada"}, "$6.00"),
        ({"user": "ada", "model": "small"}, None),
        ({"since": datetime.now(UTC) + timedelta(days=1)}, None),
        ({"since": None}, "$6.30"),
    ],
)
def test_filters_choose_what_counts(asked, wanted, cost):
    dashboard = CostDashboard(asked)
    page = dashboard.filter(**wanted).page()
    assert page.is_empty == (cost is None)
    assert page.facts["cost"] == (cost or "$0.00")
    assert dashboard.page().facts["cost"] == "$6.30"  # it has kept its own


def test_filters_add_up_and_are_taken_back(asked):
    dashboard = CostDashboard(asked).filter(model="m").filter(user="bob")
    assert dashboard.page().is_empty
    assert "Nothing that is recorded matches" in dashboard.page().text()
    assert not dashboard.filter(user=None).page().is_empty


def test_a_model_chooses_the_hits_of_workflows_that_ask_it(asked):
    caches = CacheDashboard(asked)
    assert caches.filter(model="m").page().facts["hits"] == "1"
    assert caches.filter(model="small").page().is_empty


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"modle": "m"}, "'model'"),
        ({"model": 3}, "model=3"),
        ({"since": "yesterdayish"}, "no moment"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_filters_that_mean_nothing_are_errors_that_say_what_does(history, kind, wanted, said):
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        kind(history).filter(**wanted)


def test_a_dashboard_refuses_what_means_nothing_at_once(history):
    with pytest.raises(ConfigurationError, match="since='soon'"):
        CostDashboard(history, since="soon")
    with pytest.raises(ConfigurationError, match="auto_refresh_s"):
        CostDashboard(history, auto_refresh_s=0)


# Caches


def test_caches_show_what_they_answered_and_saved(asked):
    (row,) = CacheDashboard(asked).tables()["caches"].to_dict("records")
    assert (row["cache"], row["hits"], row["misses"], row["joined"]) == ("kept", 1, 2, 0)
    # The answer to "one" took 5 + 3 tokens, and $3.
    assert (row["tokens_saved"], row["usd_saved"]) == (8, 3)
    assert row["hit_rate"] == pytest.approx(1 / 3)
    assert CacheDashboard(asked).page().facts["hit rate"] == "33.3 %"
    (rate,) = values(chart(CacheDashboard(asked), "Hit rate per day"))["kept"].values()
    assert rate == pytest.approx(1 / 3)


def test_who_joins_a_call_is_neither_a_hit_nor_a_miss(history):
    async def slow(word):
        await asyncio.sleep(1)
        return word

    kept = CachePrimitive(LambdaPrimitive(slow), name="kept")
    run(kept | kept, "word", "twice")
    (row,) = CacheDashboard(history).tables()["caches"].to_dict("records")
    assert (row["hits"], row["misses"], row["joined"], row["hit_rate"]) == (0, 1, 1, 0)
    assert "saved, where known" not in CacheDashboard(history).page().facts


# Resilience


def flaky(times, name="flaky"):
    """Return a step that fails a number of times, then does not."""
    return MockPrimitive(name, side_effect=[*[ConnectionError("lost")] * times, "x"])


def retrying(times):
    return RetryPrimitive(flaky(times), 3, initial_delay=1, jitter=False, name="again")


def test_retries_amplify(history):
    run(retrying(2), "x", "w")
    run(retrying(0), "x", "w")
    dashboard = ResilienceDashboard(history)
    (row,) = dashboard.tables()["retries"].to_dict("records")
    assert (row["step"], row["executions"], row["attempts"]) == ("again", 2, 3 + 1)
    assert (row["amplification"], row["failed"], row["waited_s"]) == (2, 0, 1 + 2)
    assert values(chart(dashboard, "Attempts per execution")) == {"amplification": {"again": 2}}
    assert dashboard.page().facts["attempts per execution"] == "2"


def broken(value):
    raise ValueError(value)


def test_fallbacks_show_which_share_came_to_which_hop(history):
    bad, good = LambdaPrimitive(broken, name="bad"), LambdaPrimitive(len, name="good")
    half = LambdaPrimitive(lambda text: int(text), name="half")  # noqa: PLW0108 - named
    step = FallbackPrimitive(half, [bad, good], name="careful")
    assert [run(step, text, "w") for text in ("7", "8", "nine", "10")] == [7, 8, 4, 10]
    table = ResilienceDashboard(history).tables()["fallbacks"]
    assert rows(table) == [["careful", 1, 4, 1, 0.25], ["careful", 2, 4, 1, 0.25]]
    fact = ResilienceDashboard(history).page().facts["executions that fell back"]
    assert (fact, fact.share) == ("25.0 %", 0.25)


def test_circuits_show_how_they_changed(history):
    step = CircuitBreakerPrimitive(
        LambdaPrimitive(broken, name="bad"), failure_threshold=2, name="guarded"
    )
    for _ in range(2):
        failing(step, "x", "w")
    dashboard = ResilienceDashboard(history)
    (row,) = dashboard.tables()["circuit transitions"].to_dict("records")
    assert (row["step"], row["workflow"], row["state"]) == ("guarded", "w", "open")
    (lane,) = chart(dashboard, "Circuits").lanes
    assert lane.name == "guarded, w"
    assert [each.state for each in lane.segments] == ["closed", "open"]
    assert dashboard.tables()["circuits"]["state"].to_list() == ["open"]


def test_timeouts_are_counted(history):
    async def slow(_):
        await asyncio.sleep(60)

    failing(TimeoutPrimitive(LambdaPrimitive(slow), 1, name="quick"), "x", "w", TimeoutError)
    table = ResilienceDashboard(history).tables()["timeouts"]
    assert rows(table) == [["quick", "own", "error", 1]]


def test_waits_for_limits_are_added_up(history):
    limit = RateLimit(requests_per_minute=60, burst=0.01, name="tier")

    async def main():
        context = WorkflowContext(workflow_id="w").using(guards=[limit])
        step = model("m")
        await asyncio.gather(*(step(str(number), context) for number in range(3)))

    run_virtual(main)
    (row,) = ResilienceDashboard(history).tables()["waits"].to_dict("records")
    # One at once, then one each second: the others wait for 1 and 2 seconds.
    assert (row["limit"], row["which"], row["waits"], row["refused"]) == (
        "rate_limit",
        "tier",
        2,
        0,
    )
    assert (row["waited_s"], row["longest_s"]) == (pytest.approx(3), pytest.approx(2))


def test_refusals_of_budgets_are_counted_where_they_arose(history):
    step = LambdaPrimitive(str.strip, name="strip") >> model("m")
    with pytest.raises(Exception, match="Budget"):
        run_virtual(
            lambda: step("x", WorkflowContext(workflow_id="w").using(guards=[Budget("0.01")]))
        )
    dashboard = ResilienceDashboard(history)
    (row,) = dashboard.tables()["budget refusals"].to_dict("records")
    assert (row["step"], row["workflow"], row["count"]) == ("m", "w", 1)
    assert dashboard.page().facts["budget refusals"] == "1"


def test_an_error_counts_once_however_far_it_came(history):
    inner = LambdaPrimitive(str, name="text") >> LambdaPrimitive(broken, name="bad")
    failing(LambdaPrimitive(str, name="first") >> inner.named("inner"), "x", "w", ValueError)
    table = ResilienceDashboard(history).tables()["errors"]
    assert rows(table[["error", "step", "count"]]) == [["ValueError", "bad", 1]]


# How they are shown


def test_a_share_has_a_gauge_on_the_page_and_in_the_controls(asked):
    dashboard = CacheDashboard(asked)
    gauge = 'value="0.3333" aria-label="hit rate: 33.3 %"></meter>'
    assert f'<meter min="0" max="1" {gauge}' in dashboard.to_html()
    assert "hit rate: 33.3 %\n" in dashboard.page().text()
    controls = Controls(dashboard, dashboard.page())
    assert gauge in controls.html.value
    controls.close()
    # One miss and no lookups are no share of anything.
    assert "<meter" not in dashboard.filter(workflow="cheap").to_html()


def test_a_gauge_keeps_within_its_ends_and_says_from_where_it_is_bad():
    facts = {"a<b": Share(1.2, "$12 of <$10>", 0.8), "plain": "50.0 %"}
    page = Page("t", "", facts, [Chart("c", [])], {}, "").html()
    assert page.count("<meter") == 1
    said = 'high="0.8" optimum="0" aria-label="a&lt;b: $12 of &lt;$10&gt;"'
    assert f'<meter min="0" max="1" value="1" {said}>' in page


def test_a_share_can_be_copied_and_pickled():
    fact = Share(0.5, "half", 0.8)
    for other in (copy.deepcopy(fact), pickle.loads(pickle.dumps(fact))):  # noqa: S301 - our own
        assert (other, other.share, other.warns_at) == ("half", 0.5, 0.8)


@pytest.mark.parametrize("kind", KINDS)
def test_without_records_a_dashboard_says_what_to_do(tmp_path, kind):
    dashboard = kind(History(tmp_path / "none.db"))
    assert dashboard.charts() == []
    assert dashboard.tables() == {}
    assert dashboard.choices("model") == []
    assert "Nothing is recorded yet. Run a workflow" in dashboard.to_html()
    assert dashboard.to_csv(tmp_path / "csv") == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_is_static_and_escapes_names(history, tmp_path, kind):
    again = RetryPrimitive(flaky(1, "f"), jitter=False, name="<script>r")
    run(CachePrimitive(again >> model("m"), name="<script>kept"), "x", "<script>w")
    page = kind(history).to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<svg" in page
    assert "http" not in page
    assert "prefers-color-scheme:dark" in page


def test_tables_become_files(asked, tmp_path):
    files = CostDashboard(asked).to_csv(tmp_path / "a" / "csv")
    assert "cost_by_model.csv" in [file.name for file in files]
    read = pd.read_csv(tmp_path / "a" / "csv" / "cost_by_model.csv")
    assert read["model"].to_list() == ["m", "small", "mystery"]


def test_long_tables_are_cut_on_the_page_alone(history):
    for number in range(25):
        failing(LambdaPrimitive(broken, name=f"bad{number:02}"), "x", "w")
    dashboard = ResilienceDashboard(history)
    assert len(dashboard.tables()["errors"]) == 25
    assert dashboard.page().facts["errors"] == "25"
    assert "the first 20 of 25" in dashboard.to_html()
    assert "bad24" not in dashboard.page().text()


def test_outside_a_kernel_a_dashboard_is_static(asked):
    bundle = CostDashboard(asked)._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    assert "$6.30" in bundle["text/plain"]


def test_in_a_kernel_there_are_controls_beside_the_static_page(kernel):
    done = kernel.run(
        "from tta_notebook.notebook.dashboards import CacheDashboard\n"
        "await strip.run(' a ')\n"
        "shown = CacheDashboard(since=None)\nshown"
    )
    assert done.status == "ok", done.content
    (view,) = done.data("application/vnd.jupyter.widget-view+json")
    assert set(view) >= {"model_id"}
    assert done.data("text/plain")[0].startswith("Caches: everything that is recorded")
    assert "<script" not in done.data("text/html")[0]
    assert kernel.run("shown.close()").status == "ok"


# Controls


@pytest.fixture
def controls(asked):
    dashboard = CostDashboard(asked)
    controls = Controls(dashboard, dashboard.page())
    yield controls
    controls.close()


def test_controls_offer_what_is_recorded(controls):
    offered = {name: [v for _, v in c.options] for name, c in controls.choosers.items()}
    assert offered["model"] == [None, "m", "mystery", "small"]
    assert offered["workflow"] == [None, "ask", "cheap"]
    assert offered["user"] == [None, "ada", "bob"]
    assert offered["since"] == ["1h", "24h", "7d", "30d", None]


def test_choosing_shows_the_page_anew(controls):
    assert "$6.30" in controls.html.value
    controls.choosers["model"].value = "small"
    assert "$0.30" in controls.html.value
    assert "model small" in controls.html.value
    controls.choosers["user"].value = "ada"
    assert "Nothing that is recorded matches" in controls.html.value


def test_refresh_shows_what_has_come_since(controls):
    run(model("m"), "five", "ask")
    controls.button.click()
    assert "$9.30" in controls.html.value


def test_a_filter_set_before_stands_in_the_controls(asked):
    dashboard = CostDashboard(asked, since="3d").filter(model="gone")
    controls = Controls(dashboard, dashboard.page())
    assert (controls.choosers["model"].value, controls.choosers["since"].value) == ("gone", "3d")
    controls.close()


async def seen(controls, text):
    is_there = asyncio.Event()

    def look(_=None):
        if text in controls.html.value:
            is_there.set()

    controls.html.observe(look, names="value")
    look()
    async with asyncio.timeout(30):
        await is_there.wait()


def test_it_looks_again_by_itself_until_it_is_closed(asked):
    async def main():
        dashboard = CostDashboard(asked, auto_refresh_s=0.01)
        controls = Controls(dashboard, dashboard.page())
        going = asyncio.Event()

        async def wait(value):
            await going.wait()
            return value

        background = asyncio.create_task((model("m") >> LambdaPrimitive(wait)).execute("six"))
        await seen(controls, "$9.30")
        going.set()
        await background
        controls.close()
        await asyncio.sleep(0)
        assert controls._task.cancelled()

    asyncio.run(main())


class Sometimes(Questions):
    """A history whose file cannot be read now and then."""

    def __init__(self, path):
        super().__init__(path)
        self.is_locked = False

    def df(self, *arguments, **options):
        if self.is_locked:
            self.is_locked = False
            raise StorageError("locked", path="history.db")
        return super().df(*arguments, **options)


def test_a_file_that_cannot_be_read_for_a_while_does_not_end_it(asked):
    async def main():
        history = Sometimes(asked.path)
        dashboard = CostDashboard(history, auto_refresh_s=0.01)
        controls = Controls(dashboard, dashboard.page())
        history.is_locked = True
        await (model("m") >> LambdaPrimitive(str.strip)).execute("six")
        await seen(controls, "$9.30")
        assert not history.is_locked
        controls.close()

    asyncio.run(main())


def test_outside_a_loop_the_button_is_there_all_the_same(asked):
    dashboard = CostDashboard(asked, auto_refresh_s=1)
    controls = Controls(dashboard, dashboard.page())
    run(model("m"), "five", "ask")
    controls.button.click()
    assert "$9.30" in controls.html.value
    assert "model_id" in str(controls.view())
    controls.close()
