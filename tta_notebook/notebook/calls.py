"""The calls that lines of our magics become, as source: `await __tta__.run_named('ask', …)`."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Protocol

from tta_notebook.notebook.options import Arguments, Magic, UsageMistake, parse_expression, read
from tta_notebook.notebook.tables.cluster import (
    CLUSTER,
    CONNECT,
    MAP,
    SCALE,
    START,
    STATUS,
    read_action,
)
from tta_notebook.notebook.tables.runs import RUN

# What transformed cells call (runtime.py); hidden from %who.
RUNTIME = "__tta__"


class LineCall(Protocol):
    """Makes a call of what stands behind a magic's name; None leaves the line to the real magic."""

    def __call__(self, text: str, *, is_bound: bool, quiet: bool) -> str | None:
        """Return the call.

        Args:
            text: what stands behind the name.
            is_bound: whether the line gives its value to a variable.
            quiet: whether runs show nothing unless `--show` says so.

        Raises:
            UsageMistake: the text means nothing.
        """
        ...


def read_line(magic: Magic, text: str, *, quiet: bool) -> Arguments:
    """Read a line that may be about a run, with the setting `quiet` over it."""
    arguments = read(magic, text)
    return _hushed(arguments, quiet=quiet and (magic is RUN or "input" in arguments.values))


def _hushed(arguments: Arguments, *, quiet: bool) -> Arguments:
    if quiet and "show" not in arguments.values:
        arguments.values["q"] = ""
    return arguments


def refuse_background(magic: Magic, arguments: Arguments) -> None:
    """Say that nothing goes on in the background of code that blocks.

    Raises:
        UsageMistake: the line asks for it.
    """
    if "background" in arguments.values:
        raise UsageMistake(
            f"{magic.title}: --background cannot be had behind another magic or in a plain "
            "function: the kernel's loop, on which the run would go on, stands still there. Write "
            f"{magic.title} on a line of the cell itself, or in an async def."
        )


def run_call(call: list[str], arguments: Arguments, *, awaits: bool, method: str = "run") -> str:
    """Return a call that runs a workflow.

    Args:
        call: its first arguments.
        arguments: what the line says of the run.
        awaits: whether the code may await.
        method: of the runtime.
    """
    if live := arguments.values.get("live"):
        call.append(f"live={live!r}")
    if budget := arguments.values.get("budget"):
        # As text: a float of what is written would be another amount.
        call.append(f"budget={budget!r}")
    if cassette := arguments.values.get("cassette"):
        call.append(f"cassette={cassette!r}")
    if timeout := arguments.values.get("timeout"):
        call.append(f"timeout_s={float(timeout)!r}")
    if "no-reuse" in arguments.values:
        call.append("reuse=False")
    if "q" in arguments.values:
        call.append("quiet=True")
    if "background" in arguments.values:
        call.append("background=True")
    verb = f"await {RUNTIME}.{method}" if awaits else f"{RUNTIME}.{method}_blocking"
    return f"{verb}({', '.join(call)})"


def as_argument(expression: str) -> str:
    """Return an expression as one argument: `--input 1, 2` is a tuple, not two of them."""
    is_tuple = isinstance(parse_expression("input", expression), ast.Tuple)
    return f"({expression})" if is_tuple else expression


def run_words(arguments: Arguments) -> tuple[str, str]:
    """Return the name and the input expression of a `%tta_run` line.

    Raises:
        UsageMistake: one of them is missing, or the expression is none.
    """
    if len(arguments.words) < len(RUN.positionals):
        raise UsageMistake(
            f"{RUN.title}: write {RUN.title} {RUN.synopsis}, as in %tta_run ask 'why?'"
        )
    name, expression = arguments.words
    parse_expression(RUN.title, expression)
    return name, expression


def _named_call(words: tuple[str, str], more: list[str], arguments: Arguments, method: str) -> str:
    name, expression = words
    # The name in a lambda: a local one is found, an unknown one becomes a usage error.
    call = [repr(name), f"lambda: {name}", as_argument(expression), *more]
    made = run_call(call, arguments, awaits=True, method=method)
    if variable := arguments.values.get("as"):
        made = f"({variable} := {made})"
    return made + (";" if arguments.is_silenced or "q" in arguments.values else "")


def _run(text: str, *, is_bound: bool, quiet: bool) -> str:
    del is_bound
    arguments = read_line(RUN, text, quiet=quiet)
    if "h" in arguments.values:
        return f"{RUNTIME}.help({RUN.name!r})"
    return _named_call(run_words(arguments), [], arguments, "run_named")


def _cluster(text: str, *, is_bound: bool, quiet: bool) -> str | None:
    action, rest = CLUSTER.action(text)
    if action is None or action is STATUS:
        return None
    arguments = read_action(action, rest)
    if "h" in arguments.values:
        return None
    if action is MAP:
        name, expression = _hushed(arguments, quiet=quiet).words
        more = [f"{key}={value!r}" for key, value in map_options(arguments).items()]
        return _named_call((name, expression), more, arguments, "map_named")
    method = action.name.rpartition(" ")[2]
    options = action_options(action, arguments)
    variable = arguments.values.get("as")
    if action in (START, CONNECT) and (is_bound or variable):
        options["is_bound"] = True  # else it has no value: a line says what it did
    given = ", ".join(f"{key}={value!r}" for key, value in options.items())
    call = f"await {RUNTIME}.cluster.{method}({given})"
    return f"{variable} = {call}" if variable else call


def map_options(arguments: Arguments) -> dict[str, int | bool]:
    """Return how the items of `%tta_cluster map` go out, as keywords."""
    values = arguments.values
    options: dict[str, int | bool] = {}
    if "chunk" in values:
        options["chunk_size"] = int(values["chunk"])
    if "concurrency" in values:
        options["max_concurrency"] = int(values["concurrency"])
    if "collect" in values:
        options["collect"] = True
    return options


def action_options(action: Magic, arguments: Arguments) -> dict[str, int | str | bool]:
    """Return what another action of `%tta_cluster` is about, as keywords."""
    options: dict[str, int | str | bool] = {}
    if "cancel" in arguments.values:
        options["cancel"] = True
    for word in arguments.words:
        if action in (START, SCALE):
            options["workers"] = int(word)
        else:
            options["address"] = word.strip("'\"")
    return options


CALLS: Mapping[str, LineCall] = {"tta_run": _run, "tta_cluster": _cluster}
"""By the name of the magic."""
