"""Telling what kind of task a text describes by examples."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.per_loop import Opened, PerLoop
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.protocols import Embedder
from tta_notebook.orchestration.classifying import TaskKind


class _Example(NamedTuple):
    text: str
    kind: TaskKind
    vector: Sequence[float]


class NearestClassifier:
    """Takes the kind of the example that means most nearly the same, in any language it knows.

    The examples are embedded when they are first needed, once.

    Args:
        embedder: turns texts into vectors, as `EmbeddingPrimitive()` does.
        examples: texts and the kinds of task that they stand for, several a kind.

    Raises:
        ConfigurationError: there is no example, or one that stands for nothing.

    >>> import asyncio
    >>> from tta_notebook import EmbeddingPrimitive
    >>> lengths = EmbeddingPrimitive(lambda texts: [[len(text), 9.0] for text in texts])
    >>> examples = {"Hi": TaskKind("simple"), "Prove the theorem": TaskKind("complex", ("math",))}
    >>> nearest = NearestClassifier(lengths, examples)
    >>> asyncio.run(nearest.classify("Derive the formula", WorkflowContext())).complexity
    'complex'
    """

    def __init__(self, embedder: Embedder, examples: Mapping[str, TaskKind]) -> None:
        if not callable(getattr(embedder, "embed", None)):
            raise ConfigurationError(
                f"NearestClassifier: embedder={embedder!r} cannot embed. Give EmbeddingPrimitive()."
            )
        if (
            not isinstance(examples, Mapping)
            or not examples
            or not all(isinstance(kind, TaskKind) for kind in examples.values())
        ):
            raise ConfigurationError(
                f"NearestClassifier: examples={examples!r} is no table of examples. Give "
                "{'text': TaskKind(…)} with at least one."
            )
        self._embedder = embedder
        self._kinds = dict(examples)
        self._examples: tuple[_Example, ...] = ()
        self._lock = PerLoop(_lock)

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return the embedder, where it is a step."""
        step = self._embedder
        return [("embed", step)] if isinstance(step, WorkflowPrimitive) else []

    async def classify(self, text: str, context: WorkflowContext) -> TaskKind:  # noqa: ARG002 - a Classifier
        """Return the kind of the nearest example; of two as near, of the first."""
        examples = await self._embedded()
        (vector,) = await self._embedder.embed([text])
        nearest = max(examples, key=lambda example: _cosine(vector, example.vector))
        likeness = _cosine(vector, nearest.vector)
        kind = nearest.kind
        reasoning = f"{kind.complexity}: most like {nearest.text!r} ({likeness:.2f} of 1)"
        return TaskKind(kind.complexity, kind.characteristics, reasoning)

    async def _embedded(self) -> tuple[_Example, ...]:
        if not self._examples:
            # Whoever comes first embeds them, and the others wait.
            async with await self._lock.get():
                if not self._examples:
                    vectors = await self._embedder.embed(list(self._kinds))
                    pairs = zip(self._kinds.items(), vectors, strict=True)
                    self._examples = tuple(_Example(*pair, vector) for pair, vector in pairs)
        return self._examples


def _lock() -> Opened[asyncio.Lock]:
    return Opened(asyncio.Lock())


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    length = math.sqrt(sum(x * x for x in one) * sum(x * x for x in other))
    return sum(x * y for x, y in zip(one, other, strict=True)) / length if length else 0.0
