"""What a saved notebook shows as HTML, in a browser without a network and without a kernel."""

import os
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.browser

CELLS = (
    """\
%load_ext tta_notebook
from tta_notebook import (
    CachePrimitive, LambdaPrimitive, LLMPrimitive, Price, PriceBook, Reply, RetryPrimitive,
    ScriptedModel, Usage, configure,
)
from tta_notebook.notebook.dashboards import CacheDashboard, CostDashboard, ResilienceDashboard

configure(prices=PriceBook(overrides={"m": Price(0, 1_000_000)}, bundled=False))
reply = Reply("yes", usage=Usage(input_tokens=5, output_tokens=3))
model = LLMPrimitive(ScriptedModel([reply] * 9, name="m"), max_output_tokens=3, name="model")
failures = iter([True, False, False])

async def send(text):
    if next(failures):
        raise ConnectionError("connection lost")
    return text""",
    """\
%%tta_workflow ask --input "really? $1 or $2" --budget 20 --as one
deliver = RetryPrimitive(LambdaPrimitive(send), initial_delay=0.001, jitter=False, name="deliver")
CachePrimitive(model, name="answers") >> {"answer": deliver, "length": len}""",
    'again = %tta_run ask "really? $1 or $2"\nagain',
    "%tta_compare one again",
    "%tta_whatif budget 1 --per day",
    "%tta_graph ask",
    "%tta_costs --by model",
    "CostDashboard()",
    "CacheDashboard()",
    "ResilienceDashboard()",
    "CostDashboard().to_html('costs.html');",
)
EXPORT = """\
import sys
from pathlib import Path
import nbconvert
from tta_notebook.notebook.execute import execute_notebook

file = Path(sys.argv[1])
notebook = execute_notebook(file, file)
for theme in ("light", "dark"):
    page, _ = nbconvert.HTMLExporter(theme=theme).from_notebook_node(notebook)
    file.with_name(theme + ".html").write_text(page, encoding="utf-8")
"""
# For each element: how large it is, and how much its text stands out (WCAG 2, contrast ratio)
# from the first background below it that is opaque.
SEEN = """all => all.filter(each => each.matches('rect') || each.textContent).map(element => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map(value => value / 255)
      .map(share => share <= .04045 ? share / 12.92 : ((share + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  let below = element, back = [255, 255, 255];
  for (; below; below = below.parentElement) {
    const [r, g, b, alpha = 1] = numbers(getComputedStyle(below).backgroundColor);
    if (alpha === 1) { back = [r, g, b]; break; }
  }
  const [one, other] = [light(numbers(getComputedStyle(element).color)), light(back)];
  const {width, height} = element.getBoundingClientRect();
  const contrast = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
  return {width, height, contrast, isDark: other < .2};
})"""


# Texts that JupyterLab would look through for formulas. It is told to leave ours alone.
MONEY = """() => {
  const found = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    if (text.data.includes('$') && text.parentElement.closest('.jp-RenderedHTMLCommon'))
      found.push([text.data, text.parentElement.closest('.mathjax_ignore, svg') !== null]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory, write_notebook):
    """Run a notebook without a front end and write it as HTML."""
    folder = tmp_path_factory.mktemp("export")
    file = write_notebook(folder / "export.ipynb", CELLS)
    done = subprocess.run(
        [sys.executable, "-c", EXPORT, str(file)],
        env={**os.environ, "TTA_HOME": str(folder / "home"), "IPYTHONDIR": str(folder / "ipython")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture
def offline(browser):
    """Open pages without a network, and remember what they asked it for."""
    context = browser.new_context(offline=True, viewport={"width": 1100, "height": 900})
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.asked = asked
    yield page
    context.close()


def seen(page, selector):
    found = page.locator(selector).evaluate_all(SEEN)
    assert found, f"nothing is {selector}"
    return found


def assert_readable(page, selector, *, is_dark):
    for element in seen(page, selector):
        assert element["width"] > 0
        assert element["height"] > 0
        assert element["contrast"] >= 4.5
        assert element["isDark"] == is_dark


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_traces_graphs_costs_and_dashboards_are_there(pages, offline, pictures, theme):
    offline.goto((pages / f"{theme}.html").as_uri(), wait_until="load")
    is_dark = theme == "dark"
    assert offline.locator(".tta-run").count() == 2
    for selector in (".tta-run .tta-name", ".tta-run td", ".tta-dash dd", ".tta-dash td", "text"):
        assert_readable(offline, selector, is_dark=is_dark)
    first, second = offline.locator(".tta-run").all_inner_texts()
    assert "ConnectionError: connection lost" in first
    assert "$3.00" in first
    assert "saved 8 tokens" in second
    bars = seen(offline, ".tta-run svg rect")
    assert len(bars) >= 10
    assert all(bar["width"] > 0 and bar["height"] > 0 for bar in bars)
    dashboards = offline.locator(".tta-dash")
    assert dashboards.locator("h3").all_inner_texts() == ["Cost", "Caches", "Resilience"]
    for title in ("Cost per day by model", "Hit rate by cache", "Attempts per execution"):
        chart = f"svg:has(> title:text-is('{title}'))"
        assert all(bar["height"] > 5 for bar in seen(offline, f"{chart} rect[fill]"))
    assert "m\t1\t5\t3\t3\t0" in dashboards.nth(0).inner_text()
    if pictures is not None:
        offline.screenshot(path=pictures / f"static_{theme}.png", full_page=True)
    # The template of nbconvert asks for MathJax and the like; what is ours asks for nothing.
    elsewhere = {urlsplit(url).netloc for url in offline.asked if not url.startswith("file:")}
    assert elsewhere <= {"cdnjs.cloudflare.com"}


def test_no_money_is_taken_for_a_formula(pages, offline):
    offline.goto((pages / "light.html").as_uri(), wait_until="load")
    found = offline.evaluate(MONEY)
    assert len(found) >= 20
    assert [text for text, is_left_alone in found if not is_left_alone] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_dashboards_own_page_follows_the_readers_theme(pages, offline, theme):
    offline.emulate_media(color_scheme=theme)
    offline.goto((pages / "costs.html").as_uri(), wait_until="load")
    for selector in ("h3", ".tta-dash dd", ".tta-dash td", "svg text"):
        assert_readable(offline, selector, is_dark=theme == "dark")
    assert offline.asked == [(pages / "costs.html").as_uri()]
