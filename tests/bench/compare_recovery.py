"""What recovery and caching libraries do when it gets rough, beside ours, in one process.

    pip install tenacity stamina cachetools async-lru pybreaker   # what is missing is left out
    python tests/bench/compare_recovery.py

Each line is run, not quoted: it prints the table of docs/comparison.md.
"""

import asyncio
import importlib.util
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from tta_notebook import (
    CachePrimitive,
    CircuitBreakerPrimitive,
    CircuitOpenError,
    RateLimitError,
    RetryPrimitive,
)
from tta_notebook.testing import run_virtual

Scenario = Callable[[], Awaitable[str]]


class Counted:
    """An async function that counts its calls, and fails or answers as it is told."""

    def __init__(self, *outcomes: Any, delay_s: float = 0.0) -> None:
        self.calls, self.outcomes, self.delay_s = 0, outcomes, delay_s

    async def __call__(self, *_: Any) -> Any:
        outcome = self.outcomes[min(self.calls, len(self.outcomes) - 1)]
        self.calls += 1
        await asyncio.sleep(self.delay_s)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def settled(calls: Any) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


# A programming error


async def type_error(decorate: Callable[[Any], Any]) -> str:
    step = Counted(TypeError("a bug"))
    await settled([decorate(step)(1)])
    return f"{step.calls} call{'s' if step.calls > 1 else ''}"


def tenacity_retry(step: Any) -> Any:
    import tenacity  # noqa: PLC0415 - it may be missing

    async def call(x: Any) -> Any:
        return await step(x)

    return tenacity.retry(stop=tenacity.stop_after_attempt(4), wait=tenacity.wait_fixed(1))(call)


def our_retry(step: Any) -> Any:
    return RetryPrimitive(step, max_retries=3, initial_delay=1.0, jitter=False)


# What the provider asks for


async def retry_after(decorate: Callable[[Any], Any]) -> str:
    busy = RateLimitError("busy", model="m", status_code=429, retry_after=20.0)
    step = Counted(busy, "answer")
    began_s = asyncio.get_running_loop().time()
    await settled([decorate(step)(1)])
    return f"tried again after {asyncio.get_running_loop().time() - began_s:.0f} s"


def stamina_retry(step: Any) -> Any:
    import stamina  # noqa: PLC0415 - it may be missing

    async def call(x: Any) -> Any:
        return await step(x)

    return stamina.retry(on=Exception, attempts=4, wait_initial=1, wait_jitter=0)(call)


# A hundred callers of a circuit that tries out


async def pybreaker_half_open() -> str:
    import pybreaker  # noqa: PLC0415 - it may be missing

    breaker = pybreaker.CircuitBreaker(fail_max=1, reset_timeout=0)
    step = Counted(ConnectionError("down"), "up", delay_s=0.01)

    async def call() -> Any:
        with breaker.calling():
            return await step()

    await settled([call()])
    await settled(call() for _ in range(100))
    return f"{step.calls - 1} of 100 let through"


async def our_half_open() -> str:
    step = Counted(ConnectionError("down"), "up", delay_s=0.01)
    breaker = CircuitBreakerPrimitive(step, failure_threshold=1, recovery_timeout=0)
    await settled([breaker(1)])
    results = await settled(breaker(1) for _ in range(100))
    assert sum(isinstance(result, CircuitOpenError) for result in results) == 99
    return f"{step.calls - 1} of 100 let through"


# A thousand callers of one thing


def async_lru_cache(step: Any) -> Any:
    import async_lru  # noqa: PLC0415 - it may be missing

    async def call(x: Any) -> Any:
        return await step(x)

    return async_lru.alru_cache(maxsize=100, ttl=3600)(call)


def cachetools_cache(step: Any) -> Any:
    import cachetools  # noqa: PLC0415 - it may be missing

    kept: Any = cachetools.TTLCache(100, 3600)

    async def call(x: Any) -> Any:
        if x not in kept:
            kept[x] = await step(x)
        return kept[x]

    return call


async def thousand(decorate: Callable[[Any], Any]) -> str:
    step = Counted("answer", delay_s=1.0)
    cached = decorate(step)
    await settled(cached("x") for _ in range(1000))
    return f"{step.calls} call{'s' if step.calls > 1 else ''}"


async def leader_cancelled(decorate: Callable[[Any], Any]) -> str:
    step = Counted("answer", delay_s=1.0)
    cached = decorate(step)
    leader = asyncio.create_task(cached("x"))
    await asyncio.sleep(0.1)
    others = [asyncio.create_task(cached("x")) for _ in range(10)]
    await asyncio.sleep(0.1)
    leader.cancel()
    results = await settled(others)
    return f"{results.count('answer')} of 10 others answered, {step.calls} calls"


async def own_value(decorate: Callable[[Any], Any]) -> str:
    async def fresh(_: Any) -> Any:
        return {"tags": []}

    cached = decorate(fresh)
    (await cached("x"))["tags"].append("mine")
    found = (await cached("x"))["tags"]
    return "shares one object with all" if found else "gives each a copy"


async def changed_code(decorate: Callable[[Any], Any]) -> str:
    space: dict[str, Any] = {"PROMPT": "brief"}
    exec("async def ask(x):\n    return PROMPT", space)  # noqa: S102 - a notebook's cells
    cached = decorate(space["ask"])
    await cached("x")
    space["PROMPT"] = "long"
    return "asked anew" if await cached("x") == "long" else "serves the old answer"


ROWS: dict[str, dict[str, Callable[[], Awaitable[str]]]] = {
    "a TypeError in the step": {
        "tenacity": lambda: type_error(tenacity_retry),
        "ours": lambda: type_error(our_retry),
    },
    "`Retry-After: 20`": {
        "tenacity": lambda: retry_after(tenacity_retry),
        "stamina": lambda: retry_after(stamina_retry),
        "ours": lambda: retry_after(our_retry),
    },
    "100 callers of a half-open circuit": {
        "pybreaker": pybreaker_half_open,
        "ours": our_half_open,
    },
    "1000 callers, one missing answer": {
        "async-lru": lambda: thousand(async_lru_cache),
        "cachetools": lambda: thousand(cachetools_cache),
        "ours": lambda: thousand(CachePrimitive),
    },
    "the caller whose call it is is cancelled": {
        "async-lru": lambda: leader_cancelled(async_lru_cache),
        "cachetools": lambda: leader_cancelled(cachetools_cache),
        "ours": lambda: leader_cancelled(CachePrimitive),
    },
    "a cached dict": {
        "async-lru": lambda: own_value(async_lru_cache),
        "cachetools": lambda: own_value(cachetools_cache),
        "ours": lambda: own_value(CachePrimitive),
    },
    "a prompt is changed in another cell": {
        "async-lru": lambda: changed_code(async_lru_cache),
        "cachetools": lambda: changed_code(cachetools_cache),
        "ours": lambda: changed_code(CachePrimitive),
    },
}


CONTENDERS = ("ours", "tenacity", "stamina", "pybreaker", "async-lru", "cachetools")


def is_there(contender: str) -> bool:
    return contender == "ours" or bool(importlib.util.find_spec(contender.replace("-", "_")))


def main() -> None:
    print(f"Python {sys.version.split()[0]}\n")
    print(f"| | {' | '.join(CONTENDERS)} |")
    print("|---" * (len(CONTENDERS) + 1) + "|")
    for situation, contenders in ROWS.items():
        told = {
            name: run_virtual(scenario) for name, scenario in contenders.items() if is_there(name)
        }
        print(f"| {situation} | {' | '.join(told.get(name, '') for name in CONTENDERS)} |")


if __name__ == "__main__":
    main()
