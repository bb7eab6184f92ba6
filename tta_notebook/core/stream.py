"""The event stream: from the hot path, which appends, to sinks, which get batches.

Every sink has a bounded ring and a thread of its own behind a fence: a sink that raises is dropped
and reported once, a slow one loses its oldest events and the loss is counted. Neither delays a
step.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from tta_notebook.core import checked
from tta_notebook.core.audience import Audience
from tta_notebook.core.events import Sink, Span
from tta_notebook.core.feed import BATCH_EVENTS, RING_EVENTS, Feed, Starts

if TYPE_CHECKING:
    from tta_notebook.core.run import Run

__all__ = [
    "BATCH_EVENTS",
    "RING_EVENTS",
    "EventStream",
    "Feed",
    "capture",
    "disable",
    "enable",
    "flush",
    "last_run",
    "stream",
    "subscribe",
    "unsubscribe",
]


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

    def subscribe(
        self,
        sink: Sink,
        capacity: int = RING_EVENTS,
        *,
        starts: Starts = "all",
        previews: bool = False,
    ) -> Feed:
        """Send batches of events to `sink` from now on; see the module's `subscribe`."""
        checked.choice("subscribe", "starts", starts, ("all", "roots"))
        feed = Feed(sink, capacity, self._leave_out, starts=starts, previews=previews)
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
        with_previews = self.with_previews or any(feed.wants_previews for feed in self.feeds)
        is_told = self.feeds or self.captures or with_previews
        told = Audience(self.feeds, self.captures, with_previews=with_previews)
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


def subscribe(sink: Sink, *, starts: Starts = "all", previews: bool = False) -> Feed:
    """Send every span's start and end to `sink`, in batches, from a thread of its own.

    Args:
        sink: any callable that takes a sequence of events. It is never called twice at a time. If
            it raises it is dropped and reported once; if it is slow it loses its oldest events.
        starts: "roots" tells of the starts of whole runs only: a step then costs half as much.
        previews: keep short texts of every step's input and result while it is subscribed.

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
    return stream.subscribe(sink, starts=starts, previews=previews)


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
