"""What the history costs, and how fast it answers.

    python tests/bench/bench_history.py [throughput] [step] [questions]

*throughput*: rows that are on disk per second of the clock, beside a producer in the main thread,
flat out and at growing paces. *step*: what a traced step costs the thread that runs it with the
history and without, in one process, in turns. *questions*: a history of a million spans.
"""

import asyncio
import gc
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median, quantiles

from tta_notebook import LambdaPrimitive, SequentialPrimitive, disable, enable
from tta_notebook.observability.history import History
from tta_notebook.observability.history.schema import MIGRATIONS
from tta_notebook.observability.history.writer import insert
from tta_notebook.storage.sqlite import Database

STEPS = 10
SPANS = STEPS + 1
MILLION = 1_000_000


async def step(x: int) -> int:
    return x


chain = SequentialPrimitive([LambdaPrimitive(step)] * STEPS)


async def produce(seconds: float, spans_per_s: float | None) -> list[int]:
    """Run chains for a while, and return what each took in nanoseconds.

    At a pace they come in small bursts every five milliseconds, as they do in a server.
    """
    took: list[int] = []
    start = time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        due = 10**9 if spans_per_s is None else passed * spans_per_s / SPANS - len(took)
        if due < 1:
            await asyncio.sleep(0.005)
            continue
        for _ in range(min(int(due), 1_000)):
            before = time.perf_counter_ns()
            await chain.execute(0)
            took.append(time.perf_counter_ns() - before)
    return took


def rows_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    (rows,) = connection.execute("SELECT COUNT(*) FROM spans").fetchone()
    connection.close()
    return int(rows)


def throughput(folder: Path) -> None:
    print(f"{'producer':>22}{'on disk, spans/s':>20}{'lost':>10}{'behind at the end':>20}")
    for pace in (10_000, 20_000, 40_000, 60_000, 80_000, 100_000, None):
        with History(folder / f"{pace}.db") as history:
            start = time.perf_counter()
            asyncio.run(produce(3.0, pace))
            ended = time.perf_counter()
            history.flush()
            end = time.perf_counter()
            name = "flat out" if pace is None else f"{pace:,} spans/s"
            rate = rows_of(history.path) / (end - start)
            print(f"{name:>22}{rate:>20,.0f}{history.dropped:>10,}{end - ended:>18.3f} s")


def turns(folder: Path, pace: float | None, seconds: float, rounds: int) -> None:
    """Measure chains without the history and with it, in turns."""
    took: dict[bool, list[int]] = {False: [], True: []}
    cpu_ns: dict[bool, int] = {False: 0, True: 0}
    for turn in range(2 * rounds):
        is_on = turn % 2 == 1
        history = History(folder / "turns.db")
        if is_on:
            history.start()
        gc.collect()
        before = time.thread_time_ns()
        took[is_on] += asyncio.run(produce(seconds, pace))
        cpu_ns[is_on] += time.thread_time_ns() - before
        history.stop()
    name = "flat out" if pace is None else f"{pace:,.0f} spans/s"
    look: dict[str, Callable[[bool], float]] = {
        "minimum": lambda is_on: min(took[is_on]),
        "median": lambda is_on: median(took[is_on]),
        "mean": lambda is_on: mean(took[is_on]),
        "99th of 100": lambda is_on: quantiles(took[is_on], n=100)[98],
        "CPU": lambda is_on: cpu_ns[is_on] / len(took[is_on]),
    }
    for figure, of in look.items():
        off, on = of(False) / SPANS / 1e3, of(True) / SPANS / 1e3
        print(f"{name:>18}{figure:>14}{off:>14.3f}{on:>14.3f}{on / off - 1:>+10.1%}")


def cost_of_a_step(folder: Path) -> None:
    print(f"{'':>18}{'us per step':>14}{'recorded':>14}{'+ history':>14}{'more':>10}")
    enable()
    turns(folder, 20_000, 1.0, 6)
    turns(folder, None, 0.5, 6)
    disable()


def million(path: Path) -> None:
    """Fill a history with a million spans of the last 30 days, a tenth of them model calls."""
    database = Database(path, migrations=MIGRATIONS)
    now, day = time.time_ns(), 86_400 * 10**9
    runs = MILLION // 10
    columns = "span_id run_id parent_id name kind started_ns duration_ns status model provider "
    columns += "source input_tokens output_tokens cost_pico attributes"

    def fill(db: sqlite3.Connection) -> None:
        for run in range(runs):
            began = now - 30 * day + 30 * day * run // runs
            whose = (run, "ask", f"user-{run % 50}", began, 10**9, "ok", 10, 0, "bench")
            db.execute(
                "INSERT INTO runs (id, workflow, user, started_ns, duration_ns, status, spans, "
                "unpriced_calls, owner) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                whose,
            )
            flat: list[object] = []
            for number in range(10):
                plain = (run * 10 + number, run, run * 10, f"step {number}", "function")
                flat += (*plain, began + number * 10**7, 10**7, "ok")
                if number == 1:
                    model = f"openai:gpt-{run % 3}"
                    flat += (model, "openai", "live", 900, 150, 1_000_000 * run, '{"served":"x"}')
                else:
                    flat += (None,) * 7
            insert(db, "spans", columns.split(), flat)

    database.run_sync(fill)
    database.close()


def questions(folder: Path) -> None:
    path = folder / "million.db"
    million(path)
    print(
        f"{path.stat().st_size / 1e6:,.0f} MB, 1,000,000 spans, 100,000 of them calls of 3 models"
    )
    total = 0.0

    def timed(name: str, ask: Callable[[], object]) -> object:
        nonlocal total
        start = time.perf_counter()
        found = ask()
        total += time.perf_counter() - start
        print(f"{name:>44}{time.perf_counter() - start:>10.3f} s")
        return found

    timed(
        "import pandas, plotly", lambda: [__import__("pandas"), __import__("plotly.graph_objects")]
    )
    history = timed("open", lambda: History(path))
    assert isinstance(history, History)
    costs = timed("cost per hour and model", lambda: history.costs(("hour", "model")))
    calls = timed(
        "spans of one model, last day",
        lambda: history.df("spans", model="openai:gpt-1", since="1d"),
    )
    timed("plotly figures of both", lambda: figures(costs, calls))
    print(f"{'in all':>44}{total:>10.3f} s   (bound: 2 s)")
    timed("cost per user, last week", lambda: history.costs("user", since="7d"))
    timed("the newest 1,000 runs", lambda: history.df("runs", limit=1_000))
    timed("one run with its spans", lambda: history.run(f"{50_000:016x}").spans)
    timed("all spans of the last day", lambda: history.df("spans", since="1d"))


def figures(costs: object, calls: object) -> list[str]:
    import plotly.graph_objects as go  # noqa: PLC0415 - its import is part of what is measured

    bars = [
        go.Bar(x=of_model["hour"], y=of_model["cost_usd"], name=model)
        for model, of_model in costs.groupby("model")
    ]
    points = go.Scatter(x=calls["started"], y=calls["duration_s"], mode="markers")
    return [go.Figure(bars).to_json(), go.Figure(points).to_json()]


PARTS = {"throughput": throughput, "step": cost_of_a_step, "questions": questions}


def main() -> None:
    print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    for part in sys.argv[1:] or PARTS:
        print(f"\n{part}")
        with tempfile.TemporaryDirectory() as folder:
            PARTS[part](Path(folder))


if __name__ == "__main__":
    main()
