"""Models that are asked one after the other until an answer is good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tta_notebook.core.calling import Call
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.function import LambdaPrimitive
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.orchestration.bill import Bill
from tta_notebook.recovery.fallback import FallbackPrimitive
from tta_notebook.recovery.original import copied


class Answer:
    """What a model said.

    Attributes:
        model: who said it.
        content: what.
        is_valid: whether it passed the check.
    """

    def __init__(self, model: str, content: Any) -> None:
        self.model = model
        self.content = content
        self.is_valid = True


class Attempts:
    """The models of one execution, in order.

    Args:
        models: their steps by their names; at least one.
        validate: tells whether an answer is good.
        bill: what all of it is charged to.
        name: of the cascade, in traces.

    Attributes:
        tried: who was asked, in order.
    """

    def __init__(
        self,
        models: Mapping[str, WorkflowPrimitive[Any, Any]],
        validate: Call | None,
        bill: Bill,
        *,
        name: str,
    ) -> None:
        self.tried: list[str] = []
        self._levels = [self._level(model, step) for model, step in models.items()]
        self._validate = validate
        self._bill = bill
        self._name = name

    async def answer(self, messages: list[Any], context: WorkflowContext) -> Answer:
        """Return the first good answer, or the last one that was not.

        Raises:
            Exception: the first model's error, when there is no answer.
        """
        first, *others = self._levels
        # The caller's own messages may be in other executions as well.
        said = copied(messages)
        if others:
            cascade = FallbackPrimitive[Any, Answer](
                first, others, fallback_if_result=self._is_bad, name=self._name
            )
            return await cascade.execute(said, context)
        answer = await first.execute(said, context)
        await self._is_bad(answer, context)
        return answer

    def _level(self, model: str, step: WorkflowPrimitive[Any, Any]) -> LambdaPrimitive[Any, Answer]:
        async def ask(messages: Any, context: WorkflowContext) -> Answer:
            self.tried.append(model)
            content = await self._bill.charge(step.execute, messages, context, model)
            return Answer(model, content)

        return LambdaPrimitive(ask, name=model)

    async def _is_bad(self, answer: Answer, context: WorkflowContext) -> bool:
        if self._validate is not None:
            verdict = await self._bill.charge(
                self._validate, answer.content, context, f"check of {answer.model}"
            )
            answer.is_valid = bool(verdict)
        return not answer.is_valid
