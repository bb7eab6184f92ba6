"""Answers that are given again to questions that mean the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, NamedTuple, cast

from tta_notebook.core import checked, chunks, clock
from tta_notebook.core.calling import Call
from tta_notebook.core.chunks import Chunks
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import ArgumentError, ConfigurationError
from tta_notebook.core.events import StreamChunk
from tta_notebook.core.primitive import TIn, TOut
from tta_notebook.core.protocols import Embedder
from tta_notebook.core.usage import Tally
from tta_notebook.core.version import VersionWatch
from tta_notebook.core.wrapper import WrapperPrimitive
from tta_notebook.performance.alike import Alike, Kept
from tta_notebook.performance.copies import copied
from tta_notebook.performance.keys import Keys, Scope
from tta_notebook.performance.statistics import Statistics
from tta_notebook.performance.veto import veto as no_other_answer

_OWNER = "SemanticCachePrimitive"

Veto = Callable[[str, str], str | None]


class SemanticCachePrimitive(WrapperPrimitive[TIn, TOut]):
    """Gives the answer to an earlier question that means the same.

    Two questions mean the same when their vectors are close, and a veto finds nothing that sets
    them apart: embeddings take "do" and "do not", or 5 and 50, for nearly one. Answers are never
    shared between models or other versions of the step, users, or inputs that differ in anything
    besides the text. A guess stays a guess: the trace shows each such hit, with its similarity.

    Put a `CachePrimitive` around it: that answers the same text without an embedding, and makes one
    call of many at once. An embedder that fails costs a miss, never the answer.

    Args:
        primitive: the step; whatever `>>` takes.
        embedder: turns texts into vectors: `EmbeddingPrimitive()`, or anything with `embed(texts)`.
        threshold: the least cosine at which two texts mean the same. It depends on the embedder:
            measure it on questions of your own.
        ttl_seconds: how long an answer is good; None for ever.
        max_size: the most answers that are kept; the least recently used goes first.
        text_fn: a function of `(data)` or `(data, ctx)` that gives the text of an input, or a pair
            of the text and the rest, which has to be equal. By default the input is a text, or a
            mapping whose "prompt" is.
        veto: a function of two texts that says why they cannot share an answer, or None. It is
            asked for every candidate. By default `tta_notebook.performance.veto`.
        scope: who shares answers; see `CachePrimitive`.
        version: of the step, in place of the one that is made of its code.
        name: by default the step's name after "semantic cache".

    Raises:
        ArgumentError: an input has no text that could be embedded.

    >>> class Letters:
    ...     async def embed(self, texts):
    ...         return [[text.lower().count(letter) for letter in "abcdefgh"] for text in texts]
    >>> cached = SemanticCachePrimitive(str.upper, Letters(), threshold=0.99)
    >>> cached.run_sync("a bed"), cached.run_sync("bed, a")
    ('A BED', 'A BED')
    """

    kind: ClassVar[str] = "semantic_cache"

    def __init__(
        self,
        primitive: Any,
        embedder: Embedder,
        *,
        threshold: float = 0.9,
        ttl_seconds: float | None = 3600.0,
        max_size: int = 1000,
        text_fn: Callable[..., Any] | None = None,
        veto: Veto | None = no_other_answer,
        scope: Scope = "user",
        version: str | int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(primitive, prefix="semantic cache", name=name)
        if isinstance(embedder, type) or not callable(getattr(embedder, "embed", None)):
            raise ConfigurationError(
                f"{_OWNER}: embedder={embedder!r} cannot embed. Give EmbeddingPrimitive(), or "
                "another object with an embed(texts) method."
            )
        if veto is not None and not callable(veto):
            raise ConfigurationError(
                f"{_OWNER}: veto={veto!r} cannot be asked. Give a function of two texts, or None."
            )
        self._embedder = embedder
        self.threshold = checked.share(_OWNER, "threshold", threshold)
        if ttl_seconds is not None:
            ttl_seconds = checked.seconds(_OWNER, "ttl_seconds", ttl_seconds, zero=False)
        self.ttl_seconds = ttl_seconds
        self.max_size = checked.count(_OWNER, "max_size", max_size)
        self._text_fn = None if text_fn is None else Call(text_fn, f"{_OWNER}(text_fn=…)")
        self._veto = veto
        self._watch = VersionWatch(self.primitive if version is None else None)
        self._stated_version = None if version is None else str(version)
        self._keys = Keys(_OWNER, self.primitive.name, scope, None)
        self._alike = Alike(self.max_size, self.ttl_seconds)
        self._counts = Statistics()

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Give the answer to a question that means the same, or ask.

        Raises:
            ArgumentError: there is no text in the input.
            CacheKeyError: the rest of the input cannot be compared.
        """
        place = await self._place(input_data, context)
        found = self._found(place, context)
        if found is not None:
            return cast("TOut", self._given(found, context))
        spent = context.tally()
        self._watch.begin()
        try:
            result = await self.primitive.execute(input_data, context)
        finally:
            self._watch.end()
        self._keep(place, result, spent, context)
        return result

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        place = await self._place(input_data, context)
        found = self._found(place, context)
        if found is not None:
            yield chunks.whole(self._given(found, context))
            return
        pieces: list[StreamChunk] = []
        spent = context.tally()
        self._watch.begin()
        try:
            async with aclosing(self.primitive.stream(input_data, context)) as passed:
                async for chunk in passed:
                    pieces.append(chunk)
                    yield chunk
        finally:
            self._watch.end()
        self._keep(place, await chunks.collect(_again(pieces)), spent, context)

    def get_stats(self) -> dict[str, Any]:
        """Return what was counted; `hit_rate` is in per cent."""
        counts = self._counts
        return {
            "size": len(self._alike),
            "hits": counts.hits,
            "misses": counts.misses,
            "vetoes": counts.vetoes,
            "errors": counts.errors,
            "tokens_saved": counts.tokens_saved,
            "hit_rate": counts.hit_rate,
        }

    def clear(self) -> None:
        """Forget all answers."""
        self._alike.clear()

    # Where an input belongs

    async def _place(self, input_data: Any, context: WorkflowContext) -> _Place:
        text, rest = await self._parts(input_data, context)
        version = self._version()
        partition = await self._keys.of(version, rest, context)
        vector: Any = None
        try:
            (vector,) = await self._embedder.embed([text])
        except Exception as error:  # noqa: BLE001 - a cache's back end
            self._counts.errors += 1
            context.note("cache_error", operation="embed", error=f"{type(error).__name__}: {error}")
        return _Place(text, version, partition, vector)

    def _version(self) -> str:
        return self._stated_version or self._watch.current()

    async def _parts(self, input_data: Any, context: WorkflowContext) -> tuple[str, Any]:
        text: Any = input_data
        rest: Any = None
        if self._text_fn is not None:
            text = await self._text_fn(input_data, context)
            if isinstance(text, tuple) and len(cast("tuple[Any, ...]", text)) == 2:  # noqa: PLR2004 - text and rest
                text, rest = cast("tuple[Any, Any]", text)
        elif isinstance(input_data, Mapping):
            rest = dict(cast("Mapping[Any, Any]", input_data))
            text = rest.pop("prompt", None)
        if isinstance(text, str):
            return text, rest
        kind = type(cast("object", input_data)).__name__
        raise ArgumentError(
            f"{_OWNER} {self.name!r}: of an input of type {kind} the text is "
            f"{text!r}, and only texts have a meaning to compare. Give a text, a mapping with a "
            "'prompt', or text_fn=… which returns the text, or the text and the rest."
        )

    # Looking up and keeping

    def _found(self, place: _Place, context: WorkflowContext) -> Kept | None:
        if place.vector is not None:
            try:
                for near in self._alike.near(place.partition, place.vector, self.threshold):
                    why = None if self._veto is None else self._veto(place.text, near.item.text)
                    if why is None:
                        self._alike.used(near.key)
                        self._note_hit(near.item, near.similarity, context)
                        return near.item
                    self._counts.vetoes += 1
                    context.note("veto", similarity=near.similarity, because=why)
            except ValueError as error:  # vectors of another length: the embedder was changed
                self._counts.errors += 1
                context.note("cache_error", operation="compare", error=str(error))
        self._counts.misses += 1
        context.note("cache", hit=False, semantic=True)
        return None

    def _note_hit(self, kept: Kept, similarity: float, context: WorkflowContext) -> None:
        saved = kept.spent.saved()
        self._counts.hits += 1
        self._counts.tokens_saved += saved["saved"]
        context.note(
            "cache",
            hit=True,
            semantic=True,
            similarity=similarity,
            age_s=clock.monotonic() - kept.stored_s,
            **saved,
        )

    def _given(self, kept: Kept, context: WorkflowContext) -> Any:
        value = copied(kept.value)
        context.reused(value)
        return value

    def _keep(self, place: _Place, result: Any, spent: Tally, context: WorkflowContext) -> None:
        # An answer that was made while its step changed is one of neither version.
        if place.vector is None or place.version != self._version():
            return
        try:
            value = copied(result)
        except Exception as error:  # noqa: BLE001 - copying runs the value's own code
            self._counts.errors += 1
            context.note("cache_error", operation="copy", error=f"{type(error).__name__}: {error}")
            return
        kept = Kept(place.text, value, spent.or_of(result), clock.monotonic())
        self._alike.keep(place.partition, place.vector, kept)


class _Place(NamedTuple):
    """Where an input belongs: its text, what has to be equal, its vector if there is one."""

    text: str
    version: str
    partition: str
    vector: Any


async def _again(pieces: list[StreamChunk]) -> Chunks:
    for chunk in pieces:
        yield chunk
