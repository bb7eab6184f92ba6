"""What a budget would have refused."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, NamedTuple

from tta_notebook.core import money
from tta_notebook.cost.entry import NONE
from tta_notebook.cost.whatif.answer import Answer, Table, between, counted, data_frame, interval
from tta_notebook.cost.whatif.columns import UNKNOWN, Calls, hex_id
from tta_notebook.cost.whatif.tariff import Tariffs
from tta_notebook.cost.whatif.trace import Trace
from tta_notebook.cost.windows import Per
from tta_notebook.llm.prices import PriceBook
from tta_notebook.observability.history.times import moment

if TYPE_CHECKING:
    import pandas as pd

SCOPES = ("user", "workflow", "session", "model", "provider")

# Zones differ from UTC by whole quarters of an hour, so a day begins with one.
_QUARTER_NS = 15 * 60 * 10**9


@dataclass
class Account:
    """What one budget would have seen.

    Attributes:
        window: the day, month or run; empty for all time.
        scope: whose it is; empty for everybody's.
        recorded_pico: what was spent in it.
        spent_pico: what would have been.
        refused: calls for which too little was left.
        dropped: calls that would not have come, because their run had ended.
        exhausted: when the first call was refused.
    """

    window: str
    scope: str
    recorded_pico: int = 0
    spent_pico: int = 0
    made: int = 0
    refused: int = 0
    dropped: int = 0
    exhausted: datetime | None = None


@dataclass(frozen=True)
class BudgetWalk:
    """One way in which it would have gone.

    Attributes:
        accounts: one for each window and scope, in the order in which they began.
        refused: the places of the calls for which too little was left.
        dropped: of those that would not have come.
        runs: the runs that had a call refused.
    """

    accounts: tuple[Account, ...]
    refused: tuple[int, ...] = field(repr=False)
    dropped: tuple[int, ...] = field(repr=False)
    runs: frozenset[str] = field(repr=False)

    @property
    def spent_pico(self) -> int:
        """What would have been spent."""
        return sum(account.spent_pico for account in self.accounts)

    @property
    def spent_usd(self) -> float:
        """The same in USD."""
        return money.usd(self.spent_pico)


@dataclass(frozen=True, repr=False)
class BudgetReplay(Answer):
    """What a budget would have done to the recorded calls, in the order in which they began.

    A call is refused when what it cost is more than is left. That is the least a budget holds for
    it; where a call's `max_output_tokens` is known, the `strict` ways hold what it could have cost.

    Attributes:
        question: what was asked, for titles.
        continues: how it goes if a run goes on without a refused call.
        ends: how it goes if a refused call ends its run.
        strict_continues: as `continues`, holding the worst case of `bounded` calls.
        strict_ends: as `ends`, the same way.
        bounded: how many calls have a known worst case.

    >>> from tta_notebook.cost.whatif import WhatIf
    >>> WhatIf([]).budget(5, per="day").refused
    (0, 0)
    """

    question: str
    continues: BudgetWalk
    ends: BudgetWalk
    strict_continues: BudgetWalk
    strict_ends: BudgetWalk
    bounded: int

    @property
    def ways(self) -> dict[str, BudgetWalk]:
        """The ways in which it could have gone, by name."""
        ways = {"run continues": self.continues, "run ends": self.ends}
        if self.bounded:
            ways |= {"strict, continues": self.strict_continues, "strict, ends": self.strict_ends}
        return ways

    @property
    def refused(self) -> tuple[int, int]:
        """How many calls would have been refused, at least and at most."""
        counts = [len(way.refused) for way in self.ways.values()]
        return min(counts), max(counts)

    @property
    def spent_usd(self) -> tuple[float, float]:
        """What would have been spent, at least and at most."""
        spent = [way.spent_usd for way in self.ways.values()]
        return min(spent), max(spent)

    def table(self) -> Table:
        """Return a line for each way, and what they come to."""
        head = ("", "refused", "dropped", "runs hit", "windows exhausted", "spent")
        rows = [
            (
                name,
                f"{len(way.refused):,}",
                f"{len(way.dropped):,}",
                f"{len(way.runs):,}",
                f"{sum(account.exhausted is not None for account in way.accounts):,}",
                money.shown(way.spent_pico),
            )
            for name, way in self.ways.items()
        ]
        spent = [way.spent_pico for way in self.ways.values()]
        rows.append(
            ("between", between(*self.refused), "", "", "", interval(min(spent), max(spent)))
        )
        return Table(self.question, head, rows)

    def frame(self) -> pd.DataFrame:
        """Return a row for each way, window and scope."""
        rows = [(name, each) for name, way in self.ways.items() for each in way.accounts]
        return data_frame(
            {
                "way": [name for name, _ in rows],
                "window": [each.window for _, each in rows],
                "scope": [each.scope for _, each in rows],
                "recorded_usd": [money.usd(each.recorded_pico) for _, each in rows],
                "spent_usd": [money.usd(each.spent_pico) for _, each in rows],
                "made": [each.made for _, each in rows],
                "refused": [each.refused for _, each in rows],
                "dropped": [each.dropped for _, each in rows],
                "exhausted": [each.exhausted for _, each in rows],
            }
        )


def budget_replay(
    trace: Trace,
    limit_pico: int,
    per: Per,
    scope: str | None,
    zone: tzinfo,
    *,
    prices: PriceBook,
    question: str,
) -> BudgetReplay:
    """Return what a budget would have done; see `WhatIf.budget`."""
    calls = trace.calls
    used = [place for place in range(len(calls)) if calls.has_usage(place)]
    places = [place for place in used if calls.cost[place] != UNKNOWN]
    names = list(zip(_windows(trace, per, zone), _scopes(trace, scope), strict=True))
    worst = _worst_cases(calls, places, prices)
    least = [_Asked(place, calls.cost[place], names[place]) for place in places]
    continues = _walk(trace, least, limit_pico, ends=False)
    ends = _walk(trace, least, limit_pico, ends=True)
    strict_continues, strict_ends = continues, ends
    if worst:
        most = [each._replace(held=max(each.held, worst.get(each.place, 0))) for each in least]
        strict_continues = _walk(trace, most, limit_pico, ends=False)
        strict_ends = _walk(trace, most, limit_pico, ends=True)
    caveats = tuple(_gaps(calls, len(used) - len(places)))
    return BudgetReplay(
        caveats, question, continues, ends, strict_continues, strict_ends, len(worst)
    )


class _Asked(NamedTuple):
    """A call, what a budget holds for it, and whose budget."""

    place: int
    held: int
    names: tuple[str, str]


def _worst_cases(calls: Calls, places: Sequence[int], prices: PriceBook) -> dict[int, int]:
    """Return what calls could have cost at most, for those of which it is known."""
    found: dict[int, int] = {}
    tariffs = Tariffs(prices, None)
    for place in places:
        most, model = calls.max_output_tokens[place], calls.model[place]
        if most == UNKNOWN or model is None:
            continue
        tariff = tariffs.of(model, calls.provider[place], calls.served[place], calls.time_ns[place])
        if tariff is not None:
            found[place] = tariff.worst_case(calls.input_tokens[place], most)
    return found


def _walk(trace: Trace, asked: Sequence[_Asked], limit_pico: int, *, ends: bool) -> BudgetWalk:
    calls = trace.calls
    accounts: dict[tuple[str, str], Account] = {}
    ended: set[int] = set()
    refused: list[int] = []
    dropped: list[int] = []
    for place, held, names in asked:
        account = accounts.get(names)
        if account is None:
            account = accounts[names] = Account(*names)
        cost, run = calls.cost[place], trace.outermost(calls.run_id[place])
        account.recorded_pico += cost
        if ends and run in ended:
            account.dropped += 1
            dropped.append(place)
        elif held and account.spent_pico + held > limit_pico:  # what costs nothing is let through
            account.refused += 1
            account.exhausted = account.exhausted or moment(calls.time_ns[place])
            refused.append(place)
            ended.add(run)
        else:
            account.made += 1
            account.spent_pico += cost
    runs = frozenset(hex_id(calls.run_id[place]) for place in refused)
    return BudgetWalk(tuple(accounts.values()), tuple(refused), tuple(dropped), runs)


def _windows(trace: Trace, per: Per, zone: tzinfo) -> Iterator[str]:
    calls = trace.calls
    if per == "total":
        return iter([""] * len(calls))
    if per == "request":
        return map(str, range(len(calls)))
    if per == "run":
        return (hex_id(trace.outermost(run)) for run in calls.run_id)
    return _days(trace, "%Y-%m-%d" if per == "day" else "%Y-%m", zone)


def _days(trace: Trace, form: str, zone: tzinfo) -> Iterator[str]:
    quarter, name = None, ""
    for time_ns in trace.calls.time_ns:
        if time_ns // _QUARTER_NS != quarter:
            quarter = time_ns // _QUARTER_NS
            name = datetime.fromtimestamp(time_ns / 1e9, zone).strftime(form)
        yield name


def _scopes(trace: Trace, scope: str | None) -> Iterator[str]:
    if scope is None:
        return iter([""] * len(trace.calls))
    values: list[Hashable] = getattr(trace.calls, scope)
    return (NONE if value is None else str(value) for value in values)


def _gaps(calls: Calls, unpriced: int) -> Iterator[str]:
    if not len(calls):
        yield "No call to a model is recorded, so a budget would have had nothing to do."
        return
    if unpriced:
        has = counted(unpriced, "call", ("has", "have"))
        yield (
            f"{has} no recorded cost, and counts in no sum: a budget refuses every call to a model "
            "without a price."
        )
    unbounded = sum(most == UNKNOWN for most in calls.max_output_tokens)
    if unbounded:
        says = counted(unbounded, "call", ("does", "do"))
        yield (
            f"{says} not say how long its answer could have been. A budget holds that worst case "
            "while a call is under way, so it may make others wait, and cap answers."
        )
    yield (
        "What a run does after a refused call is not recorded: it may end there, go on, or fall "
        "back to a cheaper model. The ways above are extremes."
    )
