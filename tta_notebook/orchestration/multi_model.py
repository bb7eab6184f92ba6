"""A step that gives each task to the model that suits it, and to the next when that fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

from tta_notebook.core import checked
from tta_notebook.core.algebra import as_primitive
from tta_notebook.core.calling import Call
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import ArgumentError, ConfigurationError, Names
from tta_notebook.core.preview import preview
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.usage import Usage
from tta_notebook.llm.primitive import LLMPrimitive
from tta_notebook.llm.usage import estimate_tokens
from tta_notebook.orchestration.attempts import Attempts
from tta_notebook.orchestration.bill import Bill, cost_of_all
from tta_notebook.orchestration.models import STANDARD_MODELS, ModelTable
from tta_notebook.orchestration.preferences import Preferences
from tta_notebook.orchestration.request import (
    checked_messages,
    checked_task,
    conversation_about,
    request_of,
)
from tta_notebook.orchestration.task_classifier import (
    TaskClassification,
    TaskClassifierPrimitive,
    TaskClassifierRequest,
)

_OWNER = "MultiModelWorkflow"


@dataclass(frozen=True, slots=True)
class MultiModelRequest:
    """A task to be done by whichever model suits it.

    Attributes:
        task_description: what is to be done.
        messages: the conversation to answer; by default the description as the user's message.
        user_preferences: see `TaskClassifierRequest`.
        output_tokens: how many tokens an answer is expected to have.

    Raises:
        ArgumentError: it describes no task, or prefers what cannot be.

    >>> MultiModelRequest("Translate this", user_preferences={"prefer_free": False}).messages
    ()
    """

    task_description: str
    messages: Sequence[Any] = ()
    user_preferences: Mapping[str, Any] = field(default_factory=dict[str, Any])
    output_tokens: int = 500

    def __post_init__(self) -> None:
        owner = type(self).__name__
        checked_task(owner, self.task_description)
        checked_messages(owner, self.messages)
        Preferences.read(owner, self.user_preferences)
        checked.count(owner, "output_tokens", self.output_tokens, least=0)


@dataclass(frozen=True, slots=True)
class MultiModelResponse:
    """What came of a task.

    Attributes:
        content: the answer.
        model: who gave it.
        classification: how the task was judged.
        tried: who was asked, in order.
        is_valid: whether the answer passed the check; True without one.
        usage: tokens of all that were asked, classifier and check included; None when none said so.
        cost_usd: what all calls to models cost together; None when one of them has no price.
    """

    content: Any
    model: str
    classification: TaskClassification
    tried: tuple[str, ...]
    is_valid: bool
    usage: Usage | None
    cost_usd: float | None


class MultiModelWorkflow(WorkflowPrimitive[Any, MultiModelResponse]):
    """Judges a task, asks the model that suits it, checks the answer, and goes on to the next.

    Its input is a text, a list of messages, a mapping with `task_description`, or a
    `MultiModelRequest`. A model that fails, or whose answer does not pass the check, is followed by
    the classification's fallbacks. When all fail, the error of the first is raised
    with the others in its `fallback_errors`; when answers came and none passed, the last one is
    given, with `is_valid` False.

    Args:
        executor_primitives: a step for each model, which gets the conversation; left out or empty,
            an `LLMPrimitive` for each model of the table.
        prefer_free: whether models that cost nothing come before those that cost something, or
            after them.
        models: what the models are good for.
        classifier: judges tasks, in place of a `TaskClassifierPrimitive(prefer_free)`: a step that
            gets a `TaskClassifierRequest` and gives a `TaskClassification`.
        validate: a function of `(answer)` or `(answer, context)`, sync or async, that tells whether
            it is good.
        max_models: how many models are asked at most.
        name: by default "multi-model".

    >>> ask = MultiModelWorkflow({"local": lambda messages: "Paris"})
    >>> response = ask.run_sync("Extract the city: 'I live in Paris'")
    >>> response.content, response.model, response.classification.complexity
    ('Paris', 'local', 'simple')
    """

    kind: ClassVar[str] = "multi_model"

    def __init__(
        self,
        executor_primitives: Mapping[str, Any] | None = None,
        prefer_free: bool = True,
        *,
        models: ModelTable = STANDARD_MODELS,
        classifier: Any = None,
        validate: Callable[..., Any] | None = None,
        max_models: int = 3,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, default_name="multi-model")
        self.executors = _executors(executor_primitives, models)
        self.max_models = checked.count(_OWNER, "max_models", max_models)
        self.classifier: WorkflowPrimitive[Any, Any] = (
            TaskClassifierPrimitive(prefer_free, models=models.covering(self.executors))
            if classifier is None
            else as_primitive(classifier)
        )
        self._validate = None if validate is None else Call(validate, f"{_OWNER}(validate=…)")

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return the classifier and the executors."""
        return [("classify", self.classifier), *self.executors.items()]

    async def execute(self, input_data: Any, context: WorkflowContext = HERE) -> MultiModelResponse:
        """Do a task.

        Raises:
            ArgumentError: the input describes no task, or no executor is there for it.
            Exception: the error of the first model, when all have failed.
        """
        request = request_of(MultiModelRequest, input_data, self.name)
        bill = Bill()
        judged = await self._judged(request, bill, context)
        attempts = Attempts(self._chosen(judged), self._validate, bill, name=f"{self.name} models")
        said = conversation_about(request.task_description, request.messages)
        answer = await attempts.answer(said, context)
        response = MultiModelResponse(
            content=answer.content,
            model=answer.model,
            classification=judged,
            tried=tuple(attempts.tried),
            is_valid=answer.is_valid,
            usage=bill.usage,
            cost_usd=cost_of_all([bill]),
        )
        # What it reports are the sums of calls that have been counted.
        context.reused(response)
        return response

    async def _judged(
        self, request: MultiModelRequest, bill: Bill, context: WorkflowContext
    ) -> TaskClassification:
        asked = TaskClassifierRequest(
            request.task_description,
            request.user_preferences,
            input_tokens=_tokens_of(request.messages),
            output_tokens=request.output_tokens,
        )
        step = self.classifier
        judged = await bill.charge(step.execute, asked, context, step.name)
        if not isinstance(judged, TaskClassification):
            raise ArgumentError(
                f"{self.name!r}: its classifier {step.name!r} gave {preview(judged)}, which "
                "recommends no model. Return a TaskClassification."
            )
        return judged

    def _chosen(self, judged: TaskClassification) -> dict[str, WorkflowPrimitive[Any, Any]]:
        chosen = [model for model in judged.models if model in self.executors][: self.max_models]
        if not chosen:
            raise ArgumentError(
                f"{self.name!r}: the classifier recommends {judged.recommended_model!r}, and there "
                f"is a step for {Names(self.executors)}. Give one for it in executor_primitives."
            )
        return {model: self.executors[model] for model in chosen}


def _executors(given: object, models: ModelTable) -> dict[str, WorkflowPrimitive[Any, Any]]:
    if not given:
        return {model: LLMPrimitive(model) for model in models.names}
    steps = cast("Mapping[Any, Any]", given)
    if not isinstance(given, Mapping) or not all(isinstance(model, str) for model in steps):
        raise ConfigurationError(
            f"{_OWNER}: executor_primitives={preview(steps)} is no table of steps by model. Give "
            "{'local': LLMPrimitive('local'), …}, or leave it out."
        )
    return {model: as_primitive(step) for model, step in steps.items()}


def _tokens_of(messages: Sequence[Any]) -> int | None:
    """Return a careful count of what messages of any kind have; None without any."""
    return sum(estimate_tokens(str(message)) for message in messages) if messages else None
