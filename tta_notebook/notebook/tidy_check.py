"""What stands in the way of committing a notebook: found, one sentence for each, by cell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tta_notebook.notebook.tidy import WIDGET_VIEW, names_this_machine, read_notebook

MOST_BYTES = 100_000

# tqdm and rich draw with these; a carriage return goes back to draw the line again.
_PROGRESS = re.compile(r"\r(?!\n)|\d+%\|[█▏▎▍▌▋▊▉ #]*\||━{5,}[^\n]*\d+%|\x1b\[\d*[AKG]")
_FIGURE_WIDGET = "FigureWidget"


def problems_of(path: Path) -> list[str]:
    """Return what is wrong with a notebook for a repository, in sentences that name the cell.

    Raises:
        WorkflowError: it is no notebook.
    """
    notebook = read_notebook(path)
    found: list[str] = []
    size = path.stat().st_size
    if size > MOST_BYTES:
        found.append(f"it has {size:,} bytes, and may have {MOST_BYTES:,}: show less, or plot less")
    if "widgets" in notebook.get("metadata", {}):
        found.append("it holds the state of widgets: tta notebook clean takes it out")
    cells: Sequence[dict[str, Any]] = notebook["cells"]
    counted = 0
    for number, cell in enumerate(cells, 1):
        if cell["cell_type"] == "code" and "".join(cell["source"]).strip():
            counted += 1
            found += [f"cell {number}: {problem}" for problem in _of_cell(cell, counted)]
        elif names_this_machine("".join(cell["source"])):
            found.append(f"cell {number}: its text names a folder of this machine")
    return found


def _of_cell(cell: dict[str, Any], expected: int) -> Iterator[str]:
    count = cell.get("execution_count")
    if count is None:
        yield "it was not run: run all cells"
    elif count != expected:
        yield f"it was run as number {count} instead of {expected}: restart and run all cells"
    if "execution" in cell.get("metadata", {}):
        yield "it holds times of execution: tta notebook clean takes them out"
    if names_this_machine("".join(cell["source"])):
        yield "its code names a folder of this machine: use a relative path"
    tags = cell.get("metadata", {}).get("tags", ())
    for output in cell.get("outputs", ()):
        yield from _of_output(output, is_error_expected="raises-exception" in " ".join(tags))


def _of_output(output: dict[str, Any], *, is_error_expected: bool) -> Iterator[str]:
    if output["output_type"] == "error" and not is_error_expected:
        yield f"it raised {output['ename']}: mend it, or tag it raises-exception"
    data: dict[str, Any] = output.get("data", {})
    text = json.dumps(output, ensure_ascii=False)
    plain = _text(output)
    if _FIGURE_WIDGET in text and (WIDGET_VIEW in data or plain.startswith(_FIGURE_WIDGET)):
        yield "it shows a plotly FigureWidget: show a plain Figure"
    elif WIDGET_VIEW in data and set(data) - {WIDGET_VIEW, "text/plain"}:
        yield "it holds the view of a widget: tta notebook clean takes it out"
    elif WIDGET_VIEW in data:
        yield "it shows a widget alone, of which readers see nothing: show a static form, too"
    if "update_display_data" in output["output_type"] or output.get("transient"):
        yield "it is updated in place, which a stored notebook cannot show: print when it is done"
    if _PROGRESS.search(plain):
        yield "it shows a progress bar: switch it off, or capture it with %%capture"
    if names_this_machine(text):
        yield "it shows a folder of this machine: tta notebook clean shortens it, or print less"


def _text(output: dict[str, Any]) -> str:
    parts = (output.get("text", ""), output.get("data", {}).get("text/plain", ""))
    return "\n".join("".join(part) for part in parts if part)
