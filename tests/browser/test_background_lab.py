"""A run in the background in JupyterLab: watched and cancelled after its cell has ended."""

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

talk = LambdaPrimitive(talk)
"""
LIVE = ".tta-live"


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
