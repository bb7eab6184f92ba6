"""The explicit choice to turn a kernel's loop from within: `%tta_config loop=nest`.

It is for code that is synchronous and uses what belongs to the kernel's loop: `asyncio.run(…)` in
a library, a client with open connections under `run_sync`. It patches asyncio for the whole
process, which is why nothing here does it by itself.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.threads import turn_running_loop

# From this version of ipykernel on, nest_asyncio makes cells vanish that wait in the queue: two
# tasks of the kernel enter one context. nest_asyncio2 does not (ipykernel 7.4, Python 3.11).
_BREAKS_AT = 7
_NEWEST_PYTHON = (3, 13)


def turn_from_within() -> str:
    """Patch asyncio so that a running loop can be turned; return the name of what did it.

    Raises:
        ConfigurationError: it would break the kernel, or is not installed.
    """
    if sys.version_info[:2] > _NEWEST_PYTHON:
        major, minor = sys.version_info[:2]
        raise _refused(f"Python {major}.{minor} has changed what the patch relies on")
    module = _patch()
    module.apply()
    turn_running_loop(nested=True)
    return str(module.__name__)


def turn_no_more() -> None:
    """Give blocking calls a loop of their own again; what was patched stays patched."""
    turn_running_loop(nested=False)


def _patch() -> Any:
    try:
        return import_module("nest_asyncio2")
    except ModuleNotFoundError:
        if _kernel_version() >= _BREAKS_AT:
            raise _refused(
                f"nest_asyncio makes waiting cells vanish under ipykernel {_kernel_version()}",
                "Install the one that does not, pip install nest-asyncio2, and try again; or await",
            ) from None
    return import_module("nest_asyncio")


def _kernel_version() -> int:
    kernel = sys.modules.get("ipykernel")
    return 0 if kernel is None else int(str(kernel.__version__).partition(".")[0])


def _refused(found: str, advice: str = "Await") -> ConfigurationError:
    return ConfigurationError(
        f"loop=nest: {found}, so it would break this kernel. {advice} the workflow in the cell, "
        "which needs no patch."
    )
