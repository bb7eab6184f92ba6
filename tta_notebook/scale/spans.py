"""Spans of another process: how they are recorded there, and how they join the run here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tta_notebook.core import clock
from tta_notebook.core.context import WorkflowContext, context_of
from tta_notebook.core.events import Span
from tta_notebook.core.ids import span_ids
from tta_notebook.core.run import Run
from tta_notebook.scale.messages import Outcome, SpanRecord
from tta_notebook.scale.places import Places
from tta_notebook.scale.skew import Between

# There


def recorded(spans: Sequence[Span], places: Places) -> tuple[SpanRecord, ...]:
    """Return the spans of an item's run as they travel.

    Args:
        spans: in the order in which they started.
        places: of the workflow.
    """
    at = {id(span): place for place, span in enumerate(spans)}
    return tuple(_record(span, at, places) for span in spans)


def _record(span: Span, at: Mapping[int, int], places: Places) -> SpanRecord:
    return SpanRecord(
        parent=at.get(id(span.parent), -1),
        path=places.path(span.primitive),
        name=span.name,
        kind=span.kind,
        start_ns=clock.wall_ns(span.start_ns),
        end_ns=clock.wall_ns(span.end_ns or clock.source()),
        error=span.error,
        notes=tuple((note.name, clock.wall_ns(note.time_ns), note.data) for note in span.notes),
        usage=span.usage,
        cost_pico=span.cost_pico,
        previews=(span.input_preview, span.output_preview),
    )


# Here


def relay(
    outcome: Outcome,
    around: WorkflowContext,
    places: Places,
    times: Between,
    mark: Mapping[str, Any],
) -> None:
    """Add the spans of an item to the run here, as if they had been executed in it.

    Args:
        outcome: the item's.
        around: the context of the step that maps.
        places: of the workflow here.
        times: what the worker's times are here.
        mark: what a note on the outermost span says of where it ran.
    """
    run = around.run
    if run is None:
        return
    contexts: list[WorkflowContext] = []
    spans: list[Span] = []
    for record in outcome.spans:
        inside = around if record.parent < 0 else contexts[record.parent]
        span = _begun(run, record, inside, places, times)
        spans.append(span)
        contexts.append(context_of(span))
    if spans:
        spans[0].note("elsewhere", spans[0].start_ns, mark)
    for place in _as_they_ended(outcome.spans):
        _end(run, spans[place], outcome.spans[place], times)
    run.drop(outcome.dropped)


def _as_they_ended(records: Sequence[SpanRecord]) -> list[int]:
    """Return the places of spans in the order of their ends, inner ones before those around them.

    The first that failed is the one that a run points at, so it matters where clocks are coarse.
    """
    inside: dict[int, list[int]] = {}
    for place, record in enumerate(records):
        inside.setdefault(record.parent, []).append(place)
    inner_first: list[int] = []
    waiting = list(inside.get(-1, ()))
    while waiting:  # the outer ones first and the last of them first, which is turned round below
        place = waiting.pop()
        inner_first.append(place)
        waiting += inside.get(place, ())
    inner_first.reverse()
    return sorted(inner_first, key=lambda place: records[place].end_ns)


def _begun(
    run: Run[Any], record: SpanRecord, inside: WorkflowContext, places: Places, times: Between
) -> Span:
    span = Span(inside, places.primitive(record), span_ids.next(), times.instant(record.start_ns))
    run.begin(span, None)
    text, result = record.previews
    if text is not None or span.input_preview is not None:  # that of None, which it was begun with
        span.put("input", text)
    if result is not None:
        span.put("output", result)
    for name, time_ns, data in record.notes:
        span.note(name, times.instant(time_ns), data)
    return span


def _end(run: Run[Any], span: Span, record: SpanRecord, times: Between) -> None:
    if record.usage is not None:
        run.spend(span, record.usage, record.cost_pico)
    run.end_at(span, times.instant(record.end_ns), record.error)
