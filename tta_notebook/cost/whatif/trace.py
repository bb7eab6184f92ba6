"""What recorded runs say, as the questions need it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from tta_notebook.cost.whatif.columns import Calls, Lookups


@dataclass(slots=True)
class Execution:
    """One execution of a retry.

    Attributes:
        again_ns: when each attempt but the last had failed.
        waited_s: how long it waited after each of these.
        stop: why there was no further attempt: "exhausted", "permanent"; None where the last
            attempt succeeded, or was cut off.
    """

    span_id: int
    run_id: int
    step: str | None
    ended_ns: int
    status: str
    again_ns: list[int] = field(default_factory=list[int])
    waited_s: list[float] = field(default_factory=list[float])
    stop: str | None = None

    @property
    def attempts(self) -> int:
        """How many there were."""
        return len(self.again_ns) + 1


class Details(Protocol):
    """What only some questions need: it is read when the first of them is asked."""

    def lookups(self) -> Lookups:
        """Return the lookups of caches."""
        ...

    def executions(self) -> list[Execution]:
        """Return the executions of retries that had one, in the order in which they began."""
        ...

    def chosen(self) -> dict[int, str]:
        """Return what routers chose, by their spans."""
        ...

    def ancestors(self) -> Iterable[tuple[int, int]]:
        """Give a call's span and a span around it that has a note, the nearest first."""
        ...


class Trace:
    """All that the questions need.

    Args:
        calls: to models.
        details: where the rest comes from.
        parents: of a run that was started inside another one, that one.
        run_status: how runs ended.
        replays: how many answers came from a recording, and are left out.
    """

    def __init__(
        self,
        calls: Calls,
        details: Details,
        *,
        parents: dict[int, int],
        run_status: dict[int, str],
        replays: int = 0,
    ) -> None:
        self.calls = calls
        self.parents = parents
        self.run_status = run_status
        self.replays = replays
        self._details = details

    @cached_property
    def lookups(self) -> Lookups:
        """The lookups of caches."""
        return self._details.lookups()

    @cached_property
    def executions(self) -> list[Execution]:
        """The executions of retries that had one."""
        return self._details.executions()

    @cached_property
    def inside(self) -> dict[int, list[int]]:
        """The places of the calls inside of a span that has a note."""
        places = {span: place for place, span in enumerate(self.calls.span_id)}
        inside: dict[int, list[int]] = {}
        for call, around in self._details.ancestors():
            if call in places:  # else it has come since
                inside.setdefault(around, []).append(places[call])
        return inside

    @cached_property
    def routes(self) -> dict[int, str]:
        """What the nearest router around a call had chosen, by the call's place."""
        chosen = self._details.chosen()
        routes: dict[int, str] = {}
        if chosen:
            places = {span: place for place, span in enumerate(self.calls.span_id)}
            for call, around in self._details.ancestors():
                if around in chosen and call in places:
                    routes.setdefault(places[call], chosen[around])
        return routes

    @cached_property
    def by_run(self) -> dict[int, list[int]]:
        """The places of the calls of each run that was started in no other one."""
        found: dict[int, list[int]] = {}
        for place, run_id in enumerate(self.calls.run_id):
            found.setdefault(self.outermost(run_id), []).append(place)
        return found

    def outermost(self, run_id: int) -> int:
        """Return the run that another one was started in, however deep."""
        seen = {run_id}
        while (parent := self.parents.get(run_id)) is not None and parent not in seen:
            seen.add(parent)
            run_id = parent
        return run_id
