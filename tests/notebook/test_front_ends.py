"""One notebook under nbclient, nbval, papermill and the terminal: it runs, and shows the same."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from functools import cache
from pathlib import Path

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from tta_notebook.core.home import home as user_home
from tta_notebook.llm.local.install import status
from tta_notebook.notebook.tidy import SANITIZE_FILE, WIDGET_VIEW

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
HOW_TO_GET_IT = "the local model is not installed: run `tta local install`"
CELLS = (
    "%load_ext tta_notebook",
    """\
import asyncio
from tta_notebook import (
    CachePrimitive, LambdaPrimitive, LLMPrimitive, Price, PriceBook, Reply, RetryPrimitive,
    ScriptedModel, Usage, configure,
)
from tta_notebook.notebook.dashboards import CostDashboard

configure(prices=PriceBook(overrides={"m": Price(2, 10)}, bundled=False))
reply = Reply("yes", usage=Usage(input_tokens=5, output_tokens=3))
model = LLMPrimitive(ScriptedModel([reply] * 9, name="m"), max_output_tokens=3, name="model")
failures = iter([True, False])

async def send(text):
    await asyncio.sleep(0.3)  # as long as a front end needs to answer, if one is there
    if next(failures, False):
        raise ConnectionError("connection lost")
    return text""",
    """\
%%tta_workflow ask --input "really?"
deliver = RetryPrimitive(LambdaPrimitive(send), initial_delay=0.001, jitter=False, name="deliver")
CachePrimitive(model, name="answers") >> {"answer": deliver, "length": len}""",
    'again = %tta_run ask "really?"\nagain',
    "%tta_trace again --format table",
    "%tta_trace again --format json",
    "%tta_graph ask",
    "%tta_costs --by model",
    "CostDashboard(since=None)",
    "assert again.output['answer'] == 'yes'\nprint('all of it:', again.output)",
)
NBCLIENT = (
    "import sys; from pathlib import Path;"
    "from tta_notebook.notebook.execute import execute_notebook;"
    "execute_notebook(Path(sys.argv[1]), Path(sys.argv[2]))"
)
PAPERMILL = ("-m", "papermill", "--no-progress-bar", "--log-level", "WARNING", "-k", "python3")
TERMINAL = ("-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor")


@pytest.fixture(scope="module")
def notebook(tmp_path_factory, write_notebook):
    """Write the notebook, not yet executed."""
    return write_notebook(tmp_path_factory.mktemp("front_ends") / "small.ipynb", CELLS)


def run(home, *command, cwd, check=True):
    """Run Python with a history of its own, and nothing that could stand for a key."""
    kept = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    environment = {
        **kept,
        "TTA_HOME": str(home),
        "IPYTHONDIR": str(cwd / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment,
    )
    assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def stored(notebook):
    return executed("nbclient", notebook)


def executed(front_end, notebook):
    target = notebook.with_name(f"{front_end}.ipynb")
    begin = ("-c", NBCLIENT) if front_end == "nbclient" else PAPERMILL
    run(notebook.with_name(f"home-{front_end}"), *begin, notebook, target, cwd=notebook.parent)
    return target


def outputs(file):
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    return [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]


@cache
def patterns():
    parsed = ConfigParser(interpolation=None)
    parsed.read(SANITIZE_FILE, encoding="utf-8")
    named = [section for section in parsed.values() if "regex" in section]
    return [(section["regex"], section["replace"]) for section in named]


def texts(output):
    """Return an output's forms as nbval compares them: without what differs from run to run."""
    forms = {**output.get("data", {}), "text": output.get("text", "")}
    joined = {mime: "".join(form) for mime, form in forms.items()}
    for regex, replace in patterns():
        joined = {mime: re.sub(regex, replace, form) for mime, form in joined.items()}
    return joined


def test_nbclient_and_papermill_store_the_same(notebook, stored):
    one, other = outputs(stored), outputs(executed("papermill", notebook))
    assert [list(map(texts, cell)) for cell in one] == [list(map(texts, cell)) for cell in other]
    kinds = [[output["output_type"] for output in cell] for cell in one]
    # Nothing is updated in place, and no live view is left: what is shown is the record.
    assert kinds[2:4] == [["execute_result"], ["execute_result"]]
    assert WIDGET_VIEW not in stored.read_text(encoding="utf-8")
    assert "widgets" not in json.loads(stored.read_text(encoding="utf-8"))["metadata"]
    assert "ConnectionError: connection lost" in texts(one[2][0])["text/plain"]
    assert "saved 8 tokens" in texts(one[3][0])["text/plain"]
    assert texts(one[-1][0])["text"] == "all of it: {'answer': 'yes', 'length': 3}\n"


def test_nbval_finds_what_nbclient_has_stored_and_nothing_else(stored, tmp_path):
    text = stored.read_text(encoding="utf-8")
    other = "all of it: {'answer': 'no'"
    copy = tmp_path / "stored.ipynb"
    copy.write_text(text.replace("all of it: {'answer': 'yes'", other), encoding="utf-8")
    assert other in copy.read_text(encoding="utf-8")
    options = ("-c", os.devnull, "--rootdir", tmp_path, "-p", "no:cacheprovider")
    strictly = ("-m", "pytest", "--nbval", copy, "--nbval-sanitize-with", SANITIZE_FILE)
    command = (*strictly, *options, "-p", "no:randomly", "--nbval-current-env")
    done = run(tmp_path / "home", *command, cwd=tmp_path, check=False)
    assert f"1 failed, {len(CELLS) - 1} passed" in done.stdout, done.stdout[-3000:]
    assert f"Cell {len(CELLS) - 1}: Cell outputs differ" in done.stdout


def test_the_terminal_runs_the_notebook(notebook, tmp_path):
    done = run(tmp_path / "home", *TERMINAL, notebook, cwd=tmp_path)
    assert "all of it: {'answer': 'yes', 'length': 3}" in done.stdout


def used_names(source):
    # As IPython reads it: a magic is a call that names nothing of the user's.
    python = TransformerManager().transform_cell(source)
    names = (node for node in ast.walk(ast.parse(python)) if isinstance(node, ast.Name))
    return {name.id for name in names if isinstance(name.ctx, ast.Load)}


@pytest.mark.parametrize("tutorial", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_tutorial_needs_no_last_value(tutorial):
    # `ipython notebook.ipynb` sets no `_`.
    cells = json.loads(tutorial.read_text(encoding="utf-8"))["cells"]
    codes = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert not [source for source in codes if "_" in used_names(source)]


@pytest.mark.local_model
def test_the_terminal_runs_the_quickstart(tmp_path):
    if status().problem:
        if os.environ.get("TTA_REQUIRE_SERVICES") == "1":
            pytest.fail(HOW_TO_GET_IT)
        pytest.skip(HOW_TO_GET_IT)
    for file in NOTEBOOKS.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    (home / "models").symlink_to(user_home() / "models")
    done = run(home, *TERMINAL, tmp_path / "01_quickstart.ipynb", cwd=tmp_path)
    assert "A: You should descale the machine every two months" in done.stdout
