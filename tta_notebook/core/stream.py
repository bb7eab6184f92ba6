"""The event stream: from the hot path, which appends, to sinks, which get batches.

Every sink has a bounded ring and a thread of its own behind a fence: a sink that raises is dropped
and reported once, a slow one loses its oldest events and the loss is counted. Neither delays a
step.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tta_notebook.core.events import Event, Sink, Span
from tta_notebook.core.preview import preview

if TYPE_CHECKING:
    from tta_notebook.core.run import Run

_log = logging.getLogger("tta_notebook")

RING_EVENTS = 65_536
BATCH_EVENTS = 1_000
GATHER_S = 0.05


class Feed:
    """One sink with its ring and its thread.

    Attributes:
        sink: what gets the batches.
        dropped: events it has lost because it was too slow.
        is_broken: whether it raised and gets no more.
    """

    def __init__(self, sink: Sink, capacity: int, on_break: Callable[[Feed], None]) -> None:
        self.sink = sink
        self.dropped = 0
        self.is_broken = False
        self._is_closed = False
        self._ring: deque[Event] = deque(maxlen=capacity)
        self._capacity = capacity
        self._on_break = on_break
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._thread: threading.Thread | None = None
        self._is_awake = False
        self._is_delivering = False
        self._waken = threading.Event()
        self._delivering = threading.RLock()
        self._starting = threading.Lock()

    def put(self, event: Event) -> None:
        """Queue an event; never waits."""
        if self._is_closed:
            return  # a run that began before still has this feed in its audience
        if len(self._ring) >= self._capacity:
            self.dropped += 1
        self._ring.append(event)
        if not self._is_awake:
            self._wake()

    def _wake(self) -> None:
        with self._starting:  # two threads may wake a feed at once
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
            # Gather for a moment, so that a busy run costs a few large batches.
            threading.Event().wait(GATHER_S)
            self._is_awake = False  # before draining: what comes later wakes us again
            self.drain()

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
            batch: list[Event] = []
            while self._ring and len(batch) < BATCH_EVENTS:
                batch.append(self._ring.popleft())
            queued -= len(batch)
            self._deliver(batch)

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
        self._ring.clear()
        self._waken.set()

    def forget_thread(self) -> None:
        """Start afresh in a forked process, which has the ring but not the thread."""
        self._ring.clear()
        self._start_afresh()


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is told what happens in a run; fixed for a run when it begins.

    Attributes:
        feeds: the subscribed sinks.
        captures: lists that get finished spans at once, for tests.
        with_previews: whether spans keep short texts of inputs and results.
    """

    feeds: tuple[Feed, ...]
    captures: tuple[list[Span], ...]
    with_previews: bool

    def began(self, span: Span, input_data: object) -> None:
        """Tell of a start."""
        if self.with_previews:
            span.put("input", preview(input_data))
        for feed in self.feeds:
            feed.put(Event("start", span))

    def finished(self, span: Span, result: object) -> None:
        """Tell of a good end."""
        if self.with_previews:
            span.put("output", preview(result))
        self.ended(span)

    def ended(self, span: Span) -> None:
        """Tell of any end."""
        for spans in self.captures:
            spans.append(span)
        for feed in self.feeds:
            feed.put(Event("end", span))


