"""Running an exported module in a new process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tta_notebook.core.errors import WorkflowError

_PATIENCE_S = 600


class Outcome(NamedTuple):
    """What a workflow gave in a new process.

    Attributes:
        literal: its output as a Python literal; None where it cannot be written as one.
        kind: the name of the output's type.
        shown: a short text of it.
        error: what it raised instead; empty if it did not.
    """

    literal: str | None = None
    kind: str = ""
    shown: str = ""
    error: str = ""


def run_fresh(
    module: Path,
    name: str = "",
    inputs: Sequence[str] = (),
    *,
    cassette: Path | None = None,
    mode: str = "none",
    folders: Sequence[Path] = (),
) -> list[Outcome]:
    """Import a module in a new process, run a workflow of it, and return what it gave.

    Args:
        module: its file.
        name: the workflow.
        inputs: Python literals, run in their order.
        cassette: what stands in for models; without, they are asked.
        mode: the cassette's.
        folders: where its own imports are looked for.

    Raises:
        WorkflowError: it cannot be imported.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        task: dict[str, Any] = {
            "module": str(module.absolute()),
            "name": name,
            "inputs": list(inputs),
            "cassette": None if cassette is None else str(cassette),
            "mode": mode,
            "folders": [str(folder) for folder in folders],
            "result": str(result),
        }
        done = _done(task, module.name)
        if not result.is_file():
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise WorkflowError(
                f"{module.name} was imported in a new process and failed: {last}. What it needs is "
                "perhaps made by a cell in passing; define it in a statement of its own."
            )
        return [Outcome(**each) for each in json.loads(result.read_text(encoding="utf-8"))]


def _done(task: dict[str, Any], module: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [sys.executable, "-m", "tta_notebook.notebook.export.child"],
            input=json.dumps(task),
            capture_output=True,
            encoding="utf-8",
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise WorkflowError(
            f"{module} was run in a new process and was not done after {_PATIENCE_S} s. Run it on "
            "a smaller input with %tta_run, and export it again."
        ) from late
