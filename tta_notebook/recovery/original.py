"""The input as it was, for a step that runs after another one has had it in hand."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from typing import Any, cast

_MAPPINGS = frozenset({dict, OrderedDict, defaultdict})
_SEQUENCES = frozenset({list, deque})


def copied(value: Any) -> Any:
    """Return a copy of the builtin containers in `value`; what else is in them stays the same.

    Mappings, lists and sets are copied however deep they are nested, so that nothing a step adds,
    changes or removes is seen by the next one. Objects of other classes are shared: nobody can know
    what a copy of them means.

    >>> prompt = {"messages": [{"role": "user"}]}
    >>> again = copied(prompt)
    >>> prompt["messages"].clear()
    >>> again
    {'messages': [{'role': 'user'}]}
    """
    if type(value) is str:
        return value  # what most steps take
    return _Copying().of(value)


class _Copying:
    """Copies containers one by one: nested calls would bound the depth of an input."""

    __slots__ = ("_made", "_unfinished")

    def __init__(self) -> None:
        # What is contained twice, or contains itself, does so in the copy as well.
        self._made: dict[int, Any] = {}
        self._unfinished: list[Any] = []

    def of(self, value: Any) -> Any:
        copy = self._begun(value)
        while self._unfinished:
            container = self._unfinished.pop()
            is_mapping = type(container) in _MAPPINGS
            items = container.items() if is_mapping else enumerate(container)
            for key, item in list(items):
                container[key] = self._begun(item)
        return copy

    def _begun(self, value: Any) -> Any:
        """Return a copy in which the items are still the original ones."""
        kind = cast("type[Any]", type(value))
        if kind is tuple:
            return self._tuple(value)
        if kind is not set and kind not in _MAPPINGS and kind not in _SEQUENCES:
            return value
        if id(value) not in self._made:
            self._made[id(value)] = value.copy()
            if kind is not set:  # what is in a set is hashable, so that it stays as it is
                self._unfinished.append(self._made[id(value)])
        return self._made[id(value)]

    def _tuple(self, value: tuple[Any, ...]) -> tuple[Any, ...]:
        copy = tuple(self._begun(item) for item in value)
        changed = any(one is not other for one, other in zip(copy, value, strict=True))
        return copy if changed else value
