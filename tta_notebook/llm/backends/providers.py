"""Hosted models through pydantic-ai's direct API: one request, no agent, no retries of its own.

Nothing of it is imported before the first request. A retry belongs to `RetryPrimitive`, which says
so in the trace: the SDKs would otherwise make three attempts of every one of ours.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, ClassVar

from tta_notebook.core.errors import AuthenticationError, ConfigurationError, Names
from tta_notebook.core.per_loop import Opened, PerLoop
from tta_notebook.llm.backends import provider_errors
from tta_notebook.llm.backends.base import ModelDelta, ModelRequest
from tta_notebook.llm.backends.openers import NO_KEY, PROVIDERS, Access
from tta_notebook.llm.text import Source

if TYPE_CHECKING:
    from pydantic_ai.models import Model


class ProviderBackend:
    """Answers with a hosted model.

    Args:
        model: "provider:model", where the provider is openai, openai-responses, anthropic, google
            or ollama.
        base_url: the address of a server that speaks the provider's protocol, such as vLLM's for
            openai; by default the provider's own, or what its environment variable says.
        api_key: by default what the provider's environment variable holds when it is asked.

    Raises:
        ConfigurationError: the model is not written like that, or the provider is not known.

    >>> ProviderBackend("anthropic:claude-sonnet-4-5").name
    'claude-sonnet-4-5'
    """

    source: ClassVar[Source] = "live"

    def __init__(
        self, model: str, *, base_url: str | None = None, api_key: str | None = None
    ) -> None:
        self.provider, self.name = _split(model)
        self._base_url = base_url
        self._api_key = api_key
        self._models: PerLoop[Model] = PerLoop(self._open)

    def __repr__(self) -> str:
        return f"ProviderBackend('{self.provider}:{self.name}')"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:
        """Give the answer's deltas; closing ends the connection.

        Raises:
            AuthenticationError: there is no key, or it is refused.
            ModelError: the call failed; its subclasses say how.
            ConfigurationError: the extra `providers` is not installed.
        """
        self._key()
        with provider_errors.translated(self.provider, self.name):
            from tta_notebook.llm.backends.hosted import stream_model  # noqa: PLC0415 - an extra

            model = await self._models.get()
            async with aclosing(stream_model(model, request)) as deltas:
                async for delta in deltas:
                    yield delta

    def _open(self) -> Opened[Model]:
        about = PROVIDERS[self.provider]
        stated = os.environ.get(about.url_variable) if about.url_variable else None
        base_url = self._base_url or stated or about.default_url
        return about.open(Access(self.name, base_url, self._key()))

    def _key(self) -> str:
        about = PROVIDERS[self.provider]
        found = self._api_key or next(filter(None, map(os.environ.get, about.key_variables)), None)
        if found is not None:
            return found
        if self._base_url is not None or not about.needs_key:
            return NO_KEY
        raise AuthenticationError(
            f"{self.provider}:{self.name} was to be asked, but there is no key for "
            f"{self.provider}, which answers nobody without one. Set the environment variable "
            f"{about.key_variables[0]}, or pass api_key=.",
            model=self.name,
            provider=self.provider,
        )


def _split(model: str) -> tuple[str, str]:
    provider, colon, name = model.partition(":")
    if not colon:
        raise ConfigurationError(
            f"LLMPrimitive: model={model!r} names no provider, so there is nobody to ask. Write "
            f"'provider:model' (providers: {Names(PROVIDERS).instead_of(model)}) or 'local'."
        )
    if provider not in PROVIDERS:
        raise ConfigurationError(
            f"LLMPrimitive: model={model!r} names the provider {provider!r}, which is not known. "
            f"Providers are {Names(PROVIDERS).instead_of(provider)}. A server that speaks OpenAI's "
            "protocol is 'openai:model' with base_url=."
        )
    if not name.strip():
        raise ConfigurationError(
            f"LLMPrimitive: model={model!r} names a provider and no model, so there is nothing to "
            f"ask for. Write '{provider}:model'."
        )
    return provider, name
