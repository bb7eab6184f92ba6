"""A step around another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tta_notebook.core.primitive import TIn, TOut, WorkflowPrimitive


class WrapperPrimitive(WorkflowPrimitive[TIn, TOut]):
    """A step around another one that takes and gives what the other does: a retry, a cache.

    Subclasses override `execute` and `_stream`.

    Args:
        primitive: what is wrapped; whatever `>>` takes.
        prefix: the first word of the default name, "retry" of "retry ask"; other wrappers between
            the two are left out of it.
        name: how it is called in traces and pictures.
    """

    def __init__(self, primitive: Any, *, prefix: str, name: str | None) -> None:
        from tta_notebook.core.algebra import as_primitive  # noqa: PLC0415 - it knows all primitives

        self.primitive: WorkflowPrimitive[TIn, TOut] = as_primitive(primitive)
        super().__init__(name=name, default_name=f"{prefix} {subject(self.primitive)}")

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return what is wrapped."""
        return [("", self.primitive)]

    @property
    def can_stream(self) -> bool:
        """Whether what is wrapped gives its output piece by piece."""
        return self.primitive.can_stream

    @property
    def input_type(self) -> Any:
        """What the wrapped step takes."""
        return self.primitive.input_type

    @property
    def output_type(self) -> Any:
        """What the wrapped step gives."""
        return self.primitive.output_type


def subject(primitive: WorkflowPrimitive[Any, Any]) -> str:
    """Return the name of what unnamed wrappers are around: "ask" of "retry timeout ask"."""
    while isinstance(primitive, WrapperPrimitive) and not primitive.is_named:
        primitive = primitive.primitive
    return primitive.name
