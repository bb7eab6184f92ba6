"""What fewer or more retries would have done to the executions that needed one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tta_notebook.core import money
from tta_notebook.cost.whatif.answer import Answer, Table, between, counted, data_frame, interval
from tta_notebook.cost.whatif.columns import UNKNOWN, hex_id
from tta_notebook.cost.whatif.trace import Execution, Trace
from tta_notebook.cost.whatif.wilson import wilson

if TYPE_CHECKING:
    import pandas as pd


class Interval(NamedTuple):
    """Between what an amount lies; both ends are the same where it is exact."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class ExecutionChange:
    """What would have become of one execution of a retry.

    Attributes:
        recorded_attempts: how many it made.
        attempts: how many it would have made, at least and at most.
        outcome: "same", "fails" (it succeeded later than it may now), "may succeed" (it failed
            for want of a further attempt).
        saved_calls: calls to models that would not have been made.
        saved_pico: what they cost.
        later_pico: what calls of its run cost that came after it, and may not have been made.
    """

    run_id: str
    step: str | None
    recorded_attempts: int
    attempts: Interval
    outcome: str
    saved_calls: int
    saved_pico: int
    later_pico: int
    unpriced: int


@dataclass(frozen=True, repr=False)
class RetryReplay(Answer):
    """What another number of retries would have done.

    Attributes:
        max_retries: what was asked.
        changes: one for each execution that had a retry, or failed for good.
        failing: how many executions would have failed that succeeded; exact.
        failing_runs: in how many runs that ended well; those with a fallback may still do.
        saved_calls: calls to models that would not have been made, each once; exact.
        saved_pico: what they cost, and at most with all that came after them in failing runs.
        waited_s: seconds of waiting between attempts that would not have been spent; exact.
        rescued: how many failed executions would have succeeded: none to all of them.
        rescued_likely: the same by the observed rate of retries that succeed, at both ends of its
            95 % Wilson interval.
        success_rate: that interval.
        added_attempts: how many more attempts there would have been.
        added_pico: what they would have cost, by the cheapest and the dearest recorded attempt.

    >>> from tta_notebook.cost.whatif import WhatIf
    >>> WhatIf([]).retry(max_retries=1).saved_usd
    (0.0, 0.0)
    """

    max_retries: int
    changes: tuple[ExecutionChange, ...] = field(repr=False)
    failing: int
    failing_runs: int
    saved_calls: int
    saved_pico: Interval
    waited_s: float
    rescued: Interval
    rescued_likely: tuple[float, float]
    success_rate: tuple[float, float]
    added_attempts: Interval
    added_pico: Interval

    @property
    def saved_usd(self) -> tuple[float, float]:
        """What would not have been spent, in USD."""
        return money.usd(self.saved_pico.low), money.usd(self.saved_pico.high)

    @property
    def added_usd(self) -> tuple[float, float]:
        """What would have been spent beyond what was, in USD."""
        return money.usd(self.added_pico.low), money.usd(self.added_pico.high)

    def table(self) -> Table:
        """Return a line for each figure."""
        likely = between(*self.rescued_likely, form=".1f")
        rows = [
            ("executions that would have failed", f"{self.failing:,}"),
            ("in runs that ended well", f"{self.failing_runs:,}"),
            ("calls saved", f"{self.saved_calls:,}"),
            ("cost saved", interval(*self.saved_pico)),
            ("waiting saved", f"{self.waited_s:,.3g} s"),
            ("executions that could have succeeded", between(*self.rescued)),
            ("likely (95 %)", likely),
            ("attempts added", between(*self.added_attempts)),
            ("cost added", interval(*self.added_pico)),
        ]
        title = f"max_retries={self.max_retries}, {counted(len(self.changes), 'execution')}"
        return Table(title, ("", "would have been"), rows)

    def frame(self) -> pd.DataFrame:
        """Return a row for each execution that had a retry or failed for good."""
        each = self.changes
        return data_frame(
            {
                "run_id": [change.run_id for change in each],
                "step": [change.step for change in each],
                "recorded_attempts": [change.recorded_attempts for change in each],
                "attempts_low": [change.attempts.low for change in each],
                "attempts_high": [change.attempts.high for change in each],
                "outcome": [change.outcome for change in each],
                "saved_calls": [change.saved_calls for change in each],
                "saved_usd": [money.usd(change.saved_pico) for change in each],
            }
        )


def retry_replay(trace: Trace, executions: Sequence[Execution], max_retries: int) -> RetryReplay:
    """Return what another number of retries would have done to recorded executions."""
    changes = [_change(trace, each, max_retries + 1) for each in executions]
    pairs = list(zip(executions, changes, strict=True))
    failing = [(e, c) for e, c in pairs if c.outcome == "fails"]
    hopeful = [c for c in changes if c.outcome == "may succeed"]
    extra = [
        (c.attempts.low - c.recorded_attempts, c.attempts.high - c.recorded_attempts)
        for c in hopeful
    ]
    rate = wilson(*_retries_that_succeeded(executions))
    # Together, since a retry inside of another one shares its calls.
    spared = set[int]().union(*(_spared(trace, each, max_retries + 1) for each in executions))
    saved, _ = _priced(trace, spared)
    least, most = _attempt_costs(trace, executions)
    added = Interval(sum(low for low, _ in extra), sum(high for _, high in extra))
    return RetryReplay(
        _gaps(executions, changes, max_retries),
        max_retries,
        tuple(changes),
        len(failing),
        len({e.run_id for e, _ in failing if trace.run_status.get(e.run_id) == "ok"}),
        len(spared),
        Interval(saved, saved + _later(failing)),
        sum(sum(e.waited_s[max_retries:]) for e in executions),
        Interval(0, len(hopeful)),
        (_rescued(rate[0], extra), _rescued(rate[1], extra)),
        rate,
        added,
        Interval(added.low * least, added.high * most),
    )


