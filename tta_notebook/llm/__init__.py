"""Language models: one step that asks, and what may answer it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tta_notebook.llm.backends.base import (
    Backend,
    CountsTokens,
    ModelDelta,
    ModelRequest,
    WrapsBackend,
    WrapsEmbedder,
)
from tta_notebook.llm.backends.function import FunctionBackend
from tta_notebook.llm.backends.scripted import Reply, ScriptedModel
from tta_notebook.llm.embeddings import EmbeddingPrimitive
from tta_notebook.llm.messages import Message, PromptInput
from tta_notebook.llm.prices import SEED_PRICES, Price, PriceBook, Quote
from tta_notebook.llm.primitive import LLMPrimitive
from tta_notebook.llm.sentence_encoder import SentenceEncoder
from tta_notebook.llm.text import LLMText
from tta_notebook.llm.token_corrections import TokenCorrections
from tta_notebook.llm.tokens import TokenBound
from tta_notebook.llm.usage import Usage

if TYPE_CHECKING:
    from tta_notebook.llm.backends.local import LocalBackend
    from tta_notebook.llm.backends.providers import ProviderBackend
    from tta_notebook.llm.cassettes.cassette import Cassette

# Loaded when first used: they bring processes, HTTP and files, which a scripted model does without.
_ON_USE = {
    "Cassette": "cassettes.cassette",
    "LocalBackend": "backends.local",
    "ProviderBackend": "backends.providers",
}

__all__ = [
    "SEED_PRICES",
    "Backend",
    "Cassette",
    "CountsTokens",
    "EmbeddingPrimitive",
    "FunctionBackend",
    "LLMPrimitive",
    "LLMText",
    "LocalBackend",
    "Message",
    "ModelDelta",
    "ModelRequest",
    "Price",
    "PriceBook",
    "PromptInput",
    "ProviderBackend",
    "Quote",
    "Reply",
    "ScriptedModel",
    "SentenceEncoder",
    "TokenBound",
    "TokenCorrections",
    "Usage",
    "WrapsBackend",
    "WrapsEmbedder",
]


def __getattr__(name: str) -> Any:
    if name not in _ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ON_USE[name]}"), name)
