"""The text of a module from the statements it is to hold."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tta_notebook.notebook.export.statements import Statement

_WIDTH = 88  # what formatters take without a setting
_FUTURE = "__future__"


def module_text(
    title: str, statements: Sequence[Statement], further_imports: Iterable[str] = ()
) -> str:
    """Return a module: a docstring, the imports in three groups, the rest in its order."""
    at_top = [each for each in statements if each.is_import and not _clashes(each, statements)]
    imports = _imports([*(each.source for each in at_top), *further_imports])
    rest = [each for each in statements if each not in at_top]
    head = f'"""{title}"""\n' + (f"\n{imports}\n" if imports else "")
    return f"{head}\n{_body(rest)}" if rest else head


def _clashes(statement: Statement, statements: Sequence[Statement]) -> bool:
    """Tell whether an import's name stands for something else at another place of the module."""
    return any(
        each.names.binds & statement.names.binds
        and each.source != statement.source
        and not (each.loads_submodules and statement.loads_submodules)
        for each in statements
    )


def _body(statements: Sequence[Statement]) -> str:
    text = ""
    before: Statement | None = None
    for statement in statements:
        if before is not None:
            text += _gap(before, statement)
        elif statement.is_definition:
            text += "\n"
        text += f"{statement.source}\n"
        before = statement
    return text


def _gap(before: Statement, after: Statement) -> str:
    if before.is_definition or after.is_definition:
        return "\n\n"
    is_near = before.cell == after.cell and not after.source.startswith("#")
    is_one_line = "\n" not in before.source + after.source
    return "" if is_near and is_one_line else "\n"


def _imports(lines: Iterable[str]) -> str:
    """Return imports as isort orders them: future, standard library, packages, own modules."""
    groups: dict[int, tuple[set[str], dict[str, set[str]]]] = {}
    for line in lines:
        (node,) = ast.parse(line).body
        assert isinstance(node, ast.Import | ast.ImportFrom), "only imports come here"
        (alias,) = node.names
        text = (
            alias.name if alias.asname in (None, alias.name) else f"{alias.name} as {alias.asname}"
        )
        module = (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        plain, members = groups.setdefault(_group(module), (set(), {}))
        if isinstance(node, ast.Import):
            plain.add(text)
        else:
            members.setdefault(module, set()).add(text)
    return "\n\n".join(_group_text(*groups[number]) for number in sorted(groups))


def _group(module: str) -> int:
    top = module.partition(".")[0]
    if top == _FUTURE:
        return 0
    if top in sys.stdlib_module_names:
        return 1
    return 3 if is_beside_notebook(top) else 2


def is_beside_notebook(module: str) -> bool:
    """Tell whether a module is the user's own, in the folder of the notebook."""
    is_there = Path(f"{module}.py").is_file() or Path(module, "__init__.py").is_file()
    return is_there and module != "tta_notebook"  # in a checkout it is there, too


def _group_text(plain: set[str], members: dict[str, set[str]]) -> str:
    lines = [f"import {text}" for text in sorted(plain, key=str.lower)]
    for module in sorted(members, key=str.lower):
        names = sorted(members[module], key=isort_key)
        line = f"from {module} import {', '.join(names)}"
        if len(line) > _WIDTH:
            line = f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"
        lines.append(line)
    return "\n".join(lines)


def isort_key(text: str) -> tuple[int, str]:
    """Return what isort orders imported names by: constants, then classes, then functions."""
    name = text.partition(" ")[0]
    if name.isupper() and len(name) > 1:
        return 0, text.lower()
    return (1 if name[:1].isupper() else 2), text.lower()
