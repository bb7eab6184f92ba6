"""The providers there are, and how a model of each is opened."""

# ruff: noqa: PLC0415 - each SDK is an extra and takes half a second to import: on use, one by one

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tta_notebook.core.per_loop import Opened

if TYPE_CHECKING:
    from pydantic_ai.models import Model
    from pydantic_ai.providers import Provider as Served

_OLLAMA_URL = "http://127.0.0.1:11434/v1"
# Servers that want no key get one all the same: the SDKs insist.
NO_KEY = "no-key-needed"


@dataclass(frozen=True, slots=True)
class Access:
    """What it takes to open a model."""

    model: str
    base_url: str | None
    api_key: str


OpenModel: TypeAlias = "Callable[[Access], Opened[Model]]"


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider: how its models are opened and where its key and address are found."""

    open: OpenModel
    key_variables: tuple[str, ...]
    needs_key: bool = True
    url_variable: str | None = None
    default_url: str | None = None


def _openai(access: Access) -> Opened[Model]:
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = AsyncOpenAI(api_key=access.api_key, base_url=access.base_url, max_retries=0)
    return Opened(
        OpenAIChatModel(access.model, provider=OpenAIProvider(openai_client=client)), client.close
    )


def _openai_responses(access: Access) -> Opened[Model]:
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = AsyncOpenAI(api_key=access.api_key, base_url=access.base_url, max_retries=0)
    return Opened(
        OpenAIResponsesModel(access.model, provider=OpenAIProvider(openai_client=client)),
        client.close,
    )


def _ollama(access: Access) -> Opened[Model]:
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.ollama import OllamaProvider

    client = AsyncOpenAI(api_key=access.api_key, base_url=access.base_url, max_retries=0)
    return Opened(
        OpenAIChatModel(access.model, provider=OllamaProvider(openai_client=client)), client.close
    )


def _anthropic(access: Access) -> Opened[Model]:
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    client = AsyncAnthropic(api_key=access.api_key, base_url=access.base_url, max_retries=0)
    return Opened(
        AnthropicModel(access.model, provider=AnthropicProvider(anthropic_client=client)),
        client.close,
    )


def _google(access: Access) -> Opened[Model]:
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    # This SDK makes one attempt unless it is given retry options.
    provider = GoogleProvider(api_key=access.api_key, base_url=access.base_url)
    return Opened(GoogleModel(access.model, provider=provider), lambda: _leave(provider))


async def _leave(provider: Served[Any]) -> None:
    async with provider:
        """A provider closes the client of its own making when it is left."""


PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider(_openai, ("OPENAI_API_KEY",), url_variable="OPENAI_BASE_URL"),
    "openai-responses": Provider(
        _openai_responses, ("OPENAI_API_KEY",), url_variable="OPENAI_BASE_URL"
    ),
    "anthropic": Provider(_anthropic, ("ANTHROPIC_API_KEY",), url_variable="ANTHROPIC_BASE_URL"),
    "google": Provider(_google, ("GOOGLE_API_KEY", "GEMINI_API_KEY")),
    "ollama": Provider(
        _ollama,
        ("OLLAMA_API_KEY",),
        needs_key=False,
        url_variable="OLLAMA_BASE_URL",
        default_url=_OLLAMA_URL,
    ),
}
