"""What the core costs, as ratios to a raw `await` in the same process.

    python tests/bench/bench_core.py

Every figure is the minimum over repeats that alternate between the raw code and ours, so that a
busy machine slows both. The bounds speak of the ratios; microseconds depend on the machine.
"""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter_ns

from tta_notebook import (
    LambdaPrimitive,
    ParallelPrimitive,
    SequentialPrimitive,
    disable,
    enable,
    subscribe,
    unsubscribe,
)

STEPS = 10
REPEATS = 60


async def step(x: int) -> int:
    return x


async def per_call(work: Callable[[], Awaitable[object]], calls: int) -> float:
    """Return nanoseconds per call of `work`, over `calls` calls."""
    start = perf_counter_ns()
    for _ in range(calls):
        await work()
    return (perf_counter_ns() - start) / calls


async def raw_chain() -> None:
    value = 0
    for _ in range(STEPS):
        value = await step(value)


async def raw_parallel() -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(step(0))


async def raw_runs() -> None:
    async def one() -> None:
        for _ in range(5):
            await step(0)

    await asyncio.gather(*(one() for _ in range(1000)))


chain = SequentialPrimitive([LambdaPrimitive(step)] * STEPS)
fan = ParallelPrimitive([LambdaPrimitive(step)] * 100)
five = SequentialPrimitive([LambdaPrimitive(step)] * 5)


async def our_runs() -> None:
    await asyncio.gather(*(five.execute(0) for _ in range(1000)))


CASES: dict[str, tuple[Callable[[], Awaitable[object]], Callable[[], Awaitable[object]], int]] = {
    "chain of 10, per step": (raw_chain, lambda: chain.execute(0), 200),
    "parallel of 100, per branch": (raw_parallel, lambda: fan.execute(0), 5),
    "1000 concurrent runs of 5 steps": (raw_runs, our_runs, 1),
}
BOUNDS = {
    ("chain of 10, per step", "untraced"): 3.5,
    ("chain of 10, per step", "traced"): 12.0,
    ("parallel of 100, per branch", "traced"): 2.0,
}


MODES: dict[str, Callable[[], object]] = {
    "untraced": disable,
    "traced": enable,
    "+ previews": lambda: enable(previews=True),
    "+ a sink": lambda: (enable(), subscribe(ignore)),
}


def ignore(batch: object) -> None:
    """Take a batch, as a sink, and do nothing with it."""


async def measure(name: str, mode: str) -> tuple[float, float]:
    raw, ours, calls = CASES[name]
    MODES[mode]()
    best_raw = best_ours = float("inf")
    for _ in range(REPEATS if calls > 1 else 10):
        gc.collect()
        best_raw = min(best_raw, await per_call(raw, calls))
        best_ours = min(best_ours, await per_call(ours, calls))
    disable()
    unsubscribe(ignore)
    return best_raw, best_ours


def main() -> None:
    print(f"Python {sys.version.split()[0]}, minimum of {REPEATS} alternating repeats")
    print(f"{'':34}{'':10}{'raw us':>10}{'ours us':>10}{'ratio':>8}{'bound':>8}")
    for name in CASES:
        for mode in MODES:
            raw, ours = asyncio.run(measure(name, mode))
            bound = BOUNDS.get((name, mode), "")
            print(
                f"{name:34}{mode:10}{raw / 1e3:10.2f}{ours / 1e3:10.2f}{ours / raw:8.2f}{bound:>8}"
            )


if __name__ == "__main__":
    main()
