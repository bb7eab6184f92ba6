"""The core on every interpreter of this machine, with nothing installed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SMOKE = Path(__file__).with_name("interpreter_smoke.py")
SUPPORTED = range(11, 20)


def candidates():
    """Give what may be an interpreter: on the path, and where pyenv and uv keep theirs."""
    yield Path(sys.executable)
    for minor in SUPPORTED:
        if found := shutil.which(f"python3.{minor}"):
            yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from pyenv.glob("versions/*/bin/python")
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    yield from uv.glob("*/bin/python3")


def version_of(python):
    """Return the version of an interpreter, None if it is none (a pyenv shim may point nowhere)."""
    code = "import sys; print(sys.implementation.name, *sys.version_info[:3])"
    try:
        done = subprocess.run(
            [python, "-I", "-c", code], capture_output=True, text=True, timeout=30, check=False
        )
    except OSError:
        return None
    return tuple(done.stdout.split()) if done.returncode == 0 else None


def interpreters():
    """Return one interpreter per version that is supported."""
    found = {}
    for python in candidates():
        version = version_of(python)
        if version is not None and version[1] == "3" and int(version[2]) in SUPPORTED:
            found.setdefault(version, python)
    return found


FOUND = interpreters()


@pytest.mark.parametrize("version", sorted(FOUND), ids=".".join)
def test_the_core_works_on_every_interpreter_found(version):
    # -I: whatever packages and variables it has are not seen. -B: it leaves no files behind.
    done = subprocess.run(
        [FOUND[version], "-I", "-B", "-W", "error", SMOKE],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"\d+ checks hold on 3\.", done.stdout)


def test_the_running_interpreter_is_among_them():
    assert (sys.implementation.name, *map(str, sys.version_info[:3])) in FOUND
