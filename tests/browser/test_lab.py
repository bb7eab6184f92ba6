"""The notebook as a person meets it: a real JupyterLab in a real browser."""

import pytest

pytestmark = pytest.mark.browser

PREPARED = """\
%load_ext tta_notebook
import asyncio
from tta_notebook import LambdaPrimitive, WorkflowPrimitive

class Scripted(WorkflowPrimitive):
    kind = "llm"

    def __init__(self, text, delay_s):
        super().__init__(name="model")
        self.words = text.split()
        self.delay_s = delay_s

    async def execute(self, input_data, context):
        for word in self.words:
            await asyncio.sleep(self.delay_s)
            context.chunk(word + " ")
        usage = {"input_tokens": 182, "output_tokens": len(self.words)}
        return {"text": " ".join(self.words), "usage": usage}

async def clean(question):
    await asyncio.sleep(0.3)
    return question.strip()

def text(answer):
    return answer["text"]

async def check(answer):
    await asyncio.sleep(0.2)
    return answer.endswith(".")

ANSWER = (
    "Because each step can be seen, run again and trusted on its own. A workflow of small steps "
    "shows where the time goes, what was asked and what came back, so a surprise has an address."
)
"""
ASK = """\
%%tta_workflow ask --input " Why do notebooks like small steps? "
LambdaPrimitive(clean) >> Scripted(ANSWER, 0.1) >> text >> {"answer": str.strip, "complete": check}
"""
ENDLESS = """\
%%tta_workflow endless --input " Tell me more. "
LambdaPrimitive(clean) >> Scripted("and then " * 2000, 0.1) >> text
"""
FAILING = """\
%%tta_workflow score --input " How good? "
def parse(answer):
    return int(answer["score"])

LambdaPrimitive(clean) >> Scripted("no score here", 0.05) >> parse
"""
FIRST = """\
%%tta_workflow first --input " One? " --as one
LambdaPrimitive(clean) >> Scripted("first of all " * 8, 0.05) >> text
"""
SECOND = """\
%%tta_workflow second --input " Two? " --as two
LambdaPrimitive(clean) >> Scripted("and after that " * 8, 0.05) >> text
"""
LIVE = ".tta-live"
# What a notebook may hold: nothing of a widget.
WIDGET = "application/vnd.jupyter.widget-view+json"


def assert_quiet(lab):
    assert lab.console_errors == []
    assert lab.outside == []


def text_of(lab, selector):
    return lab.page.locator(selector).first.inner_text()


def test_the_live_view_updates_and_gives_way_to_a_static_run(lab):
    lab.open(lab.write("ask.ipynb", PREPARED, ASK))
    lab.run_all(wait=False)
    lab.page.wait_for_selector(LIVE)
    lab.until(lambda: "Because each step" in text_of(lab, LIVE), 10)
    assert "where the time goes" not in text_of(lab, LIVE)
    lab.until(lambda: "where the time goes" in text_of(lab, LIVE), 10)
    assert lab.page.locator(f"{LIVE} .tta-cancel").is_enabled()
    assert "running: model" in lab.page.locator(f"{LIVE} [aria-live]").inner_text()
    lab.screenshot("live_light")
    lab.theme("JupyterLab Dark")
    lab.screenshot("live_dark")
    lab.until_idle()
    lab.screenshot_whole("run_dark")
    lab.theme("JupyterLab Light")
    lab.screenshot_whole("run_light")
    assert lab.page.locator(LIVE).count() == 0
    assert lab.page.locator(".tta-run:visible").count() == 1
    run = lab.cells()[1]
    assert "complete" in run["text"]
    assert "182 → 36" in run["text"]
    saved = lab.save()
    assert "widgets" not in saved.metadata
    assert all(WIDGET not in output.get("data", {}) for output in saved.cells[1].outputs)
    assert_quiet(lab)


def test_cells_that_are_queued_run_in_order_each_with_its_own_live_view(lab):
    lab.open(lab.write("queue.ipynb", PREPARED, FIRST, SECOND, "print(one.end_ns < two.start_ns)"))
    for _ in range(3):  # as Shift+Enter, without waiting
        lab.command("notebook:run-cell-and-select-next")
    lab.command("notebook:run-cell")
    cells = lab.page.locator(".jp-CodeCell")

    def runs():
        return [cells.nth(number).locator(".tta-run:visible").count() for number in (1, 2)]

    for number, words, shown in ((1, "first of all", [1, 0]), (2, "and after that", [1, 1])):
        view = cells.nth(number).locator(LIVE)
        view.wait_for()
        lab.until(lambda view=view, words=words: words in view.inner_text(), 10)
        assert lab.page.locator(LIVE).count() == 1
        assert runs() == shown
        assert lab.cells()[3]["busy"]
    lab.until_idle()
    assert [cell["count"] for cell in lab.cells()] == [1, 2, 3, 4]
    assert runs() == [1, 1]
    assert lab.page.locator(LIVE).count() == 0
    assert "first of all first of all" in lab.cells()[1]["text"]
    assert "and after that and after that" in lab.cells()[2]["text"]
    assert lab.cells()[3]["text"].strip() == "True"
    assert_quiet(lab)


def test_cancel_stops_the_run_and_the_cells_behind_it(lab):
    lab.open(lab.write("endless.ipynb", PREPARED, ENDLESS, "print('must not run')"))
    lab.run_all(wait=False)
    button = lab.page.wait_for_selector(f"{LIVE} .tta-cancel")
    lab.until(lambda: "and then and then" in text_of(lab, LIVE), 10)
    button.focus()
    lab.screenshot("cancel_focused")
    button.click()
    assert lab.until(lambda: not lab.cells()[1]["busy"], 10) < 1.0
    lab.until_idle()
    _, cancelled, behind = lab.cells()
    assert cancelled["outputs"][-1]["ename"] == "RunCancelled"
    assert "endless: cancelled after" in cancelled["text"]
    assert (behind["count"], behind["outputs"]) == (None, [])
    lab.screenshot_whole("cancelled_light")
    lab.theme("JupyterLab Dark")
    lab.screenshot_whole("cancelled_dark")
    assert_quiet(lab)


def test_interrupt_stops_the_run_and_the_cells_behind_it_and_the_kernel_goes_on(lab):
    lab.open(lab.write("endless.ipynb", PREPARED, ENDLESS, "print('must not run')"))
    lab.run_all(wait=False)
    lab.page.wait_for_selector(LIVE)
    lab.interrupt()
    assert lab.until(lambda: not lab.cells()[1]["busy"], 10) < 2.0
    lab.until_idle()
    _, interrupted, behind = lab.cells()
    assert interrupted["outputs"][-1]["ename"] == "RunInterrupted"
    assert (behind["count"], behind["outputs"]) == (None, [])
    assert lab.page.locator(LIVE).count() == 0
    lab.command("notebook:move-cursor-up")
    lab.command("notebook:run-cell")
    lab.page.wait_for_selector(LIVE)
    lab.interrupt()
    lab.until_idle()
    assert_quiet(lab)


def test_a_failing_step_is_shown_with_its_place_and_its_own_traceback(lab):
    lab.open(lab.write("score.ipynb", PREPARED, FAILING))
    lab.run_all()
    shown = lab.cells()[1]["text"]
    assert "score > parse" in shown
    assert "KeyError" in shown
    assert "line 3, in parse(answer)" in shown
    lab.screenshot_whole("error_light")
    lab.theme("JupyterLab Dark")
    lab.screenshot_whole("error_dark")
    assert_quiet(lab)
