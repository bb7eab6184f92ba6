"""What recovery and caching cost when nothing goes wrong, beside the peers, in one process.

    pip install tenacity stamina cachetools async-lru pybreaker   # what is missing is left out
    python tests/bench/bench_recovery.py

Every figure is the minimum over repeats that alternate between all contenders, so that a busy
machine slows them alike. "In a run" means: called with the context of a step of a run, as inside
every workflow; "untraced" and "traced" say whether anybody records it.
"""

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Awaitable, Callable
from time import perf_counter_ns
from typing import Any

from tta_notebook import (
    CachePrimitive,
    CircuitBreakerPrimitive,
    FallbackPrimitive,
    LambdaPrimitive,
    RetryPrimitive,
    RouterPrimitive,
    TimeoutPrimitive,
    WorkflowContext,
    WorkflowPrimitive,
    disable,
    enable,
)

CALLS, REPEATS, CALLERS = 1000, 40, 10_000

Call = Callable[[], Awaitable[Any]]


async def step(x: Any) -> Any:
    return x


async def loop_by_hand(x: Any) -> Any:
    """Try as one would write it without any library."""
    for attempt in range(4):
        try:
            return await step(x)
        except (OSError, TimeoutError):
            if attempt == 3:
                raise
            await asyncio.sleep(2**attempt)
    raise AssertionError


def peers() -> dict[str, dict[str, Call]]:
    """Return what the peers do, by what of ours it stands beside; those that are installed."""
    found: dict[str, dict[str, Call]] = {"retry": {}, "breaker": {}, "timeout": {}, "hit": {}}

    async def under_timeout() -> Any:
        async with asyncio.timeout(30):
            return await step(1)

    found["timeout"]["asyncio.timeout"] = under_timeout
    for add in (_tenacity, _stamina, _pybreaker, _async_lru, _cachetools):
        try:
            add(found)
        except ImportError as missing:
            print(f"not installed: {missing.name}")
    return found


def _tenacity(found: dict[str, dict[str, Call]]) -> None:
    import tenacity  # noqa: PLC0415 - it may be missing

    decorate = tenacity.retry(
        stop=tenacity.stop_after_attempt(4),
        retry=tenacity.retry_if_exception_type((OSError, TimeoutError)),
        wait=tenacity.wait_random_exponential(max=60),
        reraise=True,
    )
    tried = decorate(step)
    found["retry"]["tenacity"] = lambda: tried(1)


def _stamina(found: dict[str, dict[str, Call]]) -> None:
    import stamina  # noqa: PLC0415 - it may be missing

    tried = stamina.retry(on=(OSError, TimeoutError), attempts=4)(step)
    found["retry"]["stamina"] = lambda: tried(1)


def _pybreaker(found: dict[str, dict[str, Call]]) -> None:
    import pybreaker  # noqa: PLC0415 - it may be missing

    breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=60)

    async def broken() -> Any:
        with breaker.calling():
            return await step(1)

    found["breaker"]["pybreaker"] = broken


def _async_lru(found: dict[str, dict[str, Call]]) -> None:
    import async_lru  # noqa: PLC0415 - it may be missing

    cached = async_lru.alru_cache(maxsize=1000, ttl=3600)(step)
    found["hit"]["async-lru"] = lambda: cached("hello")


def _cachetools(found: dict[str, dict[str, Call]]) -> None:
    import cachetools  # noqa: PLC0415 - it may be missing

    kept: Any = cachetools.TTLCache(1000, 3600)

    async def cached() -> Any:
        key = cachetools.keys.hashkey("hello")
        if key not in kept:
            kept[key] = await step("hello")
        return kept[key]

    found["hit"]["cachetools, by hand"] = cached


def stack(fast: Any) -> WorkflowPrimitive[Any, Any]:
    """Return the five layers of the catalogue's production stack around a step."""

    def layers(model: Any) -> Any:
        cached = CachePrimitive(model, ttl_seconds=3600, max_size=1000)
        timed = TimeoutPrimitive(cached, timeout_seconds=30.0)
        return RetryPrimitive(timed, max_retries=3, backoff_strategy="exponential")

    safe = FallbackPrimitive(layers(fast), fallbacks=[layers(step)])
    return RouterPrimitive(
        {"fast": safe, "quality": safe}, router_fn=lambda _: "fast", default="fast"
    )


