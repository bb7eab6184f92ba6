"""The seam to IPython: what is used of it, under types.

IPython's own annotations are partial, and strict checkers report every value that passes through
them. They end here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

import IPython.display as _display
from IPython.core.error import UsageError as UsageError  # noqa: PLC0414 - given on
from IPython.core.interactiveshell import InteractiveShell

# An InteractiveShell.
Shell: TypeAlias = Any

display = cast("Callable[[object], None]", cast("Any", _display).display)
publish_display_data = cast("Callable[..., None]", cast("Any", _display).publish_display_data)

# The code of the function that executes every cell.
RUN_CODE = cast("Any", InteractiveShell).run_code.__code__
