"""Dashboards in a real JupyterLab: a person turns a filter, and figures and tables follow."""

import pytest
from lab_session import LabSession

pytestmark = pytest.mark.browser

# A dollar for each token of the big model's answers, a tenth of that for the small one's.
PREPARED = """\
import os
os.environ["TTA_HOME"] = os.path.abspath("home")  # a history with these runs alone
%load_ext tta_notebook
from tta_notebook import (
    CachePrimitive, FallbackPrimitive, LambdaPrimitive, LLMPrimitive, Price, PriceBook, Reply,
    RetryPrimitive, ScriptedModel, Usage, WorkflowContext, configure,
)
from tta_notebook.notebook.dashboards import CacheDashboard, CostDashboard, ResilienceDashboard

prices = {"big": Price(0, 1_000_000), "small": Price(0, 100_000)}
configure(prices=PriceBook(overrides=prices, bundled=False))

def model(name):
    reply = Reply("yes", usage=Usage(input_tokens=5, output_tokens=3))
    return LLMPrimitive(ScriptedModel([reply] * 9, name=name), max_output_tokens=3, name=name)

class Flaky:
    def __init__(self, times):
        self.left = times

    async def __call__(self, value):
        self.left -= 1
        if self.left >= 0:
            raise ConnectionError("connection lost")
        return value

def flaky(times, name):
    step = LambdaPrimitive(Flaky(times), name="send")
    return RetryPrimitive(step, 4, initial_delay=0.001, jitter=False, name=name)

ask = CachePrimitive(model("big"), name="answers") >> flaky(3, "deliver")
read = FallbackPrimitive(LambdaPrimitive(int, name="parse"), model("small"), name="careful")
note = CachePrimitive(read, name="notes") >> flaky(1, "file")

for question in ("one", "two", "one", "one"):
    await ask(question, WorkflowContext("ask", user_id="ada"))
for text in ("7", "eight", "eight"):
    await note(text, WorkflowContext("note", user_id="bob"))
"""
MARKUP = """\
from tta_notebook.report import Chart, Series

odd = "<b>big</b> & 'co'"
Chart(odd, [Series(odd, [odd], [1]), Series("&lt;", [odd], [2])], caution=odd)
"""
# A bar or a point that cannot be seen shows nothing.
DRAWN = """figures => figures.map(figure => ({
  title: figure.querySelector('.gtitle').textContent,
  caution: figure.querySelector('.gtitle-subtitle')?.textContent ?? '',
  places: [...figure.querySelectorAll('.xtick text')].map(text => text.textContent),
  legend: [...figure.querySelectorAll('.legendtext')].map(text => text.textContent),
  marks: [...figure.querySelectorAll('.points path')].filter(mark => {
    const {width, height} = mark.getBoundingClientRect();
    return width > 0 && height > 0;
  }).length,
}))"""
# All at once: between two questions the numbers may change.
FACTS = """output => Object.fromEntries([...output.querySelectorAll('.tta-dash dt')].map(
  name => [name.innerText, name.nextElementSibling.innerText]))"""


class Shown:
    """A dashboard on the page."""

    def __init__(self, lab, cell):
        self.lab = lab
        self.output = lab.page.locator(".jp-CodeCell").nth(cell).locator(".widget-vbox").first
        self.output.scroll_into_view_if_needed()  # what is out of sight has no text

    def choose(self, name, choice):
        row = self.output.locator(f".widget-dropdown:has(label:text-is('{name}'))")
        row.locator("select").select_option(label=choice)

    def chosen(self):
        selects = self.output.locator("select")
        shown = selects.evaluate_all("all => all.map(one => one.selectedOptions[0]?.label)")
        return [text.replace("\xa0", " ") for text in shown]

    def facts(self):
        return self.output.evaluate(FACTS)

    def figures(self):
        found = self.output.locator(".js-plotly-plot").evaluate_all(DRAWN)
        return {figure.pop("title"): figure for figure in found}

    def table(self, name):
        rows = self.output.locator(f"h4:text-is('{name}') + table tr").all_inner_texts()
        return [row.split("\t") for row in rows[1:]]

    def until(self, holds):
        # Numbers, figures and tables come one after the other.
        self.lab.until(holds, 20)

    def until_fact(self, name, value):
        self.until(lambda: self.facts().get(name) == value)

    def until_drawn(self, title, key, value):
        self.until(lambda: self.figures().get(title, {}).get(key) == value)

    def until_rows(self, name, *rows):
        """Wait until a table has rows that begin so."""

        def holds():
            found = self.table(name)
            return len(found) == len(rows) and all(
                cells[: len(row)] == list(row) for cells, row in zip(found, rows, strict=True)
            )

        self.until(holds)


