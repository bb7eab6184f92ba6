"""What a statement binds, reads and changes, read from its source."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator
from typing import NamedTuple, cast

_COMPREHENSIONS = frozenset({"listcomp", "setcomp", "dictcomp", "genexpr"})
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_CONDITIONAL = (ast.If, ast.For, ast.While, ast.Try, ast.Match, ast.AsyncFor)
# Methods that change what they are called on, as statements of their own.
_CHANGING = frozenset(
    {
        *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem"),
        *("remove", "reverse", "setdefault", "sort", "update"),
    }
)


class Names(NamedTuple):
    """The names of a notebook that one statement has to do with.

    Attributes:
        binds: what it binds.
        is_conditional: whether it may leave them as they are.
        changes: whose values it changes in place.
        uses: what it reads when it is executed.
        later: what the functions in it read when they are called.
        calls: what it calls when it is executed.
    """

    binds: frozenset[str]
    is_conditional: bool
    changes: frozenset[str]
    uses: frozenset[str]
    later: frozenset[str]
    calls: frozenset[str]

    @classmethod
    def of(cls, node: ast.stmt, source: str) -> Names:
        """Return the names of a statement, which stands in `source` alone."""
        top = symtable.symtable(source, "<cell>", "exec")
        symbols = top.get_symbols()
        uses = {each.get_name() for each in symbols if each.is_referenced()}
        binds = {each.get_name() for each in symbols if each.is_assigned() or each.is_imported()}
        later: set[str] = set()
        for child in top.get_children():
            _inner(child, uses, later, is_later=False)
        changes = set(_changed(node))
        if isinstance(node, ast.AugAssign):
            binds.clear()
        return cls(
            frozenset(binds),
            isinstance(node, _CONDITIONAL),
            frozenset(changes),
            frozenset(uses | changes),
            frozenset(later),
            frozenset(_called(node)),
        )


def _inner(table: symtable.SymbolTable, uses: set[str], later: set[str], *, is_later: bool) -> None:
    kind = str(getattr(table.get_type(), "value", table.get_type()))
    is_function = kind == "function" and table.get_name() not in _COMPREHENSIONS
    is_later = is_later or is_function or kind == "annotation"
    found = {each.get_name() for each in table.get_symbols() if each.is_global()}
    (later if is_later else uses).update(found)
    for child in table.get_children():
        _inner(child, uses, later, is_later=is_later)


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """Give a statement and what in it is executed with it: not the bodies of functions."""
    yield node
    for field, value in ast.iter_fields(node):
        if isinstance(node, _SCOPES) and field == "body":
            continue
        for child in cast("list[object]", value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                yield from executed(child)


def _changed(node: ast.stmt) -> Iterator[str]:
    for part in executed(node):
        if isinstance(part, ast.Subscript | ast.Attribute) and not isinstance(part.ctx, ast.Load):
            yield from _root(part)
        elif isinstance(part, ast.AugAssign):
            yield from _root(part.target)
        elif isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            method = part.value.func
            if isinstance(method, ast.Attribute) and method.attr in _CHANGING:
                yield from _root(method.value)


def _called(node: ast.stmt) -> Iterator[str]:
    for part in executed(node):
        if isinstance(part, ast.Call):
            yield from _root(part.func)
        for decorator in getattr(part, "decorator_list", ()):
            yield from _root(decorator)


def _root(node: ast.expr) -> Iterator[str]:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Name):
        yield node.id


def awaits(node: ast.stmt) -> bool:
    """Tell whether a statement awaits outside of functions, which a module cannot."""
    return any(
        isinstance(part, ast.Await | ast.AsyncFor | ast.AsyncWith)
        or (isinstance(part, ast.comprehension) and bool(part.is_async))
        for part in executed(node)
    )
