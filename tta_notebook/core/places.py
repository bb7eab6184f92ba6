"""Places that code reads: names among globals, cells of closures, attributes."""

from __future__ import annotations

import builtins
from typing import Any


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Any = _Missing()

_BUILTINS = vars(builtins)


class Slot:
    """A place that code reads: a name among globals, a cell of a closure, an attribute.

    Attributes:
        key: its identity.
        is_own_state: whether it is an object's attribute, which the object may write itself.
        first: by what its value counted when it was first seen.
    """

    __slots__ = ("_holder", "_name", "first", "is_own_state", "key")

    def __init__(self, holder: Any, name: str, *, is_own_state: bool = False) -> None:
        self._holder = holder
        self._name = name
        self.key = (id(holder), name)
        self.is_own_state = is_own_state
        self.first = ""

    def read(self) -> Any:
        """Return what is there now."""
        return self._holder.get(self._name, MISSING)


class Global(Slot):
    """A name among a module's globals, or a builtin."""

    __slots__ = ()

    def read(self) -> Any:
        """Return what the name stands for now."""
        found = self._holder.get(self._name, MISSING)
        return _BUILTINS.get(self._name, MISSING) if found is MISSING else found


class Cell(Slot):
    """A variable of an enclosing function."""

    __slots__ = ()

    def read(self) -> Any:
        """Return what the variable holds now."""
        try:
            return self._holder.cell_contents
        except ValueError:  # not bound yet
            return MISSING


class Fixed(Slot):
    """What always is the same object, whatever its content."""

    __slots__ = ()

    def read(self) -> Any:
        """Return the object."""
        return self._holder


class Stated(Slot):
    """The `version` that an object states itself."""

    __slots__ = ()

    def read(self) -> Any:
        """Return what it states now."""
        return self._holder.version
