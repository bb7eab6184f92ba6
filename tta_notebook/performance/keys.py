"""By what a cache tells calls apart."""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Literal, TypeAlias

from tta_notebook.core import canonical
from tta_notebook.core.calling import Call
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import CacheKeyError, ConfigurationError, Names
from tta_notebook.core.shared import Shared
from tta_notebook.core.standing import standing
from tta_notebook.core.version import token_of

Scope: TypeAlias = Literal["user", "shared"] | Callable[[WorkflowContext], Any]

_MAX_PREFIXES = 1024

# Texts whose keys are remembered: a dict finds them in a quarter of the time that hashing takes.
_MAX_TEXTS = 1024
_MAX_TEXT_LENGTH = 1000

_stood: tuple[Mapping[str, Any] | None, str] = (None, "")
_markers: weakref.WeakKeyDictionary[Shared, str] = weakref.WeakKeyDictionary()


class Keys:
    """Makes keys: hashes of namespace, version, scope, the run's backends and the input.

    Args:
        owner: who asks, in errors.
        namespace: tells caches apart that share a store.
        scope: "user" (calls for one user are not answered with another's), "shared", or a function
            of the context that returns a plain value.
        key_fn: a function of `(data)` or `(data, context)` whose result stands for the input.
    """

    def __init__(
        self,
        owner: str,
        namespace: str,
        scope: Scope,
        key_fn: Callable[..., Any] | None,
    ) -> None:
        self._namespace = _checked_namespace(owner, namespace)
        self._key_fn = None if key_fn is None else Call(key_fn, f"{owner}(key_fn=…)")
        self._scope = _checked_scope(owner, scope)
        self._is_per_user = scope == "user"
        self.is_simple = key_fn is None and not isinstance(self._scope, Call)
        self._prefixes: dict[Any, blake2b] = {}
        self._texts: dict[Any, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Half-made hashes cannot be pickled; a copy makes its own.
        return {**self.__dict__, "_prefixes": {}, "_texts": {}}

    def simple(self, version: str, input_data: Any, context: WorkflowContext) -> str:
        """Return the key where no function has a say in it.

        Raises:
            CacheKeyError: the input is no plain value.
        """
        shared = context.shared
        user: Any = None
        if self._is_per_user and shared.metadata is not None:
            user = shared.metadata.get("user_id")
        is_own = shared.backends is None and standing.backends is None
        marker = None if is_own else _marker(shared)
        # Neither texts nor users of other types stand in a dict: 1, 1.0 and True are one key there.
        if user is not None and type(user) is not str:
            key = self._prefix(version, user, marker)
        elif type(input_data) is str:
            found = self._texts.get((version, user, marker, input_data))
            return found or self._of_text(version, user, marker, input_data)
        else:
            key = self._remembered(version, user, marker).copy()
        key.update(canonical.encode(input_data))
        return key.hexdigest()

    def _of_text(self, version: str, user: str | None, marker: str | None, text: str) -> str:
        hashed = self._remembered(version, user, marker).copy()
        hashed.update(canonical.encode(text))
        key = hashed.hexdigest()
        if len(text) <= _MAX_TEXT_LENGTH:
            if len(self._texts) >= _MAX_TEXTS:
                self._texts.clear()
            self._texts[version, user, marker, text] = key
        return key

    async def of(self, version: str, input_data: Any, context: WorkflowContext) -> str:
        """Return the key, asking the functions that have a say in it.

        Raises:
            CacheKeyError: a function failed, or there is something that is no plain value.
        """
        if self.is_simple:
            return self.simple(version, input_data, context)
        scope: Any = context.user_id if self._is_per_user else None
        if isinstance(self._scope, Call):
            scope = ("scope", await _asked(self._scope, "scope", context, context))
        is_own = context.shared.backends is None and standing.backends is None
        marker = None if is_own else _marker(context.shared)
        key = self._prefix(version, scope, marker)
        if self._key_fn is None:
            key.update(canonical.encode(input_data))
        else:
            part = await _asked(self._key_fn, "key_fn", input_data, context)
            key.update(b"key_fn;" + canonical.encode(part, root="key_fn(input)"))
        return key.hexdigest()

    def _remembered(self, version: str, user: str | None, marker: str | None) -> blake2b:
        prefix = self._prefixes.get((version, user, marker))
        if prefix is None:
            if len(self._prefixes) >= _MAX_PREFIXES:
                self._prefixes.clear()
            prefix = self._prefixes[version, user, marker] = self._prefix(version, user, marker)
        return prefix

    def _prefix(self, version: str, scope: Any, marker: str | None) -> blake2b:
        kind = "user" if self._is_per_user else "shared"
        parts = (self._namespace, version, kind, scope, marker)
        data = canonical.encode(parts, root="scope(context)")
        return blake2b(data, digest_size=canonical.DIGEST_BYTES)


async def _asked(call: Call, role: str, data: Any, context: WorkflowContext) -> Any:
    try:
        return await call(data, context)
    except Exception as error:
        path = f"{role}({'context' if role == 'scope' else 'input'})"
        raise CacheKeyError(
            f"{path} failed with {error!r}, so there is no key to look an answer up by. Mend the "
            "function, or leave it out.",
            path=path,
        ) from error


def _marker(shared: Shared) -> str:
    """Return what tells runs with other backends apart: their answers are other answers."""
    found = _markers.get(shared)
    if found is None:
        found = _markers[shared] = _marker_of(shared.backends)
    return found + _standing_marker()


def _standing_marker() -> str:
    """Return the same for backends that stand over every run: a cassette, say."""
    global _stood  # noqa: PLW0603 - one configuration stands at a time, and it is asked for often
    backends = standing.backends
    if backends is None:
        return ""
    if _stood[0] is not backends:
        _stood = (backends, _marker_of(backends))
    return f"+{_stood[1]}"


def _marker_of(backends: Mapping[str, Any] | None) -> str:
    named = {name: _identity(backend) for name, backend in (backends or {}).items()}
    return canonical.digest(named, root="backends") if named else ""


def _identity(backend: Any) -> Any:
    """Return a backend's stated version; else it counts as itself, whatever it has been through."""
    stated = getattr(backend, "version", None)
    if isinstance(stated, str | int):
        return stated
    try:
        return ("object", token_of(backend))
    except TypeError:  # it cannot be referred to weakly, so it counts for this run alone
        return ("object", secrets.token_hex(16))


def _checked_namespace(owner: str, namespace: str) -> str:
    if isinstance(namespace, str):
        return namespace
    raise ConfigurationError(
        f"{owner}: namespace={namespace!r} cannot be part of a key. Give a text, or leave it out "
        "to take the primitive's name."
    )


def _checked_scope(owner: str, scope: Any) -> Call | str:
    if callable(scope):
        return Call(scope, f"{owner}(scope=…)")
    if scope in ("user", "shared"):
        return str(scope)
    raise ConfigurationError(
        f"{owner}: scope={scope!r} says nothing of who shares an answer; it can be "
        f"{Names(('user', 'shared')).instead_of(scope)}, or a function of the context."
    )
