"""The tutorials run as they are stored: strictly, offline, without keys."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tta_notebook.llm.local.install import status
from tta_notebook.notebook.tidy import SANITIZE_FILE

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "notebooks").glob("*.ipynb"))
HOW_TO_GET_IT = "the local model is not installed: run `tta local install`"


@pytest.mark.local_model
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_gives_the_outputs_it_is_stored_with(tutorial):
    if status().problem:
        if os.environ.get("TTA_REQUIRE_SERVICES") == "1":
            pytest.fail(HOW_TO_GET_IT)
        pytest.skip(HOW_TO_GET_IT)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--nbval", str(tutorial)),
            *("--nbval-sanitize-with", str(SANITIZE_FILE)),
            *("--override-ini", "addopts=", "-p", "no:randomly", "-p", "no:cacheprovider"),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        # Whatever asks for a key must fail: a tutorial runs without one.
        env={key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_is_small_executed_and_free_of_widgets_and_paths(tutorial):
    text = tutorial.read_text(encoding="utf-8")
    notebook = json.loads(text)
    codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(text) <= 100_000
    assert "widgets" not in notebook["metadata"]
    assert [cell["execution_count"] for cell in codes] == list(range(1, len(codes) + 1))
    assert not [output for cell in codes for output in cell["outputs"] if "ename" in output]
    for output in (output for cell in codes for output in cell["outputs"]):
        assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
    assert str(Path.home()) not in text
    assert "ipykernel_" not in text
