"""The workers of a Dask cluster, as one map sees them.

A chunk is a task that is tied to one worker: Dask would run it again elsewhere when the worker is
lost, finished calls included, while a map deals out again only what has no result yet. Messages
come back through a Dask queue, as they are sent and not at the end of a chunk; answers go out as
calls into the worker. All of it passes the scheduler: workers need no way to this process.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from tta_notebook.core.errors import WorkerLostError
from tta_notebook.scale import dask_worker
from tta_notebook.scale.messages import Answer, Chunk, Ended, Event, Gone, Message, Workers
from tta_notebook.scale.packing import packed, unpacked

T = TypeVar("T")

# How often the scheduler is asked who is there.
LOOK_S = 0.5
_OVER = b""


class DaskCrew:
    """The workers of a cluster, for one map.

    Args:
        client: of the cluster; its loop may be this one or another thread's.
        map_id: by what the map is told from others.
        patience_s: how long to wait for a worker when there is none.
    """

    def __init__(self, client: Any, map_id: str, patience_s: float) -> None:
        self._client = client
        self._loop: asyncio.AbstractEventLoop = client.loop.asyncio_loop
        self._map_id = map_id
        self.patience_s = patience_s
        self._known: dict[str, int] = {}
        self._lost = 0
        # Kept while a chunk is out: Dask would see to it that a result which somebody holds is
        # there, and compute it again when its worker is lost.
        self._tasks: dict[int, Any] = {}
        self._answers: defaultdict[str, list[bytes]] = defaultdict(list)
        self._calling: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._told: Callable[[Event], None] = _unheard
        self._queue: Any = None
        self._background: list[asyncio.Task[None]] = []

    async def open(self, notify: Callable[[Event], None]) -> Mapping[str, int]:
        """Wait for a first worker, and begin to tell what comes."""
        loop = asyncio.get_running_loop()

        def told(event: Event) -> None:
            with suppress(RuntimeError):  # the map's loop was closed under it
                loop.call_soon_threadsafe(notify, event)

        self._told = told
        return await self._there(self._open(told))

    async def give(self, worker: str, chunk: Chunk, package: bytes) -> None:
        """Submit a chunk as a task of that worker."""
        await self._there(self._submit(worker, chunk.number, packed(chunk, "a chunk"), package))

    async def answer(self, worker: str, answer: Answer) -> None:
        """Call into a worker with an answer to its question."""
        await self._there(self._answer(worker, packed(answer, "an answer of the run's guards")))

    async def stop(self, chunks: Iterable[int]) -> None:
        """Let go of the tasks: their workers notice that nobody wants them."""
        await self._there(self._stop(set(chunks)))

    async def close(self) -> None:
        """Stop listening, and let go of every task."""
        await self._there(self._close())

    async def _there(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work on the client's loop."""
        if asyncio.get_running_loop() is self._loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    # On the client's loop

    async def _open(self, told: Callable[[Event], None]) -> Mapping[str, int]:
        self._queue = await dask_worker.opened_queue(self._client, self._map_id)
        self._known = await self._first_workers()
        self._background = [
            asyncio.create_task(self._fenced(self._listen(self._queue, told), told)),
            asyncio.create_task(self._fenced(self._look(self._queue, told), told)),
        ]
        return dict(self._known)

    async def _fenced(self, work: Coroutine[Any, Any, None], told: Callable[[Event], None]) -> None:
        """Take a scheduler that is gone for the loss of all its workers."""
        try:
            await work
        except Exception:  # noqa: BLE001 - Dask raises many kinds, and none of them helps
            for worker in self._known:
                told(Gone(worker))
            self._known = {}

    async def _listen(self, queue: Any, told: Callable[[Event], None]) -> None:
        while (data := await _got(queue)) != _OVER:
            messages: list[Message] = unpacked(data)
            for message in messages:
                if isinstance(message, Ended):
                    self._tasks.pop(message.chunk, None)
                told(message)

    async def _look(self, queue: Any, told: Callable[[Event], None]) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            there = await self._workers()
            gone = self._known.keys() - there.keys()
            if gone:
                await _drained(queue)
            for worker in gone:
                self._lost += 1
                told(Gone(worker))
            if there.keys() - self._known.keys():
                told(Workers(there))
            self._known = there

    async def _first_workers(self) -> dict[str, int]:
        try:
            await self._client.wait_for_workers(1, timeout=self.patience_s)
        except TimeoutError:
            raise WorkerLostError(
                f"The cluster at {self._client.scheduler.address} has no workers, and none came "
                f"within {self.patience_s:g} s. Start some (`dask worker ADDRESS`), or wait longer "
                "with Cluster(connect_timeout_seconds=…).",
                worker="",
            ) from None
        return await self._workers()

    async def _workers(self) -> dict[str, int]:
        known: Any = await self._client.scheduler.identity()
        return {
            address: worker["nthreads"]
            for address, worker in known["workers"].items()
            if worker["status"] == "running"
        }

    async def _submit(self, worker: str, number: int, data: bytes, package: bytes) -> None:
        self._tasks[number] = self._client.submit(
            dask_worker.work_on,
            data,
            package,
            key=f"{self._map_id}-{number}",
            workers=[worker],
            allow_other_workers=False,
            pure=False,
        )

    async def _answer(self, worker: str, data: bytes) -> None:
        self._answers[worker].append(data)
        # What comes while a call is under way goes along with the next one.
        async with self._calling[worker]:
            answers, self._answers[worker] = self._answers[worker], []
            if answers:
                await self._client.run(
                    dask_worker.take_answers,
                    self._map_id,
                    answers,
                    workers=[worker],
                    on_error="ignore",
                )

    async def _stop(self, chunks: set[int]) -> None:
        await self._release(list(chunks))
        under_way: dict[str, list[int]] = await self._client.run(
            dask_worker.stopped, self._map_id, workers=list(self._known), on_error="ignore"
        )
        # Of the others no worker will tell: they were still on their way, or have ended.
        for number in chunks.difference(*under_way.values()):
            self._told(Ended(number))

    async def _release(self, chunks: list[int]) -> None:
        tasks = [self._tasks[number] for number in chunks if number in self._tasks]
        if tasks:
            await self._client.cancel(tasks)

    async def _close(self) -> None:
        queue: Any = self._queue
        is_there = self._client.status == "running"
        if queue is not None and is_there:
            with suppress(OSError):  # the scheduler may go at any moment
                await self._release(list(self._tasks))
                # The listener goes by itself: cancelled, it would leave a question behind there.
                await queue.put(_OVER)
        self._tasks.clear()
        for task in self._background[0 if not is_there else 1 :]:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if queue is not None:
            # For the workers that are lost, too: they had it open. Once too often is no error.
            for _ in range(1 + self._lost):
                queue.close()


def _unheard(_event: Event) -> None:
    """Nobody listens before a map is open."""


async def _got(queue: Any) -> bytes:
    data: bytes = await queue.get()
    return data


async def _drained(queue: Any) -> None:
    """Wait until what a lost worker has sent is read."""
    while await queue.qsize():  # noqa: ASYNC110 - it is the scheduler's, which tells nobody
        await asyncio.sleep(0.01)
