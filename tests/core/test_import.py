"""What importing the package does: next to nothing."""

import ast
import importlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import tta_notebook
import tta_notebook.core

DONT_WRITE = "PYTHONDONTWRITEBYTECODE"
CORE_NAMES = sorted(set(tta_notebook.core.__all__) & set(tta_notebook.__all__))


def run_script(code, *options, cwd=None):
    # Compiling the sources anew each time would be most of what an import takes.
    environment = {name: value for name, value in os.environ.items() if name != DONT_WRITE}
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


BEHAVIOUR = """
    import sys
    before = set(sys.modules)
    events = []

    def hook(event, args):
        if event == "open" and isinstance(args[2], int) and args[2] & 3:  # for writing
            events.append(["write", str(args[0])])
        if event.split(".")[0] in ("socket", "subprocess", "shutil") or event in (
            "os.mkdir", "os.remove", "os.rename", "os.system", "os.putenv", "signal.signal",
        ):
            events.append([event, str(args)])

    import atexit, json, logging, os, signal, threading, warnings
    exits, names = atexit._ncallbacks(), dict(os.environ)
    sys.addaudithook(hook)
    import tta_notebook
    root = sorted(set(sys.modules) - before)
    import asyncio, concurrent.futures.thread  # asyncio's own part of what is registered
    exits_of_asyncio = atexit._ncallbacks() - exits
    before_core = set(sys.modules)
    for name in {names}:
        getattr(tta_notebook, name)
    print(json.dumps({
        "root": root,
        "core": sorted(set(sys.modules) - before),
        "threads": threading.active_count(),
        "exits": atexit._ncallbacks() - exits - exits_of_asyncio,
        "events": events,
        "handlers": len(logging.root.handlers) + len(logging.getLogger("tta_notebook").handlers),
        "environment": names == dict(os.environ),
        "policy": type(asyncio.events._event_loop_policy).__name__,
        "hooked": sys.excepthook is not sys.__excepthook__,
    }))
"""


@pytest.fixture(scope="module")
def behaviour(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cwd")
    code = BEHAVIOUR.replace("{names}", repr(CORE_NAMES))
    found = run_script(code, "-B", cwd=folder)
    found["left"] = [path.name for path in folder.iterdir()]
    return found


def tops(modules):
    return {module.partition(".")[0] for module in modules}


def test_the_core_loads_the_standard_library_only(behaviour):
    foreign = tops(behaviour["core"]) - set(sys.stdlib_module_names) - {"tta_notebook"}
    # What the interpreter's site loads for editable installs is not ours.
    assert {name for name in foreign if not name.startswith("_")} == set()


def test_the_core_loads_no_other_room(behaviour):
    rooms = {name.split(".")[1] for name in behaviour["core"] if name.startswith("tta_notebook.")}
    assert rooms == {"core"}


def test_the_package_itself_loads_none_of_its_modules(behaviour):
    assert [name for name in behaviour["root"] if name.startswith("tta_notebook.")] == []
    assert "asyncio" not in behaviour["root"]


def test_importing_starts_registers_and_writes_nothing(behaviour):
    assert behaviour["threads"] == 1
    assert behaviour["exits"] == 0
    assert behaviour["events"] == []
    assert behaviour["left"] == []
    assert behaviour["handlers"] == 0
    assert behaviour["environment"]
    assert behaviour["policy"] == "NoneType"
    assert not behaviour["hooked"]


def cpu_ms(statement):
    return run_script(
        f"""
        import time
        start = time.process_time()
        {statement}
        print((time.process_time() - start) * 1e3)
        """
    )


@pytest.mark.parametrize(
    "statement", ["import tta_notebook", "from tta_notebook import WorkflowPrimitive"]
)
def test_importing_takes_at_most_twice_as_long_as_asyncio(statement):
    # Measured: 0.27 and 1.86 times, of which `import asyncio` itself is 1.00 in the second. On a
    # busy machine a minimum may take a few rounds to be reached.
    ours, asyncios = [], []
    for _ in range(5):
        for _ in range(5):
            asyncios.append(cpu_ms("import asyncio"))
            ours.append(cpu_ms(statement))
        if min(ours) <= 2 * min(asyncios):
            return
    pytest.fail(f"{statement!r} takes {min(ours):.0f} ms, asyncio {min(asyncios):.0f} ms")


def test_every_public_name_is_what_its_room_exports():
    for name in tta_notebook.__all__:
        room = importlib.import_module(f"tta_notebook.{tta_notebook._ROOMS.get(name, 'core')}")
        assert name in room.__all__
        assert getattr(tta_notebook, name) is getattr(room, name)


def test_everything_the_core_exports_is_public():
    assert set(tta_notebook.core.__all__) <= set(tta_notebook.__all__)


def test_the_names_are_listed_once_in_order_and_by_dir():
    assert sorted(set(tta_notebook.core.__all__)) == tta_notebook.core.__all__
    assert set(tta_notebook.__all__) <= set(dir(tta_notebook))


def test_type_checkers_see_the_same_names_as_programs():
    tree = ast.parse(Path(tta_notebook.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tta_notebook.")
        for alias in node.names
    }
    assert seen == set(tta_notebook.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'WorkflowPrimitve'"):
        _ = tta_notebook.WorkflowPrimitve
    with pytest.raises(ImportError, match="nothing_like_this"):
        from tta_notebook import nothing_like_this  # noqa: PLC0415, F401 - the import itself is the test
