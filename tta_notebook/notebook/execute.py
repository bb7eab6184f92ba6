"""Running a whole notebook file with the interpreter that runs this, without a browser."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from tta_notebook.core.errors import WorkflowError

_CELL_TIMEOUT_S = 600


def execute_notebook(
    source: Path, target: Path, *, each_cell: Callable[[int, int], object] = lambda _, __: None
) -> Any:
    """Run every cell of `source` in `target`'s folder, write the result to `target` and return it.

    What had run until then is also written when a cell fails.

    Args:
        source: the notebook.
        target: where the executed copy goes.
        each_cell: told the number of the code cell that begins, from 1, and of all.

    Raises:
        WorkflowError: what runs notebooks is not installed, or a cell raised.
    """
    nbformat, nbclient = _needed("nbformat"), _needed("nbclient")
    notebook: Any = nbformat.read(source, as_version=4)
    codes = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"]

    def begin(cell: Any, cell_index: int) -> None:
        del cell
        if cell_index in codes:
            each_cell(codes.index(cell_index) + 1, len(codes))

    client = nbclient.NotebookClient(
        notebook,
        km=_kernel_of_this_interpreter(),
        timeout=_CELL_TIMEOUT_S,
        resources={"metadata": {"path": str(target.parent)}},
        on_cell_start=begin,
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        client.execute()
    except nbclient.exceptions.CellExecutionError as error:
        raise WorkflowError(
            f"{source.name} stopped in a cell that raised {error.ename}: {error.evalue}. "
            f"The copy at {target} shows where; mend it there and run it again."
        ) from error
    finally:
        nbformat.write(notebook, target)
    return notebook


def _kernel_of_this_interpreter() -> Any:
    kernelspec: Any = _needed("jupyter_client.kernelspec")
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    command.append("--IPKernelApp.log_level=ERROR")  # its warnings are for who configures kernels

    class ThisInterpreter(kernelspec.KernelSpecManager):  # type: ignore[misc]  # imported on use
        """Gives this interpreter as every kernel: one of the user's may lack this package."""

        def get_kernel_spec(self, kernel_name: str) -> Any:
            return kernelspec.KernelSpec(argv=command, display_name=kernel_name, language="python")

    _needed("ipykernel")
    manager: Any = _needed("jupyter_client.manager")
    return manager.AsyncKernelManager(kernel_spec_manager=ThisInterpreter())


def _needed(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        raise WorkflowError(
            f"A notebook was to be run, but {missing.name!r} is not installed, which that takes. "
            "Install it with: pip install 'tta-notebook[lab]'"
        ) from missing


def tagged_text(notebook: Any, tag: str) -> str:
    """Return the plain text that the cells with `tag` gave in an executed notebook."""
    cells = (cell for cell in notebook.cells if tag in cell.metadata.get("tags", ()))
    outputs = (output for cell in cells for output in cell.get("outputs", ()))
    texts = (
        output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs
    )
    return "\n".join(text.strip("\n") for text in texts if text)
