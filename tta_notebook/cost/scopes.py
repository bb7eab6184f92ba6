"""Whose money a call spends: everybody's, a user's, a workflow's, a label's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.protocols import PlannedCall
from tta_notebook.cost.entry import NONE

Scope: TypeAlias = str | Callable[[PlannedCall], object] | None


def checked_scope(owner: str, scope: object) -> Scope:
    """Return a scope that can be one, else raise."""
    if scope is None or callable(scope) or (isinstance(scope, str) and scope):
        return scope
    raise ConfigurationError(
        f"{owner}: scope={scope!r} tells no two calls apart. Give 'user', 'workflow', 'session', "
        "'model', 'provider', the name of a tag or of metadata, or a function of the planned call."
    )


def scope_value(scope: Scope, call: PlannedCall) -> str:
    """Return whose money a call spends; empty for everybody's.

    Calls that have no such user, workflow or label share what is theirs together.
    """
    if scope is None:
        return ""
    value = scope(call) if callable(scope) else _named(scope, call)
    return NONE if value is None else str(value)


def scope_label(scope: Scope, value: str) -> str:
    """Return how a scope is called in errors: "user u-1"; empty for everybody's."""
    if scope is None:
        return ""
    name = scope if isinstance(scope, str) else getattr(scope, "__name__", "scope")
    return f"{name} {value}"


def _named(scope: str, call: PlannedCall) -> object:
    context = call.context
    if scope in ("model", "provider"):
        return getattr(call, scope)
    if scope == "user":
        return context.user_id
    if scope == "session":
        return context.session_id
    if scope == "workflow":
        run = context.run
        return context.workflow_id or (None if run is None else run.workflow_name)
    name = scope.removeprefix("tag:")
    return context.tags.get(name, context.metadata.get(name))
