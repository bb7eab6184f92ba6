"""The live view while a run goes on: lanes, badges, keys, details, themes, a page loaded again."""

import pytest

pytestmark = pytest.mark.browser

PREPARED = """\
%load_ext tta_notebook
import asyncio
from tta_notebook import CachePrimitive, LambdaPrimitive, MapPrimitive, RetryPrimitive

calls = []

async def fetch(question):
    calls.append(question)
    await asyncio.sleep(0.2)
    if len(calls) < 3:
        raise ConnectionError("connection lost")
    return {"answer": question, "usage": {"input_tokens": 40, "output_tokens": 25}}

def again(answer):
    return "why?"

async def wait(answer):
    await asyncio.sleep(60)

async def work(number):
    await asyncio.sleep(0.02 + number % 7 / 100)
    if number == 11:
        raise ValueError("item 11 is broken")
    return number

attempts = RetryPrimitive(LambdaPrimitive(fetch), initial_delay=0.1, name="attempts")
remembered = CachePrimitive(attempts, ttl_seconds=60, name="remembered")
"""
LONG = """\
%%tta_workflow long --input "why?"
remembered >> again >> remembered >> wait
"""
PAID = """\
%%tta_workflow desk --input "How do I descale it?" --budget 2.50
from tta_notebook import FallbackPrimitive, LLMPrimitive, Price, PriceBook, Reply
from tta_notebook import ScriptedModel, Usage, configure

configure(prices=PriceBook(overrides={"large": Price(0, 100_000)}, bundled=False))
said = "Fill the tank, add the powder, and let the machine run twice. Then rinse it. "
usage = Usage(input_tokens=40, output_tokens=10)
words = [f"{word} " for word in said.split()]
replies = [Reply("a summary", usage=usage), Reply(words * 40, delay_s=0.08)]
large = ScriptedModel(replies, name="large")
lost = ["connection lost"]

async def search(question):
    await asyncio.sleep(0.3)
    if lost:
        raise ConnectionError(lost.pop())
    return question

find = RetryPrimitive(LambdaPrimitive(search), initial_delay=0.2, jitter=False, name="find")
sum_up = CachePrimitive(LLMPrimitive(large, max_output_tokens=10, name="summary"), name="summaries")

def question(summary):
    return "How do I descale it?"

async def down(question):
    raise ConnectionError("no route")

write = LLMPrimitive(large, max_output_tokens=10, name="writer")
answer = FallbackPrimitive(LambdaPrimitive(down, name="other"), write, name="answer")
find >> sum_up >> question >> sum_up >> answer
"""
MANY = """\
%%tta_workflow many --input range(2000)
MapPrimitive(LambdaPrimitive(work), max_concurrency=60, mode="collect")
"""
LIVE = ".tta-live"
LINE = f"{LIVE} .tta-line"
CONNECTED = """() => window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel
  ?.connectionStatus === 'connected'"""


def line(lab, name):
    return lab.page.locator(LINE, has_text=name).first


def begin(lab, *cells):
    lab.open(lab.write("live.ipynb", PREPARED, *cells))
    lab.run_all(wait=False)
    lab.page.wait_for_selector(LINE)


def stop(lab):
    lab.page.locator(f"{LIVE} .tta-cancel").click()
    lab.until_idle()
    assert lab.console_errors == []
    assert lab.outside == []


def test_attempts_are_lanes_and_a_hit_says_what_it_saved(lab):
    begin(lab, LONG)
    lab.page.wait_for_selector(f"{LIVE} .tta-chip:has-text('saved 65 tokens')")
    shown = lab.page.locator(LIVE).inner_text()
    assert "↻ 1/3 fetch" in shown
    assert "attempt 2 of 4 after" in shown
    assert "cache 1 of 2 hit" in shown
    assert "1 of " not in lab.page.locator(f"{LIVE} .tta-state").inner_text()
    assert lab.page.locator(f"{LINE}:has(.tta-dot.tta-error)").count() == 2
    lab.screenshot("lanes_light", LIVE)
    lab.theme("JupyterLab Dark")
    lab.screenshot("lanes_dark", LIVE)
    stop(lab)