@pytest.fixture(scope="module")
def lab(bench, pictures):
    """One notebook with the three, for all tests of this file: each turns its own."""
    with LabSession(bench, "dashboards", pictures=pictures, height=1400) as session:
        shown = ("CostDashboard()", "CacheDashboard()", "ResilienceDashboard()")
        session.open(session.write("dashboards.ipynb", PREPARED, *shown, MARKUP))
        session.run_all()
        assert [cell["count"] for cell in session.cells()] == [1, 2, 3, 4, 5]
        session.page.locator(".js-plotly-plot .gtitle").nth(8).wait_for(state="attached")
        session.screenshot_whole("dashboards_light")
        session.theme("JupyterLab Dark")
        session.screenshot_whole("dashboards_dark")
        session.theme("JupyterLab Light")
        yield session


def assert_quiet(lab):
    assert lab.console_errors == []
    assert lab.outside == []


def test_costs_follow_the_model_that_is_chosen(lab):
    costs = Shown(lab, 1)
    assert costs.chosen() == ["(all)", "(all)", "(all)", "last week"]
    # Two calls of the big model at $3, one of the small one at $0.30.
    costs.until_fact("cost", "$6.30")
    costs.until_drawn("Cost per day by model", "legend", ["big", "small"])
    costs.until_drawn("Cost per day by model", "marks", 2)
    costs.until_rows("cost by model", ("big", "2"), ("small", "1"))
    costs.choose("model", "small")
    costs.until_fact("cost", "$0.30")
    costs.until_drawn("Cost per day by model", "legend", [])  # one needs no telling apart
    costs.until_drawn("Cost per day by model", "marks", 1)
    costs.until_drawn("Cost per successful run", "places", ["note"])
    costs.until_drawn("Cost per successful run", "caution", "What failed runs cost is in it.")
    costs.until_rows("cost by model", ("small", "1", "5", "3", "0.3", "0"))
    costs.choose("user", "ada")
    costs.until(lambda: "Nothing that is recorded matches" in costs.output.inner_text())
    costs.until(lambda: costs.figures() == {})
    costs.until_rows("cost by model")
    costs.choose("user", "(all)")
    costs.choose("model", "(all)")
    costs.until_fact("cost", "$6.30")
    costs.until_drawn("Cost per day by model", "legend", ["big", "small"])
    assert_quiet(lab)


def test_caches_follow_the_workflow_that_is_chosen(lab):
    caches = Shown(lab, 2)
    caches.until_fact("hit rate", "42.9 %")  # 2 of 4, and 1 of 3
    caches.until_drawn("Hit rate by cache", "places", ["answers", "notes"])
    caches.until_drawn("Lookups by cache", "legend", ["hits", "misses", "joined"])
    caches.until_rows("caches", ("answers", "0.5", "2", "2"), ("notes", "0.333333", "1", "2"))
    caches.choose("workflow", "note")
    caches.until_fact("hit rate", "33.3 %")
    caches.until_drawn("Hit rate by cache", "places", ["notes"])
    caches.until_drawn("Hit rate by cache", "marks", 1)
    caches.until_rows("caches", ("notes", "0.333333", "1", "2"))
    assert_quiet(lab)


def test_resilience_follows_the_user_that_is_chosen(lab):
    survived = Shown(lab, 3)
    survived.until_fact("retries", "4")
    survived.until_drawn("Attempts per execution", "places", ["deliver", "file"])
    survived.until_rows("errors", ("ConnectionError", "send", "4"), ("ValueError", "parse", "1"))
    survived.choose("user", "ada")
    survived.until_fact("retries", "3")
    survived.until_drawn("Attempts per execution", "places", ["deliver"])
    # Ada's runs had nothing to fall back from.
    survived.until(lambda: "Share of executions that fell back" not in survived.figures())
    survived.until_rows("fallbacks")
    survived.until_rows("errors", ("ConnectionError", "send", "3", "connection lost"))
    assert_quiet(lab)


def test_names_are_drawn_as_they_are(lab):
    figure = lab.page.locator(".jp-CodeCell").nth(4).locator(".js-plotly-plot")
    [drawn] = figure.evaluate_all(DRAWN)
    odd = "<b>big</b> & 'co'"
    assert (drawn["title"], drawn["caution"]) == (odd, odd)
    assert (drawn["places"], drawn["legend"]) == ([odd], [odd, "&lt;"])
    lab.screenshot("markup", ".jp-CodeCell:nth-of-type(5) .js-plotly-plot")
    assert_quiet(lab)
