"""Where a ledger keeps its entries: in memory, or in a SQLite file that several processes share."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from sqlite3 import Connection
from typing import Any, Protocol

from tta_notebook.core.errors import StorageError
from tta_notebook.core.usage import Usage
from tta_notebook.cost.entry import LedgerEntry
from tta_notebook.cost.totals import Totals
from tta_notebook.storage.sqlite import Database

_log = logging.getLogger("tta_notebook")

DIMENSIONS = ("model", "user", "workflow", "step", "session", "provider", "source", "day")
"""What calls can be added up by, beside "tag:NAME"."""
TAG = "tag:"


class Books(Protocol):
    """Keeps entries and adds them up."""

    def add(self, entry: LedgerEntry) -> None:
        """Keep an entry; does not raise."""
        ...

    def totals(self, dimension: str | None, since_ns: int = 0) -> dict[str, Totals]:
        """Return sums by a dimension; under "" for None."""
        ...

    def entries(self) -> Sequence[LedgerEntry]:
        """Return the newest entries, oldest first."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...


class MemoryBooks:
    """Exact sums by every dimension, and the newest entries.

    Args:
        keep: how many entries; the sums go on without those that are forgotten.
    """

    def __init__(self, keep: int) -> None:
        self._entries: deque[LedgerEntry] = deque(maxlen=keep)
        self._sums: dict[str | None, dict[str, Totals]] = {}
        self._lock = threading.Lock()

    def add(self, entry: LedgerEntry) -> None:
        """Keep an entry."""
        with self._lock:
            self._entries.append(entry)
            for dimension, value in _values(entry):
                self._sums.setdefault(dimension, {}).setdefault(value, Totals()).add(entry)

    def totals(self, dimension: str | None, since_ns: int = 0) -> dict[str, Totals]:
        """Return sums by a dimension; those since a moment are of the entries that are kept."""
        with self._lock:
            if since_ns:
                return _added_up((entry for entry in self._entries), dimension, since_ns)
            sums = self._sums.get(dimension, {})
            return {value: _copy(totals) for value, totals in sums.items()}

    def entries(self) -> Sequence[LedgerEntry]:
        """Return the newest entries, oldest first."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._sums.clear()


class PostedBooks(MemoryBooks):
    """The same in another process than the ledger's: each entry is handed on to it as well.

    Args:
        keep: as above.
        post: takes an entry to where the ledger is.
    """

    def __init__(self, keep: int, post: Callable[[LedgerEntry], object]) -> None:
        super().__init__(keep)
        self._post = post

    def add(self, entry: LedgerEntry) -> None:
        """Keep an entry, and hand it on."""
        super().add(entry)
        self._post(entry)


_TABLE = """
CREATE TABLE call (
    id INTEGER PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    model TEXT NOT NULL, provider TEXT NOT NULL, source TEXT NOT NULL,
    user TEXT NOT NULL, workflow TEXT NOT NULL, step TEXT NOT NULL, session TEXT NOT NULL,
    day TEXT NOT NULL, tags TEXT NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cached_input_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, estimated INTEGER NOT NULL,
    cost_pico INTEGER, price_date TEXT, price_source TEXT
);
CREATE INDEX call_at ON call (at_ns);
"""
_COLUMNS = (
    "at_ns, model, provider, source, user, workflow, step, session, day, tags, input_tokens, "
    "output_tokens, cached_input_tokens, cache_write_tokens, reasoning_tokens, estimated, "
    "cost_pico, price_date, price_source"
)
_INSERT = f"INSERT INTO call ({_COLUMNS}) VALUES ({', '.join('?' * 19)})"  # noqa: S608 - our own words
_ALL = f"SELECT {_COLUMNS} FROM call ORDER BY id"  # noqa: S608 - the same

# SQLite's integers end at 9.2e18: a sum of pico-dollars at 9.2 million dollars. Two sums do not.
_MILLION = 1_000_000


class FileBooks:
    """Every entry, in a SQLite file, written when it is booked.

    Where the file cannot be written, entries wait in memory and go with the next one that can;
    until then they count in all the same. That is said once.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._database = Database(path, migrations=[_TABLE])
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[LedgerEntry] = []
        self._has_complained = False

    # A copy in another process writes to the same file; what waits here is booked here, once

    def __getstate__(self) -> dict[str, Any]:
        return {"_database": self._database}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_afresh()

    @property
    def waiting(self) -> int:
        """How many entries could not be written yet."""
        return len(self._waiting)

    def add(self, entry: LedgerEntry) -> None:
        """Keep an entry, and write it."""
        with self._lock:
            self._waiting.append(entry)
            self._write()

    def _write(self) -> None:
        rows = [_row(entry) for entry in self._waiting]
        try:
            self._database.run_sync(lambda db: db.executemany(_INSERT, rows))
        except StorageError as error:
            if not self._has_complained:
                self._has_complained = True
                _log.warning(
                    "A call could not be booked in %s: %s Calls are kept in memory until they can.",
                    self._database.path,
                    error,
                )
        else:
            self._waiting.clear()
            self._has_complained = False

    def totals(self, dimension: str | None, since_ns: int = 0) -> dict[str, Totals]:
        """Return sums by a dimension, over what all processes have booked."""
        nothing: dict[str, Totals] = {}
        sums = self._database.read_sync(lambda db: _sums(db, dimension, since_ns), missing=nothing)
        with self._lock:
            for value, totals in _added_up(self._waiting, dimension, since_ns).items():
                known = sums.setdefault(value, Totals())
                for name in Totals.__slots__:
                    setattr(known, name, getattr(known, name) + getattr(totals, name))
        return sums

    def entries(self) -> Sequence[LedgerEntry]:
        """Return all entries, oldest first."""
        nothing: list[tuple[Any, ...]] = []
        rows = self._database.read_sync(lambda db: db.execute(_ALL).fetchall(), missing=nothing)
        with self._lock:
            return [*map(_entry, rows), *self._waiting]

    def clear(self) -> None:
        """Delete everything from the file, also what other processes have booked."""
        with self._lock:
            self._waiting.clear()
            self._database.run_sync(lambda db: db.execute("DELETE FROM call"))

    def close(self) -> None:
        """Write what waits, if that can be, and close the file; the next use opens it again."""
        with self._lock:
            if self._waiting:
                self._write()
            self._database.close()


