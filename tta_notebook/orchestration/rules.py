"""Telling what kind of task a text describes by the words in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import cast

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.orchestration.classifying import TaskKind
from tta_notebook.orchestration.models import Complexity
from tta_notebook.orchestration.words import (
    STANDARD_DEMANDING,
    STANDARD_HARD_WORDS,
    STANDARD_WORDS,
)

_LONG_TEXT_WORDS = 400
_LONG_CONTEXT_WORDS = 6_000
# What is asked for stands at a text's beginning or end; the rest is what it is asked about. That
# also bounds the time: ten patterns take 4 ms for 8,000 characters, and 5 s for 8,000,000.
_READ_CHARACTERS = 4_000


class RuleClassifier:
    """Looks for whole words: fast, free, the same every time, and English.

    A task is complex if it has a hard word in it or takes two demanding things; moderate if it
    takes one of them, or is longer than 400 words; else simple.

    Args:
        words: words and phrases by what a task takes that has them in it.
        hard: words and phrases that make a task a complex one.
        demanding: what takes several steps.

    Raises:
        ConfigurationError: the words are no table of texts.

    >>> import asyncio
    >>> rules = RuleClassifier(words={**STANDARD_WORDS, "legal": ["contract", "clause"]})
    >>> kind = asyncio.run(rules.classify("Classify this clause", WorkflowContext()))
    >>> kind.complexity, kind.characteristics
    ('simple', ('classification', 'legal'))
    """

    def __init__(
        self,
        words: Mapping[str, Iterable[str]] = STANDARD_WORDS,
        *,
        hard: Iterable[str] = STANDARD_HARD_WORDS,
        demanding: Iterable[str] = STANDARD_DEMANDING,
    ) -> None:
        if not isinstance(words, Mapping):
            raise ConfigurationError(
                f"RuleClassifier: words={words!r} is a {type(words).__name__}, in which no words "
                "can be looked up. Give {'code': ['function', 'script'], …}."
            )
        self._patterns = {name: _pattern(f"words[{name!r}]", some) for name, some in words.items()}
        self._hard = _pattern("hard", hard)
        self._demanding = frozenset(_texts("demanding", demanding))

    async def classify(self, text: str, context: WorkflowContext) -> TaskKind:  # noqa: ARG002 - a Classifier
        """Return the task's kind."""
        length = len(text.split())
        signs = self._signs(_asked(text), length)
        complexity, cause = self._complexity(_asked(text), signs, length)
        said = ", ".join(f"{name} ({sign})" for name, sign in sorted(signs.items())) or "none"
        return TaskKind(complexity, tuple(signs), f"{complexity}: {cause}; signs: {said}")

    def _signs(self, asked: str, length: int) -> dict[str, str]:
        """Return what the task takes, with the word that says so."""
        found = {name: pattern.search(asked) for name, pattern in self._patterns.items()}
        signs = {name: match.group() for name, match in found.items() if match}
        if length > _LONG_CONTEXT_WORDS:
            signs["long_context"] = f"{length:,} words"
        return signs

    def _complexity(
        self, asked: str, signs: Mapping[str, str], length: int
    ) -> tuple[Complexity, str]:
        demanding = sorted(self._demanding & signs.keys())
        if hard := self._hard.search(asked):
            return "complex", f"{hard.group()!r} is asked for"
        if len(demanding) > 1:
            return "complex", f"it takes {' and '.join(demanding)}"
        if demanding:
            return "moderate", f"it takes {demanding[0]}"
        if length > _LONG_TEXT_WORDS:
            return "moderate", f"it has {length:,} words"
        return "simple", "nothing in it asks for several steps"


def _asked(text: str) -> str:
    """Return the beginning and the end of a long text, without the words that the cut parts."""
    text = text.strip()
    if len(text) <= 2 * _READ_CHARACTERS:
        return text
    beginning = text[:_READ_CHARACTERS].rsplit(maxsplit=1)[0]
    return f"{beginning}\n…\n{text[-_READ_CHARACTERS:].split(maxsplit=1)[-1]}"


def _pattern(name: str, words: Iterable[str]) -> re.Pattern[str]:
    phrases = [r"\s+".join(map(re.escape, phrase.split())) for phrase in _texts(name, words)]
    # Whole words: "classify" is no class to be written, "longitude" nothing long. Without any words
    # the pattern is one that nothing fits.
    return re.compile(rf"(?<!\w)(?:{'|'.join(phrases) or '(?!)'})(?!\w)", re.IGNORECASE)


def _texts(name: str, words: object) -> list[str]:
    texts: list[object] = []
    if isinstance(words, Iterable) and not isinstance(words, str):
        texts = list(cast("Iterable[object]", words))
        if all(isinstance(text, str) and text.strip() for text in texts):
            return cast("list[str]", texts)
    raise ConfigurationError(
        f"RuleClassifier: {name}={words!r} is no list of words. Give texts: ['function', 'script']."
    )
