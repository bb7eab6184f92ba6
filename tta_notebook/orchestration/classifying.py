"""What kinds of tasks there are, and who tells them apart."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from tta_notebook.core import checked
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.orchestration.models import COMPLEXITIES, Complexity


@dataclass(frozen=True, slots=True)
class TaskKind:
    """What a task is like. `LLMPrimitive(…, output=TaskKind)` has a model say it.

    Attributes:
        complexity: "simple", "moderate" or "complex".
        characteristics: what it takes: "code", "reasoning", "summary", …; any texts, which are kept
            once each and in alphabetical order.
        reasoning: why, in one sentence.

    Raises:
        ConfigurationError: there is no such complexity, or the characteristics are no texts.

    >>> TaskKind("simple", ("summary", "extraction")).characteristics
    ('extraction', 'summary')
    """

    complexity: Complexity
    characteristics: tuple[str, ...] = ()
    reasoning: str = ""

    def __post_init__(self) -> None:
        checked.choice("TaskKind", "complexity", self.complexity, COMPLEXITIES)
        given: object = self.characteristics
        if isinstance(given, str) or not all(
            isinstance(each, str) for each in self.characteristics
        ):
            raise ConfigurationError(
                f"TaskKind: characteristics={given!r} are no texts. Give several: ('code',)."
            )
        object.__setattr__(self, "characteristics", tuple(sorted(set(self.characteristics))))


@runtime_checkable
class Classifier(Protocol):
    """Tells what kind of task a text describes: `RuleClassifier`, or anybody's own."""

    def classify(self, text: str, context: WorkflowContext) -> Awaitable[TaskKind]:
        """Return the task's kind."""
        ...
