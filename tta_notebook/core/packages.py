"""Which code belongs to an installed package, and to which release of it."""

from __future__ import annotations

import functools
import sys
import types
from pathlib import Path
from typing import Any

OURS = __name__.partition(".")[0]

_INSTALLED = frozenset({"site-packages", "dist-packages"})


def release_of(module_name: str) -> str | None:
    """Return the release of the package that a module belongs to; None for the user's own code."""
    top = module_name.partition(".")[0]
    if top == "__main__":
        return None  # also where it is a package's: `python -m pytest`, `python -m ipykernel`
    if top == OURS or top in sys.stdlib_module_names or top == "builtins":
        return _release(top)
    module = sys.modules.get(module_name)
    if module is None or not _is_installed(module):
        return None
    return _release(top)


def release_of_function(function: types.FunctionType) -> str | None:
    """Return the release of the package that a function was written in, if any."""
    if function.__code__.co_filename.startswith("<doctest "):
        return None  # its globals are a copy of the tested module's
    return release_of(str(function.__globals__.get("__name__", "")))


def release_of_class(cls: type[Any]) -> str | None:
    """Return the release of the package that a class was written in, if any."""
    release = release_of(cls.__module__)
    if release is None or "<locals>" in cls.__qualname__:
        return release
    # A doctest's classes name the tested module as theirs, but are not found there.
    outermost = cls.__qualname__.partition(".")[0]
    module = sys.modules.get(cls.__module__)
    is_there = hasattr(module, outermost) or not hasattr(module, "__file__")
    return release if is_there or cls.__module__.startswith("_") else None


def _is_installed(module: types.ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    if file is None:
        origin = getattr(getattr(module, "__spec__", None), "origin", None)
        return origin in {"built-in", "frozen"}
    return not _INSTALLED.isdisjoint(Path(file).parts)


@functools.cache
def _release(top: str) -> str:
    if top in sys.stdlib_module_names:
        return f"{sys.version_info.major}.{sys.version_info.minor}"
    stated = getattr(sys.modules.get(top), "__version__", None)
    if isinstance(stated, str):
        return stated
    from importlib import metadata  # noqa: PLC0415 - it takes milliseconds, and few need it

    try:
        return metadata.version(top)
    except metadata.PackageNotFoundError:
        return "unknown"
