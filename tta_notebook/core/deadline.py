"""The moment by which work has to be done, and work that is stopped when it comes."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import aclosing, nullcontext
from typing import Any, TypeVar

from tta_notebook.core import clock
from tta_notebook.core.gate import Gate, gate_here

T = TypeVar("T")

# While a run is paused, its deadlines are looked at again so often.
_PAUSE_STEP_NS = 100_000_000

TooLate = Callable[[], Exception]


class Deadline:
    """A moment on the monotonic clock, inside the one around it.

    Contexts hold it by reference: the one of a cache flight is put off when somebody with more time
    joins, and everything inside the flight has that time then.

    Whoever makes a deadline stops the work at it (a timeout, a flight, the first step in a context
    from `within()`); everybody inside only asks how much time is left.

    Attributes:
        at_ns: the moment; infinity for none.
        outer: the deadline around it.
        gate: that of the run it belongs to, which puts it off when the run is paused.
    """

    __slots__ = ("__weakref__", "at_ns", "gate", "outer")

    def __init__(self, at_ns: float, outer: Deadline | None = None) -> None:
        self.at_ns = at_ns
        self.outer = outer
        self.gate: Gate | None = None

    def __repr__(self) -> str:
        return f"<Deadline in {self.remaining_s():.3g} s>"

    @classmethod
    def after(cls, timeout_s: float, outer: Deadline | None = None) -> Deadline:
        """Return the deadline that many seconds from now."""
        gate = gate_here()
        if gate is None:
            return cls(clock.source() + timeout_s * 1e9, outer)
        deadline = cls(gate.now_ns() + timeout_s * 1e9, outer)
        gate.adopt(deadline)
        return deadline

    def first_ns(self) -> float:
        """Return the earliest moment of this one and those around it."""
        at_ns, outer = self.at_ns, self.outer
        while outer is not None:
            at_ns = min(at_ns, outer.at_ns)
            outer = outer.outer
        return at_ns

    def due_ns(self) -> float:
        """Return the same as far as it can be foreseen: while the run is paused it moves away."""
        if self.gate is None or not self.gate.is_shut:
            return self.first_ns()
        now_ns = clock.source()
        return max(self.first_ns() + now_ns - self.gate.now_ns(), now_ns + _PAUSE_STEP_NS)

    def remaining_s(self) -> float:
        """Return the seconds that are left, negative when it has passed."""
        now_ns = clock.source() if self.gate is None else self.gate.now_ns()
        return (self.first_ns() - now_ns) / 1e9


async def bounded(
    work: Coroutine[Any, Any, T],
    timeout_s: float,
    too_late: TooLate,
    on_late: Callable[[], object] | None = None,
) -> T:
    """Await `work`, cancel it after `timeout_s` seconds, wait for its clean-up and raise.

    The timer is set only when the work really waits for something: that is four fifths of what a
    timeout costs, and most calls under one are answered at once.

    Args:
        work: what to await, not yet begun.
        timeout_s: seconds; with none left the work is not begun.
        too_late: makes the error to raise.
        on_late: called when work that was told to stop gives a result all the same. What it gives
            then is not taken for its result: it may be half of it.

    Raises:
        Exception: what `too_late` returns; the work's own error in time.
    """
    if timeout_s <= 0:
        work.close()
        raise too_late()
    start_ns = clock.source()
    try:
        waiting = work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    limit = asyncio.timeout(timeout_s - (clock.source() - start_ns) / 1e9)
    gate = gate_here()
    try:
        async with limit:
            with nullcontext() if gate is None else gate.halting(limit):
                result = await _resumed(work, waiting)
    except Exception as error:
        if not limit.expired():
            raise
        # The timer's own error says nothing; one of the clean-up does, also one that the clean-up
        # has tied to the cancellation (an undo that failed).
        stopped = error.__cause__
        cause = stopped.__cause__ if isinstance(stopped, asyncio.CancelledError) else error
        raise too_late() from cause
    if limit.expired():
        if on_late is not None:
            on_late()
        raise too_late()
    return result


@types.coroutine
def _resumed(work: Coroutine[Any, Any, T], waiting: Any) -> Generator[Any, Any, T]:
    """Go on with a coroutine that has been stepped once and waits for `waiting`."""
    while True:
        try:
            sent = yield waiting
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
            try:
                waiting = work.throw(error)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
        else:
            try:
                waiting = work.send(sent)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]


async def bounded_stream(
    pieces: AsyncGenerator[T, None], remaining_s: Callable[[], float], too_late: TooLate
) -> AsyncGenerator[T, None]:
    """Pass a stream on until the time is over; then close it and raise.

    The time runs while whoever reads the stream is busy elsewhere, but the error is raised when the
    next piece is asked for: a timer must not be open across a yield.
    """
    async with aclosing(pieces):
        while (piece := await bounded(next_piece(pieces), remaining_s(), too_late)) is not END:
            yield piece


END: Any = object()


async def next_piece(pieces: AsyncGenerator[T, None]) -> T:
    """Return the next piece of a stream, or END: `bounded` takes nothing but coroutines."""
    piece: T = await anext(pieces, END)
    return piece
