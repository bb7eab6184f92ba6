"""What runs inside of a Dask worker.

A chunk is one task, in one of the worker's threads, which only waits: the work is done on an event
loop of ours in a thread of its own. So a step that blocks holds up neither the worker's connections
nor its heartbeat, and what belongs to a loop (connections, flights, limits) lasts from chunk to
chunk.
"""

from __future__ import annotations

import asyncio
import hashlib
import platform
import signal
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from functools import partial
from importlib import import_module
from typing import Any

from tta_notebook.core import packages
from tta_notebook.scale.chunk import Loaded, run_chunk
from tta_notebook.scale.guarding import Channel
from tta_notebook.scale.messages import Answer, Chunk, Ended, Message
from tta_notebook.scale.packing import packed, unpacked

# How often a task looks whether its result is still wanted: it is not when the map was cancelled,
# and when the process that began it is gone.
LOOK_S = 0.2
# How long the last messages of a chunk may take.
FLUSH_S = 10.0
_MOST_WORKFLOWS = 8
# Of maps that were stopped while a chunk of theirs was on its way: that takes milliseconds.
_MOST_STOPPED = 1000
_WANTED = ("executing", "long-running", "resumed")


def about() -> tuple[str, str]:
    """Return this process's minor version of Python and the release of this package."""
    minor = ".".join(platform.python_version_tuple()[:2])
    return minor, str(packages.release_of(__name__))


def dask_setup(_worker: Any) -> None:
    """Leave interrupts to whoever started the workers, when one of them begins: Dask calls this.

    Ctrl-C and a notebook's Interrupt reach the whole group of processes. They are meant for the map
    that waits, which cancels its chunks; here they would only end the worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def work_on(data: bytes, package: bytes) -> None:
    """Run a chunk to its end: the Dask task.

    It gives its place among the worker's threads back at once, since it only waits: whoever deals
    out the chunks knows how many a worker is to have.

    Args:
        data: the chunk, packed.
        package: its workflow, see `packed_workflow`.
    """
    dask: Any = import_module("distributed")  # of whose types Dask states few
    worker = dask.get_worker()
    key = worker.get_current_task()
    dask.secede()
    chunk: Chunk = unpacked(data)
    line = _lines.enter(chunk, dask.get_client())
    if line is None:
        return
    try:
        loaded = _loaded(package, worker.address, line, chunk)
        if loaded is not None:
            unbegun = partial(line.post, Ended(chunk.number))
            job = _Job(run_chunk(chunk, loaded, line.channel), unbegun)
            while not job.wait(LOOK_S):
                if not _is_wanted(worker, key):
                    job.cancel()
    finally:
        _lines.leave(line, chunk)


def stopped(map_id: str) -> list[int]:
    """Let no chunk of a map begin any more, and return which are under way."""
    return _lines.stop(map_id)


async def opened_queue(client: Any, name: str) -> Any:
    """Return the queue of a map, on the client's loop."""
    dask: Any = import_module("distributed")
    queue = await dask.Queue(name, client=client)
    # Making one opens it, and awaiting it does so again: each counts as a user, and the queue stays
    # at the scheduler until the last one has closed it.
    queue.close()
    return queue


def take_answers(map_id: str, answers: Iterable[bytes]) -> None:
    """Take answers to questions of the worker's chunks: called in the worker's loop."""
    if (line := _lines.found(map_id)) is not None:
        for data in answers:
            answer: Answer = unpacked(data)
            _thread.loop.call_soon_threadsafe(line.channel.answered, answer)


def _is_wanted(worker: Any, key: str) -> bool:
    state: Any = worker.state.tasks.get(key)
    return state is not None and state.state in _WANTED


def _loaded(package: bytes, where: str, line: _Line, chunk: Chunk) -> Loaded | None:
    try:
        return _workflows.loaded(package, where)
    except Exception as error:  # noqa: BLE001 - it is raised where the map was called
        line.post(Ended(chunk.number, error))
        return None


