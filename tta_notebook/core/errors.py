"""Everything this package raises on purpose, in one tree.

WorkflowError
├── CompositionError (TypeError)          steps that cannot be composed
├── ConfigurationError (ValueError)       an argument of a constructor that means nothing
├── ArgumentError (TypeError)             arguments that exclude each other
├── RouteError (LookupError)              a router or switch chose what does not exist
├── StepTimeoutError (TimeoutError)       a step was stopped because its time was over
├── CircuitOpenError                      a circuit breaker lets no call through
├── LimitExceededError                    a limit lets no call through in time
│   └── BulkheadFullError                 all places are taken, and the queue is full
├── BudgetExceededError                   a call would cost more than a budget has left
├── UnboundedCostError                    what a call may cost cannot be told, so no budget takes it
├── CompensationFailedError (ExceptionGroup)  a saga's undo failed: something is left done
├── CacheKeyError (TypeError)             an input of which no cache key can be made
├── CacheMissError (LookupError)          a cached answer was asked for, and there is none
├── CacheRecursionError (RecursionError)  a cached step waits for its own answer
├── CassetteMissError (LookupError)       a replayed call was not recorded, or not like that
├── CassetteSecretError (ValueError)      a recording holds a key or password
├── StorageError (OSError)                a file of records cannot be read or written
├── TravelError (TypeError)               what cannot go to another process, or come from it
├── WorkerLostError (ConnectionError)     a worker ended while it worked on an item
├── EncodeError (TypeError)               a value that cannot be kept as it is
├── DecodeError (ValueError)              what was kept is damaged, or no longer what it was
├── InstallError (OSError)                `tta local install` could not finish
└── ModelError                            a call to a model failed
    ├── ModelUnavailableError (ConnectionError)   not reached, or lost on the way
    ├── ModelTimeoutError (TimeoutError)          no answer in time
    ├── RateLimitError                            HTTP 429, or the provider is overloaded
    ├── AuthenticationError                       no key, or one that is refused
    ├── ModelRequestError                         the request itself is refused
    ├── ModelOutputError (ValueError)             the answer does not fit the schema
    └── LocalModelMissingError (FileNotFoundError)  the embedded model is not installed

A message says what was attempted, what was found, why that cannot work and what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self, TypeAlias


class WorkflowError(Exception):
    """The root of the tree: `except WorkflowError` catches what this package raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with the message alone, which leaves out what else it takes.
        # The attributes come as state, after the error itself: some of them, as the attempts of a
        # retry, refer to it.
        return _rebuild, (type(self), self.args), self.__dict__


class CompositionError(WorkflowError, TypeError):
    """Steps were composed that cannot be, or that cannot fit by their annotations."""


class ConfigurationError(WorkflowError, ValueError):
    """A primitive was built with an argument that means nothing."""


class ArgumentError(WorkflowError, TypeError):
    """Arguments were given together that say the same thing twice."""


class RouteError(WorkflowError, LookupError):
    """A router or switch chose a route that does not exist.

    Attributes:
        route: what was chosen.
        routes: what there is to choose from.
    """

    def __init__(self, message: str, *, route: object, routes: Iterable[object]) -> None:
        super().__init__(message)
        self.route = route
        self.routes = tuple(routes)


TimeoutKind: TypeAlias = Literal["own", "attempt", "deadline", "first_token", "between_tokens"]


