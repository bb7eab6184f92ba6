"""The walk that `core/version.py` takes through code and what it refers to."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from enum import Enum
from hashlib import blake2b
from typing import Any, cast

from tta_notebook.core import bytecode, canonical, packages
from tta_notebook.core.calling import Call
from tta_notebook.core.errors import CacheKeyError
from tta_notebook.core.objects import (
    ATOMS,
    LRU_CACHED,
    NATIVE,
    holds_code,
    is_argument,
    is_code,
    is_immutable,
    is_label,
    is_machinery,
    state_of,
)
from tta_notebook.core.observe import is_observed
from tta_notebook.core.places import MISSING, Cell, Fixed, Global, Slot, Stated
from tta_notebook.core.primitive import WorkflowPrimitive

# A bound against code that refers to half of a program; what is larger has no version.
MAX_VISITS = 20_000

# The steps that are being asked for their version: one may refer to itself.
_asked: ContextVar[frozenset[int]] = ContextVar("tta_notebook.asked", default=frozenset())

_NO_CODE = frozenset(
    {"name", "__init_subclass__", "__annotate__", "__annotate_func__", "__annotations_cache__"}
)
_TYPING: tuple[Any, ...] = (
    *(types.GenericAlias, types.UnionType, typing.TypeVar),
    *(type(typing.Any), type(typing.Optional[int]), type(typing.List[int])),  # noqa: UP006, UP045
)


class Walk:
    """One way through a thing and what it refers to.

    Attributes:
        is_whole: whether all of it could be hashed.
        names: the places that were read, with what was there.
        mutables: the places whose values can change in place, with these values.
    """

    def __init__(
        self,
        frozen: Mapping[Any, str],
        token: Callable[[object], str],
        written: frozenset[Any] = frozenset(),
        under_way: tuple[int, ...] = (),
    ) -> None:
        self.is_whole = True
        self.names: list[tuple[Slot, Any]] = []
        self.mutables: list[tuple[Slot, Any]] = []
        self.written: set[Any] = set()
        self.is_mutable = False
        self._frozen = frozen
        self._token = token
        self._known_written = written
        self._under_way = under_way
        self._out: list[bytes] = [b"py%d.%d;" % sys.version_info[:2]]
        self._met: dict[int, int] = {}
        self._size = 0
        self._holding: list[object] = []  # keeps alive whose identity is remembered

    @classmethod
    def of(cls, thing: object, frozen: Mapping[Any, str], token: Callable[[object], str]) -> Walk:
        """Return the walk through `thing`."""
        written: frozenset[Any] = frozenset()
        while True:
            walk = cls(frozen, token, written)
            walk.place(Fixed(thing, "itself"), thing)
            if walk.written <= written:
                return walk
            # Somebody met later on writes a name that counted by its value until then.
            written |= walk.written

    @classmethod
    def content(
        cls, value: object, frozen: Mapping[Any, str], token: Callable[[object], str]
    ) -> Walk:
        """Return the walk through a value alone, to see whether it has changed."""
        walk = cls(frozen, token, under_way=(id(value),))
        walk.add(value)
        return walk

    @property
    def digest(self) -> str:
        """The hash of all that was met so far."""
        return blake2b(b"".join(self._out), digest_size=canonical.DIGEST_BYTES).hexdigest()

    @property
    def size(self) -> int:
        """Bytes that were hashed so far."""
        return self._size + sum(map(len, self._out))

    # Places

    def place(self, slot: Slot, value: Any, *, is_watched: bool = True) -> None:
        """Add what stands in a place, and remember that it was read there."""
        if slot.key in self._known_written:
            self._out.append(b"written;")
        elif slot.key in self._frozen:
            self._tag("content", self._frozen[slot.key])
        elif id(value) in self._under_way:
            self._tag("around", str(self._under_way.index(id(value))))
        else:
            if is_watched and type(slot) is not Fixed:
                self.names.append((slot, value))
            self._value(slot, value, is_watched=is_watched)

    def _value(self, slot: Slot, value: Any, *, is_watched: bool) -> None:
        if value is MISSING:
            self._out.append(b"missing;")
            return
        if not slot.is_own_state and is_immutable(value):
            self.add(value)
            return
        inside = Walk(self._frozen, self._token, self._known_written, (*self._under_way, id(value)))
        inside._met = self._met if not slot.is_own_state and is_code(value) else {}
        inside.add(value)
        self._merge(inside)
        slot.first = inside.digest
        if inside.is_mutable and is_watched:
            self.mutables.append((slot, value))
        self._tag("content", inside.digest)

    def _merge(self, inside: Walk) -> None:
        self.names += inside.names
        self.mutables += inside.mutables
        self.written |= inside.written
        self.is_whole = self.is_whole and inside.is_whole
        self._holding += inside._holding
        self._size += inside.size

    # Values

    def add(self, value: Any) -> None:
        """Add a value of any kind."""
        if type(value) in ATOMS:
            self._out.append(canonical.encode(value))
            return
        if id(value) in self._met:
            self._tag("again", str(self._met[id(value)]))
            return
        self._met[id(value)] = len(self._met)
        self._holding.append(value)
        if len(self._met) > MAX_VISITS:
            self._unknown(value)
            return
        try:
            self._add_new(value)
        except RecursionError:
            self._unknown(value)

    def _add_new(self, value: Any) -> None:
        kind = canonical.class_of(value)
        if (adder := _ADDERS.get(kind)) is not None:
            getattr(self, adder)(value)
        elif isinstance(value, type):
            self._class(cast("type[Any]", value))
        elif isinstance(value, types.ModuleType):
            self._tag("module", value.__name__, str(packages.release_of(value.__name__)))
        elif isinstance(value, WorkflowPrimitive):
            self._primitive(cast("WorkflowPrimitive[Any, Any]", value))
        elif isinstance(value, logging.Logger | ContextVar):
            self._tag(kind.__name__, value.name)
        elif isinstance(value, _TYPING):
            self._tag("typing", repr(value))
        elif kind is object:
            self._out.append(b"object;")
        elif not self._is_plain(value):
            self._instance(value)

    def _is_plain(self, value: Any) -> bool:
        try:
            data = canonical.encode(value)
        except CacheKeyError:
            return False
        self.is_mutable = self.is_mutable or not isinstance(value, Enum)
        self._out.append(b"value;" + data)
        return True

    def _unknown(self, value: object) -> None:
        self.is_whole = False
        self._tag("unknown", self._token(value))

    def _tag(self, *words: str) -> None:
        self._out.append(canonical.encode(words))

    # Containers

    def _sequence(self, values: list[Any] | tuple[Any, ...]) -> None:
        self.is_mutable = self.is_mutable or isinstance(values, list)
        self._tag(type(values).__name__, str(len(values)))
        for value in values:
            self.add(value)

    def _mapping(self, values: Mapping[Any, Any]) -> None:
        self.is_mutable = True
        self._tag("mapping", str(len(values)))
        # Sorted by the keys alone: values meet in an order that does not depend on them.
        for key in sorted(values, key=self._rank):
            self.add(key)
            self.add(values[key])

    def _set(self, values: set[Any] | frozenset[Any]) -> None:
        self.is_mutable = self.is_mutable or isinstance(values, set)
        self._tag(type(values).__name__, str(len(values)))
        for value in sorted(values, key=self._rank):
            self.add(value)

    def _rank(self, value: Any) -> bytes:
        try:
            return canonical.encode(value)
        except CacheKeyError:
            return Walk.content(value, self._frozen, self._token).digest.encode()

    # Code

    def _function(self, function: types.FunctionType) -> None:
        if is_observed(function):
            self.add(function.__wrapped__)  # type: ignore[attr-defined]  # what observation wraps
            return
        release = packages.release_of_function(function)
        code = bytecode.read(function.__code__)
        if release is not None:
            self._tag("library", str(function.__module__), function.__code__.co_qualname, release)
        self._out.append(code.token)
        if release is None:
            for defaults in (function.__defaults__, function.__kwdefaults__):
                self.place(Fixed(defaults, "defaults"), defaults)
            self._globals(function.__globals__, code)
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            slot = Cell(cell, name)
            if name in code.stored_cells:
                self.written.add(slot.key)
            self.place(slot, slot.read())

    def _globals(self, namespace: dict[str, Any], code: bytecode.Code) -> None:
        self.written |= {(id(namespace), name) for name in code.stored_globals}
        for name in code.globals:
            slot = Global(namespace, name)
            self._tag("global", name)
            found = slot.read()
            self.place(slot, found)
            if isinstance(found, types.ModuleType) and packages.release_of(found.__name__) is None:
                self._members(found, (after for before, after in code.attributes if before == name))

    def _members(self, module: types.ModuleType, names: Iterable[str]) -> None:
        # A module of the user's own may be edited and loaded again; what is read of it counts.
        for name in names:
            slot = Slot(vars(module), name)
            self._tag("member", name)
            self.place(slot, slot.read())

    def _method(self, method: types.MethodType) -> None:
        self.add(method.__func__)
        self.place(Fixed(method.__self__, "self"), method.__self__)

    def _partial(self, partial: functools.partial[Any]) -> None:
        self._out.append(b"partial;")
        self.add(partial.func)
        for arguments in (partial.args, partial.keywords):
            self.place(Fixed(arguments, "arguments"), arguments)

    def _native(self, function: Any) -> None:
        owner = getattr(function, "__objclass__", None) or getattr(function, "__self__", None)
        self._tag("native", str(getattr(function, "__module__", "")), function.__qualname__)
        if owner is not None and not isinstance(owner, types.ModuleType):
            self.place(Fixed(owner, "self"), owner)

    def _wrapper(self, wrapper: Any) -> None:
        self._tag(type(wrapper).__name__)
        self.add(wrapper.__wrapped__)

    def _property(self, descriptor: property) -> None:
        self._out.append(b"property;")
        for function in (descriptor.fget, descriptor.fset, descriptor.fdel):
            self.add(function)

    def _call(self, call: Call) -> None:
        self.add(call.function)

    def _cached_property(self, descriptor: functools.cached_property[Any]) -> None:
        self._out.append(b"cached_property;")
        self.add(descriptor.func)

    # Classes and objects

    def _class(self, cls: type[Any]) -> None:
        release = packages.release_of_class(cls)
        self._tag("class", cls.__module__ if release else "", cls.__qualname__, release or "")
        if release is not None:
            return
        for base in cls.__bases__:
            self.add(base)
        for name, value in sorted(vars(cls).items()):
            if name in _NO_CODE or (name.startswith("__") and not is_code(value)):
                continue
            slot = Slot(cls.__dict__, name)
            slot.key = (id(cls), name)  # the view of a class's attributes is made anew every time
            self._tag("attribute", name)
            self.place(slot, value)

    def _primitive(self, step: WorkflowPrimitive[Any, Any]) -> None:
        if hasattr(type(step), "__tta_version__"):
            self._tag("made of")
            self.add(cast("Any", step).__tta_version__())
            return
        if inspect.getattr_static(step, "version", None) is None:
            self._instance(step)
            return
        if id(step) in (asked := _asked.get()):
            self._out.append(b"asked;")
            return
        token = _asked.set(asked | {id(step)})
        try:
            stated: Any = cast("Any", step).version
        finally:
            _asked.reset(token)
        self.names.append((Stated(step, "version"), stated))
        if stated is None:
            self._unknown(step)
        else:
            self._tag("version")
            self.add(stated)

    def _instance(self, value: Any) -> None:
        cls = cast("type[Any]", type(value))
        release = packages.release_of_class(cls)
        is_ours = release is not None and cls.__module__.partition(".")[0] == packages.OURS
        if release is not None and not is_ours:
            self._unknown(value)
            return
        self.is_mutable = self.is_mutable or not is_ours
        self.add(cls)
        for name, holder, attribute in state_of(value):
            slot = Slot(holder, name, is_own_state=True)
            if not is_ours:
                self._tag("state", name)
                self.place(slot, attribute)
            elif is_argument(cls, name) or holds_code(attribute) or is_label(value, attribute):
                self._our_state(slot, name, attribute)

    def _our_state(self, slot: Slot, name: str, attribute: Any) -> None:
        inside = Walk(self._frozen, self._token, self._known_written, (*self._under_way, id(slot)))
        inside._met = dict(self._met)
        inside.add(attribute)
        if not inside.is_whole and is_machinery(attribute):
            return
        self._tag("state", name)
        self._met = inside._met
        self._merge(inside)
        self._tag("content", inside.digest)


# What adds a value of which type; by name, because the methods are the walk's own.
_ADDERS: dict[type[Any], str] = {
    types.FunctionType: "_function",
    types.MethodType: "_method",
    functools.partial: "_partial",
    functools.cached_property: "_cached_property",
    LRU_CACHED: "_wrapper",
    staticmethod: "_wrapper",
    classmethod: "_wrapper",
    property: "_property",
    Call: "_call",
    list: "_sequence",
    tuple: "_sequence",
    dict: "_mapping",
    types.MappingProxyType: "_mapping",
    set: "_set",
    frozenset: "_set",
    **dict.fromkeys(NATIVE, "_native"),
}
