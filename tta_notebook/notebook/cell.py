"""The source transform: a cell with our magics becomes ordinary cell code.

    %%tta_workflow ask --input "hello"        # %%tta_workflow ask --input "hello"
    clean = str.strip                    ->   clean = str.strip
    clean >> llm                              ask = clean >> llm
                                              await __tta__.run(ask, "hello", name='ask')

Every line of the body stays on its line, so tracebacks and `inspect.getsource` are the notebook's
own; the added last line is a top-level await, so the loop goes on turning while the run does.
What a `%%tta_primitive` cell ends in stands in primitive_cell.py. Nothing here knows IPython: lines
in, lines out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass

from tta_notebook.notebook.calls import (
    CALLS,
    RUNTIME,
    as_argument,
    read_line,
    refuse_background,
    run_call,
)
from tta_notebook.notebook.lines import Lines, lines_inside_strings, lines_of, parsed
from tta_notebook.notebook.options import Arguments, UsageMistake
from tta_notebook.notebook.primitive_cell import PrimitiveEnding, check_variable
from tta_notebook.notebook.tables.primitives import PRIMITIVE
from tta_notebook.notebook.tables.runs import RUN, WORKFLOW

Translate = Callable[[Lines], Lines]

# Options of %%tta_workflow that mean nothing without --input.
_ABOUT_A_RUN = ("live", "budget", "timeout", "cassette", "no-reuse", "background", "as", "show")

_HEADER = re.compile(r"%%(tta_workflow|tta_primitive)(?![\w?])")
_CALL_LINE = re.compile(
    r"(?P<indent>[ \t]*)(?P<target>[^%#=]+=[ \t]*)?%(?P<magic>tta_run|tta_cluster)(?![\w?])"
    r"(?P<rest>.*)",
    re.DOTALL,
)


def unchanged(lines: Lines) -> Lines:
    """Return the lines as they are: the translation where no other special syntax is known."""
    return lines


def transform(
    lines: Lines, translate: Translate = unchanged, *, awaits: bool = True, quiet: bool = False
) -> Lines:
    r"""Rewrite a cell that uses our magics; return any other cell as it is.

    Args:
        lines: the cell, with line ends.
        translate: turns other special syntax of a body (`!ls`, `%time`) into Python.
        awaits: whether the code may await; without, it blocks (behind `%%time`, where it must).
        quiet: whether runs show nothing unless `--show` says so.

    Raises:
        UsageMistake: a magic is written in a way that means nothing.

    >>> print("".join(transform(['%%tta_workflow ask --input "hi"\n', 'a >> b\n'])), end="")
    # %%tta_workflow ask --input "hi"
    ask = a >> b
    await __tta__.run(ask, "hi", name='ask')
    """
    if not any("%tta_" in line for line in lines):
        return lines
    lines = lines_of("".join(lines))
    first = _first_code_line(lines)
    if first is not None and _HEADER.match(lines[first]):
        return _Cell(lines, first, awaits=awaits, quiet=quiet).rewritten(translate)
    if lines[0].startswith("%%"):
        return lines  # another cell magic's text is that magic's
    return _rewrite_call_lines(lines, quiet=quiet) if awaits else lines


def _first_code_line(lines: Lines) -> int | None:
    for number, line in enumerate(lines):
        if line.strip() and not line.lstrip().startswith("#"):
            return number
    return None


@dataclass(slots=True)
class _Cell:
    """One cell of ours on its way to ordinary code."""

    lines: Lines
    first: int
    awaits: bool
    quiet: bool

    def rewritten(self, translate: Translate) -> Lines:
        header = self.lines[self.first]
        magic = PRIMITIVE if header.startswith(PRIMITIVE.title) else WORKFLOW
        arguments = read_line(magic, header[_end_of(_HEADER, header) :].rstrip(), quiet=self.quiet)
        if "h" in arguments.values:
            return [f"{RUNTIME}.help({magic.name!r})\n"]
        ending = (
            PrimitiveEnding(arguments)
            if magic is PRIMITIVE
            else _WorkflowEnding(arguments, self.awaits)
        )
        head = [
            *self.lines[: self.first],
            f"# {header}" if header[-1:] in "\r\n" else f"# {header}\n",
        ]
        body = self.lines[self.first + 1 :]
        body = translate(_rewrite_call_lines(body, quiet=self.quiet) if self.awaits else body)
        tree = parsed(body)
        if tree is None:
            return head + body  # Python itself says what is wrong, and in which line
        last_line = ending.last_line(tree, body, RUNTIME)
        if not body[-1].endswith(("\n", "\r")):
            body[-1] += "\n"
        return [*head, *body, f"{last_line}\n"]


class _WorkflowEnding:
    """How a `%%tta_workflow` cell ends."""

    def __init__(self, arguments: Arguments, awaits: bool) -> None:
        _check(arguments)
        if not awaits:
            refuse_background(WORKFLOW, arguments)
        self._arguments = arguments
        self._awaits = awaits

    def last_line(self, tree: ast.Module, body: Lines, runtime: str) -> str:
        """Bind the body's last expression, and return the line that shows or runs it."""
        arguments = self._arguments
        name = arguments.words[0] if arguments.words else f"{runtime}.workflow"
        is_silenced = _bind(body, _last_expression(tree, body), name)
        expression = arguments.values.get("input")
        label = [f"name={word!r}" for word in arguments.words]
        if expression is None or "dry-run" in arguments.values:
            call = f"{runtime}.show({', '.join([name, *label])})"
        else:
            call = run_call([name, as_argument(expression), *label], arguments, awaits=self._awaits)
        if variable := arguments.values.get("as"):
            call = f"({variable} := {call})"
        is_silenced = is_silenced or arguments.is_silenced or "q" in arguments.values
        return f"{call}{';' if is_silenced else ''}"


