"""The history's tables as Parquet files."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from tta_notebook.core.errors import ConfigurationError
from tta_notebook.observability.history.schema import TABLES

if TYPE_CHECKING:
    import pandas as pd

_SUFFIX = ".parquet"


def write_parquet(
    target: Path, table: str | None, frame_of: Callable[[str], pd.DataFrame]
) -> list[Path]:
    """Write tables to a folder, or one to a file, and return the files.

    Each appears under its name when it is whole, so that nobody reads a half of one.
    """
    try:
        import_module("pyarrow")
    except ImportError as missing:
        raise ConfigurationError(
            "History.to_parquet: the package pyarrow is not installed. Run "
            "`pip install 'tta-notebook[parquet]'`."
        ) from missing
    if target.suffix == _SUFFIX:
        files = {table or "spans": target}
    else:
        names = TABLES if table is None else (table,)
        files = {name: target / f"{name}{_SUFFIX}" for name in names}
    for name, file in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_name(f".{file.name}.unfinished")
        frame_of(name).to_parquet(unfinished, index=False)
        unfinished.replace(file)
    return list(files.values())
