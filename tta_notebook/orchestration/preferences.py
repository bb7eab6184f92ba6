"""What a user says about the models that may do a task."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from tta_notebook.core.errors import ArgumentError, Names


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a request's `user_preferences` say.

    Attributes:
        prefer_free: whether a model that costs nothing goes first; None leaves it to the step.
        models: the names of those that may be used; None for any.

    >>> Preferences.read("TaskClassifierRequest", {"prefer_free": False}).prefer_free
    False
    """

    prefer_free: bool | None = None
    models: tuple[str, ...] | None = None

    @classmethod
    def read(cls, owner: str, given: object) -> Preferences:
        """Return what a mapping says.

        Args:
            owner: the request's class, for messages.
            given: the mapping.

        Raises:
            ArgumentError: it says something else, or what cannot be.
        """
        if not isinstance(given, Mapping):
            raise ArgumentError(
                f"{owner}: user_preferences={given!r} is a {type(given).__name__}, in which no "
                "preference can be looked up. Give a mapping: {'prefer_free': False}."
            )
        said = cast("Mapping[Any, Any]", given)
        known = [field.name for field in fields(cls)]
        for name in said:
            if name not in known:
                raise ArgumentError(
                    f"{owner}: user_preferences has {name!r}, which nobody would look at. There "
                    f"is {Names(known).instead_of(name)}. Name one of these, or leave it out."
                )
        return cls(_flag(owner, said.get("prefer_free")), _names(owner, said.get("models")))


def _flag(owner: str, value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise ArgumentError(
        f"{owner}: user_preferences['prefer_free'] is {value!r}, which is neither yes nor no. "
        "Give True or False."
    )


def _names(owner: str, value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    names: list[Any] = []
    if isinstance(value, Collection) and not isinstance(value, (str, bytes)):
        names = list(cast("Collection[Any]", value))
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ArgumentError(
            f"{owner}: user_preferences['models'] is {value!r}, which names no models to choose "
            "from. Give a list of names: ['local', 'openai:gpt-5-mini']."
        )
    return tuple(names)
