"""What a code object says, without where it stands."""

from __future__ import annotations

import dis
import types
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, cast

from tta_notebook.core import canonical
from tta_notebook.core.errors import CacheKeyError

_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_STORES = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})
_CELL_STORES = frozenset({"STORE_DEREF", "DELETE_DEREF"})


class Code(NamedTuple):
    """What matters of a code object and those inside it.

    Attributes:
        token: a hash of its instructions and constants.
        globals: the globals that it reads, in order of the alphabet.
        attributes: what it reads of them, as (global, attribute); of a module, its members.
        stored_globals: those that it binds.
        stored_cells: the variables of enclosing functions that it binds.
    """

    token: bytes
    globals: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]
    stored_globals: frozenset[str]
    stored_cells: frozenset[str]


@lru_cache(maxsize=4096)
def read(code: types.CodeType) -> Code:
    """Return what a code object says; file, lines and its own name do not count."""
    inner = [read(const) for const in code.co_consts if isinstance(const, types.CodeType)]
    loaded, stored, local, cells = set[str](), set[str](), set[str](), set[str]()
    attributes, before = set[tuple[str, str]](), None
    for instruction in dis.get_instructions(code):
        name = cast("str", instruction.argval)
        if instruction.opname in _LOADS:
            loaded.add(name)
        elif instruction.opname in _STORES:
            stored.add(name)
        elif instruction.opname == "STORE_NAME":
            local.add(name)
        elif instruction.opname in _CELL_STORES:
            cells.add(name)
        elif instruction.opname in _ATTRIBUTES and before is not None:
            attributes.add((before, name))
        before = name if instruction.opname in _LOADS else None
    loaded -= local  # of a class body, its own attributes
    free = frozenset(code.co_freevars)
    return Code(
        _token(code),
        tuple(sorted(loaded.union(*(each.globals for each in inner)))),
        tuple(sorted(attributes.union(*(each.attributes for each in inner)))),
        frozenset(stored.union(*(each.stored_globals for each in inner))),
        frozenset(cells.union(*(each.stored_cells for each in inner)) & free),
    )


def _token(code: types.CodeType) -> bytes:
    shape = (
        code.co_code,
        code.co_exceptiontable,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_flags,
    )
    parts = [canonical.encode(shape), *(_constant(const) for const in code.co_consts)]
    return blake2b(b"".join(parts), digest_size=canonical.DIGEST_BYTES).digest()


def _constant(const: Any) -> bytes:
    if isinstance(const, types.CodeType):
        return read(const).token
    try:
        return canonical.encode(const)
    except CacheKeyError:  # slices are constants from 3.14 on
        return canonical.encode(("repr", repr(const)))
