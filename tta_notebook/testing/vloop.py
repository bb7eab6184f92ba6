"""An event loop on a virtual clock: waiting takes no time, deadlock is an error.

Where an ordinary loop would sleep until its next timer, this one moves its clock there. It does so
only if nothing outside the loop can still have a say:

- While a worker thread of an executor is busy, time stands still and the wait is real. A worker
  that is itself waiting for the loop (`run_coroutine_threadsafe(...).result()`) holds nothing up.
- While a socket, pipe or child process is watched, time runs at the real speed: a test is then
  slow rather than wrong.
- Threads started by hand are invisible to a loop; around a wait for one, use `loop.hold()`.

With a seed the loop chooses among the schedules that asyncio allows: neighbouring steps of
different tasks are exchanged, and timers set for the same instant. Everything else stays as asyncio
promises: callbacks given to `call_soon` keep their order, among themselves and relative to the
steps around them, and each ready task makes one step per round, so that `sleep(0)` still lets the
others move.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from functools import wraps
from itertools import count
from random import Random
from typing import Any, ParamSpec, TypeAlias, TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

from tta_notebook.core import clock
from tta_notebook.core.errors import WorkflowError
from tta_notebook.testing.parked import parked_threads
from tta_notebook.testing.places import describe_task
from tta_notebook.testing.schedule import Instant, permute_steps

T = TypeVar("T")
P = ParamSpec("P")
Ts = TypeVarTuple("Ts")
Ready: TypeAlias = list[tuple[selectors.SelectorKey, int]]

PATIENCE_S = 5.0
_POLL_S = 0.01
_NANOSECOND = 1e-9


class DeadlockError(WorkflowError, RuntimeError):
    """Every task waits and nothing is left that could wake one: no timer, no thread, no socket.

    >>> import asyncio
    >>> run_virtual(lambda: asyncio.Event().wait())  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tta_notebook.testing.vloop.DeadlockError: ...
    """


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop whose time jumps to the next timer whenever nothing is ready.

    Args:
        seed: choose a schedule reproducibly; None runs tasks in asyncio's own order.
        start: the time on the clock at the beginning, in seconds.
        patience_s: real seconds for which a busy worker thread may hold back a timer, and for which
            an idle loop listens to other threads before it reports a deadlock.

    >>> import asyncio
    >>> with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
    ...     runner.run(asyncio.sleep(3600))
    ...     runner.get_loop().time()
    3600.0
    """

    # What this class shares with its base beyond the public interface.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _clock_resolution: float
    _default_executor: ThreadPoolExecutor | None

    def __init__(
        self, *, seed: int | None = None, start: float = 0.0, patience_s: float = PATIENCE_S
    ) -> None:
        self._now = float(start)
        # The day inside is the day outside: what a budget of today has spent can be asked after it.
        self._origin_ns = time.perf_counter_ns() - round(self._now * 1e9)
        self._patience_s = patience_s
        self._chance = None if seed is None else Random(seed)  # noqa: S311 - reproducible on purpose
        self._numbers = count()
        self._task_numbers: WeakKeyDictionary[asyncio.Task[Any], int] = WeakKeyDictionary()
        self._working: set[Future[Any]] = set()
        self._holds = 0
        self._poller = _Poller(self._before_poll, self._wait)
        super().__init__(self._poller)
        self._move_to(self._now)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def time_ns(self) -> int:
        """Return the virtual time in whole nanoseconds, as a source for `core.clock.use`.

        Only differences mean anything: it does not begin where `time()` does.
        """
        return self._origin_ns + round(self._now * 1e9)

    @contextmanager
    def hold(self) -> Generator[None]:
        """Let time stand still and wait really inside the block, for a thread started by hand."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    # What asyncio asks of a loop, with the bookkeeping that idling needs.

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back after `delay` seconds, but after a nanosecond if it is shorter than that.

        The rest of a float subtraction may be too short to move the clock; a program that sleeps
        such rests until a deadline would never get there.
        """
        when = self._now + (max(delay, _NANOSECOND) if delay > 0 else delay)
        return self.call_at(when, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back at a time; what is set for the same instant keeps its order without a seed."""
        tie_break = 0.0 if self._chance is None else self._chance.random()
        instant = Instant(when, (tie_break, next(self._numbers)))
        return super().call_at(instant, callback, *args, context=context)

    def create_task(
        self, coro: Generator[Any, None, T] | Coroutine[Any, Any, T], **options: Any
    ) -> asyncio.Task[T]:
        """Schedule a coroutine, and number the task for reproducible schedules."""
        task = super().create_task(coro, **options)
        self._task_numbers[task] = next(self._numbers)
        return task

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run `func` in a worker thread; time stands still until the worker is done."""
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        work = (executor or self._workers()).submit(func, *args)
        future = asyncio.wrap_future(work, loop=self)
        self._working.add(work)
        work.add_done_callback(self._work_done)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        """Join the workers, really waiting for them."""
        with self.hold():
            await super().shutdown_default_executor(*args)

    def _workers(self) -> Executor:
        workers = self._default_executor
        if workers is None:
            workers = ThreadPoolExecutor(thread_name_prefix="asyncio")
            self.set_default_executor(workers)
        return workers

    def _work_done(self, work: Future[Any]) -> None:
        # Queued behind the callback that brings the result, and run in the loop's own thread: the
        # loop never sees a worker gone whose result has not arrived.
        with suppress(RuntimeError):  # the loop may have been closed on an abandoned worker
            self.call_soon_threadsafe(self._working.discard, work)

    # Idling

    def _before_poll(self) -> None:
        if self._chance is not None:
            permute_steps(self._ready, self._chance, self._task_numbers)

    def _wait(self, timeout: float | None) -> Ready:
        """Do what makes something happen next: listen to the outside, or move the clock."""
        if self._poller.is_watching():
            return self._wait_at_real_speed(timeout)
        if arrived := self._wait_for_workers():
            return arrived
        if (when := self._next_timer()) is not None:
            self._move_to(when)
            return []
        if threading.active_count() > 1 and (arrived := self._poller.poll(self._patience_s)):
            return arrived
        raise DeadlockError(self._describe_deadlock())

    def _wait_at_real_speed(self, timeout: float | None) -> Ready:
        began = time.monotonic()  # the real clock: core.clock shows the virtual one here
        arrived = self._poller.poll(timeout)
        passed = self._now + time.monotonic() - began
        when = self._next_timer()
        self._move_to(passed if when is None else min(passed, when))
        return arrived

    def _wait_for_workers(self) -> Ready:
        patience_s = self._patience_s
        while self._holds or self._is_worker_busy():
            if arrived := self._poller.poll(_POLL_S):
                return arrived
            patience_s -= _POLL_S
            if patience_s <= 0 and not self._holds and self._next_timer() is not None:
                # A worker that serves for ever must not stop the clock for ever.
                self._working.clear()
        return []

    def _is_worker_busy(self) -> bool:
        return bool(self._working) and parked_threads() < len(self._working)

    def _next_timer(self) -> float | None:
        # The base has just dropped cancelled timers from the head of its heap.
        when = self._scheduled[0].when() if self._scheduled else math.inf
        return None if when == math.inf else when

    def _move_to(self, when: float) -> None:
        self._now = max(self._now, float(when))
        # Timers before now + resolution fire. With the real clock's nanosecond, later ones would
        # fire with them; and after 52 days it vanishes in a float, so that none fires at all.
        self._clock_resolution = math.ulp(self._now)

    def _describe_deadlock(self) -> str:
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: self._task_numbers.get(task, 0))
        waiting = "".join(f"\n  {describe_task(task)}" for task in tasks)
        return (
            f"The loop cannot go on at {self._now:g} s of virtual time: nothing is ready, no timer "
            f"is set, no worker thread or socket is active, and {len(tasks)} task(s) wait:{waiting}"
            "\nSomething has to wake one of them; a thread started by hand needs loop.hold()."
        )


