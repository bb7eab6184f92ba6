"""Where in a workflow each of its primitives stands, so that spans can say it elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.scale.messages import SpanRecord


class Places:
    """Where in a workflow each of its primitives stands: the same on both sides.

    Args:
        workflow: the workflow.
    """

    def __init__(self, workflow: WorkflowPrimitive[Any, Any]) -> None:
        self._paths: dict[int, str] = {}
        self._primitives: dict[str, WorkflowPrimitive[Any, Any]] = {}
        for path, primitive in _walk(workflow):
            self._paths[id(primitive)] = path
            self._primitives[path] = primitive
        self._strangers: dict[tuple[str, str], WorkflowPrimitive[Any, Any]] = {}

    def path(self, primitive: WorkflowPrimitive[Any, Any]) -> str | None:
        """Return where a primitive stands; None for one that was made on the way."""
        return self._paths.get(id(primitive))

    def primitive(self, record: SpanRecord) -> WorkflowPrimitive[Any, Any]:
        """Return whose span it is, or a stand-in with its name and kind."""
        key = (record.name, record.kind)
        found = None if record.path is None else self._primitives.get(record.path)
        if found is not None and (found.name, found.kind) == key:
            return found
        if key not in self._strangers:
            self._strangers[key] = _stranger(*key)
        return self._strangers[key]


def _walk(
    workflow: WorkflowPrimitive[Any, Any],
) -> Iterator[tuple[str, WorkflowPrimitive[Any, Any]]]:
    seen: set[int] = set()
    waiting: list[tuple[str, WorkflowPrimitive[Any, Any]]] = [("0", workflow)]
    while waiting:
        path, primitive = waiting.pop()
        if id(primitive) in seen:
            continue
        seen.add(id(primitive))
        yield path, primitive
        for number, (_, part) in enumerate(primitive.parts()):
            waiting.append((f"{path}/{number}", part))


def _stranger(name: str, kind: str) -> WorkflowPrimitive[Any, Any]:
    cls = type("Elsewhere", (_Elsewhere,), {"kind": kind})
    stranger: WorkflowPrimitive[Any, Any] = cls(name=name)
    return stranger


class _Elsewhere(WorkflowPrimitive[Any, Any]):
    """Stands in a trace for a primitive that another process made on the way."""

    kind: ClassVar[str] = "elsewhere"
