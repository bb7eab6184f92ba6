"""A trace read from a history's file, in SQL: no object per span, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tta_notebook.cost.whatif.columns import Calls, Lookups
from tta_notebook.cost.whatif.trace import Execution, Trace
from tta_notebook.observability.history.history import History
from tta_notebook.observability.history.reader import Reader
from tta_notebook.observability.history.schema import CALLS

_PAGE = 10_000

_CALLS = f"""
SELECT s.started_ns, s.duration_ns, s.span_id, s.run_id,
    COALESCE(s.input_tokens, -1), COALESCE(s.output_tokens, -1),
    COALESCE(s.cached_input_tokens, 0), COALESCE(s.cache_write_tokens, 0),
    COALESCE(s.reasoning_tokens, 0), COALESCE(s.cost_pico, -1),
    COALESCE(CAST(json_extract(s.attributes, '$.max_output_tokens') AS INTEGER), -1),
    s.model, s.provider, s.source, json_extract(s.attributes, '$.served'),
    r.workflow, r.user, r.session, s.name, s.status, s.error_type, s.request_key
FROM main.spans AS s LEFT JOIN main.runs AS r ON r.id = s.run_id
WHERE {CALLS} AND s.source IS NOT 'replay' AND s.started_ns >= ? AND s.started_ns < ?
    AND (s.started_ns, s.span_id) > (?, ?)
ORDER BY s.started_ns, s.span_id LIMIT {_PAGE}
"""  # noqa: S608 - no word of a user's

_CALLS_AND_REPLAYS = _CALLS.replace("AND s.source IS NOT 'replay' ", "")

_REPLAYS = f"""
SELECT COUNT(*) FROM main.spans AS s
WHERE {CALLS} AND s.source = 'replay' AND s.started_ns >= ? AND s.started_ns < ?
"""  # noqa: S608 - as above

_LOOKUPS = f"""
SELECT e.time_ns, s.started_ns, s.duration_ns, e.span_id, s.run_id,
    COALESCE(json_extract(e.data, '$.hit'), 0), json_extract(e.data, '$.joined') IS NOT NULL,
    COALESCE(json_extract(e.data, '$.saved'), -1), json_extract(e.data, '$.key'),
    s.name, s.kind, r.user, s.status, e.number
FROM main.events AS e JOIN main.spans AS s ON s.span_id = e.span_id
LEFT JOIN main.runs AS r ON r.id = s.run_id
WHERE e.name = 'cache' AND e.time_ns >= ? AND e.time_ns < ?
    AND (e.time_ns, e.span_id, e.number) > (?, ?, ?)
ORDER BY e.time_ns, e.span_id, e.number LIMIT {_PAGE}
"""  # noqa: S608 - as above

_RETRIES = """
SELECT e.span_id, s.run_id, s.name, s.started_ns + s.duration_ns, s.status, e.name, e.time_ns,
    json_extract(e.data, '$.delay_s'), json_extract(e.data, '$.reason')
FROM main.events AS e JOIN main.spans AS s ON s.span_id = e.span_id
WHERE e.name IN ('retry', 'retry_stopped') AND s.started_ns >= ? AND s.started_ns < ?
ORDER BY s.started_ns, e.span_id, e.number
"""

_ROUTES = """
SELECT span_id, json_extract(data, '$.route') FROM main.events
WHERE name = 'route' AND time_ns >= ? AND time_ns < ?
"""

# Upwards, for the spans have no index that leads down.
_ANCESTORS = f"""
WITH RECURSIVE up (call, at, depth) AS (
    SELECT s.span_id, s.parent_id, 1 FROM main.spans AS s
    WHERE {CALLS} AND s.parent_id IS NOT NULL AND s.started_ns >= ? AND s.started_ns < ?
    UNION ALL
    SELECT up.call, p.parent_id, up.depth + 1 FROM up JOIN main.spans AS p ON p.span_id = up.at
    WHERE p.parent_id IS NOT NULL
)
SELECT up.call, up.at FROM up
WHERE up.at IN (
    SELECT span_id FROM main.events WHERE name IN ('cache', 'retry', 'retry_stopped', 'route')
)
ORDER BY up.depth
"""  # noqa: S608 - as above

_NESTED = "SELECT id, parent_run FROM main.runs WHERE parent_run IS NOT NULL"

_STATUS = "SELECT id, status FROM main.runs"


def trace_of_history(
    history: History, since_ns: int, until_ns: int, *, counts_replays: bool
) -> Trace:
    """Return what began in a history between two moments, in nanoseconds since 1970."""
    history.flush()
    reader, between = Reader(history.path), (since_ns, until_ns)
    calls = Calls()
    query = _CALLS_AND_REPLAYS if counts_replays else _CALLS
    for page in _pages(reader, query, between, places=(0, 2)):
        calls.extend(page)
    left_out = [] if counts_replays else reader.rows(_REPLAYS, between)
    return Trace(
        calls,
        _Details(reader, between),
        parents=dict(reader.rows(_NESTED, ())),
        run_status=dict(reader.rows(_STATUS, ())),
        replays=sum(count for (count,) in left_out),
    )


class _Details:
    """Reads what is asked for later."""

    def __init__(self, reader: Reader, between: tuple[int, int]) -> None:
        self._reader = reader
        self._between = between

    def lookups(self) -> Lookups:
        lookups = Lookups()
        for page in _pages(self._reader, _LOOKUPS, self._between, places=(0, 3, 13)):
            lookups.extend(page)
        return lookups

    def executions(self) -> list[Execution]:
        return _executions(self._reader.rows(_RETRIES, self._between))

    def chosen(self) -> dict[int, str]:
        return dict(self._reader.rows(_ROUTES, self._between))

    def ancestors(self) -> list[tuple[int, int]]:
        return [(call, around) for call, around in self._reader.rows(_ANCESTORS, self._between)]


def _pages(
    reader: Reader, query: str, between: tuple[int, int], places: Sequence[int]
) -> Iterator[list[tuple[Any, ...]]]:
    """Give the rows of a query in pages; the columns at `places` say where the next one begins.

    The first of them is the time. It is a bound of its own, or SQLite would go through all pages
    before.
    """
    since_ns, until_ns = between
    last: tuple[Any, ...] = (-(2**63),) * len(places)
    while page := reader.rows(query, (max(since_ns, last[0]), until_ns, *last)):
        yield page
        last = tuple(page[-1][place] for place in places)


def _executions(rows: Sequence[tuple[Any, ...]]) -> list[Execution]:
    found: dict[int, Execution] = {}
    for span_id, run_id, step, ended_ns, status, name, time_ns, delay_s, reason in rows:
        execution = found.get(span_id)
        if execution is None:
            execution = found[span_id] = Execution(span_id, run_id, step, ended_ns, status)
        if name == "retry":
            execution.again_ns.append(time_ns)
            execution.waited_s.append(delay_s or 0.0)
        else:
            execution.stop = reason
    return list(found.values())
