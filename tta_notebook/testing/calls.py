"""What a mock remembers of the calls it got."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

from tta_notebook.core.context import WorkflowContext


@dataclass(slots=True, eq=False)
class MockCall:
    """One call of a mock; it unpacks as `(input, context)`.

    Attributes:
        index: its number, from 0, in the order in which calls began.
        input: what it was given.
        context: the context it ran in.
        status: "running", "ok", "error" or "cancelled".
        result: what it returned, None without a result.
        error: what it raised, None if it did not.

    >>> call = MockCall(0, "hello", WorkflowContext())
    >>> data, context = call
    >>> data, call.status
    ('hello', 'running')
    """

    index: int
    input: Any
    context: WorkflowContext
    status: Literal["running", "ok", "error", "cancelled"] = "running"
    result: Any = None
    error: BaseException | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter((self.input, self.context))


class CallLog:
    """Numbers calls as they begin, in any thread, and keeps how they end.

    Attributes:
        calls: the records, in the order in which the calls began.
    """

    def __init__(self) -> None:
        self.calls: list[MockCall] = []
        # Also held while a side effect's next value is taken: generators are not thread-safe.
        self.lock = Lock()

    def __reduce__(self) -> tuple[type[CallLog], tuple[()]]:
        return type(self), ()  # a copy in another process has not been called

    def begin(self, input_data: Any, context: WorkflowContext) -> MockCall:
        """Record that a call begins."""
        with self.lock:
            call = MockCall(len(self.calls), input_data, context)
            self.calls.append(call)
        return call

    def clear(self) -> None:
        """Forget all calls; the next one has index 0 again."""
        with self.lock:
            self.calls.clear()


@contextmanager
def ending(call: MockCall) -> Generator[MockCall]:
    """Record how the block, which carries out the call, ends."""
    try:
        yield call
    except (asyncio.CancelledError, GeneratorExit) as error:  # or a stream that is closed early
        call.status, call.error = "cancelled", error
        raise
    except BaseException as error:
        call.status, call.error = "error", error
        raise
    else:
        call.status = "ok"
