"""Ledgers inside of a workflow: their copies on workers hand on every entry to the ledger here."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from tta_notebook.core.protocols import Prices
from tta_notebook.cost.entry import LedgerEntry
from tta_notebook.cost.ledger import Ledger
from tta_notebook.scale.messages import Booked

Post = Callable[[Booked], None]

posting: ContextVar[Post | None] = ContextVar("tta_notebook.posting", default=None)
"""Takes what is booked in the chunk that runs here; None outside of one."""


class Ledgers:
    """The ledgers that a workflow refers to, by number, where the map was called."""

    def __init__(self) -> None:
        self._ledgers: list[Ledger] = []

    def refer(self, thing: object) -> tuple[Any, ...] | None:
        """Return how a ledger in this process's memory is pickled; None of anything else."""
        if not isinstance(thing, Ledger):
            return None
        self._ledgers.append(thing)
        number = len(self._ledgers) - 1
        return _copy, (number, thing.prices, thing.counts_replays)

    def book(self, booked: Booked) -> None:
        """Book what a copy has booked."""
        self._ledgers[booked.ledger].book(booked.entry)


def _copy(number: int, prices: Prices | None, counts_replays: bool) -> Ledger:
    def post(entry: LedgerEntry) -> None:
        if (take := posting.get()) is not None:
            take(Booked(number, entry))

    return Ledger.posting(post, prices, counts_replays=counts_replays)
