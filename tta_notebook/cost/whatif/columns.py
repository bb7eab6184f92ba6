"""What recorded runs say about calls, lookups and attempts: columns, for there may be millions."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

from tta_notebook.core import money
from tta_notebook.core.usage import Usage
from tta_notebook.observability.history.times import moment

UNKNOWN = -1
"""Stands for a number that is not known, in columns of numbers."""


def _numbers() -> array[int]:
    return array("q")


def _texts() -> list[str | None]:
    return []


class RecordedCall(NamedTuple):
    """One recorded call to a model, as a router's policy sees it.

    Attributes:
        time_ns: when it began, in nanoseconds since 1970; `time` is the same as a datetime.
        model: as it was asked for; None where a step reported tokens and no model.
        source: "live", "local", "replay" or "mock".
        usage: what it used; None when nothing came back.
        cost_usd: what it cost; None without a price.
        run_id: 16 hexadecimal digits, as `Run.id`.
        latency_s: from its start to its end.
        route: what the nearest router around it had chosen, if there was one.

    >>> from tta_notebook.cost.whatif import WhatIf
    >>> cheap_users = {"u-1"}
    >>> def policy(call: RecordedCall) -> str | None:
    ...     return "small" if call.user in cheap_users else None
    >>> WhatIf([]).route(policy).shares
    {}
    """

    time_ns: int
    model: str | None
    provider: str | None
    source: str | None
    usage: Usage | None
    cost_usd: float | None
    workflow: str | None
    user: str | None
    session: str | None
    run_id: str
    step: str | None
    latency_s: float
    status: str
    error_type: str | None
    route: str | None

    @property
    def time(self) -> datetime:
        """When it began, in UTC."""
        return moment(self.time_ns)


@dataclass(slots=True)
class Columns:
    """Rows by column; the subclass says which, in the order in which a row has them."""

    def extend(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows."""
        known: dict[Any, Any] = {}
        for place, column in enumerate(self._columns()):
            values = list(map(itemgetter(place), rows))
            if isinstance(column, list):
                # Equal texts of one page become one object: names repeat, and take up room.
                column.extend(map(known.setdefault, values, values))
            else:
                column.extend(values)

    def _columns(self) -> Iterator[array[int] | list[str | None]]:
        return (getattr(self, column.name) for column in fields(self))

    def __len__(self) -> int:
        return len(next(self._columns()))


@dataclass(slots=True)
class Calls(Columns):
    """Calls to models in the order in which they began; costs in pico-dollars."""

    time_ns: array[int] = field(default_factory=_numbers)
    duration_ns: array[int] = field(default_factory=_numbers)
    span_id: array[int] = field(default_factory=_numbers)
    run_id: array[int] = field(default_factory=_numbers)
    input_tokens: array[int] = field(default_factory=_numbers)
    output_tokens: array[int] = field(default_factory=_numbers)
    cached_tokens: array[int] = field(default_factory=_numbers)
    written_tokens: array[int] = field(default_factory=_numbers)
    reasoning_tokens: array[int] = field(default_factory=_numbers)
    cost: array[int] = field(default_factory=_numbers)
    max_output_tokens: array[int] = field(default_factory=_numbers)
    model: list[str | None] = field(default_factory=_texts)
    provider: list[str | None] = field(default_factory=_texts)
    source: list[str | None] = field(default_factory=_texts)
    served: list[str | None] = field(default_factory=_texts)
    workflow: list[str | None] = field(default_factory=_texts)
    user: list[str | None] = field(default_factory=_texts)
    session: list[str | None] = field(default_factory=_texts)
    step: list[str | None] = field(default_factory=_texts)
    status: list[str | None] = field(default_factory=_texts)
    error_type: list[str | None] = field(default_factory=_texts)
    request_key: list[str | None] = field(default_factory=_texts)

    def tokens(self, index: int) -> int:
        """Return how many tokens a call used, input and output; 0 when nothing came back."""
        return max(self.input_tokens[index], 0) + max(self.output_tokens[index], 0)

    def has_usage(self, index: int) -> bool:
        """Tell whether it is known what a call used; a call that was refused used nothing."""
        return self.input_tokens[index] != UNKNOWN

    def usage(self, index: int) -> Usage | None:
        """Return what a call used."""
        if not self.has_usage(index):
            return None
        return Usage(
            self.input_tokens[index],
            self.output_tokens[index],
            self.cached_tokens[index],
            self.written_tokens[index],
            self.reasoning_tokens[index],
        )

    def record(self, index: int, route: str | None) -> RecordedCall:
        """Return one call as an object."""
        cost = self.cost[index]
        return RecordedCall(
            self.time_ns[index],
            self.model[index],
            self.provider[index],
            self.source[index],
            self.usage(index),
            None if cost == UNKNOWN else money.usd(cost),
            self.workflow[index],
            self.user[index],
            self.session[index],
            hex_id(self.run_id[index]),
            self.step[index],
            self.duration_ns[index] / 1e9,
            self.status[index] or "ok",
            self.error_type[index],
            route,
        )


@dataclass(slots=True)
class Lookups(Columns):
    """Lookups of caches in the order in which they were noted."""

    time_ns: array[int] = field(default_factory=_numbers)
    started_ns: array[int] = field(default_factory=_numbers)
    duration_ns: array[int] = field(default_factory=_numbers)
    span_id: array[int] = field(default_factory=_numbers)
    run_id: array[int] = field(default_factory=_numbers)
    is_hit: array[int] = field(default_factory=_numbers)
    is_joined: array[int] = field(default_factory=_numbers)
    saved_tokens: array[int] = field(default_factory=_numbers)
    key: list[str | None] = field(default_factory=_texts)
    cache: list[str | None] = field(default_factory=_texts)
    kind: list[str | None] = field(default_factory=_texts)
    user: list[str | None] = field(default_factory=_texts)
    status: list[str | None] = field(default_factory=_texts)


def hex_id(number: int) -> str:
    """Return an identity as it is shown; SQLite's integers have a sign.

    >>> hex_id(-1)
    'ffffffffffffffff'
    """
    return f"{number & (2**64 - 1):016x}"
