"""The history of a notebook's runs: on, in the user's own folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from tta_notebook.core.events import Event
from tta_notebook.core.stream import stream

if TYPE_CHECKING:
    from tta_notebook.observability.history import History


class Records:
    """The sink of a kernel's runs.

    The history itself is loaded and opened with the first run, in the thread of the sink, so that
    loading the extension takes no longer for it.
    """

    @cached_property
    def history(self) -> History:
        """The history, with short texts of inputs and results: nobody else reads it."""
        from tta_notebook.observability.history import History  # noqa: PLC0415 - with the first run

        return History(content=True)

    def __call__(self, batch: Sequence[Event]) -> None:
        """Keep a batch of events."""
        self.history(batch)

    def up_to_date(self) -> History:
        """Return the history with all that has happened so far."""
        stream.flush()
        return self.history

    def add(self) -> None:
        """Keep every run from now on."""
        stream.subscribe(self, starts="roots")

    def remove(self) -> None:
        """Write what is still queued and keep no more runs."""
        stream.unsubscribe(self)
        if "history" in self.__dict__:
            self.history.stop()  # what is asked of it opens the file again
