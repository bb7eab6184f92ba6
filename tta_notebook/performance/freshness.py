"""How long answers are good for, and for what when they are no longer fresh."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Self

from tta_notebook.core import checked
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.performance.entry import Entry, now_s

_OWNER = "CachePrimitive"


@dataclass(frozen=True, slots=True)
class Freshness:
    """The times of a cache; its arguments in seconds.

    Attributes:
        ttl_s: how long an answer is fresh; infinity for ever.
        revalidate_s: how long after that it is given while a new one is fetched.
        if_error_s: how long after that it is given when the call fails.
        beta: how early popular answers are refreshed; 0 for not before they expire.
        negative_s: how long errors of which types are remembered.
    """

    ttl_s: float
    revalidate_s: float = 0.0
    if_error_s: float = 0.0
    beta: float = 0.0
    negative_s: Mapping[type[Exception], float] = field(default_factory=dict[Any, float])

    @classmethod
    def checked(
        cls,
        *,
        ttl_seconds: float | None,
        stale_while_revalidate: float,
        stale_if_error: float,
        early_refresh: float,
        negative_ttl: Mapping[type[Exception], float] | None,
    ) -> Self:
        """Return the times that a cache's arguments state.

        Raises:
            ConfigurationError: one of them means nothing.
        """
        return cls(
            math.inf
            if ttl_seconds is None
            else checked.seconds(_OWNER, "ttl_seconds", ttl_seconds, zero=False),
            checked.seconds(_OWNER, "stale_while_revalidate", stale_while_revalidate),
            checked.seconds(_OWNER, "stale_if_error", stale_if_error),
            checked.number(_OWNER, "early_refresh", early_refresh, least=0),
            _checked_negative(negative_ttl),
        )

    def answer(self, value: Any, compute_s: float) -> Entry:
        """Return a new entry for an answer."""
        at_s = now_s()
        expires_at_s = at_s + self.ttl_s
        drop_at_s = expires_at_s + max(self.revalidate_s, self.if_error_s)
        return Entry(value, at_s, expires_at_s, drop_at_s, compute_s=compute_s)

    def negative(self, error: Exception) -> Entry | None:
        """Return a new entry for an error, if such errors are remembered."""
        for kind, ttl_s in self.negative_s.items():
            if isinstance(error, kind):
                at_s = now_s()
                return Entry(None, at_s, at_s + ttl_s, at_s + ttl_s, error=error)
        return None

    def may_revalidate(self, entry: Entry, at_s: float) -> bool:
        """Tell whether an expired answer is given while a new one is fetched."""
        return entry.error is None and at_s < entry.expires_at_s + self.revalidate_s

    def may_stand_in(self, entry: Entry | None, at_s: float) -> bool:
        """Tell whether an expired answer is given in place of an error."""
        if entry is None or entry.error is not None:
            return False
        return at_s < entry.expires_at_s + self.if_error_s

    def is_early(self, entry: Entry, at_s: float, rng: Random) -> bool:
        """Tell whether a fresh answer is to be refreshed now: by chance, more and more likely."""
        if not self.beta or entry.error is not None or entry.expires_at_s == math.inf:
            return False
        # XFetch: the time is put forward by an exponentially distributed share of what a call
        # takes, so that of many readers one comes first. 1 - random() is never 0.
        ahead_s = -entry.compute_s * self.beta * math.log(1 - rng.random())
        return at_s + ahead_s >= entry.expires_at_s


def _checked_negative(
    given: Mapping[type[Exception], float] | None,
) -> Mapping[type[Exception], float]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"{_OWNER}: negative_ttl={given!r} does not say which errors are remembered for how "
            "long. Give a mapping of error types to seconds."
        )
    for kind in given:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise ConfigurationError(
                f"{_OWNER}: negative_ttl names {kind!r}, which is no type of error that a call "
                "could end in. Give subclasses of Exception."
            )
    return {
        kind: checked.seconds(_OWNER, f"negative_ttl[{kind.__name__}]", ttl_s, zero=False)
        for kind, ttl_s in given.items()
    }
