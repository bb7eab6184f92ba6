"""How a user's function is called: decided once, when it is wrapped."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import CompositionError

_CONTEXT_NAMES = frozenset({"context", "ctx"})


class Call:
    """A function of `(x)` or `(x, ctx)`, sync or async, called the same way.

    Attributes:
        function: the function itself.
        takes_context: whether it wants the context as well.
        is_coroutine: whether it is an `async def`; others may still return an awaitable.
    """

    __slots__ = ("function", "is_coroutine", "takes_context")

    def __init__(self, function: Callable[..., Any], role: str) -> None:
        if not callable(function):
            raise CompositionError(
                f"{role}: {function!r} was given where a function is needed; a "
                f"{type(function).__name__} cannot be called. Give a function of the input, "
                "sync or async."
            )
        self.function = function
        self.takes_context = _takes_context(function, role)
        self.is_coroutine = is_async(function)

    async def __call__(self, input_data: Any, context: WorkflowContext) -> Any:
        """Call the function and await what it returns if that can be awaited."""
        result = (
            self.function(input_data, context) if self.takes_context else self.function(input_data)
        )
        if self.is_coroutine or hasattr(result, "__await__"):
            return await result
        return result


def is_async(function: Callable[..., Any]) -> bool:
    """Tell whether calling `function` gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose class defines it as async
    )


def name_of(function: Callable[..., Any]) -> str:
    """Return the name by which people know a callable."""
    inner = getattr(function, "func", function)  # functools.partial
    name = getattr(inner, "__name__", None)
    if not isinstance(name, str):
        return type(function).__name__
    return "lambda" if name == "<lambda>" else name


def prefixed_name(prefix: str, function: Callable[..., Any]) -> str:
    """Return a name made of a function's, as "if is_long"; the prefix alone for a lambda."""
    name = name_of(function)
    return prefix if name == "lambda" else f"{prefix} {name}"


def _takes_context(function: Callable[..., Any], role: str) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False  # some builtins have no signature: `int`, `str.upper` in older versions
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    required = [parameter for parameter in positional if parameter.default is parameter.empty]
    has_rest = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    demanded = [
        parameter.name
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    ]
    if demanded or len(required) > 2 or not (positional or has_rest):  # noqa: PLR2004 - (x, ctx)
        raise CompositionError(
            f"{role}: {name_of(function)}{inspect.signature(function)} cannot be a step, which is "
            "called as (input) or (input, context). Bind its other arguments with "
            "functools.partial, or wrap it in a lambda."
        )
    return len(required) == 2 or (len(positional) > 1 and _is_context(positional[1]))  # noqa: PLR2004


def _is_context(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    return (
        parameter.name in _CONTEXT_NAMES
        or annotation is WorkflowContext
        or annotation == WorkflowContext.__name__
    )
