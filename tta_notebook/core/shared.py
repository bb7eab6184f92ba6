"""What belongs to a whole run, however many contexts point at it."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from tta_notebook.core import clock

if TYPE_CHECKING:
    from tta_notebook.core.protocols import Guard, StepStore


class Shared:
    """What all contexts of one run share by reference.

    The defaults stand on the class: most runs set next to nothing, and a run begins in a moment.
    """

    workflow_id: str | None = None
    session_id: str | None = None
    correlation_id: str | None = None
    metadata: MutableMapping[str, Any] | None = None
    state: MutableMapping[str, Any] | None = None
    tags: MutableMapping[str, str] | None = None
    baggage: MutableMapping[str, str] | None = None
    guards: tuple[Guard, ...] = ()
    step_store: StepStore | None = None
    backends: Mapping[str, Any] | None = None
    trace_id: str | None = None
    remote_parent: str | None = None
    checkpoints: list[tuple[str, float]] | None = None
    is_begun: bool = False

    def __init__(self) -> None:
        self.start_ns = clock.source()
