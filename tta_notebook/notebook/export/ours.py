"""What our own cells come to in a module: their last lines, in plain Python."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Sequence

from tta_notebook.notebook.options import read
from tta_notebook.notebook.primitive_cell import Wrapping, last_function
from tta_notebook.notebook.tables.primitives import PRIMITIVE
from tta_notebook.notebook.tables.runs import WORKFLOW

WORKFLOW_HEADER = re.compile(r"%%tta_workflow(?![\w?])(.*)", re.DOTALL)
PRIMITIVE_HEADER = re.compile(r"%%tta_primitive(?![\w?])(.*)", re.DOTALL)

_WIDTH = 88  # what formatters take without a setting


def of_our_cell(
    header: str, body: Sequence[ast.stmt], source: str
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the statements that end a cell of ours, and the names it makes only in a kernel.

    Raises:
        UsageMistake: the cell means nothing.
    """
    if found := PRIMITIVE_HEADER.match(header):
        arguments = read(PRIMITIVE, found[1].rstrip())
        function = last_function(ast.Module(list(body), []))
        name = arguments.words[0] if arguments.words else function
        wrapping = Wrapping.of(arguments)
        names = wrapping.imports()
        return [
            *(f"from tta_notebook import {each}" for each in names),
            wrapping.source(function, name),
        ], []
    found = WORKFLOW_HEADER.match(header)
    arguments = read(WORKFLOW, found[1].rstrip() if found else "")
    last = body[-1] if body else None
    if not isinstance(last, ast.Expr):
        return [], []
    problems = (
        [(arguments.values["as"], "is the Run of a cell")] if "as" in arguments.values else []
    )
    if not arguments.words:
        return [], problems
    text = ast.get_source_segment(source, last.value) or ast.unparse(last.value)
    return _named(arguments.words[0], text, last.value), problems


def _named(name: str, text: str, value: ast.expr) -> list[str]:
    """Return the statements that bind a workflow's expression to its name, and name it so."""
    imports: list[str] = []
    if _is_primitive(value):
        around = text if isinstance(value, ast.Call) else f"({text})"
    else:
        imports = ["from tta_notebook import as_primitive"]
        around = f"as_primitive({text})"
    line = f'{name} = {around}.named("{name}")'
    if "\n" not in line and len(line) <= _WIDTH:
        return [*imports, line]
    if isinstance(value, ast.Call) and "\n" in line and value.col_offset == 0:
        return [*imports, line]
    opening = around[: around.index(text)] or "("
    inner = textwrap.indent(_aligned(text, value.col_offset), "    ")
    return [*imports, f'{name} = {opening}\n{inner}\n).named("{name}")']


def _aligned(text: str, column: int) -> str:
    """Return a text of several lines as if it began at the margin."""
    first, *rest = text.split("\n")
    least = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    cut = min(least, column) if column else 0
    return "\n".join([first, *(line[cut:] for line in rest)])


def _is_primitive(value: ast.expr) -> bool:
    """Tell whether an expression is a primitive, as far as can be seen: not a function, a list."""
    match value:
        case ast.BinOp(op=ast.RShift() | ast.BitOr()):
            return True
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name.endswith("Primitive") or name in ("as_primitive", "named")
        case _:
            return False
