"""The context of a run: who runs it, what its steps share, and where in the trace we are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, cast

from tta_notebook.core import clock
from tta_notebook.core.deadline import Deadline
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.events import Span
from tta_notebook.core.guarding import each_once
from tta_notebook.core.here import Active, current
from tta_notebook.core.ids import span_ids
from tta_notebook.core.shared import Shared
from tta_notebook.core.standing import standing
from tta_notebook.core.usage import Tally

if TYPE_CHECKING:
    from tta_notebook.core.protocols import Guard, Prices, StepStore
    from tta_notebook.core.run import Run
    from tta_notebook.core.usage import Usage

# A context is FRESH until it enters execution. From then on it is PLAIN (nobody watches, steps run
# straight through) or WATCHED (steps are recorded or answered from a store). NARROWED is one with a
# deadline that nobody keeps yet: the first step that executes in it does.
FRESH, PLAIN, WATCHED, NARROWED = range(4)


class WorkflowContext:
    """Identity, shared state and deadline of a run, as a step sees them.

    All contexts of a run share one `state`, by reference: what a step writes, the next one reads,
    and parallel branches see each other's writes as in any asyncio program. Nothing is copied.

    Args:
        workflow_id: the workflow's name in traces and reports.
        session_id: groups the runs of one conversation.
        user_id: who it is for; kept in `metadata["user_id"]`.
        correlation_id: ties the run to a request elsewhere; a random one by default.
        metadata: free particulars, carried along.
        state: what the steps share.
        tags: labels for reports.
        baggage: labels that also travel to other services.

    >>> context = WorkflowContext(workflow_id="ask", user_id="u-1", state={"seen": 0})
    >>> context.state["seen"], context.user_id
    (0, 'u-1')
    """

    __slots__ = ("_own_id", "deadline", "mode", "run", "shared", "span")

    def __init__(
        self,
        workflow_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        correlation_id: str | None = None,
        metadata: MutableMapping[str, Any] | None = None,
        state: MutableMapping[str, Any] | None = None,
        tags: MutableMapping[str, str] | None = None,
        baggage: MutableMapping[str, str] | None = None,
    ) -> None:
        shared = self.shared = Shared()
        shared.workflow_id = workflow_id
        shared.session_id = session_id
        shared.correlation_id = correlation_id
        shared.metadata = metadata
        shared.state = state
        shared.tags = tags
        shared.baggage = baggage
        self.run: Run[Any] | None = None
        self.span: Span | None = None
        self.deadline: Deadline | None = None
        self._own_id: int | None = None
        self.mode = FRESH
        if user_id is not None:
            self.metadata["user_id"] = user_id

    def __repr__(self) -> str:
        where = "" if self.span is None else f", span={self.span.name!r}"
        return f"WorkflowContext(workflow_id={self.workflow_id!r}{where})"

    # How contexts are made

    @classmethod
    def root(cls, workflow_id: str) -> WorkflowContext:
        """Return a new context for a workflow of that name."""
        return cls(workflow_id=workflow_id)

    @staticmethod
    def child(parent: WorkflowContext, step: str) -> WorkflowContext:
        """Return a context for a step under `parent`: its own identity, the same state."""
        child = parent.create_child_context()
        child.note("child", step=step)
        return child

    def create_child_context(self) -> WorkflowContext:
        """Return a context with its own span identity that shares everything else."""
        child = self.derive(self.run, self.span, self.mode)
        child._own_id = span_ids.next()  # noqa: SLF001 - our own class
        return child

    def derive(self, run: Run[Any] | None, span: Span | None, mode: int) -> WorkflowContext:
        """Return a context elsewhere in the trace that shares everything else; for the engine."""
        child: WorkflowContext = _new(WorkflowContext)
        child.shared = self.shared
        child.deadline = self.deadline
        child._own_id = None
        child.mode = mode
        child.run = run
        child.span = span
        return child

    # What a run is

    @property
    def workflow_id(self) -> str | None:
        """The workflow's name."""
        return self.shared.workflow_id

    @property
    def session_id(self) -> str | None:
        """The conversation the run belongs to."""
        return self.shared.session_id

    @property
    def user_id(self) -> str | None:
        """Who the run is for."""
        return self.metadata.get("user_id")

    @property
    def correlation_id(self) -> str:
        """What ties the run to a request elsewhere."""
        return self.shared.known_correlation_id()

    @property
    def metadata(self) -> MutableMapping[str, Any]:
        """Free particulars."""
        if self.shared.metadata is None:
            self.shared.metadata = {}
        return self.shared.metadata

    @property
    def state(self) -> MutableMapping[str, Any]:
        """What the steps of the run share."""
        if self.shared.state is None:
            self.shared.state = {}
        return self.shared.state

    @property
    def tags(self) -> MutableMapping[str, str]:
        """Labels for reports."""
        if self.shared.tags is None:
            self.shared.tags = {}
        return self.shared.tags

    @property
    def baggage(self) -> MutableMapping[str, str]:
        """Labels that also travel to other services."""
        if self.shared.baggage is None:
            self.shared.baggage = {}
        return self.shared.baggage

    @property
    def guards(self) -> tuple[Guard, ...]:
        """Who is asked before every call to a model: the run's own, then the standing ones."""
        own = self.shared.guards
        return each_once(own + standing.guards) if standing.guards else own

    @property
    def prices(self) -> Prices | None:
        """What models cost in this run; None leaves it to the price book of `llm`."""
        return self.shared.prices or standing.prices

    @property
    def step_store(self) -> StepStore | None:
        """Who may answer a step without running it."""
        return self.shared.step_store

    def backend(self, model: str) -> Any | None:
        """Return the backend this run uses for `model` instead of the primitive's own, if any."""
        for backends in (self.shared.backends, standing.backends):
            if backends and (found := backends.get(model, backends.get("*"))) is not None:
                return found
        return None

    def using(
        self,
        *,
        guards: Iterable[Guard] | None = None,
        step_store: StepStore | None = None,
        backends: Mapping[str, Any] | None = None,
        prices: Prices | None = None,
    ) -> WorkflowContext:
        """Hand the run what its steps will ask, and return this context.

        Args:
            guards: asked before every call to a model, in order.
            step_store: asked before every step.
            backends: what serves a model in this run; the key "*" stands for every model.
            prices: what models cost in this run.
        """
        if self.mode != FRESH or self.shared.is_begun:
            raise ConfigurationError(
                f"{self!r}.using(): the run is under way. Guards, stores and backends count from "
                "its first step: call using() on a new WorkflowContext."
            )
        if guards is not None:
            self.shared.guards = tuple(guards)
        if step_store is not None:
            self.shared.step_store = step_store
        if backends is not None:
            self.shared.backends = backends
        if prices is not None:
            self.shared.prices = prices
        return self

    def guarded_by(self, *guards: Guard, prices: Prices | None = None) -> WorkflowContext:
        """Return this context with more guards, for one part of a run; they are asked first.

        Args:
            guards: asked before every call to a model in that part.
            prices: what models cost in that part; as outside of it by default.
        """
        child = self.derive(self.run, self.span, self.mode)
        child.shared = self.shared.guarded_by(each_once((*guards, *self.shared.guards)), prices)
        return child

    # Time

    def elapsed_ms(self) -> float:
        """Return milliseconds since the context's run was set up."""
        return (clock.source() - self.shared.start_ns) / 1e6

    def checkpoint(self, name: str) -> None:
        """Remember how far the run has come under a name; see `checkpoints`."""
        self.checkpoints.append((name, self.elapsed_ms()))
        self.note("checkpoint", checkpoint=name)

    @property
    def checkpoints(self) -> list[tuple[str, float]]:
        """The named checkpoints with their milliseconds since the start."""
        if self.shared.checkpoints is None:
            self.shared.checkpoints = []
        return self.shared.checkpoints

    def remaining(self) -> float | None:
        """Return the seconds to the deadline, negative when it is gone; None without one."""
        if self.deadline is None:
            return None
        remaining_s = self.deadline.remaining_s()
        return None if remaining_s == math.inf else remaining_s

    def within(self, timeout_s: float) -> WorkflowContext:
        """Return this context with a deadline at most `timeout_s` seconds away.

        What executes in it is cancelled then and raises StepTimeoutError. An earlier deadline
        stays, and infinity sets none.
        """
        if timeout_s == math.inf:
            return self.derive(self.run, self.span, self.mode)
        if not math.isfinite(timeout_s):
            raise ConfigurationError(
                f"{self!r}.within({timeout_s!r}): such a deadline cannot be compared with any "
                "moment. Give a number of seconds."
            )
        child = self.until(Deadline.after(timeout_s, self.deadline))
        child.mode = FRESH if self.mode == FRESH else NARROWED
        return child

    def until(self, deadline: Deadline | None) -> WorkflowContext:
        """Return this context with another deadline, which the caller keeps; for primitives."""
        child = self.derive(self.run, self.span, self.mode)
        child.deadline = deadline
        return child

    def entered(self) -> WorkflowContext:
        """Return this context as execution sees it, once its deadline is kept; for the engine."""
        return self.derive(self.run, self.span, PLAIN if self.run is None else WATCHED)

    def active(self) -> Active:
        """Make this the current context inside a `with` block: calls without one nest under it."""
        return Active(self)

    # The trace

    def note(self, name: str, /, **data: Any) -> None:
        """Mark the current span with what only its primitive knows; free when nobody watches."""
        if self.span is not None:
            self.span.note(name, clock.source(), data)

    def chunk(self, text: str) -> None:
        """Show a piece of streamed text on the current span; free when nobody watches."""
        if self.span is not None:
            self.span.run.streamed(self.span, text)

    def used(self, usage: Usage, cost_pico: int | None = None) -> None:
        """Show on the trace what the step used, once, where its result cannot say so.

        Args:
            usage: its tokens.
            cost_pico: what they cost, in pico-dollars; None when there is no price.
        """
        if self.span is not None:
            self.span.run.book(self.span, usage, cost_pico)

    def priced(self, result: object, cost_pico: int) -> None:
        """Show on the trace what a usage cost that a result reports without a price."""
        if self.span is not None:
            self.span.run.price(self.span, result, cost_pico)

    def reused(self, result: object) -> None:
        """Tell that a result was used before: what it reports as its usage is not counted again."""
        if self.span is not None:
            self.span.run.excuse(result)
        for guard in self.shared.guards:
            if (excuse := getattr(guard, "excuse", None)) is not None:
                excuse(result)

    def tally(self) -> Tally:
        """Begin to add up what the steps under the current one use; nothing when nobody watches."""
        tally = Tally()
        if self.span is not None:
            self.span.put("tally", tally)
        return tally

    @property
    def span_id(self) -> int:
        """The identity of this context: its span's, or its own where it was made by hand."""
        if self._own_id is None:
            if self.span is not None:
                return self.span.span_id
            self._own_id = span_ids.next()
        return self._own_id

    @property
    def trace_id_hex(self) -> str:
        """The W3C trace id of the run."""
        return self.shared.known_trace_id()

    @property
    def remote_parent_hex(self) -> str | None:
        """The span elsewhere that this run continues, from `extract()`."""
        return self.shared.remote_parent

    def to_otel_context(self) -> dict[str, str]:
        """Return identity and labels under OpenTelemetry's names; absent values are left out."""
        attributes = {
            "trace_id": self.trace_id_hex,
            "span_id": f"{self.span_id:016x}",
            "workflow.id": self.workflow_id,
            "session.id": self.session_id,
            "user.id": self.user_id,
            "correlation.id": self.correlation_id,
        }
        return {key: value for key, value in attributes.items() if value is not None}

    def inject(self, carrier: MutableMapping[str, str]) -> None:
        """Write W3C `traceparent` and `baggage` headers into `carrier`."""
        from tta_notebook.core import propagation  # noqa: PLC0415 - only who propagates pays

        span_id = self.span_id if self.span is None else self.span.span_id
        carrier["traceparent"] = propagation.traceparent(self.trace_id_hex, span_id)
        if self.baggage:
            carrier["baggage"] = propagation.baggage_header(self.baggage)

    @classmethod
    def extract(cls, carrier: Mapping[str, str], **arguments: Any) -> WorkflowContext:
        """Return a context that continues the trace in `carrier`'s headers, if they hold one.

        Header names are read in any case; a `traceparent` that cannot be read is ignored, as the
        W3C recommendation asks.

        Args:
            carrier: headers.
            arguments: those of the constructor.
        """
        from tta_notebook.core import propagation  # noqa: PLC0415 - only who propagates pays

        headers = {key.lower(): value for key, value in carrier.items()}
        context = cls(**arguments)
        if parent := propagation.remote_parent(headers.get("traceparent", "")):
            context.shared.trace_id, context.shared.remote_parent = parent
        for key, value in propagation.baggage_pairs(headers.get("baggage", "")):
            context.baggage.setdefault(key, value)
        return context


_new = object.__new__


def entered(
    context: WorkflowContext, run: Run[Any] | None, span: Span | None, mode: int
) -> WorkflowContext:
    """Return the context in which a run that was given `context` executes."""
    context.shared.is_begun = True
    return context.derive(run, span, mode)


def plain_root() -> WorkflowContext:
    """Return the context of a run that nobody asked anything of and nobody watches."""
    context: WorkflowContext = _new(WorkflowContext)
    context.shared = Shared()
    context.deadline = context._own_id = context.run = context.span = None  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - our own class
    context.mode = PLAIN
    return context


# The default of a `context` parameter: the one of the step that calls. It is None at run time, and
# an override never sees it: core/observe.py puts the current context in its place.
HERE = cast("WorkflowContext", None)


def current_context() -> WorkflowContext | None:
    """Return the context of the step that is running here, or None outside of a run."""
    found = current()
    return context_of(found) if isinstance(found, Span) else found


def context_of(span: Span) -> WorkflowContext:
    """Return the context of the step that a span records."""
    around = span.around
    return around.derive(around.run, span, WATCHED)
