"""Edit one cell, run only what changed: by magics, from cell to cell."""

import pytest

REPORT = "%%tta_workflow report --input 'a.html' {options}\nLambdaPrimitive(read) >> str.{last}"


def report(shell, last, options=""):
    return shell.value(REPORT.format(last=last, options=options))


def recalled(run):
    return [span.name for span in run.spans if span.noted("recalled")]


@pytest.fixture
def notebook(shell):
    shell.run("import time")
    shell.run("def read(x):\n    time.sleep(0.11)\n    return f'text of {x}'")
    return shell


def test_a_cell_that_is_edited_and_run_again_runs_what_changed(notebook):
    assert recalled(report(notebook, "upper")) == []
    edited = report(notebook, "title")
    assert (edited.output, recalled(edited)) == ("Text Of A.Html", ["read"])
    assert recalled(report(notebook, "title")) == []  # the same again is wanted anew


def test_the_run_says_so_in_text_and_in_its_picture(notebook):
    report(notebook, "upper")
    edited = report(notebook, "title")
    assert "not run again: from memo" in notebook.run("%tta_trace").out
    picture = notebook.ip.display_formatter.format(edited)[0]["text/html"]
    assert "1 step not run again" in picture


def test_another_cell_that_changes_a_dependency_changes_the_step(notebook):
    notebook.run("def read(x):\n    time.sleep(0.11)\n    return f'{PREFIX} {x}'")
    notebook.run("PREFIX = 'one'")
    report(notebook, "upper")
    notebook.run("PREFIX = 'two'")
    edited = report(notebook, "title")
    assert (edited.output, recalled(edited)) == ("Two A.Html", [])


@pytest.mark.parametrize("options", ["--no-reuse", "--budget 1 --no-reuse"])
def test_a_line_can_ask_for_everything_anew(notebook, options):
    report(notebook, "upper")
    assert recalled(report(notebook, "title", options)) == []


def test_so_can_the_setting(notebook):
    notebook.run("%tta_config reuse=off")
    report(notebook, "upper")
    assert recalled(report(notebook, "title")) == []
    notebook.run("%tta_config reuse=on")
    # What ran meanwhile was remembered.
    assert recalled(report(notebook, "lower")) == ["read"]


def test_the_line_form_and_the_cell_know_the_same_workflow(notebook):
    report(notebook, "upper")
    notebook.run("report = (LambdaPrimitive(read) >> str.title).named('report')")
    assert recalled(notebook.value("%tta_run report 'a.html'")) == ["read"]
    assert recalled(notebook.value("%tta_run report 'b.html'")) == []


def test_a_run_that_failed_goes_on_where_it_was(notebook):
    notebook.run("def parse(x):\n    return {}[x]")
    failing = "%%tta_workflow job --input 'a'\nLambdaPrimitive(read) >> parse"
    assert isinstance(notebook.run(failing).error, KeyError)
    assert isinstance(notebook.run(failing).error, KeyError)
    assert recalled(notebook.value("last_run()")) == ["read"]


def test_loading_the_extension_again_forgets(notebook):
    report(notebook, "upper")
    notebook.run("%reload_ext tta_notebook")
    assert recalled(report(notebook, "title")) == []


def test_a_run_inside_a_step_asks_the_memory_of_the_run_around(notebook):
    source = (
        "async def outer(x):\n    r = %tta_run read x\n    return r.output\n"
        "read = LambdaPrimitive(read)"
    )
    notebook.run(source)
    first = notebook.value("%tta_run outer 'a'")
    assert (first.output, recalled(first)) == ("text of a", [])
    notebook.run("async def outer(x):\n    r = %tta_run read x\n    return r.output.upper()")
    again = notebook.value("%tta_run outer 'a'")
    assert (again.output, recalled(again)) == ("TEXT OF A", ["read"])