def _values(entry: LedgerEntry) -> list[tuple[str | None, str]]:
    """Return every dimension that an entry counts in, with its value there."""
    values: list[tuple[str | None, str]] = [(None, "")]
    values += [(name, str(_value(entry, name))) for name in DIMENSIONS]
    values += [(f"{TAG}{key}", str(value)) for key, value in entry.tags.items()]
    return values


def _value(entry: LedgerEntry, dimension: str) -> str | None:
    """Return where an entry counts in a dimension; None for a tag that it does not have."""
    if dimension == "day":
        return datetime.fromtimestamp(entry.at_ns / 1e9, UTC).date().isoformat()
    if dimension.startswith(TAG):
        value = entry.tags.get(dimension.removeprefix(TAG))
        return None if value is None else str(value)
    return str(getattr(entry, dimension))


def _added_up(
    entries: Iterable[LedgerEntry], dimension: str | None, since_ns: int
) -> dict[str, Totals]:
    sums: dict[str, Totals] = {}
    for entry in entries:
        if entry.at_ns >= since_ns:
            value = "" if dimension is None else _value(entry, dimension)
            if value is not None:
                sums.setdefault(value, Totals()).add(entry)
    return sums


def _copy(totals: Totals) -> Totals:
    return Totals(*(getattr(totals, name) for name in Totals.__slots__))


def _sums(db: Connection, dimension: str | None, since_ns: int) -> dict[str, Totals]:
    value, origin, condition = "''", "call", ""
    parameters: list[Any] = [since_ns]
    if dimension is not None and dimension.startswith(TAG):
        value, origin = "label.value", "call, json_each(call.tags) AS label"
        condition = "AND label.key = ?"
        parameters.append(dimension.removeprefix(TAG))
    elif dimension is not None:
        value = dimension
    rows = db.execute(
        f"SELECT {value}, count(*), sum(input_tokens), sum(output_tokens), "  # noqa: S608 - our own words
        f"sum(cost_pico / {_MILLION}), sum(cost_pico % {_MILLION}), sum(cost_pico IS NULL) "
        f"FROM {origin} WHERE at_ns >= ? {condition} GROUP BY 1",
        parameters,
    )
    return {
        str(value): Totals(count, into, out, (high or 0) * _MILLION + (low or 0), unpriced)
        for value, count, into, out, high, low, unpriced in rows
    }


def _row(entry: LedgerEntry) -> tuple[Any, ...]:
    usage = entry.usage
    return (
        entry.at_ns,
        *map(_storable, (entry.model, entry.provider, entry.source, entry.user)),
        *map(_storable, (entry.workflow, entry.step, entry.session)),
        _value(entry, "day"),
        json.dumps(dict(entry.tags), default=str),
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        int(usage.estimated),
        entry.cost_pico,
        entry.price_date,
        entry.price_source,
    )


def _storable(text: str) -> str:
    # A lone surrogate cannot be stored as text; a name with one must not cost the booking.
    return text.encode("utf-8", "backslashreplace").decode()


def _entry(row: tuple[Any, ...]) -> LedgerEntry:
    at_ns, model, provider, source, user, workflow, step, session, _, tags, *rest = row
    into, out, cached, written, reasoning, estimated, cost_pico, price_date, price_source = rest
    labels: dict[str, str] = {}
    with suppress(ValueError):  # somebody else has written to the file
        labels = json.loads(tags)
    return LedgerEntry(
        model=model,
        usage=Usage(into, out, cached, written, reasoning, bool(estimated)),
        cost_pico=cost_pico,
        at_ns=at_ns,
        user=user,
        workflow=workflow,
        step=step,
        session=session,
        tags=labels,
        provider=provider,
        source=source,
        price_date=price_date,
        price_source=price_source,
    )
