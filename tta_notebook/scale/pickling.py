"""Pickles that keep functions with their code, and exceptions as they were."""

from __future__ import annotations

import io
import pickle
from functools import cache
from importlib import import_module
from types import FunctionType
from typing import Any, cast

from tta_notebook.core.errors import ConfigurationError

PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
"""Types whose values travel as they are."""

_HOW = ("__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__")


def dumps(value: object) -> bytes:
    """Return a pickle of a value.

    Raises:
        ConfigurationError: the extra `dask` is missing.
    """
    if type(value) in PLAIN:
        return pickle.dumps(value)
    file = io.BytesIO()
    _pickler()(file).dump(value)
    return file.getvalue()


@cache
def _pickler() -> Any:
    try:
        cloudpickle: Any = import_module("cloudpickle")
    except ImportError as missing:
        raise ConfigurationError(
            "Cluster: cloudpickle is not installed, which packs workflows for other processes. "
            "Install it with the rest of the extra: pip install 'tta-notebook[dask]'."
        ) from missing

    def reducer_override(pickler: Any, obj: object) -> Any:
        if isinstance(obj, BaseException) and (reduced := _reduced(obj)) is not None:
            return reduced
        return cloudpickle.Pickler.reducer_override(pickler, obj)

    return type("Pickler", (cloudpickle.Pickler,), {"reducer_override": reducer_override})


def _reduced(error: BaseException) -> tuple[Any, ...] | None:
    """Return how an exception is pickled; None where Python does it well."""
    reduced = error.__reduce_ex__(pickle.DEFAULT_PROTOCOL)
    if isinstance(reduced, str):
        return None
    make, args, *rest = reduced
    if _is_made_of_args(type(error)):
        return remade, (type(error), args), *rest
    notes = getattr(error, "__notes__", None)
    if notes is None or type(error).__setstate__ is not BaseException.__setstate__:
        return None
    # As state, which is read after the error itself: some of it may refer to it.
    state: dict[str, Any] = (rest[0] if rest else None) or {}
    return make, args, {**state, "__notes__": notes}, *rest[1:]


def _is_made_of_args(kind: type[BaseException]) -> bool:
    """Tell whether Python would make one of `args`, and the class takes arguments of its own.

    Calling the class with them would fail, or put the message into the message.
    """
    has_own_arguments = isinstance(kind.__init__, FunctionType)
    says_how = any(
        isinstance(vars(base).get(name), FunctionType) for base in kind.__mro__ for name in _HOW
    )
    return has_own_arguments and not says_how


def remade(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """Make an exception without calling its class's own `__init__`."""
    builtin = next(base for base in kind.__mro__ if "__init__" in vars(base) and _is_builtin(base))
    error: BaseException = cast("Any", builtin).__new__(kind, *args)
    cast("Any", builtin).__init__(error, *args)
    return error


def _is_builtin(kind: type) -> bool:
    return not isinstance(vars(kind)["__init__"], FunctionType)
