"""Workflows of a notebook as plain modules, checked in a new process, with tests."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tta_notebook.core.errors import WorkflowError
from tta_notebook.notebook.calls import RUNTIME
from tta_notebook.notebook.export.exported import module_of
from tta_notebook.notebook.export.place import checked_place, write
from tta_notebook.notebook.recorded import Recorded

__all__ = ["Exported", "cells_of_file", "export_module"]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        files: the module, then its tests and their recordings.
        notes: what to know of it, in sentences.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        written = ", ".join(file.name for file in self.files)
        return "\n".join([f"Written: {written}", *(f"- {note}" for note in self.notes)])


def export_module(
    names: Sequence[str],
    path: str | Path,
    *,
    cells: Mapping[int, str] | None = None,
    kernel: Mapping[str, Any] | None = None,
    recorded: Iterable[Recorded] = (),
    check: bool = False,
    tests: bool = False,
    force: bool = False,
) -> Exported:
    r"""Write workflows of a notebook, and what they need, to a plain module.

    Args:
        names: the workflows; functions and values can be named as well.
        path: the module.
        cells: the notebook's cells by number; by default those that this kernel has run.
        kernel: the values of its names; by default this kernel's.
        recorded: runs with their inputs, for `check` and `tests`; `__tta__.recorded` in a notebook.
        check: import it in a new process and run each workflow on its last recorded input.
        tests: write `test_<module>.py` from the recorded runs, too.
        force: write over files that are there.

    Raises:
        WorkflowError: nothing was written; the message says why.

    >>> import tempfile
    >>> cells = {1: "import math", 2: "def area(r):\n    return math.pi * r * r", 3: "area(2)"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     exported = export_module(["area"], f"{folder}/shapes.py", cells=cells)
    ...     print(exported.files[0].read_text().partition("\n\n")[2])
    import math
    <BLANKLINE>
    <BLANKLINE>
    def area(r):
        return math.pi * r * r
    <BLANKLINE>
    """
    place = checked_place(Path(path), force=force)
    if cells is None:
        cells, kernel = _of_this_kernel()
    module = module_of(names, cells, kernel)
    notes = list(module.notes)
    written = {place: module.text.encode()}
    if check or tests:
        further, more = _tried(place, module.text, names, list(recorded), check, tests)
        notes = [*more, *notes]
        for name, content in further.items():
            target = place.with_name(name)
            if target.exists() and not force:
                raise WorkflowError(f"{target} is there already. Say --force to write over it.")
            written[target] = content
    for file, content in written.items():
        write(file, content)
    return Exported(tuple(written), tuple(notes))


def _tried(
    place: Path,
    text: str,
    names: Sequence[str],
    recorded: Sequence[Recorded],
    check: bool,
    tests: bool,
) -> tuple[dict[str, bytes], list[str]]:
    """Run the module in a new process before it is written; return its tests and what to say."""
    from tta_notebook.notebook.export import replay, testing  # noqa: PLC0415 - only on request

    cases = {name: replay.cases_of(name, recorded) for name in names}
    folders = [place.parent.absolute(), Path.cwd()]
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, place.name)
        draft.write_text(text, encoding="utf-8")
        notes: list[str] = []
        if check:
            notes += [replay.check(draft, name, cases[name], folders) for name in names]
        if not tests:
            return {}, notes
        made = testing.tests_for(draft, dict(cases), folders, Path(folder))
        files = {f"test_{place.name}": made.text.encode(), **made.cassettes}
        return files, [*notes, f"{made.summary}."]


def _of_this_kernel() -> tuple[dict[int, str], Mapping[str, Any]]:
    from IPython.core.getipython import get_ipython  # noqa: PLC0415 - only in a notebook

    shell: Any = get_ipython()
    if shell is None:
        raise WorkflowError(
            "export_module: no notebook runs here, so there are no cells to take from. Give them: "
            "export_module([…], …, cells=cells_of_file('my.ipynb'))."
        )
    return cells_of(shell), shell.user_ns


def cells_of(shell: Any) -> dict[int, str]:
    """Return what a shell has run, by number."""
    kept: list[str] = shell.history_manager.input_hist_raw
    runtime = shell.user_ns.get(RUNTIME)
    unkept: list[str] = [] if runtime is None else runtime.unkept_cells
    return dict(enumerate([*kept, *unkept]))


def cells_of_file(path: str | Path) -> dict[int, str]:
    """Return the code cells of a notebook file in the order in which they were run last.

    Where they have not been run, their order in the file counts.

    Raises:
        WorkflowError: it is no notebook.
    """
    try:
        cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
        codes = [cell for cell in cells if cell["cell_type"] == "code"]
        sources = ["".join(cell["source"]) for cell in codes]
        counts = [cell.get("execution_count") for cell in codes]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkflowError(
            f"{path}: its cells were to be read, but it is no notebook: {error!r}. Name an .ipynb."
        ) from error
    if all(isinstance(number, int) for number in counts) and len(set(counts)) == len(counts):
        return dict(sorted(zip(counts, sources, strict=True)))
    return dict(enumerate(sources, 1))
