"""A call to a language model as a step."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Any, ClassVar, TypeVar, cast, overload

from tta_notebook.core import canonical
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import CacheKeyError, ConfigurationError
from tta_notebook.core.events import StreamChunk
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.version import version_of
from tta_notebook.llm.backends.base import Backend, ModelRequest
from tta_notebook.llm.exchange import Exchange
from tta_notebook.llm.messages import PromptInput, conversation
from tta_notebook.llm.models import ModelLike, as_backend, choose, chosen_backend
from tta_notebook.llm.schema import OutputSchema
from tta_notebook.llm.text import LLMText

T = TypeVar("T")
TOut = TypeVar("TOut", covariant=True)

DEFAULT_MAX_OUTPUT_TOKENS = 1024


class LLMPrimitive(WorkflowPrimitive[PromptInput, TOut]):
    """Asks a language model.

    Its input is a text, a list of messages (`{"role": …, "content": …}` or `(role, content)`) or a
    mapping with `prompt` or `messages`. Its output is an `LLMText`, a `str` that also carries the
    call's usage; with `output=` it is a value of that type, and the usage is on the span. Streamed,
    it gives pieces of text, and the whole output as the last chunk's `metadata["output"]`.

    Cancelling it stops the model; what was used until then is estimated.

    Args:
        model: "local" (the embedded model), "provider:model" (openai, anthropic, google, ollama), a
            function of the prompt, or an object with a `stream(request)` method.
        system: text of a system message in front of every conversation.
        output: the type of the answer: dict, a dataclass, a TypedDict, list[int], a pydantic model.
        max_output_tokens: the most tokens an answer may have.
        temperature: randomness from 0; by default the model's own.
        seed: makes sampling repeatable where the model supports it.
        stop: texts that end the answer.
        name: by default the model's.
        backend: answers in place of what `model` names.
        settings: `base_url` and `api_key` for a provider; anything else goes along with each
            request (`top_p=0.9`).

    Raises:
        ConfigurationError: an argument means nothing; nothing is loaded or asked before it runs.

    >>> shout = LLMPrimitive(lambda prompt: f"You said {prompt}", name="echo") >> str.upper
    >>> shout.run_sync("hello")
    'YOU SAID HELLO'
    """

    kind: ClassVar[str] = "llm"

    @overload
    def __init__(
        self: LLMPrimitive[LLMText],
        model: ModelLike,
        *,
        system: str | None = ...,
        output: type[str] | None = ...,
        max_output_tokens: int = ...,
        temperature: float | None = ...,
        seed: int | None = ...,
        stop: str | Sequence[str] | None = ...,
        name: str | None = ...,
        backend: Backend | None = ...,
        **settings: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: LLMPrimitive[T],
        model: ModelLike,
        *,
        system: str | None = ...,
        output: type[T],
        max_output_tokens: int = ...,
        temperature: float | None = ...,
        seed: int | None = ...,
        stop: str | Sequence[str] | None = ...,
        name: str | None = ...,
        backend: Backend | None = ...,
        **settings: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: LLMPrimitive[Any],
        model: ModelLike,
        *,
        system: str | None = ...,
        output: Any,
        max_output_tokens: int = ...,
        temperature: float | None = ...,
        seed: int | None = ...,
        stop: str | Sequence[str] | None = ...,
        name: str | None = ...,
        backend: Backend | None = ...,
        **settings: Any,
    ) -> None: ...
    def __init__(
        self,
        model: ModelLike,
        *,
        system: str | None = None,
        output: Any = None,
        max_output_tokens: int = DEFAULT_MAX_OUTPUT_TOKENS,
        temperature: float | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        name: str | None = None,
        backend: Backend | None = None,
        **settings: Any,
    ) -> None:
        self._chosen = choose(model, settings)
        super().__init__(name=name, default_name=self._chosen.requested)
        self._backend = self._chosen.backend if backend is None else as_backend(backend)
        self._system = system
        self._schema = None if output in (None, str) else OutputSchema[Any](output)
        self._output_type = LLMText if self._schema is None else output
        self._max_output_tokens = _checked_count("max_output_tokens", max_output_tokens)
        self._temperature = _checked_temperature(temperature)
        self._seed = seed
        self._stop = (stop,) if isinstance(stop, str) else tuple(stop or ())

    @property
    def model(self) -> str:
        """The model as it was asked for."""
        return self._chosen.requested

    @property
    def version(self) -> str | None:
        """A hash of what its answers depend on: model, parameters, schema, a function's code.

        None where the backend is an object of which that cannot be known. Keys do not count.
        """
        return version_of(self)

    def __tta_version__(self) -> object:
        """Return what the version is made of, for `tta_notebook.core.version`."""
        schema = None if self._schema is None else self._schema.json_schema
        limits = (self._max_output_tokens, self._temperature, self._seed, self._stop)
        asked: Any = (self.model, self._system, schema, limits, self._chosen.settings)
        with suppress(CacheKeyError):  # a setting may be no plain value: that is up to the version
            asked = canonical.digest(asked)  # it stays as it is: nothing in it has to be watched
        return (asked, self._output_type, self._backend)

    @property
    def output_type(self) -> Any:
        """The type of its answers."""
        return self._output_type

    async def execute(self, input_data: PromptInput, context: WorkflowContext = HERE) -> TOut:
        """Ask the model and return its whole answer.

        Raises:
            ModelError: the call failed; its subclasses say how, and `retryable` whether it may
                succeed later.
        """
        exchange = self._exchange(input_data, context)
        async with aclosing(exchange.texts()) as texts:
            async for _ in texts:
                pass
        return self._result(exchange)

    async def _stream(
        self, input_data: PromptInput, context: WorkflowContext
    ) -> AsyncGenerator[StreamChunk, None]:
        exchange = self._exchange(input_data, context)
        index = 0
        async with aclosing(exchange.texts()) as texts:
            async for text in texts:
                yield StreamChunk(text, index)
                index += 1
        answer = exchange.answer()
        about = {"output": self._result(exchange), "usage": answer.usage, "model": answer.model}
        yield StreamChunk("", index, is_final=True, metadata=about)

    def _exchange(self, input_data: PromptInput, context: WorkflowContext) -> Exchange:
        chosen = self._chosen
        request = ModelRequest(
            model=chosen.name,
            messages=conversation(
                input_data, system=self._system, step=self.name, model=chosen.requested
            ),
            max_output_tokens=self._max_output_tokens,
            temperature=self._temperature,
            seed=self._seed,
            stop=self._stop,
            json_schema=None if self._schema is None else self._schema.json_schema,
            settings=chosen.settings,
        )
        backend = chosen_backend(context, chosen.requested, self._backend, request)
        return Exchange(chosen.requested, request, backend, context)

    def _result(self, exchange: Exchange) -> TOut:
        answer = exchange.answer()
        if self._schema is None:
            return cast("TOut", answer)
        value = self._schema.value(
            answer,
            model=answer.model,
            provider=exchange.provider,
            finish_reason=answer.finish_reason,
        )
        return cast("TOut", value)


def _checked_count(name: str, count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            f"LLMPrimitive: {name}={count!r} is no number of tokens, so no answer could have it. "
            "Give an integer of at least 1."
        )
    return count


def _checked_temperature(temperature: float | None) -> float | None:
    if temperature is not None and not 0 <= temperature < float("inf"):
        raise ConfigurationError(
            f"LLMPrimitive: temperature={temperature!r} is out of range, so no model takes it. "
            "Give 0 for the likeliest answer, about 1 for a varied one."
        )
    return temperature
