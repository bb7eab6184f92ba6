"""One call for all who ask the same at the same time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from tta_notebook.core.deadline import Deadline
from tta_notebook.core.errors import CacheRecursionError, StepTimeoutError

if TYPE_CHECKING:
    from types import TracebackType

    from tta_notebook.core.context import WorkflowContext
    from tta_notebook.core.primitive import WorkflowPrimitive

T = TypeVar("T")

# The flights inside of which the code here runs, from the outermost.
_under_way: ContextVar[tuple[Flight[Any], ...]] = ContextVar("tta_notebook.flights", default=())


class _Lost:
    def __repr__(self) -> str:
        return "LOST"


LOST: Final[Any] = _Lost()
"""What a flight gives that was cancelled by somebody else than those who wait for it."""


class Flight(Generic[T]):
    """A call in a task of its own, which many wait for.

    A waiter that is cancelled leaves; the last one to leave cancels the call and waits for its
    clean-up. The call has time until the latest deadline of those who wait.

    Attributes:
        key: what is asked.
        name: of the primitive that answers.
        context: in which the call runs: that of whoever asked first.
        deadline: the latest of the waiters'.
        loop: the event loop it runs on.
        task: the call.
        is_wanted: whether its answer is still to be stored.
        error: what the call raised.
        waits_for: the flights that code inside this one waits for.
    """

    def __init__(
        self, flights: Flights, key: str, context: WorkflowContext, *, is_background: bool
    ) -> None:
        self.flights = flights
        self.key = key
        self.name = flights.name
        self.leader = context
        at_ns = math.inf if is_background else _at_ns(context)
        self.deadline = Deadline(at_ns)
        self.context = context.until(self.deadline)
        self.is_background = is_background
        self.is_wanted = True
        self.waits_for: list[Flight[Any]] = []
        self.task: asyncio.Task[T]  # from take_off on
        self.loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: dict[object, WorkflowContext] = {}
        self._wakers: list[asyncio.Future[None]] = []
        self._is_stopping = False
        self._is_late = False
        self.error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._span_id: int | None = None

    def __repr__(self) -> str:
        return f"<Flight {self.name!r}, {len(self._waiters)} waiting>"

    def take_off(self, work: Coroutine[Any, Any, T]) -> None:
        """Begin the call."""
        # Nobody waits for a refresh in the background, so it is not inside of anything.
        around = () if self.is_background else _under_way.get()
        token = _under_way.set((*around, self))
        try:
            self.task = self.loop.create_task(work)
        finally:
            _under_way.reset(token)
        if self.task.done():
            self._land(self.task)  # under an eager task factory, at once
        else:
            self._set_timer()
            self.task.add_done_callback(self._land)

    def _land(self, task: asyncio.Task[T]) -> None:
        self.flights.remove(self)
        self._cancel_timer()
        if not task.cancelled():
            # Asked for here, so that it counts as retrieved when everybody has left.
            self.error = task.exception()
            self._traceback = None if self.error is None else self.error.__traceback__
        self.wake()

    @property
    def is_done(self) -> bool:
        """Whether the call is over."""
        # Under an eager task factory it runs before there is a task to be asked.
        return hasattr(self, "task") and self.task.done()

    # Waiting

    async def wait(self, ticket: object) -> T:
        """Wait for the answer as one of many, and give it, or LOST.

        Args:
            ticket: what `enter` gave.

        Raises:
            Exception: the call's error, the same for all.
        """
        try:
            while not self.task.done():
                await self.woken()
        except asyncio.CancelledError:
            await self.leave(ticket)
            raise
        finally:
            if self.exit(ticket):
                self.stop()  # the waiting coroutine was closed, so there is no waiting any more
        return self.outcome()

    def enter(self, context: WorkflowContext) -> object:
        """Become one of those who wait, and give a ticket to leave with."""
        around = [flight for flight in _under_way.get() if not flight.is_done]
        ticket = _Ticket(around[-1] if around else None)
        if ticket.inside is not None:
            ticket.inside.waits_for.append(self)
        self._waiters[ticket] = context
        at_ns = _at_ns(context)
        if at_ns > self.deadline.at_ns:
            self._put_off(at_ns)
        return ticket

    def exit(self, ticket: Any) -> bool:
        """Stop being one of those who wait; tell whether the last one has left a running call."""
        context = self._waiters.pop(ticket, None)
        if context is None:
            return False
        if ticket.inside is not None:
            ticket.inside.waits_for.remove(self)
        if self.task.done() or self.is_background:
            return False
        if self._waiters and _at_ns(context) >= self.deadline.at_ns:
            self._put_off(self._latest_ns())
        return not self._waiters

    async def leave(self, ticket: object, *, is_complete: bool = False) -> None:
        """Stop waiting; the last one cancels the call and waits for its clean-up.

        Args:
            ticket: what `enter` gave.
            is_complete: whether the call has given all it has, and only ends.
        """
        if not self.exit(ticket):
            return
        if not is_complete:
            self.stop()
        while not self.task.done():
            try:
                await self.woken()
            except asyncio.CancelledError:
                # As if the call had been awaited here: it reaches its clean-up.
                if self._is_stopping:
                    self.task.cancel()
                self.stop()

    def stop(self) -> None:
        """Cancel the call; who asks from now on begins another one."""
        if not self._is_stopping:
            self._is_stopping = True
            self.flights.remove(self)
            self._cancel_timer()
            self.task.cancel()

    async def woken(self) -> None:
        """Wait until there is something new."""
        waker = self.loop.create_future()
        self._wakers.append(waker)
        await waker

    def wake(self) -> None:
        """Tell everybody that there is something new."""
        wakers, self._wakers = self._wakers, []
        for waker in wakers:
            if not waker.done():
                waker.set_result(None)

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits for something new right now."""
        return any(not waker.done() for waker in self._wakers)

    def outcome(self) -> T:
        """Give what the call gave, or LOST."""
        if self.task.cancelled():
            if self._is_late:
                raise StepTimeoutError(
                    f"{self.name!r} was stopped when the last of those who waited for its answer "
                    "had no time left. Allow more time.",
                    kind="deadline",
                    primitive=self.name,
                    timeout_s=None,
                )
            return LOST  # type: ignore[no-any-return]
        if self.error is None:
            return self.task.result()
        # Everybody raises the same instance; each from where the call left it, or a thousand
        # waiters would make a traceback of a thousand entries.
        raise self.error.with_traceback(self._traceback)

    def span_id(self, primitive: WorkflowPrimitive[Any, Any]) -> int | None:
        """Return the id of the call's own span; None where nobody records it, or not yet."""
        run = self.leader.run
        if self._span_id is None and run is not None:
            for span in reversed(run.spans):
                if span.primitive is primitive and span.parent is self.leader.span:
                    self._span_id = span.span_id
                    break
        return self._span_id

    # Time

    def _put_off(self, at_ns: float) -> None:
        self.deadline.at_ns = at_ns
        self._cancel_timer()
        self._set_timer()

    def _set_timer(self) -> None:
        if self.deadline.at_ns < math.inf and not self._is_stopping:
            self._timer = self.loop.call_later(max(0.0, self.deadline.remaining_s()), self._late)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _latest_ns(self) -> float:
        return max(map(_at_ns, self._waiters.values()))

    def _late(self) -> None:
        if self._waiters:  # a run that waits may have been paused, which puts its deadline off
            self.deadline.at_ns = self._latest_ns()
        if self.deadline.remaining_s() > 0:
            self._set_timer()  # that, or the loop's clock ran ahead of ours
        elif not self.task.done():
            self._is_late = True
            self.stop()


