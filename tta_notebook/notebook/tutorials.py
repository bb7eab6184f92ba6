"""The tutorial notebooks that come with the package."""

from __future__ import annotations

import shutil
from pathlib import Path

from tta_notebook.core.errors import WorkflowError
from tta_notebook.core.home import home

QUICKSTART = "01_quickstart.ipynb"


def tutorials() -> Path:
    """Return the folder of the tutorials: inside the installed package, or beside it in a checkout.

    Raises:
        WorkflowError: they are in neither place.
    """
    package = Path(__file__).parent.parent
    places = (package / "tutorials", package.parent / "notebooks")
    for folder in places:
        if (folder / QUICKSTART).is_file():
            return folder
    raise WorkflowError(
        f"The tutorials were looked for in {places[0]}, but the installation lacks them. "
        "Install the package again: pip install --force-reinstall tta-notebook"
    )


def working_copy() -> Path:
    """Return a folder of the user's with a copy of the tutorials; what is there stays as it is."""
    folder = home() / "tutorials"
    for file in tutorials().iterdir():
        target = folder / file.name
        if file.is_file() and not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    return folder
