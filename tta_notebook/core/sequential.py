"""One step after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import aclosing
from functools import cached_property
from typing import Any, ClassVar, cast

from tta_notebook.core import chunks, fit, observe
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import CompositionError, ConfigurationError
from tta_notebook.core.primitive import Chunks, TIn, TOut, WorkflowPrimitive, joined_names

Steps = Sequence[WorkflowPrimitive[Any, Any]]


class SequentialPrimitive(WorkflowPrimitive[TIn, TOut]):
    """Steps one after the other, each with what the one before gave; written `a >> b`.

    A step that reads streams is fed chunk by chunk by the streaming step before it.

    Args:
        primitives: at least one step; whatever `>>` takes.
        name: by default the steps' names.

    Raises:
        ConfigurationError: there is no step.
        CompositionError: something is no step, or two neighbours cannot fit by their annotations.

    >>> tidy = SequentialPrimitive([str.strip, str.lower])
    >>> tidy.run_sync("  Hello ")
    'hello'
    """

    kind: ClassVar[str] = "sequence"

    def __init__(self, primitives: Iterable[Any], *, name: str | None = None) -> None:
        from tta_notebook.core.algebra import as_primitive  # noqa: PLC0415 - it makes sequences

        self.steps = tuple(as_primitive(thing) for thing in primitives)
        super().__init__(name=name, default_name=joined_names(self.steps, " >> "))
        if not self.steps:
            raise ConfigurationError(
                "SequentialPrimitive([]): a sequence of no steps was asked for, which has nothing "
                "to do. Give at least one step."
            )
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            _check_fit(before, after)

    @classmethod
    def joined(cls, first: Steps, then: Steps) -> SequentialPrimitive[Any, Any]:
        """Return the sequence of both, of which only the seam is new and is checked.

        A long chain is built one `>>` at a time; what each end holds was checked when it was made.
        """
        _check_fit(first[-1], then[0])
        whole: SequentialPrimitive[Any, Any] = cls.__new__(cls)
        whole.steps = (*first, *then)
        whole.name = joined_names(whole.steps, " >> ")
        return whole

    @cached_property
    def _stages(self) -> Sequence[_Stage]:
        return _stages(self.steps)

    @cached_property
    def _chain(self) -> Sequence[observe.Step]:
        return [(stage, stage.direct) for stage in self._stages]

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return the steps in order."""
        return [("", step) for step in self.steps]

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Run every step in this task, one after the other."""
        return cast("TOut", await observe.run_chain(self._chain, input_data, context))

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        *before, last = self._stages
        value = input_data
        for stage in before:
            value = await stage.execute(value, context)
        async with aclosing(last.stream(value, context)) as pieces:
            async for chunk in pieces:
                yield chunk

    @property
    def input_type(self) -> Any:
        """What the first step takes."""
        return self.steps[0].input_type

    @property
    def output_type(self) -> Any:
        """What the last step gives."""
        return self.steps[-1].output_type


class _Piped:
    """Neighbouring steps joined by streams: the first gives chunks, the others pass them on."""

    direct = None

    def __init__(self, steps: Sequence[WorkflowPrimitive[Any, Any]]) -> None:
        self._head, *self._readers = steps

    def stream(self, value: Any, context: WorkflowContext) -> Chunks:
        pieces = self._head.stream(value, context)
        for reader in self._readers:
            pieces = reader.pipe(pieces, context)
        return pieces

    async def execute(self, value: Any, context: WorkflowContext) -> Any:
        return await chunks.collect(self.stream(value, context))


_Stage = WorkflowPrimitive[Any, Any] | _Piped


def _stages(steps: Sequence[WorkflowPrimitive[Any, Any]]) -> tuple[_Stage, ...]:
    groups: list[list[WorkflowPrimitive[Any, Any]]] = []
    for step in steps:
        if step.takes_stream and groups:
            groups[-1].append(step)
        else:
            groups.append([step])
    return tuple(group[0] if len(group) == 1 else _Piped(group) for group in groups)


def _check_fit(before: WorkflowPrimitive[Any, Any], after: WorkflowPrimitive[Any, Any]) -> None:
    if (types := fit.mismatch(before, after)) is None:
        return
    gives, takes = (fit.type_name(annotation) for annotation in types)
    one, other = repr(before.name), repr(after.name)
    raise CompositionError(
        f"{one} >> {other}: {one} gives {gives} and {other} takes {takes}, which never meet. "
        "Put a step between them that converts, or correct the annotation."
    )
