"""The first tutorial and the local model, in a real JupyterLab in a real browser."""

import os
import shutil
from pathlib import Path

import pytest

from tta_notebook.llm.local.install import status

pytestmark = [pytest.mark.browser, pytest.mark.local_model]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
LIVE = ".tta-live"
LIVE_CELL = f".jp-Cell:has({LIVE})"
PREPARED = """\
%load_ext tta_notebook
from tta_notebook import LLMPrimitive

def story(subject):
    return f"Tell a long story about {subject}."

model = LLMPrimitive("local", max_output_tokens=3000, temperature=0, name="storyteller")
"""
TELL = """\
%%tta_workflow tell --input "a lighthouse"
story >> model >> {"text": str.strip, "words": lambda text: len(text.split())}
"""
SHORT = """\
%%tta_workflow again --input "the sea"
story >> LLMPrimitive("local", max_output_tokens=8, temperature=0)
"""


@pytest.fixture(autouse=True)
def _weights():
    if status().problem:
        missing = "the local model is not installed: run `tta local install`"
        if os.environ.get("TTA_REQUIRE_SERVICES") == "1":
            pytest.fail(missing)
        pytest.skip(missing)


def streamed(lab):
    return lab.page.locator(LIVE).first.inner_text()


def test_the_quickstart_runs_live_and_leaves_the_machine_alone(lab):
    for file in NOTEBOOKS.iterdir():
        if file.is_file():
            shutil.copy(file, lab.folder)
    lab.open("01_quickstart.ipynb")
    lab.run_all(wait=False)
    lab.page.wait_for_selector(LIVE, state="attached")
    lab.until_idle()
    cells = lab.cells()
    assert [cell["count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [cell["text"] for cell in cells if any("ename" in out for out in cell["outputs"])]
    assert any("two months" in cell["text"] for cell in cells)
    lab.screenshot_whole("quickstart_light")
    lab.theme("JupyterLab Dark")
    lab.screenshot_whole("quickstart_dark")
    assert lab.page.locator(LIVE).count() == 0
    assert lab.console_errors == []
    assert lab.outside == []


def test_cancel_stops_the_real_model_and_frees_it(lab):
    lab.page.set_viewport_size({"width": 1100, "height": 1100})
    lab.open(lab.write("tell.ipynb", PREPARED, TELL, SHORT))
    lab.run_all(wait=False)
    button = lab.page.wait_for_selector(f"{LIVE} .tta-cancel")
    lab.until(lambda: len(streamed(lab)) > 400, 60)
    first = len(streamed(lab))
    lab.until(lambda: len(streamed(lab)) > first, 10)
    lab.screenshot("live_model_light", LIVE_CELL)
    lab.theme("JupyterLab Dark")
    lab.screenshot("live_model_dark", LIVE_CELL)
    button.click()
    assert lab.until(lambda: not lab.cells()[1]["busy"], 10) < 1.0
    lab.until_idle()
    assert lab.cells()[1]["outputs"][-1]["ename"] == "RunCancelled"
    assert lab.cells()[2]["count"] is None
    lab.command("notebook:move-cursor-down")
    lab.command("notebook:run-all-below")
    lab.until(lambda: lab.cells()[2]["count"] and not lab.cells()[2]["busy"], 30)
    assert "again" in lab.cells()[2]["text"]
    assert lab.console_errors == []
    assert lab.outside == []
