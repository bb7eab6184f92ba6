"""A step that says what kind of task it is given, and which model should do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tta_notebook.core import checked
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.money import shown, usd
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.protocols import Prices
from tta_notebook.llm.pricing import standard_prices
from tta_notebook.llm.usage import estimate_tokens
from tta_notebook.orchestration.classifying import Classifier
from tta_notebook.orchestration.models import STANDARD_MODELS, Complexity, ModelTable
from tta_notebook.orchestration.preferences import Preferences
from tta_notebook.orchestration.ranking import Candidate, Size, ranked
from tta_notebook.orchestration.request import checked_task, request_of
from tta_notebook.orchestration.rules import RuleClassifier

_OWNER = "TaskClassifierPrimitive"


@dataclass(frozen=True, slots=True)
class TaskClassifierRequest:
    """A task to be judged.

    Attributes:
        task_description: what is to be done.
        user_preferences: `prefer_free` (bool) and `models` (the names that may be used) go before
            the classifier's own.
        input_tokens: how many tokens the task brings along; by default those of its description.
        output_tokens: how many an answer is expected to have, for the estimate of its cost.

    Raises:
        ArgumentError: it describes no task, or prefers what cannot be.

    >>> TaskClassifierRequest("Translate this", {"models": ["local"]}).output_tokens
    500
    """

    task_description: str
    user_preferences: Mapping[str, Any] = field(default_factory=dict[str, Any])
    input_tokens: int | None = None
    output_tokens: int = 500

    def __post_init__(self) -> None:
        owner = type(self).__name__
        checked_task(owner, self.task_description)
        Preferences.read(owner, self.user_preferences)
        checked.count(owner, "output_tokens", self.output_tokens, least=0)
        if self.input_tokens is not None:
            checked.count(owner, "input_tokens", self.input_tokens, least=0)


@dataclass(frozen=True, slots=True)
class TaskClassification:
    """What a task is like, and who should do it.

    Attributes:
        complexity: "simple", "moderate" or "complex".
        characteristics: what it takes: "code", "reasoning", "summary", ….
        recommended_model: the model that should do it.
        reasoning: why.
        estimated_cost: what that would cost at most, in USD; None when the model has no price.
        fallback_models: who should do it instead, in order.

    >>> TaskClassifierPrimitive().run_sync("Summarize this").models[:2]
    ('local', 'openai:gpt-5-nano')
    """

    complexity: Complexity
    characteristics: tuple[str, ...]
    recommended_model: str
    reasoning: str
    estimated_cost: float | None
    fallback_models: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """The recommended model and its fallbacks, in order."""
        return (self.recommended_model, *self.fallback_models)


class TaskClassifierPrimitive(WorkflowPrimitive[Any, TaskClassification]):
    """Judges a task and recommends a model for it: the cheapest one that is good enough.

    Its input is a text, a mapping with `task_description`, or a `TaskClassifierRequest`. A model
    into whose context the task does not fit comes behind all into whose it does, and one that is
    too weak behind all that are not.

    Args:
        prefer_free: whether models that cost nothing come before those that cost something, or
            after them.
        models: the models to choose from.
        classifier: tells what kind of task it is: `RuleClassifier()` by default,
            `NearestClassifier(…)` or `ModelClassifier(…)`.
        prices: what models cost; by default the run's.
        name: by default "classify task".

    >>> judged = TaskClassifierPrimitive().run_sync("Classify this review as good or bad")
    >>> judged.complexity, judged.recommended_model, judged.estimated_cost
    ('simple', 'local', 0.0)
    """

    kind: ClassVar[str] = "classifier"

    def __init__(
        self,
        prefer_free: bool = True,
        *,
        models: ModelTable = STANDARD_MODELS,
        classifier: Classifier | None = None,
        prices: Prices | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, default_name="classify task")
        self.prefer_free = _checked_flag(prefer_free)
        self.models = _checked_models(models)
        self._classifier = RuleClassifier() if classifier is None else _checked(classifier)
        self._prices = _checked_prices(prices)

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return the steps that the classifier asks, if any."""
        parts = getattr(self._classifier, "parts", None)
        return [] if parts is None else list(parts())

    async def execute(self, input_data: Any, context: WorkflowContext = HERE) -> TaskClassification:
        """Judge a task.

        Raises:
            ArgumentError: the input describes no task, or prefers a model that is not there.
        """
        request = request_of(TaskClassifierRequest, input_data, self.name)
        preferences = Preferences.read("TaskClassifierRequest", request.user_preferences)
        table = self.models if preferences.models is None else self.models.only(preferences.models)
        kind = await self._classifier.classify(request.task_description, context)
        prefer_free = (
            self.prefer_free if preferences.prefer_free is None else preferences.prefer_free
        )
        prices = self._prices or context.prices or standard_prices()
        best, *others = ranked(table, kind, _size(request), prices, prefer_free=prefer_free)
        context.note("classified", complexity=kind.complexity, model=best.model.name)
        return TaskClassification(
            complexity=kind.complexity,
            characteristics=kind.characteristics,
            recommended_model=best.model.name,
            reasoning=f"{kind.reasoning.rstrip('.')}. {_why(best)}",
            estimated_cost=None if best.cost_pico is None else usd(best.cost_pico),
            fallback_models=tuple(other.model.name for other in others),
        )


def _size(request: TaskClassifierRequest) -> Size:
    given = request.input_tokens
    return Size(
        estimate_tokens(request.task_description) if given is None else given, request.output_tokens
    )


def _why(best: Candidate) -> str:
    model = best.model
    if best.overflow:
        return f"{model.name} comes nearest, though {best.overflow:,} tokens too many for it"
    if best.shortfall:
        return f"{model.name} is the strongest there is, though meant for {model.suits} tasks"
    if best.cost_pico == 0:
        return f"{model.name} is good enough and free"
    price = "its price is not known" if best.cost_pico is None else f"about {shown(best.cost_pico)}"
    return f"{model.name} is the cheapest that is good enough ({price})"


def _checked_flag(prefer_free: object) -> bool:
    if not isinstance(prefer_free, bool):
        raise ConfigurationError(
            f"{_OWNER}: prefer_free={prefer_free!r} is neither yes nor no. Give True or False; "
            "models go into models=…."
        )
    return prefer_free


def _checked_models(models: object) -> ModelTable:
    if not isinstance(models, ModelTable):
        raise ConfigurationError(
            f"{_OWNER}: models={models!r} is no table of models. Give "
            "ModelTable([ModelProfile(…), …])."
        )
    return models


def _checked(classifier: object) -> Classifier:
    if not isinstance(classifier, Classifier) or isinstance(classifier, type):
        raise ConfigurationError(
            f"{_OWNER}: classifier={classifier!r} cannot classify. Give RuleClassifier(), "
            "NearestClassifier(…) or ModelClassifier(…)."
        )
    return classifier


def _checked_prices(prices: Prices | None) -> Prices | None:
    if prices is not None and not callable(getattr(prices, "quote", None)):
        raise ConfigurationError(
            f"{_OWNER}: prices={prices!r} is a {type(prices).__name__}, which cannot be asked for "
            "a price. Give a PriceBook."
        )
    return prices
