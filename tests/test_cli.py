"""The command `tta`, as a person types it."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from tta_notebook import cli


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
