"""A map that heeds the pause of its run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.gate import Gate


class Pausing:
    """Tells whether a run is paused, and when it goes on.

    Args:
        context: of a step of the run.
        wake: called when the run goes on.
        group: whose task the waiting is.
    """

    def __init__(
        self, context: WorkflowContext, wake: Callable[[], None], group: asyncio.TaskGroup
    ) -> None:
        self._gate = None if context.run is None else context.run.gate
        self._wake = wake
        self._group = group
        self._waiting: asyncio.Task[None] | None = None

    @property
    def is_paused(self) -> bool:
        """Whether nothing may begin now; whoever is told so is woken when that ends."""
        gate = self._gate
        if gate is None or not gate.is_shut:
            return False
        if self._waiting is None or self._waiting.done():
            self._waiting = self._group.create_task(self._opened(gate))
        return True

    async def _opened(self, gate: Gate) -> None:
        await gate.wait()
        self._wake()

    def close(self) -> None:
        """Wait no longer."""
        if self._waiting is not None:
            self._waiting.cancel()
