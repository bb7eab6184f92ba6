"""What importing the testing kit costs and shows."""

import subprocess
import sys

import tta_notebook.testing

ALLOWED = sys.stdlib_module_names | {"tta_notebook"}


def test_importing_the_kit_loads_the_standard_library_and_the_core_only():
    code = "import sys, tta_notebook.testing; print(*sys.modules)"
    # -I -S would hide an installed package too, so what the interpreter itself loads is taken off.
    loaded = _modules(code) - _modules("import sys; print(*sys.modules)")
    foreign = {name for name in loaded if name.partition(".")[0] not in ALLOWED}
    rooms = {name.split(".")[1] for name in loaded if name.startswith("tta_notebook.")}
    assert foreign == set()
    assert rooms == {"core", "testing"}


def test_every_public_name_exists():
    for name in tta_notebook.testing.__all__:
        assert getattr(tta_notebook.testing, name)


def _modules(code):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())
