"""What providers say about their rate limits in the headers of their answers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from tta_notebook.core import clock

Resource: TypeAlias = Literal["requests", "tokens"]

# OpenAI's and its followers' "x-ratelimit-remaining-tokens: 149984" with "…-reset-tokens: 6m0s";
# Anthropic's "anthropic-ratelimit-tokens-remaining" with "…-tokens-reset: 2026-01-01T00:00:00Z".
# (platform.openai.com/docs/guides/rate-limits and docs.anthropic.com/en/api/rate-limits.)
_NAMES = ("x-ratelimit-{field}-{resource}", "anthropic-ratelimit-{resource}-{field}")

_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a resource, as a provider says.

    Attributes:
        remaining: what may still be used now.
        reset_s: seconds until all of it may be used again; None where it does not say.
    """

    remaining: float
    reset_s: float | None


def allowance(headers: Mapping[str, str], resource: Resource) -> Allowance | None:
    """Return what headers say about a resource, or None when they say nothing that can be read.

    Args:
        headers: with lower-case names.
        resource: of what.

    >>> allowance({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m30s"},
    ...           "requests")
    Allowance(remaining=0.0, reset_s=90.0)
    """
    for name in _NAMES:
        remaining = _number(headers.get(name.format(field="remaining", resource=resource)))
        if remaining is not None:
            said = headers.get(name.format(field="reset", resource=resource))
            return Allowance(remaining, None if said is None else duration_s(said))
    return None


def duration_s(text: str) -> float | None:
    """Return the seconds that a text means, or None when it cannot be read.

    It may be a number of seconds, a duration as Go writes it, or a moment as RFC 3339 does.

    >>> duration_s("20"), duration_s("6m0s"), duration_s("120ms"), duration_s("soon")
    (20.0, 360.0, 0.12, None)
    """
    text = text.strip().lower()
    seconds = _number(text)
    if seconds is not None:
        return seconds
    parts = _PARTS.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return max(0.0, moment.timestamp() - clock.wall_ns(clock.source()) / 1e9)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None
