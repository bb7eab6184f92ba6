"""Keys and passwords in what is about to be written: found, named by kind and place, never shown.

The forms of keys follow the rules of gitleaks (github.com/gitleaks/gitleaks), a little wider where
providers have lengthened their keys. Every repetition is bounded, so that no text takes long.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias, cast

Allow: TypeAlias = str | Iterable[str] | Callable[[str], bool]

# Shorter values of variables turn up in texts by chance.
MIN_SECRET_LENGTH = 8

_KEY_NAMES = re.compile(
    r"(^|[_-])(key|token|secret|passw(or)?d|credentials?)$|api_?key", re.IGNORECASE
)

_START = r"(?<![A-Za-z0-9])"
_WITH_A_DIGIT = r"(?=[A-Za-z0-9._~+/-]{0,200}?\d)"


class _Form(NamedTuple):
    """What a kind of secret looks like.

    Attributes:
        kind: what it is called.
        hints: texts of which it has one: most texts have none, and are through in no time.
        pattern: the regular expression.
    """

    kind: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]


_FORMS = tuple(
    _Form(kind, hints, re.compile(pattern))
    for kind, hints, pattern in (
        ("an Anthropic API key", ("sk-ant-",), _START + r"sk-ant-[A-Za-z0-9_-]{16,200}"),
        (
            "an OpenAI API key",
            ("sk-",),
            _START + rf"sk-(?!ant-){_WITH_A_DIGIT}[A-Za-z0-9_-]{{20,200}}",
        ),
        ("a Google API key", ("AIza",), _START + r"AIza[0-9A-Za-z_-]{35}"),
        (
            "an AWS access key",
            ("AKIA", "ASIA"),
            _START + r"(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])",
        ),
        (
            "a GitHub token",
            ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
            _START + r"(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{22})",
        ),
        ("a Hugging Face token", ("hf_",), _START + r"hf_[A-Za-z0-9]{30}"),
        ("a Slack token", ("xox",), _START + r"xox[abeoprs]-[0-9A-Za-z-]{10,200}"),
        (
            "a JSON Web Token",
            ("eyJ",),
            _START + r"eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{0,2000}",
        ),
        (
            "a bearer token",
            ("earer", "EARER"),
            _START + rf"(?i:bearer)\s{{1,8}}{_WITH_A_DIGIT}[A-Za-z0-9._~+/-]{{16,2000}}",
        ),
        (
            "a private key",
            ("PRIVATE KEY",),
            r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----",
        ),
        (
            "an address with a password",
            ("://",),
            _START + r"[a-z][a-z0-9+.-]{1,15}://[^\s/:@]{0,100}:[^\s/:@]{3,200}@",
        ),
    )
)


class Secret(NamedTuple):
    """What looks like a secret.

    Attributes:
        place: where it is, as "request.messages[0].content".
        kind: what it looks like.
    """

    place: str
    kind: str


def names_a_secret(name: str) -> bool:
    """Tell whether something of this name is a key or a password.

    >>> names_a_secret("OPENAI_API_KEY"), names_a_secret("max_tokens")
    (True, False)
    """
    return _KEY_NAMES.search(name) is not None


def first_secret(record: Mapping[str, Any], allow: Allow = ()) -> Secret | None:
    """Return the first secret in the texts of a record, or None.

    A record's chunks are read as one text: a key may come in pieces.

    Args:
        record: what JSON can hold.
        allow: texts that are no secrets, or a function that is given what was found and says so.

    >>> first_secret({"request": {"stop": ["AKIA" + "A" * 16]}})
    Secret(place='request.stop[0]', kind='an AWS access key')
    """
    is_allowed = _allowing(allow)
    own = _own_secrets()
    texts = {name: each for name, each in record.items() if name not in ("chunks", "vectors")}
    for place, text in _texts(texts, ""):
        for found, kind, _ in _matches(text, own):
            if not is_allowed(found):
                return Secret(place, kind)
    pieces = [str(text) for _, text in record.get("chunks", ())]
    for found, kind, start in _matches("".join(pieces), own):
        if not is_allowed(found):
            ends = list(accumulate(map(len, pieces)))
            return Secret(f"chunks[{bisect_right(ends, start)}]", kind)
    return None


def _allowing(allow: Allow) -> Callable[[str], bool]:
    if callable(allow):
        return allow
    texts = (allow,) if isinstance(allow, str) else tuple(allow)
    return lambda found: any(found in text for text in texts)


def _own_secrets() -> dict[str, str]:
    return {
        value: name
        for name, value in os.environ.items()
        if len(value) >= MIN_SECRET_LENGTH and names_a_secret(name)
    }


def _matches(text: str, own: Mapping[str, str]) -> Iterator[tuple[str, str, int]]:
    if len(text) < MIN_SECRET_LENGTH:
        return  # roles, pieces of answers: most texts are that short, and no secret is
    for kind, hints, pattern in _FORMS:
        if any(hint in text for hint in hints):
            for match in pattern.finditer(text):
                yield match[0], kind, match.start()
    for value, name in own.items():
        if (start := text.find(value)) >= 0:
            yield value, f"the value of the environment variable {name}", start


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, each in cast("Mapping[str, Any]", value).items():
            yield f"{place} (the name of an entry)".lstrip(), key
            yield from _texts(each, f"{place}.{key}" if place else key)
    elif isinstance(value, list | tuple):
        for index, each in enumerate(cast("Sequence[Any]", value)):
            yield from _texts(each, f"{place}[{index}]")
