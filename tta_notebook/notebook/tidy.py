"""Notebooks for a repository: what is of one machine or one run is taken out, outputs stay.

The nbval recipe (docs/notebook/nbval.md): run all cells, `tta notebook clean`, `tta notebook
check`, commit; then `pytest --nbval --nbval-sanitize-with` runs them as tests.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, cast

from tta_notebook.core.errors import WorkflowError

SANITIZE_FILE = Path(__file__).with_name("sanitize.cfg")

# What is committed names no environment of somebody's.
_KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_OF_ONE_MACHINE = frozenset({"widgets", "vscode", "interpreter"})
_OF_ONE_RUN = frozenset({"execution", "ExecuteTime", "collapsed", "scrolled", "trusted", "vscode"})
_FORMAT = 4
# A folder of somebody's, on any system, or of a kernel's own making.
_PATHS = re.compile(r"(?:/home/|/Users/|/root/|[A-Z]:\\+Users\\+)[\w.-]+|/tmp/\w+|ipykernel_\d+")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def clean(path: Path) -> bool:
    """Prepare a notebook for a repository, in place; tell whether that changed anything.

    Taken out are the state of widgets and their views, times of execution, what the kernel and the
    front end say of themselves, and the paths of this machine. Outputs stay.

    Raises:
        WorkflowError: it is no notebook, or cannot be written.
    """
    before = _read_text(path)
    notebook = _read(path, before)
    metadata: dict[str, Any] = notebook.get("metadata", {})
    kept = {key: each for key, each in metadata.items() if key not in _OF_ONE_MACHINE}
    language = kept.get("language_info", {}).get("name", "python")
    if language == "python":
        kept["kernelspec"] = _KERNELSPEC
    notebook["metadata"] = {**kept, "language_info": {"name": language}}
    for cell in notebook["cells"]:
        _clean_cell(cell)
    after = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if after != before:
        _write(path, after)
    return after != before


def _clean_cell(cell: dict[str, Any]) -> None:
    metadata: dict[str, Any] = cell.get("metadata", {})
    cell["metadata"] = {key: each for key, each in metadata.items() if key not in _OF_ONE_RUN}
    if cell["cell_type"] != "code":
        return
    outputs: list[dict[str, Any]] = cell.get("outputs", [])
    for output in outputs:
        output.pop("transient", None)
        data: dict[str, Any] = output.get("data", {})
        if set(data) - {WIDGET_VIEW, "text/plain"}:  # a view alone is for its author to replace
            data.pop(WIDGET_VIEW, None)
        for key in ("text", "data", "traceback", "evalue"):
            if key in output:
                output[key] = without_paths(output[key])
    cell["outputs"] = outputs


def without_paths(value: Any) -> Any:
    """Return an output with this machine's folders as `~` and `.`.

    >>> without_paths(["nothing", {"n": 1}])
    ['nothing', {'n': 1}]
    """
    if isinstance(value, str):
        for folder, short in _folders():
            value = re.sub(rf"{re.escape(folder)}(?![\w.-])", short, value)
        return value
    if isinstance(value, list):
        return [without_paths(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return {key: without_paths(item) for key, item in pairs}
    return value


def names_this_machine(text: str) -> bool:
    """Tell whether a text names a folder of somebody's machine, this one or another."""
    return without_paths(text) != text or _PATHS.search(text) is not None


def _folders() -> list[tuple[str, str]]:
    """Return the folders of this machine, the innermost first, with what stands for them."""
    named = {os.fspath(Path.cwd()): ".", os.fspath(Path.home()): "~"}
    pairs = [(folder, short) for folder, short in named.items() if len(folder) > 1]
    return sorted(pairs, key=lambda pair: -len(pair[0]))


def read_notebook(path: Path) -> dict[str, Any]:
    """Return a notebook's content.

    Raises:
        WorkflowError: it is none.
    """
    return _read(path, _read_text(path))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WorkflowError(
            f"{path}: a notebook was to be read, which failed: {error}. Name an .ipynb file."
        ) from error


def _read(path: Path, text: str) -> dict[str, Any]:
    try:
        notebook: dict[str, Any] = json.loads(text)
        is_notebook = isinstance(notebook["cells"], list) and notebook["nbformat"] >= _FORMAT
    except (ValueError, KeyError, TypeError) as error:
        raise WorkflowError(
            f"{path}: a notebook was to be read, but that is none: {error!r}. Name an .ipynb file."
        ) from error
    if not is_notebook:
        raise WorkflowError(
            f"{path}: it is a notebook of format {notebook['nbformat']}, and from 4 on they can be "
            "read. Open it in JupyterLab and save it."
        )
    return notebook


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WorkflowError(f"{path}: the cleaned notebook cannot be written: {error}.") from error
