"""Workers in this process, on the loop of the test; what they are sent is bytes all the same."""

import asyncio
from collections import Counter, deque
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import replace
from itertools import count
from random import Random
from weakref import WeakValueDictionary

from tta_notebook import MapPrimitive
from tta_notebook.scale.chunk import Loaded, run_chunk
from tta_notebook.scale.dealing import Dealing
from tta_notebook.scale.failures import able_to_travel
from tta_notebook.scale.guarding import Channel
from tta_notebook.scale.messages import Ended, Gone, Report, Workers
from tta_notebook.scale.packing import packed, unpacked


class LocalCrew:
    """A crew of workers that are tasks.

    Args:
        workers: how many there are at the beginning, or their places by name.
        places: how many chunks each takes at once.
        seed: of delays, and of what is lost when a worker is killed.
        delay_s: how long a message may be on its way; never past another one of the same worker.
        patience_s: as a crew's.
        stubborn: names of workers that never stop.
        skews_s: by how much clocks of workers are ahead.
    """

    def __init__(
        self,
        workers=2,
        places=1,
        *,
        seed=0,
        delay_s=0.0,
        patience_s=30.0,
        stubborn=(),
        skews_s=None,
    ):
        named = workers if isinstance(workers, dict) else {f"w{n}": places for n in range(workers)}
        self.rng = Random(seed)  # noqa: S311 - reproducible on purpose
        self.delay_s = delay_s
        self.patience_s = patience_s
        self.stubborn = set(stubborn)
        self.skews_s = skews_s or {}
        self.workers = {name: Worker(self, name, free) for name, free in named.items()}
        self.everybody = list(self.workers.values())
        self.chunks = []  # every chunk that went out, with its worker
        self.answers = 0
        self.is_closed = False
        self._notify = None

    def there(self):
        return {name: worker.places for name, worker in self.workers.items()}

    # The protocol

    async def open(self, notify):
        self._notify = notify
        await asyncio.sleep(0)
        return self.there()

    async def give(self, worker, chunk, package):
        data = packed(chunk, "a chunk")
        self.chunks.append((worker, chunk))
        if worker in self.workers:
            self.workers[worker].begin(data, package)
        await asyncio.sleep(0)

    async def answer(self, worker, answer):
        data = packed(answer, "an answer")
        self.answers += 1
        if worker in self.workers:
            self.workers[worker].inward.send(data)
        await asyncio.sleep(0)

    async def stop(self, chunks):
        for worker in self.workers.values():
            if worker.name not in self.stubborn:
                worker.stop(chunks)
        await asyncio.sleep(0)

    async def close(self):
        self.is_closed = True
        for worker in self.everybody:
            worker.vanish()
        await asyncio.sleep(0)

    # What happens to it

    def kill(self, name, *, lost_share=None):
        """End a worker; of what it has sent and is under way, the later part is lost."""
        worker = self.workers.pop(name)
        share = self.rng.random() if lost_share is None else lost_share
        worker.outward.lose(share)
        worker.vanish()
        worker.outward.send(Gone(name), is_last=True)

    def join(self, name, places=1):
        """Let a worker come."""
        worker = self.workers[name] = Worker(self, name, places)
        self.everybody.append(worker)
        self.tell(Workers(self.there()))

    def tell(self, event):
        if self._notify is not None and not self.is_closed:
            self._notify(event)


class Line:
    """Carries messages in order, each after a while."""

    def __init__(self, crew, deliver):
        self._crew = crew
        self._deliver = deliver
        self._waiting = deque()
        self._is_closed = False

    def send(self, message, *, is_last=False):
        if self._is_closed:
            return
        self._is_closed = is_last
        self._waiting.append(message)
        loop, delay_s = asyncio.get_running_loop(), self._crew.delay_s
        if delay_s:
            loop.call_later(self._crew.rng.random() * delay_s, self._arrive)
        else:
            loop.call_soon(self._arrive)

    def _arrive(self):
        # Whichever timer is first brings whatever was sent first.
        if self._waiting:
            self._deliver(self._waiting.popleft())

    def lose(self, share):
        kept = round(len(self._waiting) * (1 - share))
        while len(self._waiting) > kept:
            self._waiting.pop()


