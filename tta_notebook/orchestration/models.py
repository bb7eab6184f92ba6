"""The models that tasks are given to: a table that people replace by their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from tta_notebook.core import checked
from tta_notebook.core.errors import ArgumentError, ConfigurationError, Names

Complexity: TypeAlias = Literal["simple", "moderate", "complex"]

COMPLEXITIES: tuple[Complexity, ...] = get_args(Complexity)


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """What a model is good for.

    Attributes:
        name: as `LLMPrimitive` takes it ("openai:gpt-5-mini", "local").
        suits: the hardest tasks that it does well: "simple", "moderate" or "complex".
        strengths: what it does better than others of its class ("code", "long_context", …).
        context_tokens: how much it can read and write in one call.
        is_free: whether asking it costs nothing.

    >>> ModelProfile("local", "simple", is_free=True).rank
    0
    """

    name: str
    suits: Complexity
    strengths: frozenset[str] = frozenset()
    context_tokens: int = 128_000
    is_free: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigurationError(
                f"ModelProfile: name={self.name!r} names no model. Give it as LLMPrimitive takes "
                "it: 'local', 'openai:gpt-5-mini'."
            )
        strengths: object = self.strengths
        if isinstance(strengths, str):
            raise ConfigurationError(
                f"ModelProfile {self.name!r}: strengths={strengths!r} is one text, whose "
                f"letters are no strengths. Give several texts: {{{strengths!r}}}."
            )
        checked.choice("ModelProfile", "suits", self.suits, COMPLEXITIES)
        checked.count("ModelProfile", "context_tokens", self.context_tokens)
        # Any iterable of texts will do.
        object.__setattr__(self, "strengths", frozenset(self.strengths))

    @property
    def rank(self) -> int:
        """How hard the tasks are that it does well, from 0."""
        return COMPLEXITIES.index(self.suits)


class ModelTable:
    """Models by their names, in the order of preference among equals.

    Args:
        models: the profiles.

    Raises:
        ConfigurationError: there is none, or two have one name.

    >>> ModelTable([ModelProfile("local", "simple", is_free=True)]).names
    ('local',)
    """

    def __init__(self, models: Iterable[ModelProfile]) -> None:
        self._models: dict[str, ModelProfile] = {}
        for model in models:
            if not isinstance(model, ModelProfile):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigurationError(
                    f"ModelTable: {model!r} is a {type(model).__name__}. Give ModelProfiles."
                )
            if model.name in self._models:
                raise ConfigurationError(f"ModelTable: {model.name!r} is there twice. Keep one.")
            self._models[model.name] = model
        if not self._models:
            raise ConfigurationError("ModelTable: there is no model in it. Give at least one.")

    def __iter__(self) -> Iterator[ModelProfile]:
        return iter(self._models.values())

    def __contains__(self, name: object) -> bool:
        return name in self._models

    def __getitem__(self, name: str) -> ModelProfile:
        if name not in self._models:
            known = Names(self._models).instead_of(name)
            raise ArgumentError(f"ModelTable: there is no model {name!r}; there is {known}.")
        return self._models[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names."""
        return tuple(self._models)

    def only(self, names: Iterable[str]) -> ModelTable:
        """Return a table of those that are named, in the order in which they are.

        Raises:
            ArgumentError: there is no such model.
        """
        return ModelTable(self[name] for name in dict.fromkeys(names))

    def covering(self, names: Iterable[str]) -> ModelTable:
        """Return a table of these; those of which nothing is known count as fit for anything."""
        return ModelTable(
            self._models.get(name, ModelProfile(name, "complex")) for name in dict.fromkeys(names)
        )


# A beginning, not a benchmark: the providers' own classes of size, and context windows, as their
# model pages gave them in 2025. What suits a team's tasks is for the team's own evaluation to say.
STANDARD_MODELS = ModelTable(
    [
        ModelProfile("local", "simple", frozenset({"summary", "extraction"}), 8_192, is_free=True),
        ModelProfile("openai:gpt-5-nano", "simple", frozenset({"classification"}), 400_000),
        ModelProfile("google:gemini-2.5-flash", "moderate", frozenset({"long_context"}), 1_048_576),
        ModelProfile("openai:gpt-5-mini", "moderate", frozenset({"reasoning"}), 400_000),
        ModelProfile(
            "anthropic:claude-haiku-4-5", "moderate", frozenset({"code", "creative"}), 200_000
        ),
        ModelProfile("google:gemini-2.5-pro", "complex", frozenset({"long_context"}), 1_048_576),
        ModelProfile("openai:gpt-5", "complex", frozenset({"reasoning", "math"}), 400_000),
        ModelProfile(
            "anthropic:claude-sonnet-4-5", "complex", frozenset({"code", "creative"}), 200_000
        ),
    ]
)
