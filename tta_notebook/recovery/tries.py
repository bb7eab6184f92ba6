"""What one execution of a retry has tried so far, and whether it goes on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tta_notebook.core import clock
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import CircuitOpenError, StepTimeoutError
from tta_notebook.recovery.cancelling import stands_for_cancellation
from tta_notebook.recovery.retry_after import retry_after
from tta_notebook.recovery.told import attach, shown, tell
from tta_notebook.recovery.transient import is_transient

if TYPE_CHECKING:
    from tta_notebook.recovery.retry import RetryPrimitive


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that was not the end of it, or the last one.

    Attributes:
        number: which one, from 1.
        error: what it raised; None where its result was rejected.
        duration_s: how long it took.
        delay_s: how long the next one was put off; None for the last.

    >>> Attempt(1, ConnectionError("lost"), 0.25, 1.5).delay_s
    1.5
    """

    number: int
    error: Exception | None
    duration_s: float
    delay_s: float | None

    def __str__(self) -> str:
        how = "its result was rejected" if self.error is None else shown(self.error)
        return f"attempt {self.number} failed after {self.duration_s:.3g} s: {how}"


class Stop(NamedTuple):
    """Why there is no further attempt.

    Attributes:
        reason: in one word, for the trace.
        because: in a sentence, for people.
    """

    reason: str
    because: str


class Tries:
    """The attempts of one execution.

    Attributes:
        attempts: those that are over.
        start_ns: when the one under way began.
    """

    __slots__ = ("_context", "_owner", "_previous_s", "attempts", "start_ns")

    def __init__(self, owner: RetryPrimitive[Any, Any], context: WorkflowContext) -> None:
        self.attempts: list[Attempt] = []
        self.start_ns = clock.source()
        self._owner = owner
        self._context = context
        self._previous_s: float | None = None

    async def go_on(self, error: Exception | None) -> bool:
        """Wait until the next attempt may begin; False when there is none.

        Args:
            error: what the attempt raised; None where its result was rejected.
        """
        duration_s = self._elapsed_s()
        try:
            plan = await self._plan(error)
        except Exception as broken:
            if error is None or broken is error:
                raise
            # A condition or a strategy of the user's own that fails must not hide the first error.
            raise broken from error
        if isinstance(plan, Stop):
            self.end(error, plan, duration_s)
            return False
        self.attempts.append(Attempt(len(self.attempts) + 1, error, duration_s, plan))
        said = "its result was rejected" if error is None else shown(error)
        self._context.note("retry", attempt=len(self.attempts) + 1, delay_s=plan, error=said)
        await asyncio.sleep(plan)
        return True

    def end(self, error: Exception | None, stop: Stop, duration_s: float | None = None) -> None:
        """Say that there is no further attempt: in the trace, and on the error if there is one."""
        took_s = self._elapsed_s() if duration_s is None else duration_s
        self.attempts.append(Attempt(len(self.attempts) + 1, error, took_s, None))
        self._context.note("retry_stopped", reason=stop.reason, attempts=len(self.attempts))
        if error is None:
            return
        attach(error, "attempts", tuple(self.attempts))
        waits = [
            f"{attempt}; the next one began {attempt.delay_s:.3g} s later"
            for attempt in self.attempts[:-1]
        ]
        last = f"{self.attempts[-1]}; there is no other one, because {stop.because}"
        tell(error, f"RetryPrimitive {self._owner.name!r}", [*waits, last])

    def too_late(self) -> StepTimeoutError:
        """Return the error of the overall time, which ends the attempt or the delay under way."""
        owner = self._owner
        error = StepTimeoutError(
            f"RetryPrimitive {owner.name!r}: {owner.primitive.name!r} was stopped in attempt "
            f"{len(self.attempts) + 1}, because all attempts together took longer than "
            f"{owner.timeout_seconds:g} s. Allow more with timeout_seconds=…, or bound each "
            "attempt with attempt_timeout_seconds=….",
            kind="own",
            primitive=owner.name,
            timeout_s=owner.timeout_seconds,
        )
        if owner.timeout_seconds:  # with no time at all, nothing was called
            self.end(error, Stop("timeout", "the time for all of them is over"))
        return error

    def _elapsed_s(self) -> float:
        return (clock.source() - self.start_ns) / 1e9

    async def _plan(self, error: Exception | None) -> float | Stop:
        """Return the seconds until the next attempt, or why there is none."""
        if error is not None and stands_for_cancellation(error):
            return Stop("cancelled", "the task was told to stop")
        if error is not None and not await self._is_worth_it(error):
            return Stop("permanent", "an error like this one is not retried here")
        if len(self.attempts) >= self._owner.max_retries:
            return Stop("exhausted", f"max_retries is {self._owner.max_retries}")
        delay_s = self._delay(error)
        if isinstance(delay_s, Stop):
            return delay_s
        # Last, so that nothing is taken out for a retry that is not made.
        budget = self._owner.budget
        if budget is not None and not budget.withdraw():
            return Stop("budget", "the retry budget of what it calls is used up")
        return delay_s

    def _delay(self, error: Exception | None) -> float | Stop:
        """Return the seconds to wait, or why that would be too long."""
        delay_s = self._backoff_s()
        if error is not None and (asked_s := retry_after(error, self._unreadable)) is not None:
            limit_s = self._owner.max_retry_after
            if limit_s is not None and asked_s > limit_s:
                because = f"{asked_s:.3g} s were asked for and max_retry_after is {limit_s:g} s"
                return Stop("retry_after", because)
            delay_s = max(delay_s, asked_s)
        left_s = self._context.remaining()
        if left_s is not None and delay_s >= left_s:
            because = f"it would begin in {delay_s:.3g} s, and the deadline is in {left_s:.3g} s"
            return Stop("deadline", because)
        return delay_s

    def _backoff_s(self) -> float:
        owner = self._owner
        self._previous_s = owner.backoff.delay_s(
            len(self.attempts) + 1, self._previous_s, owner.uniform
        )
        return self._previous_s

    async def _is_worth_it(self, error: Exception) -> bool:
        condition = self._owner.condition
        if isinstance(error, CircuitOpenError):
            # Nothing was called, and nothing will be for a while: who waits for it has to say so.
            return condition is not None and condition.names(CircuitOpenError)
        if condition is None:
            return is_transient(error)
        return await condition.holds(error, self._context)

    def _unreadable(self, place: str, value: object) -> None:
        self._context.note("retry_after_ignored", place=place, value=_short(value))


def _short(value: object) -> str:
    try:
        return repr(value)[:100]
    except Exception as broken:  # noqa: BLE001 - shown in a trace, no more
        return f"<{type(broken).__name__}>"
