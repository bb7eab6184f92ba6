"""Telling what kind of task a text describes by asking a model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from tta_notebook.core.algebra import as_primitive
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import ModelOutputError
from tta_notebook.core.preview import preview
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.orchestration.classifying import TaskKind
from tta_notebook.orchestration.words import STANDARD_WORDS

# Models like to answer in a fenced block of Markdown, with words around it.
_FENCED = re.compile(r"```\w*\n(.*?)\n\s*```", re.DOTALL)


class ModelClassifier:
    """Asks a model what kind of task a text describes.

    Args:
        llm: the step to ask; best `LLMPrimitive(…, output=TaskKind)`, which holds the model to the
            shape. A mapping or JSON will do.
        characteristics: what a task may take, for the model to choose from.

    >>> import asyncio
    >>> from tta_notebook import LLMPrimitive, ScriptedModel
    >>> model = ScriptedModel('{"complexity": "moderate", "characteristics": ["code"]}')
    >>> asking = ModelClassifier(LLMPrimitive(model))
    >>> asyncio.run(asking.classify("Sort a list", WorkflowContext())).characteristics
    ('code',)
    """

    def __init__(self, llm: Any, *, characteristics: Iterable[str] = tuple(STANDARD_WORDS)) -> None:
        self._llm = as_primitive(llm)
        self._question = (
            "Judge the task below; do not do it. Answer with a JSON object: "
            '{"complexity": "simple", "moderate" or "complex", "characteristics": a list of any '
            f'of {json.dumps(sorted(characteristics))}, "reasoning": one sentence}}.\n\nTask:\n'
        )

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return the step that is asked."""
        return [("ask", self._llm)]

    async def classify(self, text: str, context: WorkflowContext) -> TaskKind:
        """Return what the model says.

        Raises:
            ModelOutputError: its answer does not say it; carries the answer as `text`.
        """
        answer = await self._llm.execute(self._question + text, context)
        try:
            return _read(answer)
        except (ValueError, TypeError, KeyError) as error:
            problem = ModelOutputError(
                f"{self._llm.name!r} was asked what kind of task this is and answered "
                f"{preview(answer)}, which does not say it ({type(error).__name__}: {error}). Ask "
                "with LLMPrimitive(…, output=TaskKind), ask a larger model, or classify by rules.",
                model=self._llm.name,
            )
            problem.text = str(answer)
            raise problem from error


def _read(answer: object) -> TaskKind:
    if isinstance(answer, TaskKind):
        return answer
    said: Any = _parsed(answer) if isinstance(answer, str) else answer
    if not isinstance(said, Mapping):
        raise TypeError(f"a {type(said).__name__} is no object with a complexity")
    given = cast("Mapping[str, Any]", said)
    characteristics = given.get("characteristics") or ()
    reasoning = str(given.get("reasoning") or "")
    return TaskKind(given["complexity"], characteristics, reasoning)


def _parsed(answer: str) -> Any:
    fenced = _FENCED.search(answer)
    return json.loads(fenced[1] if fenced else answer)
