"""What can be asked, and at what prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.run import Run
from tta_notebook.cost.whatif.from_history import trace_of_history
from tta_notebook.cost.whatif.from_runs import trace_of_runs
from tta_notebook.cost.whatif.trace import Trace
from tta_notebook.llm.prices import Price, PriceBook
from tta_notebook.llm.pricing import standard_prices
from tta_notebook.observability.history.history import History
from tta_notebook.observability.history.records import RecordedRun
from tta_notebook.observability.history.times import When, instant_ns

Prices: TypeAlias = PriceBook | Mapping[str, Any]
Source: TypeAlias = History | Run[Any] | RecordedRun | Iterable[Run[Any] | RecordedRun]

_BEGINNING, _END = -(2**63), 2**63 - 1


def trace_of(source: Any, since: When | None, until: When | None, *, counts_replays: bool) -> Trace:
    """Return what a source has recorded between two moments.

    Raises:
        ConfigurationError: it records nothing, or a moment is none.
    """
    first = _BEGINNING if since is None else instant_ns("WhatIf", "since", since)
    last = _END if until is None else instant_ns("WhatIf", "until", until)
    if isinstance(source, History):
        return trace_of_history(source, first, last, counts_replays=counts_replays)
    if isinstance(source, Run | RecordedRun):
        return trace_of_runs([cast("object", source)], first, last, counts_replays=counts_replays)
    if isinstance(source, Iterable) and not isinstance(source, str | bytes):
        return trace_of_runs(
            cast("Iterable[object]", source), first, last, counts_replays=counts_replays
        )
    raise ConfigurationError(
        f"WhatIf: source={source!r} records nothing that could be asked. Give a History, a run, or "
        "a list of runs."
    )


def standing_prices() -> PriceBook:
    """Return the price book that `configure` has set, else the table of published prices."""
    prices = WorkflowContext().prices
    return prices if isinstance(prices, PriceBook) else standard_prices()


def book_of(owner: str, prices: object) -> PriceBook:
    """Return prices as a book.

    Raises:
        ConfigurationError: they are none.
    """
    if isinstance(prices, PriceBook):
        return prices
    if isinstance(prices, Mapping):
        return PriceBook(cast("Mapping[str, Price]", prices))
    raise ConfigurationError(
        f"{owner}: prices={prices!r} is no price book. Give a PriceBook, or a mapping of models to "
        "prices: {'model': Price(input_per_1m=…, output_per_1m=…)}."
    )
