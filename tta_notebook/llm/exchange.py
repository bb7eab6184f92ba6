"""One request to a model and what comes back: asked of the guards, timed, booked and noted."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import date

from tta_notebook.core import clock
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import CacheKeyError, ModelTimeoutError
from tta_notebook.core.money import usd
from tta_notebook.core.protocols import PlannedCall, Quote
from tta_notebook.core.usage import Usage
from tta_notebook.llm.backends.base import Backend, ModelDelta, ModelRequest
from tta_notebook.llm.cassettes.request import chat
from tta_notebook.llm.closable import closable
from tta_notebook.llm.holds import Holds, guards_of, need_input_bound
from tta_notebook.llm.pricing import quote_of
from tta_notebook.llm.text import LLMText, Source
from tta_notebook.llm.tokens import TokenBound, input_bound
from tta_notebook.llm.usage import estimate_usage, sound


class Exchange:
    """A call to a model, from the guards' consent to the last word.

    Args:
        requested: the model as the user named it.
        request: what is asked.
        backend: who is asked.
        context: of the step that asks.
    """

    def __init__(
        self, requested: str, request: ModelRequest, backend: Backend, context: WorkflowContext
    ) -> None:
        self._requested = requested
        self._request = self._stated = request
        self._backend = backend
        self._context = context
        self._pieces: list[str] = []
        self._has_begun = False
        self._usage: Usage | None = None
        self._bound: TokenBound | None = None
        self._price_date: date | None = None
        self._served = ""
        self._finish_reason: str | None = None
        self._first_token_s: float | None = None

    @property
    def provider(self) -> str:
        """Who serves the model."""
        return getattr(self._backend, "provider", type(self._backend).__name__)

    @property
    def source(self) -> Source:
        """Whether the answer is live, local, a replay or a mock's."""
        return getattr(self._backend, "source", "live")

    async def texts(self) -> AsyncGenerator[str, None]:
        """Give the answer's text as it comes; closing the generator stops the model.

        Whatever happens, the guards' holds are settled or released and the span gets its note. A
        call that ends early reports no usage: it is booked by estimate.

        Raises:
            ModelError: the call failed.
        """
        holds = await self._reserve()
        was_sent = True
        try:
            async with aclosing(self._deltas()) as texts:
                async for text in texts:
                    yield text
        except Exception as error:
            # An error before the first sign of an answer: refused or never arrived, so not billed.
            was_sent = self._has_begun or isinstance(error, ModelTimeoutError)
            raise
        finally:
            self._book(holds, was_sent=was_sent)

    def answer(self) -> LLMText:
        """Return what has come so far."""
        return LLMText(
            "".join(self._pieces),
            usage=self._used(),
            cost_usd=self._cost_usd(),
            model=self._served or self._request.model,
            requested_model=self._requested,
            source=self.source,
            finish_reason=self._finish_reason,
            first_token_s=self._first_token_s,
        )

    async def _reserve(self) -> Holds:
        """Ask every guard, and cap the answer by what their holds pay for."""
        guards = guards_of(self._context, self.source)
        if not guards:
            return Holds(self._request.max_output_tokens)
        if need_input_bound(guards):
            self._bound = await input_bound(self._backend, self._request, self._requested)
        call = PlannedCall(
            self._requested,
            None if self._bound is None else self._bound.tokens,
            self._request.max_output_tokens,
            self._context,
            self.provider,
            self.source,
            self._quote(),
        )
        holds = await Holds.reserve(guards, call)
        self._request = replace(self._request, max_output_tokens=holds.max_output_tokens)
        return holds

    async def _deltas(self) -> AsyncGenerator[str, None]:
        start_s = clock.monotonic()
        async with aclosing(closable(self._backend.stream(self._request))) as deltas:
            async for delta in deltas:
                self._take(delta, start_s)
                if delta.text:
                    self._context.chunk(delta.text)
                    yield delta.text

    def _take(self, delta: ModelDelta, start_s: float) -> None:
        self._has_begun = True
        self._usage = sound(delta.usage) or self._usage
        self._price_date = delta.price_date or self._price_date
        self._served = delta.model or self._served
        self._finish_reason = delta.finish_reason or self._finish_reason
        if delta.text:
            self._pieces.append(delta.text)
            if self._first_token_s is None:
                self._first_token_s = clock.monotonic() - start_s

    def _used(self) -> Usage:
        if self._usage is None:
            estimate = estimate_usage(self._request.messages, "".join(self._pieces))
            # An estimate errs upwards, but never beyond what the call was allowed.
            self._usage = replace(
                estimate,
                input_tokens=estimate.input_tokens if self._bound is None else self._bound.tokens,
                output_tokens=min(estimate.output_tokens, self._request.max_output_tokens),
            )
        return self._usage

    def _quote(self) -> Quote | None:
        return quote_of(
            self._requested,
            self._context,
            source=self.source,
            provider=self.provider,
            served=self._served,
            at=self._price_date,
        )

    def _cost_usd(self) -> float | None:
        quote = self._quote()
        return None if quote is None else usd(quote.cost(self._used()))

    def _book(self, holds: Holds, *, was_sent: bool) -> None:
        quote = self._quote()
        usage = self._used() if was_sent else None
        cost_pico = None if quote is None or usage is None else quote.cost(usage)
        if usage is not None:
            # The result may not be able to: a typed output, a call that was cancelled.
            self._context.used(usage, cost_pico)
            holds.settle(usage)
        else:
            holds.release()
        if self._context.span is not None:
            self._note(usage, quote, cost_pico)

    def _note(self, usage: Usage | None, quote: Quote | None, cost_pico: int | None) -> None:
        """Say on the span what only this call knows; what comes after `usage` is for records."""
        self._context.note(
            "model",
            model=self._requested,
            served=self._served or None,
            provider=self.provider,
            source=self.source,
            finish_reason=self._finish_reason,
            first_token_s=self._first_token_s,
            usage=usage,
            cost_usd=None if cost_pico is None else usd(cost_pico),
            price_date=None if quote is None else quote.date.isoformat(),
            price_source=None if quote is None else quote.source,
            price=None if quote is None else quote.terms(),
            request_key=_key_of(self._requested, self._stated),
            max_output_tokens=self._request.max_output_tokens,
            input_bound=None if self._bound is None else self._bound.tokens,
        )


def _key_of(requested: str, request: ModelRequest) -> str | None:
    """Return what equal requests have in common; None for one that cannot be compared."""
    try:
        return chat(requested, request).key
    except CacheKeyError:
        return None
