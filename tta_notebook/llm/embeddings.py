"""Texts as vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias, cast, overload

from tta_notebook.core import checked
from tta_notebook.core.calling import Call, name_of
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import ConfigurationError, ModelOutputError
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.protocols import Embedder, PlannedCall
from tta_notebook.core.usage import Usage
from tta_notebook.llm.holds import Holds, guards_of, need_input_bound
from tta_notebook.llm.models import chosen_embedder
from tta_notebook.llm.pricing import quote_of
from tta_notebook.llm.sentence_encoder import local_encoder
from tta_notebook.llm.text import Source
from tta_notebook.llm.usage import estimate_tokens

Vector: TypeAlias = list[float]
EmbedderLike: TypeAlias = str | Embedder | Callable[[list[str]], Any]


class EmbeddingPrimitive(WorkflowPrimitive[Any, Any]):
    """Turns a text into a vector, or a list of texts into a list of vectors.

    It is an `Embedder` itself, so that a semantic cache or a store of vectors can use it.

    Args:
        model: "local" (the extra `embeddings`), an object with `embed(texts)`, or a function of a
            list of texts, sync or async.
        batch_size: how many texts are embedded at a time.
        name: by default the model's.

    Raises:
        ConfigurationError: the model is none of these; nothing is loaded before it runs.
        ModelOutputError: the model gave another number of vectors than texts, or no vectors.

    >>> lengths = EmbeddingPrimitive(lambda texts: [[len(text), 1.0] for text in texts])
    >>> lengths.run_sync("four"), lengths.run_sync(["a", "bc"])
    ([4.0, 1.0], [[1.0, 1.0], [2.0, 1.0]])
    """

    kind: ClassVar[str] = "embedding"

    def __init__(
        self, model: EmbedderLike = "local", *, batch_size: int = 256, name: str | None = None
    ) -> None:
        self._embedder = _chosen(model)
        self.model = str(getattr(self._embedder, "name", type(self._embedder).__name__))
        super().__init__(name=name, default_name=f"embed {self.model}")
        self.batch_size = checked.count("EmbeddingPrimitive", "batch_size", batch_size)

    @overload
    async def execute(  # type: ignore[overload-overlap]  # a text is a sequence of texts, too
        self, input_data: str, context: WorkflowContext = ...
    ) -> Vector: ...
    @overload
    async def execute(
        self, input_data: Sequence[str], context: WorkflowContext = ...
    ) -> list[Vector]: ...
    async def execute(
        self, input_data: str | Sequence[str], context: WorkflowContext = HERE
    ) -> Vector | list[Vector]:
        """Embed a text, or each of several.

        Raises:
            ModelOutputError: the model gave something else than a vector per text.
        """
        texts = [input_data] if isinstance(input_data, str) else list(input_data)
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise ConfigurationError(
                    f"EmbeddingPrimitive {self.name!r}: input[{index}] is {text!r}, and only texts "
                    "can be embedded. Give a text or a list of texts."
                )
        vectors: list[Vector] = []
        for start in range(0, len(texts), self.batch_size):
            vectors += await self._batch(texts[start : start + self.batch_size], context)
        context.note("embedded", texts=len(texts), model=self.model)
        return vectors[0] if isinstance(input_data, str) else vectors

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return one vector per text."""
        return await self.execute(list(texts))

    async def _batch(self, texts: list[str], context: WorkflowContext) -> list[Vector]:
        embedder = chosen_embedder(context, self.model, self._embedder, texts)
        source: Source = getattr(embedder, "source", "live")
        provider = str(getattr(embedder, "provider", ""))
        quote = quote_of(self.model, context, source=source, provider=provider)
        guards = guards_of(context, source)
        bound = await _bound(embedder, texts) if need_input_bound(guards) else None
        planned = PlannedCall(self.model, bound, 0, context, provider, source, quote)
        holds = await Holds.reserve(guards, planned)
        used: Usage | None = None
        try:
            found = await embedder.embed(texts)
            used = await _used(embedder, texts, context)
        except Exception:
            raise  # refused, or never arrived: so not billed
        except BaseException:
            used = Usage(input_tokens=_estimate(texts), estimated=True)
            raise
        finally:
            if used is None:
                holds.release()
            else:
                holds.settle(used)
                context.used(used, None if quote is None else quote.cost(used))
        return self._checked(found, len(texts))

    def _checked(self, found: Any, count: int) -> list[Vector]:
        try:
            vectors = [[float(number) for number in vector] for vector in found]
        except (TypeError, ValueError) as error:
            raise self._odd(f"{type(found).__name__} that holds no vectors ({error})") from error
        lengths = {len(vector) for vector in vectors}
        if len(vectors) != count:
            raise self._odd(f"{len(vectors)} vectors for {count} texts")
        if len(lengths) > 1 or 0 in lengths:
            raise self._odd(f"vectors of {sorted(lengths)} numbers")
        if not all(math.isfinite(number) for vector in vectors for number in vector):
            raise self._odd("numbers that are not finite")
        return vectors

    def _odd(self, found: str) -> ModelOutputError:
        return ModelOutputError(
            f"EmbeddingPrimitive {self.name!r}: the model gave {found}, which cannot be compared. "
            "It must give one vector per text, all of one length.",
            model=self.model,
        )


async def _used(embedder: Embedder, texts: list[str], context: WorkflowContext) -> Usage | None:
    # A recording knows what its call used, and cannot count.
    if isinstance(known := getattr(embedder, "last_usage", None), Usage):
        return known
    count = getattr(embedder, "count_tokens", None)
    if count is not None:
        is_asked = context.guards or context.span is not None
        return Usage(input_tokens=await count(texts)) if is_asked else None
    return Usage(input_tokens=_estimate(texts), estimated=True) if context.guards else None


async def _bound(embedder: Embedder, texts: list[str]) -> int:
    count = getattr(embedder, "count_tokens", None)
    return _estimate(texts) if count is None else int(await count(texts))


def _estimate(texts: list[str]) -> int:
    return sum(map(estimate_tokens, texts))


class _FunctionEmbedder:
    def __init__(self, function: Callable[[list[str]], Any]) -> None:
        self._call = Call(function, "EmbeddingPrimitive(model=…)")
        self.name = name_of(function)

    async def embed(self, texts: Sequence[str]) -> Any:
        return await self._call(list(texts), cast("WorkflowContext", None))


def _chosen(model: Any) -> Embedder:
    if model == "local":
        return local_encoder()
    if not isinstance(model, (str, type)):
        if callable(getattr(model, "embed", None)):
            return cast("Embedder", model)
        if callable(model):
            return _FunctionEmbedder(model)
    raise ConfigurationError(
        f"EmbeddingPrimitive: model={model!r} cannot embed. Give 'local', an object with an "
        "embed(texts) method, or a function of a list of texts."
    )
