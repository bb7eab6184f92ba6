"""`tta notebook clean` and `check`: notebooks for a repository."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tta_notebook import cli
from tta_notebook.notebook.tidy import SANITIZE_FILE, WIDGET_VIEW

TUTORIALS = sorted((Path(__file__).parents[2] / "notebooks").glob("0[12]*.ipynb"))
EXECUTE = (
    "import sys; from pathlib import Path; file = Path(sys.argv[1]);"
    "from tta_notebook.notebook.execute import execute_notebook; execute_notebook(file, file)"
)
SOMEBODY = "/" + "home/ada/project"


def code(source, *outputs, count=1, **metadata):
    return {
        "cell_type": "code",
        "execution_count": count,
        "id": f"c{count}",
        "metadata": metadata,
        "outputs": list(outputs),
        "source": source,
    }


def stream(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def shown(**data):
    named = {key.replace("_", "/", 1): value for key, value in data.items()}
    return {"output_type": "display_data", "data": named, "metadata": {}}


@pytest.fixture
def save(tmp_path):
    def write(*cells, **metadata):
        file = tmp_path / "my.ipynb"
        notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
        file.write_text(json.dumps(notebook), encoding="utf-8")
        return file

    return write


def check(file, capsys):
    status = cli.main(["notebook", "check", str(file)])
    lines = capsys.readouterr().out.splitlines()
    return status, [line.removeprefix(f"{file}: ") for line in lines]


def test_clean_takes_out_what_is_of_one_machine_and_keeps_outputs(save, capsys):
    view = shown(text_plain="Live()", text_html="<b>run</b>")
    view["data"][WIDGET_VIEW] = {"model_id": "x"}
    file = save(
        {"cell_type": "markdown", "id": "m", "metadata": {"collapsed": True}, "source": "# Größe"},
        code("1", stream(f"{Path.cwd()}/x.txt {Path.home()}/y"), execution={"a": 1}, tags=["t"]),
        code("2", view, count=2),
        kernelspec={"name": "my-env", "display_name": "My env"},
        language_info={"name": "python", "version": "3.11.7"},
        widgets={"state": {}},
        title="Kept",
    )
    assert cli.main(["notebook", "clean", str(file)]) == 0
    assert "cleaned" in capsys.readouterr().out
    done = json.loads(file.read_text(encoding="utf-8"))
    assert done["metadata"] == {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
        "title": "Kept",
    }
    assert [cell["metadata"] for cell in done["cells"]] == [{}, {"tags": ["t"]}, {}]
    assert done["cells"][1]["outputs"][0]["text"] == "./x.txt ~/y"
    assert done["cells"][2]["outputs"][0]["data"] == {
        "text/plain": "Live()",
        "text/html": "<b>run</b>",
    }
    assert "Größe" in file.read_text(encoding="utf-8")
    assert check(file, capsys) == (0, ["Nothing stands in the way."])
    before = file.read_bytes()
    assert cli.main(["notebook", "clean", str(file)]) == 0
    assert "was clean" in capsys.readouterr().out
    assert file.read_bytes() == before


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_cleaned_tutorial_passes_with_its_outputs(tutorial, tmp_path, capsys):
    copy = tmp_path / tutorial.name
    copy.write_bytes(tutorial.read_bytes())
    cli.main(["notebook", "clean", str(copy)])
    capsys.readouterr()
    assert check(copy, capsys) == (0, ["Nothing stands in the way."])
    before, after = (json.loads(file.read_text(encoding="utf-8")) for file in (tutorial, copy))
    for cell, cleaned in zip(before["cells"], after["cells"], strict=True):
        assert cleaned.get("outputs") == cell.get("outputs")
        assert cleaned["source"] == cell["source"]


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ([code("1", count=None)], "cell 1: it was not run"),
        ([code("1"), code("2", count=3)], "cell 2: it was run as number 3 instead of 2"),
        (
            [
                code(
                    "1",
                    {"output_type": "error", "ename": "KeyError", "evalue": "", "traceback": []},
                )
            ],
            "cell 1: it raised KeyError",
        ),
        (
            [
                code(
                    "1",
                    shown(
                        **{"text_plain": "IntSlider(value=0)", WIDGET_VIEW.replace("/", "_", 1): {}}
                    ),
                )
            ],
            "cell 1: it shows a widget alone",
        ),
        (
            [
                code(
                    "1",
                    shown(
                        **{
                            "text_plain": "FigureWidget({...})",
                            WIDGET_VIEW.replace("/", "_", 1): {},
                        }
                    ),
                )
            ],
            "cell 1: it shows a plotly FigureWidget",
        ),
        (
            [code("1", shown(**{"text_html": "x", WIDGET_VIEW.replace("/", "_", 1): {}}))],
            "cell 1: it holds the view of a widget",
        ),
        (
            [code("1", stream(" 50%|█████     | 1/2 [00:00<00:00]"))],
            "cell 1: it shows a progress bar",
        ),
        ([code("1", stream("a\rb"))], "cell 1: it shows a progress bar"),
        (
            [code("1", {**shown(text_plain="x"), "transient": {"display_id": "d"}})],
            "cell 1: it is updated in place",
        ),
        ([code("1", stream(f"{SOMEBODY}/a.txt"))], "cell 1: it shows a folder of this machine"),
        (
            [code("1", stream("ipykernel_12/3.py:1: Warning"))],
            "cell 1: it shows a folder of this machine",
        ),
        ([code(f"open('{SOMEBODY}/a.txt')")], "cell 1: its code names a folder"),
        (
            [{"cell_type": "markdown", "metadata": {}, "source": [f"see {SOMEBODY}"]}],
            "cell 1: its text names a folder",
        ),
        ([code("1", stream("x" * 100_001))], "it has 100,"),
        ([code("1", execution={"a": "b"})], "cell 1: it holds times of execution"),
    ],
)
def test_check_names_the_cell_and_what_to_do(save, capsys, cells, problem):
    status, lines = check(save(*cells), capsys)
    assert status == 1
    assert len(lines) == 1
    assert lines[0].startswith(problem)


def test_what_is_fine_is_left_alone(save, capsys):
    error = {"output_type": "error", "ename": "E", "evalue": "", "traceback": []}
    file = save(
        code("1 / 0", error, tags=["raises-exception"]),
        code("2", stream("100% of ━━━━━━━ them\r\n"), count=2),
        code("", count=None),
        {"cell_type": "raw", "metadata": {}, "source": ["x"]},
    )
    assert check(file, capsys) == (0, ["Nothing stands in the way."])


def test_several_files_are_checked_and_told_apart(save, tmp_path, capsys):
    other = tmp_path / "other.ipynb"
    other.write_bytes(save(code("1", count=None)).read_bytes())
    assert cli.main(["notebook", "check", str(tmp_path / "my.ipynb"), str(other)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(tmp_path / "my.ipynb"), str(other)]


@pytest.mark.parametrize("text", ["no json", "{}", "[]", '{"cells": [], "nbformat": 3}'])
@pytest.mark.parametrize("action", ["clean", "check"])
def test_what_is_no_notebook_is_told_in_a_line(tmp_path, capsys, action, text):
    file = tmp_path / "my.ipynb"
    file.write_text(text)
    assert cli.main(["notebook", action, str(file)]) == 1
    assert capsys.readouterr().err.startswith(f"tta: {file}: ")
    assert file.read_text() == text
    assert cli.main(["notebook", action, str(tmp_path / "none.ipynb")]) == 1


def test_the_recipe_holds_for_a_notebook_that_is_run_cleaned_and_tested(tmp_path, capsys):
    file = tmp_path / "my.ipynb"
    cells = [
        "%load_ext tta_notebook",
        "%%tta_workflow ask --input ' a '\nstr.strip",
        "import datetime\nprint(datetime.datetime.now(), object())",
    ]
    notebook = {
        "cells": [code(source, count=None) | {"id": f"c{n}"} for n, source in enumerate(cells)],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    file.write_text(json.dumps(notebook))
    # In a process of its own: nbclient leaves sockets to the garbage collector.
    subprocess.run([sys.executable, "-c", EXECUTE, str(file)], check=True)
    assert cli.main(["notebook", "clean", str(file)]) == 0
    assert cli.main(["notebook", "check", str(file)]) == 0
    assert cli.main(["notebook", "sanitize-file"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(SANITIZE_FILE)
    command = [sys.executable, "-m", "pytest", "--nbval", str(file), "-p", "no:cacheprovider"]
    # This checkout's own settings would count: the sanitise file lies in it.
    command += ["-c", os.devnull, "--rootdir", str(tmp_path), "-p", "no:randomly"]
    done = subprocess.run(
        [*command, "--nbval-sanitize-with", str(SANITIZE_FILE), "--nbval-current-env"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert "3 passed" in done.stdout, done.stdout[-3000:]


def test_a_workflow_of_a_notebook_file_is_exported_from_the_command_line(save, tmp_path, capsys):
    file = save(
        code("def f(x):\n    return x + 1"), code("%%tta_workflow up --input 1\nf", count=2)
    )
    assert cli.main(["export", str(file), "up", "-o", str(tmp_path / "flows.py"), "--check"]) == 0
    assert "Written: flows.py" in capsys.readouterr().out
    assert cli.main(["export", str(file), "up", "-o", str(tmp_path / "flows.py")]) == 1
    assert "--force" in capsys.readouterr().err
    assert cli.main(["export", str(file), "down", "-o", str(tmp_path / "other.py")]) == 1
    assert "the notebook defines no 'down'" in capsys.readouterr().err
