"""What lower rooms need from higher ones.

The core asks, a higher room implements, and the context or the caller hands the object down: so the
imports keep pointing one way.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Date  # noqa: N812 - Quote has an attribute of that name
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from tta_notebook.core.context import WorkflowContext
    from tta_notebook.core.primitive import WorkflowPrimitive
    from tta_notebook.core.usage import Tally, Usage

T = TypeVar("T")


class Quote(Protocol):
    """What a model costs on one day, in pico-dollars: whole numbers, so that sums are exact."""

    @property
    def date(self) -> Date:
        """The day whose price it is."""
        ...

    @property
    def source(self) -> str:
        """Whose price it is: "user", "local", the name of a table."""
        ...

    def terms(self) -> Mapping[str, Any]:
        """Return the price as it was stated, for records."""
        ...

    def cost(self, usage: Usage) -> int:
        """Return what a call costs that used this."""
        ...

    def worst_case(self, input_tokens: int, max_output_tokens: int) -> int:
        """Return the most that a call of this size can cost."""
        ...

    def affordable_output_tokens(self, pico: int, input_tokens: int) -> int:
        """Return how many tokens of output an amount pays for at worst, 0 or less for none."""
        ...


class Prices(Protocol):
    """Knows what models cost."""

    def quote(
        self, model: str, *, provider: str | None = None, at: Date | None = None
    ) -> Quote | None:
        """Return the price of a model on a day (today by default), None when it is not known."""
        ...


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A call to a model that is about to be made, as a guard sees it.

    Attributes:
        model: the model that will be asked.
        input_tokens: tokens of the input, exact or an over-estimate; None when nothing bounds them.
        max_output_tokens: the most the answer may have.
        context: the context of the step that asks.
        provider: who serves the model.
        source: "live", "local" or "mock", as `LLMText.source`.
        quote: the model's price; None when it has none.
    """

    model: str
    input_tokens: int | None
    max_output_tokens: int
    context: WorkflowContext
    provider: str = ""
    source: str = "live"
    quote: Quote | None = None


class Hold(Protocol):
    """What a guard has set aside for one call.

    Attributes:
        max_output_tokens: the most tokens of output the hold pays for; None for no limit.
    """

    max_output_tokens: int | None

    def settle(self, usage: Any) -> None:
        """Book what the call really used; settling again changes nothing."""
        ...

    def release(self) -> None:
        """Give everything back: nothing was sent."""
        ...


class Guard(Protocol):
    """Asked before every call to a model: a budget, a rate limit, a ledger.

    Calls that are answered from a recording cost nothing and go past the guards, but for those
    with a true `counts_replays`. Counting a call's input beforehand takes time: it is left out
    where every guard has a false `needs_input_bound`. One with a method `excuse(result)` is told of
    results that come from a cache: what they report as their usage has been paid for.
    """

    def reserve(self, call: PlannedCall) -> Awaitable[Hold]:
        """Set aside what the call may cost, or raise because there is not enough."""
        ...


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A result that is already known, so that a step need not run.

    Attributes:
        output: the step's output.
        source: where it comes from, shown in the trace ("journal", "memo").
        spent: what it took to get it; None where only the output may say so.
    """

    output: T
    source: str
    spent: Tally | None = None


class StepStore(Protocol):
    """Asked before a step runs and told when it has: a journal, a memo of unchanged cells."""

    def recall(
        self, step: WorkflowPrimitive[Any, Any], input_data: Any, context: WorkflowContext
    ) -> Awaitable[Answer[Any] | None]:
        """Return the step's known answer for this input, or None: then it runs."""
        ...

    def keep(
        self,
        step: WorkflowPrimitive[Any, Any],
        input_data: Any,
        output: Any,
        context: WorkflowContext,
    ) -> Awaitable[None]:
        """Remember what the step gave."""
        ...


class Executor(Protocol):
    """Runs a primitive for many items elsewhere: in other processes, on other machines."""

    def run_all(
        self,
        primitive: WorkflowPrimitive[Any, Any],
        items: Iterable[Any] | AsyncIterable[Any],
        context: WorkflowContext,
        *,
        max_concurrency: int | None,
        mode: str,
    ) -> Awaitable[list[Any]]:
        """Return the results in the items' order; `max_concurrency` and `mode` as in a map."""
        ...


class Store(Protocol):
    """A place for bytes under keys, with a time to live: what caches write to."""

    def get(self, key: str) -> Awaitable[bytes | None]:
        """Return the value, or None when there is none or it has expired."""
        ...

    def put(self, key: str, value: bytes, ttl_s: float | None = None) -> Awaitable[None]:
        """Keep the value for `ttl_s` seconds, or until it is displaced."""
        ...

    def delete(self, key: str) -> Awaitable[None]:
        """Forget the value; a key that is not there is no error."""
        ...

    def clear(self) -> Awaitable[None]:
        """Forget all values."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors."""

    def embed(self, texts: Sequence[str]) -> Awaitable[Sequence[Sequence[float]]]:
        """Return one vector per text, all of one length."""
        ...
