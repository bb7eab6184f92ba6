"""`%%tta_primitive`: the last function of a cell as a primitive."""

import inspect
import traceback

import pytest
from IPython.core.completer import provisionalcompleter

from tta_notebook import LLMPrimitive, WorkflowPrimitive
from tta_notebook.core.version import version_of
from tta_notebook.notebook.cell import transform
from tta_notebook.notebook.primitive_cell import Wrapping

HEADER = "%%tta_primitive tidy --retry 2 --timeout 5 --cache 1h\n"
BODY = "LIMIT = 3\n\ndef clean(text):\n    return text.strip()[:LIMIT]\n"


def test_the_last_function_becomes_the_primitive(shell):
    cell = shell.run("%%tta_primitive tidy\ndef other(x):\n    return 1\n\n" + BODY)
    assert cell.error is None
    assert cell.value is shell.value("tidy")
    assert isinstance(cell.value, WorkflowPrimitive)
    assert (cell.value.name, shell.value("await tidy(' abcd ')")) == ("tidy", "abc")
    assert shell.value("clean(' x ')") == "x"  # the function stays itself


def test_it_is_wrapped_from_the_inside_cache_timeout_retry(shell):
    primitive = shell.value(HEADER + BODY)
    kinds = []
    while True:
        kinds.append(type(primitive).__name__)
        parts = primitive.parts()
        if not parts:
            break
        primitive = parts[0][1]
    assert kinds == ["RetryPrimitive", "TimeoutPrimitive", "CachePrimitive", "LambdaPrimitive"]


def test_its_cache_answers_and_its_retries_try_again(shell):
    shell.run("calls = []\nfails = [1]")
    shell.run(
        "%%tta_primitive flaky --retry 1 --cache 60\nasync def work(x):\n    calls.append(x)\n"
        "    if fails:\n        fails.pop()\n        raise ConnectionError('lost')\n"
        "    return x * 2"
    )
    assert shell.value("await flaky(4)") == 8
    assert shell.value("await flaky(4)") == 8
    assert shell.value("calls") == [4, 4]


def test_with_a_model_the_function_gives_its_prompt(shell):
    shell.run("%%tta_primitive say --model local\ndef prompt(x):\n    return f'say {x}'")
    kinds = [type(part) for _, part in shell.value("say").parts()]
    assert kinds[-1] is LLMPrimitive


def test_every_line_stays_on_its_line():
    lines = (HEADER + BODY).splitlines(keepends=True)
    done = transform(lines)
    assert done[0] == f"# {HEADER}"
    assert done[1 : len(lines)] == lines[1:]
    assert done[-1] == (
        "(tidy := __tta__.primitive(clean, 'tidy', cache_s=3600.0, timeout_s=5.0, retry=2))\n"
    )


def test_tracebacks_and_sources_are_the_cells_own(shell):
    shell.run(
        "%%tta_primitive bad\n# why\n"
        "def parse(text):\n    # the next line fails\n    return {}[text]"
    )
    cell = shell.run("%tta_run bad 'x'")
    assert [f.lineno for f in traceback.extract_tb(cell.error.__traceback__)][-1] == 5
    source = inspect.getsource(shell.ip.user_ns["parse"])
    assert source.startswith("def parse(text):\n    # the next")


def test_running_an_unchanged_cell_again_keeps_the_caches_version(shell):
    shell.run(HEADER + BODY)
    before = version_of(shell.ip.user_ns["clean"])
    shell.run(HEADER + BODY)
    assert version_of(shell.ip.user_ns["clean"]) == before
    shell.run(HEADER + BODY.replace("LIMIT = 3", "LIMIT = 4"))
    assert version_of(shell.ip.user_ns["clean"]) != before


def test_the_name_may_be_the_functions_own(shell):
    shell.run("%%tta_primitive up\ndef up(x):\n    return x.upper()")
    assert shell.value("await up('a')") == "A"


@pytest.mark.parametrize("name", ["größe", "名前"])
def test_names_may_be_in_any_script(shell, name):
    cell = shell.run(f"%%tta_primitive {name}\ndef f(x):\n    return x")
    assert cell.value.name == name


def test_quiet_and_semicolons_show_nothing(shell):
    assert shell.run("%%tta_primitive a -q\ndef f(x):\n    return x").value is None
    assert shell.run("%%tta_primitive a ;\ndef f(x):\n    return x").value is None
    assert shell.value("a.name") == "a"


def test_it_works_behind_another_cell_magic(shell):
    cell = shell.run("%%time\n%%tta_primitive up\ndef f(x):\n    return x.upper()")
    assert cell.error is None
    assert shell.value("await up('a')") == "A"


def test_its_body_may_hold_other_magics(shell):
    cell = shell.run("%%tta_primitive up\n%time x = 1\ndef f(y):\n    return y + x")
    assert cell.error is None
    assert shell.value("await up(1)") == 2


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("%%tta_primitive\ndef f(x): pass", "write %%tta_primitive NAME"),
        ("%%tta_primitive a\n", "the cell defines no function"),
        ("%%tta_primitive a\nx = 1", "the cell defines no function"),
        ("%%tta_primitive a.b\ndef f(x): pass", "'a.b' cannot be the name of a variable"),
        ("%%tta_primitive class\ndef f(x): pass", "'class' cannot be the name of a variable"),
        ("%%tta_primitive a b\ndef f(x): pass", "the function goes into the body"),
        ("%%tta_primitive a --cash 1\ndef f(x): pass", "did you mean --cache?"),
        ("%%tta_primitive a --cache soon\ndef f(x): pass", "not 'soon'"),
        ("%%tta_primitive a --cache 0\ndef f(x): pass", "not '0'"),
        ("%%tta_primitive a --retry 0\ndef f(x): pass", "--retry is a whole number from 1"),
        ("%%tta_primitive a --timeout -1\ndef f(x): pass", "--timeout"),
        ("%%tta_primitive a\ndef f(): pass", "%%tta_primitive: "),
    ],
)
def test_mistakes_are_one_line(shell, source, line):
    cell = shell.run(source)
    shown = (cell.out + cell.err).strip()
    assert shown.startswith("UsageError: ")
    assert line in shown
    assert "\n" not in shown


def test_python_itself_tells_of_broken_code(shell):
    assert isinstance(shell.run("%%tta_primitive a\ndef f(x:\n").error, SyntaxError)


def test_help_names_the_plain_python(shell):
    out = shell.run("%%tta_primitive -h\n").out
    assert "Usage: %%tta_primitive NAME" in out
    assert "RetryPrimitive(TimeoutPrimitive(CachePrimitive(function, TTL), S), N)" in out


def test_completion_offers_its_options(shell):
    line = "%%tta_primitive a --ca"
    with provisionalcompleter():
        assert [c.text for c in shell.ip.Completer.completions(line, len(line))] == ["--cache"]


@pytest.mark.parametrize(
    "wrapping",
    [
        Wrapping(),
        Wrapping(model="local"),
        Wrapping(cache_s=60.0, timeout_s=5.0, retry=2),
        Wrapping(model="local", cache_s=60.0, retry=2),
        Wrapping(model="local", timeout_s=1.5),
    ],
)
def test_its_source_gives_the_same_primitive(wrapping):
    import tta_notebook  # noqa: PLC0415

    space = {
        name: getattr(tta_notebook, name)
        for name in tta_notebook.__all__
        if name.endswith("Primitive")
    }

    def work(x):
        return x

    exec(wrapping.source("work", "done"), space | {"work": work}, found := {})  # noqa: S102
    assert found["done"].graph() == wrapping.wrapped(work, "done").graph()
