"""Why a request is not on a cassette: the recorded one that is most like it, and the difference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

_CONTEXT = 24


class Nearest(NamedTuple):
    """The most similar of several values.

    Attributes:
        place: which of them it is.
        difference: the first difference, as "temperature was 0, is 0.7".
    """

    place: int
    difference: str


def nearest(wanted: Any, recorded: Sequence[Any]) -> Nearest | None:
    """Return which of the recorded values is most like the wanted one; None if there are none.

    >>> nearest({"model": "m", "seed": 1}, [{"model": "x"}, {"model": "m", "seed": 2}])
    Nearest(place=1, difference='seed was 2, is 1')
    """
    leaves = dict(_leaves(wanted, ""))
    distances = [_distance(dict(_leaves(each, "")), leaves) for each in recorded]
    if not distances:
        return None
    place = distances.index(min(distances))
    return Nearest(place, first_difference(recorded[place], wanted))


def first_difference(was: Any, now: Any) -> str:
    """Return where two values differ first, and how; "" if they do not.

    >>> first_difference({"messages": ["It is Monday."]}, {"messages": ["It is Friday."]})
    "messages[0] differs at character 6: 'It is Monday.' became 'It is Friday.'"
    """
    before, after = dict(_leaves(was, "")), dict(_leaves(now, ""))
    for path in dict.fromkeys([*before, *after]):
        if path not in before:
            return f"{path} was not there, is {_shown(after[path])}"
        if path not in after:
            return f"{path} was {_shown(before[path])}, is not there"
        if not _is_same(before[path], after[path]):
            return _told(path, before[path], after[path])
    return ""


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    entries: Iterable[tuple[str, Any]]
    if isinstance(value, Mapping) and value:
        named = cast("Mapping[str, Any]", value)
        entries = ((f"{path}.{key}" if path else key, each) for key, each in named.items())
    elif isinstance(value, list | tuple) and value:
        listed = cast("Sequence[Any]", value)
        entries = ((f"{path}[{index}]", each) for index, each in enumerate(listed))
    else:
        yield path or "request", value
        return
    for where, each in entries:
        yield from _leaves(each, where)


def _distance(one: dict[str, Any], other: dict[str, Any]) -> float:
    apart = len(one.keys() ^ other.keys())
    return apart + sum(_unlikeness(one[path], other[path]) for path in one.keys() & other.keys())


def _unlikeness(one: Any, other: Any) -> float:
    """Return how far two leaves are apart, from 0 to 1: of texts, the part between equal ends.

    It takes time in proportion to their length, which a true edit distance does not.
    """
    if _is_same(one, other):
        return 0.0
    if not (isinstance(one, str) and isinstance(other, str)):
        return 1.0
    start = _common(one, other)
    end = _common(one[start:][::-1], other[start:][::-1])
    return 1 - (start + end) / max(len(one), len(other))


def _common(one: str, other: str) -> int:
    """Return the length of what two texts begin with; by halves, as slices are compared in C."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _is_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def _told(path: str, was: Any, now: Any) -> str:
    if not (isinstance(was, str) and isinstance(now, str)):
        return f"{path} was {_shown(was)}, is {_shown(now)}"
    at = _common(was, now)
    if at == 0 and max(len(was), len(now)) <= _CONTEXT:
        return f"{path} was {was!r}, is {now!r}"
    return f"{path} differs at character {at}: {_around(was, at)!r} became {_around(now, at)!r}"


def _around(text: str, at: int) -> str:
    start, end = max(0, at - _CONTEXT), at + _CONTEXT
    before, after = "…" if start else "", "…" if end < len(text) else ""
    return f"{before}{text[start:end]}{after}"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)[: 2 * _CONTEXT]
