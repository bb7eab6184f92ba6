"""The built wheel, in an empty environment: what it holds and that it works."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """The bin folder of a fresh virtual environment with the wheel and its extras."""
    folder = tmp_path_factory.mktemp("env")
    run(sys.executable, "-m", "venv", str(folder))
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    run(str(binaries / "python"), "-m", "pip", "install", "-q", f"{wheel}[lab,local]")
    return binaries


def test_the_wheel_holds_the_tutorials_the_types_and_the_license(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "py.typed",
        "LICENSE",
        "tutorials/01_quickstart.ipynb",
        "tutorials/coffee_help.py",
    ):
        assert f"tta_notebook/{name}" in names
    assert any(name.endswith("licenses/tta_notebook/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "docs"))]


def test_the_metadata_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        metadata = archive.read(name).decode()
    for line in (
        "Name: tta-notebook",
        "License-Expression: MIT",
        "Requires-Python: >=3.11",
        "Classifier: Programming Language :: Python :: 3.14",
        "Classifier: Typing :: Typed",
    ):
        assert line in metadata


@pytest.mark.local_model
def test_the_quickstart_runs_from_the_wheel(environment, tmp_path):
    variables = {**os.environ, "TTA_HOME": str(tmp_path / "home")}
    variables.pop("PYTHONPATH", None)
    said = run(str(environment / "tta"), "quickstart", cwd=tmp_path, env=variables)
    assert "Q: How often should I descale the machine?" in said
    assert "two months" in said
    assert "└─ answer" in said
    copy = tmp_path / "home" / "quickstart" / "01_quickstart.ipynb"
    assert copy.is_file()
    assert str(copy) in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_the_core_runs_from_the_wheel_alone(environment, tmp_path):
    program = (
        "from tta_notebook import as_primitive; print((as_primitive(len) >> str).run_sync('four'))"
    )
    assert run(str(environment / "python"), "-c", program, cwd=tmp_path) == "4\n"
