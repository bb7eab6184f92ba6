"""What holds for every run of the process, beside what a run's own context says.

A notebook sets its prices and its budget once, not for every cell. Nothing stands by default.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tta_notebook.core.checked import UNSET, UnsetType

if TYPE_CHECKING:
    from tta_notebook.core.protocols import Guard, Prices


class Standing:
    """The process's guards, prices and backends; see `configure`.

    Attributes:
        configured: the guards that `configure` has set.
        added: those of whoever came by itself, and leaves again: an extension, a view.
        guards: both.
        prices: what models cost.
        backends: what serves models.
    """

    def __init__(self) -> None:
        self.configured: tuple[Guard, ...] = ()
        self.added: tuple[Guard, ...] = ()
        self.guards: tuple[Guard, ...] = ()
        self.prices: Prices | None = None
        self.backends: Mapping[str, Any] | None = None

    def __reduce__(self) -> str:
        return "standing"  # what stands in another process is that process's affair

    def set_guards(self, guards: Iterable[Guard]) -> None:
        """Put these in the place of those that were configured before."""
        self.configured = tuple(guards)
        self.guards = self.configured + self.added

    def add(self, guard: Guard) -> None:
        """Add a guard that no `configure` takes away."""
        self.added = (*self.added, guard)
        self.guards = self.configured + self.added

    def remove(self, guard: Guard) -> None:
        """Take a guard away that was added."""
        self.added = tuple(other for other in self.added if other is not guard)
        self.guards = self.configured + self.added


standing = Standing()


def configure(
    *,
    guards: Iterable[Guard] | UnsetType = UNSET,
    prices: Prices | UnsetType | None = UNSET,
    backends: Mapping[str, Any] | UnsetType | None = UNSET,
) -> None:
    """Set what holds for every run of this process; what is left out stays as it is.

    It counts from the next call to a model on, also in runs that are under way.

    Args:
        guards: budgets, ledgers and limits, asked after a run's own; an empty list for none. Those
            of the notebook extension (`%tta_costs`, `%tta_budget`) stay beside them.
        prices: what models cost, where a run does not say; None for the price book's own table.
        backends: what serves models, where a run does not say; None for their own.

    >>> from tta_notebook import PriceBook, WorkflowContext
    >>> with configured(prices=PriceBook(bundled=False)):
    ...     WorkflowContext().prices
    PriceBook(no overrides, at=None, bundled=False)
    """
    if guards is not UNSET:
        standing.set_guards(guards)
    if prices is not UNSET:
        standing.prices = prices
    if backends is not UNSET:
        standing.backends = backends


@contextmanager
def configured(
    *,
    guards: Iterable[Guard] = (),
    prices: Prices | UnsetType | None = UNSET,
    backends: Mapping[str, Any] | UnsetType | None = UNSET,
) -> Generator[None]:
    """Hold `configure` for the length of a `with` block; its guards come beside those there are."""
    before = (standing.configured, standing.prices, standing.backends)
    configure(guards=(*guards, *standing.configured), prices=prices, backends=backends)
    try:
        yield
    finally:
        configure(guards=before[0], prices=before[1], backends=before[2])
