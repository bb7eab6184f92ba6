"""How fast recorded runs answer what-if questions.

    python tests/bench/bench_whatif.py [history] [curve]

*history*: a history of a million model calls, each with a lookup of a cache, under another model,
with caches of every size, and with a budget. *curve*: the one pass for all sizes by itself, and a
walk with a time to live, on a million lookups of few, many and mostly different keys.
"""

import random
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TypeVar

from tta_notebook import Price, PriceBook
from tta_notebook.cost.whatif import WhatIf
from tta_notebook.cost.whatif.lru import walk
from tta_notebook.cost.whatif.stack import distances
from tta_notebook.observability.history import History
from tta_notebook.observability.history.schema import MIGRATIONS, words
from tta_notebook.observability.history.writer import insert
from tta_notebook.storage.sqlite import Database

T = TypeVar("T")

MILLION = 1_000_000
DAY = date(2026, 1, 1)
CALLS_PER_RUN = 10
BOOK = PriceBook(
    overrides={
        f"m{number}": Price(input_per_1m=2 + number, output_per_1m=10) for number in range(4)
    },
    bundled=False,
)

SPANS = words(
    "span_id run_id parent_id name kind started_ns duration_ns status model provider source "
    "input_tokens output_tokens cached_input_tokens cache_write_tokens reasoning_tokens "
    "cost_pico request_key attributes"
)
EVENTS = words("span_id number name time_ns data")


def fill(path: Path) -> None:
    """Write a million calls of 30 days, each under the span of a cache that missed."""
    chance = random.Random(1)  # noqa: S311 - the same numbers every time
    database = Database(path, migrations=MIGRATIONS)
    now, day = time.time_ns(), 86_400 * 10**9
    runs = MILLION // CALLS_PER_RUN

    def write(db: sqlite3.Connection) -> None:
        for run in range(runs):
            began = now - 30 * day + 30 * day * run // runs
            whose = (run, f"w{run % 7}", f"user-{run % 50}", began, 10**9, "ok", 20, 0, "bench")
            db.execute(
                "INSERT INTO runs (id, workflow, user, started_ns, duration_ns, status, spans, "
                "unpriced_calls, owner) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                whose,
            )
            flat: list[object] = []
            notes: list[object] = []
            for number in range(CALLS_PER_RUN):
                cache = (run * CALLS_PER_RUN + number) * 2
                start = began + number * 10**8
                key = f"{min(int(chance.paretovariate(0.6)), 200_000):040x}"
                tokens = (chance.randrange(100, 4_000), chance.randrange(10, 900))
                flat += (cache, run, None, "answers", "cache", start, 10**7, "ok", *(None,) * 11)
                flat += (cache + 1, run, cache, "model", "llm", start + 1_000, 10**7 - 2_000, "ok")
                flat += (f"m{run % 3}", "x", "live", *tokens, 0, 0, 0)
                flat += (2_000_000 * tokens[0] + 10_000_000 * tokens[1], key, '{"served":"x"}')
                notes += (cache, 0, "cache", start, f'{{"hit":false,"key":"{key}"}}')
            insert(db, "spans", SPANS, flat)
            insert(db, "events", EVENTS, notes)

    database.run_sync(write)
    database.close()


def timed(name: str, ask: Callable[[], T]) -> T:
    start, busy = time.perf_counter(), time.process_time()
    found = ask()
    took_s, cpu_s = time.perf_counter() - start, time.process_time() - busy
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:>48}{took_s:>10.2f} s{cpu_s:>10.2f} s CPU{memory:>10,.0f} MB at most")
    return found


def history(folder: Path) -> None:
    path = folder / "million.db"
    fill(path)
    print(f"{path.stat().st_size / 1e6:,.0f} MB, 1,000,000 calls, each in a cache's span")
    what_if = timed("read", lambda: WhatIf(History(path), prices=BOOK))
    timed("re-priced on another day (exact)", lambda: what_if.reprice(at=DAY))
    timed("under another model (with its interval)", lambda: what_if.reprice("m3"))
    timed("routed by a function of the call", lambda: what_if.route(lambda call: "m3"))
    timed("caches of every size over requests", what_if.cache)
    timed("caches of every size over a cache", lambda: what_if.cache(over="answers"))
    timed("one size and time to live", lambda: what_if.cache([1_000], 3_600))
    timed("a budget per day and user", lambda: what_if.budget(1, "day", "user"))
    last = timed("one day of it, read", lambda: WhatIf(History(path), prices=BOOK, since="1d"))
    timed("the same under another model", lambda: last.reprice("m3"))


def curve(folder: Path) -> None:
    del folder
    chance = random.Random(1)  # noqa: S311 - the same numbers every time
    zeros = [0.0] * MILLION
    for name, draw in {
        "few keys, some often": lambda: min(int(chance.paretovariate(1.0)), 1_000),
        "many keys, some often": lambda: min(int(chance.paretovariate(0.5)), 500_000),
        "mostly different keys": lambda: chance.randrange(MILLION),
    }.items():
        keys = [draw() for _ in range(MILLION)]
        print(f"{name}: {len(set(keys)):,} distinct")
        timed("every size, in one pass", lambda keys=keys: distances(keys))
        timed("one size with a TTL", lambda keys=keys: walk(keys, zeros, zeros, 1_000, 60.0))


PARTS = {"history": history, "curve": curve}


def main() -> None:
    print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    for part in sys.argv[1:] or PARTS:
        print(f"\n{part}")
        with tempfile.TemporaryDirectory() as folder:
            PARTS[part](Path(folder))


if __name__ == "__main__":
    main()
