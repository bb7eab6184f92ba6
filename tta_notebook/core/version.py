"""What code does, as a hash: the same version means the same answers to the same inputs.

A function's version is made of its byte code and constants, its defaults, what its closure holds
and the globals it names, and theirs in turn; not of its name, file or lines: running an unchanged
cell again gives the same version. It is specific to a minor version of Python, whose compiler it
speaks of, and the same in every process.

- A primitive's version is its `version` attribute, where it has one, or is made of what its
  `__tta_version__()` returns: a value, function or tuple of these. Else it is the code of its class
  and its state. Of the classes of this package, name and release stand for the code, and the
  constructor's arguments for the state: what they count and remember makes no other answers.
- Installed packages and the standard library count by name and release. Of a module of the user's
  own, what is read as `module.name` counts.
- What cannot be hashed (a client, an iterator) makes the version None: nothing is known then.
"""

from __future__ import annotations

import secrets
import weakref
from typing import Any, NamedTuple

from tta_notebook.core.places import MISSING, Fixed, Slot
from tta_notebook.core.versioning import Walk

# What takes longer to hash than most answers take to look up: a tenth of a millisecond and more.
LARGE_BYTES = 65_536


def version_of(thing: object) -> str | None:
    """Return a hash of what `thing` does: 40 hexadecimal digits; None when that cannot be known.

    Args:
        thing: a function, a class, a primitive, a value, or a tuple of these.

    >>> version_of(lambda x: x + 1) == version_of(lambda x: x + 1)
    True
    >>> version_of(lambda x: x + 1) == version_of(lambda x: x + 2)
    False
    """
    walk = Walk.of(thing, frozen={}, token=lambda _: "")
    return walk.digest if walk.is_whole else None


class _Rebound(NamedTuple):
    """A name and what it stood for when the version was taken."""

    slot: Slot
    value: Any


class _Mutable(NamedTuple):
    """A value that can change without its name standing for another one."""

    slot: Slot
    value: Any
    digest: str
    is_large: bool


class VersionWatch:
    """The version of a thing, kept up with what it refers to.

    Between two calls, other cells may bind a global that a step reads to another value, or change
    a list in place. Asking `current()` looks at every name and at the content of what can change,
    and takes the version anew only when something did. Of what is larger than 64 KiB it looks at
    the length alone: that is for who changes its items in place to know.

    What changes while a call is under way (`begin` to `end`) and is no name of a global or of a
    closure is taken for the step's own records, a counter or a log, and counts no more. Globals and
    closure variables that the code itself binds count from the beginning as such.

    Args:
        thing: see `version_of`; what cannot be hashed counts as this very object.

    >>> prompt = {"text": "Answer briefly."}
    >>> watch = VersionWatch(lambda question: prompt["text"] + question)
    >>> first = watch.current()
    >>> prompt["text"] = "Answer at length."
    >>> watch.current() == first
    False
    """

    __slots__ = (
        "_active",
        "_frozen",
        "_is_looking",
        "_kept",
        "_mutables",
        "_names",
        "_thing",
        "_version",
        "is_whole",
    )

    def __init__(self, thing: object) -> None:
        self._thing = thing
        self._active = 0
        self._is_looking = False
        self._frozen: dict[Any, str] = {}
        # Tokens of what cannot be referred to weakly, with the object: its id stays its own.
        self._kept: dict[int, tuple[object, str]] = {}
        self._take()

    # What it looks at are places in this process's memory. A copy takes the version anew when it is
    # first asked: while it is loaded, the thing may be half there.

    def __getstate__(self) -> tuple[object]:
        return (self._thing,)

    def __setstate__(self, state: tuple[object]) -> None:
        (self._thing,) = state
        self.is_whole = False
        self._active = 0
        self._is_looking = False
        self._frozen = {}
        self._kept = {}
        self._version = ""
        self._mutables: list[_Mutable] = []
        # A place that seems to have changed, so that `current` looks, which costs it nothing later.
        self._names = [_Rebound(Fixed(None, "not looked at yet"), MISSING)]

    def current(self) -> str:
        """Return the version as of now."""
        if (self._names or self._mutables) and not self._is_looking:
            # A step may refer to itself: then it is asked for its version while that is looked up.
            self._is_looking = True
            try:
                if self._mutables or any(slot.read() is not value for slot, value in self._names):
                    self._look()
            finally:
                self._is_looking = False
        return self._version

    def begin(self) -> None:
        """Tell that a call of the thing is under way."""
        self._active += 1

    def end(self) -> None:
        """Tell that a call is over; what it changed, it owns."""
        if not self._is_looking:
            self._look()
        self._active -= 1

    def _take(self) -> None:
        walk = Walk.of(self._thing, self._frozen, self._token)
        self.is_whole = walk.is_whole
        self._version = walk.digest
        self._names = [_Rebound(slot, value) for slot, value in walk.names]
        self._mutables = [
            _Mutable(slot, value, *self._looked_at(value)) for slot, value in walk.mutables
        ]

    def _look(self) -> None:
        is_other = False
        for rebound in tuple(self._names):
            if rebound.slot.read() is not rebound.value:
                if self._active and rebound.slot.is_own_state:
                    self._own(rebound.slot, None)
                else:
                    is_other = True
        for mutable in tuple(self._mutables):
            if mutable.slot.read() is mutable.value and self._digest(mutable) != mutable.digest:
                if self._active:
                    self._own(mutable.slot, mutable.digest)
                else:
                    is_other = True
        if is_other:
            self._take()

    def _digest(self, mutable: _Mutable) -> str:
        value = mutable.value
        return _length(value) if mutable.is_large else self._looked_at(value)[0]

    def _looked_at(self, value: Any) -> tuple[str, bool]:
        walk = Walk.content(value, self._frozen, self._token)
        is_large = walk.size > LARGE_BYTES
        return (_length(value) if is_large else walk.digest), is_large

    def _own(self, slot: Slot, digest: str | None) -> None:
        # What it counted by when it was first seen stays in the version, so that a new process,
        # which starts with it, has the same one.
        self._kept[id(slot)] = slot, ""  # with what it stands in, whose identity is its key
        known = {mutable.slot.key: mutable.digest for mutable in self._mutables}
        self._frozen[slot.key] = digest or known.get(slot.key) or slot.first
        self._names = [rebound for rebound in self._names if rebound.slot.key != slot.key]
        self._mutables = [mutable for mutable in self._mutables if mutable.slot.key != slot.key]

    def _token(self, thing: object) -> str:
        try:
            return token_of(thing)
        except TypeError:
            kept = self._kept.setdefault(id(thing), (thing, secrets.token_hex(16)))
            return kept[1]


def _length(value: Any) -> str:
    try:
        return f"length {len(value)}"
    except TypeError:
        return "large"


_tokens: dict[int, tuple[weakref.ref[Any], str]] = {}


def token_of(thing: object) -> str:
    """Return a random text that belongs to this very object, as long as it lives.

    Raises:
        TypeError: it cannot be referred to weakly.

    >>> token_of(token_of) == token_of(token_of)
    True
    """
    found = _tokens.get(id(thing))
    if found is not None and found[0]() is thing:
        return found[1]
    key = id(thing)
    reference = weakref.ref(thing, lambda gone: _forget(key, gone))
    _tokens[key] = reference, secrets.token_hex(16)
    return _tokens[key][1]


def _forget(key: int, reference: weakref.ref[Any]) -> None:
    # Another object may have the identity by now.
    if key in _tokens and _tokens[key][0] is reference:
        del _tokens[key]
