"""The history's tables, and how their columns are shown.

Identities are stored as the signed 64-bit integers that SQLite has and shown as the 16 hexadecimal
digits that runs and traces show.
"""

from __future__ import annotations

from typing import NamedTuple

# An identity is unique in its process: a random prefix of 32 bits and a counter. `prefixes` says to
# whom a prefix belongs, so that another process that drew the same one stores its rows under one
# that is free (ids.py).
#
# No foreign keys: the row of a run may be among what was lost while the disk was full.
MIGRATIONS = (
    """
    CREATE TABLE prefixes (
        kind TEXT NOT NULL,
        stored INTEGER NOT NULL,
        process TEXT NOT NULL,
        drawn INTEGER NOT NULL,
        PRIMARY KEY (kind, stored)
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX prefixes_by_process ON prefixes (kind, process, drawn);
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        parent_run INTEGER,
        trace_id TEXT,
        remote_parent TEXT,
        workflow TEXT,
        session TEXT,
        user TEXT,
        correlation TEXT,
        tags TEXT,
        metadata TEXT,
        started_ns INTEGER NOT NULL,
        duration_ns INTEGER,
        status TEXT NOT NULL,
        error_type TEXT,
        error TEXT,
        spans INTEGER NOT NULL,
        input_tokens INTEGER,
        output_tokens INTEGER,
        cost_pico INTEGER,
        unpriced_calls INTEGER NOT NULL,
        owner TEXT NOT NULL
    );
    CREATE INDEX runs_by_time ON runs (started_ns);
    CREATE INDEX runs_by_workflow ON runs (workflow, started_ns);
    CREATE INDEX runs_under_way ON runs (owner) WHERE status = 'running';
    CREATE TABLE spans (
        span_id INTEGER PRIMARY KEY,
        run_id INTEGER NOT NULL,
        parent_id INTEGER,
        name TEXT,
        kind TEXT,
        started_ns INTEGER NOT NULL,
        duration_ns INTEGER NOT NULL,
        status TEXT NOT NULL,
        error_type TEXT,
        error TEXT,
        model TEXT,
        provider TEXT,
        source TEXT,
        input_tokens INTEGER,
        output_tokens INTEGER,
        cached_input_tokens INTEGER,
        cache_write_tokens INTEGER,
        reasoning_tokens INTEGER,
        estimated INTEGER,
        cost_pico INTEGER,
        finish_reason TEXT,
        first_token_s REAL,
        request_key TEXT,
        price_id INTEGER,
        attributes TEXT,
        input TEXT,
        output TEXT
    );
    CREATE INDEX spans_by_run ON spans (run_id);
    CREATE INDEX spans_by_time ON spans (started_ns);
    CREATE INDEX spans_of_calls ON spans
        (started_ns, model, cost_pico, input_tokens, output_tokens)
        WHERE model IS NOT NULL OR input_tokens IS NOT NULL;
    CREATE INDEX spans_by_model ON spans (model, started_ns) WHERE model IS NOT NULL;
    CREATE TABLE events (
        span_id INTEGER NOT NULL,
        number INTEGER NOT NULL,
        name TEXT,
        time_ns INTEGER NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (span_id, number)
    ) WITHOUT ROWID;
    CREATE INDEX events_by_name ON events (name, time_ns);
    CREATE TABLE prices (
        id INTEGER PRIMARY KEY,
        model TEXT,
        provider TEXT,
        date TEXT,
        source TEXT,
        price TEXT
    );
    """,
)

CALLS = "(s.model IS NOT NULL OR s.input_tokens IS NOT NULL)"
"""What is a call that used tokens; said as the index says it, or SQLite would not use that."""


def words(text: str) -> list[str]:
    """Return the names of columns that stand in a text."""
    return text.split()


class Shown(NamedTuple):
    """A table as it is shown.

    Attributes:
        source: what stands after FROM.
        columns: the names of the columns and what they are in SQL.
        time: the column of integers that `since` and `until` look at; None without one.
    """

    source: str
    columns: dict[str, str]
    time: str | None


def _hex(column: str) -> str:
    return f"CASE WHEN {column} IS NOT NULL THEN printf('%016x', {column}) END"


def _same(alias: str, names: str) -> dict[str, str]:
    return {name: f"{alias}.{name}" for name in words(names)}


_USED = "input_tokens output_tokens"
_MORE_USED = "cached_input_tokens cache_write_tokens reasoning_tokens estimated"
_WHOSE = "workflow session user"

# temp.alive holds the owners of runs under way whose processes are there (reader.py).
_STATUS = (
    "CASE WHEN r.status = 'running' AND r.owner NOT IN (SELECT owner FROM temp.alive) "
    "THEN 'lost' ELSE r.status END"
)

TABLES = {
    "runs": Shown(
        "main.runs AS r",
        {
            "id": _hex("r.id"),
            "parent_run": _hex("r.parent_run"),
            **_same("r", f"trace_id remote_parent {_WHOSE} correlation tags metadata started_ns"),
            "duration_s": "r.duration_ns / 1e9",
            "status": _STATUS,
            **_same("r", f"error_type error spans {_USED} cost_pico"),
            "cost_usd": "r.cost_pico / 1e12",
            **_same("r", "unpriced_calls owner"),
        },
        "r.started_ns",
    ),
    "spans": Shown(
        "main.spans AS s LEFT JOIN main.runs AS r ON r.id = s.run_id",
        {
            "span_id": _hex("s.span_id"),
            "run_id": _hex("s.run_id"),
            "parent_id": _hex("s.parent_id"),
            **_same("r", f"trace_id {_WHOSE}"),
            **_same("s", "name kind started_ns"),
            "duration_s": "s.duration_ns / 1e9",
            **_same("s", f"status error_type error model provider source {_USED} {_MORE_USED}"),
            "cost_pico": "s.cost_pico",
            "cost_usd": "s.cost_pico / 1e12",
            **_same("s", "finish_reason first_token_s request_key"),
            "price_id": _hex("s.price_id"),
            **_same("s", "attributes input output"),
        },
        "s.started_ns",
    ),
    "events": Shown(
        "main.events AS e LEFT JOIN main.spans AS s ON s.span_id = e.span_id "
        "LEFT JOIN main.runs AS r ON r.id = s.run_id",
        {
            "span_id": _hex("e.span_id"),
            "run_id": _hex("s.run_id"),
            **_same("r", _WHOSE),
            "step": "s.name",
            "kind": "s.kind",
            **_same("e", "number name time_ns data"),
        },
        "e.time_ns",
    ),
    "prices": Shown(
        "main.prices AS p",
        {"id": _hex("p.id"), **_same("p", "model provider date source price")},
        None,
    ),
}

# The columns that are identities, as they are stored.
IDENTITIES = {
    "runs": {"id": "r.id", "parent_run": "r.parent_run"},
    "spans": {
        "span_id": "s.span_id",
        "run_id": "s.run_id",
        "parent_id": "s.parent_id",
        "price_id": "s.price_id",
    },
    "events": {"span_id": "e.span_id", "run_id": "s.run_id"},
    "prices": {"id": "p.id"},
}
