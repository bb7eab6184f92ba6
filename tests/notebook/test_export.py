"""`%tta_export`: workflows of a notebook as plain modules."""

import subprocess
import sys
from pathlib import Path

import pytest
from IPython.core.completer import provisionalcompleter

from tta_notebook.core.errors import WorkflowError
from tta_notebook.notebook.export import cells_of_file, export_module

IMPORTS = """\
import math
import re, json
from collections import Counter as C, OrderedDict
from tta_notebook import LambdaPrimitive, RouterPrimitive
"""
CLEAN = """\
# How much is kept.
LIMIT = 3  # characters

def clean(text: str) -> str:
    return re.sub(r' +', ' ', text).strip()[:LIMIT]
"""

CLOSURES = """\
import functools

def times(n):
    return lambda x: x * n

triple = times(3)

def fact(n):
    return 1 if n < 2 else n * fact(n - 1)

def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n > 0 and even(n - 1)

def twice(f):
    @functools.wraps(f)
    def inner(x):
        return f(f(x))
    return inner

class Base:
    step = 1

class Box(Base):
    def __init__(self, x):
        self.x = x + self.step

# adds one
@twice
def add(x):
    return x + 1
"""


@pytest.fixture
def shell(shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return shell


def imported(tmp_path, expression, module="flows"):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from {module} import *\nimport {module}\nprint(repr(({expression})))",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ruff(*files):
    folder = Path(sys.executable).parent
    options = ["--isolated", "--select", "E,F,W,I,UP,B", "--quiet"]
    subprocess.run([folder / "ruff", "check", *options, *files], check=True)
    subprocess.run([folder / "ruff", "format", "--isolated", "--check", "-q", *files], check=True)


def test_a_module_holds_what_the_workflow_needs_and_no_more(shell, tmp_path):
    for cell in (IMPORTS, "unused = 1\ndef other():\n    return json", CLEAN):
        shell.value(cell)
    shell.run("%%tta_workflow ask --input ' a  b c '\nLambdaPrimitive(clean) >> str.upper")
    out = shell.run("%tta_export ask -o flows.py").out
    assert out == "Written: flows.py\n"
    assert (tmp_path / "flows.py").read_text() == (
        '"""ask: exported from the cells of a notebook."""\n\n'
        "import re\n\nfrom tta_notebook import LambdaPrimitive\n\n"
        "# How much is kept.\nLIMIT = 3  # characters\n\n\n"
        "def clean(text: str) -> str:\n    return re.sub(r' +', ' ', text).strip()[:LIMIT]\n\n\n"
        'ask = (LambdaPrimitive(clean) >> str.upper).named("ask")\n'
    )
    assert imported(tmp_path, "ask.run_sync(' a  b c '), ask.name") == "('A B', 'ask')"


def test_it_is_clean_for_ruff(shell, tmp_path):
    shell.run(IMPORTS)
    shell.run(CLEAN.replace("'", '"'))
    shell.run(
        "%%tta_primitive tidy --cache 1h --retry 2\nimport os, sys\n@staticmethod\ndef quick(x):\n"
        "    return clean(x) + os.sep + sys.platform"
    )
    shell.run(
        '%%tta_workflow ask\nroutes = {"a": tidy, "b": len}\n(\n    LambdaPrimitive(clean)\n'
        '    >> RouterPrimitive(routes, router_fn=lambda x, _: "a", default="b")\n)'
    )
    shell.run("%tta_export ask tidy -o flows.py")
    ruff(tmp_path / "flows.py")
    text = (tmp_path / "flows.py").read_text()
    assert "ask = (\n    LambdaPrimitive(clean)\n    >> Router" in text
    assert "CachePrimitive(LambdaPrimitive(quick), ttl_seconds=3600.0)" in text
    assert "%" not in text
    assert imported(tmp_path, "ask.run_sync('x y')").startswith("'x y/")


def test_the_newest_definition_wins(shell, tmp_path):
    shell.run("def f(x):\n    return 1")
    shell.run("%%tta_workflow ask\nf")
    shell.run("def f(x):\n    return 2")
    shell.run("%%tta_workflow ask\nf")
    assert shell.run("%tta_export ask -o flows.py").out == "Written: flows.py\n"
    assert (tmp_path / "flows.py").read_text().count("def f") == 1
    assert imported(tmp_path, "ask.run_sync(0)") == "2"


def test_what_the_workflow_holds_counts_and_a_newer_definition_is_told(shell, tmp_path):
    shell.run("def f(x):\n    return 1")
    shell.run("%%tta_workflow ask\nf")
    shell.run("def f(x):\n    return 2")
    out = shell.run("%tta_export ask -o flows.py").out
    assert "f was defined again in cell 5, after cell 4 had used it" in out
    assert imported(tmp_path, "ask.run_sync(0)") == shell.value("repr(await ask(0))") == "1"


def test_functions_read_globals_as_they_are_when_called(shell, tmp_path):
    shell.run("factor = 2")
    shell.run("def f(x):\n    return x * factor")
    shell.run("%%tta_workflow ask\nf")
    shell.run("factor = 5")
    assert shell.run("%tta_export ask -o flows.py").out == "Written: flows.py\n"
    assert imported(tmp_path, "ask.run_sync(2)") == "10"


def test_values_that_are_computed_keep_what_they_were_computed_from(shell, tmp_path):
    shell.run("x = 1")
    shell.run("y = x + 1")
    shell.run("x = 5")
    shell.run("%%tta_workflow ask\nLambdaPrimitive(lambda z: (x, y, z))")
    shell.run("%tta_export ask -o flows.py")
    assert imported(tmp_path, "ask.run_sync(0)") == "(5, 2, 0)"


def test_values_that_are_changed_in_place_are_changed_in_the_module(shell, tmp_path):
    shell.run("routes = {}\nseen = []")
    shell.run("routes['a'] = len\nfor n in (1, 2):\n    seen.append(n)\ncount = 1\ncount += 2")
    shell.run("%%tta_workflow ask\nLambdaPrimitive(lambda x: (routes['a'](x), seen, count))")
    shell.run("%tta_export ask -o flows.py")
    assert imported(tmp_path, "ask.run_sync('xyz')") == "(3, [1, 2], 3)"


def test_closures_recursion_classes_and_decorators_come_along(shell, tmp_path):
    shell.run(CLOSURES)
    shell.run(
        "%%tta_workflow ask\n"
        "LambdaPrimitive(triple) >> fact >> (lambda x: (add(x), even(x), Box(x).x))"
    )
    shell.run("%tta_export ask -o flows.py")
    assert imported(tmp_path, "ask.run_sync(1)") == shell.value("repr(await ask(1))")
    assert "# adds one\n@twice\n" in (tmp_path / "flows.py").read_text()


def test_functions_of_other_modules_are_imported(shell, tmp_path):
    (tmp_path / "coffee.py").write_text("def find(x):\n    return [x]\n")
    shell.run("import sys\nsys.path.insert(0, '')\nfrom coffee import find")
    shell.run("%%tta_workflow ask\nLambdaPrimitive(find) >> len")
    out = shell.run("%tta_export ask -o flows.py --check").out
    shell.run("sys.path.remove('')\nsys.modules.pop('coffee')")
    assert "coffee is a module beside the notebook" in out
    assert (
        "\n\nfrom tta_notebook import LambdaPrimitive\n\nfrom coffee import find\n"
        in (tmp_path / "flows.py").read_text()
    )
    ruff(tmp_path / "flows.py")


def test_names_without_a_cell_of_their_own_are_imported_if_a_module_has_them(shell, tmp_path):
    shell.run("from math import *")
    shell.run("%%tta_workflow ask\nLambdaPrimitive(lambda x: floor(x) + pi)")
    cell = shell.run("%tta_export ask -o flows.py")
    assert "pi" in cell.err
    shell.run("%%tta_workflow ask\nLambdaPrimitive(lambda x: floor(x))")
    shell.run("%tta_export ask -o flows.py")
    assert imported(tmp_path, "ask.run_sync(1.5)") == "1"


def test_unicode_names_and_texts_survive(shell, tmp_path):
    shell.run("größe = 'übermäßig'\ndef 名前(x):\n    return größe + x; ")
    shell.run("%%tta_workflow frage\n名前")
    shell.run("%tta_export frage -o flows.py")
    assert imported(tmp_path, "frage.run_sync('?')") == "'übermäßig?'"


def test_cells_with_other_magics_are_read_all_the_same(shell, tmp_path):
    shell.run(
        "%time base = 10\n!echo hi\nfiles = !ls\nx = 1; y = 2\n"
        "def f(z):\n    return z + base + x + y"
    )
    shell.run("%%time\n%%tta_workflow ask\nf")
    shell.run("%tta_export ask -o flows.py")
    assert imported(tmp_path, "ask.run_sync(0)") == "13"
    shell.run("%%tta_workflow ask2\nLambdaPrimitive(lambda x: files)")
    cell = shell.run("%tta_export ask2 -o flows2.py")
    assert "files (cell 3) is made by a magic" in cell.err
    assert not (tmp_path / "flows2.py").exists()


@pytest.mark.parametrize(
    ("setup", "line"),
    [
        (
            "get_ipython().user_ns['secret'] = object()\ndef f(x): return secret",
            "secret, which cell 3 uses, is a object that exists only in the kernel",
        ),
        ("def f(x): return nowhere", "nowhere, which cell 3 uses, is not defined by any cell"),
        ("log = open('log.txt', 'w')\ndef f(x): log.write(x)", "log (cell 3) is an open file"),
        (
            "pieces = (n for n in 'ab')\ndef f(x): return next(pieces)",
            "pieces (cell 3) is a generator",
        ),
        (
            "warm = await asyncio.sleep(0, 1)\ndef f(x): return warm",
            "warm (cell 3) awaits outside of a function",
        ),
        ("def f(x): display(x)", "display, which cell 3 uses, is there in notebooks only"),
        ("def f(x): return Out[1]", "Out, which cell 3 uses, is there in notebooks only"),
        ("def f(x): return 'sk-proj-" + "a1B2" * 10 + "'", "looks like an OpenAI API key"),
    ],
)
def test_a_module_that_would_not_run_is_not_written(shell, tmp_path, setup, line):
    shell.value(setup)
    shell.run("%%tta_workflow ask\nf")
    cell = shell.run("%tta_export ask -o flows.py")
    shell.run("'log' in globals() and log.close()")
    assert line in cell.err
    assert "Traceback" not in cell.out + cell.err
    assert not (tmp_path / "flows.py").exists()


def test_a_run_of_a_cell_is_no_constant(shell, tmp_path):
    shell.run("%%tta_workflow first --input 'x' --as r\nstr.upper")
    shell.run("s = %tta_run first 'x'")
    shell.run("%%tta_workflow ask\nLambdaPrimitive(lambda x: (r.output, s.output))")
    err = shell.run("%tta_export ask -o flows.py").err
    assert "- r (cell 3) is the Run of a cell" in err
    assert "- s (cell 4) is made by a magic" in err


def test_a_live_client_is_made_anew_and_told(shell, tmp_path):
    shell.run("import sqlite3\ndatabase = sqlite3.connect(':memory:')")
    shell.run(
        "%%tta_workflow ask\nLambdaPrimitive(lambda x: database.execute('select 1').fetchall())"
    )
    out = shell.run("%tta_export ask -o flows.py").out
    shell.run("database.close()")
    assert "database is a live Connection: the module makes one of its own on import." in out


def test_a_cell_that_failed_half_way_does_not_count_for_what_it_did_not_do(shell, tmp_path):
    shell.run("def f(x):\n    return 1")
    shell.run("%%tta_workflow ask\nLambdaPrimitive(lambda x: f(x))")
    shell.run("1 / 0\ndef f(x):\n    return 2")
    shell.run("def f(x:")
    shell.run("%tta_export ask -o flows.py")
    assert imported(tmp_path, "ask.run_sync(0)") == "1"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%tta_export", "which one? There is 'ask', 'strip'"),
        ("%tta_export asc -o flows.py", "the notebook defines no 'asc'; it defines"),
        ("%tta_export ask -o .", "is a folder"),
        ("%tta_export ask -o flows", "ends in .py"),
        ("%tta_export ask -o my-flows.py", "nothing could import it"),
        ("%tta_export ask -o no/where/flows.py", "there is no folder"),
        ("%tta_export ask -o there.py", "Say --force"),
        ("%tta_export ask -o", "-o needs a value"),
        ("%tta_export ask -o a.py --chek", "did you mean --check?"),
        ("%tta_export ask -o a.py --tests", "no tests were written"),
        ("%tta_export ask -o full.py --force", "full.py"),
    ],
)
def test_mistakes_are_told_without_a_traceback(shell, tmp_path, line, said):
    (tmp_path / "there.py").write_text("x = 1")
    (tmp_path / "full.py").symlink_to("/dev/full")
    shell.run("%%tta_workflow ask\nstr.upper")
    cell = shell.run(line)
    assert cell.err.startswith("UsageError: %tta_export: ")
    assert said in cell.err
    assert (tmp_path / "there.py").read_text() == "x = 1"


