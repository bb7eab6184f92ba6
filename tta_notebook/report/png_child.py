"""The process that draws: figures on standard input, what went wrong on standard output."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any


def main() -> None:
    """Draw what standard input holds, and say how that went in the last line: null, or an error."""
    problem: str | None = None
    try:
        # It has no types.
        kaleido: Any = import_module("kaleido")
        # Without MathJax, which would be fetched from the net.
        kaleido.write_fig_from_object_sync(json.load(sys.stdin), kopts={"mathjax": False})
    except Exception as error:  # noqa: BLE001 - it is told to who asked
        said = next(iter(str(error).strip().splitlines()), "")
        problem = f"{type(error).__name__}: {said}"
    print(f"\n{json.dumps(problem)}", flush=True)  # noqa: T201 - that is its answer
    os._exit(0)  # threads that a failed browser has left would wait for it for ever


if __name__ == "__main__":
    main()
