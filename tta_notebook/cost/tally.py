"""What the calls to models inside one step come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from tta_notebook.core.protocols import PlannedCall
from tta_notebook.core.usage import Usage, usage_of
from tta_notebook.cost.entry import REPORTED
from tta_notebook.llm.text import LLMText


class Tally:
    """A guard that adds up the calls of one execution.

    Attributes:
        usage: of all calls together; None while there was none.
        cost_pico: of those with a price.
        unpriced: how many have none.
        models: the models that were asked, in order.
        reports: how many of the calls no guard saw before they were made.
    """

    counts_replays = True
    needs_input_bound = False

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.cost_pico = 0
        self.unpriced = 0
        self.models: list[str] = []
        self.reports = 0
        # By identity, and kept: a new object may get the identity of one that is gone.
        self._excused: dict[int, object] = {}

    async def reserve(self, call: PlannedCall) -> _Count:
        """Let every call through, and count it when it settles."""
        return _Count(self, call)

    def add(self, call: PlannedCall, usage: Usage) -> None:
        """Count one call."""
        self.usage = usage if self.usage is None else self.usage + usage
        if call.quote is None:
            self.unpriced += 1
        else:
            self.cost_pico += call.quote.cost(usage)
        self.reports += call.source == REPORTED
        if call.model not in self.models:
            self.models.append(call.model)

    def excuse(self, result: object) -> None:
        """Take what a result reports as its usage for paid: it comes from a cache."""
        found = usage_of(result)
        self._excused[id(found)] = found

    def reported(self, result: object) -> Usage | None:
        """Return the usage that a result reports of calls that went past this guard, if any.

        A model's own answer was counted when it was made, here or elsewhere.
        """
        if self.usage is not None or isinstance(result, LLMText):
            return None
        found = usage_of(result)
        return None if id(found) in self._excused else Usage.read(found)


class _Count:
    max_output_tokens: int | None = None

    def __init__(self, tally: Tally, call: PlannedCall) -> None:
        self._tally = tally
        self._call: PlannedCall | None = call

    def settle(self, usage: Any) -> None:
        call, self._call = self._call, None
        if call is not None:
            self._tally.add(call, usage)

    def release(self) -> None:
        self._call = None


def model_of(result: object) -> str | None:
    """Return the model that a step's result names, if it does."""
    if not isinstance(result, str) and isinstance(result, Mapping):
        named = cast("Mapping[str, object]", result).get("model")
    else:
        named = getattr(result, "model", None)
    return named if isinstance(named, str) and named else None