def test_force_writes_over_what_is_there(shell, tmp_path):
    (tmp_path / "flows.py").write_text("x = 1")
    shell.run("%%tta_workflow ask\nstr.upper")
    shell.run("%tta_export ask -o flows.py --force")
    assert imported(tmp_path, "ask.run_sync('a')") == "'A'"


def test_a_notebook_file_is_exported_without_a_kernel(tmp_path):
    notebook = Path(__file__).parents[2] / "notebooks" / "02_production_stack.ipynb"
    cells = cells_of_file(notebook)
    assert len(cells) > 5
    cells = {1: "import math", 2: "%%tta_workflow area\nlambda r: math.pi * r * r"}
    done = export_module(["area"], tmp_path / "flows.py", cells=cells)
    assert str(done) == "Written: flows.py"
    assert imported(tmp_path, "area.run_sync(0)") == "0.0"
    with pytest.raises(WorkflowError, match="it is no notebook"):
        cells_of_file(tmp_path / "flows.py")


def test_without_a_kernel_cells_have_to_be_given(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from tta_notebook.notebook.export import *\nexport_module(['a'], 'a.py')",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert "no notebook runs here" in done.stderr


def test_names_that_mean_two_things_in_turn_stay_in_their_places(shell, tmp_path):
    shell.run("from math import floor as part")
    shell.run("low = part(1.5)")
    shell.run("from math import ceil as part")
    shell.run("%%tta_workflow ask\nLambdaPrimitive(lambda x: (low, part(x)))")
    shell.run("%tta_export ask -o flows.py")
    assert imported(tmp_path, "ask.run_sync(1.5)") == "(1, 2)"


def test_imports_of_submodules_add_up(shell, tmp_path):
    shell.run("import xml.dom")
    shell.run("import xml.etree.ElementTree")
    shell.run("import os.path, os")
    shell.run(
        "%%tta_workflow ask\nLambdaPrimitive(lambda x: "
        "(xml.dom.__name__, xml.etree.ElementTree.__name__, os.sep))"
    )
    shell.run("%tta_export ask -o flows.py")
    assert imported(tmp_path, "ask.run_sync(1)") == "('xml.dom', 'xml.etree.ElementTree', '/')"
    assert "import xml.dom\nimport xml.etree.ElementTree\n" in (tmp_path / "flows.py").read_text()


def test_indented_cells_and_questions_are_read_as_ipython_reads_them(shell, tmp_path):
    shell.run("    base = 1\n    def f(x):\n        return x + base\n")
    shell.run("len?\nmore = 2\n?len")
    shell.run("%%tta_workflow ask\nLambdaPrimitive(lambda x: f(x) + more)")
    shell.run("%tta_export ask -o flows.py")
    assert imported(tmp_path, "ask.run_sync(1)") == "4"


def test_a_future_import_holds_for_the_module_too(shell, tmp_path):
    cells = {1: "from __future__ import annotations", 2: "def f(x: Nowhere):\n    return x"}
    with pytest.raises(WorkflowError, match="Nowhere, which cell 2 uses"):
        export_module(["f"], tmp_path / "flows.py", cells=cells)
    cells[2] = "def f(x: int):\n    return x"
    export_module(["f"], tmp_path / "flows.py", cells=cells)
    text = (tmp_path / "flows.py").read_text()
    assert text.split("\n\n")[1] == "from __future__ import annotations"


def test_the_plain_python_twin_takes_the_notebooks_own_cells(shell, tmp_path):
    shell.run("%%tta_workflow ask\nstr.upper")
    shell.run("from tta_notebook.notebook.export import export_module")
    done = shell.value("export_module(['ask'], 'flows.py', check=True, recorded=__tta__.recorded)")
    assert done.files[0].name == "flows.py"


def test_help_and_completion(shell):
    assert "Usage: %tta_export NAME" in shell.run("%tta_export -h").out
    shell.run("%%tta_workflow ask\nstr.upper")
    with provisionalcompleter():
        for line, wanted in (("%tta_export as", "ask"), ("%tta_export ask --ch", "--check")):
            found = [each.text for each in shell.ip.Completer.completions(line, len(line))]
            assert found == [wanted]


def test_it_works_in_a_kernel(kernel, tmp_path):
    kernel.run("def double(x):\n    return 2 * x")
    kernel.run("%%tta_workflow twice --input 4\ndouble")
    done = kernel.run(f"%tta_export twice -o {tmp_path}/flows.py --check --tests")
    assert "twice: on 4 it gives what it gave in the notebook." in done.text
    assert imported(tmp_path, "twice.run_sync(3)") == "6"


def test_cells_that_ipython_keeps_no_history_of_are_exported_too(shell, tmp_path, monkeypatch):
    # So nbval runs a notebook.
    monkeypatch.chdir(tmp_path)
    for source in (
        "def shout(text):\n    return text.upper()",
        "%%tta_workflow loud\nLambdaPrimitive(shout) >> str.strip",
        "%tta_export loud -o loud.py --check",
    ):
        assert shell.ip.run_cell(source, store_history=False).success
    assert "def shout(text):" in (tmp_path / "loud.py").read_text()
    shell.ip.run_cell("secret = 1", store_history=False, silent=True)
    assert "secret = 1" not in shell.ip.user_ns["__tta__"].unkept_cells
