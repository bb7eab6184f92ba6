"""A trace of runs that are at hand: live ones, or records of a history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tta_notebook.core import clock
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.events import Span
from tta_notebook.core.run import Run
from tta_notebook.core.usage import Usage
from tta_notebook.cost.whatif.columns import UNKNOWN, Calls, Lookups
from tta_notebook.cost.whatif.trace import Execution, Trace
from tta_notebook.observability.history.records import RecordedRun, RecordedSpan

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Step:
    """A span, wherever it comes from: what the two kinds of runs have in common."""

    span_id: int
    parent_id: int | None
    run_id: int
    name: str | None
    kind: str | None
    started_ns: int
    duration_ns: int
    status: str
    error_type: str | None
    usage: Usage | None
    cost_pico: int | None
    notes: Sequence[tuple[str, int, Mapping[str, Any]]]
    said: Mapping[str, Any] | None
    workflow: str | None
    user: str | None
    session: str | None
    run_status: str
    parent_run: int | None


def trace_of_runs(
    runs: Iterable[object], since_ns: int, until_ns: int, *, counts_replays: bool
) -> Trace:
    """Return the trace of runs; a span that two of them have counts once.

    Raises:
        ConfigurationError: one of them is no run.
    """
    found: dict[int, _Step] = {}
    for run in runs:
        for step in _steps(run):
            if since_ns <= step.started_ns < until_ns:
                found.setdefault(step.span_id, step)
    steps = sorted(found.values(), key=lambda step: (step.started_ns, step.span_id))
    told = [step for step in steps if step.said is not None or step.usage is not None]
    made = [step for step in told if counts_replays or (step.said or {}).get("source") != "replay"]
    calls = Calls()
    calls.extend([_call_row(step) for step in made])
    return Trace(
        calls,
        _Details(steps, made),
        parents={s.run_id: s.parent_run for s in steps if s.parent_run is not None},
        run_status={step.run_id: step.run_status for step in steps},
        replays=len(told) - len(made),
    )


class _Details:
    """Finds in the spans what is asked for later."""

    def __init__(self, steps: Sequence[_Step], calls: Sequence[_Step]) -> None:
        self._steps = steps
        self._calls = calls

    def lookups(self) -> Lookups:
        lookups = Lookups()
        lookups.extend(sorted(_lookup_rows(self._steps), key=lambda row: (row[0], row[3])))
        return lookups

    def executions(self) -> list[Execution]:
        found = (_execution(step) for step in self._steps)
        return [execution for execution in found if execution is not None]

    def chosen(self) -> dict[int, str]:
        noted = _noted(self._steps, "route")
        return {step.span_id: str(data["route"]) for step, _, data in noted}

    def ancestors(self) -> Iterator[tuple[int, int]]:
        known = {step.span_id: step for step in self._steps}
        return _ancestors(self._calls, known)


def _steps(run: object) -> Iterator[_Step]:
    if isinstance(run, Run):
        return (_of_live(span) for span in run.spans if span.end_ns)
    if isinstance(run, RecordedRun):
        return (_of_record(span, run) for span in run.spans)
    raise ConfigurationError(
        f"WhatIf: {run!r} is a {type(run).__name__}, which records nothing. Give a History, a run "
        "(`await workflow.run(x)`), or a list of runs."
    )


def _of_live(span: Span) -> _Step:
    run, outer = span.run, span.run._outer  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - our own class
    context = run.context
    said = span.noted("model")
    return _Step(
        _signed(span.span_id),
        None if span.parent_id is None else _signed(span.parent_id),
        _read(run.id),
        span.name,
        span.kind,
        span.started_at_ns,
        span.end_ns - span.start_ns,
        span.status,
        None if span.error is None else type(span.error).__name__,
        span.usage,
        span.cost_pico,
        [(note.name, clock.wall_ns(note.time_ns), note.data) for note in span.notes],
        said[-1].data if said else None,
        run.workflow_name,
        None if context is None else context.user_id,
        None if context is None else context.session_id,
        run.status,
        None if outer is None else _read(outer.id),
    )


def _of_record(span: RecordedSpan, run: RecordedRun) -> _Step:
    said = {
        "model": span.model,
        "provider": span.provider,
        "source": span.source,
        "request_key": span.request_key,
        **span.attributes,
    }
    return _Step(
        _read(span.id),
        None if span.parent_id is None else _read(span.parent_id),
        _read(run.id),
        span.name,
        span.kind,
        _ns(span.started),
        round(span.duration_s * 1e9),
        span.status,
        span.error_type,
        span.usage,
        span.cost_pico,
        [(event.name, _ns(event.time), event.data) for event in span.events],
        None if span.model is None else said,
        run.workflow,
        run.user,
        run.session,
        run.status,
        None if run.parent_run is None else _read(run.parent_run),
    )


def _call_row(step: _Step) -> tuple[Any, ...]:
    said, usage = step.said or {}, step.usage
    most = said.get("max_output_tokens")
    counts = (UNKNOWN, UNKNOWN, 0, 0, 0)
    if usage is not None:
        counts = (
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_input_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
        )
    return (
        step.started_ns,
        step.duration_ns,
        step.span_id,
        step.run_id,
        *counts,
        UNKNOWN if step.cost_pico is None else step.cost_pico,
        most if isinstance(most, int) else UNKNOWN,
        *(said.get(name) for name in ("model", "provider", "source", "served")),
        step.workflow,
        step.user,
        step.session,
        step.name,
        step.status,
        step.error_type,
        said.get("request_key"),
    )


def _lookup_rows(steps: Iterable[_Step]) -> Iterator[tuple[Any, ...]]:
    for step, time_ns, data in _noted(steps, "cache"):
        yield (
            time_ns,
            step.started_ns,
            step.duration_ns,
            step.span_id,
            step.run_id,
            bool(data.get("hit")),
            data.get("joined") is not None,
            data.get("saved", UNKNOWN),
            data.get("key"),
            step.name,
            step.kind,
            step.user,
            step.status,
        )


def _execution(step: _Step) -> Execution | None:
    execution = Execution(
        step.span_id, step.run_id, step.name, step.started_ns + step.duration_ns, step.status
    )
    for name, time_ns, data in step.notes:
        if name == "retry":
            execution.again_ns.append(time_ns)
            execution.waited_s.append(data.get("delay_s") or 0.0)
        elif name == "retry_stopped":
            execution.stop = data.get("reason")
    return execution if execution.again_ns or execution.stop else None


def _noted(steps: Iterable[_Step], name: str) -> Iterator[tuple[_Step, int, Mapping[str, Any]]]:
    for step in steps:
        for noted, time_ns, data in step.notes:
            if noted == name:
                yield step, time_ns, data


def _ancestors(calls: Iterable[_Step], known: Mapping[int, _Step]) -> Iterator[tuple[int, int]]:
    for call in calls:
        around = call.parent_id
        while around is not None:
            step = known.get(around)
            if step is not None and step.notes:
                yield call.span_id, around
            around = None if step is None else step.parent_id


def _read(shown: str) -> int:
    return _signed(int(shown, 16))


def _signed(number: int) -> int:
    """Return an identity as columns have it, and SQLite: with a sign."""
    return number - 2**64 if number >= 2**63 else number


def _ns(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1) * 1_000
