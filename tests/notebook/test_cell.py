import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook.notebook.cell import transform
from tta_notebook.notebook.options import UsageMistake, read
from tta_notebook.notebook.tables import MAGICS
from tta_notebook.notebook.tables.runs import GRAPH, RUN, TRACE, WORKFLOW


def rewritten(cell, **options):
    return "".join(transform(cell.splitlines(keepends=True), **options))


def last_line(header, body="a >> b"):
    return rewritten(f"{header}\n{body}\n").splitlines()[-1]


def test_every_line_of_the_body_stays_on_its_line():
    cell = (
        "%%tta_workflow ask --input 'x'\n\n# why\nclean = str.strip\n\nclean >> (\n  str.upper\n)\n"
    )
    lines = rewritten(cell).splitlines()
    assert lines[0] == "# %%tta_workflow ask --input 'x'"
    assert lines[3] == "clean = str.strip"
    assert lines[5] == "ask = clean >> ("
    assert lines[8:] == ["await __tta__.run(ask, 'x', name='ask')"]


def test_without_input_the_workflow_is_shown():
    assert last_line("%%tta_workflow ask") == "__tta__.show(ask, name='ask')"


def test_without_a_name_nothing_is_bound_in_the_notebook():
    text = rewritten("%%tta_workflow --input 1\na >> b\n")
    assert text.splitlines()[1:] == [
        "__tta__.workflow = a >> b",
        "await __tta__.run(__tta__.workflow, 1)",
    ]


@pytest.mark.parametrize(
    "expression",
    [
        "f(x, y)",
        "{'a b': [1, 2], 'c': {3}}",
        '"two words -- and --live dashes"',
        "f'{x:>{width}} -q {y!r}'",
        "rows[0]['name']",
        "lambda x: x - 1",
        "x if y else -z",
        "[n for n in range(3)]",
        "r'\\d+ #'",
        "await fetch('u')",
        "-1",
        "'''three'''",
        "not (a -q)",
    ],
)
@pytest.mark.parametrize("order", ["--input {} --live html --timeout 3", "--live html --input {}"])
def test_input_is_a_balanced_expression_and_options_stand_in_any_order(expression, order):
    call = last_line(f"%%tta_workflow ask {order.format(expression)}")
    assert expression in call
    assert "live='html'" in call
    ast.parse(call.removeprefix("await "))


def test_a_tuple_is_one_input():
    assert "(ask, (1, 2), name" in last_line("%%tta_workflow ask --input 1, 2")


def test_input_may_follow_an_equals_sign_and_precede_a_comment():
    assert "(ask, 'hi', name" in last_line("%%tta_workflow ask --input='hi'  # said often")


def test_as_binds_the_run_and_quiet_silences_it():
    call = last_line("%%tta_workflow ask --input 1 --as r -q")
    assert call == "(r := await __tta__.run(ask, 1, name='ask', quiet=True));"


def test_a_semicolon_behind_the_workflow_silences_the_value():
    assert last_line("%%tta_workflow ask --input 1", "a >> b;  # so").endswith("name='ask');")
    assert last_line("%%tta_workflow ask --input 1", "a >> (\n  b);").endswith("name='ask');")
    assert not last_line("%%tta_workflow ask --input 1", "x = 1; a >> b").endswith(";")


def test_binding_counts_characters_not_bytes():
    assert "é = 'ü'; ask = é" in rewritten("%%tta_workflow ask --input 1\né = 'ü'; é\n")