def run_virtual(
    main: Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]],
    *,
    seed: int | None = None,
    start: float = 0.0,
    patience_s: float = PATIENCE_S,
) -> T:
    """Run a coroutine to its end on a virtual clock and return its result.

    `loop.time()` and `tta_notebook.core.clock` show virtual time inside. Cleans up as `asyncio.run`
    does. Where a loop is running already (a notebook), the work moves to a thread of its own and
    the caller's loop stands still meanwhile.

    Args:
        main: a coroutine, or a function without arguments that returns one.
        seed: choose a schedule reproducibly; None runs tasks in asyncio's own order.
        start: the time on the clock at the beginning, in seconds.
        patience_s: see `VirtualClockLoop`.

    Raises:
        DeadlockError: every task waits and nothing can wake one.

    >>> async def hour() -> str:
    ...     await asyncio.sleep(3600)
    ...     return f"{asyncio.get_running_loop().time():.0f} s later"
    >>> run_virtual(hour)
    '3600 s later'
    """

    def make() -> Coroutine[Any, Any, T]:
        return main() if callable(main) else main

    def run() -> T:
        loop = VirtualClockLoop(seed=seed, start=start, patience_s=patience_s)
        with clock.use(loop.time_ns), asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(make())

    return _beside(run) if _is_loop_running() else run()


def virtual_time(
    *, seed: int | None = None, start: float = 0.0
) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, T]]:
    """Turn an async function into a plain one that runs on a virtual clock; for tests.

    Args:
        seed: choose a schedule reproducibly; None runs tasks in asyncio's own order.
        start: the time on the clock at the beginning, in seconds.

    >>> @virtual_time(start=100)
    ... async def test_a_nap_takes_as_long_as_it_says():
    ...     await asyncio.sleep(20)
    ...     return asyncio.get_running_loop().time()
    >>> test_a_nap_takes_as_long_as_it_says()
    120.0
    """

    def decorate(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            return run_virtual(lambda: function(*args, **kwargs), seed=seed, start=start)

        return run

    return decorate


class _Poller(selectors.DefaultSelector):
    """The loop's selector, which asks the loop before every poll and instead of every wait."""

    def __init__(
        self, before_poll: Callable[[], None], wait: Callable[[float | None], Ready]
    ) -> None:
        super().__init__()
        self._before_poll = before_poll
        self._wait = wait

    def select(self, timeout: float | None = None) -> Ready:
        self._before_poll()
        return self.poll(0) if timeout == 0 else self._wait(timeout)

    def poll(self, timeout: float | None) -> Ready:
        return super().select(timeout)

    def is_watching(self) -> bool:
        """Tell whether anything is watched but the pipe by which threads wake the loop."""
        return len(self.get_map()) > 1


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _beside(run: Callable[[], T]) -> T:
    """Call `run` in a thread of its own, in a copy of the caller's context."""
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(context.run(run))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's
            outcome.set_exception(error)

    context = copy_context()
    thread = threading.Thread(target=work, name="tta-virtual-clock", daemon=True)
    thread.start()
    thread.join()
    return outcome.result()
