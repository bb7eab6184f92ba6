"""The record of an item's run, on a worker."""

from __future__ import annotations

from typing import Any

from tta_notebook.core.audience import Audience
from tta_notebook.core.events import Status
from tta_notebook.core.run import Run


class ItemRun(Run[Any]):
    """A run of which nobody is told where it is: its record travels.

    Args:
        name: the workflow's.
        with_previews: whether its spans keep short texts of inputs and results.

    Attributes:
        reported: what its steps reported as their usage, once it has ended.
    """

    def __init__(self, name: str, *, with_previews: bool) -> None:
        super().__init__(
            name, audience=Audience((), (), with_previews=True) if with_previews else None
        )
        self.reported: tuple[object, ...] = ()

    def close(self, status: Status, output: Any, error: BaseException | None) -> None:
        """Record the end, and keep what was counted: the output may hold it."""
        self.reported = tuple(usage for usage, _ in (self._counted or {}).values())
        super().close(status, output, error)
