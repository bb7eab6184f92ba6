"""What the steps of a saga are, and what they can ask about themselves."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

from tta_notebook.core.errors import CircuitOpenError, LimitExceededError
from tta_notebook.core.primitive import WorkflowPrimitive

# Errors that say that nothing has been asked, whatever made them.
_NOTHING_DONE = (CircuitOpenError, LimitExceededError)


@dataclass(frozen=True, slots=True)
class SagaStep:
    """The step of a saga that is running here, forward or undo.

    Attributes:
        saga: the saga's name.
        saga_id: this execution of it, unique; recovering keeps it.
        name: the step's name.
        index: its place, from 0; the steps of parallel groups are counted one by one.
        is_undo: whether it is being undone.

    >>> SagaStep("trip", "7f", "book", 2, is_undo=False).idempotency_key
    '7f/2'
    """

    saga: str
    saga_id: str
    name: str
    index: int
    is_undo: bool

    @property
    def idempotency_key(self) -> str:
        """The same for a step and its undo, however often either runs: servers tell by it."""
        return f"{self.saga_id}/{self.index}"


@dataclass(frozen=True, slots=True)
class UnfinishedStep:
    """What an undo gets in the place of an output that its step never gave.

    Attributes:
        input_data: what the step was given.
        error: what ended it; None when its process died.
        idempotency_key: what it had as `current_saga_step().idempotency_key`.
        is_ambiguous: whether it may have had its effect: it ran out of time, lost a connection or
            was cancelled. Otherwise it failed, and the saga compensates failed steps.

    >>> UnfinishedStep({"order": 7}, TimeoutError(), "7f/2", is_ambiguous=True).input_data
    {'order': 7}
    """

    input_data: Any
    error: BaseException | None
    idempotency_key: str
    is_ambiguous: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A forward step and its undo, as they stand in a saga's definition."""

    index: int
    forward: WorkflowPrimitive[Any, Any]
    undo: WorkflowPrimitive[Any, Any] | None

    @property
    def name(self) -> str:
        """The name of the forward step."""
        return self.forward.name


@dataclass(frozen=True, slots=True)
class Stage:
    """One step, or a group of steps that run at once on the same input."""

    steps: tuple[Step, ...]
    is_group: bool

    @property
    def shape(self) -> str | list[str]:
        """Its names, as a journal compares them."""
        names = [step.name for step in self.steps]
        return names if self.is_group else names[0]


@dataclass(frozen=True, slots=True)
class Ended:
    """A step that was begun: how it ended, and what its undo gets.

    Attributes:
        step: which.
        argument: makes what its undo gets; it may have to be decoded.
        error: what ended it, None when it gave its output (or its process died).
        is_ambiguous: whether it may have had its effect although it gave no output.
        is_wanted: whether it is to be undone.
        output: what it gave.
    """

    step: Step
    argument: Callable[[], Any]
    error: BaseException | None = None
    is_ambiguous: bool = False
    is_wanted: bool = True
    output: Any = None

    @property
    def is_undoable(self) -> bool:
        """Whether there is anything to run."""
        return self.is_wanted and self.step.undo is not None


_current: ContextVar[SagaStep | None] = ContextVar("tta_notebook.saga_step", default=None)


def current_saga_step() -> SagaStep | None:
    """Return the saga's step that is running here, None outside of one.

    Send its `idempotency_key` along with what the step asks of a server, which can then tell a
    repetition from a second order.

    >>> current_saga_step() is None
    True
    """
    return _current.get()


async def run_as(
    identity: SagaStep, primitive: WorkflowPrimitive[Any, Any], value: Any, context: Any
) -> Any:
    """Execute a primitive that can ask which step it is."""
    outer = _current.get()
    _current.set(identity)
    try:
        return await primitive.execute(value, context)
    finally:
        _current.set(outer)


def is_ambiguous(error: BaseException, handled: BaseException | None) -> bool:
    """Tell whether a step that ended with `error` may have had its effect all the same.

    It may when time ran out, a connection was lost or the step was cancelled in the middle, also
    when it wraps that in an error of its own.

    Args:
        error: what the step raised.
        handled: the error that was being handled when the step began; it is not the step's.
    """
    found = (CancelledError, TimeoutError, ConnectionError)
    return any(isinstance(each, found) for each in _behind(error, handled))


def _behind(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    waiting, seen = [error], {id(handled)}
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, _NOTHING_DONE):
            continue
        context = None if each.__suppress_context__ else each.__context__
        behind = [each.__cause__, context, *_parts(each)]
        waiting += [one for one in behind if isinstance(one, BaseException)]


def _parts(error: Any) -> list[object]:
    """Return the errors of a group, and those of a retry's attempts: any may have arrived."""
    parts: object = getattr(error, "exceptions", None) or getattr(error, "attempts", None)
    if not isinstance(parts, (list, tuple)):
        return []
    return [getattr(part, "error", part) for part in cast("list[object]", parts)]
