"""What of a notebook some names need: a backward slice through the statements that were run.

A statement that is executed reads a name as it was bound before it; a function reads it as it was
bound last, when it is called. So the statements found, executed in their order, leave the names as
they are in the kernel, whatever was run twice or defined anew in between.
"""

from __future__ import annotations

import builtins
import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, TypeAlias

from tta_notebook.notebook.export.kernel import import_of
from tta_notebook.notebook.export.statements import Statement

NOTEBOOK_ONLY = frozenset({"get_ipython", "display", "In", "Out", "_", "__", "___", "__tta__"})
# What every module has of itself.
_OF_MODULES = frozenset({"__name__", "__file__", "__doc__", "__builtins__", "__annotations__"})

# What needs a name; None for what was asked for.
_Holder: TypeAlias = Statement | None


@dataclass(slots=True)
class Slice:
    """What names need.

    Attributes:
        statements: the statements by their places.
        imports: further imports, of what no cell imports by name.
        missing: names that nothing gives, each with what needs it.
        outdated: names that were bound anew after they were used, each with what still holds the
            older value and with what bound the newer.
    """

    statements: dict[int, Statement] = field(default_factory=dict[int, Statement])
    imports: set[str] = field(default_factory=set[str])
    missing: dict[str, _Holder] = field(default_factory=dict[str, "_Holder"])
    outdated: dict[str, tuple[Statement, Statement]] = field(
        default_factory=dict[str, tuple[Statement, Statement]]
    )


def needs_of(
    names: Iterable[str], statements: Sequence[Statement], kernel: Mapping[str, Any]
) -> Slice:
    """Return what `names` need.

    Args:
        names: what a module is to hold.
        statements: the notebook's, in the order in which they were run.
        kernel: the values of its names, as far as they are known.
    """
    search = _Search(statements, kernel)
    for name in names:
        search.need(name)
    return search.found


class _Search:
    def __init__(self, statements: Sequence[Statement], kernel: Mapping[str, Any]) -> None:
        self.found = Slice()
        self._kernel = kernel
        self._binding: dict[str, list[Statement]] = {}
        self._changing: dict[str, list[Statement]] = {}
        for statement in statements:
            for name in statement.names.binds:
                self._binding.setdefault(name, []).append(statement)
            for name in statement.names.changes:
                self._changing.setdefault(name, []).append(statement)
        self._visited: set[tuple[str, float, bool]] = set()
        self._pending: list[tuple[str, float, _Holder, bool]] = []

    def need(self, name: str) -> None:
        """Find what gives a name its value, and what that needs in turn."""
        self._pending.append((name, math.inf, None, False))
        while self._pending:
            step = self._pending.pop()
            key = (step[0], step[1], step[3])
            if key not in self._visited:
                self._visited.add(key)
                self._find(*step)

    def _find(self, name: str, before: float, holder: _Holder, is_called: bool) -> None:
        bindings = self._bindings(name, before)
        if not bindings:
            self._otherwise(name, holder)
            return
        for statement in bindings:
            self._include(statement, before, is_called=is_called)
        if bindings[0].is_import:
            return
        for statement in self._changing.get(name, ()):
            if bindings[0].place < statement.place < before:
                self._include(statement, before, is_called=False)
        self._note_newer(name, bindings[-1], before, holder)

    def _bindings(self, name: str, before: float) -> list[Statement]:
        """Return what binds a name before a place: the last to do it in any case, and after it."""
        chosen: list[Statement] = []
        for statement in reversed(self._candidates(name, before)):
            if statement.place >= before:
                continue
            if chosen and chosen[0].loads_submodules and not statement.loads_submodules:
                break
            chosen.insert(0, statement)
            if not (statement.names.is_conditional or statement.loads_submodules):
                break
        return chosen

    def _candidates(self, name: str, before: float) -> list[Statement]:
        bindings = self._binding.get(name, [])
        value = self._kernel.get(name)
        if before == math.inf and isinstance(value, FunctionType | type):
            # A cell that failed half-way may have a definition that never was made.
            bindings = [each for each in bindings if _is_source(each, value)] or bindings
        return bindings

    def _include(self, statement: Statement, before: float, *, is_called: bool) -> None:
        self.found.statements[statement.place] = statement
        for name in statement.names.uses:
            called = name in statement.names.calls
            self._pending.append((name, statement.place, statement, called))
        for name in statement.names.later:
            self._pending.append((name, math.inf, statement, False))
            if is_called:
                self._pending.append((name, before, statement, True))

    def _note_newer(self, name: str, used: Statement, before: float, holder: _Holder) -> None:
        newest = self._binding[name][-1]
        is_older = holder is not None and before == holder.place < newest.place
        if holder is not None and is_older and newest.source != used.source:
            self.found.outdated[name] = (holder, newest)

    def _otherwise(self, name: str, holder: _Holder) -> None:
        if holder is not None and name in holder.names.binds:
            return  # `for n in …: use(n)` gives it itself
        if name in NOTEBOOK_ONLY:
            self.found.missing.setdefault(name, holder)
        elif name in self._kernel and name not in self._binding:
            if (line := import_of(name, self._kernel[name])) is not None:
                self.found.imports.add(line)
            elif not _is_builtin(name):
                self.found.missing.setdefault(name, holder)
        elif not _is_builtin(name):
            self.found.missing.setdefault(name, holder)


def _is_builtin(name: str) -> bool:
    return hasattr(builtins, name) or name in _OF_MODULES


def _is_source(statement: Statement, value: FunctionType | type) -> bool:
    if not statement.is_definition:
        return True
    try:
        source = inspect.getsource(value)
    except (OSError, TypeError):
        return True
    return source.strip() in statement.source
