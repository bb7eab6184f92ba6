"""A step that is tried again when it fails."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from functools import partial
from typing import Any, ClassVar, TypeVar, cast

from tta_notebook.core import checked, clock
from tta_notebook.core.checked import UNSET, UnsetType
from tta_notebook.core.context import HERE, PLAIN, WorkflowContext
from tta_notebook.core.deadline import END, Deadline, bounded, next_piece
from tta_notebook.core.errors import ConfigurationError, StepTimeoutError
from tta_notebook.core.primitive import Chunks, TIn, TOut
from tta_notebook.core.wrapper import WrapperPrimitive
from tta_notebook.recovery.backoff import Backoff, Jitter, Schedule
from tta_notebook.recovery.condition import ErrorTest, result_test
from tta_notebook.recovery.held import Held, gathered
from tta_notebook.recovery.retry_budget import BATCH, RetryBudget, budgets, target_of
from tta_notebook.recovery.retry_strategy import RetryStrategy
from tta_notebook.recovery.tries import Stop, Tries

T = TypeVar("T")

_OWNER = "RetryPrimitive"

Work = Callable[[Any, WorkflowContext], Coroutine[Any, Any, Any]]


class RetryPrimitive(WrapperPrimitive[TIn, TOut]):
    """Tries a step again when it fails with an error that may pass.

    By default these are connection errors, timeouts, overload and the like (`is_transient`); a
    programming error or a refused request fails at once, and so does an open circuit breaker unless
    CircuitOpenError itself is named in `retry_on`. Cancellations are never retried.

    It waits between attempts as `backoff_strategy` says, and at least as long as the error asks
    (`Retry-After`). It never waits for a deadline to pass: it fails at once then. What fails in the
    end raises its last error, unchanged, with a note for every attempt and the attempts in its
    `attempts`. A stream is tried again only before its first piece.

    Args:
        primitive: what is tried; whatever `>>` takes.
        max_retries: attempts after the first; by default 3.
        backoff_strategy: "exponential" (the default), "linear", "constant", or a function of the
            number of the failed attempt, from 1, that gives seconds.
        initial_delay: seconds before the first retry; by default 1.
        jitter: True or "full" (the default) draws each delay evenly between 0 and what the strategy
            says, "decorrelated" between the initial delay and three times the delay before; False
            takes it as it is.
        backoff_factor: by what each exponential delay is longer than the one before; by default 2.
        max_delay: the longest delay, jitter included; by default 60 seconds.
        strategy: a RetryStrategy in place of the six arguments before.
        retry_on: which errors are tried again, in place of the default: a class, several, or a
            function of `(error)` or `(error, ctx)`, sync or async.
        retry_if_result: a function of `(result)` or `(result, ctx)` that tells which results are
            tried again; the last one is given although it was rejected. A stream is held back then
            until its result has been judged.
        attempt_timeout_seconds: the time of one attempt; it fails with a StepTimeoutError after it.
        timeout_seconds: the time of all attempts and delays together.
        max_retry_after: the longest wait that an error may ask for; it fails at once beyond.
        budget: how many retries what is called can bear. By default one RetryBudget is shared by
            everything that calls the same model or the same step; None sets no limit.
        target: a name for what is called, in place of the model or step, to share a budget by.
        rng: the source of chance for the jitter.
        name: by default the step's name after "retry".

    Raises:
        Exception: the last error of the step.
        StepTimeoutError: `timeout_seconds` are over (kind "own").

    >>> from tta_notebook import MockPrimitive
    >>> flaky = MockPrimitive("ask", side_effect=[ConnectionError("lost"), "hello"])
    >>> RetryPrimitive(flaky, initial_delay=0).run_sync("hi")
    'hello'
    """

    kind: ClassVar[str] = "retry"

    def __init__(
        self,
        primitive: Any,
        max_retries: int | UnsetType = UNSET,
        backoff_strategy: Schedule | UnsetType = UNSET,
        initial_delay: float | UnsetType = UNSET,
        jitter: Jitter | UnsetType = UNSET,
        *,
        backoff_factor: float | UnsetType = UNSET,
        max_delay: float | UnsetType = UNSET,
        strategy: RetryStrategy | None = None,
        retry_on: Any = None,
        retry_if_result: Callable[..., Any] | None = None,
        attempt_timeout_seconds: float | None = None,
        timeout_seconds: float | None = None,
        max_retry_after: float | None = None,
        budget: RetryBudget | UnsetType | None = UNSET,
        target: str | UnsetType = UNSET,
        rng: random.Random | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(primitive, prefix="retry", name=name)
        delays: dict[str, Any] = {
            "backoff_strategy": backoff_strategy,
            "initial_delay": initial_delay,
            "jitter": jitter,
            "backoff_factor": backoff_factor,
            "max_delay": max_delay,
        }
        if strategy is not None:
            checked.alone(_OWNER, "strategy", {"max_retries": max_retries, **delays})
        self.max_retries = _max_retries(strategy, max_retries)
        self.backoff = _backoff(delays) if strategy is None else strategy.backoff(_OWNER)
        self.uniform = _uniform if rng is None else _checked_rng(rng).uniform
        self.condition = None if retry_on is None else ErrorTest(_OWNER, "retry_on", retry_on)
        self._rejects = result_test(_OWNER, "retry_if_result", retry_if_result)
        self.attempt_timeout_seconds = _optional(
            "attempt_timeout_seconds", attempt_timeout_seconds, zero=False
        )
        self.timeout_seconds = _optional("timeout_seconds", timeout_seconds)
        self.max_retry_after = _optional("max_retry_after", max_retry_after)
        self.budget = self._chosen_budget(budget, target)
        self._direct = self.primitive.direct
        self._is_simple = (
            attempt_timeout_seconds is None and timeout_seconds is None and self._rejects is None
        )

    def _chosen_budget(
        self, budget: RetryBudget | UnsetType | None, target: str | UnsetType
    ) -> RetryBudget | None:
        if budget is not UNSET:
            checked.alone(_OWNER, "budget", {"target": target})
            if budget is None or isinstance(budget, RetryBudget):
                return budget
            raise ConfigurationError(
                f"{_OWNER}: budget={budget!r} grants no retries. Give a RetryBudget, or None for "
                "no limit."
            )
        if target is UNSET:
            return budgets.of(target_of(self.primitive))
        if isinstance(target, str) and target:
            return budgets.of(target)
        raise ConfigurationError(
            f"{_OWNER}: target={target!r} names nothing to share a budget by. Give a text, or "
            "leave it out: then the model or the step counts."
        )

    # The usual way: no limits of its own

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Run the step, and run it again when it fails with an error that may pass."""
        if not self._is_simple:
            return cast("TOut", await self._within(self.primitive.execute, input_data, context))
        budget = self.budget
        if budget is not None:
            # RetryBudget.call() in place: a success passes here and nowhere else.
            budget.pending += 1
            if budget.pending >= BATCH:
                budget.book()
        start_ns = clock.source()
        try:
            if context.mode == PLAIN and self._direct is not None:
                # No cast: that is a call, and this is what every call pays.
                result: TOut = await self._direct(input_data)
                return result
            return await self.primitive.execute(input_data, context)
        except Exception as error:  # noqa: BLE001 - it is raised, or tried again
            first = error
        # Outside of the handler, so that errors of further attempts get no context that they would
        # not have without this one.
        tries = Tries(self, context)
        tries.start_ns = start_ns
        if not await tries.go_on(first):
            raise first
        return cast(
            "TOut", await self._attempts(self.primitive.execute, input_data, tries, context)
        )

    async def _attempts(
        self, work: Work, input_data: Any, tries: Tries, context: WorkflowContext
    ) -> Any:
        """Try until there is a result, or no further attempt."""
        while True:
            result: Any = None
            failure: Exception | None = None
            tries.start_ns = clock.source()
            try:
                result = await self._attempt(work, input_data, context)
            except Exception as error:  # noqa: BLE001 - it is raised, or tried again
                failure = error
            else:
                if not await self._is_rejected(result, context):
                    return result
            if not await tries.go_on(failure):
                break
        if failure is not None:
            raise failure
        return result

    async def _is_rejected(self, result: Any, context: WorkflowContext) -> bool:
        if self._rejects is None:
            return False
        if isinstance(result, Held):
            result = result.output
        return bool(await self._rejects(result, context))

    # With limits of time

    async def _within(self, work: Work, input_data: Any, context: WorkflowContext) -> Any:
        """Try within the overall time."""
        inside, tries = self._begun(context)
        if self.timeout_seconds is None:
            return await self._attempts(work, input_data, tries, inside)
        late = partial(context.note, "late_result")
        trying = self._attempts(work, input_data, tries, inside)
        return await _bounded(trying, inside, self.timeout_seconds, tries.too_late, late)

    def _begun(self, context: WorkflowContext) -> tuple[WorkflowContext, Tries]:
        if self.budget is not None:
            self.budget.call()
        inside = self._limited(context, self.timeout_seconds)
        return inside, Tries(self, inside)

    async def _attempt(self, work: Work, input_data: Any, context: WorkflowContext) -> Any:
        """Make one attempt within its time."""
        limit_s = self.attempt_timeout_seconds
        if limit_s is None:
            return await work(input_data, context)
        inside = self._limited(context, limit_s)
        late = partial(context.note, "late_result")
        trying = work(input_data, inside)
        return await _bounded(trying, inside, limit_s, self._attempt_too_late, late)

    def _limited(self, context: WorkflowContext, timeout_s: float | None) -> WorkflowContext:
        if timeout_s is None:
            return context
        return context.until(Deadline.after(timeout_s, context.deadline))

    def _attempt_too_late(self) -> StepTimeoutError:
        return StepTimeoutError(
            f"{_OWNER} {self.name!r}: an attempt of {self.primitive.name!r} was stopped, because "
            f"it took longer than {self.attempt_timeout_seconds:g} s. Allow more with "
            "attempt_timeout_seconds=….",
            kind="attempt",
            primitive=self.name,
            timeout_s=self.attempt_timeout_seconds,
        )

    # Streams

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        if self._rejects is not None:
            # What a reader has seen cannot be taken back.
            for chunk in cast("Held", await self._within(self._held, input_data, context)):
                yield chunk
            return
        inside, tries = self._begun(context)
        while True:
            failure: Exception
            has_begun = False
            tries.start_ns = clock.source()
            try:
                async with aclosing(self._pieces(input_data, inside, tries)) as pieces:
                    async for chunk in pieces:
                        has_begun = True
                        yield chunk
            except _Over as over:
                raise over.error from over.__cause__
            except Exception as error:
                if has_begun:
                    tries.end(error, Stop("begun", "a reader has seen the first piece of it"))
                    raise
                failure = error
            else:
                return
            if not await tries.go_on(failure):
                raise failure

    async def _pieces(self, input_data: Any, context: WorkflowContext, tries: Tries) -> Chunks:
        """Pass one attempt's stream on, within its time and that of all attempts."""
        inside = self._limited(context, self.attempt_timeout_seconds)
        if inside.deadline is context.deadline and self.timeout_seconds is None:
            async with aclosing(self.primitive.stream(input_data, context)) as pieces:
                async for chunk in pieces:
                    yield chunk
            return
        own = None if self.timeout_seconds is None else context.deadline
        attempt = None if self.attempt_timeout_seconds is None else inside.deadline
        async with aclosing(self.primitive.stream(input_data, inside)) as pieces:
            while True:
                limit, too_late = _earlier(own, tries, attempt, self._attempt_too_late)
                left_s = (limit.at_ns - clock.source()) / 1e9
                chunk = await _bounded(next_piece(pieces), inside, left_s, too_late)
                if chunk is END:
                    return
                yield chunk

    async def _held(self, input_data: Any, context: WorkflowContext) -> Held:
        return await gathered(self.primitive.stream(input_data, context))


