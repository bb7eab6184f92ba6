"""The lines of a cell as text: where they end, which lie inside strings, what they parse to."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings

Lines = list[str]

# A line that is special to IPython: a magic, a shell command, a question, or a name bound to one.
NOT_PYTHON = re.compile(r"\s*[%!?]|[^'\"#(]*=\s*[%!]")
# Where Python sees a line end. str.splitlines sees more of them (form feeds, U+2028).
_LINE_END = re.compile(r"(?<=\n)|(?<=\r)(?!\n)")


def lines_of(source: str) -> Lines:
    """Return the lines of a text, with their ends, as Python counts them."""
    return [line for line in _LINE_END.split(source) if line]


def parsed(body: Lines) -> ast.Module | None:
    """Return what lines parse to, None where they are no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the cell's own compilation warns, once
            return ast.parse("".join(body))
    except (SyntaxError, ValueError):
        return None


def lines_inside_strings(lines: Lines) -> set[int]:
    """Return the numbers of the lines that begin inside a string of several lines."""
    # Other magics and shell lines are no Python; without them the rest can be tokenized.
    text = "".join("pass\n" if NOT_PYTHON.match(line) else line for line in lines)
    inside: set[int] = set()
    starts: list[int] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            kind = tokenize.tok_name[token.type]
            if kind.endswith("STRING_START"):  # f-strings and t-strings are several tokens
                starts.append(token.start[0])
            elif kind.endswith("STRING_END"):
                inside.update(range(starts.pop(), token.end[0]))
            elif kind == "STRING":
                inside.update(range(token.start[0], token.end[0]))
    except (tokenize.TokenError, SyntaxError):
        pass  # broken code: what was found so far counts, Python reports the rest
    return inside