@pytest.mark.parametrize(
    "body",
    [
        "x = '''\n%tta_run no 1\n'''\na >> b",
        "# comment\n\na >> b  # behind",
        "@decorate\ndef f(x):\n    return x\nf",
        "a \\\n  >> b",
        "await warm_up()\na >> b",
        "if True:\n    pass\na >> b",
    ],
)
def test_bodies_are_ordinary_python(body):
    code = rewritten(f"%%tta_workflow ask --input 1\n{body}\n")
    module = compile(code, "cell", "exec", flags=ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert [ast.unparse(statement) for statement in module.body[:-2]] == [
        ast.unparse(statement) for statement in ast.parse(body).body[:-1]
    ]
    assert ast.unparse(module.body[-2]).startswith("ask = ")
    assert ast.unparse(module.body[-1]) == "await __tta__.run(ask, 1, name='ask')"


def test_windows_line_ends_stay():
    assert rewritten("%%tta_workflow ask\r\nx = 1\r\na >> b\r\n").startswith(
        "# %%tta_workflow ask\r\nx = 1\r\nask = a >> b\r\n"
    )


def test_characters_that_only_str_splitlines_takes_for_line_ends_do_no_harm():
    text = rewritten("%%tta_workflow ask\nx = 'a\u2028b'\nx >> b\n")
    assert "x = 'a\u2028b'\nask = x >> b\n" in text


def test_comments_and_blank_lines_may_precede_the_magic():
    text = rewritten("# first\n\n%%tta_workflow ask\na >> b\n")
    assert text.splitlines()[:4] == ["# first", "", "# %%tta_workflow ask", "ask = a >> b"]


def test_a_body_that_is_no_python_is_left_for_python_to_report():
    assert rewritten("%%tta_workflow ask --input 1\na >>\nb\n").endswith("a >>\nb\n")


def test_other_special_syntax_of_the_body_is_translated_first():
    def translate(lines):
        return ["ls()\n" if line == "!ls\n" else line for line in lines]

    cell = ["%%tta_workflow ask\n", "!ls\n", "a >> b\n"]
    assert transform(cell, translate)[1:3] == ["ls()\n", "ask = a >> b\n"]


def test_help_replaces_the_cell():
    assert rewritten("%%tta_workflow -h") == "__tta__.help('tta_workflow')\n"
    assert rewritten("%tta_run -h") == "__tta__.help('tta_run')"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("%%tta_workflow ask --inptu 1\na", "unknown option --inptu; did you mean --input?"),
        ("%%tta_workflow ask --live wigdet\na", "not 'wigdet'; did you mean 'widget'?"),
        ("%%tta_workflow ask\n", "the cell has no body"),
        ("%%tta_workflow ask\nx = a >> b", "not 'x = a >> b'; add a last line: x"),
        ("%%tta_workflow ask\ndef f(x): ...", "add a last line: f"),
        ("%%tta_workflow ask\nfor x in y: pass", "must be an expression"),
        ("%%tta_workflow ask --input\na", "--input needs a value"),
        ("%%tta_workflow ask --input --live off\na", "--input needs a value"),
        ("%%tta_workflow ask --input hello world\na", 'is it text? Write "hello world"'),
        ("%%tta_workflow ask --input f(x\na", "'(' was never closed"),
        ("%%tta_workflow ask 'x'\na", "the input goes behind --input"),
        ("%%tta_workflow class\na", "cannot be the name of a variable"),
        ("%%tta_workflow ask --input 1 --timeout -3\na", "seconds above 0"),
        ("%%tta_workflow ask --input 1 --as 1r\na", "the name of a variable, not '1r'"),
        ("%%tta_workflow ask --as r\na", "--as is about a run; add --input"),
        ("%%tta_workflow ask --input 1 --input 2\na", "given twice"),
        ("%tta_run ask", "write %tta_run NAME EXPR"),
        ("%tta_run ask two words", 'Write "two words"'),
        ("%tta_run 'ask' 1", "is not a name"),
    ],
)
def test_usage_mistakes_are_one_line_that_says_what_to_write(cell, message):
    with pytest.raises(UsageMistake) as caught:
        rewritten(cell + "\n")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "cell",
    [
        "x = 1\n",
        "%%time\n%%tta_workflow ask\na\n",
        "%%writefile f\n%tta_run ask 1\n",
        "%%tta_workflow?\n",
        "%%tta_workflows\n",
        "x = '%tta_run'\n",
        "'''\n%tta_run ask 1\n'''\n",
        "print('%%tta_workflow')\n",
    ],
)
def test_other_cells_stay_as_they_are(cell):
    assert rewritten(cell) == cell


def test_run_lines_become_awaits_where_they_stand():
    cell = (
        "for q in qs:\n    %tta_run ask q\n    r = %tta_run ask f(q, 1) --timeout 2  # slow\n"
        "async def g(x):\n    a, b = %tta_run inner.wf x;\n"
    )
    assert rewritten(cell).splitlines() == [
        "for q in qs:",
        "    await __tta__.run_named('ask', lambda: ask, q)",
        "    r = await __tta__.run_named('ask', lambda: ask, f(q, 1), timeout_s=2.0)",
        "async def g(x):",
        "    a, b = await __tta__.run_named('inner.wf', lambda: inner.wf, x);",
    ]


@pytest.mark.parametrize("head", ["def f(x):", "class C:", "def f(\n    x,\n) -> int:"])
def test_run_lines_where_python_cannot_await_are_left_for_the_real_magic(head):
    cell = f"{head}\n    if x:\n        %tta_run ask x\n"
    assert rewritten(cell) == cell


def test_run_lines_behind_shell_lines_and_broken_quotes_are_found():
    assert "await" in rewritten("!echo it's\n%tta_run ask 1\n")


def test_blocking_cells_do_not_await():
    text = rewritten("%%tta_workflow ask --input 1\na >> b\n", awaits=False)
    assert text.splitlines()[-1] == "__tta__.run_blocking(ask, 1, name='ask')"


@pytest.mark.parametrize("magic", MAGICS.values(), ids=list(MAGICS))
def test_help_names_every_option(magic):
    text = magic.help()
    assert text.startswith(magic.summary)
    assert all(option.flag in text for option in magic.options)
    assert max(map(len, text.splitlines())) <= 110


def test_the_reader_gives_words_and_values():
    assert read(TRACE, "runs[0] --format json").words == ["runs[0]"]
    assert read(GRAPH, "a >> b").words == ["a >> b"]
    assert read(RUN, "ask x;").is_silenced


@given(st.text(max_size=40))
def test_no_line_breaks_the_reader(text):
    try:
        read(WORKFLOW, text)
    except UsageMistake as mistake:
        assert str(mistake).startswith("%%tta_workflow")  # noqa: PT017 - most texts are mistakes


@given(st.text(alphabet="ab \n\r\t%#'\"(){}=tta_run\\", max_size=60))
def test_no_cell_breaks_the_transform(text):
    for cell in (text, f"%%tta_workflow w --input 1\n{text}"):
        lines = cell.splitlines(keepends=True)
        try:
            made = transform(lines)
        except UsageMistake as mistake:
            assert "tta_" in str(mistake)  # noqa: PT017 - most texts are mistakes
        else:
            assert len("".join(made).splitlines()) >= len("".join(lines).splitlines())
