"""Values of a kernel: what can be imported, and what is alive and cannot be written down."""

from __future__ import annotations

import asyncio
import io
import socket
import sys
import threading
from collections.abc import Generator
from types import CoroutineType, ModuleType
from typing import Any

from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.notebook.rows import is_run


def import_of(name: str, value: Any) -> str | None:
    """Return the import that gives a value its name, or None if no module holds it.

    >>> from collections import OrderedDict
    >>> import_of("Ordered", OrderedDict)
    'from collections import OrderedDict as Ordered'
    """
    if isinstance(value, ModuleType):
        full = value.__name__
        return f"import {full}" if full == name else f"import {full} as {name}"
    module = getattr(value, "__module__", None)
    qualified = getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualified, str):
        return None
    if module == "__main__" or getattr(sys.modules.get(module), qualified, None) is not value:
        return None
    return f"from {module} import {qualified}" + ("" if qualified == name else f" as {name}")


def lost(value: Any) -> str:
    """Say what a value is whose state no module can have; "" for others.

    >>> lost(open), lost(iter(()).__class__), lost((x for x in ""))
    ('', '', 'a generator that is under way')
    """
    if isinstance(value, io.IOBase):
        return "" if value.closed else "an open file"
    if isinstance(value, CoroutineType | asyncio.Future):
        return "work that is under way"
    if isinstance(value, Generator):
        return "a generator that is under way"
    if isinstance(value, threading.Thread | socket.socket):
        return f"a live {type(value).__name__}"
    return "the record of a run" if is_run(value) else ""


def is_client(value: Any) -> bool:
    """Tell whether a value holds a connection or the like: the module gets another of its own."""
    if isinstance(value, type | ModuleType | WorkflowPrimitive):
        return False
    module = type(value).__module__.partition(".")[0]
    return module != "tta_notebook" and any(
        callable(getattr(value, method, None)) for method in ("close", "aclose", "disconnect")
    )
