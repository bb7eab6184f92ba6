"""The new process of `run_fresh`: imports a module, runs a workflow, writes what it gave."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tta_notebook.core.algebra import as_primitive
from tta_notebook.notebook.recorded import literal_of

_SHOWN_CHARACTERS = 200


def main() -> None:
    """Do what standard input asks."""
    task = json.loads(sys.stdin.read())
    sys.path[:0] = task["folders"]
    file = Path(task["module"])
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None, "it ends in .py"
    assert spec.loader is not None, "the same"
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    outcomes: list[dict[str, str | None]] = []
    if task["inputs"]:
        with _cassette(task["cassette"], task["mode"]):
            outcomes = asyncio.run(_run(getattr(module, task["name"]), task["inputs"]))
    Path(task["result"]).write_text(json.dumps(outcomes), encoding="utf-8")


def _cassette(file: str | None, mode: Any) -> Any:
    if file is None:
        return nullcontext()
    from tta_notebook.llm.cassettes.cassette import Cassette  # noqa: PLC0415 - only where one is

    return Cassette(file, mode, repeat=True)


async def _run(workflow: Any, inputs: Sequence[str]) -> list[dict[str, str | None]]:
    primitive = as_primitive(workflow)
    outcomes: list[dict[str, str | None]] = []
    for text in inputs:
        try:
            output = await primitive.execute(ast.literal_eval(text))
        except Exception as error:  # noqa: BLE001 - it is told to who asked
            outcomes.append({"error": f"{type(error).__name__}: {error}"})
        else:
            shown = repr(output)[:_SHOWN_CHARACTERS]
            kind = "str" if isinstance(output, str) else type(output).__name__
            outcomes.append({"literal": literal_of(output), "kind": kind, "shown": shown})
    return outcomes


if __name__ == "__main__":
    main()
