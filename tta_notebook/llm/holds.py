"""What all guards have set aside for one call to a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.protocols import Guard, Hold, PlannedCall
from tta_notebook.core.usage import Usage
from tta_notebook.llm.text import Source


def guards_of(context: WorkflowContext, source: Source) -> Sequence[Guard]:
    """Return who is asked before a call: of a replay only those that count replays."""
    guards = context.guards
    if source != "replay":
        return guards
    return [guard for guard in guards if getattr(guard, "counts_replays", False)]


def need_input_bound(guards: Sequence[Guard]) -> bool:
    """Tell whether some guard wants to know the size of the input beforehand."""
    return any(getattr(guard, "needs_input_bound", True) for guard in guards)


class Holds:
    """What guards have set aside for a call; either settled or released in the end.

    Attributes:
        max_output_tokens: the most tokens of output that all of them pay for.
    """

    def __init__(self, max_output_tokens: int) -> None:
        self.max_output_tokens = max_output_tokens
        self._holds: list[Hold] = []

    @classmethod
    async def reserve(cls, guards: Sequence[Guard], call: PlannedCall) -> Self:
        """Ask every guard in turn; give everything back when one refuses."""
        holds = cls(call.max_output_tokens)
        try:
            for guard in guards:
                # Those that come later need to pay for no more than those before do.
                hold = await guard.reserve(replace(call, max_output_tokens=holds.max_output_tokens))
                holds._add(hold)
        except BaseException:
            holds.release()
            raise
        return holds

    def _add(self, hold: Hold) -> None:
        self._holds.append(hold)
        if hold.max_output_tokens is not None:
            self.max_output_tokens = min(self.max_output_tokens, hold.max_output_tokens)

    def settle(self, usage: Usage) -> None:
        """Tell every guard what the call really used."""
        for hold in self._holds:
            hold.settle(usage)

    def release(self) -> None:
        """Tell every guard that nothing was sent."""
        for hold in self._holds:
            hold.release()
