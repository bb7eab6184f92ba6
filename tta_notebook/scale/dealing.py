"""Dealing out the items of a map in chunks, and taking in what comes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Generator, Iterable
from contextlib import contextmanager, suppress
from typing import Any

from tta_notebook.core import clock
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.fanout import DEFAULT_LIMIT
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.stream import stream
from tta_notebook.core.travel import Trip
from tta_notebook.scale.backlog import Backlog, Item
from tta_notebook.scale.counter import Counter
from tta_notebook.scale.crew import Crew
from tta_notebook.scale.gathering import Gathering
from tta_notebook.scale.hands import Dealt, Hands
from tta_notebook.scale.identity import packed_identity
from tta_notebook.scale.ledgers import Ledgers
from tta_notebook.scale.losses import deserted, lost
from tta_notebook.scale.messages import (
    Ask,
    Booked,
    Chunk,
    Ended,
    Event,
    Gone,
    Message,
    Report,
    Settle,
    Workers,
)
from tta_notebook.scale.packing import packed_workflow, said
from tta_notebook.scale.pausing import Pausing
from tta_notebook.scale.reports import Reports
from tta_notebook.scale.roster import Roster
from tta_notebook.scale.sizes import Sizes
from tta_notebook.scale.source import Source
from tta_notebook.scale.terms import terms_of


class Dealing:
    """One map over a crew.

    Args:
        primitive: the workflow.
        context: of the step that maps.
        crew: who works.
        map_id: by what the map is told from others.
        max_concurrency: how many items run at once, everywhere together; None for 100 a place.
        is_collecting: whether an error stands in its item's place and the others go on.
        chunk_size: how many items a chunk has; None to choose.
        attempts: how often an item is begun at most when workers are lost.
        grace_s: how long chunks may clean up after they were stopped.
    """

    def __init__(
        self,
        primitive: WorkflowPrimitive[Any, Any],
        context: WorkflowContext,
        crew: Crew,
        *,
        map_id: str,
        max_concurrency: int | None,
        is_collecting: bool,
        chunk_size: int | None,
        attempts: int,
        grace_s: float,
    ) -> None:
        self._primitive = primitive
        self._context = context
        self._crew = crew
        self._map_id = map_id
        self._max_concurrency = max_concurrency
        self._chunk_size = chunk_size
        self._attempts = attempts
        self._grace_s = grace_s
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._roster = Roster()
        self._hands = Hands()
        self._gathering = Gathering(is_collecting=is_collecting)
        self._reports = Reports(primitive, context, self._gathering)
        self._ledgers = Ledgers()
        self._dealt = 0
        self._is_winding_up = False

    async def run(self, items: Iterable[Any] | AsyncIterable[Any], size: int | None) -> list[Any]:
        """Return the results in the items' order; when this ends, nothing runs any more.

        Args:
            items: taken one by one as places become free.
            size: how many there are, where that is known.
        """
        source = Source(items, self._wake, ahead=self._max_concurrency or DEFAULT_LIMIT)
        self._sizes = Sizes(self._max_concurrency, self._chunk_size, size)
        self._backlog = Backlog(source, self._gathering, self._attempts)
        async with asyncio.TaskGroup() as group:
            self._pausing = Pausing(self._context, self._wake, group)
            self._counter = Counter(self._context, self._crew.answer, self._fail, group)
            try:
                await self._work_through(source, group)
            except Exception as error:  # noqa: BLE001 - raised below, as itself and not in a group
                self._gathering.fail(error)
            finally:
                await self._end(source)
        return self._gathering.outcome()

    def _wake(self) -> None:
        self._events.put_nowait(None)

    def _fail(self, error: Exception) -> None:
        self._gathering.fail(error)
        self._wake()

    async def _work_through(self, source: Source, group: asyncio.TaskGroup) -> None:
        await self._open()
        source.begin(group)
        while self._gathering.failure is None:
            if source.failure is not None:
                self._gathering.fail(source.failure)
                return
            await self._deal()
            if not self._hands and self._pausing.is_paused:
                source.look()  # with nothing left to do the map ends, paused or not
            if self._backlog.is_over and not self._hands:
                return
            await self._next_event()

    async def _open(self) -> None:
        """Wait for workers, and make ready what goes out to each of them."""
        workers = await self._crew.open(self._events.put_nowait)
        self._roster.update(workers)
        trip = Trip(len(workers), refer=self._ledgers.refer)
        self._package = packed_workflow(self._primitive, terms_of(self._context), trip)
        # Limits are divided among so many; where none are, whoever comes may help.
        self._roster.limit(len(workers) if trip.is_divided else None)
        self._identity = packed_identity(self._context)

    # Out

    async def _deal(self) -> None:
        """Give out chunks while there are items, places, and room under `max_concurrency`."""
        while self._gathering.failure is None and not self._pausing.is_paused:
            if not await self._deal_one():
                return

    async def _deal_one(self) -> bool:
        places = self._roster.places
        width = self._sizes.width(places, self._hands.running)
        if not width:
            return False
        idle = self._hands.idle(self._roster)
        if idle is not None and (item := self._backlog.suspect()) is not None:
            await self._give(idle, [item], 1, is_alone=True)
            return True
        worker = self._hands.freest(self._roster)
        if worker is None or not (items := self._backlog.take(self._sizes.length(places, width))):
            return False
        await self._give(worker, items, min(width, len(items)))
        return True

    async def _give(
        self, worker: str, items: list[Item], width: int, *, is_alone: bool = False
    ) -> None:
        self._dealt += 1
        by_index = {item.index: item for item in items}
        self._hands.add(
            Dealt(self._dealt, worker, by_index, width, clock.source(), is_alone=is_alone)
        )
        audience = stream.audience
        chunk = Chunk(
            map_id=self._map_id,
            number=self._dealt,
            items={item.index: item.data for item in items},
            max_concurrency=width,
            is_recorded=self._context.run is not None,
            with_previews=audience is not None and audience.with_previews,
            identity=self._identity,
            timeout_s=self._context.remaining(),
        )
        await self._crew.give(worker, chunk, self._package)

    # Back

    async def _next_event(self) -> None:
        """Take in one event, and with it those that wait behind it."""
        if self._roster or self._hands or self._pausing.is_paused:
            self._take_in(await self._events.get())
        else:
            await self._wait_for_workers()
        while not self._events.empty():
            self._take_in(self._events.get_nowait())

    async def _wait_for_workers(self) -> None:
        try:
            async with asyncio.timeout(self._crew.patience_s):
                while not self._roster and self._gathering.failure is None:
                    self._take_in(await self._events.get())
        except TimeoutError:
            if not self._pausing.is_paused:  # time stands still then
                raise deserted(self._primitive.name, self._crew.patience_s) from None

    def _take_in(self, event: Event | None) -> None:
        match event:
            case None:
                pass
            case Workers(workers):
                self._roster.update(workers)
            case Gone(worker):
                self._lose(worker)
            case _:
                self._hear(event)

    def _hear(self, message: Message) -> None:
        match message:
            case Report():
                if (dealt := self._hands.find(message.chunk)) is not None:
                    self._reports.take(message, dealt)
            case Ask():
                if (dealt := self._hands.find(message.chunk)) is not None:
                    self._counter.ask(dealt.worker, message)
            case Settle():
                self._counter.settle(message)
            case Booked():
                self._ledgers.book(message)
            case Ended():
                self._take_end(message)

    def _take_end(self, end: Ended) -> None:
        self._counter.ended(end.chunk)
        dealt = self._hands.pop(end.chunk)
        if dealt is None:
            return
        if end.error is not None:
            self._gathering.fail(end.error)
        elif dealt.items:
            self._deal_again(dealt)

    def _lose(self, worker: str) -> None:
        self._roster.lose(worker)
        for dealt in self._written_off(worker):
            self._deal_again(dealt)

    def _written_off(self, worker: str) -> list[Dealt]:
        """Return a worker's chunks of which nobody will hear; book what they may have spent."""
        lost = self._hands.pop_of(worker)
        if lost:
            items = sum(len(dealt.items) for dealt in lost)
            calls = sum(self._counter.lost(dealt.number) for dealt in lost)
            self._context.note("worker_lost", worker=worker, items=items, open_calls=calls)
        return lost

    def _deal_again(self, dealt: Dealt) -> None:
        if self._is_winding_up:
            return
        for item in dealt.begun():
            item.attempts += 1
        for item in dealt.items.values():
            if not self._backlog.put_back(item):
                error = lost(self._primitive.name, item, dealt.worker)
                self._gathering.put_error(item.index, error)

    # The end

    async def _end(self, source: Source) -> None:
        self._is_winding_up = True
        self._pausing.close()
        try:
            await self._wind_up()
            await source.close()
        finally:
            for dealt in self._hands:
                self._written_off(dealt.worker)
            self._counter.close()
            with self._heard():
                await self._crew.close()

    async def _wind_up(self) -> None:
        """Cancel what is out, and wait until it has cleaned up, or too long."""
        if not self._hands:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._grace_s):
                with self._heard():
                    await self._crew.stop([dealt.number for dealt in self._hands])
                while self._hands:
                    self._take_in(await self._events.get())

    @contextmanager
    def _heard(self) -> Generator[None]:
        """Tell of an error at the end beside what the map has come to, not in place of it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the results are there, or the failure
            if self._gathering.failure is not None:
                self._gathering.fail(error)
            else:
                self._context.note("unclean_end", error=said(error))
