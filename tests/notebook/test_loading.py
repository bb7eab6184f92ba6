"""What loading costs and pulls in, each time in a fresh interpreter."""

import subprocess
import sys

HEAVY = ("plotly", "pandas", "ipywidgets", "anywidget", "nest_asyncio")


def printed(source):
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.split()


def test_loading_the_extension_is_quick_and_imports_no_heavy_library():
    took, *heavy = printed(
        "import sys, time\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "begun = time.perf_counter()\n"
        "shell.run_line_magic('load_ext', 'tta_notebook')\n"
        f"print(time.perf_counter() - begun, *({set(HEAVY)} & sys.modules.keys()))"
    )
    assert heavy == []
    assert float(took) < 0.3


def test_a_run_can_be_shown_as_text_and_html_without_ipython():
    assert printed(
        "import sys\n"
        "import tta_notebook.notebook.display, tta_notebook.notebook.picture\n"
        "print('IPython' in sys.modules)"
    ) == ["False"]
