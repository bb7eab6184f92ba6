"""`%tta_cassette` and `--cassette`: model calls recorded and replayed in a notebook."""

import json

import pytest

from tta_notebook.core.standing import standing

SETUP = """\
from tta_notebook import LLMPrimitive, ScriptedModel
model = LLMPrimitive(ScriptedModel(["Paris", "Rome", "Oslo"], name="m"))
"""


@pytest.fixture
def shell(shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shell.run(SETUP)
    return shell


def test_it_records_once_and_replays_in_every_run_after(shell, tmp_path):
    assert "none is on" in shell.run("%tta_cassette").out
    assert (
        "france.jsonl (mode once) serves every run" in shell.run("%tta_cassette france.jsonl").out
    )
    assert shell.value("await model('France?')") == "Paris"
    assert "0 replayed, 1 recorded" in shell.run("%tta_cassette").out
    assert "none is on" in shell.run("%tta_cassette off").out
    assert standing.backends is None
    shell.run("%tta_cassette 'france.jsonl' --mode none")
    assert shell.value("await model('France?')") == "Paris"
    assert shell.value("await model('France?')") == "Paris"  # cells are run again
    assert "2 replayed, 0 recorded" in shell.run("%tta_cassette").out
    assert "does not hold the request" in shell.run("await model('Spain?')").out
    assert (tmp_path / "france.jsonl").exists()


def test_switching_closes_the_one_before(shell, tmp_path):
    shell.run("%tta_cassette a.jsonl --mode all")
    shell.run("await model('France?')")
    assert not (tmp_path / "a.jsonl").exists()
    shell.run("%tta_cassette b.jsonl")
    assert "Paris" in (tmp_path / "a.jsonl").read_text()
    shell.run("%tta_cassette off")
    assert standing.backends is None


def test_unloading_the_extension_closes_it(shell, tmp_path):
    shell.run("%tta_cassette a.jsonl --mode all")
    shell.run("await model('France?')")
    shell.run("%unload_ext tta_notebook")
    assert standing.backends is None
    assert "Paris" in (tmp_path / "a.jsonl").read_text()
    assert shell.value("await model('France?')") == "Rome"


def test_one_run_may_have_a_cassette_of_its_own(shell, tmp_path):
    run = shell.value("%%tta_workflow ask --input 'France?' --cassette 'own file.jsonl'\nmodel")
    assert run.output == "Paris"
    assert (
        shell.value("%tta_run ask 'France?' --cassette 'own file.jsonl'").output.source == "replay"
    )
    assert shell.value("%tta_run ask 'France?'").output == "Rome"
    assert standing.backends is None
    assert len((tmp_path / "own file.jsonl").read_text().splitlines()) == 2
    shell.run(
        "def f():\n    r = %tta_run ask 'France?' --cassette 'own file.jsonl'\n    return r.output"
    )
    assert shell.value("f()").source == "replay"


def test_a_runs_own_cassette_goes_before_the_kernels(shell):
    shell.run("%%tta_workflow ask\nmodel")
    shell.run("%tta_run ask 'x' --cassette own.jsonl")
    shell.run("%tta_cassette other.jsonl")
    assert shell.value("%tta_run ask 'x' --cassette own.jsonl").output == "Paris"
    assert shell.value("%tta_run ask 'x'").output == "Rome"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("%tta_cassette a.jsonl --mode nine", "did you mean 'none'?"),
        ("%tta_cassette a.jsonl --mod all", "did you mean --mode?"),
        ("%tta_cassette --mode all", "--mode is about a file"),
        ("%tta_cassette a.jsonl b.jsonl", "did not expect 'b.jsonl'"),
        ("%tta_cassette .", "."),
        ("%%tta_workflow ask --cassette a.jsonl\nmodel", "--cassette is about a run"),
        ("%%tta_workflow ask --input 1 --cassette\nmodel", "--cassette needs a value"),
    ],
)
def test_mistakes_are_one_line(shell, source, line):
    cell = shell.run(source)
    shown = (cell.out + cell.err).strip()
    assert shown.startswith("UsageError: ")
    assert line in shown
    assert "\n" not in shown
    assert standing.backends is None


def test_a_secret_is_told_when_the_cassette_is_put_away(shell):
    key = "sk-proj-" + "a1B2" * 10
    shell.run("%tta_cassette a.jsonl")
    shell.run(f"await model('Is {key} good?')")
    cell = shell.run("%tta_cassette off")
    assert "an OpenAI API key" in cell.err
    assert key not in cell.err
    assert "`Cassette(FILE, allow=…)` can allow it" in cell.err
    assert standing.backends is None


def test_help(shell):
    assert "Usage: %tta_cassette [FILE | off]" in shell.run("%tta_cassette -h").out


def test_the_end_of_the_kernel_finishes_the_file(tmp_path):
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    source = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "for cell in ['%load_ext tta_notebook', '%tta_cassette a.jsonl --mode all',"
        f" {SETUP!r}, \"await model('x')\"]:\n    shell.run_cell(cell).raise_error()\n"
    )
    subprocess.run([sys.executable, "-c", source], cwd=tmp_path, check=True, timeout=60)
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["chunks"][0][1] == "Paris"
