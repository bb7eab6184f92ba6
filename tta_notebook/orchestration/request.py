"""What a step of this room is given, as a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar, cast

from tta_notebook.core.errors import ArgumentError, Names
from tta_notebook.core.preview import preview
from tta_notebook.llm.messages import conversation

T = TypeVar("T")


def request_of(
    cls: type[T],
    given: object,
    step: str,
    *,
    whose: str = "the input",
    besides: Iterable[str] = (),
) -> T:
    """Return what a step was given as a request.

    Args:
        cls: the request's class; its first field is the task.
        given: a request, a text, which is the task, a mapping of the request's fields, or, where
            it has `messages`, a list of them, whose task is what the user said last.
        step: the step's name, for messages.
        whose: whose it is, for messages.
        besides: keys of a mapping that reports its own "usage", which are no part of the task.

    Raises:
        ArgumentError: it is none of these, or has a field that means nothing.
        ModelRequestError: it is a list of what are no messages.
    """
    if isinstance(given, cls):
        return given
    try:
        if isinstance(given, str):
            return _made(cls, {"task_description": given})
        if isinstance(given, Mapping):
            return _made(cls, _fields(cls, cast("Mapping[Any, Any]", given), besides))
        if isinstance(given, (list, tuple)) and "messages" in _names(cls):
            return _made(cls, _about(cast("Sequence[Any]", given), step))
    except ArgumentError as error:
        error.add_note(f"It was made of {whose} of {step!r}: {preview(cast('object', given))}.")
        raise
    kind = type(cast("object", given)).__name__
    raise ArgumentError(
        f"{step!r}: {whose} is {preview(cast('object', given))}, and a {kind} describes no task. "
        f"Give a text, a mapping with 'task_description', or a {cls.__name__}."
    )


def _made(cls: type[T], values: Mapping[str, Any]) -> T:
    return cast("Callable[..., T]", cls)(**values)


def _names(cls: type[Any]) -> list[str]:
    return [field.name for field in fields(cls)]


def _about(messages: Sequence[Any], step: str) -> dict[str, Any]:
    read = conversation(messages, step=step) if messages else ()
    said = [message.content for message in read if message.role == "user"]
    return {"task_description": said[-1] if said else "", "messages": messages}


def _fields(cls: type[Any], given: Mapping[Any, Any], besides: Iterable[str]) -> dict[str, Any]:
    known = _names(cls)
    silent = besides if "usage" in given else ()
    for name in given:
        if name not in known and name not in silent:
            raise ArgumentError(
                f"{cls.__name__}: {name!r} is no field of it, so what it says would be lost. "
                f"There is {Names(known).instead_of(name)}. Name one of these, or leave it out."
            )
    return {"task_description": "", **{name: given[name] for name in known if name in given}}


def checked_task(owner: str, task: object) -> None:
    """Raise if nothing is described.

    Raises:
        ArgumentError: it is no text, or a blank one.
    """
    if not isinstance(task, str) or not task.strip():
        raise ArgumentError(
            f"{owner}: task_description={task!r} describes no task, so nobody could be found for "
            "it. Say in a text what is to be done."
        )


def checked_messages(owner: str, messages: object) -> None:
    """Raise if it is no conversation.

    Raises:
        ArgumentError: it is no list of messages; what a message looks like is the executor's.
    """
    if isinstance(messages, (str, bytes)) or not isinstance(messages, Sequence):
        raise ArgumentError(
            f"{owner}: messages={preview(messages)} is a {type(messages).__name__}, which is no "
            "list of messages. Give [{'role': 'user', 'content': …}, …], or a text as the task."
        )


def conversation_about(task: str, messages: Sequence[Any]) -> list[Any]:
    """Return the messages, or the task as the user's message where there are none."""
    return list(messages) or [{"role": "user", "content": task}]
