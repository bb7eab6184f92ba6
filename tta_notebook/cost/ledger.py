"""The books: what every call to a model used and cost, and whom it is to be charged to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, SupportsIndex

from tta_notebook.core import checked, clock, moments, travel
from tta_notebook.core.context import WorkflowContext, current_context
from tta_notebook.core.errors import ArgumentError, ConfigurationError, Names
from tta_notebook.core.money import decimal_usd, shown, usd
from tta_notebook.core.protocols import PlannedCall, Prices
from tta_notebook.core.usage import Usage
from tta_notebook.cost.books import DIMENSIONS, TAG, Books, FileBooks, MemoryBooks, PostedBooks
from tta_notebook.cost.entry import REPORTED, LedgerEntry, entry_of
from tta_notebook.cost.report import LedgerReport
from tta_notebook.cost.totals import Totals
from tta_notebook.llm.pricing import standard_prices

if TYPE_CHECKING:
    import pandas as pd

_MOST_TOKENS = 10**12


class Ledger:
    """Books calls to models: exactly, when they settle, and whoever else looks on.

    It is a guard: `WorkflowContext().using(guards=(ledger,))` books a run's calls, and
    `configure(guards=[ledger])` those of all runs. Failed attempts, losers of a hedge and streams
    that were read in half are booked like any call: what the provider counts is what is booked.
    Answers of a cache cost nothing and are not.

    Without a file, sums are kept exactly and the newest entries in full. In a file every entry is
    kept, and processes that share it see each other's.

    Args:
        prices: prices calls inside a `CostTrackingPrimitive`, and what `record` is told.
        path: a SQLite file to keep the books in.
        counts_replays: book answers from a recording, too, at what they cost when recorded.
        keep: how many entries to keep where there is no file.

    >>> from tta_notebook import Price, PriceBook, Usage
    >>> ledger = Ledger(PriceBook(overrides={"m": Price(input_per_1m=2, output_per_1m=10)}))
    >>> entry = ledger.record("m", Usage(input_tokens=1_000, output_tokens=200), user="u-1")
    >>> ledger.total_usd, ledger.by("user")
    (0.004, {'u-1': 0.004})
    """

    needs_input_bound = False

    def __init__(
        self,
        prices: Prices | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        counts_replays: bool = False,
        keep: int = 100_000,
    ) -> None:
        if prices is not None and not callable(getattr(prices, "quote", None)):
            raise ConfigurationError(
                f"Ledger: prices={prices!r} is a {type(prices).__name__}, which cannot be asked "
                "for a price. Give a PriceBook."
            )
        self.prices = prices
        self.counts_replays = counts_replays
        self._books: Books = (
            MemoryBooks(checked.count("Ledger", "keep", keep)) if path is None else FileBooks(path)
        )

    @classmethod
    def posting(
        cls,
        post: Callable[[LedgerEntry], object],
        prices: Prices | None,
        *,
        counts_replays: bool,
        keep: int = 100_000,
    ) -> Ledger:
        """Return a ledger that hands on what it books: a copy of one in another process.

        Args:
            post: takes an entry to the other one, whose `book` it is for.
            prices: as for the constructor.
            counts_replays: the same.
            keep: the same.
        """
        ledger = cls(prices, counts_replays=counts_replays)
        ledger._books = PostedBooks(keep, post)
        return ledger

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        if isinstance(self._books, MemoryBooks):
            return travel.by_reference(self)
        return super().__reduce_ex__(protocol)

    def __repr__(self) -> str:
        all_of_it = self.totals()
        return f"<Ledger {all_of_it.requests} calls, {shown(all_of_it.cost_pico)}>"

    # What is booked

    async def reserve(self, call: PlannedCall) -> _Line:
        """Open a line for a call, as a guard: it is written when the call settles."""
        return _Line(self._books, call)

    def record(
        self,
        model: str,
        usage: Usage | Mapping[str, Any],
        *,
        context: WorkflowContext | None = None,
        user: str | None = None,
        workflow: str | None = None,
    ) -> LedgerEntry:
        """Book a call that was made elsewhere, and return its entry.

        Args:
            model: its name, which its price is looked up by.
            usage: its tokens, in any of the usual forms.
            context: whose it is; by default the current one's, if there is one.
            user: who it was for, where there is no context.
            workflow: the workflow's name, where there is no context.

        Raises:
            ArgumentError: the usage says nothing, or what cannot be.
        """
        used = Usage.read(usage)
        if used is None or used.total_tokens > _MOST_TOKENS:
            raise ArgumentError(
                f"Ledger.record: usage={usage!r} cannot be what a call used. Give a Usage, or a "
                "mapping with input_tokens and output_tokens (or prompt_ and completion_tokens)."
            )
        whose = context or current_context()
        if user is not None or workflow is not None:
            whose = WorkflowContext(workflow, user_id=user)
        quote = (self.prices or standard_prices()).quote(model)
        entry = entry_of(model, used, quote, whose, source=REPORTED)
        self._books.add(entry)
        return entry

    def book(self, entry: LedgerEntry) -> None:
        """Book an entry that another ledger has made."""
        self._books.add(entry)

    def clear(self) -> None:
        """Forget everything; in a file also what other processes have booked."""
        self._books.clear()

    # What can be asked

    @property
    def total_usd(self) -> float:
        """What everything with a price has cost, in USD."""
        return usd(self.totals().cost_pico)

    @property
    def total_decimal(self) -> Decimal:
        """The same, exact."""
        return decimal_usd(self.totals().cost_pico)

    @property
    def total_tokens(self) -> int:
        """Input and output of all calls."""
        return self.totals().tokens

    @property
    def total_requests(self) -> int:
        """How many calls there were."""
        return self.totals().requests

    @property
    def unpriced(self) -> int:
        """How many of them have no price: what they cost is in no sum."""
        return self.totals().unpriced

    @property
    def entries(self) -> Sequence[LedgerEntry]:
        """The newest entries, oldest first; in a file all of them."""
        return self._books.entries()

    def totals(self, since: datetime | timedelta | None = None) -> Totals:
        """Return the sums over all calls, or over those since a moment or for so long."""
        return self._books.totals(None, _since_ns(since)).get("", Totals())

    def by(self, dimension: str, since: datetime | timedelta | None = None) -> dict[str, float]:
        """Return USD by a dimension, the largest first.

        Args:
            dimension: "model", "user", "workflow", "step", "session", "provider", "source", "day"
                (in UTC), or "tag:NAME" for a label of the context.
            since: a moment, or a length of time until now.

        Raises:
            ArgumentError: there is no such dimension.
        """
        return {name: usd(each.cost_pico) for name, each in self.lines(dimension, since).items()}

    def lines(self, dimension: str, since: datetime | timedelta | None = None) -> dict[str, Totals]:
        """Return all sums by a dimension, the most expensive first; see `by`."""
        if dimension not in DIMENSIONS and not (
            isinstance(dimension, str) and dimension.startswith(TAG)
        ):
            known = Names((*DIMENSIONS, "tag:NAME")).instead_of(dimension)
            raise ArgumentError(
                f"Ledger: calls do not add up by {dimension!r}. Add them up by one of {known}."
            )
        sums = self._books.totals(dimension, _since_ns(since))
        return dict(sorted(sums.items(), key=lambda each: (-each[1].cost_pico, each[0])))

    def report(self, since: datetime | timedelta | None = None) -> LedgerReport:
        """Return totals and sums by model, user and workflow, as text and as HTML."""
        return LedgerReport(
            self.totals(since), {name: self.lines(name, since) for name in LedgerReport.PARTS}
        )

    def frame(self) -> pd.DataFrame:
        """Return the entries as a pandas DataFrame, one a row; `at` is UTC."""
        import pandas as pd  # noqa: PLC0415 - only who asks for a frame pays for pandas

        entries = self.entries
        columns = {name: [getattr(entry, name) for entry in entries] for name in _IN_FRAME}
        tokens = {name: [getattr(entry.usage, name) for entry in entries] for name in _TOKENS}
        cost = [None if e.cost_pico is None else usd(e.cost_pico) for e in entries]
        at = pd.to_datetime([entry.at_ns for entry in entries], unit="ns", utc=True)
        frame = pd.DataFrame({"at": at, **columns, **tokens, "cost_usd": cost})
        return frame.astype({"cost_usd": "float64"})

    def _repr_html_(self) -> str:
        return self.report().to_html()

    def close(self) -> None:
        """Close the file, if there is one; the next use opens it again."""
        if isinstance(self._books, FileBooks):
            self._books.close()


class _Line:
    """A line that is opened before a call and written once, after it."""

    max_output_tokens: int | None = None

    def __init__(self, books: Books, call: PlannedCall) -> None:
        self._books = books
        self._call: PlannedCall | None = call

    def settle(self, usage: Any) -> None:
        call, self._call = self._call, None
        if call is not None:
            self._books.add(
                entry_of(
                    call.model,
                    usage,
                    call.quote,
                    call.context,
                    provider=call.provider,
                    source=call.source,
                )
            )

    def release(self) -> None:
        self._call = None


_IN_FRAME = ("model", "provider", "source", "user", "workflow", "step", "session", "price_date")
_TOKENS = Usage.__slots__


def _since_ns(since: datetime | timedelta | None) -> int:
    if since is None:
        return 0
    if isinstance(since, timedelta):
        return moments.ns_before(clock.now_ns(), since)
    if not isinstance(since, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(
            f"since={since!r} is a {type(since).__name__}, which is no point in time. Give a "
            "datetime or a timedelta."
        )
    return moments.ns_of(since)