async def _bounded(
    work: Coroutine[Any, Any, T],
    inside: WorkflowContext,
    timeout_s: float,
    too_late: Callable[[], Exception],
    on_late: Callable[[], object] | None = None,
) -> T:
    """Await work within its time, with `inside` as the current context."""
    with inside.active():
        return await bounded(work, timeout_s, too_late, on_late)


class _Over(Exception):  # noqa: N818 - it never leaves this file
    """Carries the end of the overall time out of a stream, past the handler of its failures."""

    def __init__(self, error: StepTimeoutError) -> None:
        super().__init__(str(error))
        self.error = error


def _earlier(
    own: Deadline | None,
    tries: Tries,
    attempt: Deadline | None,
    attempt_too_late: Callable[[], Exception],
) -> tuple[Deadline, Callable[[], Exception]]:
    """Return whichever time is over first, and what makes its error."""
    if own is None or (attempt is not None and attempt.at_ns < own.at_ns):
        assert attempt is not None, "a stream without limits does not come here"
        return attempt, attempt_too_late
    return own, lambda: _Over(tries.too_late())


def _max_retries(strategy: RetryStrategy | None, max_retries: int | UnsetType) -> int:
    if strategy is None:
        return (
            3
            if max_retries is UNSET
            else checked.count(_OWNER, "max_retries", max_retries, least=0)
        )
    if isinstance(strategy, RetryStrategy):
        return strategy.max_retries
    raise ConfigurationError(
        f"{_OWNER}: strategy={strategy!r} is no RetryStrategy. Give one, or say the same with "
        "max_retries=…, backoff_strategy=… and initial_delay=…."
    )


def _backoff(delays: dict[str, Any]) -> Backoff:
    given = {name: value for name, value in delays.items() if value is not UNSET}
    if "backoff_strategy" in given:
        given["strategy"] = given.pop("backoff_strategy")
    if "backoff_factor" in given:
        given["factor"] = given.pop("backoff_factor")
    return Backoff(**given, owner=_OWNER)


def _uniform(low: float, high: float) -> float:
    # random.uniform itself is a method of one generator, which would be pickled with its state: all
    # copies would then wait equally long.
    return random.uniform(low, high)  # noqa: S311 - chance, not secrecy


def _checked_rng(rng: random.Random) -> random.Random:
    if callable(getattr(rng, "uniform", None)):
        return rng
    raise ConfigurationError(
        f"{_OWNER}: rng={rng!r} draws no numbers. Give a random.Random, or leave it out."
    )


def _optional(name: str, value: float | None, *, zero: bool = True) -> float | None:
    return None if value is None else checked.seconds(_OWNER, name, value, zero=zero)
