"""A limit on how many calls of a step run at the same time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, ClassVar

from tta_notebook.core import checked, clock, travel
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.deadline import bounded
from tta_notebook.core.errors import BulkheadFullError, ConfigurationError
from tta_notebook.core.primitive import Chunks, TIn, TOut
from tta_notebook.core.wrapper import WrapperPrimitive
from tta_notebook.recovery.places import Places


class BulkheadPrimitive(WrapperPrimitive[TIn, TOut]):
    """Lets so many calls of a step run at once; others wait in line, up to a length and a time.

    The line is fair, and a caller that is cancelled leaves it without harm to the others. One
    object limits its calls from all runs, loops and threads together; its copies in the workers of
    a cluster share out the places, and those of the line.

    Args:
        primitive: what is limited; whatever `>>` takes.
        max_concurrent: how many calls run at once.
        max_queue: how many may wait; by default any number. With 0 nobody waits.
        max_wait_seconds: how long one may wait; by default as long as the context's deadline lets.
        name: by default the step's name after "bulkhead".

    Raises:
        BulkheadFullError: the line is full, or a place did not become free in time. Nothing was
            called.

    >>> BulkheadPrimitive(str.upper, max_concurrent=2).run_sync("hello")
    'HELLO'
    """

    kind: ClassVar[str] = "bulkhead"

    def __init__(
        self,
        primitive: Any,
        max_concurrent: int = 10,
        *,
        max_queue: int | None = None,
        max_wait_seconds: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(primitive, prefix="bulkhead", name=name)
        owner = "BulkheadPrimitive"
        places = checked.count(owner, "max_concurrent", max_concurrent)
        if max_queue is not None:
            max_queue = checked.count(owner, "max_queue", max_queue, least=0)
        if max_wait_seconds is not None:
            max_wait_seconds = checked.seconds(owner, "max_wait_seconds", max_wait_seconds)
        self.max_wait_seconds = max_wait_seconds
        self._places = _Room(places, max_queue, self.name)

    @property
    def max_concurrent(self) -> int:
        """How many calls run at once."""
        return self._places.count

    @property
    def max_queue(self) -> int | None:
        """How many may wait; None for any number."""
        return self._places.max_queue

    @property
    def running(self) -> int:
        """How many calls run now."""
        return self.max_concurrent - self._places.free

    @property
    def waiting(self) -> int:
        """How many wait for a place now."""
        return self._places.waiting

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Call the step when there is a place.

        Raises:
            BulkheadFullError: there is none in time.
        """
        async with self._place(context):
            return await self.primitive.execute(input_data, context)

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        async with (
            self._place(context),
            aclosing(self.primitive.stream(input_data, context)) as pieces,
        ):
            async for chunk in pieces:
                yield chunk

    @asynccontextmanager
    async def _place(self, context: WorkflowContext) -> AsyncGenerator[None]:
        if not self._places.take_now():
            await self._wait(context)
        try:
            yield
        finally:
            self._places.give_back()

    async def _wait(self, context: WorkflowContext) -> None:
        if self.max_queue is not None and self.waiting >= self.max_queue:
            context.note("bulkhead", waited_s=0.0, refused="the line is full")
            raise self._refusal(f"and the line of {self.max_queue} is full")
        start_s = clock.monotonic()
        patience_s = self._patience_s(context)
        if patience_s is None:
            await self._places.take()
        else:
            too_late = partial(self._refusal, f"and none became free within {patience_s:.3g} s")
            await bounded(self._places.take(), patience_s, too_late)
        context.note("bulkhead", waited_s=clock.monotonic() - start_s)

    def _patience_s(self, context: WorkflowContext) -> float | None:
        limits = [self.max_wait_seconds, context.remaining()]
        return min((limit for limit in limits if limit is not None), default=None)

    def _refusal(self, why: str) -> BulkheadFullError:
        return BulkheadFullError(
            f"BulkheadPrimitive {self.name!r}: {self.primitive.name!r} was not called. All "
            f"{self.max_concurrent} places are taken, {why}. Call again later, or allow more with "
            "max_concurrent=…, max_queue=… or max_wait_seconds=….",
            limit=self.name,
        )


class _Room(Places):
    """The places of a bulkhead and of its line: what copies share out.

    It is an object of its own, so that a bulkhead and a copy of it under another name, which share
    their places, also share them after a trip.
    """

    def __init__(self, count: int, max_queue: int | None, name: str) -> None:
        super().__init__(count)
        self.count = count
        self.max_queue = max_queue
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        limit = f"BulkheadPrimitive {self.name!r}"
        shares = travel.shares_of(limit)
        if shares > self.count:
            raise ConfigurationError(
                f"{limit}: its {self.count} places are to be divided among {shares} worker "
                "processes, and some would get none. Use fewer workers, or allow more with "
                f"max_concurrent={shares} or above."
            )
        queue = None if self.max_queue is None else self.max_queue // shares
        return _Room, (self.count // shares, queue, self.name)
