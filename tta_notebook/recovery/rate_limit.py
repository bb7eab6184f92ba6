"""A limit on how often a step is called, and on the tokens that the models in it use."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any, ClassVar, cast

from tta_notebook.core import checked
from tta_notebook.core.calling import Call
from tta_notebook.core.checked import UNSET, UnsetType
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import (
    ArgumentError,
    CircuitOpenError,
    ConfigurationError,
    LimitExceededError,
)
from tta_notebook.core.primitive import Chunks, TIn, TOut
from tta_notebook.core.usage import usage_of
from tta_notebook.core.wrapper import WrapperPrimitive
from tta_notebook.recovery.rate import RateHold, RateLimit
from tta_notebook.recovery.retry_after import retry_after
from tta_notebook.recovery.transient import read


class RateLimitPrimitive(WrapperPrimitive[TIn, TOut]):
    """Keeps a step below so many requests and tokens per minute; callers wait in line.

    With `tokens_per_minute` it limits every call to a model inside the step: each reserves its
    input and the most that its answer may have, and settles what it used. Without, or with `tokens`
    to estimate from the input, it limits the calls of the step itself.

    What a provider says in the headers of its errors counts as well: with nothing left, or
    `retry-after`, the next call waits until then.

    Args:
        primitive: what is limited; whatever `>>` takes.
        requests_per_minute: how many requests.
        tokens_per_minute: how many tokens, input and output.
        burst: the share of a minute's allowance that may be used at once.
        max_wait_seconds: how long a call may wait; by default as long as its deadline lets.
        tokens: a function of `(x)` or `(x, ctx)` that estimates the tokens of a call of the step.
        limit: a limit that several steps share, in place of numbers.
        name: by default the step's name after "limit".

    Raises:
        LimitExceededError: a call can never be made, or not in time.

    >>> RateLimitPrimitive(str.upper, requests_per_minute=60).run_sync("hello")
    'HELLO'
    """

    kind: ClassVar[str] = "rate_limit"

    def __init__(
        self,
        primitive: Any,
        requests_per_minute: float | UnsetType = UNSET,
        tokens_per_minute: float | UnsetType = UNSET,
        *,
        burst: float | UnsetType = UNSET,
        max_wait_seconds: float | UnsetType = UNSET,
        tokens: Callable[..., Any] | None = None,
        limit: RateLimit | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(primitive, prefix="limit", name=name)
        numbers = {
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "burst": burst,
            "max_wait_seconds": max_wait_seconds,
        }
        given: dict[str, Any] = {key: value for key, value in numbers.items() if value is not UNSET}
        if limit is not None:
            checked.alone("RateLimitPrimitive", "limit", given)
        self.limit = RateLimit(**given, name=self.name) if limit is None else limit
        self._tokens = None if tokens is None else Call(tokens, "RateLimitPrimitive(tokens=…)")
        if tokens is not None and not self.limit.limits("tokens"):
            raise ConfigurationError(
                "RateLimitPrimitive: tokens=… estimates tokens, but there is no tokens_per_minute "
                "to keep. Give it, or leave tokens out."
            )
        self._limits_models = self._tokens is None and self.limit.limits("tokens")

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Call the step when the limit lets it.

        Raises:
            LimitExceededError: it does not in time.
        """
        if self._limits_models:
            inside = context.guarded_by(self.limit)
            with self._listening(), inside.active():
                return await self.primitive.execute(input_data, inside)
        hold = await self._acquire(input_data, context)
        with self._listening():
            result = await self.primitive.execute(input_data, context)
        hold.settle(usage_of(result))
        return result

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        hold: RateHold | None = None
        if self._limits_models:
            context = context.guarded_by(self.limit)
        else:
            hold = await self._acquire(input_data, context)
        about: Mapping[str, Any] = {}
        with self._listening():
            async with aclosing(self.primitive.stream(input_data, context)) as pieces:
                async for chunk in pieces:
                    about = chunk.metadata
                    yield chunk
        if hold is not None:
            hold.settle(about.get("usage") or usage_of(about.get("output")))

    async def _acquire(self, input_data: Any, context: WorkflowContext) -> RateHold:
        tokens = 0 if self._tokens is None else await self._tokens(input_data, context)
        if isinstance(tokens, bool) or not isinstance(tokens, (int, float)) or tokens < 0:
            raise ArgumentError(
                f"RateLimitPrimitive {self.name!r}: tokens=… returned {tokens!r}, which is no "
                "number of tokens. Return an estimate from 0."
            )
        return await self.limit.acquire(tokens, context)

    @contextmanager
    def _listening(self) -> Generator[None]:
        """Take in what an error says of the provider's own limits."""
        try:
            yield
        except Exception as error:
            # Our own refusals say when to come again, too, but nothing about the provider.
            if not isinstance(error, (LimitExceededError, CircuitOpenError)):
                for headers in (read(error, "headers"), read(read(error, "response"), "headers")):
                    if isinstance(headers, Mapping):
                        self.limit.observe(cast("Mapping[str, Any]", headers))
                self.limit.observe({}, retry_after(error))
            raise
