"""Where a module may be written."""

from __future__ import annotations

import keyword
from pathlib import Path

from tta_notebook.core.errors import WorkflowError


def checked_place(path: Path, *, force: bool) -> Path:
    """Return where a module is to be written.

    Raises:
        WorkflowError: nothing can be written there, or there is something already.
    """
    path = path.expanduser()
    what = f"{path}: a module was to be written there"
    if path.is_dir():
        raise WorkflowError(f"{what}, but that is a folder. Name a file, as in {path / 'ask.py'}.")
    if path.suffix != ".py" or not path.stem.isidentifier() or keyword.iskeyword(path.stem):
        raise WorkflowError(
            f"{what}, but nothing could import it under that name. Take a name of letters, digits "
            "and underscores that ends in .py."
        )
    if not path.parent.is_dir():
        raise WorkflowError(f"{what}, but there is no folder {path.parent}. Make it first.")
    if path.exists() and not force:
        raise WorkflowError(f"{what}, but there is one already. Say --force to write over it.")
    return path


def write(path: Path, content: bytes) -> None:
    """Write a file.

    Raises:
        WorkflowError: that is not possible.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise WorkflowError(
            f"{path}: a module was to be written there, which failed: {error.strerror}. Name a "
            "file in a folder that can be written to."
        ) from error
