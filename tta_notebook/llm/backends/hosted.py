"""A request over pydantic-ai's direct API; `providers.py` imports this on use: it is an extra."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import cast

from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequestPart,
    PartDeltaEvent,
    PartStartEvent,
    SystemPromptPart,
    TextPart,
    TextPartDelta,
    UserPromptPart,
)
from pydantic_ai.messages import ModelRequest as Asked
from pydantic_ai.messages import ModelResponse as Answered
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from tta_notebook.core.usage import Usage
from tta_notebook.llm.backends.base import ModelDelta, ModelRequest
from tta_notebook.llm.messages import Message
from tta_notebook.llm.schema import prompted


async def stream_model(model: Model, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:
    """Ask a model of pydantic-ai and give the deltas of its answer, usage last."""
    native = request.json_schema is None or _takes_schemas(model)
    asked = request if native else replace(request, messages=prompted(request))
    async with model_request_stream(
        model,
        _history(asked.messages),
        model_settings=_settings(asked),
        model_request_parameters=_parameters(asked, is_native=native),
    ) as stream:
        yield ModelDelta()
        async for event in stream:
            if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                yield ModelDelta(event.part.content)
            elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                yield ModelDelta(event.delta.content_delta)
        answer = stream.get()
    yield ModelDelta(
        usage=_usage(answer.usage), finish_reason=answer.finish_reason, model=answer.model_name
    )


def _history(messages: tuple[Message, ...]) -> list[ModelMessage]:
    history: list[ModelMessage] = []
    parts: list[ModelRequestPart] = []
    for message in messages:
        if message.role == "assistant":
            history += [Asked(parts=parts)] if parts else []
            history.append(Answered(parts=[TextPart(message.content)]))
            parts = []
        else:
            part = SystemPromptPart if message.role == "system" else UserPromptPart
            parts.append(part(message.content))
    return [*history, Asked(parts=parts)] if parts else history


def _settings(request: ModelRequest) -> ModelSettings:
    stated = {
        "max_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
        "stop_sequences": list(request.stop) or None,
    }
    given = {key: value for key, value in stated.items() if value is not None}
    return cast("ModelSettings", {**given, **request.settings})


def _parameters(request: ModelRequest, *, is_native: bool) -> ModelRequestParameters:
    if request.json_schema is None or not is_native:
        return ModelRequestParameters()
    shape = OutputObjectDefinition(json_schema=dict(request.json_schema), name="answer")
    return ModelRequestParameters(output_mode="native", output_object=shape)


def _takes_schemas(model: Model) -> bool:
    return bool(model.profile.get("supports_json_schema_output"))


def _usage(reported: RequestUsage) -> Usage | None:
    if not (reported.input_tokens or reported.output_tokens):
        return None  # a server that reports nothing: zeros would pass for a free call
    return Usage(
        input_tokens=reported.input_tokens,
        output_tokens=reported.output_tokens,
        cached_input_tokens=reported.cache_read_tokens,
        cache_write_tokens=reported.cache_write_tokens,
        reasoning_tokens=(reported.details or {}).get("reasoning_tokens", 0),
    )