def test_money_the_budget_and_the_text_move_while_the_run_goes_on(lab):
    begin(lab, PAID)
    view = lab.page.locator(LIVE)
    lab.until(lambda: "let the machine run twice" in view.inner_text(), 20)
    head = view.locator(".tta-head")
    # The summary's 10 tokens at $0.10 are spent; the writer's 10 at most are set aside.
    lab.until(lambda: "$1.00" in head.inner_text(), 5)
    assert "of $2.50" in head.inner_text()
    assert 0 < float(head.locator("meter").get_attribute("value")) < 1
    assert "$1.00" in line(lab, "summary").inner_text()
    assert "attempt 2 of 4" in view.inner_text()
    lab.screenshot("live_light", ".jp-Cell:has(.tta-live) .jp-Cell-outputWrapper")
    lab.theme("JupyterLab Dark")
    lab.screenshot("live_dark", ".jp-Cell:has(.tta-live) .jp-Cell-outputWrapper")
    stop(lab)


def test_the_keys_walk_open_zoom_and_leave_the_notebook_alone(lab):
    begin(lab, LONG)
    line(lab, "wait").wait_for()
    lab.page.locator(LINE).first.focus()
    lab.page.keyboard.press("ArrowDown")
    focused = "document.activeElement.innerText"
    assert "remembered" in lab.page.evaluate(focused)
    lab.page.keyboard.press("End")
    assert "wait" in lab.page.evaluate(focused)
    lab.page.keyboard.press("Enter")
    details = lab.page.locator(f"{LIVE} .tta-details")
    lab.until(lambda: "in: " in details.inner_text(), 5)
    lab.screenshot("details", LIVE)
    lab.page.keyboard.press("Escape")
    assert details.count() == 0
    end = lab.page.locator(f"{LIVE} .tta-axis span").last
    lab.page.keyboard.press("+")
    lab.page.keyboard.press("+")
    zoomed = end.inner_text()
    lab.page.wait_for_timeout(400)
    assert end.inner_text() == zoomed
    lab.page.keyboard.press("0")
    lab.until(lambda: end.inner_text() != zoomed, 5)
    assert len(lab.cells()) == 2
    stop(lab)


def test_two_thousand_items_are_a_few_lines(lab):
    begin(lab, MANY)
    lab.page.wait_for_selector(f"{LIVE} .tta-chip:has-text('1 failed')")
    assert lab.page.locator(LINE).count() < 12
    assert line(lab, "\N{MULTIPLICATION SIGN} work").is_visible()
    lab.screenshot("many_light", LIVE)
    lab.until_idle()
    assert "2,000 \N{MULTIPLICATION SIGN} work" in lab.cells()[1]["text"]
    assert "item 11 is broken" in lab.page.content()
    assert lab.console_errors == []


def test_high_contrast_draws_with_the_systems_colours(lab):
    lab.page.emulate_media(forced_colors="active")
    begin(lab, LONG)
    line(lab, "wait").wait_for()
    bar = lab.page.locator(f"{LIVE} rect.tta-error").first
    assert bar.evaluate("bar => getComputedStyle(bar).stroke") != "none"
    lab.screenshot("contrast", LIVE)
    stop(lab)


def test_a_page_loaded_again_in_mid_run_gets_the_record_at_its_end(lab):
    begin(lab, LONG)
    line(lab, "wait").wait_for()
    lab.save()
    lab.page.reload(wait_until="domcontentloaded")
    lab.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
    # JupyterLab asks the kernel for its widgets only once the kernel has answered a question that
    # waits behind the running cell. Interrupt goes by the server, and works at once.
    lab.page.wait_for_selector(".jp-OutputArea-output:has-text('Loading widget')")
    lab.page.wait_for_function(CONNECTED)
    lab.interrupt()
    lab.page.wait_for_selector(".tta-run:not(.tta-live) .tta-halt", timeout=60_000)
    assert "↻ 1/3 fetch" in lab.page.locator(".tta-run").inner_text()
    assert lab.page.locator(LIVE).count() == 0
    lab.screenshot("reloaded_end")
