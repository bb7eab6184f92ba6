"""%tta_key: keys are asked for, kept where clients look, and stand nowhere else."""

import getpass
import json
import os
import re
import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing
from types import SimpleNamespace

import pytest
from IPython.core.error import StdinNotImplementedError, UsageError

from tta_notebook import ConfigurationError
from tta_notebook.llm.backends.openers import PROVIDERS
from tta_notebook.notebook.keys import Keys

SECRET = "sk-test-0123456789abcdefghij"  # noqa: S105 - nobody's
VARIABLES = sorted({name for each in PROVIDERS.values() for name in each.key_variables})


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield
    for name in VARIABLES:
        os.environ.pop(name, None)


@pytest.fixture
def entered(monkeypatch):
    """What is entered where a key is asked for, and what it was asked with."""
    asked = []

    def answer(line=SECRET, error=None):
        def ask(prompt):
            asked.append(prompt)
            if error is not None:
                raise error
            return line

        monkeypatch.setattr(getpass, "getpass", ask)
        return asked

    return answer


@pytest.fixture
def ring(monkeypatch):
    """The system's keyring, as a double."""
    kept = {}

    def delete(service, name):
        del kept[service, name]

    module = SimpleNamespace(
        get_password=lambda service, name: kept.get((service, name)),
        set_password=lambda service, name, key: kept.update({(service, name): key}),
        delete_password=delete,
    )
    monkeypatch.setitem(sys.modules, "keyring", module)
    return kept


def everything_of(shell):
    """What a notebook, a history or a trace could show of the shell."""
    return repr([shell.ip.user_ns.get(name) for name in ("In", "Out", "_", "__")])


def test_a_key_is_asked_for_and_kept_where_the_client_looks(shell, entered):
    asked = entered()
    cell = shell.run("%tta_key openai")
    assert cell.out == "openai: has a key, OPENAI_API_KEY (asked for here)\n"
    assert asked == ["Key of openai: "]
    assert os.environ["OPENAI_API_KEY"] == SECRET
    assert cell.value is None
    assert SECRET not in everything_of(shell)


def test_who_has_a_key_is_listed_without_it(shell, entered, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", SECRET)
    entered()
    shell.run("%tta_key anthropic")
    said = shell.run("%tta_key").out
    assert said.splitlines() == [
        "openai: none; it would be OPENAI_API_KEY",
        "openai-responses: none; it would be OPENAI_API_KEY",
        "anthropic: has a key, ANTHROPIC_API_KEY (asked for here)",
        "google: has a key, GEMINI_API_KEY (environment)",
        "ollama: none, and needs none",
    ]


def test_a_key_that_is_forgotten_is_gone(shell, entered, monkeypatch):
    monkeypatch.setenv("GOOGLE_API_KEY", SECRET)
    monkeypatch.setenv("GEMINI_API_KEY", SECRET)
    assert "google: none" in shell.run("%tta_key google --forget").out
    assert not os.environ.keys() & {"GOOGLE_API_KEY", "GEMINI_API_KEY"}
    assert "google: none" in shell.run("%tta_key google --forget").out


@pytest.mark.parametrize(
    "line",
    [
        f"openai {SECRET}",
        f"openai '{SECRET}'",
        f"openai {SECRET} --keyring",
        f"{SECRET}",
        f"openai # {SECRET}",
        f"openai; {SECRET}",
        f"openai={SECRET}",
        f"{SECRET} {SECRET} {SECRET} {SECRET}",
        f"openai --key {SECRET}",
        f"openai --key={SECRET}",
        " ".join([SECRET] * 12),
    ],
)
def test_a_key_on_the_line_is_refused_and_not_said_again(shell, entered, line):
    asked = entered()
    cell = shell.run(f"%tta_key {line}")
    shown = cell.out + cell.err
    assert isinstance(cell.error, UsageError)
    assert shown.startswith("UsageError: %tta_key: ")
    assert SECRET not in shown
    assert asked == []
    assert "OPENAI_API_KEY" not in os.environ


def test_the_refusal_names_what_is_to_be_removed(tmp_path):
    source = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_cell('%load_ext tta_notebook', store_history=True)\n"
        f"result = shell.run_cell('%tta_key openai {SECRET}', store_history=True)\n"
        "print(result.error_in_exec)"
    )
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "TTA_HOME": str(tmp_path)}
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    said = done.stdout.splitlines()[-1]
    assert SECRET not in said + done.stderr
    assert "In[2]" in said
    assert "revoke" in said
    session, line, file = re.search(r"session (\d+), line (\d+) of ([^)]+)", said).groups()
    # It names the right one.
    with closing(sqlite3.connect(file)) as db:
        where = "SELECT source FROM history WHERE session=? AND line=?"
        [row] = db.execute(where, (session, line)).fetchall()
    assert SECRET in row[0]


@pytest.mark.parametrize("word", ["opnai", "antropic", "OpenAI", "'openai'"])
def test_a_slip_in_a_providers_name_gets_a_suggestion(shell, entered, word):
    entered()
    cell = shell.run(f"%tta_key {word}")
    if word.strip("'").lower() in PROVIDERS:
        assert cell.error is None
    else:
        assert "did you mean" in cell.err + cell.out
        assert f"'{word}'" not in cell.err + cell.out