def _change(trace: Trace, execution: Execution, allowed: int) -> ExecutionChange:
    made = execution.attempts
    outcome, attempts = "same", Interval(min(made, allowed), min(made, allowed))
    later = 0
    if made > allowed and _has_succeeded(execution):
        outcome, later = "fails", _cost_after(trace, execution)
    elif made < allowed and execution.stop == "exhausted":
        outcome, attempts = "may succeed", Interval(made + 1, allowed)
    spared = _spared(trace, execution, allowed)
    saved, unpriced = _priced(trace, spared)
    return ExecutionChange(
        hex_id(execution.run_id),
        execution.step,
        made,
        attempts,
        outcome,
        len(spared),
        saved,
        later,
        unpriced,
    )


def _spared(trace: Trace, execution: Execution, allowed: int) -> list[int]:
    """Return the calls that would not have been made with fewer attempts."""
    places = _calls_in(trace, execution)
    return [place for place in places if _attempt(trace, execution, place) > allowed]


def _priced(trace: Trace, places: Iterable[int]) -> tuple[int, int]:
    """Return what calls cost together, and how many of them have no price."""
    calls = trace.calls
    costs = [calls.cost[place] for place in places if calls.has_usage(place)]
    unpriced = costs.count(UNKNOWN)
    return sum(costs) - unpriced * UNKNOWN, unpriced


def _has_succeeded(execution: Execution) -> bool:
    # With a reason to stop it gave a result that was rejected, for want of a better one.
    return execution.status == "ok" and execution.stop is None


def _calls_in(trace: Trace, execution: Execution) -> Sequence[int]:
    return trace.inside.get(execution.span_id, ())


def _attempt(trace: Trace, execution: Execution, place: int) -> int:
    """Return in which attempt a call was made, from 1."""
    # A call begins before the end of its attempt, which is when the next one is decided on.
    return bisect_left(execution.again_ns, trace.calls.time_ns[place]) + 1


def _cost_after(trace: Trace, execution: Execution) -> int:
    """Return what calls of its run cost that came after an execution."""
    calls, own = trace.calls, set(_calls_in(trace, execution))
    return sum(
        calls.cost[place]
        for place in trace.by_run.get(trace.outermost(execution.run_id), ())
        if calls.time_ns[place] >= execution.ended_ns
        and place not in own
        and calls.cost[place] != UNKNOWN
    )


def _later(failing: Sequence[tuple[Execution, ExecutionChange]]) -> int:
    # Of several that fail in one run the first ends it, after which the most comes.
    most: dict[str, int] = {}
    for _, change in failing:
        most[change.run_id] = max(change.later_pico, most.get(change.run_id, 0))
    return sum(most.values())


def _retries_that_succeeded(executions: Sequence[Execution]) -> tuple[int, int]:
    """Return how many retries succeeded, of how many that were made and judged."""
    retries = sum(len(e.again_ns) for e in executions)
    cut_off = sum(e.status != "ok" and e.stop is None for e in executions if e.again_ns)
    succeeded = sum(_has_succeeded(e) for e in executions if e.again_ns)
    return succeeded, retries - cut_off


def _rescued(rate: float, extra: Sequence[tuple[int, int]]) -> float:
    return float(sum(1 - (1 - rate) ** most for _, most in extra))


def _attempt_costs(trace: Trace, executions: Sequence[Execution]) -> tuple[int, int]:
    """Return what the cheapest and the dearest attempt cost that is recorded."""
    costs: list[int] = []
    for execution in executions:
        attempts: list[list[int]] = [[] for _ in range(execution.attempts)]
        for place in _calls_in(trace, execution):
            attempts[_attempt(trace, execution, place) - 1].append(place)
        priced = (_priced(trace, places) for places in attempts)
        costs += [cost for cost, unpriced in priced if not unpriced]
    return (min(costs), max(costs)) if costs else (0, 0)


def _gaps(
    executions: Sequence[Execution], changes: Sequence[ExecutionChange], max_retries: int
) -> tuple[str, ...]:
    caveats: list[str] = []
    if not executions:
        caveats.append("No retry is recorded, so nothing would have been different.")
    if any(change.outcome == "may succeed" for change in changes):
        caveats.append(
            "How a further attempt would have ended is not recorded: the bounds are that none or "
            "all succeed. The likely number takes attempts as independent, at the rate of all "
            "recorded retries; those that failed so often may be harder."
        )
        caveats.append("Deadlines and retry budgets could have stopped further attempts.")
    if any(change.outcome == "fails" for change in changes):
        caveats.append(
            "An execution that fails earlier may be caught by a fallback around it, or end its "
            "run: the higher saving leaves out all of the run's later calls."
        )
    stopped = [e for e in executions if e.stop not in (None, "exhausted", "permanent")]
    if stopped and any(e.attempts <= max_retries for e in stopped):
        names = ", ".join(sorted({str(e.stop) for e in stopped}))
        caveats.append(
            f"Executions that were stopped by something else ({names}) stay as they are."
        )
    if unpriced := sum(change.unpriced for change in changes):
        has = counted(unpriced, "call", ("has", "have"))
        caveats.append(f"{has} no recorded cost, and counts in no sum of money.")
    return tuple(caveats)
