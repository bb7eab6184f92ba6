"""What travels between whoever deals out the work and the workers that do it.

All of it is pickled, and small: a chunk goes out, and reports, questions and settlements come back.
What there is one of for each span is a tuple, which is pickled in half the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from tta_notebook.core.protocols import PlannedCall
from tta_notebook.core.usage import Usage
from tta_notebook.cost.entry import LedgerEntry


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some items of a map, as they go out to a worker.

    Attributes:
        map_id: which map it is of.
        number: which chunk of it.
        items: the items as bytes, by their places in the whole.
        max_concurrency: how many of them run at once, begun in this order.
        is_recorded: whether somebody looks at the spans.
        with_previews: whether spans keep short texts of inputs and results.
        identity: what the contexts of its runs say, see `packed_identity`.
        timeout_s: how long they may take; None for as long as they need.
    """

    map_id: str
    number: int
    items: Mapping[int, bytes]
    max_concurrency: int
    is_recorded: bool
    with_previews: bool
    identity: bytes
    timeout_s: float | None


class SpanRecord(NamedTuple):
    """A span as it travels; times are in nanoseconds since the Unix epoch.

    Attributes:
        parent: the place of the span around it in the list; -1 for an item's outermost.
        path: where in the workflow its primitive stands; None for one that was made on the way.
        name: the primitive's name.
        kind: the primitive's kind.
        start_ns: when it started.
        end_ns: when it ended.
        error: what it raised.
        notes: name, time and particulars of each.
        usage: what it used.
        cost_pico: what that cost.
        previews: short texts of its input and its result.
    """

    parent: int
    path: str | None
    name: str
    kind: str
    start_ns: int
    end_ns: int
    error: BaseException | None = None
    notes: tuple[tuple[str, int, Mapping[str, Any]], ...] = ()
    usage: Usage | None = None
    cost_pico: int | None = None
    previews: tuple[str | None, str | None] = (None, None)


class Outcome(NamedTuple):
    """What came of an item.

    Attributes:
        output: what the workflow gave, in bytes of its own, see `outcomes`; None where it raised.
        error: what it raised instead.
        spans: the record of it, in the order in which spans started.
        dropped: how many spans there were beyond that.
        sent_ns: when it was sent, in nanoseconds since the Unix epoch.
    """

    output: bytes | None = None
    error: BaseException | None = None
    spans: tuple[SpanRecord, ...] = ()
    dropped: int = 0
    sent_ns: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """Says what came of an item; in bytes, so that one that cannot be read is alone.

    Attributes:
        chunk: the number of its chunk.
        index: the item's place.
        outcome: an `Outcome`.
    """

    chunk: int
    index: int
    outcome: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """Asks the run's guards for a call to a model that is about to be made.

    Attributes:
        chunk: whose call.
        number: which question of this worker's.
        call: the call, without its context.
    """

    chunk: int
    number: int
    call: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """Answers an `Ask`.

    Attributes:
        number: of the question.
        max_output_tokens: the most that the holds pay for.
        refusal: what the guards raised instead.
    """

    number: int
    max_output_tokens: int = 0
    refusal: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Settle:
    """Says what a call used that was asked for; None gives everything back."""

    chunk: int
    number: int
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Booked:
    """Says what the copy of a ledger has booked that stands in the workflow.

    Attributes:
        ledger: the number of the ledger.
        entry: what to book.
    """

    ledger: int
    entry: LedgerEntry


@dataclass(frozen=True, slots=True)
class Ended:
    """Says that nothing of a chunk runs any more.

    Attributes:
        chunk: its number.
        error: why it could not run at all; None when it did.
    """

    chunk: int
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """Says that a worker is no longer there."""

    worker: str


@dataclass(frozen=True, slots=True)
class Workers:
    """Says which workers there are, and how many chunks each takes at once."""

    workers: Mapping[str, int]


Message: TypeAlias = Report | Ask | Settle | Booked | Ended
"""What workers send."""
Event: TypeAlias = Message | Gone | Workers
"""What a crew tells of: a worker's message, or a change among the workers."""


def as_message(call: PlannedCall) -> dict[str, Any]:
    """Return a planned call without the context, which stays where it is."""
    return {
        "model": call.model,
        "input_tokens": call.input_tokens,
        "max_output_tokens": call.max_output_tokens,
        "provider": call.provider,
        "source": call.source,
        "quote": call.quote,
    }
