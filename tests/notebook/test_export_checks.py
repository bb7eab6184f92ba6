"""`%tta_export --check` and `--tests`: exported modules in new processes, offline."""

import subprocess
import sys
from pathlib import Path

import pytest

# The model is asked for nothing while a cassette plays: it has a single answer.
MODEL = """\
from tta_notebook import LLMPrimitive, ScriptedModel
def prompt(place):
    return f"The capital of {place}?"
"""
ASK = """\
%%tta_workflow ask
LambdaPrimitive(prompt) >> LLMPrimitive(ScriptedModel(['Paris'], name='m')) >> str.upper
"""


@pytest.fixture
def shell(shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shell.run(MODEL)
    return shell


def pytest_in(folder, *files):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_check_runs_the_last_input_again_and_compares(shell, tmp_path):
    shell.run("%%tta_workflow up --input 'a'\nstr.upper")
    shell.run("%tta_run up 'b'")
    out = shell.run("%tta_export up -o flows.py --check").out
    assert out == "Written: flows.py\n- up: on 'b' it gives what it gave in the notebook.\n"


def test_check_says_how_an_output_differs(shell):
    shell.run("import os\n%env COLOUR=red")
    shell.run("%%tta_workflow who --input 'a'\nLambdaPrimitive(lambda x: x + os.environ['COLOUR'])")
    shell.run("%env COLOUR=blue")
    out = shell.run("%tta_export who -o flows.py --check").out
    shell.run("del os.environ['COLOUR']")
    assert "who: on 'a' it gives 'ablue', and gave 'ared' in the notebook." in out


def test_check_without_a_run_only_imports(shell):
    shell.run("%%tta_workflow up\nstr.upper")
    assert "up: can be imported. It was not run" in shell.run("%tta_export up -o a.py --check").out


def test_an_input_is_taken_as_it_was_before_the_run_changed_it(shell):
    shell.run("%%tta_workflow last --input [1, 2]\nLambdaPrimitive(lambda x: x.pop())")
    out = shell.run("%tta_export last -o flows.py --check").out
    assert "on [1, 2] it gives what it gave" in out


def test_a_module_that_cannot_be_imported_is_not_written(shell, tmp_path):
    shell.value("table = {}\nexec('table[1] = 2')\nx = table[1]\ndef f(y): return x")
    shell.run("%%tta_workflow ask\nf")
    cell = shell.run("%tta_export ask -o flows.py --check")
    assert "was imported in a new process and failed: KeyError: 1" in cell.err
    assert not (tmp_path / "flows.py").exists()


def test_a_module_whose_run_fails_is_not_written(shell, tmp_path):
    shell.run("def f(y): return y")
    shell.run("%%tta_workflow ask --input 2\nf")
    shell.run("def f(y): return y / 0")
    shell.run("ask = LambdaPrimitive(f, name='ask')")
    cell = shell.run("%tta_export ask -o flows.py --check")
    assert "it fails on the input of the last run, 2: ZeroDivisionError" in cell.err
    assert not (tmp_path / "flows.py").exists()


def test_a_model_that_is_asked_again_may_answer_something_else(shell):
    shell.run("import itertools, random\nanswers = [str(random.random())]")
    shell.run("%%tta_workflow ask --input 'x'\nLLMPrimitive(ScriptedModel(answers, name='m'))")
    out = shell.run("%tta_export ask -o flows.py --check").out
    assert "gives another str, as models do when they are asked again" in out


def test_check_replays_the_cassette_that_is_on(shell, tmp_path):
    shell.run(ASK)
    shell.run("%tta_cassette calls.jsonl")
    shell.run("%tta_run ask 'France'")
    assert (
        "ask: on 'France' it gives what it gave"
        in shell.run("%tta_export ask -o flows.py --check").out
    )
    shell.run("%tta_cassette off")


def test_a_cassette_that_is_still_recorded_has_to_be_finished_first(shell):
    shell.run(ASK)
    shell.run("%tta_cassette calls.jsonl --mode all")
    shell.run("%tta_run ask 'France'")
    cell = shell.run("%tta_export ask -o flows.py --check")
    assert "Finish it first: %tta_cassette off" in cell.err
    shell.run("%tta_cassette off")
    assert "gives what it gave" in shell.run("%tta_export ask -o flows.py --check").out


def test_tests_of_deterministic_workflows_pass_in_a_new_process(shell, tmp_path):
    shell.run("%%tta_primitive tidy\ndef clean(text):\n    return {'text': text.strip()}")
    shell.run("%%tta_workflow size --input 'abc'\nLambdaPrimitive(len)")
    for line in ("%tta_run tidy ' a '", "%tta_run tidy 'größe'", "%tta_run tidy ' a '"):
        shell.run(line)
    out = shell.run("%tta_export tidy size -o flows.py --tests --check").out
    assert "Written: flows.py, test_flows.py" in out
    assert "tests of 3 recorded runs" in out
    assert pytest_in(tmp_path)[1].startswith("...")
    text = (tmp_path / "test_flows.py").read_text()
    assert "def test_tidy_gives_what_it_gave(given, expected):" in text
    assert "Cassette" not in text
    ruff = Path(sys.executable).parent / "ruff"
    files = [tmp_path / "test_flows.py", tmp_path / "flows.py"]
    options = [
        "--isolated",
        "--select",
        "E,F,W,I,UP,B",
        "--config",
        "lint.isort.known-first-party=['flows']",
    ]
    subprocess.run([ruff, "check", *options, *files], check=True)


def test_tests_of_models_replay_a_cassette_beside_them(shell, tmp_path):
    shell.run(ASK)
    shell.run("%tta_run ask 'France' --cassette calls.jsonl")
    target = tmp_path / "elsewhere"
    target.mkdir()
    out = shell.run("%tta_export ask -o elsewhere/flows.py --tests").out
    assert "Written: flows.py, test_flows.py, test_flows.jsonl" in out
    code, text = pytest_in(target)
    assert (code, text[0]) == (0, ".")
    (target / "test_flows.jsonl").unlink()
    assert pytest_in(target)[0] == 1  # the model is not asked


def test_without_a_cassette_the_models_are_recorded_once_more(shell, tmp_path):
    shell.run(ASK)
    shell.run("%tta_run ask 'France'")
    shell.run("%tta_export ask -o flows.py --tests")
    assert "Paris" in (tmp_path / "test_flows.jsonl").read_text()
    assert pytest_in(tmp_path)[0] == 0


def test_several_cassettes_stay_apart(shell, tmp_path):
    shell.run(ASK)
    shell.run("%tta_run ask 'France' --cassette one.jsonl")
    shell.run(ASK)
    shell.run("%tta_run ask 'Spain' --cassette two.jsonl")
    shell.run("%tta_export ask -o flows.py --tests")
    assert (tmp_path / "test_flows_2.jsonl").exists()
    assert pytest_in(tmp_path)[1].startswith("..")


def test_what_differs_from_run_to_run_is_tested_by_its_kind(shell, tmp_path):
    shell.run("import random")
    shell.run("%%tta_workflow roll --input 6\nLambdaPrimitive(lambda n: random.random() * n)")
    shell.run("%tta_export roll -o flows.py --tests")
    assert "test_roll_gives_the_same_kind" in (tmp_path / "test_flows.py").read_text()
    assert pytest_in(tmp_path)[0] == 0


def test_tests_that_are_there_are_not_written_over(shell, tmp_path):
    (tmp_path / "test_flows.py").write_text("mine = 1\n")
    shell.run("%%tta_workflow up --input 'a'\nstr.upper")
    assert "is there already" in shell.run("%tta_export up -o flows.py --tests").err
    assert not (tmp_path / "flows.py").exists()
    assert (tmp_path / "test_flows.py").read_text() == "mine = 1\n"


def test_runs_on_what_cannot_be_written_down_are_left_out(shell):
    shell.run("%%tta_workflow kind --input object()\nLambdaPrimitive(repr)")
    assert "It was not run" in shell.run("%tta_export kind -o flows.py --check").out
