"""One request to a model and what comes back: asked of the guards, timed, booked and noted."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from tta_notebook.core import clock
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import ModelError, ModelTimeoutError
from tta_notebook.core.protocols import Hold, PlannedCall
from tta_notebook.core.usage import Usage
from tta_notebook.llm.backends.base import Backend, CountsTokens, ModelDelta, ModelRequest
from tta_notebook.llm.closable import closable
from tta_notebook.llm.text import LLMText
from tta_notebook.llm.usage import estimate_input_tokens, estimate_usage


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
        self._request = request
        self._backend = backend
        self._context = context
        self._pieces: list[str] = []
        self._has_begun = False
        self._usage: Usage | None = None
        self._served = ""
        self._finish_reason: str | None = None
        self._first_token_s: float | None = None

    @property
    def provider(self) -> str:
        """Who serves the model."""
        return getattr(self._backend, "provider", type(self._backend).__name__)

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
            model=self._served or self._request.model,
            requested_model=self._requested,
            source=getattr(self._backend, "source", "live"),
            finish_reason=self._finish_reason,
            first_token_s=self._first_token_s,
        )

    async def _reserve(self) -> list[Hold]:
        """Ask every guard, and cap the answer by what their holds pay for."""
        holds: list[Hold] = []
        if not self._context.guards:
            return holds
        call = PlannedCall(
            self._requested,
            await self._count_input(),
            self._request.max_output_tokens,
            self._context,
        )
        try:
            for guard in self._context.guards:
                holds.append(await guard.reserve(call))  # noqa: PERF401 - kept when a later one refuses
        except BaseException:
            for hold in holds:
                hold.release()
            raise
        caps = [hold.max_output_tokens for hold in holds if hold.max_output_tokens is not None]
        most = min([self._request.max_output_tokens, *caps])
        self._request = replace(self._request, max_output_tokens=most)
        return holds

    async def _count_input(self) -> int:
        if isinstance(self._backend, CountsTokens):
            try:
                return await self._backend.count_input_tokens(self._request)
            except ModelError:
                # Not every server can count; one that is gone will say so when it is asked.
                return estimate_input_tokens(self._request.messages)
        return estimate_input_tokens(self._request.messages)

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
        self._usage = delta.usage or self._usage
        self._served = delta.model or self._served
        self._finish_reason = delta.finish_reason or self._finish_reason
        if delta.text:
            self._pieces.append(delta.text)
            if self._first_token_s is None:
                self._first_token_s = clock.monotonic() - start_s

    def _used(self) -> Usage:
        if self._usage is None:
            self._usage = estimate_usage(self._request.messages, "".join(self._pieces))
        return self._usage

    def _book(self, holds: list[Hold], *, was_sent: bool) -> None:
        for hold in holds:
            if was_sent:
                hold.settle(self._used())
            else:
                hold.release()
        if was_sent:
            # The result may not be able to: a typed output, a call that was cancelled.
            self._context.used(self._used())
        self._context.note(
            "model",
            model=self._requested,
            served=self._served or None,
            source=getattr(self._backend, "source", "live"),
            finish_reason=self._finish_reason,
            first_token_s=self._first_token_s,
            usage=self._used() if was_sent else None,
        )
