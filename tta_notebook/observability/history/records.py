"""Runs as they were recorded: light, and readable without the code that ran."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cached_property
from typing import Any

from tta_notebook.core import money
from tta_notebook.core.usage import Usage
from tta_notebook.observability.history.times import moment

_COUNTS = tuple(field.name for field in fields(Usage))


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """A mark on a recorded span: a retry, a cache's hit."""

    name: str
    time: datetime
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RecordedSpan:
    """One recorded execution of one step.

    Attributes:
        id: 16 hexadecimal digits, as in the trace.
        started: in UTC.
        usage: the tokens it used itself.
        cost_pico: what its own calls cost; None without a price.
        request_key: stands for a model's request: equal for equal ones.
        attributes: what else a model's call said of itself.
        input: a short text of its input, where the history keeps content.
        output: the same of its result.
        events: its marks, in order.
        children: the spans under it, in the order in which they began.
    """

    id: str
    run_id: str
    parent_id: str | None
    name: str
    kind: str
    started: datetime
    duration_s: float
    status: str
    error_type: str | None
    error: str | None
    model: str | None
    provider: str | None
    source: str | None
    usage: Usage | None
    cost_pico: int | None
    finish_reason: str | None
    first_token_s: float | None
    request_key: str | None
    attributes: Mapping[str, Any]
    input: str | None
    output: str | None
    events: list[RecordedEvent] = field(default_factory=list[RecordedEvent], repr=False)
    children: list[RecordedSpan] = field(default_factory=list["RecordedSpan"], repr=False)

    @property
    def cost_usd(self) -> float | None:
        """What its own calls cost, in USD; None without a price."""
        return None if self.cost_pico is None else money.usd(self.cost_pico)


@dataclass(frozen=True)
class RecordedRun:
    """One recorded run; its spans are read when they are first asked for.

    Attributes:
        id: 16 hexadecimal digits, as `Run.id`.
        parent_run: the run inside of which it was started, which counts what this one used too.
        status: "running", "ok", "error", "cancelled", or "lost" when its process died.
        duration_s: None while it runs, and when it is lost.
        span_count: how many spans it had; fewer are recorded while it runs, or if some were lost.
        usage: what its steps used together.
        cost_pico: what its calls cost together, in pico-dollars.
        unpriced_calls: how many of them had no price.
    """

    id: str
    parent_run: str | None
    trace_id: str | None
    workflow: str | None
    session: str | None
    user: str | None
    correlation: str | None
    tags: Mapping[str, Any]
    metadata: Mapping[str, Any]
    started: datetime
    duration_s: float | None
    status: str
    error_type: str | None
    error: str | None
    span_count: int
    usage: Usage | None
    cost_pico: int | None
    unpriced_calls: int
    load: Callable[[str], list[RecordedSpan]] = field(repr=False, compare=False)

    @property
    def cost_usd(self) -> float | None:
        """What its calls cost together, in USD; None when none of them had a price."""
        return None if self.cost_pico is None else money.usd(self.cost_pico)

    @cached_property
    def spans(self) -> list[RecordedSpan]:
        """Its recorded spans in the order in which they began, linked to a tree."""
        return _linked(self.load(self.id))

    @property
    def roots(self) -> list[RecordedSpan]:
        """The spans that are under none of the others: one, once the run has ended."""
        known = {span.id for span in self.spans}
        return [span for span in self.spans if span.parent_id not in known]

    def __str__(self) -> str:
        cost = "" if self.cost_pico is None else f", {money.shown(self.cost_pico)}"
        time = "" if self.duration_s is None else f", {self.duration_s:.3g} s"
        lines = [f"{self.workflow}: {self.status}{time}{cost}"]
        for root in self.roots:
            lines += _drawn(root, 1)
        return "\n".join(lines)


def run_from(row: Mapping[str, Any], load: Callable[[str], list[RecordedSpan]]) -> RecordedRun:
    """Return a row of `runs` as a record."""
    same = "id parent_run trace_id workflow session user correlation duration_s status error_type "
    same += "error cost_pico unpriced_calls"
    return RecordedRun(
        **{name: row[name] for name in same.split()},
        tags=_data(row["tags"]),
        metadata=_data(row["metadata"]),
        started=moment(row["started_ns"]),
        span_count=row["spans"],
        usage=_usage(row),
        load=load,
    )


def span_from(row: Mapping[str, Any]) -> RecordedSpan:
    """Return a row of `spans` as a record, without its events and children."""
    same = "run_id parent_id name kind duration_s status error_type error model provider source "
    same += "cost_pico finish_reason first_token_s request_key input output"
    return RecordedSpan(
        **{name: row[name] for name in same.split()},
        id=row["span_id"],
        started=moment(row["started_ns"]),
        usage=_usage(row),
        attributes=_data(row["attributes"]),
    )


def event_from(row: Mapping[str, Any]) -> RecordedEvent:
    """Return a row of `events` as a record."""
    return RecordedEvent(row["name"], moment(row["time_ns"]), _data(row["data"]))


def _usage(row: Mapping[str, Any]) -> Usage | None:
    if row["input_tokens"] is None:
        return None
    counts = {name: row.get(name) or 0 for name in _COUNTS if name != "estimated"}
    return Usage(**counts, estimated=bool(row.get("estimated")))


def _data(text: str | None) -> Mapping[str, Any]:
    data: Mapping[str, Any] = {} if text is None else json.loads(text)
    return data


def _linked(spans: list[RecordedSpan]) -> list[RecordedSpan]:
    by_id = {span.id: span for span in spans}
    for span in spans:
        if span.parent_id in by_id:
            by_id[span.parent_id].children.append(span)
    return spans


def _drawn(span: RecordedSpan, depth: int) -> Sequence[str]:
    said = "" if span.status == "ok" else f" {span.status}"
    cost = "" if span.cost_pico is None else f" {money.shown(span.cost_pico)}"
    lines = [f"{'  ' * depth}{span.kind} {span.name!r}{said} {span.duration_s:.3g} s{cost}"]
    for child in span.children:
        lines += _drawn(child, depth + 1)
    return lines
