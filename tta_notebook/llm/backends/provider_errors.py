"""From what pydantic-ai and the SDKs below it raise to errors of our tree."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tta_notebook.core.errors import (
    ConfigurationError,
    ModelError,
    ModelRequestError,
    ModelTimeoutError,
    ModelUnavailableError,
    WorkflowError,
)
from tta_notebook.llm.backends.http_errors import error_for_status, message_in

# Where an exception may come from and still be about the model: a fault in our own code, or in the
# caller's, passes as it is.
_FOREIGN = ("pydantic_ai", "openai", "anthropic", "google", "httpx", "httpx2", "httpcore")


@contextmanager
def translated(provider: str, model: str) -> Generator[None, None, None]:
    """Raise what the block raises as an error of our tree."""
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"{provider}:{model} was to be asked, but {error.name or error} cannot be imported, "
            "which talks to providers. Run `pip install 'tta-notebook[providers]'`."
        ) from error
    except WorkflowError:
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _FOREIGN:
            raise
        raise _error_for(error, provider, model) from error


def _error_for(error: Exception, provider: str, model: str) -> ModelError:
    chain = list(_chain(error))
    for link in chain:
        status = _status_of(link)
        if status is not None:
            return error_for_status(
                status,
                message_in(getattr(link, "body", None)) or str(link),
                model=model,
                provider=provider,
                headers=_headers_in(chain),
                retry_after=getattr(link, "retry_after", None),
                # An exhausted quota is a 429 too, but waiting does not fill it.
                retryable=False if _has_name(chain, "QuotaExceeded") else None,
            )
    return _error_without_status(error, chain, provider, model)


def _error_without_status(
    error: Exception, chain: list[BaseException], provider: str, model: str
) -> ModelError:
    said = f"{type(error).__name__}: {error}".strip(": ")
    if _has_name(chain, "Timeout"):
        return ModelTimeoutError(
            f"{provider}:{model} was asked and did not answer in time ({said}). Try again, or pass "
            "a longer timeout=.",
            model=model,
            provider=provider,
        )
    if _has_name(chain, "UserError"):
        return ModelRequestError(
            f"{provider}:{model} cannot be asked like this: {said}. Change the request.",
            model=model,
            provider=provider,
        )
    return ModelUnavailableError(
        f"{provider}:{model} was asked and lost: {said}. Try again later, or fall back on another "
        "model.",
        model=model,
        provider=provider,
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an exception and what it was raised from, down to the first."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _status_of(link: BaseException) -> int | None:
    for name in ("status_code", "code"):  # Google's SDK calls it `code`
        status = getattr(link, name, None)
        if isinstance(status, int) and not isinstance(status, bool):
            return status
    return None


def _headers_in(chain: list[BaseException]) -> Mapping[str, str]:
    for link in chain:
        for holder in (link, getattr(link, "response", None)):
            headers: Any = getattr(holder, "headers", None)
            if headers:
                return dict(headers)
    return {}


def _has_name(chain: list[BaseException], part: str) -> bool:
    return any(part in cls.__name__ for link in chain for cls in type(link).__mro__)
