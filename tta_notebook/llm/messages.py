"""What a model reads: a conversation, made from whatever a step before it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from tta_notebook.core.errors import ModelRequestError, Names
from tta_notebook.core.preview import preview

ROLES = ("system", "user", "assistant")

_SHAPES = (
    "Give a text, a list of messages ({'role': …, 'content': …} or (role, content)), "
    "or a mapping with 'prompt' or 'messages'."
)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: "system", "user" or "assistant".
        content: its text.

    >>> Message("user", "hello").content
    'hello'
    """

    role: str
    content: str


MessageLike: TypeAlias = Message | Mapping[str, Any] | tuple[str, str]
PromptInput: TypeAlias = str | Sequence[MessageLike] | Mapping[str, Any]


def conversation(
    prompt: PromptInput, *, system: str | None = None, step: str = "llm", model: str = ""
) -> tuple[Message, ...]:
    """Return `prompt` as messages, with `system` in front.

    Args:
        prompt: a text, a list of messages, or a mapping with `prompt` or `messages`.
        system: text of a first message with the role "system".
        step: the name of the step that asks, for error messages.
        model: the model that will be asked, for error messages.

    Raises:
        ModelRequestError: the input is empty or of no known shape.

    >>> conversation("hello", system="Be brief.")
    (Message(role='system', content='Be brief.'), Message(role='user', content='hello'))
    """
    try:
        messages = _read(prompt)
    except _UnreadableError as problem:
        raise ModelRequestError(
            f"{step!r} asks a model: {problem} {_SHAPES}", model=model
        ) from None
    return messages if system is None else (Message("system", system), *messages)


class _UnreadableError(Exception):
    """Says what was found and why it cannot be sent."""


def _read(prompt: object) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        return (Message("user", _text(prompt)),)
    if isinstance(prompt, Mapping):
        return _read_mapping(cast("Mapping[str, Any]", prompt))
    if isinstance(prompt, Sequence) and not isinstance(prompt, bytes | bytearray):
        return _read_messages(cast("Sequence[object]", prompt))
    raise _UnreadableError(f"its input is {_shown(prompt)}, which is neither text nor messages.")


def _read_mapping(prompt: Mapping[str, Any]) -> tuple[Message, ...]:
    present = [key for key in ("prompt", "messages") if prompt.get(key) is not None]
    if len(present) != 1:
        found = "both 'prompt' and 'messages'" if present else f"only the keys {Names(prompt)}"
        raise _UnreadableError(f"its input has {found}, so what to send is unclear.")
    return _read(prompt[present[0]])


def _read_messages(items: Sequence[object]) -> tuple[Message, ...]:
    if not items:
        raise _UnreadableError(
            "its input is an empty list, and a model needs at least one message."
        )
    return tuple(_read_message(item, place) for place, item in enumerate(items))


def _read_message(item: object, place: int) -> Message:
    role: object
    content: object
    if isinstance(item, Message):
        role, content = item.role, item.content
    elif isinstance(item, Mapping):
        fields = cast("Mapping[str, Any]", item)
        role, content = fields.get("role"), fields.get("content")
    elif isinstance(item, tuple) and len(cast("tuple[object, ...]", item)) == 2:  # noqa: PLR2004
        role, content = cast("tuple[object, object]", item)
    else:
        shown = _shown(cast("object", item))
        raise _UnreadableError(f"message {place} is {shown}, which has no role and content.")
    if role not in ROLES:
        raise _UnreadableError(
            f"message {place} has the role {role!r}; roles are {Names(ROLES).instead_of(role)}."
        )
    if not isinstance(content, str):
        raise _UnreadableError(
            f"message {place} has the content {_shown(content)}, which is no text."
        )
    return Message(str(role), _text(content, place))


def _text(content: str, place: int | None = None) -> str:
    if not content.strip():
        where = "its input" if place is None else f"message {place}"
        raise _UnreadableError(f"{where} is {content!r}, and there is nothing to answer in it.")
    return str(content)


def _shown(value: object) -> str:
    return f"{preview(value)} ({type(value).__name__})"
