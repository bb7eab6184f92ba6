"""The record of one execution of a workflow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any, Generic, TypeVar

from tta_notebook.core import clock
from tta_notebook.core.audience import Audience
from tta_notebook.core.context import WorkflowContext, current_context
from tta_notebook.core.errors import WorkflowError
from tta_notebook.core.events import STOPPED, Span, Status
from tta_notebook.core.gate import Gate
from tta_notebook.core.ids import Ids
from tta_notebook.core.money import usd
from tta_notebook.core.preview import preview
from tta_notebook.core.stream import stream
from tta_notebook.core.usage import Usage, cost_of, usage_of

T = TypeVar("T")

MAX_SPANS = 10_000

# Counted apart from the spans, so that people meet run 1, run 2, run 3.
_run_ids = Ids()

# Tasks of started runs: a loop itself keeps only weak references to the tasks it runs.
_under_way: set[asyncio.Task[Any]] = set()

# Results of these types report no usage; asking each of them would be paid at every step.
_SILENT = frozenset({str, int, float, bool, list, tuple, set, bytes, type(None)})
_NONE: frozenset[type] = frozenset()

# Stands for whoever watches this process when a run begins.
_WHO_WATCHES = Audience((), (), with_previews=False)


class Run(Generic[T]):
    """What happened in one execution: its output or error, its spans, what it used.

    `await run` gives the output or raises the workflow's error. A run keeps its output and, where
    previews are on, short texts of its steps' results, but never their values.

    Attributes:
        id: unique in the process.
        workflow_name: the context's workflow id, else the workflow's name.
        context: the context its first step got.
        output: what the workflow gave; None until it has.
        error: what it raised; None when it did not.
        status: "running", "ok", "error" or "cancelled".
        spans: the spans in the order in which they started, the first 10,000 of them.
        spans_dropped: how many more there were.
        gate: what its steps pass before they begin; None where it cannot be paused.
        failed_span: the innermost span of the failure, if it failed.
        marks: how many ends, notes and pieces of text there were.
        unpriced_calls: how many reports of usage came without a cost.

    >>> from tta_notebook import LambdaPrimitive
    >>> async def main():
    ...     return await LambdaPrimitive(len, name="length").run("four")
    >>> import asyncio
    >>> run = asyncio.run(main())
    >>> run.status, run.output, [span.name for span in run.spans]
    ('ok', 4, ['length'])
    """

    # The defaults stand on the class: a run begins in a moment, and most of it is said at its end.
    context: WorkflowContext | None = None
    output: T | None = None
    error: BaseException | None = None
    status: Status = "running"
    spans_dropped: int = 0
    failed_span: Span | None = None
    marks: int = 0
    end_ns: int = 0
    unpriced_calls: int = 0
    _usage: Usage | None = None
    _cost: int | None = None
    _counted: dict[int, tuple[object, Span | None]] | None = None
    _is_asked_to_stop: bool = False
    _task: asyncio.Task[T] | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    def __init__(
        self,
        workflow_name: str,
        outer: Run[Any] | None = None,
        audience: Audience | None = _WHO_WATCHES,
    ) -> None:
        self._number = _run_ids.next()
        self.workflow_name = workflow_name
        self.spans: list[Span] = []
        self._outer = outer
        self.gate: Gate | None = None if outer is None else outer.gate
        self._audience = audience = stream.audience if audience is _WHO_WATCHES else audience
        # Read at every step, so kept here: what stands on the class is found more slowly.
        self._listeners = None if audience is None else audience.first
        self._tell_end = None if audience is None else audience.tell_end
        self._silent = _NONE if audience is not None and audience.with_previews else _SILENT
        self.start_ns = clock.source()

    def __repr__(self) -> str:
        used = "" if self._usage is None else f", {self._usage.total_tokens} tokens"
        count = len(self.spans) + self.spans_dropped
        return (
            f"<Run {self.workflow_name!r} {self.status}, {self.duration_s:.3g} s, "
            f"{count} span{'' if count == 1 else 's'}{used}>"
        )

    @property
    def id(self) -> str:
        """The run's identity: 16 hexadecimal digits."""
        return f"{self._number:016x}"

    # What was asked, from outside

    def __await__(self) -> Generator[Any, None, T]:
        if self._task is None or self.done() or self._is_around():
            return self._settled().__await__()
        if asyncio.get_running_loop() is not self._loop:
            return self._on_another_loop().__await__()
        return self._task.__await__()

    def _is_around(self) -> bool:
        current = current_context()
        run = None if current is None else current.run
        while run is not None and run is not self:
            run = run._outer  # noqa: SLF001 - our own class
        return run is self

    async def _on_another_loop(self) -> T:
        raise WorkflowError(
            f"{self!r} was awaited on another event loop than the one it runs on, which cannot "
            "wake this one. Await it where it was started, or look at done() from here."
        )

    async def _settled(self) -> T:
        if self.status == "running":
            raise WorkflowError(
                f"{self!r} was awaited inside its own execution, or while the call that began it "
                "goes on: that would wait for itself. Await it where the workflow was started, or "
                "begin it with start()."
            )
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.exception()  # asked for: else asyncio reports it as one that nobody was
        if self.error is not None:
            raise self.error
        return self.output  # type: ignore[return-value]  # an ended run without an error has its output

    def done(self) -> bool:
        """Tell whether the run has ended."""
        return self.status != "running"

    def cancel(self, reason: str | None = None) -> bool:
        """Ask the run to stop, from any thread; tell whether this was the one that did.

        Every step is cancelled where it awaits and cleans up; the run ends once all have. Asking
        again does nothing: a second cancellation would interrupt the clean-up.
        """
        if self.done() or self._task is None or self._loop is None or self._is_asked_to_stop:
            return False
        try:
            self._loop.call_soon_threadsafe(self._task.cancel, reason)
        except RuntimeError:  # the loop was closed in the middle of the run
            return False
        self._is_asked_to_stop = True
        return True

    @property
    def is_paused(self) -> bool:
        """Whether no step of it begins until it is resumed."""
        return not self.done() and self.gate is not None and self.gate.is_shut

    def pause(self) -> bool:
        """Let no further step begin until `resume`, from any thread; tell whether it runs at all.

        Steps under way come to their ends. Its time limits stand still meanwhile: those of contexts
        and timeouts, not those that a step keeps by itself. A run inside another one is paused with
        the whole of it. It can be cancelled as ever.
        """
        return self._ask_gate(self._shut)

    def resume(self) -> bool:
        """Go on after `pause`, from any thread; tell whether it runs at all."""
        return self._ask_gate(self._open)

    def _ask_gate(self, ask: Callable[[Gate], None]) -> bool:
        return not self.done() and self.gate is not None and self.gate.ask(ask)

    def _shut(self, gate: Gate) -> None:
        self.marks += gate.shut()

    def _open(self, gate: Gate) -> None:
        paused_s = gate.open()
        if paused_s is not None and self.root is not None:
            self.root.note("paused", clock.source(), {"paused_s": paused_s})

    @property
    def is_outermost(self) -> bool:
        """Whether it was started inside of no other run."""
        return self._outer is None

    @property
    def duration_s(self) -> float:
        """Seconds from start to end, or until now while it runs."""
        return ((self.end_ns or clock.source()) - self.start_ns) / 1e9

    @property
    def version(self) -> int:
        """A number that grows with everything that happens: a view looks again when it has."""
        return self.marks + len(self.spans) + self.spans_dropped

    @property
    def root(self) -> Span | None:
        """The span of the whole workflow."""
        return self.spans[0] if self.spans else None

    @property
    def usage(self) -> Usage | None:
        """What its steps used together, each report counted once; None when none reported any."""
        return self._usage

    @property
    def cost_pico(self) -> int | None:
        """What its calls cost together, in pico-dollars; None when none of them had a price."""
        return self._cost

    @property
    def cost_usd(self) -> float | None:
        """What its calls cost together, in USD; None when none of them had a price.

        Where `unpriced_calls` is not 0 it is the cost of the others.
        """
        return None if self._cost is None else usd(self._cost)

    @property
    def trace_id_hex(self) -> str:
        """The W3C trace id: 32 hexadecimal digits."""
        return "" if self.context is None else self.context.trace_id_hex

    # What execution reports (core/observe.py)

    def start_in(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> None:
        """Execute in a task, so that the run can be awaited, cancelled and paused."""
        self._loop = loop
        gate = None
        if self.gate is None:
            gate = self.gate = Gate(loop)
        task = self._task = loop.create_task(work)
        if gate is not None:
            gate.task = task
        _under_way.add(task)
        task.add_done_callback(_under_way.discard)
        task.add_done_callback(self._close_unbegun)

    def _close_unbegun(self, task: asyncio.Task[T]) -> None:
        if self.status == "running" and task.cancelled():
            self.close("cancelled", None, asyncio.CancelledError())

    def begin(self, span: Span, input_data: object) -> None:
        """Record that a span has started."""
        if len(self.spans) < MAX_SPANS:
            self.spans.append(span)
        else:
            self.spans_dropped += 1
            if self._audience is not None:
                self._audience.tend()
        if self._listeners is not None:
            if len(self.spans) == 1:
                self._listeners = self._listeners.tell_first(span, input_data)
            else:
                self._listeners.tell(span, input_data)
        if self._outer is not None:
            self._outer.include(span)

    def drop(self, count: int) -> None:
        """Count spans of an execution elsewhere that were more than are kept."""
        self.spans_dropped += count
        if self._outer is not None:
            self._outer.drop(count)

    def include(self, span: Span) -> None:
        """List a span of a run that was started inside this one."""
        if len(self.spans) < MAX_SPANS:
            self.spans.append(span)
        else:
            self.spans_dropped += 1
        if self._outer is not None:
            self._outer.include(span)

    def finish(self, span: Span, result: object) -> int:
        """Record that a span has ended well, and return when."""
        span.end_ns = end_ns = clock.source()
        self.marks += 1
        if type(result) not in self._silent:
            self._look_at(span, result)
        if self._tell_end is not None:
            self._tell_end(span)
        return end_ns

    def _look_at(self, span: Span, result: object) -> None:
        if self._silent is not _SILENT:
            span.put("output", preview(result))
        if type(result) not in _SILENT and (reported := usage_of(result)) is not None:
            self.book(span, reported, cost_of(result))

    def fail(self, span: Span, error: BaseException) -> None:
        """Record that a span has ended with an error or was cancelled."""
        self.end_at(span, clock.source(), error)

    def end_at(self, span: Span, end_ns: int, error: BaseException | None = None) -> None:
        """Record when and how a span has ended: also one of an execution elsewhere.

        Args:
            span: which.
            end_ns: when, on the monotonic clock.
            error: what it raised; None when it ended well.
        """
        span.error = error
        span.end_ns = end_ns
        if error is not None and self.failed_span is None and not isinstance(error, STOPPED):
            self.failed_span = span
        self.marks += 1
        if self._tell_end is not None:
            self._tell_end(span)

    def streamed(self, span: Span, text: str) -> None:
        """Record a piece of streamed text."""
        span.append("text", text)
        self.marks += 1

    def close(self, status: Status, output: T | None, error: BaseException | None) -> None:
        """Record the end of the whole run."""
        self.output, self.error = output, error
        self.end_ns = clock.source()
        self.status = status
        self.marks += 1
        if self.status == "ok":
            self.failed_span = None  # a failure that the workflow recovered from
        self._counted = None
        if self._audience is not None:
            self._audience.tend()

    def has_more_to_come(self) -> bool:
        """Tell whether spans of it may still end: after it, too, for work in the background."""
        return self.status == "running" or any(not span.end_ns for span in self.spans)

    def book(self, span: Span, reported: object, cost_pico: int | None = None) -> None:
        """Count a usage that was reported, and its cost, once."""
        # A result that is passed on, or wrapped by the steps around it, reports the same again.
        if self._is_counted(reported, span):
            return
        usage = Usage.read(reported)
        if usage is not None:
            self.spend(span, usage, cost_pico)

    def spend(self, span: Span, usage: Usage, cost_pico: int | None) -> None:
        """Count a usage that nobody has counted yet, and its cost."""
        span.put("usage", usage if span.usage is None else span.usage + usage)
        if cost_pico is not None:
            span.put("cost", cost_pico + (span.cost_pico or 0))
        self._add(usage, cost_pico)
        _tell_around(span, usage, cost_pico)

    def price(self, span: Span, result: object, cost_pico: int) -> None:
        """Add the cost of a usage that a result reports and that was booked without one."""
        # On the step that reported it first, where its tokens are; else on the one that prices it.
        _, reporter = (self._counted or {}).get(id(usage_of(result)), (None, None))
        span = reporter or span
        span.put("cost", cost_pico + (span.cost_pico or 0))
        run: Run[Any] | None = self
        while run is not None:
            run._cost = cost_pico + (run._cost or 0)  # noqa: SLF001 - our own class
            run.unpriced_calls = max(0, run.unpriced_calls - 1)
            run = run._outer  # noqa: SLF001 - our own class
        _tell_around(span, None, cost_pico)

    def excuse(self, result: object) -> None:
        """Take what a result reports for counted: it was paid for by an earlier call."""
        if type(result) not in _SILENT and (reported := usage_of(result)) is not None:
            self._is_counted(reported, None)

    def known(self, reported: Iterable[object]) -> None:
        """Take usages for counted that results hold: an execution elsewhere has counted them."""
        for usage in reported:
            self._is_counted(usage, None)

    def _is_counted(self, reported: object, span: Span | None) -> bool:
        if self._counted is None:
            self._counted = {}
        # By identity, and kept: a new object may get the identity of one that is gone.
        if id(reported) in self._counted:
            return True
        self._counted[id(reported)] = (reported, span)
        if self._outer is not None:  # a step there may give on what this run gives it
            self._outer._is_counted(reported, span)  # noqa: SLF001 - our own class
        return False

    def _add(self, usage: Usage, cost_pico: int | None) -> None:
        self._usage = usage if self._usage is None else self._usage + usage
        if cost_pico is None:
            self.unpriced_calls += 1
        else:
            self._cost = cost_pico + (self._cost or 0)
        if self._outer is not None:
            self._outer._add(usage, cost_pico)  # noqa: SLF001 - our own class


def _tell_around(span: Span, usage: Usage | None, cost_pico: int | None) -> None:
    """Add to what is added up of the steps around a step."""
    around: Span | None = span
    while around is not None:
        if (tally := around.tally) is not None:
            tally.add(usage, cost_pico)
        around = around.parent
