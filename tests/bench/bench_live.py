"""What a live view costs the kernel while a run goes on.

    python tests/bench/bench_live.py

A run of 10,000 spans at 100 events a second, and the same run as fast as it goes. Each look at it
(ten a second) makes the message that the front end would get; what is counted is the processor
time of these looks, also as a share of one core at ten looks a second.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from time import process_time_ns

from tta_notebook import LambdaPrimitive, MapPrimitive, enable
from tta_notebook.core.run import Run
from tta_notebook.notebook.rows import rows_of
from tta_notebook.notebook.widgets.live import Batches

LOOKS_PER_S = 10


async def step(x: int) -> int:
    await asyncio.sleep(0)
    return x


def workflow(concurrency: int) -> MapPrimitive:
    each = (LambdaPrimitive(step) >> str).named("each")
    return MapPrimitive(each, max_concurrency=concurrency)


async def watched(items: int, concurrency: int, spans_per_look: int) -> tuple[float, int, int, int]:
    """Return milliseconds of processor time per look, rows, bytes per look and spans."""
    run = workflow(concurrency).start(range(items))
    batches = Batches(run)
    spent_ns = looks = sent = seen = rows = 0
    while not run.done():
        await asyncio.sleep(0)
        if len(run.spans) - seen < spans_per_look and not run.done():
            continue
        seen = len(run.spans)
        begun_ns = process_time_ns()
        message = batches.next()
        spent_ns += process_time_ns() - begun_ns
        sent += len(json.dumps(message))
        looks, rows = looks + 1, max(rows, len(message["order"] or ()))
    return spent_ns / looks / 1e6, rows, sent // looks, len(run.spans)


def once(run: Run[list[str]], draw: Callable[[Run[list[str]]], object]) -> float:
    begun_ns = process_time_ns()
    draw(run)
    return (process_time_ns() - begun_ns) / 1e6


async def main() -> None:
    enable(previews=True)
    print(f"Python {sys.version.split()[0]}, {LOOKS_PER_S} looks a second")
    print(f"{'':38}{'ms per look':>12}{'% of core':>11}{'rows':>6}{'bytes':>8}{'spans':>8}")
    cases = {
        # A step begins and ends: two events. 100 events a second are 5 spans between two looks.
        "100 events/s, 20 at once": (3_300, 20, 5),
        "100 events/s, 200 at once": (3_300, 200, 5),
        "2,000 events/s, 100 at once": (3_300, 100, 100),
        "20,000 events/s, 1,000 at once": (3_300, 1_000, 1_000),
    }
    for name, (items, concurrency, spans) in cases.items():
        ms, rows, sent, total = await watched(items, concurrency, spans)
        share = ms * LOOKS_PER_S / 10
        print(f"{name:38}{ms:12.2f}{share:11.1f}{rows:6}{sent:8,}{total:8,}")
    run = await workflow(100).run(range(3_300))
    print(f"{'rows of the whole run, from nothing':38}{once(run, rows_of):12.2f}")


if __name__ == "__main__":
    asyncio.run(main())
