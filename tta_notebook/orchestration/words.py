"""The words by which rules tell what a task takes: a beginning, to be extended or replaced."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

STANDARD_WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "code": (
            *("code", "coding", "program", "function", "functions", "script", "bug", "bugs"),
            *("debug", "refactor", "unit test", "unit tests", "sql", "regex", "api", "python"),
            *("javascript", "typescript", "rust", "java", "compile", "compiler", "compiles"),
            *("stack trace", "stacktrace", "pull request"),
        ),
        "reasoning": (
            *("why", "prove", "derive", "reason", "deduce", "plan", "strategy", "trade-off"),
            *("trade-offs", "tradeoff", "tradeoffs", "root cause", "design", "architect"),
            *("architecture", "evaluate", "step by step"),
        ),
        "math": (
            *("calculate", "equation", "equations", "integral", "derivative", "probability"),
            *("statistics", "solve", "theorem", "proof"),
        ),
        "creative": (
            *("story", "poem", "slogan", "essay", "creative", "brainstorm", "name ideas"),
            *("lyrics", "dialogue"),
        ),
        "summary": (
            *("summarize", "summarise", "summary", "tl;dr", "tldr", "key points", "condense"),
            "shorten",
        ),
        "extraction": ("extract", "list all", "find all", "parse", "pull out", "names of"),
        "classification": (
            *("classify", "categorize", "categorise", "label", "sentiment", "spam", "tag"),
            "which category",
        ),
        "translation": (
            *("translate", "translation", "into english", "into german", "into french"),
            *("into spanish", "into japanese"),
        ),
        "long_context": (
            *("entire book", "entire document", "entire codebase", "entire repository"),
            *("whole book", "whole document", "whole codebase", "whole repository"),
            *("long document", "all of the files", "all of the documents", "hundred pages"),
        ),
    }
)
"""Words and phrases, by what a task takes that has them in it."""

STANDARD_HARD_WORDS: Final[tuple[str, ...]] = (
    *("complex", "comprehensive", "in depth", "in-depth", "multi-step", "expert", "production"),
    *("distributed", "concurrent", "concurrency", "security", "migrate", "migration"),
    *("end-to-end", "architect", "architecture", "prove", "theorem", "root cause", "trade-off"),
    *("trade-offs", "tradeoff", "tradeoffs"),
)
"""Words and phrases that make a task a complex one."""

STANDARD_DEMANDING: Final = frozenset({"code", "reasoning", "math", "long_context"})
"""What takes several steps; what is not here a small model does as well as a large one."""
