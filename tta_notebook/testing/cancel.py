"""Cancel a piece of asynchronous code at every point at which it can be cancelled.

A task can be cancelled wherever it is suspended, and in two ways that code often mixes up: while
what it awaits is still under way, and after that is done but before the task has woken up. The
second is the race in which permits, items and results get lost.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from traceback import clear_frames
from typing import Any, Literal, NoReturn, TypeAlias

from tta_notebook.core.errors import ConfigurationError
from tta_notebook.testing.counted import Counted, Moment, Probe
from tta_notebook.testing.places import describe_task
from tta_notebook.testing.vloop import DeadlockError, run_virtual

Outcome: TypeAlias = Literal["cancelled", "result", "error"]
Errors: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]

MOMENTS: tuple[Moment, ...] = ("suspended", "waking")

# Rounds of the loop in which tasks that were told to stop may do so; no time passes in them.
_SETTLING_ROUNDS = 20


class CancellationError(AssertionError):
    """Code did not take a cancellation as it should; the message says where and how.

    >>> async def stubborn() -> str:
    ...     try:
    ...         await asyncio.sleep(1)
    ...     except asyncio.CancelledError:
    ...         pass
    ...     return "done anyway"
    >>> cancel_everywhere(stubborn)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tta_notebook.testing.cancel.CancellationError: ...
    """


@dataclass(frozen=True, slots=True)
class CancelledRun:
    """What one cancellation did.

    Attributes:
        suspension: which suspension it was, from 1.
        moment: "suspended" (what was awaited was under way) or "waking" (it was done).
        task: the name of the cancelled task.
        place: file, line and function of the `await`.
        outcome: how the cancelled task ended.
        value: its result, None without one.
        error: what it raised, None for a result.

    >>> report = cancel_everywhere(lambda: asyncio.sleep(1))
    >>> first = report.runs[0]
    >>> first.suspension, first.moment, first.outcome
    (1, 'suspended', 'cancelled')
    """

    suspension: int
    moment: Moment
    task: str
    place: str
    outcome: Outcome
    value: Any = None
    error: BaseException | None = None

    def __str__(self) -> str:
        return f"Cancelled at suspension {self.suspension} ({self.moment}), {self.place}"


@dataclass(frozen=True, slots=True)
class CancellationReport:
    """What `cancel_everywhere` has tried.

    Attributes:
        suspensions: how many points of suspension there are.
        runs: one record per cancellation, in order.

    >>> report = cancel_everywhere(lambda: asyncio.sleep(1))
    >>> report.suspensions, dict(report.outcomes)
    (1, {'cancelled': 2})
    """

    suspensions: int
    runs: tuple[CancelledRun, ...]

    @property
    def outcomes(self) -> Counter[Outcome]:
        """How often the cancelled task ended in which way."""
        return Counter(run.outcome for run in self.runs)


def cancel_everywhere(
    fn: Callable[[], Coroutine[Any, Any, Any]],
    *,
    seed: int | None = None,
    limit: int = 10_000,
    every_task: bool = False,
    moments: Sequence[Moment] = MOMENTS,
    raises: Errors = (),
    check: Callable[[CancelledRun], object] | None = None,
) -> CancellationReport:
    """Run `fn` again and again and cancel it at its 1st, 2nd, 3rd … suspension.

    Every run happens on a virtual clock. Each cancelled one has to end in CancelledError, or, if
    what it awaited last was done already, in the result of the uncancelled run. It must leave no
    task alive, no exception unretrieved and `task.cancelling()` as asyncio counts it.

    Args:
        fn: an async function without arguments that makes a fresh scenario each time.
        seed: run every time under the schedule of this seed.
        limit: suspensions a run may have; more are taken for a loop that never ends.
        every_task: cancel whichever task is suspended, not only the one that runs `fn`. What `fn`
            makes of a cancelled part of it is then its own affair.
        moments: while what is awaited is under way ("suspended"), after it is done ("waking").
        raises: what the uncancelled run is expected to raise.
        check: called with the record of every cancelled run, for invariants of your own.

    Returns:
        How many suspensions there are and what each cancellation did.

    Raises:
        CancellationError: a run broke a rule, or `fn` does so without any cancellation.
        ConfigurationError: there are no moments.

    >>> async def step() -> str:
    ...     await asyncio.sleep(1)
    ...     async with asyncio.timeout(5):
    ...         await asyncio.sleep(2)
    ...     return "done"
    >>> cancel_everywhere(step).suspensions
    2
    """
    if not moments:
        raise ConfigurationError(
            "cancel_everywhere(moments=()): there is no moment at which to cancel, so nothing "
            f"would be tried. Give some of {MOMENTS}, or leave it out."
        )
    with _cheap_collections():
        whole = _Trial(fn, Probe(limit=limit, every_task=every_task), seed)
        end = _judge_uncancelled(whole, raises)
        runs: list[CancelledRun] = []
        for suspension, moment in _points(moments):
            probe = Probe(suspension, moment, limit=limit, every_task=every_task)
            trial = _Trial(fn, probe, seed)
            if probe.count < suspension:
                break
            if probe.is_delivered:
                run = _judge_cancelled(trial, end, suspension, moment)
                _check(check, run)
                runs.append(run)
    return CancellationReport(whole.probe.count, tuple(runs))


def _points(moments: Sequence[Moment]) -> Iterator[tuple[int, Moment]]:
    for suspension in count(1):
        for moment in moments:
            yield suspension, moment


@dataclass(frozen=True, slots=True)
class _End:
    """How a task has ended, without the task: it would keep alive what the frames refer to."""

    task: str
    outcome: Outcome
    value: Any
    error: BaseException | None
    cancelling: int

    @classmethod
    def of(cls, task: asyncio.Task[Any]) -> _End:
        name, cancelling = task.get_name(), task.cancelling()
        if not task.done() or task.cancelled():
            return cls(name, "cancelled", None, asyncio.CancelledError(), cancelling)
        if (error := task.exception()) is not None:
            return cls(name, "error", None, error, cancelling)
        return cls(name, "result", task.result(), None, cancelling)


class _Trial:
    """One run of a scenario and what it left behind.

    Attributes:
        probe: what counted the suspensions and cancelled at one of them.
        main: how the task ended that ran the scenario.
        victim: how the cancelled task ended, None if nothing was cancelled.
    """

    def __init__(
        self, fn: Callable[[], Coroutine[Any, Any, Any]], probe: Probe, seed: int | None
    ) -> None:
        self.probe = probe
        self.main: _End | None = None
        self.victim: _End | None = None
        self._leaks: list[str] = []
        self._reports: list[str] = []
        try:
            run_virtual(lambda: self._run(fn), seed=seed)
        except DeadlockError as deadlock:
            self._reports.append(str(deadlock))
        # Exceptions that nobody has asked for are reported when their futures are collected.
        gc.collect()

    async def _run(self, fn: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._listen(context))
        if self.probe.every_task:
            loop.set_task_factory(self._counted_task)
            main = loop.create_task(fn())
        else:
            main = loop.create_task(Counted(fn(), self.probe))
        await asyncio.wait({main})
        loop.set_task_factory(None)
        self._leaks = [describe_task(task) for task in await _still_alive()]
        self.main = _End.of(main)
        if victim := self.probe.release():
            self.victim = self.main if victim is main else _End.of(victim)
        for end in (self.main, self.victim):
            if end is not None and end.error is not None:
                _clear_frames(end.error)

    def _counted_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> asyncio.Task[Any]:
        return asyncio.Task(Counted(coroutine, self.probe), loop=loop, **options)

    def _listen(self, context: dict[str, Any]) -> None:
        # As text: the context's objects would keep alive what the garbage collector has to find.
        error = context.get("exception")
        self._reports.append(str(context["message"]) + (f": {error!r}" if error else ""))

    def problems(self) -> list[str]:
        """Return what no run may do, whether it is cancelled or not."""
        found = [f"it leaves a task alive: {leak}" for leak in self._leaks]
        found += [f"the loop reports: {report}" for report in self._reports]
        return [*found, self.probe.overrun] if self.probe.overrun else found


def _judge_uncancelled(trial: _Trial, raises: Errors) -> _End:
    problems = trial.problems()
    if trial.main is not None and trial.main.outcome == "result" and raises:
        problems.append(f"it returns {trial.main.value!r} instead of raising {raises!r}")
    if trial.main is not None and trial.main.outcome == "result" and trial.main.cancelling:
        problems.append(f"task.cancelling() is {trial.main.cancelling} afterwards")
    if problems or trial.main is None:
        _fail("The scenario is broken before any cancellation:", problems)
    if trial.main.error is not None and not isinstance(trial.main.error, raises):
        raise trial.main.error
    return trial.main


def _judge_cancelled(trial: _Trial, whole: _End, suspension: int, moment: Moment) -> CancelledRun:
    probe, end = trial.probe, trial.victim
    problems = trial.problems()
    if end is None:  # the loop gave up before the run's end
        _fail(f"Cancelled at suspension {suspension} ({moment}), {probe.place}:", problems)
    run = CancelledRun(suspension, moment, end.task, probe.place, end.outcome, end.value, end.error)
    was_produced = moment == "waking" and not probe.went_on
    if end is trial.main:
        problems += _problems_of_main(end, whole, was_produced)
    elif end.outcome == "result" and not was_produced:
        problems.append(f"the cancellation is swallowed: the task returns {end.value!r}")
    if problems:
        _fail(f"{run}:\n  {probe.trail}", problems)
    return run


def _problems_of_main(end: _End, whole: _End, was_produced: bool) -> Iterator[str]:
    if end.outcome == "error" and type(end.error) is not type(whole.error):
        yield f"it ends in {end.error!r} instead of CancelledError"
    if end.outcome == "result" and not (was_produced and end.value == whole.value):
        yield f"the cancellation is swallowed: it returns {end.value!r}"
    # A failing group cancels its own parent task too, and up to 3.12 leaves that in the count.
    if end.cancelling < 1 or (end.cancelling > 1 and end.outcome != "error"):
        yield f"task.cancelling() is {end.cancelling} afterwards and should be 1"


def _clear_frames(error: BaseException) -> None:
    """Let go of the local variables of the frames that an error has passed."""
    clear_frames(error.__traceback__)
    inner: tuple[BaseException, ...] = getattr(error, "exceptions", ())  # of a group
    for other in (error.__cause__, error.__context__, *inner):
        if other is not None:
            _clear_frames(other)


async def _still_alive() -> list[asyncio.Task[Any]]:
    """Return the other tasks that do not end by themselves while no time passes."""
    judge = asyncio.current_task()
    for _ in range(_SETTLING_ROUNDS):
        if not (asyncio.all_tasks() - {judge}):
            break
        await asyncio.sleep(0)
    alive = (task for task in asyncio.all_tasks() if task is not judge)
    return sorted(alive, key=lambda task: task.get_name())


def _check(check: Callable[[CancelledRun], object] | None, run: CancelledRun) -> None:
    if check is None:
        return
    try:
        check(run)
    except AssertionError as failure:
        failure.add_note(f"The check failed. {run}.")
        raise


def _fail(heading: str, problems: list[str]) -> NoReturn:
    raise CancellationError("\n".join([heading, *(f"- {problem}" for problem in problems)]))


@contextmanager
def _cheap_collections() -> Generator[None]:
    """Keep what exists already out of the garbage collections that follow every run."""
    gc.collect()
    # What others have frozen (a test suite, a server that forks) is theirs to thaw.
    was_frozen = gc.get_freeze_count() > 0
    gc.freeze()
    try:
        yield
    finally:
        if not was_frozen:
            gc.unfreeze()
