"""The command `tta`, as a person types it."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap

import pytest

from tta_notebook import Ledger, Price, PriceBook, Usage, cli


@pytest.fixture
def flows(tmp_path, monkeypatch):
    (tmp_path / "my_flows.py").write_text(
        textwrap.dedent(
            """
            import asyncio
            from tta_notebook import LambdaPrimitive

            shout = (LambdaPrimitive(str.upper, name="upper") >> (lambda x: x + "!")).named("shout")
            double = LambdaPrimitive(lambda x: {"doubled": [2 * item for item in x]})

            async def plain(x):
                return len(x)

            async def forever(x):
                print("begun", flush=True)
                await asyncio.sleep(1000)

            def fail(x):
                raise LookupError("the page is gone")
            """
        )
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("my_flows", None)


def test_run_prints_what_a_workflow_gives(flows, capsys):
    assert cli.main(["run", "my_flows:shout", "--input", "hello"]) == 0
    assert capsys.readouterr().out == "HELLO!\n"


@pytest.mark.parametrize("written", ["[1, 2]", "(1, 2)"])
def test_run_reads_its_input_as_a_value(flows, capsys, written):
    assert cli.main(["run", "my_flows:double", "--input", written]) == 0
    assert json.loads(capsys.readouterr().out) == {"doubled": [2, 4]}


def test_run_reads_json_and_standard_input(flows, capsys, monkeypatch):
    assert cli.main(["run", "my_flows:plain", "--input", "[true, null]"]) == 0
    assert capsys.readouterr().out == "2\n"
    done = subprocess.run(
        [sys.executable, "-m", "tta_notebook", "run", "my_flows:shout", "--input", "-"],
        input="grüße",
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout == "GRÜSSE!\n"


def test_run_shows_the_trace_when_asked(flows, capsys):
    assert cli.main(["run", "my_flows:shout", "--input", "hi", "--trace"]) == 0
    trace = capsys.readouterr().err
    assert "shout" in trace
    assert "upper" in trace


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("my_flows", "Write it as module:workflow"),
        ("nowhere:shout", "there is no module 'nowhere'"),
        ("my_flows:shuot", "did you mean 'shout'"),
    ],
)
def test_run_says_in_a_line_what_it_wants(flows, capsys, reference, said):
    assert cli.main(["run", reference, "--input", "x"]) == 1
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1


def test_run_leaves_the_workflows_own_error_as_it_is(flows):
    with pytest.raises(LookupError, match="the page is gone"):
        cli.main(["run", "my_flows:fail", "--input", "x"])


@pytest.mark.skipif(os.name == "nt", reason="interrupts are sent otherwise on Windows")
def test_an_interrupt_ends_a_run_without_a_traceback(flows):
    process = subprocess.Popen(
        [sys.executable, "-m", "tta_notebook", "run", "my_flows:forever", "--input", "x"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == cli.INTERRUPTED
    assert said == "tta: interrupted\n"


def test_local_status_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TTA_HOME", str(tmp_path))
    monkeypatch.delenv("TTA_LOCAL_MODEL", raising=False)
    assert cli.main(["local", "status"]) == 1
    assert "tta local install" in capsys.readouterr().out


def test_lab_on_a_folder_that_does_not_exist_says_so(tmp_path, capsys):
    assert cli.main(["lab", str(tmp_path / "nothing")]) == 1
    assert "there is no such folder" in capsys.readouterr().err


@pytest.fixture
def booked(tmp_path, monkeypatch):
    """A user's folder with three calls in its books, one of them without a price."""
    monkeypatch.setenv("TTA_HOME", str(tmp_path))
    prices = PriceBook(overrides={"m": Price(input_per_1m=2, output_per_1m=10)}, bundled=False)
    ledger = Ledger(prices, path=tmp_path / "costs.db")
    usage = Usage(input_tokens=1_000, output_tokens=200)
    for model, user, workflow in (("m", "ünal", "ask"), ("m", "u-2", "ask"), ("x", "u-2", "sum")):
        ledger.record(model, usage, user=user, workflow=workflow)
    ledger.close()


def test_costs_says_what_the_notebooks_books_say(booked, capsys):
    assert cli.main(["costs"]) == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line.startswith("by ")] == [
        "by model",
        "by user",
        "by workflow",
    ]
    assert "$0.008" in said
    assert "1 call has no price" in said
    assert cli.main(["costs", "--by", "user"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[:2] for row in rows[2:5]] == [["by", "user"], ["u-2", "2"], ["ünal", "1"]]


def test_costs_are_exact_as_json(booked, capsys):
    assert cli.main(["costs", "--by", "workflow", "--json", "--since", "30m"]) == 0
    found = json.loads(capsys.readouterr().out)
    ask = {"calls": 2, "input_tokens": 2_000, "output_tokens": 400, "unpriced": 0}
    assert found["by"] == {
        "workflow": {
            "ask": {**ask, "cost_usd": 0.008, "cost_pico": 8 * 10**9},
            "sum": {
                "calls": 1,
                "input_tokens": 1_000,
                "output_tokens": 200,
                "cost_usd": 0.0,
                "cost_pico": 0,
                "unpriced": 1,
            },
        }
    }
    assert found["total"]["calls"] == 3


@pytest.mark.parametrize("since", ["2999-01-01", "9999-12-31T23:59", "0s"])
def test_costs_of_no_time_are_none(booked, capsys, since):
    assert cli.main(["costs", "--since", since, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["total"]["calls"], found["by"]["model"]) == (0, {})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--by", "usr"], "did you mean 'user'?"),
        (["--since", "yesterday"], "--since='yesterday' is no moment"),
        (["--since", ""], "is no moment"),
    ],
)
def test_costs_says_in_a_line_what_it_wants(booked, capsys, arguments, said):
    assert cli.main(["costs", *arguments]) == 1
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1


def test_costs_without_books_are_nothing_and_make_no_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TTA_HOME", str(tmp_path / "new"))
    assert cli.main(["costs"]) == 0
    assert re.search(r"all calls +0 ", capsys.readouterr().out)
    assert not (tmp_path / "new").exists()


def test_costs_need_no_plotting_and_no_notebook(booked):
    source = (
        "import sys\nfrom tta_notebook import cli\ncli.main(['costs'])\n"
        "print({'plotly', 'pandas', 'IPython', 'ipywidgets', 'numpy'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8")
    assert done.stdout.splitlines()[-1] == "set()"
