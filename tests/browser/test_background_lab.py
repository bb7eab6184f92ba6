"""A run in the background in JupyterLab: watched and cancelled after its cell has ended.

Also in a page that comes late: loaded again, or opened as a second one.
"""

import re

import pytest

pytestmark = pytest.mark.browser

TALK = """\
%load_ext tta_notebook
import asyncio
from tta_notebook import LambdaPrimitive

async def talk(times, ctx):
    for n in range(times):
        await asyncio.sleep(0.05)
        ctx.chunk(f"word{n} ")
    return f"all {times} words"

async def listen(said):
    if said == "all 30 words":
        return "done is done"
    await asyncio.sleep(60)

talk = LambdaPrimitive(talk)
"""
LONG = "%%tta_workflow long --input {times} --background --as run\ntalk >> listen"
LIVE = ".tta-live"
RECORD = ".tta-run:not(.tta-live)"
PATIENCE_MS = 60_000


def test_it_is_watched_while_other_cells_run_and_leaves_its_record(lab):
    sources = [
        "%%tta_workflow short --input 60 --background --as run\ntalk",
        "for n in range(3):\n    await asyncio.sleep(0.5)\nprint('meanwhile', run.status)",
        "print('at the end', await run)",
    ]
    lab.open(lab.write("background.ipynb", TALK, *sources))
    lab.run_all(wait=False)
    lab.until(lambda: "meanwhile running" in lab.cells()[2]["text"])
    assert lab.page.locator(LIVE).count() == 1
    assert "word" in lab.cells()[1]["text"]
    lab.screenshot("background-live")
    lab.until_idle()
    assert "at the end all 60 words" in lab.cells()[3]["text"]
    lab.until(lambda: "all 60 words" in lab.cells()[1]["text"], 20)
    assert lab.page.locator(LIVE).count() == 0
    lab.screenshot("background-record")
    record, announced = lab.save().cells[1]["outputs"]
    assert set(record["data"]) == {"text/plain", "text/html"}
    assert record["data"]["text/plain"].startswith("short  ok")
    assert announced["data"]["text/plain"].startswith("short was started in the background")
    assert lab.console_errors == []
    assert lab.outside == []


def test_its_cancel_button_works_when_no_cell_runs(lab):
    start = "%%tta_workflow long --input 5000 --background --as run\ntalk"
    lab.open(lab.write("background.ipynb", TALK, start, "1 + 1"))
    lab.run_all()
    lab.page.locator(f"{LIVE} .tta-cancel").click()
    lab.until(lambda: "stopped in long" in lab.cells()[1]["text"])
    assert lab.page.locator(LIVE).count() == 0
    assert lab.console_errors == []


# Late pages


def begin(lab, times):
    """Start a run in the background, and save the notebook while its view is shown."""
    lab.open(lab.write("late.ipynb", TALK, LONG.format(times=times), "run.status"))
    lab.run_all()
    lab.page.wait_for_selector(f"{LIVE} .tta-line")
    lab.save()


def loaded_again(lab):
    lab.page.reload(wait_until="domcontentloaded")
    lab.page.wait_for_selector(f"{LIVE} .tta-line", timeout=PATIENCE_MS)
    return lab.page


def second_page(lab):
    page = lab.page.context.new_page()
    page.goto(lab.page.url, wait_until="domcontentloaded")
    page.wait_for_selector(f"{LIVE} .tta-line", timeout=PATIENCE_MS)
    return page


def last_word(page):
    """Return the number of the last word that the view has got, -1 before the first."""
    words = re.findall(r"word(\d+)", page.locator(f"{LIVE} .tta-streams").inner_text())
    return int(words[-1]) if words else -1


def shown(page, selector=LIVE):
    return page.locator(selector).inner_text()


def test_a_page_loaded_again_goes_on_with_the_text_and_the_steps(lab):
    begin(lab, 240)
    page = loaded_again(lab)
    lab.until(lambda: last_word(page) >= 0, 20)
    seen = last_word(page)
    lab.until(lambda: last_word(page) >= seen + 10, 20)
    assert "● running" in shown(page)
    assert "listen" not in shown(page)
    lab.screenshot("background-reloaded")
    lab.until(lambda: "listen" in shown(page), 30)
    assert page.locator(f"{LIVE} .tta-line:has(.tta-dot.tta-running)").count() == 2
    assert page.locator(LIVE).count() == 1
    assert lab.console_errors == []


def test_pause_and_cancel_work_in_a_page_loaded_again_and_it_gets_the_record(lab):
    begin(lab, 5_000)
    page = loaded_again(lab)
    page.get_by_role("button", name="Pause").click()
    lab.until(lambda: "‖ paused" in shown(page), 20)
    page.get_by_role("button", name="Resume").click()
    lab.until(lambda: "● running" in shown(page), 20)
    page.locator(f"{LIVE} .tta-cancel").click()
    page.wait_for_selector(f"{RECORD} .tta-halt", timeout=PATIENCE_MS)
    assert "stopped in long > talk" in shown(page, RECORD)
    assert page.locator(LIVE).count() == 0
    lab.screenshot("background-reloaded-record")
    assert lab.console_errors == []


def test_a_second_page_is_live_beside_the_first_and_both_get_the_record(lab):
    begin(lab, 5_000)
    first, second = lab.page, second_page(lab)
    for page in (first, second):
        seen = last_word(page)
        lab.until(lambda page=page, seen=seen: last_word(page) >= seen + 10, 20)
    second.locator(f"{LIVE} .tta-cancel").click()
    for page in (first, second):
        page.wait_for_selector(f"{RECORD} .tta-halt", timeout=PATIENCE_MS)
        assert page.locator(LIVE).count() == 0
        assert page.locator(RECORD).count() == 1
        assert "stopped in long > talk" in shown(page, RECORD)
    second.close()
    assert lab.console_errors == []


def test_a_page_that_comes_after_the_end_gets_the_record(lab):
    begin(lab, 30)
    address = lab.page.url
    lab.page.goto("about:blank")
    lab.page.wait_for_timeout(2_500)  # the run ends while nobody looks
    lab.page.goto(address, wait_until="domcontentloaded")
    lab.page.wait_for_selector(RECORD, timeout=PATIENCE_MS)
    assert "done is done" in shown(lab.page, RECORD)
    assert lab.page.locator(LIVE).count() == 0
    assert lab.console_errors == []
