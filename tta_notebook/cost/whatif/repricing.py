"""Recorded calls at other prices, or under other models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tta_notebook.core import money
from tta_notebook.cost.whatif.answer import (
    Answer,
    Table,
    counted,
    data_frame,
    interval,
    tallied,
)
from tta_notebook.cost.whatif.columns import UNKNOWN, Calls, hex_id
from tta_notebook.cost.whatif.tariff import Tariffs, fewest, most

if TYPE_CHECKING:
    import pandas as pd

# Measured on 2026-11-25 on this package's documentation (English), its source (Python) and a list
# of records (JSON): the vocabularies o200k_base, cl100k_base and that of SmolLM2 take between 0.77
# and 1.29 times as many tokens as one another, rounded outwards here. German prose takes up to 1.66
# times as many, Chinese up to 2.57: who has such texts states a wider range.
TOKEN_RATIO = (0.75, 1.35)

SAME_TOKENS = (1.0, 1.0)

_NAMELESS = "no model named"

Choose = Callable[[int], str | None]
"""Gives the model that a call at a place would have gone to; None leaves it where it went."""


class CallCost(NamedTuple):
    """What one call cost and would cost, in pico-dollars; None where nobody knows.

    Attributes:
        low: the least that it would cost.
        high: the most.
    """

    model: str | None
    recorded: int | None
    new: int | None
    low: int | None
    high: int | None


@dataclass(slots=True)
class ModelSum:
    """What the calls of one model would come to.

    Attributes:
        recorded: what those of them cost that had a price.
    """

    calls: int = 0
    recorded: int = 0
    new: int = 0
    low: int = 0
    high: int = 0

    def add(self, recorded: int, new: int, low: int, high: int) -> None:
        """Count a call."""
        self.calls += 1
        self.recorded += recorded
        self.new += new
        self.low += low
        self.high += high


@dataclass(frozen=True, repr=False)
class Repriced(Answer):
    """What recorded calls would have cost; `_usd` is in USD, all else in pico-dollars.

    Attributes:
        question: what was asked, for titles.
        costs: one for each call, in the order in which they began.
        models: what goes to which model; under the recorded names where nothing changes.
        unpriced: the models that have no price, and how many calls: those count in no sum.
        unrecorded: how many calls had no recorded price: those count in `new` alone.
        compared: what the calls with both prices cost, and would cost.

    >>> from tta_notebook import Price
    >>> from tta_notebook.cost.whatif import WhatIf
    >>> WhatIf([], prices={"m": Price(input_per_1m=1, output_per_1m=2)}).reprice("m").new_usd
    0.0
    """

    question: str
    costs: list[CallCost] = field(repr=False)
    models: dict[str, ModelSum]
    unpriced: dict[str, int]
    unrecorded: int
    compared: ModelSum
    _calls: Calls = field(repr=False, compare=False)

    @property
    def recorded_usd(self) -> float:
        """What the calls cost that have both prices, in USD."""
        return money.usd(self.compared.recorded)

    @property
    def new_usd(self) -> float:
        """What all calls would have cost that would have a price, in USD."""
        return money.usd(sum(each.new for each in self.models.values()))

    @property
    def new_interval_usd(self) -> tuple[float, float]:
        """Between what it lies."""
        sums = self.models.values()
        return money.usd(sum(s.low for s in sums)), money.usd(sum(s.high for s in sums))

    @property
    def difference_usd(self) -> float:
        """What would have been spent beyond what was, over calls that have both prices."""
        return money.usd(self.compared.new - self.compared.recorded)

    @property
    def difference_interval_usd(self) -> tuple[float, float]:
        """Between what it lies."""
        sums = self.compared
        return money.usd(sums.low - sums.recorded), money.usd(sums.high - sums.recorded)

    @property
    def shares(self) -> dict[str, float]:
        """Which part of the calls goes to which model, as a rate."""
        total = sum(each.calls for each in self.models.values())
        return {model: each.calls / total for model, each in self.models.items()}

    def table(self) -> Table:
        """Return a line for each model."""
        head = ("model", "calls", "share", "recorded", "new", "from to")
        shares = self.shares
        rows = [
            (model, f"{each.calls:,}", f"{shares[model]:.0%}", *_amounts(each))
            for model, each in self.models.items()
        ]
        compared = self.compared
        rows.append(("both known", f"{compared.calls:,}", "", *_amounts(compared)))
        return Table(self.question, head, rows)

    def frame(self) -> pd.DataFrame:
        """Return a row for each call."""
        calls, costs = self._calls, self.costs
        return data_frame(
            {
                "time_ns": list(calls.time_ns),
                "run_id": [hex_id(run) for run in calls.run_id],
                "workflow": calls.workflow,
                "step": calls.step,
                "model": calls.model,
                "new_model": [cost.model for cost in costs],
                "recorded_usd": [_usd(cost.recorded) for cost in costs],
                "new_usd": [_usd(cost.new) for cost in costs],
                "low_usd": [_usd(cost.low) for cost in costs],
                "high_usd": [_usd(cost.high) for cost in costs],
            }
        )


def reprice(
    calls: Calls,
    choose: Choose,
    tariffs: Tariffs,
    *,
    token_ratio: tuple[float, float],
    keeps_costs: bool,
    question: str,
    caveats: tuple[str, ...],
) -> Repriced:
    """Return what calls would have cost.

    Args:
        calls: the recorded ones.
        choose: gives the model for each.
        tariffs: the prices.
        token_ratio: how many tokens another model takes for one of the recorded model's.
        keeps_costs: whether a call whose model stays costs what was recorded.
        question: what is asked.
        caveats: what cannot be answered, whatever the numbers.
    """
    costs = list(_costs(calls, choose, tariffs, token_ratio, keeps_costs=keeps_costs))
    models: dict[str, ModelSum] = {}
    compared = ModelSum()
    unpriced: Counter[str] = Counter()
    unrecorded = 0
    for cost, input_tokens in zip(costs, calls.input_tokens, strict=True):
        name, recorded, new, low, high = cost
        sums = models.get(name or _NAMELESS)
        if sums is None:
            sums = models[name or _NAMELESS] = ModelSum()
        if new is None or recorded is None:
            sums.add(recorded or 0, new or 0, low or 0, high or 0)
            if input_tokens != UNKNOWN:
                unpriced[name or _NAMELESS] += new is None
                unrecorded += recorded is None
            continue
        sums.add(recorded, new, low or 0, high or 0)
        compared.add(recorded, new, low or 0, high or 0)
    unpriced = +unpriced  # without those that have a price after all
    return Repriced(
        (*_gaps(calls, unpriced, unrecorded), *caveats),
        question,
        costs,
        models,
        dict(unpriced),
        unrecorded,
        compared,
        calls,
    )


def _costs(
    calls: Calls,
    choose: Choose,
    tariffs: Tariffs,
    token_ratio: tuple[float, float],
    *,
    keeps_costs: bool,
) -> Iterator[CallCost]:
    columns = zip(
        calls.model,
        calls.cost,
        calls.provider,
        calls.served,
        calls.time_ns,
        zip(
            calls.input_tokens,
            calls.output_tokens,
            calls.cached_tokens,
            calls.written_tokens,
            calls.reasoning_tokens,
            strict=True,
        ),
        strict=True,
    )
    low, high = token_ratio
    for place, (model, cost, provider, served, time_ns, counts) in enumerate(columns):
        recorded = None if cost == UNKNOWN else cost
        other = None if model is None else choose(place)
        is_same = other is None or other == model
        name = model if is_same else other
        if counts[0] == UNKNOWN or name is None or (is_same and keeps_costs):
            # Nothing was used, there is no model to be replaced, or nothing changes.
            yield CallCost(name, recorded, recorded, recorded, recorded)
            continue
        if is_same:
            tariff = tariffs.of(name, provider, served, time_ns)
        else:
            tariff = tariffs.of(name, None, None, time_ns)
        if tariff is None:
            yield CallCost(name, recorded, None, None, None)
            continue
        new = tariff.cost(counts)
        if is_same:
            yield CallCost(name, recorded, new, new, new)
            continue
        least, dearest = tariff.cost(fewest(counts, low)), tariff.cost(most(counts, high))
        yield CallCost(name, recorded, new, min(least, new), max(dearest, new))


def _gaps(calls: Calls, unpriced: Counter[str], unrecorded: int) -> Iterator[str]:
    if not len(calls):
        yield "No call to a model is recorded, so there is nothing to price."
    if unpriced:
        have = counted(unpriced.total(), "call", ("would have", "would have"))
        yield f"{have} no price and counts in no sum of the new costs: {tallied(unpriced)}."
    if unrecorded:
        have = counted(unrecorded, "call", ("has", "have"))
        yield f"{have} no recorded cost; the difference is over the others."
    nameless = sum(model is None for model in calls.model)
    if nameless:
        name = counted(nameless, "call", ("names", "name"))
        yield f"{name} no model (embeddings, say), and stays as it was recorded."
    failed = calls.input_tokens.count(UNKNOWN)
    if failed:
        used = counted(failed, "call", ("reports", "report"))
        yield f"{used} no usage: refused or lost before an answer, and taken to cost nothing again."


def _amounts(sums: ModelSum) -> tuple[str, str, str]:
    return money.shown(sums.recorded), money.shown(sums.new), interval(sums.low, sums.high)


def _usd(pico: int | None) -> float | None:
    return None if pico is None else money.usd(pico)
