"""What is true of the whole tree: its style, its types, its layers, its top level."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tta_notebook
import tta_notebook.testing

ROOT = Path(__file__).parents[1]


def run(*command):
    found = shutil.which(command[0], path=str(Path(sys.executable).parent))
    assert found, f"{command[0]} is not installed beside {sys.executable}"
    done = subprocess.run(
        [found, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check"),
        ("ruff", "format", "--check"),
        ("mypy",),
        ("pyright", "--pythonpath", sys.executable),
        ("lint-imports",),
    ],
    ids=["style", "format", "mypy", "pyright", "layers"],
)
def test_the_tree_passes(command):
    run(*command)


def tracked():
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - git is wherever git is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [Path(line) for line in done.stdout.splitlines() if (ROOT / line).is_file()]


def test_the_top_level_holds_nothing_else():
    fixed = {"pyproject.toml", "tta_notebook", "notebooks", "tests", "docs", "README.md"}
    top = {path.parts[0] for path in tracked()}
    assert {name for name in top if not name.startswith(".")} == fixed


def test_nothing_names_a_machine_or_a_registry():
    machine = re.compile(r"(?<![\w.])/(?:root|home|Users|work)/\w")
    registry = re.compile(r"pypi\.org|pythonhosted|registry\.npmjs|deb\.debian", re.IGNORECASE)
    for path in tracked():
        if path.suffix in {".png", ".gguf"} or path.name == Path(__file__).name:
            continue
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not machine.search(text), path
        assert not registry.search(text), path


def test_the_reference_lists_just_what_is_public():
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    main, _, testing = page.partition("## For tests")
    row = re.compile(r"^\| `(\w+)` \| \S", re.MULTILINE)
    assert sorted(row.findall(main)) == sorted(tta_notebook.__all__)
    assert sorted(row.findall(testing)) == sorted(tta_notebook.testing.__all__)
