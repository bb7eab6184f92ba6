"""What an item costs: in this process, dealt out to workers in it, on a cluster, on Dask alone.

    python tests/bench/bench_scale.py

A map of 10,000 items of which each does next to nothing, so that what is left is the dealing.
Figures are the minimum over repeats that alternate between all contenders, so that a busy machine
slows them alike. "Dealt here" is the whole of it (chunks, bytes, reports, spans) without processes:
its workers are tasks on the loop that deals.
"""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from tta_notebook import Cluster, LambdaPrimitive, MapPrimitive, disable, enable

sys.path.insert(0, str(Path(__file__).parents[1] / "scale"))

from crew import LocalCrew, over

ITEMS, REPEATS, WORKERS = 10_000, 3, 2

Call = Callable[[], Awaitable[Any]]


def step(x: int) -> int:
    return x + 1


async def timed(call: Call) -> float:
    gc.collect()
    start = perf_counter_ns()
    found = await call()
    taken = perf_counter_ns() - start
    assert list(found) == list(range(1, ITEMS + 1))
    return taken / ITEMS / 1e3


async def best(calls: dict[str, Call]) -> dict[str, float]:
    """Return the least microseconds an item of each."""
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(REPEATS):
        for name, call in calls.items():
            least[name] = min(least[name], await timed(call))
    return least


def contenders(cluster: Cluster, client: Any) -> dict[str, Call]:
    items = range(ITEMS)
    each = LambdaPrimitive(step, name="step")

    def one_task_an_item() -> Any:
        return client.gather(client.map(step, items, pure=False))

    return {
        "here": lambda: MapPrimitive(each).execute(items),
        "dealt here": lambda: over(LocalCrew(WORKERS), each).execute(items),
        "on a cluster": lambda: MapPrimitive(each, executor=cluster).execute(items),
        "Dask, a task an item": lambda: asyncio.to_thread(one_task_an_item),
    }


async def measured() -> tuple[dict[str, float], dict[str, float]]:
    from distributed import Client, LocalCluster  # noqa: PLC0415 - they take a second

    local = LocalCluster(
        n_workers=WORKERS, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    )
    with local, Client(local, set_as_default=False) as client:
        async with Cluster(client=client) as cluster:
            calls = contenders(cluster, client)
            untraced = await best(calls)
            enable()
            traced = await best({name: call for name, call in calls.items() if "Dask" not in name})
            disable()
    return untraced, traced


def main() -> None:
    untraced, traced = asyncio.run(measured())
    print(f"\n{ITEMS:,} items, {WORKERS} workers, microseconds an item\n")
    print("| | untraced | beside here | traced |\n|---|---|---|---|")
    for name, least in untraced.items():
        seen = f"{traced[name]:.0f} µs" if name in traced else ""
        print(f"| {name} | {least:.0f} µs | {least / untraced['here']:.1f}x | {seen} |")


if __name__ == "__main__":
    main()