class _Workflows:
    """The workflows that this process has loaded: each once, whatever number of chunks it is for.

    By content: a map that is run again finds its caches filled, as it would in one process.
    """

    def __init__(self) -> None:
        self._loaded: OrderedDict[bytes, Loaded] = OrderedDict()
        self._lock = threading.Lock()

    def loaded(self, package: bytes, where: str) -> Loaded:
        key = hashlib.sha256(package).digest()
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = Loaded.from_bytes(package, where)
                while len(self._loaded) > _MOST_WORKFLOWS:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(key)
            return self._loaded[key]


class _LoopThread:
    """An event loop in a thread of its own, begun when it is first asked for."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=self._loop.run_forever, name="tta-chunks", daemon=True
                ).start()
            return self._loop


class _Job:
    """Work on that loop, which another thread waits for.

    Args:
        work: what to do.
        on_unbegun: called in its place where it was cancelled before it began.
    """

    def __init__(self, work: Coroutine[Any, Any, None], on_unbegun: Callable[[], None]) -> None:
        self._work = work
        self._on_unbegun = on_unbegun
        self._has_begun = False
        self._ended = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_cancelled = False
        _thread.loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._end)

    async def _run(self) -> None:
        self._has_begun = True
        await self._work

    def _end(self, task: asyncio.Task[None]) -> None:
        if not self._has_begun:  # cancelled before its first step, so it had nothing to say
            self._work.close()
            self._on_unbegun()
        if not task.cancelled():
            task.exception()  # it was sent with the last message
        self._ended.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end, and tell whether it came."""
        return self._ended.wait(timeout_s)

    def cancel(self) -> None:
        """Cancel it, once: again would interrupt its clean-up."""
        if not self._is_cancelled:
            self._is_cancelled = True
            _thread.loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


class _Line:
    """The line from this process to one map: messages go out in order, in batches.

    Attributes:
        map_id: of the map.
        channel: what chunks use.
        chunks: the numbers of those that do.
    """

    def __init__(self, map_id: str, client: Any) -> None:
        self.map_id = map_id
        self.chunks: set[int] = set()
        self.channel = Channel(self.post, _thread.loop)
        self._client = client
        self._loop: asyncio.AbstractEventLoop = client.loop.asyncio_loop
        self._queue: Any = None
        self._out: list[Message] = []
        self._lock = threading.Lock()
        self._pump: Future[None] | None = None

    def post(self, message: Message) -> None:
        """Send a message, from any thread."""
        with self._lock:
            self._out.append(message)
            if self._pump is None:
                self._pump = asyncio.run_coroutine_threadsafe(self._send(), self._loop)

    async def _send(self) -> None:
        if self._queue is None:
            self._queue = await opened_queue(self._client, self.map_id)
        while messages := self._taken():
            await self._queue.put(packed(messages, "messages"))

    def _taken(self) -> list[Message]:
        with self._lock:
            taken, self._out = self._out, []
            if not taken:
                self._pump = None
            return taken

    def flush(self) -> None:
        """Wait until everything is sent."""
        with self._lock:
            pump = self._pump
        if pump is not None:
            pump.result(FLUSH_S)

    def close(self) -> None:
        """Let go of the queue: the last one who does removes it."""
        if self._queue is not None:
            self._queue.close()


class _Lines:
    """The lines that are open, by map."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._stopped: deque[str] = deque(maxlen=_MOST_STOPPED)
        self._lock = threading.Lock()

    def enter(self, chunk: Chunk, client: Any) -> _Line | None:
        """Return the line of a chunk's map; None where no chunk of it may begin any more."""
        map_id = chunk.map_id
        with self._lock:
            if map_id in self._stopped:
                return None
            line = self._lines.get(map_id) or self._lines.setdefault(map_id, _Line(map_id, client))
            line.chunks.add(chunk.number)
            return line

    def stop(self, map_id: str) -> list[int]:
        with self._lock:
            self._stopped.append(map_id)
            line = self._lines.get(map_id)
            return [] if line is None else list(line.chunks)

    def leave(self, line: _Line, chunk: Chunk) -> None:
        try:
            line.flush()
        finally:
            with self._lock:
                line.chunks.discard(chunk.number)
                if not line.chunks:
                    del self._lines[line.map_id]
                    line.close()

    def found(self, map_id: str) -> _Line | None:
        with self._lock:
            return self._lines.get(map_id)


_thread = _LoopThread()
_workflows = _Workflows()
_lines = _Lines()
