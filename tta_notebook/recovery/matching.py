"""Which errors are meant: a type, several types, or a function of the error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias, cast

from tta_notebook.core.errors import ConfigurationError

ErrorCondition: TypeAlias = (
    type[BaseException] | tuple[type[BaseException], ...] | Callable[[Any], bool]
)


def checked_condition(owner: str, name: str, condition: Any) -> ErrorCondition:
    """Return `condition` if it can say which errors are meant, else raise.

    >>> checked_condition("CircuitBreakerPrimitive", "ignore", (KeyError, LookupError))
    (<class 'KeyError'>, <class 'LookupError'>)
    """
    if isinstance(condition, list):
        condition = tuple(cast("list[Any]", condition))
    types = cast("tuple[Any, ...]", condition if isinstance(condition, tuple) else (condition,))
    are_types = all(isinstance(one, type) and issubclass(one, BaseException) for one in types)
    if not are_types and (isinstance(condition, (tuple, type)) or not callable(condition)):
        raise ConfigurationError(
            f"{owner}: {name}={condition!r} does not say which errors are meant. Give an exception "
            "class, a tuple of them, or a function of the error."
        )
    if are_types and any(issubclass(asyncio.CancelledError, one) for one in types):
        raise ConfigurationError(
            f"{owner}: {name}={condition!r} includes cancellations, which are no failures and "
            "always go on. Give Exception, or classes below it."
        )
    return cast("ErrorCondition", condition)


def matches(condition: ErrorCondition, error: BaseException) -> bool:
    """Tell whether `error` is one of those that are meant.

    >>> matches((KeyError, OSError), ConnectionError())
    True
    """
    if isinstance(condition, (type, tuple)):
        return isinstance(error, condition)
    return bool(condition(error))
