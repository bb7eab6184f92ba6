"""What is being pickled, and for how many worker processes.

A workflow is pickled once and loaded in every worker, so what a limit allows has to be divided
among them, and what only this process can keep cannot be copied at all. Objects ask `current_trip`
while they are pickled; outside of a trip nobody knows how many copies there will be.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tta_notebook.core import checked
from tta_notebook.core.errors import StorageError


@dataclass(slots=True)
class Trip:
    """One pickling.

    Attributes:
        shares: how many worker processes will load a copy each.
        is_divided: whether there was a limit in it, which was divided among so many.
        refer: returns how an object is pickled that stays here and is written to from there, as
            `__reduce__` would; None where it cannot be.

    Raises:
        ConfigurationError: that is no number of processes.
    """

    shares: int
    is_divided: bool = False
    refer: Callable[[object], tuple[Any, ...] | None] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        checked.count("Trip", "shares", self.shares)


_trip: ContextVar[Trip | None] = ContextVar("tta_notebook.trip", default=None)


@contextmanager
def travelling(trip: Trip) -> Generator[Trip]:
    """Say what is pickled inside the `with` block, in this thread or task.

    >>> with travelling(Trip(shares=4)):
    ...     current_trip()
    Trip(shares=4, is_divided=False)
    """
    token = _trip.set(trip)
    try:
        yield trip
    finally:
        _trip.reset(token)


def current_trip() -> Trip | None:
    """Return the trip for which something is being pickled here, None outside of one."""
    return _trip.get()


def shares_of(limit: str) -> int:
    """Return among how many copies a limit is divided.

    Args:
        limit: what it is called, in the error.

    Raises:
        TypeError: there is no trip, so a copy would be a limit of its own.
    """
    trip = current_trip()
    if trip is None:
        raise TypeError(
            f"{limit} cannot be pickled: a copy would be a limit of its own, and both together "
            "would let through twice as much. Make one in every process, each with its share; "
            "`workflow.map(items, executor=cluster)` divides it among its workers by itself."
        )
    trip.is_divided = True
    return trip.shares


def by_reference(thing: object) -> tuple[Any, ...]:
    """Return how a ledger or budget in this process's memory is pickled.

    Copies could only count apart, unless the trip knows how they reach this one.

    Raises:
        TypeError: nothing where it goes could reach it here.
    """
    trip = current_trip()
    if trip is not None and trip.refer is not None and (found := trip.refer(thing)) is not None:
        return found
    kind = type(thing).__name__
    raise TypeError(
        f"{kind} cannot be pickled: it counts in this process's memory, and a copy would count "
        "apart, so that money is spent which nobody adds up. On one machine give it a file that "
        f"all processes share: {kind}(…, path=…), and the same ledger=… to a primitive that would "
        "make its own; or take it out of the workflow and put a Budget over the run, from which "
        "workers borrow: `workflow.run(…, budget=…)` or `WorkflowContext().using(guards=…)`."
    )


def host_name() -> str:
    """Return by what this machine is told from others."""
    return socket.gethostname()


def check_host(path: Path, host: str) -> None:
    """Refuse to open a file of another machine: here the same path is another file, or none.

    Args:
        path: the file.
        host: the `host_name()` of where it was opened first.

    Raises:
        StorageError: this is another machine.
    """
    if (here := host_name()) != host:
        raise StorageError(
            f"{path}: this file on host {host!r} was to be shared with a copy, and the copy was "
            f"loaded on host {here!r}, where it would begin a second file that knows nothing of "
            f"the first. Run the workers on {host!r}, or keep this where machines can share it: a "
            "cache in a RedisStore, a limit as a Budget over the run.",
            path=str(path),
        )
