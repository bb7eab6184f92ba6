"""Spans and runs as rows of the history's tables.

This runs in the thread that writes, while it holds the interpreter: what most spans are, a step
without notes or usage, takes about a microsecond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tta_notebook.core import clock
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.events import Note, Span
from tta_notebook.core.run import Run
from tta_notebook.core.usage import Usage
from tta_notebook.observability.history.ids import Shifts, identity_of
from tta_notebook.observability.history.json import json_of, real_of, text_of
from tta_notebook.observability.history.schema import words

PLAIN = words("span_id run_id parent_id name kind started_ns duration_ns status")
DETAILS = words(
    "error_type error model provider source input_tokens output_tokens cached_input_tokens "
    "cache_write_tokens reasoning_tokens estimated cost_pico finish_reason first_token_s "
    "request_key price_id attributes input output"
)
EVENTS = words("span_id number name time_ns data")
PRICES = words("id model provider date source price")
RUNS = words(
    "id parent_run trace_id remote_parent workflow session user correlation tags metadata "
    "started_ns duration_ns status error_type error spans input_tokens output_tokens cost_pico "
    "unpriced_calls owner"
)

# What a model's note says that has a column, or is no attribute of the call.
_IN_COLUMNS = frozenset(
    words("model provider source usage cost_usd cost_pico finish_reason first_token_s request_key")
)
_PRICE = ("price_date", "price_source", "price")


@dataclass(slots=True)
class Rows:
    """Rows to be inserted, each table's one after the other in one flat list."""

    plain: list[Any] = field(default_factory=list[Any])
    detailed: list[Any] = field(default_factory=list[Any])
    events: list[Any] = field(default_factory=list[Any])
    prices: list[Any] = field(default_factory=list[Any])


class SpanRows:
    """Makes rows of spans that have ended.

    Args:
        span_ids: what is to be added to the identities of spans.
        run_ids: the same for runs.
        content: whether previews of inputs and results are kept.
    """

    def __init__(self, span_ids: Shifts, run_ids: Shifts, *, content: bool) -> None:
        self._span_ids = span_ids
        self._run_ids = run_ids
        self._content = content
        self._wall_ns = clock.wall_ns(0)

    def of(self, spans: Sequence[Span]) -> Rows:
        """Return the rows of some spans, their notes and their prices."""
        rows = Rows()
        plain, shifts, wall_ns = rows.plain, self._span_ids, self._wall_ns
        last_run: object = None
        run_id = 0
        # One loop without calls of our own: see above.
        for span in spans:
            around = span.around
            if around.run is not last_run:
                last_run = span.run
                run_id = stored_id(last_run, self._run_ids)
            parent, primitive, number = around.span, span.primitive, span.span_id
            row = (
                number + shifts[number >> 32],
                run_id,
                None if parent is None else parent.span_id + shifts[parent.span_id >> 32],
                primitive.name,
                primitive.kind,
                span.start_ns + wall_ns,
                span.end_ns - span.start_ns,
            )
            if span.is_plain:
                plain += row
                plain.append("ok")
            else:
                rows.detailed += (*row, span.status, *self._details(span, row[0], rows))
        return rows

    def _details(self, span: Span, span_id: int, rows: Rows) -> Sequence[Any]:
        called: Mapping[str, Any] | None = None
        for number, note in enumerate(tuple(span.notes)):
            if note.name == "model":
                called = note.data
            else:
                rows.events += self._event(span_id, number, note)
        model, attributes, price_id = None, None, None
        if called is not None:
            model = text_of(called.get("model"))
            price_id = _price(called, model, rows)
            left = {name: value for name, value in called.items() if name not in _IN_COLUMNS}
            attributes = json_of(left)
        says = (called or {}).get
        return (
            *_error_of(span.error),
            model,
            text_of(says("provider")),
            text_of(says("source")),
            *_usage_of(span.usage),
            span.cost_pico,
            text_of(says("finish_reason")),
            real_of(says("first_token_s")),
            text_of(says("request_key")),
            price_id,
            attributes,
            text_of(span.input_preview) if self._content else None,
            text_of(span.output_preview) if self._content else None,
        )

    def _event(self, span_id: int, number: int, note: Note) -> Sequence[Any]:
        time_ns = note.time_ns + self._wall_ns
        return span_id, number, text_of(note.name), time_ns, json_of(note.data)


def run_row(run: Run[Any], run_ids: Shifts, owner: str) -> Sequence[Any]:
    """Return the row of a run as it stands."""
    root, usage = run.root, run.usage
    outer = run._outer  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - our own class
    start_ns = run.start_ns if root is None else root.start_ns
    end_ns = run.end_ns if root is None else root.end_ns
    ended = run if root is None else root
    return (
        stored_id(run, run_ids),
        None if outer is None else stored_id(outer, run_ids),
        *_whose(run.context, run.workflow_name),
        clock.wall_ns(start_ns),
        end_ns - start_ns if end_ns else None,
        ended.status,
        *_error_of(ended.error),
        len(run.spans) + run.spans_dropped,
        None if usage is None else usage.input_tokens,
        None if usage is None else usage.output_tokens,
        run.cost_pico,
        run.unpriced_calls,
        owner,
    )


def stored_id(run: Run[Any], run_ids: Shifts) -> int:
    """Return the identity under which a run is stored."""
    number = run._number  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - our own class
    return number + run_ids[number >> 32]


def _whose(context: WorkflowContext | None, workflow: str) -> Sequence[Any]:
    if context is None:
        return (None, None, text_of(workflow), None, None, None, None, None)
    # What was never asked for is not made: most runs have no correlation id, tags or metadata.
    shared = context.shared
    metadata = dict(shared.metadata) if shared.metadata else {}
    user = metadata.pop("user_id", None)
    return (
        context.trace_id_hex,
        text_of(context.remote_parent_hex),
        text_of(workflow),
        text_of(shared.session_id),
        text_of(user),
        text_of(shared.correlation_id),
        json_of(shared.tags) if shared.tags else None,
        json_of(metadata) if metadata else None,
    )


def _usage_of(usage: Usage | None) -> Sequence[Any]:
    if usage is None:
        return (None,) * 6
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        usage.estimated,
    )


def _error_of(error: BaseException | None) -> Sequence[Any]:
    if error is None:
        return None, None
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - someone's error may raise anything when it is shown
        said = ""
    return text_of(type(error).__name__), text_of(said)


def _price(called: Mapping[str, Any], model: str | None, rows: Rows) -> int | None:
    date, source, price = (called.get(name) for name in _PRICE)
    if date is None and source is None:
        return None
    row = (
        model,
        text_of(called.get("provider")),
        text_of(date),
        text_of(source),
        None if price is None else json_of(price),
    )
    price_id = identity_of(repr(row))
    rows.prices += (price_id, *row)
    return price_id
