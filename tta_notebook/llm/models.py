"""From what a user writes as `model=` to the backend that answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.protocols import Embedder
from tta_notebook.llm.backends.base import Backend, ModelRequest, WrapsBackend, WrapsEmbedder
from tta_notebook.llm.backends.function import FunctionBackend

ModelLike: TypeAlias = str | Backend | Callable[[Any], Any]


class ChosenModel(NamedTuple):
    """A model, ready to be asked.

    Attributes:
        requested: as the user wrote it ("openai:gpt-5"), which results and prices go by.
        name: without its provider, as the backend knows it.
        backend: who answers.
        settings: those that are left for each request.
    """

    requested: str
    name: str
    backend: Backend
    settings: dict[str, Any]


def choose(model: object, settings: dict[str, Any]) -> ChosenModel:
    """Return what `model` stands for; nothing is started, imported or asked.

    Args:
        model: "local", "provider:model", a backend or a function.
        settings: `base_url` and `api_key` go to a provider, the rest to each request.

    Raises:
        ConfigurationError: it stands for nothing.
    """
    if isinstance(model, str):
        return _by_name(model, settings)
    backend = as_backend(model)
    name = str(getattr(backend, "name", type(backend).__name__))
    return ChosenModel(name, name, backend, settings)


def as_backend(model: object) -> Backend:
    """Return `model` as a backend: itself, or a function wrapped into one.

    Raises:
        ConfigurationError: it is neither.
    """
    # A workflow has a stream() too, of another kind, and a class is callable but no model.
    if not isinstance(model, WorkflowPrimitive | type):
        if callable(getattr(model, "stream", None)):
            return cast("Backend", model)
        if callable(model):
            return FunctionBackend(model)
    kind = type(cast("object", model)).__name__
    raise ConfigurationError(
        f"LLMPrimitive: model={model!r} is a {kind}, which cannot answer. Give "
        "'local', 'provider:model', a function of the prompt or an object with a stream() method."
    )


def chosen_backend(
    context: WorkflowContext, model: str, own: Backend, request: ModelRequest
) -> Backend:
    """Return who answers `request` in this run: a script, a recorder around `own`, or `own`.

    Args:
        context: of the step that asks.
        model: the model as the user named it.
        own: who answers unless the run says otherwise.
        request: what is asked.
    """
    replaced = context.backend(model)
    if replaced is None:
        return own
    if isinstance(replaced, WrapsBackend):
        return replaced.over(own, model, request)
    return as_backend(replaced)


def chosen_embedder(
    context: WorkflowContext, model: str, own: Embedder, texts: Sequence[str]
) -> Embedder:
    """Return who embeds `texts` in this run; what cannot embed stands for language models alone."""
    replaced = context.backend(model)
    if isinstance(replaced, WrapsEmbedder):
        return replaced.over_embedder(own, model, texts)
    if callable(getattr(replaced, "embed", None)):
        return cast("Embedder", replaced)
    return own


def _by_name(model: str, settings: dict[str, Any]) -> ChosenModel:
    if model == "local":
        from tta_notebook.llm.backends.local import LocalBackend  # noqa: PLC0415 - only if asked

        return ChosenModel(model, model, LocalBackend(), settings)
    from tta_notebook.llm.backends.providers import ProviderBackend  # noqa: PLC0415 - only if asked

    rest = dict(settings)
    backend = ProviderBackend(
        model, base_url=rest.pop("base_url", None), api_key=rest.pop("api_key", None)
    )
    return ChosenModel(model, backend.name, backend, rest)