def _check(arguments: Arguments) -> None:
    title = WORKFLOW.title
    if arguments.words:
        check_variable(title, arguments.words[0])
    if "input" not in arguments.values:
        for key in _ABOUT_A_RUN:
            if key in arguments.values:
                raise UsageMistake(
                    f"{title}: --{key} is about a run; add --input EXPR to have one."
                )


def _last_expression(tree: ast.Module, body: Lines) -> ast.Expr:
    if not tree.body:
        raise UsageMistake(
            f"{WORKFLOW.title}: the cell has no body; its last expression is the workflow. "
            f"To run one that exists: {RUN.title} NAME EXPR."
        )
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        return last
    text = body[last.lineno - 1].strip()
    hint = f"; add a last line: {name}" if (name := _bound_name(last)) else "."
    raise UsageMistake(
        f"{WORKFLOW.title}: the cell's last statement must be an expression that gives the "
        f"workflow, not {text[:60]!r}{hint}"
    )


def _bound_name(statement: ast.stmt) -> str | None:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case _:
            return None


def _bind(body: Lines, last: ast.Expr, name: str) -> bool:
    """Write `name = ` before the last expression; tell whether a semicolon stands behind it."""
    number = last.lineno - 1
    line = body[number].encode()  # the parser counts bytes
    body[number] = f"{line[: last.col_offset].decode()}{name} = {line[last.col_offset :].decode()}"
    end_line = (last.end_lineno or last.lineno) - 1
    shift = len(f"{name} = ") if end_line == number else 0
    rest = body[end_line].encode()[(last.end_col_offset or 0) + shift :]
    return rest.lstrip().startswith(b";")


def _rewrite_call_lines(lines: Lines, *, quiet: bool) -> Lines:
    """Turn lines such as `%tta_run NAME EXPR` into an await at the same place, where Python can."""
    if not any(f"%{magic}" in line for line in lines for magic in CALLS):
        return lines
    inside = lines_inside_strings(lines)
    return [
        line if number in inside else _rewritten_call_line(lines, number, quiet=quiet)
        for number, line in enumerate(lines)
    ]


def _rewritten_call_line(lines: Lines, number: int, *, quiet: bool) -> str:
    line = lines[number]
    found = _CALL_LINE.fullmatch(line)
    if found is None or _is_in_plain_function(lines, number):
        return line
    is_bound = found["target"] is not None
    call = CALLS[found["magic"]](found["rest"].rstrip(), is_bound=is_bound, quiet=quiet)
    if call is None:
        return line
    return f"{found['indent']}{found['target'] or ''}{call}{line[len(line.rstrip()) :]}"


def _is_in_plain_function(lines: Lines, number: int) -> bool:
    """Tell whether a line stands in a `def` or `class`, where Python has no await."""
    indent = _indent_of(lines[number])
    for line in reversed(lines[:number]):
        if not line.strip() or line.lstrip().startswith("#") or _indent_of(line) >= indent:
            continue
        if re.match(r"\s*async\s+def\b", line):
            return False
        if re.match(r"\s*(def|class)\b", line):
            return True
        # `) -> int:` closes a signature whose `def` stands at the same indent
        indent = _indent_of(line) + line.lstrip().startswith((")", "]", "}"))
    return False


def _indent_of(line: str) -> int:
    expanded = line.expandtabs()
    return len(expanded) - len(expanded.lstrip())


def _end_of(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.match(text)
    return found.end() if found else 0
