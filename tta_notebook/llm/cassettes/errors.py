"""A model's failure on a cassette: what is kept of it, and the error that it comes back as."""

from __future__ import annotations

import builtins
import math
from dataclasses import dataclass
from typing import Any, Self, cast

from tta_notebook.core import errors
from tta_notebook.core.errors import (
    AuthenticationError,
    LocalModelMissingError,
    ModelError,
    WorkflowError,
)
from tta_notebook.recovery.transient import is_transient

# They say something about this machine, and replaying them would outlive their mending.
_ABOUT_THIS_MACHINE = (AuthenticationError, LocalModelMissingError)


@dataclass(frozen=True, slots=True)
class RecordedError:
    """What a failed call raised.

    Attributes:
        class_name: the name of its class.
        message: its text.
        is_begun: whether an answer had begun before.
        retryable: whether the same call may succeed later.
        status_code: the HTTP status, where there was one.
        retry_after: seconds the provider asks to wait.
        model: the model that the error names.
        provider: who the error says serves it.
    """

    class_name: str
    message: str
    is_begun: bool
    retryable: bool
    status_code: int | None = None
    retry_after: float | None = None
    model: str = ""
    provider: str | None = None

    @classmethod
    def of(cls, error: Exception, *, is_begun: bool) -> Self | None:
        """Return what is kept of an error; None for one that is not the model's.

        A bug in a function, a missing key, weights that are not installed: those are mended, and
        have no place on a recording.
        """
        if not _is_the_models(error):
            return None
        status_code: object = getattr(error, "status_code", None)
        retry_after: Any = getattr(error, "retry_after", None)
        return cls(
            class_name=type(error).__name__,
            message=str(error),
            is_begun=is_begun,
            retryable=is_transient(error),
            status_code=status_code if type(status_code) is int else None,
            retry_after=float(retry_after) if _is_finite(retry_after) else None,
            model=str(getattr(error, "model", "")),
            provider=getattr(error, "provider", None) if isinstance(error, ModelError) else None,
        )

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Self:
        """Return it from what `fields()` has given; a KeyError or TypeError if it did not."""
        stated = dict(fields)
        return cls(
            class_name=str(stated.pop("type")),
            message=str(stated.pop("message", "")),
            is_begun=bool(stated.pop("is_begun", False)),
            retryable=bool(stated.pop("retryable", False)),
            **stated,
        )

    def fields(self) -> dict[str, Any]:
        """Return it as JSON holds it, without what was not said."""
        stated = {name: getattr(self, name) for name in self.__slots__ if name != "class_name"}
        said = {name: each for name, each in stated.items() if each not in (None, "", False)}
        return {"type": self.class_name, **said}

    def again(self) -> Exception:
        """Return an error of the same class and facts; of a class elsewhere, a ModelError."""
        own: Any = getattr(errors, self.class_name, None)
        if isinstance(own, type) and issubclass(own, ModelError):
            return self._as_model_error(own, self.message)
        known: Any = getattr(builtins, self.class_name, None)
        if isinstance(known, type) and issubclass(known, OSError):
            return known(self.message)
        return self._as_model_error(ModelError, f"{self.class_name}: {self.message}")

    def _as_model_error(self, cls: type[ModelError], message: str) -> ModelError:
        return cls(
            message,
            model=self.model,
            provider=self.provider,
            status_code=self.status_code,
            retryable=self.retryable,
            retry_after=self.retry_after,
        )


def _is_the_models(error: Exception) -> bool:
    if isinstance(error, WorkflowError):
        return isinstance(error, ModelError) and not isinstance(error, _ABOUT_THIS_MACHINE)
    return is_transient(error)


def _is_finite(number: object) -> bool:
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return is_number and math.isfinite(cast("float", number))
