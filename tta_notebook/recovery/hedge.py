"""A step that is called a second time when the first call is slow."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, ClassVar, TypeVar, cast

from tta_notebook.core import checked, clock
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.deadline import END
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.events import StreamChunk
from tta_notebook.core.primitive import Chunks, TIn, TOut
from tta_notebook.core.wrapper import WrapperPrimitive
from tta_notebook.recovery.latencies import Latencies
from tta_notebook.recovery.race import Race
from tta_notebook.recovery.told import shown, tell

T = TypeVar("T")

_OWNER = "HedgePrimitive"


class HedgePrimitive(WrapperPrimitive[TIn, TOut]):
    """Calls a step again when the first call is slow, and takes whichever succeeds first.

    Dean and Barroso, "The Tail at Scale", 2013: a second call after the 95th percentile costs one
    call in twenty and cuts the slowest ones to a fraction. A call that fails starts the next one at
    once. The others are cancelled and awaited before the result is given; what they have used is
    booked like that of any other step. No call is started beyond the deadline.

    Calls made twice must do no harm, so it wants to be told that they do not. A stream is hedged
    until its first piece: the call that gives it goes on, and its stream is read where the result
    is, not in the task that has opened it.

    Args:
        primitive: what is called; whatever `>>` takes.
        delay_seconds: how long a call may take before the next one starts.
        quantile: without a delay, it is this quantile of the last 200 latencies; there are no
            further calls until 10 are known.
        max_hedges: calls beside the first.
        idempotent: says that the step can be called twice without harm; or the step says so itself,
            with an attribute `is_idempotent` that is True.
        name: by default the step's name after "hedge".

    Raises:
        ConfigurationError: nobody says that the step is idempotent.
        Exception: all calls failed; the first error, with notes about the others.

    >>> HedgePrimitive(str.upper, 0.5, idempotent=True).run_sync("quick")
    'QUICK'
    """

    kind: ClassVar[str] = "hedge"

    def __init__(
        self,
        primitive: Any,
        delay_seconds: float | None = None,
        *,
        quantile: float = 0.95,
        max_hedges: int = 1,
        idempotent: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(primitive, prefix="hedge", name=name)
        self.delay_seconds = (
            None
            if delay_seconds is None
            else checked.seconds(_OWNER, "delay_seconds", delay_seconds)
        )
        self.quantile = checked.share(_OWNER, "quantile", quantile)
        self.max_hedges = checked.count(_OWNER, "max_hedges", max_hedges)
        says_so = getattr(self.primitive, "is_idempotent", False)
        if idempotent is not True and says_so is not True:
            raise ConfigurationError(
                f"{_OWNER}: nobody says that {self.primitive.name!r} can be called twice without "
                "harm, and a slow call would be made twice. Pass idempotent=True if it can."
            )
        self._latencies = Latencies()

    def delay_s(self) -> float | None:
        """Return after how many seconds a second call starts; None while that is not known."""
        if self.delay_seconds is not None:
            return self.delay_seconds
        return self._latencies.quantile(self.quantile)

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Run the step, and again beside it where it is slow."""
        call = partial(self.primitive.execute, input_data, context)
        return await self._hedged(call, context)

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        opened: list[Chunks] = []

        async def call() -> tuple[Chunks, StreamChunk]:
            pieces = self.primitive.stream(input_data, context)
            opened.append(pieces)
            return pieces, await anext(pieces, END)

        async with AsyncExitStack() as closing:
            try:
                pieces, chunk = await self._hedged(call, context)
            finally:
                # All calls are over here, or the one that goes on waits to be read.
                for one in opened:
                    closing.push_async_callback(one.aclose)
            for one in opened:
                if one is not pieces:
                    await one.aclose()
            while chunk is not END:
                yield chunk
                chunk = await anext(pieces, END)

    async def _hedged(
        self, call: Callable[[], Coroutine[Any, Any, T]], context: WorkflowContext
    ) -> T:
        delay_s = self.delay_s()
        if delay_s is None or not _is_in_time(delay_s, context):
            began_ns = clock.source()
            result = await call()
            self._observe(began_ns, clock.source())
            return result
        race = Race(call, delay_s, 1 + self.max_hedges, context)
        await race.run()
        if not race.winner:
            raise self._all_failed(race)
        if len(race.began_ns) > 1:
            context.note("hedge_won", number=race.winner)
        # Also those that lost: they took at least so long. Without them the quantile would be one
        # of the quick calls, and sink with every hedge.
        for number, began_ns in enumerate(race.began_ns, 1):
            if number <= race.winner and number not in race.failures:
                self._observe(began_ns, race.ended_ns)
        return cast("T", race.result)

    def _observe(self, began_ns: int, ended_ns: int) -> None:
        if self.delay_seconds is None:
            self._latencies.add((ended_ns - began_ns) / 1e9)

    def _all_failed(self, race: Race[Any]) -> Exception:
        first, *others = race.failures.values()
        notes = [f"another call failed as well: {shown(error)}" for error in others]
        tell(first, f"{_OWNER} {self.name!r}", notes)
        return first


def _is_in_time(delay_s: float, context: WorkflowContext) -> bool:
    left_s = context.remaining()
    return left_s is None or delay_s < left_s
