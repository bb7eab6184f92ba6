import subprocess
import sys


def test_importing_the_room_loads_the_standard_library_and_the_core_alone():
    program = (
        "import sys; before = set(sys.modules); import tta_notebook.llm;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new - set(sys.stdlib_module_names) - {'tta_notebook'}));"
        "print(sorted(n for n in sys.modules if n.startswith('tta_notebook.')"
        " and not n.startswith(('tta_notebook.core', 'tta_notebook.llm'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n[]\n"
