"""A request as a cassette writes it down: what JSON can hold, and nothing that opens a door."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from tta_notebook.core import canonical
from tta_notebook.core.errors import ConfigurationError, Names
from tta_notebook.llm.backends.base import ModelRequest
from tta_notebook.llm.cassettes.secrets import names_a_secret

Kind: TypeAlias = Literal["chat", "embed"]
Match: TypeAlias = Iterable[str] | Callable[[dict[str, Any]], Any] | None

CHAT_FIELDS = (
    "model",
    "messages",
    "max_output_tokens",
    "temperature",
    "seed",
    "stop",
    "json_schema",
    "settings",
)
_EMBED_FIELDS = frozenset({"texts"})

# Ways to the model rather than part of the question, and where keys travel.
_NEVER_WRITTEN = frozenset(
    {"base_url", "headers", "extra_headers", "default_headers", "authorization", "cookies"}
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to a model.

    Attributes:
        kind: "chat" or "embed".
        fields: what was asked, as JSON holds it; what was not stated is left out.
    """

    kind: Kind
    fields: dict[str, Any]

    @property
    def key(self) -> str:
        """A hash of all of it: equal requests have equal keys."""
        return canonical.digest((self.kind, self.fields))


def chat(model: str, request: ModelRequest) -> Asked:
    """Return a request to a language model, without what only opens the way to it.

    >>> from tta_notebook.llm.messages import Message
    >>> chat("m", ModelRequest("m", (Message("user", "hi"),), settings={"api_key": "x"})).fields
    {'model': 'm', 'messages': [{'role': 'user', 'content': 'hi'}], 'max_output_tokens': 1024}
    """
    stated: dict[str, Any] = {
        "model": model,
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
        "max_output_tokens": request.max_output_tokens,
        # 0 and 0.0 are one temperature.
        "temperature": None if request.temperature is None else float(request.temperature),
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "json_schema": None if request.json_schema is None else plain(request.json_schema),
        "settings": _harmless(request.settings) or None,
    }
    return Asked("chat", {name: plain(each) for name, each in stated.items() if each is not None})


def embed(model: str, texts: Sequence[str]) -> Asked:
    """Return a request for vectors."""
    return Asked("embed", {"model": model, "texts": [plain(text) for text in texts]})


class Matching:
    """Says what of two requests has to be equal for one to be answered with the other's recording.

    Args:
        match: names of fields, or a function of a request's fields; None for all of it.

    Raises:
        ConfigurationError: there is no such field.
    """

    def __init__(self, match: Match) -> None:
        self._function = match if callable(match) else None
        self._names = None if match is None or callable(match) else _checked(match)

    def counted(self, asked: Asked) -> Any:
        """Return what counts of a request."""
        if self._function is not None:
            return plain(self._function(plain(asked.fields)))
        if self._names is None:
            return asked.fields
        names = self._names | _EMBED_FIELDS
        return {name: each for name, each in asked.fields.items() if name in names}

    def key(self, asked: Asked) -> str:
        """Return a hash of what counts: of requests that match, it is the same."""
        return canonical.digest((asked.kind, self.counted(asked)), root="match(request)")


def plain(value: Any) -> Any:
    """Return `value` as what JSON can hold; of what it cannot, the name of the type."""
    if isinstance(value, Mapping):
        entries = cast("Mapping[Any, Any]", value).items()
        return {_key(key): plain(each) for key, each in entries}
    if isinstance(value, list | tuple):
        return [plain(each) for each in cast("Sequence[Any]", value)]
    return _plain_leaf(value)


def _plain_leaf(value: object) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # a subclass may say something else of itself than its text
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    # Its repr() could be anything: an address that changes, or a key.
    return f"<{type(value).__qualname__}>"


def _key(key: object) -> str:
    return str(key).encode("utf-8", "replace").decode()


def _harmless(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _harmless(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else value
        for name, value in settings.items()
        if str(name).lower() not in _NEVER_WRITTEN and not names_a_secret(str(name))
    }


def _checked(match: Iterable[str]) -> frozenset[str]:
    names = (match,) if isinstance(match, str) else tuple(match)
    for name in names:
        if name not in CHAT_FIELDS:
            raise ConfigurationError(
                f"Cassette: match names {name!r}, which no request has; its fields are "
                f"{Names(CHAT_FIELDS).instead_of(name)}. Name some of these, or give a function of "
                "a request's fields."
            )
    return frozenset(names)
