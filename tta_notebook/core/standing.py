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
    """The process's guards, prices and backends; see `configure`."""

    def __init__(self) -> None:
        self.guards: tuple[Guard, ...] = ()
        self.prices: Prices | None = None
        self.backends: Mapping[str, Any] | None = None


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
        guards: budgets, ledgers and limits, asked after a run's own; an empty list for none.
        prices: what models cost, where a run does not say; None for the price book's own table.
        backends: what serves models, where a run does not say; None for their own.

    >>> from tta_notebook.core.context import WorkflowContext
    >>> with configured(prices={"m": 1}):  # a PriceBook, really
    ...     WorkflowContext().prices
    {'m': 1}
    """
    if guards is not UNSET:
        standing.guards = tuple(guards)
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
    before = (standing.guards, standing.prices, standing.backends)
    configure(guards=(*guards, *standing.guards), prices=prices, backends=backends)
    try:
        yield
    finally:
        standing.guards, standing.prices, standing.backends = before