class EventStream:
    """Who watches, and how closely.

    Attributes:
        is_enabled: whether runs are recorded although nobody is told.
        is_recording: whether a run that begins now is recorded.
        with_previews: whether its spans keep short texts of inputs and results.
        feeds: the subscribed sinks.
        captures: lists that get finished spans at once, for tests.
        audience: all of these as a run takes them along; None when nobody is to be told.
        last_run: the newest recorded run.
    """

    def __init__(self) -> None:
        self.is_recording = False
        self.with_previews = False
        self.feeds: tuple[Feed, ...] = ()
        self.captures: tuple[list[Span], ...] = ()
        self.audience: Audience | None = None
        self.last_run: Run[Any] | None = None
        self.is_enabled = False
        self._is_registered = False
        self._changing = threading.Lock()

    def subscribe(self, sink: Sink, capacity: int = RING_EVENTS) -> Feed:
        """Send batches of events to `sink` from now on; see the module's `subscribe`."""
        feed = Feed(sink, capacity, self._leave_out)
        with self._changing:
            self.feeds = (*self.feeds, feed)
            self._register()
            self._update()
        return feed

    def unsubscribe(self, sink: Sink) -> None:
        """Deliver what is queued for `sink`, then send it nothing more."""
        for feed in self.feeds:
            if feed.sink == sink:
                self._leave_out(feed)
                feed.close()

    def _leave_out(self, feed: Feed) -> None:
        with self._changing:
            self.feeds = tuple(other for other in self.feeds if other is not feed)
            self._update()

    def flush(self) -> None:
        """Deliver everything queued so far before returning."""
        for feed in self.feeds:
            feed.drain()

    def enable(self, *, previews: bool = False) -> None:
        """Record runs from now on."""
        with self._changing:
            self.is_enabled, self.with_previews = True, previews
            self._update()

    def disable(self) -> None:
        """Record only for sinks and captures from now on."""
        with self._changing:
            self.is_enabled = self.with_previews = False
            self._update()

    @contextmanager
    def capture(self) -> Generator[list[Span]]:
        """Collect the spans that finish inside the block."""
        spans: list[Span] = []
        with self._changing:
            self.captures = (*self.captures, spans)
            self._update()
        try:
            yield spans
        finally:
            with self._changing:
                self.captures = tuple(other for other in self.captures if other is not spans)
                self._update()

    def _update(self) -> None:
        self.is_recording = bool(self.is_enabled or self.feeds or self.captures)
        is_told = self.feeds or self.captures or self.with_previews
        told = Audience(self.feeds, self.captures, self.with_previews)
        self.audience = told if is_told else None

    def _register(self) -> None:
        if not self._is_registered:
            self._is_registered = True
            atexit.register(self.flush)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        self._changing = threading.Lock()  # another thread may have held it
        for feed in self.feeds:
            feed.forget_thread()


stream = EventStream()


def subscribe(sink: Sink) -> Feed:
    """Send every span's start and end to `sink`, in batches, from a thread of its own.

    Args:
        sink: any callable that takes a sequence of events. It is never called twice at a time. If
            it raises it is dropped and reported once; if it is slow it loses its oldest events.

    Returns:
        The feed, whose `dropped` and `is_broken` tell how the sink is doing.

    >>> from tta_notebook import LambdaPrimitive, flush, unsubscribe
    >>> seen = []
    >>> feed = subscribe(seen.extend)
    >>> LambdaPrimitive(len, name="length").run_sync("four")
    4
    >>> flush(); unsubscribe(feed.sink)
    >>> [(event.kind, event.span.name) for event in seen]
    [('start', 'length'), ('end', 'length')]
    """
    return stream.subscribe(sink)


def unsubscribe(sink: Sink) -> None:
    """Deliver what is queued for `sink`, then send it nothing more."""
    stream.unsubscribe(sink)


def flush() -> None:
    """Deliver everything queued for all sinks before returning."""
    stream.flush()


def enable(*, previews: bool = False) -> None:
    """Record every run from now on, as `%load_ext` does.

    Args:
        previews: keep short texts of every step's input and result.
    """
    stream.enable(previews=previews)


def disable() -> None:
    """Undo `enable()`: runs are recorded only for sinks, captures and who asks for a Run."""
    stream.disable()


def capture() -> AbstractContextManager[list[Span]]:
    """Collect the spans that finish inside a `with` block, in the order in which they finish.

    >>> from tta_notebook import LambdaPrimitive
    >>> with capture() as spans:
    ...     _ = LambdaPrimitive(len, name="length").run_sync("four")
    >>> [(span.name, span.status) for span in spans]
    [('length', 'ok')]
    """
    return stream.capture()


def last_run() -> Run[Any] | None:
    """Return the record of the newest recorded run, also of one that raised."""
    return stream.last_run
