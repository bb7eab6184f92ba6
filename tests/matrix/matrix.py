"""The interaction matrix: every primitive of recovery and caching around every other one.

    python tests/matrix/matrix.py              # the whole matrix, 8 schedules each
    python tests/matrix/matrix.py --seeds 50   # more schedules

Each cell runs one pair in one scenario on one seeded schedule of the virtual loop, over a provider
that counts what it is asked and what that uses. Afterwards these must hold: no task is left, no
exception is unretrieved, permits, places and flights are back where they were, every span has
ended, the usage that was recorded is the usage that the provider counted, and every result is
right for its own input. `test_matrix.py` runs a sample of it with every test run.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tta_notebook import (
    BulkheadPrimitive,
    CachePrimitive,
    CircuitBreakerPrimitive,
    CircuitOpenError,
    CircuitState,
    CompensationPrimitive,
    FallbackPrimitive,
    HedgePrimitive,
    LambdaPrimitive,
    RateLimitPrimitive,
    RetryPrimitive,
    StepTimeoutError,
    TimeoutPrimitive,
    Usage,
    WorkflowContext,
    WorkflowPrimitive,
    capture,
    last_run,
)
from tta_notebook.core.wrapper import WrapperPrimitive
from tta_notebook.testing import cancel_everywhere, run_virtual


class ProviderDownError(ConnectionError):
    """What the provider raises when it is down."""


class Provider(WorkflowPrimitive[str, str]):
    """Answers slowly, fails as it is told, and keeps its own books.

    Attributes:
        asked: how many calls it got.
        billed: tokens that it charges for: one for the input, one more for an answer.
    """

    is_idempotent = True

    def __init__(self, latency_s: Callable[[int], float], fails: Callable[[int], bool]) -> None:
        super().__init__(name="provider")
        self.latency_s, self.fails = latency_s, fails
        self.asked = self.billed = self.running = 0

    async def execute(self, input_data: str, context: WorkflowContext) -> str:
        self.asked += 1
        number = self.asked
        self._bill(context)
        self.running += 1
        try:
            await asyncio.sleep(self.latency_s(number) / 2)
            if self.fails(number):
                raise ProviderDownError(f"call {number} for {input_data!r}")
            await asyncio.sleep(self.latency_s(number) / 2)
        finally:
            self.running -= 1
        self._bill(context)
        return f"answer to {input_data}"

    def _bill(self, context: WorkflowContext) -> None:
        self.billed += 1
        context.used(Usage(input_tokens=1))


@dataclass
class Wrapped:
    """A primitive of the matrix around something, and how to see that it is back at rest.

    Attributes:
        step: the primitive.
        check: asserts that it holds nothing.
    """

    step: WorkflowPrimitive[Any, Any]
    check: Callable[[], None] = lambda: None


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - chance, not secrecy


def retry(inner: Any) -> Wrapped:
    return Wrapped(
        RetryPrimitive(inner, max_retries=2, initial_delay=0.1, budget=None, rng=seeded(1))
    )


def fallback(inner: Any) -> Wrapped:
    backup = LambdaPrimitive(lambda told: f"backup for {told}", name="backup")
    return Wrapped(FallbackPrimitive(inner, fallbacks=[backup]))


def timeout(inner: Any) -> Wrapped:
    return Wrapped(TimeoutPrimitive(inner, 5.0))


class Settled(WrapperPrimitive[Any, Any]):
    """Counts off what a saga that ended well has done: it is meant to stay done."""

    def __init__(self, primitive: Any, done: Counter[str]) -> None:
        super().__init__(primitive, prefix="settled", name=None)
        self.done = done

    async def execute(self, input_data: Any, context: WorkflowContext) -> Any:
        result = await self.primitive.execute(input_data, context)
        self.done[input_data] -= 1
        return result


def saga(inner: Any) -> Wrapped:
    done: Counter[str] = Counter()

    def note(told: str) -> str:
        done[told] += 1
        return told

    def undo(told: str) -> None:
        done[told] -= 1

    def check() -> None:
        left = {told: count for told, count in done.items() if count}
        assert not left, f"done without the rest, or undone twice: {left}"

    return Wrapped(Settled(CompensationPrimitive([(note, undo), (inner, None)]), done), check)


def breaker(inner: Any) -> Wrapped:
    step = CircuitBreakerPrimitive(inner, failure_threshold=3, recovery_timeout=1.0)

    def check() -> None:
        circuit = step.circuit()
        assert not circuit._probes, "a permit is not back"
        assert circuit.state in CircuitState

    return Wrapped(step, check)


def bulkhead(inner: Any) -> Wrapped:
    step = BulkheadPrimitive(inner, 7)

    def check() -> None:
        assert (step.running, step.waiting) == (0, 0), "a place is not back"

    return Wrapped(step, check)


def rate_limit(inner: Any) -> Wrapped:
    step = RateLimitPrimitive(inner, requests_per_minute=6000, burst=0.01)

    def check() -> None:
        limit = step.limit
        assert (limit._turn.free, limit._turn.waiting) == (1, 0), "somebody is still in line"
        assert limit._queued == {"requests": 0}, "something is still queued"

    return Wrapped(step, check)


def hedge(inner: Any) -> Wrapped:
    return Wrapped(HedgePrimitive(inner, delay_seconds=0.5, idempotent=True))


def cache(inner: Any) -> Wrapped:
    step = CachePrimitive(inner, ttl_seconds=3600)

    def check() -> None:
        assert len(step._asking.flights) == 0, "a flight is still under way"

    return Wrapped(step, check)


PRIMITIVES = (retry, fallback, timeout, saga, breaker, bulkhead, rate_limit, hedge, cache)
SCENARIOS = ("success", "failure", "flaky", "timeout", "cancel", "hundred")


@dataclass
class Cell:
    """One pair in one scenario on one schedule.

    Attributes:
        outer: the primitive outside.
        inner: the one that it wraps, around the provider.
        scenario: what happens to it.
        seed: of the schedule and of all chance.
    """

    outer: Callable[[Any], Wrapped]
    inner: Callable[[Any], Wrapped]
    scenario: str
    seed: int

    def __str__(self) -> str:
        return f"{self.outer.__name__}({self.inner.__name__}) {self.scenario} seed {self.seed}"

    def run(self) -> None:
        """Run it and assert everything that must hold."""
        {"cancel": self._cancel, "hundred": self._hundred}.get(self.scenario, self._once)()

    # The scenarios

    def _provider(self) -> Provider:
        chance = seeded(self.seed)
        latencies = [chance.uniform(0.1, 1.0) for _ in range(1000)]
        failing = {
            "success": lambda number: False,
            "failure": lambda number: True,
            "flaky": lambda number: number % 2 == 1,
            "timeout": lambda number: False,
            "cancel": lambda number: number == 1 and self.seed % 2 == 1,
            "hundred": lambda number: latencies[number % 1000] > 0.8,
        }[self.scenario]
        slow = 60.0 if self.scenario == "timeout" else 1.0
        return Provider(lambda number: slow * latencies[number % 1000], failing)

    def _built(self, provider: Provider) -> tuple[Any, Callable[[], None]]:
        inner = self.inner(provider)
        outer = self.outer(inner.step)

        def check() -> None:
            assert provider.running == 0, "a call is still under way"
            inner.check()
            outer.check()

        return outer.step, check

    def _once(self) -> None:
        provider = self._provider()
        step, check = self._built(provider)
        ends = _Ends()

        async def main() -> None:
            ends.listen()
            with capture() as spans:
                await ends.of(step, "x", within_s=200.0)
            ends.spans = list(spans)
            await ends.settle(check)

        run_virtual(main, seed=self.seed)
        ends.judge(provider)
        self._judge_result(ends.outcomes["x"], "x")

    def _hundred(self) -> None:
        provider = self._provider()
        step, check = self._built(provider)
        ends = _Ends()
        names = [f"x{number % 20}" for number in range(100)]

        async def main() -> None:
            ends.listen()
            with capture() as spans:
                async with asyncio.TaskGroup() as group:
                    for number, name in enumerate(names):
                        task = group.create_task(ends.of(step, name, 200.0, key=(name, number)))
                        if number % 7 == 3:
                            group.create_task(_cancel_after(task, number / 100))
            ends.spans = list(spans)
            await ends.settle(check)

        run_virtual(main, seed=self.seed)
        ends.judge(provider)
        for (name, _), outcome in ends.outcomes.items():
            self._judge_result(outcome, name)

    def _cancel(self) -> None:
        ends = _Ends()
        made: list[tuple[Provider, Callable[[], None]]] = []

        async def main() -> Any:
            provider = self._provider()
            step, check = self._built(provider)
            made.append((provider, check))
            try:
                with capture():
                    return await step("x")
            except Exception as error:  # noqa: BLE001 - an outcome like any other here
                return repr(error)
            finally:
                ends.runs = [last_run()]

        def judge(_: object) -> None:
            provider, check = made[-1]
            check()
            ends.judge(provider)

        cancel_everywhere(main, seed=self.seed, check=judge)

    def _judge_result(self, outcome: Any, told: str) -> None:
        answer, backup = f"answer to {told}", f"backup for {told}"
        has_backup = fallback in (self.outer, self.inner)
        if self.scenario == "success":
            assert outcome == answer, outcome
        elif isinstance(outcome, BaseException):
            self._judge_error(outcome)
        else:
            assert outcome == answer or (has_backup and outcome == backup), outcome
            if self.scenario == "failure":
                assert outcome == backup
        if self.scenario == "timeout" and timeout not in (self.outer, self.inner):
            assert outcome == answer, outcome

    def _judge_error(self, error: BaseException) -> None:
        if self.outer is fallback:
            assert isinstance(error, asyncio.CancelledError), repr(error)
        allowed: list[type[BaseException]] = [ProviderDownError]
        if timeout in (self.outer, self.inner):
            allowed.append(StepTimeoutError)
        if breaker in (self.outer, self.inner):
            allowed.append(CircuitOpenError)
        if self.scenario == "hundred":
            allowed.append(asyncio.CancelledError)
        assert isinstance(error, tuple(allowed)), repr(error)
        if self.scenario == "timeout":
            assert not isinstance(error, ProviderDownError)


class _Ends:
    """How the calls of a cell ended, and what they left behind."""

    def __init__(self) -> None:
        self.outcomes: dict[Any, Any] = {}
        self.runs: list[Any] = []
        self.spans: list[Any] = []
        self.reports: list[str] = []
        self.left: list[Any] = []

    def listen(self) -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: self.reports.append(str(context))
        )

    async def of(self, step: Any, told: str, within_s: float, key: Any = None) -> None:
        run = step.start(told)
        self.runs.append(run)
        try:
            async with asyncio.timeout(within_s):
                self.outcomes[key or told] = await run
        except (Exception, asyncio.CancelledError) as error:
            self.outcomes[key or told] = error
            if isinstance(error, asyncio.CancelledError):
                run.cancel()
                raise

    async def settle(self, check: Callable[[], None]) -> None:
        for _ in range(50):  # rounds without time: what was told to stop may do so
            await asyncio.sleep(0)
        this = asyncio.current_task()
        self.left = [task for task in asyncio.all_tasks() if task is not this]
        check()

    def judge(self, provider: Provider) -> None:
        gc.collect()
        assert not self.left, f"tasks are left: {self.left}"
        assert not self.reports, f"the loop reports: {self.reports}"
        for run in self.runs:
            assert run.done(), "a run has not ended"
            for span in run.spans:
                assert span.end_ns, f"{span!r} has not ended"
        booked = sum(run.usage.total_tokens for run in self.runs if run.usage is not None)
        assert booked == provider.billed, f"booked {booked}, billed {provider.billed}"


async def _cancel_after(task: asyncio.Task[Any], seconds: float) -> None:
    await asyncio.sleep(seconds)
    task.cancel()


def cells(seeds: int) -> list[Cell]:
    """Return the whole matrix on so many schedules."""
    return [
        Cell(outer, inner, scenario, seed)
        for outer in PRIMITIVES
        for inner in PRIMITIVES
        for scenario in SCENARIOS
        for seed in range(seeds)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the whole interaction matrix.")
    parser.add_argument("--seeds", type=int, default=8, help="schedules for each pair and scenario")
    wanted = cells(parser.parse_args().seeds)
    failed, start_s = 0, time.perf_counter()
    for cell in wanted:
        try:
            cell.run()
        except BaseException as error:  # noqa: BLE001 - a report of all of them is the point
            failed += 1
            print(f"FAILED {cell}: {type(error).__name__}: {error}")
    seconds = time.perf_counter() - start_s
    print(
        f"{len(PRIMITIVES)}x{len(PRIMITIVES)} pairs, {len(SCENARIOS)} scenarios: "
        f"{len(wanted) - failed} of {len(wanted)} cells hold, {seconds:.0f} s"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
