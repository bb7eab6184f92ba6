"""A share as a fact: a text that knows its number."""

from __future__ import annotations

from typing import Self


class Share(str):
    """A text about a share, with the share itself, which a page shows as a gauge.

    Args:
        share: between 0 and 1; what lies beyond is shown as full.
        text: what to say; by default the share in per cent.
        warns_at: above which share it is a bad sign.

    >>> fact = Share(0.5)
    >>> fact, fact.share, Share(0.8, "$8.00 of $10.00")
    ('50.0 %', 0.5, '$8.00 of $10.00')
    """

    __slots__ = ("share", "warns_at")

    share: float
    warns_at: float | None

    def __new__(cls, share: float, text: str | None = None, warns_at: float | None = None) -> Self:
        """Make it, as texts are made: they cannot be changed after that."""
        fact = super().__new__(cls, f"{share:.1%}".replace("%", " %") if text is None else text)
        fact.share, fact.warns_at = share, warns_at
        return fact

    def __getnewargs__(self) -> tuple[float, str, float | None]:  # type: ignore[override]  # what `__new__` takes, for copies
        return self.share, str(self), self.warns_at