class Bench(WorkflowPrimitive[Any, Any]):
    """Measures inside a run, where every workflow's steps are called."""

    def __init__(self, cases: Callable[[WorkflowContext], dict[str, Call]]) -> None:
        super().__init__(name="bench")
        self._cases = cases

    async def execute(self, input_data: Any, context: WorkflowContext) -> dict[str, float]:
        contenders = self._cases(context)
        best = dict.fromkeys(contenders, float("inf"))
        for call in contenders.values():
            await call()
        for _ in range(REPEATS):
            for name, call in contenders.items():
                gc.collect()
                if context.run is not None:
                    context.run.spans.clear()  # a record is bounded; each repeat fills it anew
                start_ns = perf_counter_ns()
                for _ in range(CALLS):
                    await call()
                best[name] = min(best[name], (perf_counter_ns() - start_ns) / CALLS)
        return best


SMALL = {"model": "small", "messages": [{"role": "user", "content": "hello"}], "n": 1, "top_p": 0.9}


def cases(context: WorkflowContext, others: dict[str, dict[str, Call]]) -> dict[str, Call]:
    plain = LambdaPrimitive(step)
    retry = RetryPrimitive(step)
    breaker = CircuitBreakerPrimitive(step)
    window = CircuitBreakerPrimitive(step, failure_rate=0.5)
    timeout = TimeoutPrimitive(step, 30.0)
    text, table = CachePrimitive(str.upper), CachePrimitive(lambda told: {**told, "n": 2})
    whole, missing = stack(step), stack(step)
    numbers = iter(range(10**9))
    ours: dict[str, Call] = {
        "bare await": lambda: step(1),
        "loop by hand": lambda: loop_by_hand(1),
        "a step": lambda: plain.execute(1, context),
        "retry": lambda: retry.execute(1, context),
        "breaker": lambda: breaker.execute(1, context),
        "breaker with a window": lambda: window.execute(1, context),
        "timeout": lambda: timeout.execute(1, context),
        "hit, text": lambda: text.execute("hello", context),
        "hit, small dict": lambda: table.execute(SMALL, context),
        "stack, hit": lambda: whole.execute("hello", context),
        "stack, miss": lambda: missing.execute(next(numbers), context),
    }
    return ours | {name: call for calls in others.values() for name, call in calls.items()}


# Of what the ratio is taken, and what it may be; or the most microseconds.
RATIOS = {"retry": ("loop by hand", 3.0), "breaker": ("bare await", 3.0)}
MICROSECONDS = {"hit, text": 3.0, "hit, small dict": 25.0, "stack, hit": 30.0, "stack, miss": 30.0}


def table(mode: str, best: dict[str, float]) -> None:
    print(f"\n{mode:28}{'us':>9}{'x bare await':>14}{'bound':>22}")
    for name, ns in best.items():
        bound = ""
        if name in RATIOS and mode == "untraced, in a run":
            of, most = RATIOS[name]
            bound = f"{ns / best[of]:.2f} of {most:g} x {of}"
        elif name in MICROSECONDS and mode == "traced, in a run":
            bound = f"{MICROSECONDS[name]:g} us"
        print(f"{name:28}{ns / 1e3:9.2f}{ns / best['bare await']:14.1f}{bound:>22}")


async def callers(workflow: WorkflowPrimitive[Any, Any], count: int) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(workflow.execute(f"question {number % 500}"))


async def memory() -> None:
    """Print what is held after rounds of ten thousand callers at once through the stack."""

    async def slow(x: Any) -> Any:
        await asyncio.sleep(0.001)
        return x

    workflow = stack(slow)
    await callers(workflow, 100)
    tracemalloc.start()
    held: list[str] = []
    for _ in range(5):
        await callers(workflow, CALLERS)
        gc.collect()
        now, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        held.append(f"{now / 1024:.0f} KiB (peak {peak / 1024 / CALLERS:.2f} KiB a caller)")
    tracemalloc.stop()
    print(f"\nheld after each of five rounds of {CALLERS} callers: " + ", ".join(held))


def main() -> None:
    print(f"Python {sys.version.split()[0]}, minimum of {REPEATS} alternating repeats of {CALLS}")
    others = peers()
    disable()
    table(
        "untraced, in a run", asyncio.run(Bench(lambda context: cases(context, others)).execute(0))
    )
    enable()
    table("traced, in a run", asyncio.run(Bench(lambda context: cases(context, others)).execute(0)))
    disable()
    asyncio.run(memory())


if __name__ == "__main__":
    main()
