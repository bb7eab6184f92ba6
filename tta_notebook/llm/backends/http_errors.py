"""From an HTTP answer that refuses a request to an error of our tree."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from tta_notebook.core import clock
from tta_notebook.core.errors import (
    AuthenticationError,
    ModelError,
    ModelRequestError,
    ModelTimeoutError,
    ModelUnavailableError,
    RateLimitError,
)

# 529 is Anthropic's "overloaded".
_OVERLOADED = 529
_ERRORS: Mapping[int, type[ModelError]] = {
    401: AuthenticationError,
    403: AuthenticationError,
    408: ModelTimeoutError,
    429: RateLimitError,
    504: ModelTimeoutError,
    _OVERLOADED: RateLimitError,
}
_SERVER_ERROR = 500

_ADVICE: Mapping[type[ModelError], str] = {
    AuthenticationError: "Check the key, and what it may use.",
    RateLimitError: "Wait and try again, for example with RetryPrimitive.",
    ModelTimeoutError: "Try again, or ask for less at once.",
    ModelUnavailableError: "Try again later, or fall back on another model.",
    ModelRequestError: "Change the request: sending it again gives the same answer.",
}


def error_for_status(
    status_code: int,
    said: str,
    *,
    model: str,
    provider: str,
    headers: Mapping[str, str] | None = None,
    retry_after: float | None = None,
    retryable: bool | None = None,
) -> ModelError:
    """Return the error that an answer with this status means.

    Args:
        status_code: the HTTP status.
        said: what the answer says about it.
        model: the model that was asked.
        provider: who answered.
        headers: of the answer.
        retry_after: seconds to wait, where they are known from elsewhere than the headers.
        retryable: whether the same call may succeed later; None leaves it to the kind of error.
    """
    error_type = _ERRORS.get(status_code) or (
        ModelUnavailableError if status_code >= _SERVER_ERROR else ModelRequestError
    )
    lowered = {name.lower(): value for name, value in (headers or {}).items()}
    return error_type(
        f"{provider}:{model} was asked and answered with HTTP {status_code}: "
        f"{said.strip() or 'nothing more'}. {_ADVICE[error_type]}",
        model=model,
        provider=provider,
        status_code=status_code,
        retryable=retryable,
        retry_after=retry_after_s(lowered) if retry_after is None else retry_after,
        headers=lowered,
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `retry-after-ms` or `retry-after` (RFC 9110) ask for, if they do.

    Args:
        headers: with lower-case names.

    >>> retry_after_s({"retry-after": "2"}), retry_after_s({"retry-after-ms": "250"})
    (2.0, 0.25)
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1e3
    stated = headers.get("retry-after")
    seconds = _number(stated)
    return seconds if seconds is not None else _seconds_until(stated)


def message_in(body: Any) -> str:
    """Return the message in a JSON error body of any of the usual shapes, or the body as text."""
    if isinstance(body, Mapping):
        for key in ("error", "message", "detail"):
            if found := body.get(key):  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                return message_in(found)
    return "" if body is None else str(body)  # pyright: ignore[reportUnknownArgumentType]


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    # "nan" and "inf" are numbers to Python, but no times to wait.
    return number if number is not None and 0 <= number < float("inf") else None


def _seconds_until(date: str | None) -> float | None:
    try:
        instant = parsedate_to_datetime(date) if date else None
    except ValueError:
        return None
    if instant is None:
        return None
    now = datetime.fromtimestamp(clock.wall_ns(clock.source()) / 1e9, UTC)
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())
