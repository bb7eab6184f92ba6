"""What belongs to a whole run, however many contexts point at it."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from tta_notebook.core import clock

if TYPE_CHECKING:
    from tta_notebook.core.protocols import Guard, Prices, StepStore


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
    prices: Prices | None = None
    around: Shared | None = None
    trace_id: str | None = None
    remote_parent: str | None = None
    checkpoints: list[tuple[str, float]] | None = None
    is_begun: bool = False

    def __init__(self) -> None:
        self.start_ns = clock.source()
        # Looked at by every step or every lookup in a cache: what stands on the class alone is
        # found half as fast.
        self.step_store = None
        self.metadata = None
        self.backends = None

    def known_trace_id(self) -> str:
        """Return the W3C trace id, made when it is first asked for."""
        if self.trace_id is None:
            # One of them: a run's loop and a sink's thread may ask for it at the same time.
            return str(self.__dict__.setdefault("trace_id", os.urandom(16).hex()))
        return self.trace_id

    def known_correlation_id(self) -> str:
        """Return the correlation id, made when it is first asked for."""
        if self.correlation_id is None:
            # Most runs are never asked, and a uuid costs two steps.
            import uuid  # noqa: PLC0415 - for the same reason

            self.correlation_id = str(uuid.uuid4())
        return self.correlation_id

    @property
    def origin(self) -> Shared:
        """The one that a part of the run with guards of its own was made of: the run's identity."""
        return self if self.around is None else self.around

    def guarded_by(self, guards: tuple[Guard, ...], prices: Prices | None) -> Shared:
        """Return the same with other guards and prices; what can be written to stays one."""
        # What is made when it is first asked for is made now: else each side would make its own.
        for name in ("metadata", "state", "tags", "baggage"):
            if getattr(self, name) is None:
                setattr(self, name, {})
        if self.checkpoints is None:
            self.checkpoints = []
        self.known_trace_id()
        self.known_correlation_id()
        same = copy.copy(self)
        same.guards = guards
        same.around = self.origin
        if prices is not None:
            same.prices = prices
        return same
