"""Names as pictures show them: on one line, without what cannot be drawn, and how wide they are."""

from __future__ import annotations

import re
import unicodedata

MAX_TITLE = 300

# What XML 1.0 (section 2.2) cannot hold, other control characters, and those that turn the
# direction of writing and would make a name read as another one.
_UNSHOWABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
_NARROW = frozenset("ijlI|.,:;'`!()[]{}/\\ ")
_WIDE = frozenset("mwMW@%&…—")


def one_line(text: str, limit: int = MAX_TITLE) -> str:
    r"""Return `text` on one line, without what cannot be shown, cut to `limit` characters.

    >>> one_line("two\nlines \x00")
    'two lines �'
    """
    # A name may be a whole document: only its beginning is looked at.
    shown = _UNSHOWABLE.sub("\ufffd", " ".join(text[: 4 * limit].split()))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def width_px(text: str, font_px: float) -> float:
    """Return how wide a text is at most in a common sans-serif font.

    By classes of characters, on the side of DejaVu Sans, the widest of the fonts that systems use.
    """
    return font_px * sum(map(_em, text))


def fitted(text: str, font_px: float, limit_px: float) -> str:
    """Return `text` on one line, cut where it would be wider than `limit_px`."""
    shown = one_line(text)
    room = limit_px - width_px("…", font_px)
    if width_px(shown, font_px) <= limit_px:
        return shown
    kept = ""
    for character in shown:
        room -= width_px(character, font_px)
        if room < 0:
            break
        kept += character
    return kept.rstrip() + "…"


def _em(character: str) -> float:
    if character in _NARROW:
        return 0.40
    if character in _WIDE:
        return 1.02
    if character.isascii():
        return 0.74 if character.isupper() else 0.64
    if unicodedata.combining(character):
        return 0.0
    # Half a dozen East Asian classes: Wide and Fullwidth fill a square, as emoji do.
    return 1.05 if unicodedata.east_asian_width(character) in "WF" else 0.85
