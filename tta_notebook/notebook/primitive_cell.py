"""What a `%%tta_primitive` cell ends in: its last function, wrapped, under the cell's name."""

from __future__ import annotations

import ast
import keyword
import re
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.notebook.lines import Lines
from tta_notebook.notebook.options import Arguments, UsageMistake, seconds_in
from tta_notebook.notebook.tables.primitives import PRIMITIVE

_WIDTH = 88  # what formatters take without a setting
_TTL = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")


class Wrapping(NamedTuple):
    """What a cell's function is wrapped in, from the inside.

    Attributes:
        model: the model that its prompt is for; None without.
        cache_s: how long its answers are kept; None without a cache.
        timeout_s: how long one attempt may take; None without.
        retry: how many times it is tried again; None without.
    """

    model: str | None = None
    cache_s: float | None = None
    timeout_s: float | None = None
    retry: int | None = None

    @classmethod
    def of(cls, arguments: Arguments) -> Wrapping:
        """Return what a line asks for.

        Raises:
            UsageMistake: a value means nothing.
        """
        values = arguments.values
        return cls(
            values.get("model"),
            _ttl_s(values["cache"]) if "cache" in values else None,
            float(values["timeout"]) if "timeout" in values else None,
            int(values["retry"]) if "retry" in values else None,
        )

    def wrapped(self, function: Any, name: str) -> WorkflowPrimitive[Any, Any]:
        """Return the function as the primitive `name`."""
        # Loaded with the first such cell, not with the extension.
        from tta_notebook import (  # noqa: PLC0415
            CachePrimitive,
            LambdaPrimitive,
            LLMPrimitive,
            RetryPrimitive,
            TimeoutPrimitive,
        )

        step: WorkflowPrimitive[Any, Any] = LambdaPrimitive(function)
        if self.model is not None:
            step = step >> LLMPrimitive(self.model)
        if self.cache_s is not None:
            step = CachePrimitive(step, ttl_seconds=self.cache_s)
        if self.timeout_s is not None:
            step = TimeoutPrimitive(step, timeout_seconds=self.timeout_s)
        if self.retry is not None:
            step = RetryPrimitive(step, max_retries=self.retry)
        return step.named(name)

    def source(self, function: str, name: str) -> str:
        """Return the plain Python that gives what `wrapped` does, for an exported module."""
        step = f"LambdaPrimitive({function})"
        if self.model is not None:
            step = f"{step} >> LLMPrimitive({_quoted(self.model)})"
        wraps = (
            ("RetryPrimitive", "max_retries", self.retry),
            ("TimeoutPrimitive", "timeout_seconds", self.timeout_s),
            ("CachePrimitive", "ttl_seconds", self.cache_s),
        )
        layers = [(kind, f"{key}={value!r}") for kind, key, value in wraps if value is not None]
        if not layers and self.model is not None:
            step = f"({step})"
        around = len(f"{name} = .named({_quoted(name)})")
        return f"{name} = {_nested(layers, step, _WIDTH - around)}.named({_quoted(name)})"

    def imports(self) -> list[str]:
        """Return what `source` takes from the package."""
        given = {
            "CachePrimitive": self.cache_s,
            "LLMPrimitive": self.model,
            "RetryPrimitive": self.retry,
            "TimeoutPrimitive": self.timeout_s,
        }
        return ["LambdaPrimitive", *(name for name, value in given.items() if value is not None)]


class PrimitiveEnding:
    """How a `%%tta_primitive` cell ends."""

    def __init__(self, arguments: Arguments) -> None:
        if not arguments.words:
            raise UsageMistake(f"{PRIMITIVE.title}: write {PRIMITIVE.title} NAME [--cache 1h] …")
        check_variable(PRIMITIVE.title, arguments.words[0])
        self._arguments = arguments
        self._wrapping = Wrapping.of(arguments)

    def last_line(self, tree: ast.Module, body: Lines, runtime: str) -> str:
        """Return the line that binds the body's last function and shows the primitive."""
        del body
        name, function = self._arguments.words[0], last_function(tree)
        given = [f"{key}={value!r}" for key, value in self._wrapping._asdict().items() if value]
        call = f"{runtime}.primitive({', '.join([function, repr(name), *given])})"
        is_silenced = self._arguments.is_silenced or "q" in self._arguments.values
        return f"({name} := {call}){';' if is_silenced else ''}"


def last_function(tree: ast.Module) -> str:
    """Return the name of the last function that a body defines.

    Raises:
        UsageMistake: it defines none.
    """
    for statement in reversed(tree.body):
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            return statement.name
    raise UsageMistake(
        f"{PRIMITIVE.title}: the cell defines no function; its last def or async def becomes the "
        "primitive. For an expression there is %%tta_workflow NAME."
    )


def check_variable(title: str, name: str) -> None:
    """Refuse a name that no variable can have.

    Raises:
        UsageMistake: it is one.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UsageMistake(f"{title}: {name!r} cannot be the name of a variable.")


def _ttl_s(text: str) -> float:
    found = _TTL.fullmatch(text)
    seconds = seconds_in(f"{found[1]}{found[2] or 's'}") if found else 0
    if not seconds:
        raise UsageMistake(
            f"{PRIMITIVE.title}: --cache is a length of time like 90, 30m, 12h or 7d, not {text!r}."
        )
    return seconds


def _nested(layers: Sequence[tuple[str, str]], inner: str, width: int) -> str:
    """Return calls around `inner`, outermost first, broken into lines as formatters do it."""
    if not layers:
        return inner
    (kind, argument), *rest = layers
    flat = inner
    for inner_kind, inner_argument in reversed(rest):
        flat = f"{inner_kind}({flat}, {inner_argument})"
    line = f"{flat}, {argument}"
    if len(f"{kind}({line})") <= width:
        return f"{kind}({line})"
    if len(line) <= _WIDTH - 4:
        return f"{kind}(\n    {line}\n)"
    broken = textwrap.indent(_nested(rest, inner, _WIDTH - 5), "    ")
    return f"{kind}(\n{broken},\n    {argument},\n)"


def _quoted(text: str) -> str:
    """Return a text in double quotes, as formatters write it."""
    return repr(text) if '"' in text or "'" in text else f'"{repr(text)[1:-1]}"'
