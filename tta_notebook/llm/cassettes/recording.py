"""One call on a cassette: the request, the answer piece by piece, and what it used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Self, cast

from tta_notebook.core import clock
from tta_notebook.core.usage import Usage
from tta_notebook.llm.backends.base import ModelDelta
from tta_notebook.llm.cassettes.errors import RecordedError
from tta_notebook.llm.cassettes.request import Asked
from tta_notebook.llm.text import Source

# Microseconds: finer is noise, and makes lines long.
_DIGITS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A call to a model and what came of it.

    Attributes:
        asked: the request.
        call: which call it was, counted from 0 in the order of asking.
        chunks: the answer's pieces, each with its seconds since the request.
        vectors: an embedding's.
        usage: what the call used; None where the model did not say.
        finish_reason: why the answer ended.
        model: the model that served it, "" where it did not say.
        provider: who served it.
        source: "live", "local" or "mock".
        recorded_at: the day of the request, UTC, whose prices hold.
        duration_s: seconds from the request to the end.
        error: what the call raised; None when it succeeded.
    """

    asked: Asked
    call: int
    provider: str
    source: Source
    recorded_at: date
    duration_s: float
    chunks: tuple[tuple[float, str], ...] = ()
    vectors: tuple[tuple[float, ...], ...] | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    model: str = ""
    error: RecordedError | None = None

    @property
    def is_begun(self) -> bool:
        """Whether the model gave any sign of an answer."""
        return self.error is None or self.error.is_begun

    def fields(self) -> dict[str, Any]:
        """Return it as JSON holds it, in the order in which a person reads it."""
        stated: dict[str, Any] = {
            "call": self.call,
            "kind": self.asked.kind,
            "request": self.asked.fields,
            "chunks": [list(chunk) for chunk in self.chunks] or None,
            "vectors": None if self.vectors is None else [list(each) for each in self.vectors],
            "error": None if self.error is None else self.error.fields(),
            "usage": None if self.usage is None else _usage_fields(self.usage),
            "finish_reason": self.finish_reason,
            "model": self.model or None,
            "provider": self.provider,
            "source": self.source,
            "recorded_at": self.recorded_at.isoformat(),
            "first_token_s": self.chunks[0][0] if self.chunks else None,
            "duration_s": self.duration_s,
            "key": self.asked.key,
        }
        return {name: each for name, each in stated.items() if each is not None}

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Self:
        """Return the recording that `fields()` gave; `key` and `first_token_s` follow from it.

        Raises:
            KeyError: something is missing; also TypeError and ValueError: something else is there.
        """
        kind, vectors, usage = fields["kind"], fields.get("vectors"), fields.get("usage")
        if kind not in ("chat", "embed"):
            raise ValueError(f"its kind is {kind!r}")
        error = fields.get("error")
        if kind == "embed" and vectors is None and error is None:
            raise KeyError("vectors")
        return cls(
            asked=Asked(kind, _mapping(fields["request"])),
            call=int(fields["call"]),
            chunks=tuple((float(at_s), _text(text)) for at_s, text in fields.get("chunks", ())),
            vectors=None if vectors is None else tuple(tuple(map(float, each)) for each in vectors),
            usage=None if usage is None else Usage(**usage),
            finish_reason=fields.get("finish_reason"),
            model=_text(fields.get("model", "")),
            provider=_text(fields["provider"]),
            source=cast("Source", _text(fields["source"])),
            recorded_at=date.fromisoformat(fields["recorded_at"]),
            duration_s=float(fields["duration_s"]),
            error=None if error is None else RecordedError.read(_mapping(error)),
        )


class Draft:
    """A recording under way; it is begun when the model is asked.

    Args:
        asked: the request.
        call: which call it is.
    """

    def __init__(self, asked: Asked, call: int) -> None:
        self._asked = asked
        self._call = call
        self._start_s = clock.monotonic()
        self._date = datetime.fromtimestamp(clock.now_ns() / 1e9, UTC).date()
        self._chunks: list[tuple[float, str]] = []
        self._usage: Usage | None = None
        self._finish_reason: str | None = None
        self._model = ""
        self._is_begun = False

    def hear(self, delta: ModelDelta) -> None:
        """Take down a piece of the answer."""
        self._is_begun = True
        self._usage = delta.usage or self._usage
        self._finish_reason = delta.finish_reason or self._finish_reason
        self._model = delta.model or self._model
        if delta.text:
            self._chunks.append((self._elapsed_s(), delta.text))

    def done(
        self,
        provider: str,
        source: Source,
        *,
        vectors: Sequence[Sequence[float]] | None = None,
        usage: Usage | None = None,
        error: RecordedError | None = None,
    ) -> Recording:
        """Return the recording of what has come."""
        return Recording(
            asked=self._asked,
            call=self._call,
            provider=provider,
            source=source,
            recorded_at=self._date,
            duration_s=self._elapsed_s(),
            chunks=tuple(self._chunks),
            vectors=None if vectors is None else tuple(map(tuple, vectors)),
            usage=usage or self._usage,
            finish_reason=self._finish_reason,
            model=self._model,
            error=error,
        )

    def failed(self, error: Exception, provider: str, source: Source) -> Recording | None:
        """Return the recording of a failure; None for one that is not the model's."""
        kept = RecordedError.of(error, is_begun=self._is_begun)
        return None if kept is None else self.done(provider, source, error=kept)

    def _elapsed_s(self) -> float:
        return round(clock.monotonic() - self._start_s, _DIGITS)


def as_vectors(found: Any, count: int) -> list[list[float]] | None:
    """Return what an embedder gave as vectors; None if it is something else, which is not kept."""
    try:
        vectors = [[float(number) for number in vector] for vector in found]
    except (TypeError, ValueError):
        return None
    is_sound = all(math.isfinite(number) for vector in vectors for number in vector)
    return vectors if is_sound and len(vectors) == count else None


def _usage_fields(usage: Usage) -> dict[str, Any]:
    stated = {name: getattr(usage, name) for name in usage.__slots__}
    return {name: each for name, each in stated.items() if each}


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    raise TypeError(f"{value!r} is no mapping")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"{value!r} is no text")
