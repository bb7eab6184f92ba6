"""What an error is told that is raised unchanged: notes and attributes, whatever class it has."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

_MOST_CHARACTERS = 500


def shown(error: BaseException) -> str:
    """Return an error as one short line, also where its own text cannot be had.

    >>> shown(ConnectionError("lost"))
    'ConnectionError: lost'
    """
    name = type(error).__name__
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 - a text that cannot be had must not hide the error
        return f"{name} (its text cannot be shown: {type(broken).__name__})"
    line = f"{name}: {text}" if text else name
    return line if len(line) <= _MOST_CHARACTERS else line[:_MOST_CHARACTERS] + "…"


def tell(error: BaseException, title: str, notes: Iterable[str]) -> None:
    """Add notes that begin with `title`, in place of those that did so before.

    An error object can be raised again and again, by a mock or a shared flight. It must not collect
    the notes of every time.
    """
    others = _others(getattr(error, "__notes__", None) or [], title)
    if others is not None:
        _set(error, "__notes__", [*others, *(f"{title}: {note}" for note in notes)])


def _others(notes: Any, title: str) -> list[Any] | None:
    if notes.__class__ is not list:
        return None  # somebody else's idea of notes
    ours = f"{title}: "
    return [note for note in notes if not (isinstance(note, str) and note.startswith(ours))]


def attach(error: BaseException, name: str, value: object) -> None:
    """Set an attribute, unless the error has one of that name that means something else."""
    if hasattr(type(error), name):
        return
    before = getattr(error, "__dict__", {}).get(name)
    if before is None or type(before) is type(value):
        _set(error, name, value)


def _set(error: BaseException, name: str, value: object) -> None:
    # Past a __setattr__ of the class's own: a frozen dataclass would refuse even notes. Python sets
    # __traceback__ and __context__ in the same way.
    with suppress(AttributeError, TypeError):
        BaseException.__setattr__(error, name, value)
