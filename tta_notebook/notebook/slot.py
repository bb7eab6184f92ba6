"""A place in the output of a cell that can be filled anew."""

from __future__ import annotations

import uuid
from typing import Any

from tta_notebook.notebook.ipython import publish_display_data


class Slot:
    """A place in the cell's output that can be emptied again."""

    def __init__(self) -> None:
        self._id: str | None = None

    def show(self, data: dict[str, Any]) -> None:
        """Put something there, or replace it."""
        is_new = self._id is None
        self._id = self._id or uuid.uuid4().hex
        transient = {"display_id": self._id}
        publish_display_data(data, {}, transient=transient, update=not is_new)

    def empty(self) -> None:
        """Leave an output without data: nothing to see, and nothing for nbval to compare."""
        if self._id is not None:
            self.show({})
