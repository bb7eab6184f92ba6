"""What holds for the runs of a map's items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.standing import standing
from tta_notebook.llm.holds import need_input_bound


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for the runs of a map, and goes out with the workflow.

    Attributes:
        backends: what serves models in them.
        prices: what models cost in them.
        is_guarded: whether there are guards to be asked before a call to a model.
        needs_input_bound: whether they want to know the size of an input.
        counts_replays: whether they are asked before replays as well.
    """

    backends: Mapping[str, Any] | None
    prices: Any
    is_guarded: bool
    needs_input_bound: bool
    counts_replays: bool


def terms_of(context: WorkflowContext) -> Terms:
    """Return what a context has its steps ask, as far as it goes with them."""
    guards = context.guards
    return Terms(
        backends={**(standing.backends or {}), **(context.shared.backends or {})} or None,
        prices=context.prices,
        is_guarded=bool(guards),
        needs_input_bound=need_input_bound(guards),
        counts_replays=any(getattr(guard, "counts_replays", False) for guard in guards),
    )
