"""How many tokens a request has, before it is sent: exact where that can be known, else a bound."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tta_notebook.core.errors import ModelError
from tta_notebook.llm.backends.base import Backend, CountsTokens, ModelRequest
from tta_notebook.llm.messages import Message
from tta_notebook.llm.openai_vocabulary import Vocabulary, vocabulary_of
from tta_notebook.llm.token_corrections import TokenCorrections
from tta_notebook.llm.usage import estimate_input_tokens, estimate_tokens

__all__ = ["TokenBound", "TokenCorrections", "bound_input_tokens", "input_bound"]

# Around each message and the conversation, by OpenAI's cookbook.
_DOCUMENTED_PER_MESSAGE = 3
_DOCUMENTED_PER_CONVERSATION = 3
# The same where nothing is documented, as in `estimate_input_tokens`.
_PER_MESSAGE = 8
_PER_CONVERSATION = 32
# Providers put words around a schema that they do not publish.
_PER_SCHEMA = 128
# Anthropic's page on tool use names up to 530 tokens of system prompt that tools bring along.
_PER_TOOLS = 640

# A long run of blanks has more tokens than the one that `estimate_tokens` gives it, and blanks
# outside ASCII have some: it gives them none.
_UNCOUNTED_BLANKS = re.compile(r"\s{17,}|[^\S \t\n\r\f\v]+")


@dataclass(frozen=True, slots=True)
class TokenBound:
    """The most tokens of input that a request has.

    Attributes:
        tokens: that many at most; just as many when it is exact.
        is_exact: whether it is a count.
        how: where it comes from, for traces: "backend", "o200k_base", "estimate".

    >>> TokenBound(12, is_exact=True, how="backend").tokens
    12
    """

    tokens: int
    is_exact: bool
    how: str


async def input_bound(
    backend: Backend,
    request: ModelRequest,
    requested_model: str,
    corrections: TokenCorrections | None = None,
) -> TokenBound:
    """Return how many tokens of input a request has at most.

    A backend that can count is asked. Where it cannot, or fails, the text is counted here.

    Args:
        backend: who will be asked.
        request: what will be asked.
        requested_model: the model as the user named it ("openai:gpt-4o").
        corrections: what was learned from earlier calls; not applied to a backend's own count.
    """
    if isinstance(backend, CountsTokens):
        try:
            counted = await backend.count_input_tokens(request)
        except ModelError:
            # Not every server can count; one that is gone will say so when it is asked.
            counted = -1
        if type(counted) is int and counted >= 0:
            return TokenBound(counted, is_exact=True, how="backend")
    bound = bound_input_tokens(
        requested_model,
        request.messages,
        json_schema=request.json_schema,
        settings=request.settings,
    )
    return bound if corrections is None else corrections.corrected(requested_model, bound)


def bound_input_tokens(
    model: str,
    messages: Iterable[Message],
    *,
    json_schema: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> TokenBound:
    """Return how many tokens of input a conversation has at most for a model.

    OpenAI's models are counted by their vocabulary, where `tta-notebook[tokens]` is installed. The
    count is exact for models whose message format is published (gpt-3.5-turbo, gpt-4, gpt-4o,
    gpt-4o-mini) and plain messages, else it has room for what is not. Other models get the careful
    estimate of `estimate_tokens`.

    Args:
        model: as the user named it ("openai:gpt-4o").
        messages: the conversation.
        json_schema: what the answer must fit; it is sent along.
        settings: passed on to the model; tools and other structures in it may be sent along.

    >>> bound_input_tokens("anthropic:claude-sonnet-4-5", [Message("user", "hello")])
    TokenBound(tokens=42, is_exact=False, how='estimate')
    """
    conversation = tuple(messages)
    extras = _extras(json_schema, settings or {})
    vocabulary = vocabulary_of(model)
    if vocabulary is None:
        tokens = estimate_input_tokens(conversation)
        tokens += sum(_uncounted(message.content) for message in conversation)
        tokens += sum(room + _careful(text) for text, room in extras)
        return TokenBound(tokens, is_exact=False, how="estimate")
    return _by_vocabulary(vocabulary, conversation, extras)


def _by_vocabulary(
    vocabulary: Vocabulary, messages: tuple[Message, ...], extras: list[tuple[str, int]]
) -> TokenBound:
    is_documented = vocabulary.is_documented and not extras
    per_message = _DOCUMENTED_PER_MESSAGE if is_documented else _PER_MESSAGE
    tokens = _DOCUMENTED_PER_CONVERSATION if is_documented else _PER_CONVERSATION
    is_exact = is_documented
    for message in messages:
        counted, is_count = vocabulary.count(message.content)
        tokens += per_message + vocabulary.count(message.role)[0] + counted
        is_exact = is_exact and is_count
    tokens += sum(room + vocabulary.count(text)[0] for text, room in extras)
    return TokenBound(tokens, is_exact=is_exact, how=vocabulary.name)


def _extras(
    json_schema: Mapping[str, Any] | None, settings: Mapping[str, Any]
) -> list[tuple[str, int]]:
    """Return the texts that travel beside the messages, each with room for what surrounds it."""
    texts: list[tuple[str, int]] = []
    if json_schema is not None:
        texts.append((_written(dict(json_schema)), _PER_SCHEMA))
    for name, value in settings.items():
        # A number or a word steers the model; a structure may be read by it.
        if value and not isinstance(value, str | bytes | int | float):
            texts.append((_written(value), _PER_TOOLS if "tool" in name else _PER_SCHEMA))
    return texts


def _written(value: object) -> str:
    try:
        # Letters outside ASCII as escapes: that is how a schema in a prompt is written.
        return json.dumps(value, default=repr)
    except (TypeError, ValueError):
        return repr(value)


def _careful(text: str) -> int:
    return estimate_tokens(text) + _uncounted(text)


def _uncounted(text: str) -> int:
    return sum(len(blanks.encode()) for blanks in _UNCOUNTED_BLANKS.findall(text))
