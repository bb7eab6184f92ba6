"""The one method a model needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol, runtime_checkable

from tta_notebook.core.protocols import Embedder
from tta_notebook.core.usage import Usage
from tta_notebook.llm.messages import Message


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What is asked of a model.

    Attributes:
        model: the model's name, without its provider.
        messages: the conversation so far; never empty.
        max_output_tokens: the most tokens the answer may have.
        temperature: randomness from 0; None for the model's default.
        seed: makes sampling repeatable where the model supports it.
        stop: texts that end the answer.
        json_schema: the JSON schema the answer must fit; None for free text.
        settings: what only this backend understands, passed on as it is.

    >>> ModelRequest(model="m", messages=(Message("user", "hello"),)).max_output_tokens
    1024
    """

    model: str
    messages: tuple[Message, ...]
    max_output_tokens: int = 1024
    temperature: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    json_schema: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class ModelDelta:
    """A piece of an answer. All fields are optional: a delta tells what has just become known.

    Attributes:
        text: the next piece of text.
        usage: the tokens of the whole call.
        finish_reason: why the answer ended.
        model: the model that serves it.
        price_date: the day whose prices hold, where that is not today: a recording's.

    >>> ModelDelta("Hel").text
    'Hel'
    """

    text: str = ""
    usage: Usage | None = None
    finish_reason: str | None = None
    model: str | None = None
    price_date: date | None = None


class Backend(Protocol):
    """Answers requests, piece by piece.

    A backend may also have a `source` ("live" unless it says otherwise), see `LLMText.source`, and
    a `provider`, named in errors.
    """

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta]:
        """Return the answer's deltas; an async generator fits.

        Closing the iterator stops the work: that is how a cancellation reaches the model.

        Raises:
            ModelError: the call failed; raised while iterating.
        """
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """A backend that can tell how many tokens a request has before it is sent."""

    async def count_input_tokens(self, request: ModelRequest) -> int:
        """Return the exact number of tokens of the request's input."""
        ...


@runtime_checkable
class WrapsBackend(Protocol):
    """What a context may hold in place of a backend, and which needs the model's own: a recorder.

    It is asked before every call, and what it returns serves that call alone.
    """

    def over(self, backend: Backend, model: str, request: ModelRequest) -> Backend:
        """Return what answers `request` in place of `backend`.

        Args:
            backend: who would be asked.
            model: the model as the user named it.
            request: as the step states it; what is sent may allow fewer tokens of output.
        """
        ...


@runtime_checkable
class WrapsEmbedder(Protocol):
    """The same for embeddings."""

    def over_embedder(self, embedder: Embedder, model: str, texts: Sequence[str]) -> Embedder:
        """Return what embeds `texts` in place of `embedder`; it may have a `last_usage`."""
        ...
