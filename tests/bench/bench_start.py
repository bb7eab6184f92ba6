"""What it costs to begin: importing the package, importing the core, `%load_ext`.

    python tests/bench/bench_start.py

Each figure is the minimum over fresh processes, measured inside of them, without the interpreter's
own start. `import asyncio` is the yardstick: whoever composes workflows has paid for it already.
"""

import subprocess
import sys

PROCESSES = 15
TIMED = """
from time import perf_counter as now
{before}
start = now()
{statement}
print(now() - start)
"""
SHELL = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
"""
CASES = {
    "import asyncio": ("", "import asyncio"),
    "import tta_notebook": ("", "import tta_notebook"),
    "from tta_notebook import WorkflowPrimitive": (
        "",
        "from tta_notebook import WorkflowPrimitive",
    ),
    "from tta_notebook import LLMPrimitive": ("", "from tta_notebook import LLMPrimitive"),
    "%load_ext tta_notebook": (SHELL, "shell.run_line_magic('load_ext', 'tta_notebook')"),
}


def once(before: str, statement: str) -> float:
    program = TIMED.format(before=before, statement=statement)
    done = subprocess.run(  # each in a process of its own
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    print(f"Python {sys.version.split()[0]}, minimum of {PROCESSES} processes")
    best: dict[str, float] = {}
    for _ in range(PROCESSES):
        for name, (before, statement) in CASES.items():
            best[name] = min(best.get(name, 1e9), once(before, statement))
    yardstick = best["import asyncio"]
    for name, seconds in best.items():
        print(f"{name:46}{seconds * 1e3:9.1f} ms{seconds / yardstick:8.2f} x asyncio")


if __name__ == "__main__":
    main()
