"""One sink with its ring and its thread, behind a fence.

What a traced step pays for a sink is one append to a deque. Whatever else there is to do happens
once per run: waking the thread, which then looks again every moment until the run has ended, and
cutting the ring, which until then may hold what the run itself holds anyway.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tta_notebook.core.events import Event, Sink, Span

if TYPE_CHECKING:
    from tta_notebook.core.run import Run

_log = logging.getLogger("tta_notebook")

RING_EVENTS = 65_536
BATCH_EVENTS = 1_000
GATHER_S = 0.05

# Of more runs at a time the oldest are forgotten: the others keep the thread looking.
_MOST_WATCHED = 1_024

Starts: TypeAlias = Literal["all", "roots"]
Entry: TypeAlias = Span | tuple[Span, bool]
"""A span that has ended; or one that has begun, and whether a run has begun with it."""


class Ring(deque[Any]):
    """What is queued for a sink, seen as events: the hot path does not make one of every entry."""

    def __iter__(self) -> Iterator[Event]:
        return map(_as_event, super().__iter__())


def _as_event(entry: Entry) -> Event:
    return Event("start", entry[0]) if isinstance(entry, tuple) else Event("end", entry)


class Feed:
    """One sink with its ring and its thread.

    Attributes:
        sink: what gets the batches.
        starts: whether it is told of the start of every span, or of those of whole runs only.
        wants_previews: whether spans keep short texts of inputs and results for it.
        append: queues a span that has ended and does nothing else; `tend` does the rest.
        dropped: events it has lost because it was too slow.
        is_broken: whether it raised and gets no more.
    """

    def __init__(
        self,
        sink: Sink,
        capacity: int,
        on_break: Callable[[Feed], None],
        *,
        starts: Starts = "all",
        previews: bool = False,
    ) -> None:
        self.sink = sink
        self.starts: Starts = starts
        self.wants_previews = previews
        self.dropped = 0
        self.is_broken = False
        self._is_closed = False
        self._ring = Ring()
        self._capacity = capacity
        # A long ring is cut when it is a little too long, so that a sink that cannot keep up does
        # not cost a cut per event.
        self._limit = capacity + capacity // 1_024 * 16
        self._on_break = on_break
        self._start_afresh()
        self.append: Callable[[Entry], None] = self._ring.append

    def _start_afresh(self) -> None:
        self._thread: threading.Thread | None = None
        self._is_awake = False
        self._is_delivering = False
        self._waken = threading.Event()
        self._delivering = threading.RLock()
        # Reentrant: dropping a span may run anybody's __del__, which may run a workflow.
        self._tending = threading.RLock()
        self._watched: deque[weakref.ref[Run[Any]]] = deque(maxlen=_MOST_WATCHED)

    def put(self, entry: Entry) -> None:
        """Queue an entry and see to the ring; never waits."""
        self._ring.append(entry)
        if not self._is_awake or len(self._ring) > self._limit:
            self.tend()

    def tend(self) -> None:
        """Wake the thread if it sleeps, and cut the ring if it is too long; never waits."""
        if self._is_awake and len(self._ring) <= self._limit:
            return
        with self._tending:
            if self._is_closed:
                self._ring.clear()  # a run that began before still has this feed in its audience
                return
            while len(self._ring) > self._capacity:
                self._ring.popleft()
                self.dropped += 1
            if not self._is_awake:
                self._wake()

    def _wake(self) -> None:
        self._is_awake = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="tta-events", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is going down: flush() delivers at its exit
                self._thread = None
        self._waken.set()

    def _work(self) -> None:
        while not self._is_closed:
            self._waken.wait()
            self._waken.clear()
            while self._is_awake and not self._is_closed:
                # Gather for a moment, so that a busy run costs a few large batches.
                threading.Event().wait(GATHER_S)
                self._is_awake = False  # before draining: what comes later wakes us again
                self.drain()
                self._is_awake = self._is_awake or self._has_more_to_come()

    def _has_more_to_come(self) -> bool:
        for _ in range(len(self._watched)):
            run = self._watched.popleft()()
            if run is not None and run.has_more_to_come():
                self._watched.append(weakref.ref(run))
        return bool(self._watched)

    def drain(self) -> None:
        """Hand over what is queued by now, in the calling thread."""
        with self._delivering:
            if self._is_delivering:
                return  # the sink itself asked for it, and is never called twice at a time
            self._is_delivering = True
            try:
                self._deliver_queued(len(self._ring))
            finally:
                self._is_delivering = False

    def _deliver_queued(self, queued: int) -> None:
        # What is put meanwhile is left for the next time, or a busy program would never return.
        while queued > 0 and self._ring and not self._is_closed:
            batch = self._taken()
            queued -= len(batch)
            self._deliver(batch)

    def _taken(self) -> list[Event]:
        batch: list[Event] = []
        with self._tending:  # who cuts the ring must not find it emptied meanwhile
            for _ in range(min(BATCH_EVENTS, len(self._ring))):
                entry: Entry = self._ring.popleft()
                batch.append(_as_event(entry))
                if isinstance(entry, tuple) and entry[1]:
                    self._watched.append(weakref.ref(entry[0].run))
        return batch

    def _deliver(self, batch: list[Event]) -> None:
        try:
            self.sink(batch)
        except KeyboardInterrupt:
            raise  # a user's, during flush()
        except BaseException:  # noqa: BLE001 - the fence: someone's sink may raise anything
            self.is_broken = True
            self._on_break(self)
            self._stop()
            _log.exception("The sink %r raised and gets no more events; the runs go on.", self.sink)

    def close(self) -> None:
        """Hand over what is left and end the thread."""
        self.drain()
        self._stop()

    def _stop(self) -> None:
        self._is_closed = True
        self._is_awake = False  # whatever is still put is thrown away by tend()
        self._ring.clear()
        self._waken.set()

    def forget_thread(self) -> None:
        """Start afresh in a forked process, which has the ring but not the thread."""
        self._ring.clear()
        self._start_afresh()