class StepTimeoutError(WorkflowError, TimeoutError):
    """A step was stopped because its time was over.

    Attributes:
        kind: which time: "own" (a timeout's or a retry's whole time), "attempt" (one attempt's),
            "deadline" (the context's), "first_token" or "between_tokens" (a stream's).
        primitive: the name of the primitive whose time it was.
        timeout_s: how many seconds it had; None for a deadline.
    """

    def __init__(
        self, message: str, *, kind: TimeoutKind, primitive: str, timeout_s: float | None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.primitive = primitive
        self.timeout_s = timeout_s


class CircuitOpenError(WorkflowError):
    """A circuit breaker lets no call through; what it protects has not been asked.

    Attributes:
        primitive: the name of the breaker.
        key: which of its circuits, where it has several.
        retry_after: seconds until it tries again; None when it waits to be closed by hand.
    """

    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        primitive: str,
        key: object = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.primitive = primitive
        self.key = key
        self.retry_after = retry_after


class LimitExceededError(WorkflowError):
    """A limit of ours lets no call through in time; nothing has been asked.

    Attributes:
        limit: the name of the limit.
        retryable: whether the same call may be let through later.
        retry_after: seconds until it may be, where that is known.
    """

    def __init__(
        self, message: str, *, limit: str, retryable: bool = True, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.limit = limit
        self.retryable = retryable
        self.retry_after = retry_after


class BulkheadFullError(LimitExceededError):
    """All places are taken, and so are those of the queue."""


class BudgetExceededError(WorkflowError):
    """A call would cost more than a budget has left; nothing has been asked.

    Attributes:
        limit_usd: what may be spent.
        spent_usd: what has been, that of lost processes at its worst.
        held_usd: what is set aside for calls under way.
        scope: whose budget it is: "user u-1"; empty for everybody's.
        budget: the name of the budget.
    """

    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        limit_usd: float,
        spent_usd: float,
        held_usd: float,
        scope: str = "",
        budget: str = "",
    ) -> None:
        super().__init__(message)
        self.limit_usd = limit_usd
        self.spent_usd = spent_usd
        self.held_usd = held_usd
        self.scope = scope
        self.budget = budget


class UnboundedCostError(WorkflowError):
    """What a call may cost cannot be told beforehand, so a budget refuses it; nothing was asked.

    Attributes:
        model: the model or step that was to be asked.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, model: str) -> None:
        super().__init__(message)
        self.model = model


class CompensationFailedError(WorkflowError, ExceptionGroup[Exception]):
    """A saga's undo failed, so that something is left done; its errors are `exceptions`.

    The cause (`__cause__`) is what made the undo necessary.

    Attributes:
        uncompensated: the names of the steps that are still done.
    """

    uncompensated: tuple[str, ...] = ()

    def __new__(
        cls, message: str, errors: Sequence[Exception], uncompensated: Iterable[str] = ()
    ) -> Self:
        """Return the group of the undo's errors."""
        self = super().__new__(cls, message, errors)
        self.uncompensated = tuple(uncompensated)
        return self

    def __init__(
        self,
        message: str,
        errors: Sequence[Exception],
        uncompensated: Iterable[str] = (),  # noqa: ARG002 - kept by __new__
    ) -> None:
        super().__init__(message, errors)

    def derive(self, excs: Sequence[Exception], /) -> CompensationFailedError:  # type: ignore[override]  # a group of the same kind
        """Return a group of some of the errors; `split` and `except*` ask for it."""
        return CompensationFailedError(self.message, excs, self.uncompensated)


class CacheKeyError(WorkflowError, TypeError):
    """An input holds what no cache key can be made of.

    Attributes:
        path: where in the input, as "input['messages'][0]".
    """

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class CacheMissError(WorkflowError, LookupError):
    """A cached answer was asked for, and there is none."""

    retryable: ClassVar[bool] = False


class CacheRecursionError(WorkflowError, RecursionError):
    """A cached step waits, directly or through others, for its own answer."""

    retryable: ClassVar[bool] = False


class CassetteMissError(WorkflowError, LookupError):
    """A model was to be asked from a recording, which holds no such request, or no more of them.

    Attributes:
        path: the cassette's file.
        nearest: the closest request that it holds, as it is written there; None without any.
        difference: the first difference from that, as "temperature was 0, is 0.7".
    """

    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        path: str,
        nearest: Mapping[str, Any] | None = None,
        difference: str | None = None,
    ) -> None:
        super().__init__(message)
        self.path = path
        self.nearest = nearest
        self.difference = difference