class _Ticket:
    """One who waits, and the flight inside of which it does."""

    __slots__ = ("inside",)

    def __init__(self, inside: Flight[Any] | None) -> None:
        self.inside = inside


FlightT = TypeVar("FlightT", bound=Flight[Any])


class Flights:
    """The flights of one cache, by what they ask and by event loop.

    Args:
        name: of the primitive that answers, in errors.

    Attributes:
        landed: how many are over.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.landed = 0
        self._table: dict[tuple[int, str], Flight[Any]] = {}

    def __len__(self) -> int:
        return len(self._table)

    def __reduce__(self) -> tuple[type[Flights], tuple[str]]:
        return type(self), (self.name,)  # what is under way is so on loops of this process

    def find(self, key: str) -> Flight[Any] | None:
        """Return the flight under way for `key` on this loop.

        Raises:
            CacheRecursionError: the code here runs inside of it.
        """
        # A flight holds its loop, so the loop's id is not another's as long as it stands here.
        found = self._table.get((id(asyncio.get_running_loop()), key))
        if _under_way.get():
            self.check_recursion(key, found)
        return found

    def is_under_way(self, key: str) -> bool:
        """Tell whether there is a flight for `key` on this loop."""
        return (id(asyncio.get_running_loop()), key) in self._table

    def start(
        self,
        flight: FlightT,
        work: Callable[[FlightT], Coroutine[Any, Any, Any]],
    ) -> FlightT:
        """Begin a flight; whoever asks the same from now on can join it."""
        self._table[id(asyncio.get_running_loop()), flight.key] = flight
        flight.take_off(work(flight))
        return flight

    def remove(self, flight: Flight[Any]) -> None:
        """Let nobody join the flight any more."""
        self.landed += 1
        place = (id(flight.loop), flight.key)
        if self._table.get(place) is flight:
            del self._table[place]

    def disown(self, key: str | None = None) -> None:
        """Let answers that are under way be stored no more; all of them, or those for `key`."""
        for place, flight in tuple(self._table.items()):
            if key is None or place[1] == key:
                flight.is_wanted = False
                del self._table[place]

    def check_recursion(self, key: str, joined: Flight[Any] | None) -> None:
        """Raise if waiting for `key` here would never end."""
        around = [flight for flight in _under_way.get() if not flight.is_done]
        is_own = any(flight.flights is self and flight.key == key for flight in around)
        if is_own or (joined is not None and _reaches(joined, around)):
            raise CacheRecursionError(
                f"{self.name!r} was asked for an answer while it works on that very answer, which "
                "would wait for itself for ever. Ask for something smaller each time, or call the "
                "step without its cache."
            )


def _reaches(flight: Flight[Any], goals: list[Flight[Any]]) -> bool:
    """Tell whether `flight` waits, directly or through others, for one of `goals`."""
    ahead, seen = [flight], set[int]()
    while ahead:
        this = ahead.pop()
        if this in goals:
            return True
        if id(this) not in seen:
            seen.add(id(this))
            ahead += this.waits_for
    return False


def _at_ns(context: WorkflowContext) -> float:
    return math.inf if context.deadline is None else context.deadline.due_ns()
