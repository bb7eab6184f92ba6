"""The calls of a cached step: one for all who ask the same, and what is kept of them."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, NamedTuple, cast

from tta_notebook.core import chunks, clock
from tta_notebook.core.chunks import Chunks
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import CacheRecursionError
from tta_notebook.core.events import StreamChunk
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.usage import Tally
from tta_notebook.core.version import VersionWatch
from tta_notebook.performance.copies import copied
from tta_notebook.performance.entry import Entry, now_s
from tta_notebook.performance.flight import LOST, Flight, Flights
from tta_notebook.performance.freshness import Freshness
from tta_notebook.performance.hits import FOR_ERROR, FRESH, Hits
from tta_notebook.performance.keeper import Keeper
from tta_notebook.performance.statistics import Statistics
from tta_notebook.performance.stream_flight import StreamFlight


class Answer(NamedTuple):
    """What a flight brings: the answer itself, and what was kept of it, if it could be kept."""

    value: Any
    entry: Entry | None


class Question(NamedTuple):
    """What is asked, by whom.

    Attributes:
        key: tells it apart from other questions.
        version: of the step, when the key was made.
        input_data: the step's input.
        context: of whoever asks.
        expired: the answer that is there but no longer fresh.
        landed: how many calls were over before the answer was looked for in a store that takes
            time; None where that took none.
    """

    key: str
    version: str
    input_data: Any
    context: WorkflowContext
    expired: Entry | None = None
    landed: int | None = None


class Asking:
    """Calls a step and keeps what it answers.

    Args:
        primitive: the step.
        name: of the cache, in errors.
        freshness: how long answers are good for.
        keeper: where they are kept.
        hits: hands out those that are kept.
        counts: where calls are counted.
        watch: of the step's version.
        version: gives the step's version as of now.
        copies: whether answers that can change are copied.
    """

    def __init__(
        self,
        primitive: WorkflowPrimitive[Any, Any],
        name: str,
        *,
        freshness: Freshness,
        keeper: Keeper,
        hits: Hits,
        counts: Statistics,
        watch: VersionWatch,
        version: Callable[[], str],
        copies: bool,
    ) -> None:
        self.flights = Flights(name)
        self._primitive = primitive
        self._freshness = freshness
        self._keeper = keeper
        self._hits = hits
        self._counts = counts
        self._watch = watch
        self._version = version
        self._copies = copies
        # Kept here: a loop itself keeps only weak references to the tasks it runs.
        self._refreshes: set[Flight[Any]] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_refreshes": set[Flight[Any]]()}

    # Whole answers

    async def answer(self, question: Question) -> Any:
        """Give the answer of the call under way, or begin one.

        Raises:
            Exception: the call's error, unless an expired answer may stand in for it.
        """
        while True:
            flight = self.flights.find(question.key)
            is_first = flight is None
            if flight is None:
                flight = self._begin(question)
            try:
                answer = await self._waited(flight, question.context, is_first=is_first)
            except CacheRecursionError:
                raise
            except Exception:
                entry, at_s = question.expired, now_s()
                if entry is None or not self._freshness.may_stand_in(entry, at_s):
                    raise
                return self._hits.value(question.key, entry, at_s, FOR_ERROR, question.context)
            if answer is not LOST:
                return answer
            if is_first:
                # By the step itself, or as one of all tasks.
                raise asyncio.CancelledError(f"the call of {self._primitive.name!r} was cancelled")

    def _begin(self, question: Question, *, is_background: bool = False) -> Flight[Answer]:
        flight = Flight[Answer](
            self.flights, question.key, question.context, is_background=is_background
        )
        return self.flights.start(flight, lambda flight: self._call(flight, question))

    async def _waited(
        self, flight: Flight[Any], context: WorkflowContext, *, is_first: bool
    ) -> Any:
        ticket = flight.enter(context)
        if is_first:
            self._note_miss(flight, context)
            answer = await flight.wait(ticket)
            return answer if answer is LOST else answer.value
        self._counts.joined += 1
        try:
            if isinstance(flight, StreamFlight):
                return await chunks.collect(self._readings(flight, ticket, context))
            answer = await flight.wait(ticket)
        finally:
            self._note_join(flight, context)
        return answer if answer is LOST else self._shared(answer, context)

    def _note_miss(self, flight: Flight[Any], context: WorkflowContext) -> None:
        self._counts.misses += 1
        context.note("cache", hit=False, key=flight.key)

    def _note_join(self, flight: Flight[Any], context: WorkflowContext) -> None:
        # At the end: when it was joined, the call may not have had a span yet.
        joined = flight.span_id(self._primitive) or True
        context.note("cache", hit=False, joined=joined, key=flight.key)

    def _shared(self, answer: Answer, context: WorkflowContext) -> Any:
        """Return an answer as those get it who joined the call."""
        value, entry = answer
        if entry is not None:
            value = entry.value if entry.is_immutable else copied(entry.value)
            if entry.usage is not None:
                self._counts.tokens_saved += entry.usage.total_tokens
        context.reused(value)
        return value

    async def _kept_meanwhile(self, flight: Flight[Any], question: Question) -> Entry | None:
        """Look again, if a call was over while the answer was looked for: it may be that one's."""
        if question.landed in (None, self.flights.landed):
            return None
        entry = await self._keeper.get(question.key, flight.leader)
        if entry is None or entry.error is not None or now_s() >= entry.expires_at_s:
            return None
        self._counts.misses -= 1  # it was none
        return entry

    async def _call(self, flight: Flight[Answer], question: Question) -> Answer:
        kept = await self._kept_meanwhile(flight, question)
        if kept is not None:
            return Answer(self._hits.value(question.key, kept, now_s(), FRESH, flight.leader), kept)
        start_ns, spent = clock.source(), flight.context.tally()
        self._watch.begin()
        try:
            with flight.context.active():
                value = await self._primitive.execute(question.input_data, flight.context)
        except Exception as error:
            await self._keep_error(flight, error)
            raise
        finally:
            self._watch.end()
        entry = self._entry(value, None, start_ns, spent, flight)
        await self._keep(flight, question.version, entry)
        return Answer(value, entry)

    # Keeping

    def _entry(
        self,
        value: Any,
        pieces: tuple[StreamChunk, ...] | None,
        start_ns: int,
        spent: Tally,
        flight: Flight[Any],
    ) -> Entry | None:
        """Return what is kept of an answer; None where no copy of it can be made."""
        entry = self._freshness.answer(value, (clock.source() - start_ns) / 1e9)
        spent = spent.or_of(value)
        entry.usage, entry.cost_pico = spent.usage, spent.cost_pico
        entry.chunks = pieces
        if self._copies:
            try:
                entry.value, entry.chunks = copied(value), copied(pieces)
            except Exception as error:  # noqa: BLE001 - copying runs the value's own code
                self._keeper.failed("copy", error, flight.leader)
                return None
        entry.is_immutable = not self._copies or entry.value is value
        entry.is_plain = entry.is_immutable
        entry.saved = 0 if entry.usage is None else entry.usage.total_tokens
        return entry

    async def _keep(self, flight: Flight[Any], version: str, entry: Entry | None) -> None:
        # An answer that was made while its step changed is one of neither version.
        if entry is not None and flight.is_wanted and self._version() == version:
            await self._keeper.put(flight.key, entry, flight.leader)

    async def _keep_error(self, flight: Flight[Any], error: Exception) -> None:
        entry = self._freshness.negative(error)
        if entry is None or not flight.is_wanted:
            return
        try:
            # The error itself goes on through frames that a store should not keep alive.
            entry.error = copy.copy(error).with_traceback(None)
        except Exception as failure:  # noqa: BLE001 - copying runs the error's own code
            self._keeper.failed("copy", failure, flight.leader)
            return
        await self._keeper.put(flight.key, entry, flight.leader)

    # Streams

    async def stream(self, question: Question) -> Chunks:
        """Give the chunks of the stream under way, or begin one.

        Raises:
            Exception: the stream's error, unless an expired answer may stand in for it.
        """
        context = question.context
        flight = self.flights.find(question.key)
        is_first = flight is None
        if flight is None:
            flight = self.flights.start(
                StreamFlight(self.flights, question.key, context, is_background=False),
                lambda flight: self._record(flight, question),
            )
        if not isinstance(flight, StreamFlight):
            yield chunks.whole(await self.answer(question))
            return
        ticket = flight.enter(context)
        if is_first:
            self._note_miss(flight, context)
        else:
            self._counts.joined += 1
        is_begun = False
        try:
            async with aclosing(self._readings(flight, ticket, context)) as pieces:
                async for chunk in pieces:
                    is_begun = True
                    yield chunk
        except Exception:
            entry, at_s = question.expired, now_s()
            if is_begun or entry is None or not self._freshness.may_stand_in(entry, at_s):
                raise
            for chunk in self._hits.chunks(question.key, entry, at_s, FOR_ERROR, context):
                yield chunk
        finally:
            if not is_first:
                self._note_join(flight, context)

    async def _readings(
        self, flight: StreamFlight, ticket: object, context: WorkflowContext
    ) -> Chunks:
        """Give a flight's chunks as one of its readers gets them."""
        output: Any = None
        try:
            async with aclosing(flight.read(ticket)) as pieces:
                async for piece in pieces:
                    chunk = self._own(piece)
                    output = chunk.metadata.get("output")
                    yield chunk
        finally:
            # Only now: what the stream says it used is counted once, at the end of its own span.
            context.reused(output)

    def _own(self, piece: StreamChunk) -> StreamChunk:
        if not self._copies:
            return piece
        try:
            return cast("StreamChunk", copied(piece))
        except Exception:  # noqa: BLE001 - copying runs the value's own code; noted when it is kept
            return piece

    async def _record(self, flight: StreamFlight, question: Question) -> None:
        kept = await self._kept_meanwhile(flight, question)
        if kept is not None:
            pieces = self._hits.chunks(question.key, kept, now_s(), FRESH, flight.leader)
            await flight.record(_given(pieces))
            return
        start_ns, spent = clock.source(), flight.context.tally()
        self._watch.begin()
        try:
            await flight.record(self._primitive.stream(question.input_data, flight.context))
        except Exception as error:
            if not flight.chunks:
                await self._keep_error(flight, error)
            raise
        finally:
            self._watch.end()
        pieces = tuple(flight.chunks)
        value = await chunks.collect(_given(pieces))
        entry = self._entry(value, pieces, start_ns, spent, flight)
        await self._keep(flight, question.version, entry)

    # In the background

    def refresh(self, question: Question) -> None:
        """Begin a call in the background, unless one is under way."""
        if self.flights.is_under_way(question.key):
            return
        try:
            # Whoever asked has its answer, and may change the input while the call goes on.
            question = question._replace(input_data=copied(question.input_data))
        except Exception as error:  # noqa: BLE001 - copying runs the value's own code
            self._keeper.failed("copy", error, question.context)
        self._counts.refreshes += 1
        flight = self._begin(question, is_background=True)
        self._refreshes.add(flight)
        flight.task.add_done_callback(lambda _: self._refreshed(flight))

    def _refreshed(self, flight: Flight[Any]) -> None:
        self._refreshes.discard(flight)
        if flight.error is not None:
            self._keeper.failed("refresh", flight.error, flight.leader)

    async def settled(self) -> None:
        """Wait until the calls in the background that were begun on this loop are over."""
        loop = asyncio.get_running_loop()
        while tasks := [flight.task for flight in self._refreshes if flight.loop is loop]:
            await asyncio.wait(tasks)
            await asyncio.sleep(0)  # their last words come after their end


async def _given(pieces: tuple[StreamChunk, ...]) -> Chunks:
    for chunk in pieces:
        yield chunk