class CassetteSecretError(WorkflowError, ValueError):
    """A recording holds what looks like a key or a password, so it was not written.

    Attributes:
        path: the cassette's file.
        place: where in the recording, as "request.messages[0].content".
        kind: what it looks like, as "an OpenAI API key"; never the secret itself.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, path: str, place: str, kind: str) -> None:
        super().__init__(message)
        self.path = path
        self.place = place
        self.kind = kind


class StorageError(WorkflowError, OSError):
    """A file of records cannot be read or written.

    Attributes:
        path: the file.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class TravelError(WorkflowError, TypeError):
    """What would have to go to another process, or come from it, cannot.

    Attributes:
        part: which part of it.
    """

    def __init__(self, message: str, *, part: str) -> None:
        super().__init__(message)
        self.part = part


class WorkerLostError(WorkflowError, ConnectionError):
    """A worker ended while it worked on an item, as often as the item may be tried again.

    Attributes:
        worker: its address.
        index: the item's place; None where it is about no item.
        attempts: how often the item was begun.
    """

    retryable: ClassVar[bool] = True

    def __init__(
        self, message: str, *, worker: str, index: int | None = None, attempts: int = 1
    ) -> None:
        super().__init__(message)
        self.worker = worker
        self.index = index
        self.attempts = attempts


class EncodeError(WorkflowError, TypeError):
    """A value holds what cannot be written down so that it comes back as it was.

    Attributes:
        path: where in the value, as "value['messages'][0]".
    """

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class DecodeError(WorkflowError, ValueError):
    """What was written down is damaged, or its classes are no longer what they were."""


class InstallError(WorkflowError, OSError):
    """The embedded model could not be installed; nothing half-done is left behind."""


class ModelError(WorkflowError):
    """A call to a model failed.

    Attributes:
        model: the model that was asked for.
        provider: who serves it, where known.
        status_code: the HTTP status, where there was one.
        retryable: whether the same call may succeed later.
        retry_after: seconds the provider asks to wait, where it said so.
        headers: the headers of the answer, with lower-case names.
    """

    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        model: str,
        provider: str | None = None,
        status_code: int | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.model = model
        self.provider = provider
        self.status_code = status_code
        self.retryable = self.default_retryable if retryable is None else retryable
        self.retry_after = retry_after
        self.headers = {name.lower(): value for name, value in (headers or {}).items()}


class ModelUnavailableError(ModelError, ConnectionError):
    """The model could not be reached, or the connection was lost on the way."""

    default_retryable = True


class ModelTimeoutError(ModelError, TimeoutError):
    """The model did not answer in time."""

    default_retryable = True


class RateLimitError(ModelError):
    """The provider limits the rate of calls or is overloaded."""

    default_retryable = True


class AuthenticationError(ModelError):
    """There is no key for the provider, or it refuses the one it was given."""


class ModelRequestError(ModelError):
    """The provider refuses the request itself; sending it again cannot help."""


class ModelOutputError(ModelError, ValueError):
    """The model's answer does not fit the asked-for schema.

    Attributes:
        text: the answer as it came.
    """

    text: str = ""


class LocalModelMissingError(ModelError, FileNotFoundError):
    """The embedded model is not installed."""


def _rebuild(cls: type[WorkflowError], args: tuple[Any, ...]) -> WorkflowError:
    error = cls.__new__(cls, *args)
    error.args = args
    return error


class Names:
    """A set of names as a message shows it, with the one that was probably meant.

    >>> print(Names(["fast", "smart"]).instead_of("fats"))
    'fast', 'smart' (did you mean 'fast'?)
    """

    def __init__(self, names: Iterable[object]) -> None:
        self._names = list(names)

    def __str__(self) -> str:
        shown = ", ".join(repr(name) for name in self._names[:12])
        return shown + (", …" if len(self._names) > 12 else "") if shown else "none"  # noqa: PLR2004

    def instead_of(self, wrong: object) -> str:
        """Return the names, with a suggestion when `wrong` looks like one of them."""
        from difflib import get_close_matches  # noqa: PLC0415 - only mistakes need it

        texts = [name for name in self._names if isinstance(name, str)]
        close = get_close_matches(wrong, texts, 1) if isinstance(wrong, str) else []
        return f"{self} (did you mean {close[0]!r}?)" if close else str(self)