@pytest.mark.parametrize("line", ["", "  ", "sk test", "schlüssel", "a\tb", "x\x00y", "l\nl"])
def test_what_can_be_no_key_is_not_taken(shell, entered, line):
    entered(line)
    cell = shell.run("%tta_key openai")
    assert isinstance(cell.error, UsageError)
    assert "OPENAI_API_KEY" not in os.environ


@pytest.mark.parametrize("error", [StdinNotImplementedError("no stdin"), EOFError()])
def test_where_nobody_can_be_asked_the_environments_key_is_enough(
    shell, entered, error, monkeypatch
):
    entered(error=error)
    cell = shell.run("%tta_key openai")
    assert "nobody can be asked here. Set OPENAI_API_KEY" in cell.err + cell.out
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert shell.run("%tta_key openai").out.endswith("OPENAI_API_KEY (environment)\n")


def test_an_interrupt_instead_of_a_key_changes_nothing(shell, entered):
    entered(error=KeyboardInterrupt())
    cell = shell.run("%tta_key openai")
    assert "no key was given; nothing has changed" in cell.err + cell.out


def test_a_key_is_never_typed_where_it_would_be_seen(shell, entered, monkeypatch):
    def ask(prompt):
        warnings.warn("Can not control echo", getpass.GetPassWarning, stacklevel=1)
        raise AssertionError("it went on and read the line")

    monkeypatch.setattr(getpass, "getpass", ask)
    assert "would be shown" in shell.run("%tta_key openai").err


def test_the_keyring_keeps_a_key_for_the_next_kernel(shell, entered, ring):
    asked = entered()
    assert shell.run("%tta_key openai --keyring").out.endswith("OPENAI_API_KEY (keyring)\n")
    assert ring == {("tta_notebook", "OPENAI_API_KEY"): SECRET}
    del os.environ["OPENAI_API_KEY"]
    shell.run("%reload_ext tta_notebook")
    shell.run("%tta_key openai --keyring")
    assert (os.environ["OPENAI_API_KEY"], len(asked)) == (SECRET, 1)
    shell.run("%tta_key openai --forget")
    assert ring
    shell.run("%tta_key openai --forget --keyring\n%tta_key openai --forget --keyring")
    assert ring == {}


def test_without_a_keyring_it_says_what_to_do(shell, entered, monkeypatch):
    asked = entered()
    monkeypatch.setitem(sys.modules, "keyring", None)
    cell = shell.run("%tta_key openai --keyring")
    assert "pip install keyring" in cell.err
    assert (asked, os.environ.get("OPENAI_API_KEY")) == ([], None)


def test_a_keyring_that_refuses_is_one_line_without_the_key(shell, entered, monkeypatch):
    entered()

    def refuse(*given):
        raise RuntimeError(f"locked\nwith {given}")

    module = SimpleNamespace(get_password=lambda *_: None, set_password=refuse)
    monkeypatch.setitem(sys.modules, "keyring", module)
    shell.run("%xmode Verbose")
    cell = shell.run("%tta_key openai --keyring")
    assert "which refused: locked" in cell.err + cell.out
    assert SECRET not in cell.err + cell.out
    assert "OPENAI_API_KEY" not in os.environ


def test_options_alone_and_help_ask_nobody(shell, entered):
    asked = entered()
    assert "whose key?" in shell.run("%tta_key --forget").err
    assert "Usage: %tta_key" in shell.run("%tta_key -h").out
    assert asked == []


def test_the_twin_in_plain_python_does_the_same():
    keys = Keys()
    state = keys.ask("anthropic", ask=lambda prompt: f" {SECRET} ")
    assert (state.source, os.environ["ANTHROPIC_API_KEY"]) == ("asked for here", SECRET)
    assert SECRET not in repr([keys, vars(keys), *keys.states()])
    assert keys.forget("anthropic").source is None
    with pytest.raises(ConfigurationError) as caught:
        keys.ask(SECRET)
    assert SECRET not in str(caught.value)


def test_a_kernel_asks_its_front_end_for_a_password(kernel):
    cell = kernel.begin("%tta_key openai", allow_stdin=True)
    request = kernel.client.get_stdin_msg(timeout=kernel.PATIENCE_S)
    assert request["content"] == {"prompt": "Key of openai: ", "password": True}
    kernel.client.input(SECRET)
    done = kernel.finish(cell)
    assert done.text == "openai: has a key, OPENAI_API_KEY (asked for here)\n"
    seen = kernel.run("import os\nrepr((In, Out)).count(os.environ['OPENAI_API_KEY'])")
    assert seen.data("text/plain") == ["0"]
    assert SECRET not in json.dumps([done.outputs, done.content], default=str)
    shown = kernel.run("%tta_key openai", allow_stdin=False)
    assert shown.text == "openai: has a key, OPENAI_API_KEY (asked for here)\n"