class Worker:
    def __init__(self, crew, name, places):
        self.crew, self.name, self.places = crew, name, places
        self.outward = Line(crew, self._told)
        self.inward = Line(crew, self._answered)
        self.is_there = True
        self.tasks = {}
        self.widths, self.left = {}, {}
        self.loads = Counter()
        self._loaded = {}
        self._channel = None

    def begin(self, data, package):
        chunk = unpacked(data)
        if self._channel is None:
            self._channel = Channel(self.post, asyncio.get_running_loop())
        assert self._busy() < self.places, f"{self.name} has no place for another chunk"
        self.widths[chunk.number] = chunk.max_concurrency
        self.left[chunk.number] = len(chunk.items)
        if package not in self._loaded:
            self.loads[package] += 1
            try:
                self._loaded[package] = Loaded.from_bytes(package, self.name)
            except Exception as error:  # noqa: BLE001 - it is told
                self.post(Ended(chunk.number, able_to_travel(error)))
                return
        work = run_chunk(chunk, self._loaded[package], self._channel)
        inside = copy_context()
        inside.run(_worker.set, self)
        task = asyncio.get_running_loop().create_task(work, context=inside)
        self.tasks[chunk.number] = task
        task.add_done_callback(lambda task: self._ended(chunk.number, task, work))

    def _busy(self):
        """Return how many chunks are not about to end."""
        return sum(
            self.left[number] >= self.widths[number] - self.widths[number] // 4
            for number in self.tasks
        )

    def _ended(self, number, task, work):
        if self.tasks.pop(number, None) is not None:  # it has not begun, and so has not said it
            self.post(Ended(number))
        work.close()
        if not task.cancelled():
            task.exception()  # it was sent

    def post(self, message):
        if isinstance(message, Ended):
            self.tasks.pop(message.chunk, None)
        if isinstance(message, Report):
            self.left[message.chunk] -= 1
        if not self.is_there:
            return
        if isinstance(message, Report) and (skew_s := self.crew.skews_s.get(self.name)):
            message = shifted(message, round(skew_s * 1e9))
        self.outward.send(packed(message, "a message"))

    def _told(self, message):
        self.crew.tell(unpacked(message) if isinstance(message, bytes) else message)

    def _answered(self, data):
        if self.is_there:
            self._channel.answered(unpacked(data))

    def stop(self, chunks):
        for number in chunks:
            if number in self.tasks:
                self.tasks[number].cancel()

    def vanish(self):
        self.is_there = False
        for task in self.tasks.values():
            task.cancel()


def shifted(report, by_ns):
    """Return a report as from a machine whose clock is ahead."""
    outcome = unpacked(report.outcome)
    spans = tuple(
        span._replace(
            start_ns=span.start_ns + by_ns,
            end_ns=span.end_ns + by_ns,
            notes=tuple((name, time_ns + by_ns, data) for name, time_ns, data in span.notes),
        )
        for span in outcome.spans
    )
    outcome = outcome._replace(spans=spans, sent_ns=outcome.sent_ns + by_ns)
    return replace(report, outcome=packed(outcome, "an outcome"))


class OnCrew:
    """An executor over a crew."""

    def __init__(self, crew=None, *, chunk_size=None, attempts=3, grace_s=10.0):
        self.crew = LocalCrew() if crew is None else crew
        self.options = {"chunk_size": chunk_size, "attempts": attempts, "grace_s": grace_s}

    async def run_all(self, primitive, items, context, *, max_concurrency, mode):
        dealing = Dealing(
            primitive,
            context,
            self.crew,
            map_id="m",
            max_concurrency=max_concurrency,
            is_collecting=mode == "collect",
            **self.options,
        )
        return await dealing.run(items, len(items) if hasattr(items, "__len__") else None)


def over(crew, primitive, *, max_concurrency=100, mode="fail_fast", **options):
    """Return a map of a primitive over a crew."""
    return MapPrimitive(
        primitive,
        max_concurrency=max_concurrency,
        mode=mode,
        executor=OnCrew(crew, **options),
        name="mapped",
    )


_worker = ContextVar("worker")


async def die(*, is_replaced=True):
    """End the worker on which an item runs; another one comes."""
    worker = _worker.get()
    worker.crew.kill(worker.name)
    if is_replaced:
        worker.crew.join(f"{worker.name}+", worker.places)
    await asyncio.sleep(1e6)


def is_on_worker():
    """Tell whether this is called for an item, on a worker."""
    return _worker.get(None) is not None


_numbers = count(1)
_known = WeakValueDictionary()


class Shared:
    """Stays the same object however it is packed: what tests count with."""

    def __init__(self):
        self._number = next(_numbers)
        _known[self._number] = self

    def __reduce__(self):
        return _found, (self._number,)


def _found(number):
    return _known[number]


class Meter(Shared):
    """Counts what items do."""

    def __init__(self):
        super().__init__()
        self.running = self.most = 0
        self.begun, self.done, self.cleaned = Counter(), Counter(), Counter()

    @contextmanager
    def item(self, key):
        self.begun[key] += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            yield
            self.done[key] += 1
        finally:
            self.running -= 1
            self.cleaned[key] += 1


class Box(Shared):
    """Holds anything, the same for everybody."""

    def __init__(self, value=None):
        super().__init__()
        self.value = value
