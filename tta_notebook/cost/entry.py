"""One call to a model as the books have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tta_notebook.core import clock
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.protocols import Quote
from tta_notebook.core.usage import Usage

NONE = "-"
"""What stands for a user, workflow, step or session that a call has none of."""
REPORTED = "reported"
"""The source of a call that no guard saw: its step said afterwards what it had used."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A call that was paid for: who asked what for whom, what it used and what it cost.

    Attributes:
        model: as it was asked for.
        usage: its tokens.
        cost_pico: in pico-dollars; None when it has no price.
        at_ns: when it was booked, in nanoseconds since the Unix epoch.
        user: who it was for.
        workflow: the name of the workflow.
        step: the name of the step that asked.
        session: the conversation.
        tags: the labels of its context.
        provider: who served it.
        source: "live", "local", "replay" or "mock"; "reported" where only its step knows.
        price_date: the day whose price it is, as ISO text.
        price_source: whose price it is.

    >>> LedgerEntry("m", Usage(input_tokens=3), cost_pico=60_000).user
    '-'
    """

    model: str
    usage: Usage
    cost_pico: int | None
    at_ns: int = 0
    user: str = NONE
    workflow: str = NONE
    step: str = NONE
    session: str = NONE
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    provider: str = ""
    source: str = "live"
    price_date: str | None = None
    price_source: str | None = None


def entry_of(
    model: str,
    usage: Usage,
    quote: Quote | None,
    context: WorkflowContext | None,
    *,
    provider: str = "",
    source: str = "live",
    cost_pico: int | None = None,
) -> LedgerEntry:
    """Return the entry of a call made in `context`.

    Args:
        model: as it was asked for.
        usage: its tokens.
        quote: its price; None when it has none.
        context: of the step that asked; None when it was not asked in a run.
        provider: who served it.
        source: where the answer came from.
        cost_pico: what it cost, where that is known otherwise than by its price.
    """
    if cost_pico is None and quote is not None:
        cost_pico = quote.cost(usage)
    entry = LedgerEntry(
        model=model,
        usage=usage,
        cost_pico=cost_pico,
        at_ns=clock.now_ns(),
        provider=provider,
        source=source,
        price_date=None if quote is None else quote.date.isoformat(),
        price_source=None if quote is None else quote.source,
    )
    return entry if context is None else _charged_to(entry, context)


def _charged_to(entry: LedgerEntry, context: WorkflowContext) -> LedgerEntry:
    run, span = context.run, context.span
    return replace(
        entry,
        user=_named(context.user_id),
        workflow=_named(context.workflow_id or (None if run is None else run.workflow_name)),
        step=_named(None if span is None else span.name),
        session=_named(context.session_id),
        tags=dict(context.tags),
    )


def _named(name: object) -> str:
    return NONE if name is None else str(name)
