"""A key as it stands in notes: short, and still to be told from others."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable

from tta_notebook.core.preview import preview

_MOST_CHARS = 40
_DIGITS = 8


def key_label(key: Hashable) -> str:
    """Return a key as at most 40 characters on one line; a long one ends in digits of its hash.

    Of a collection the first eight elements count, as in every preview.

    Notes are kept: what a caller would not have there may not be a key, or only its hash.

    >>> key_label("eu-west"), key_label(("eu", 7))
    ('eu-west', "('eu', 7)")
    >>> key_label("a question as long as those that people ask")
    'a question as long as those th… 097952df'
    """
    whole = key if isinstance(key, str) else preview(key)
    text = whole if whole and whole.isprintable() else ascii(whole)
    if len(text) <= _MOST_CHARS:
        return text
    digits = hashlib.sha256(ascii(whole).encode()).hexdigest()[:_DIGITS]
    return f"{text[: _MOST_CHARS - _DIGITS - 2]}… {digits}"
