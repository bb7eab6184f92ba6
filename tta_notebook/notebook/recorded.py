"""What a notebook's runs were run on: kept as Python text, to be run again elsewhere."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from tta_notebook.core.run import Run

# Beyond these a value is data, not an example that somebody wants to read in a test.
_MOST_VALUES = 500
_MOST_CHARACTERS = 20_000


class Recorded(NamedTuple):
    """A run with what it was run on.

    Attributes:
        run: the run.
        input: its input as a Python literal; None where it cannot be written as one.
        backend: what stood in for models during the run: a cassette, or others; None for nothing.
    """

    run: Run[Any]
    input: str | None
    backend: object | None


def literal_of(value: object) -> str | None:
    """Return a literal that Python reads as an equal value, or None where there is none.

    >>> literal_of({"question": ["why?", 1.5]}), literal_of(object()), literal_of(float("nan"))
    ("{'question': ['why?', 1.5]}", None, None)
    """
    if not _is_plain(value, [_MOST_VALUES]):
        return None
    text = str.__repr__(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= _MOST_CHARACTERS else None


def _is_plain(value: object, left: list[int]) -> bool:
    left[0] -= 1
    if left[0] < 0:
        return False
    kind = type(value)
    if kind in (float, complex):
        return value == value and "inf" not in repr(value)  # noqa: PLR0124 - not a number is unequal to itself
    if kind in (str, bytes):
        return len(cast("str", value)) <= _MOST_CHARACTERS
    if kind in (list, tuple, set, dict):
        values = cast("list[object]", value)
        is_writable = len(values) <= left[0] and value != set()  # set() is a call
        return is_writable and all(_is_plain(part, left) for part in _parts(values))
    # A model's answer is a text with particulars.
    is_text = isinstance(value, str) and kind.__repr__ is str.__repr__
    return kind in (bool, int, type(None)) or is_text


def _parts(value: list[object] | dict[object, object]) -> list[object]:
    return [*value, *value.values()] if isinstance(value, dict) else list(value)
