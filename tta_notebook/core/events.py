"""What execution leaves behind: spans and their notes, chunks of streams, events for sinks."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from tta_notebook.core import clock
from tta_notebook.core.money import usd

if TYPE_CHECKING:
    from tta_notebook.core.context import WorkflowContext
    from tta_notebook.core.primitive import WorkflowPrimitive
    from tta_notebook.core.run import Run
    from tta_notebook.core.usage import Tally, Usage

# What ends a step without being its failure; a stream that is closed early ends in GeneratorExit.
STOPPED = (CancelledError, GeneratorExit, KeyboardInterrupt)

Status: TypeAlias = Literal["running", "ok", "error", "cancelled"]


class Note(NamedTuple):
    """A mark on a span: what only the primitive itself could know.

    Attributes:
        name: what happened ("retry", "route", "model").
        time_ns: when, on the monotonic clock.
        data: the particulars.
    """

    name: str
    time_ns: int
    data: Mapping[str, Any]


class Span:
    """One execution of one primitive: who, under whom, from when to when, and how it ended.

    Attributes:
        around: the context of the step it is part of.
        primitive: what was executed.
        span_id: unique in the process.
        start_ns: the start, on the monotonic clock.
        end_ns: the end, 0 while it runs.
        error: what it raised.
    """

    __slots__ = ("_more", "_notes", "around", "end_ns", "error", "primitive", "span_id", "start_ns")

    def __init__(
        self,
        around: WorkflowContext,
        primitive: WorkflowPrimitive[Any, Any],
        span_id: int,
        start_ns: int,
    ) -> None:
        self.around = around
        self.primitive = primitive
        self.span_id = span_id
        self.start_ns = start_ns
        self.end_ns = 0
        self.error: BaseException | None = None
        # What becomes a Note when somebody looks: it takes as long as a third of the mark.
        self._notes: list[tuple[str, int, Mapping[str, Any]]] | None = None
        # What few spans have shares one slot, so that the many pay for one.
        self._more: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"<Span {self.kind} {self.name!r} {self.status} {self.duration_s * 1e3:.3f} ms>"

    @property
    def run(self) -> Run[Any]:
        """The run it belongs to."""
        run = self.around.run
        assert run is not None, "a span is only made inside a run"
        return run

    @property
    def parent(self) -> Span | None:
        """The span it is part of; None for the root."""
        return self.around.span

    @property
    def name(self) -> str:
        """The primitive's name."""
        return self.primitive.name

    @property
    def kind(self) -> str:
        """The primitive's kind ("sequence", "llm")."""
        return self.primitive.kind

    @property
    def status(self) -> Status:
        """How it ended, or that it runs."""
        if not self.end_ns:
            return "running"
        if self.error is None:
            return "ok"
        return "cancelled" if isinstance(self.error, STOPPED) else "error"

    @property
    def parent_id(self) -> int | None:
        """The identity of the span this one is part of."""
        return None if self.parent is None else self.parent.span_id

    @property
    def duration_s(self) -> float:
        """Seconds from start to end, or until now while it runs."""
        return ((self.end_ns or clock.source()) - self.start_ns) / 1e9

    @property
    def started_at_ns(self) -> int:
        """The start in nanoseconds since the Unix epoch."""
        return clock.wall_ns(self.start_ns)

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to say of it beside who, when and how long."""
        return self.error is None and self._more is None and self._notes is None

    @property
    def notes(self) -> Sequence[Note]:
        """Its marks, in order."""
        return () if self._notes is None else [Note(*marked) for marked in self._notes]

    @property
    def usage(self) -> Usage | None:
        """What its result says it used, if it says so and nothing before it did."""
        usage: Usage | None = self._get("usage")
        return usage

    @property
    def tally(self) -> Tally | None:
        """What the steps under it use, where somebody adds that up."""
        tally: Tally | None = self._get("tally")
        return tally

    @property
    def cost_pico(self) -> int | None:
        """What its own calls cost, in pico-dollars; None when that is not known."""
        cost: int | None = self._get("cost")
        return cost

    @property
    def cost_usd(self) -> float | None:
        """What its own calls cost, in USD; None when that is not known."""
        return None if self.cost_pico is None else usd(self.cost_pico)

    @property
    def input_preview(self) -> str | None:
        """A short text of the input, where previews are on."""
        text: str | None = self._get("input")
        return text

    @property
    def output_preview(self) -> str | None:
        """A short text of the result, where previews are on."""
        text: str | None = self._get("output")
        return text

    @property
    def text(self) -> str:
        """What the step has streamed so far."""
        return "".join(self._get("text", ()))

    def _get(self, key: str, default: Any = None) -> Any:
        return default if self._more is None else self._more.get(key, default)

    def put(self, key: str, value: Any) -> None:
        """Keep a detail under the name of its property; for the record's writers."""
        if self._more is None:
            self._more = {}
        self._more[key] = value

    def append(self, key: str, value: Any) -> None:
        """Add to a detail that is a list; for the record's writers."""
        if self._more is None:
            self._more = {}
        self._more.setdefault(key, []).append(value)

    def note(self, name: str, time_ns: int, data: Mapping[str, Any]) -> None:
        """Mark the span; for who has read the clock, as `WorkflowContext.note` does."""
        if self._notes is None:
            self._notes = [(name, time_ns, data)]
        else:
            self._notes.append((name, time_ns, data))
        run = self.around.run
        assert run is not None
        run.marks += 1

    @property
    def trace_id_hex(self) -> str:
        """The W3C trace id: 32 hexadecimal digits."""
        return self.run.trace_id_hex

    @property
    def span_id_hex(self) -> str:
        """The W3C span id: 16 hexadecimal digits."""
        return f"{self.span_id:016x}"

    def noted(self, name: str) -> list[Note]:
        """Return the notes of that name, in order."""
        return [note for note in self.notes if note.name == name]


@dataclass(frozen=True, slots=True)
class StreamChunk:
    """One piece of a stream.

    Attributes:
        content: the piece, usually text.
        chunk_index: its place, from 0.
        is_final: whether it is the last one.
        metadata: particulars; the last chunk of a model carries its whole result as "output".

    >>> StreamChunk("Hel"), StreamChunk("lo", 1, is_final=True).is_final
    (StreamChunk(content='Hel', chunk_index=0, is_final=False, metadata={}), True)
    """

    content: Any
    chunk_index: int = 0
    is_final: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Event(NamedTuple):
    """What a sink is told: a span started, or it ended."""

    kind: Literal["start", "end"]
    span: Span


Sink: TypeAlias = Callable[[Sequence[Event]], object]
