"""Which errors pass by themselves, so that the same call may succeed later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

# RFC 9110: 408 and 5xx; RFC 8470: 425; RFC 6585: 429. 409 is a conflict with another writer, which
# OpenAI's and Anthropic's own clients retry as well; 529 is Anthropic's "overloaded".
_TRANSIENT_STATUS = frozenset({408, 409, 425, 429})

# google/rpc/code.proto gives these the HTTP statuses 503, 429, 409 and 504.
_TRANSIENT_GRPC = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "DEADLINE_EXCEEDED"})

# botocore/retries/standard.py: AWS reports throttling under HTTP 400, too, so the code decides.
_TRANSIENT_AWS = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)

# By the package and the class's name, so that nothing is imported: of an error's classes the most
# derived one that is listed decides.
_CLASSES: Mapping[tuple[str, str], bool] = {
    ("builtins", "OSError"): True,  # ConnectionError and TimeoutError are OSErrors
    # A file that is not there will not come, and what may not be read will not be shown.
    ("builtins", "FileNotFoundError"): False,
    ("builtins", "FileExistsError"): False,
    ("builtins", "PermissionError"): False,
    ("builtins", "IsADirectoryError"): False,
    ("builtins", "NotADirectoryError"): False,
    ("io", "UnsupportedOperation"): False,
    ("ssl", "SSLCertVerificationError"): False,
    ("asyncio", "IncompleteReadError"): True,
    ("http", "IncompleteRead"): True,
    ("subprocess", "TimeoutExpired"): True,
    # A group whose undo failed has left something done: the same call would do it twice.
    ("tta_notebook", "CompensationFailedError"): False,
    ("aiohttp", "ClientConnectionError"): True,
    ("aiohttp", "ClientPayloadError"): True,
    ("aiohttp", "ClientConnectorCertificateError"): False,
    ("anthropic", "APIConnectionError"): True,
    ("botocore", "ConnectionError"): True,
    ("botocore", "HTTPClientError"): True,
    ("botocore", "SSLError"): False,
    ("httpcore", "NetworkError"): True,
    ("httpcore", "TimeoutException"): True,
    ("httpcore", "RemoteProtocolError"): True,
    ("httpx", "TransportError"): True,
    ("httpx", "LocalProtocolError"): False,
    ("httpx", "UnsupportedProtocol"): False,
    ("openai", "APIConnectionError"): True,
    ("redis", "ConnectionError"): True,
    ("redis", "TimeoutError"): True,
    ("redis", "TryAgainError"): True,
    ("redis", "AuthenticationError"): False,
    ("redis", "AuthorizationError"): False,
    ("requests", "RequestException"): False,  # it is an OSError, as a malformed URL is then
    ("requests", "ConnectionError"): True,
    ("requests", "Timeout"): True,
    ("requests", "ChunkedEncodingError"): True,
    ("requests", "SSLError"): False,
    ("urllib3", "ProtocolError"): True,
    ("urllib3", "TimeoutError"): True,
    ("websockets", "ConnectionClosed"): True,
}


def is_transient(error: BaseException) -> bool:
    """Tell whether an error may pass by itself, so that the same call may succeed later.

    An attribute `retryable` decides; else an HTTP status (`status_code`, `status`, `code`, or that
    of `response`): 408, 409, 425, 429 and 5xx pass, no other does; else the class: connection
    errors, timeouts and OS errors, but no missing files or permissions; the connection errors of
    well-known clients; and a group of which every member passes. Nothing else does: programming
    errors, refused requests, exceeded budgets, open circuits. It never raises.

    >>> is_transient(ConnectionResetError()), is_transient(TypeError())
    (True, False)
    """
    if not isinstance(error, Exception):
        return False  # cancelled, interrupted
    try:
        return _is_transient(error)
    except Exception:  # noqa: BLE001 - what cannot be judged is not retried
        return False


def _is_transient(error: BaseException) -> bool:
    retryable = read(error, "retryable")
    if isinstance(retryable, bool):
        return retryable
    answered = _by_answer(error)
    return _by_class(error) if answered is None else answered


def _by_answer(error: BaseException) -> bool | None:
    """Judge by what a server has answered; None where the error does not tell."""
    if _aws_code(error) in _TRANSIENT_AWS:
        return True
    if (status := _status(error)) is not None:
        return status in _TRANSIENT_STATUS or 500 <= status < 600  # noqa: PLR2004 - server errors
    state = _grpc_state(error)
    return None if state is None else state in _TRANSIENT_GRPC


def _by_class(error: BaseException) -> bool:
    for cls in type(error).__mro__:
        listed = _CLASSES.get((cls.__module__.partition(".")[0], cls.__name__))
        if listed is not None:
            return listed
    if isinstance(error, BaseExceptionGroup):
        members = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return all(is_transient(member) for member in members)
    return False


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error carries, wherever its client puts it."""
    response = read(error, "response")
    found = [read(error, name) for name in ("status_code", "status", "code")]
    found += [read(response, name) for name in ("status_code", "status")]
    if isinstance(response, Mapping):
        found.append(_inner(cast("Any", response), "ResponseMetadata", "HTTPStatusCode"))
    for status in found:
        if isinstance(status, int) and not isinstance(status, bool) and 100 <= status < 600:  # noqa: PLR2004 - what is a status
            return int(status)
    return None


def _aws_code(error: BaseException) -> str | None:
    response = read(error, "response")
    code = _inner(cast("Any", response), "Error", "Code") if isinstance(response, Mapping) else None
    return code if isinstance(code, str) else None


def _inner(response: Mapping[str, Any], first: str, second: str) -> Any:
    part = response.get(first)
    return cast("Any", part).get(second) if isinstance(part, Mapping) else None


def _grpc_state(error: BaseException) -> str | None:
    if not any(cls.__module__.partition(".")[0] == "grpc" for cls in type(error).__mro__):
        return None
    code = read(error, "code")
    name = read(code() if callable(code) else code, "name")
    return name if isinstance(name, str) else None


def read(thing: object, name: str) -> Any:
    """Return an attribute, or None where there is none or it cannot be read."""
    try:
        return getattr(thing, name, None)
    except Exception:  # noqa: BLE001 - a property that raises tells nothing
        return None
