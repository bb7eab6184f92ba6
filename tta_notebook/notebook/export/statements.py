"""The statements of a notebook's cells, in the order in which they were run."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tta_notebook.notebook.export.names import Names, awaits
from tta_notebook.notebook.export.ours import PRIMITIVE_HEADER, WORKFLOW_HEADER, of_our_cell
from tta_notebook.notebook.lines import NOT_PYTHON, Lines, lines_inside_strings, lines_of, parsed
from tta_notebook.notebook.options import UsageMistake

# Cell magics that run their body as a cell; of all others the text is theirs.
_TRANSPARENT = re.compile(r"%%(time|capture|prun|tta_\w+)(?![\w?])")
_TARGETS = re.compile(r"(?P<indent>\s*)(?P<targets>[\w\s,]*?)=\s*[%!]")
_AWAITS = "awaits outside of a function, which a module cannot"
_TIME = re.compile(r"(\s*)%time\s+(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement at the top level of a cell.

    Attributes:
        cell: the number of its cell.
        place: its place among all statements.
        source: its text, with the comment above it.
        node: what it parses to.
        names: what it binds, reads and changes.
        problem: why no module can hold it; empty if one can.
    """

    cell: int
    place: int
    source: str
    node: ast.stmt
    names: Names
    problem: str = ""

    @property
    def is_import(self) -> bool:
        """Whether it is an import, which goes to the top of a module."""
        return isinstance(self.node, ast.Import | ast.ImportFrom)

    @property
    def loads_submodules(self) -> bool:
        """Whether it is `import a.b` or `import a`, which add up."""
        return isinstance(self.node, ast.Import) and self.node.names[0].asname is None

    @property
    def is_definition(self) -> bool:
        """Whether it defines a function or a class."""
        return isinstance(self.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def statements_of(cells: Mapping[int, str]) -> list[Statement]:
    """Return the statements of cells; those of cells that Python cannot read are left out.

    Args:
        cells: the cells as they were written, by number, in the order in which they were run.
    """
    found: list[Statement] = []
    for number, source in cells.items():
        for text, node, made in _pieces(source):
            problem = made or (_AWAITS if awaits(node) else "")
            names = Names.of(node, text)
            found.append(Statement(number, len(found), text, node, names, problem))
    return found


_Piece = tuple[str, ast.stmt, str]


def _pieces(source: str) -> Iterator[_Piece]:
    lines = lines_of(source)
    headers = [line for line in lines if line.strip() and not line.lstrip().startswith("#")][:1]
    if headers and headers[0].startswith("%%"):
        if _TRANSPARENT.match(headers[0]) is None:
            return
        lines = lines[lines.index(headers[0]) + 1 :]
        if WORKFLOW_HEADER.match(headers[0]) or PRIMITIVE_HEADER.match(headers[0]):
            yield from _of_ours(headers[0], lines)
            return
        yield from _pieces("".join(lines))
        return
    yield from _plain(lines)


def _of_ours(header: str, lines: Lines) -> Iterator[_Piece]:
    body = list(_plain(lines))
    try:
        ending, problems = of_our_cell(header, [node for _, node, _ in body], "".join(lines))
    except UsageMistake:
        return  # the cell was refused and has not run
    if WORKFLOW_HEADER.match(header):
        body.pop()
    yield from body
    for text in ending:
        yield text, ast.parse(text).body[0], ""
    for name, problem in problems:
        yield f"{name} = ...", ast.parse(f"{name} = ...").body[0], problem


def _plain(lines: Lines) -> Iterator[_Piece]:
    if lines and lines[0][:1] in (" ", "\t"):  # IPython takes an indented cell for one that is not
        lines = lines_of(textwrap.dedent("".join(lines)))
    tree, marked = parsed(lines), frozenset[int]()
    if tree is None:
        lines, marked = _without_magics(lines)
        tree = parsed(lines)
    if tree is None:
        return
    end = 0
    for index, node in enumerate(tree.body):
        following = tree.body[index + 1] if index + 1 < len(tree.body) else None
        text, start = _text(lines, node, following, end)
        end = node.end_lineno or node.lineno
        problem = "is made by a magic" if marked & set(range(start, end + 1)) else ""
        if isinstance(node, ast.Import | ast.ImportFrom) and not problem:
            yield from ((alone, ast.parse(alone).body[0], "") for alone in _imports(node))
        else:
            yield text, node, problem


def _without_magics(lines: Lines) -> tuple[Lines, frozenset[int]]:
    """Replace what only IPython understands by Python; return the numbers of these lines, too."""
    inside = lines_inside_strings(lines)
    plain: Lines = []
    marked: set[int] = set()
    for number, line in enumerate(lines):
        is_special = NOT_PYTHON.match(line) is not None or line.rstrip().endswith("?")
        if number in inside or not is_special:
            plain.append(line)
        elif timed := _TIME.fullmatch(line):
            plain.append("".join(timed.groups()))
        else:
            marked.add(number + 1)
            made = _TARGETS.match(line)
            indent = line[: len(line) - len(line.lstrip())]
            plain.append(f"{indent}{made['targets'].strip()} = ...\n" if made else f"{indent}...\n")
    return plain, frozenset(marked)


def _text(
    lines: Lines, node: ast.stmt, following: ast.stmt | None, end_before: int
) -> tuple[str, int]:
    """Return a statement's text with the comment above it, and the line where it starts."""
    decorators = [each.lineno for each in getattr(node, "decorator_list", ())]
    start, end = min([node.lineno, *decorators]), node.end_lineno or node.lineno
    shares = end_before >= start or (following is not None and following.lineno == end)
    if shares:
        source = ast.get_source_segment("".join(lines), node)
        return source or ast.unparse(node), start
    first = start
    while first - 1 > end_before and lines[first - 2].startswith("#"):
        first -= 1
    return "".join(lines[first - 1 : end]).rstrip().rstrip(";").rstrip(), start


def _imports(node: ast.Import | ast.ImportFrom) -> Iterable[str]:
    for alias in node.names:
        alone: ast.stmt = (
            ast.Import([alias])
            if isinstance(node, ast.Import)
            else ast.ImportFrom(node.module, [alias], node.level)
        )
        yield ast.unparse(alone)
