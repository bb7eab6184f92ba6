"""OpenAI's chat protocol as llama.cpp, Ollama and others speak it: a request out, events in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tta_notebook.core.usage import Usage
from tta_notebook.llm.backends.base import ModelDelta, ModelRequest

_DONE = "[DONE]"


def request_body(request: ModelRequest) -> dict[str, Any]:
    """Return the JSON body that asks for `request` as a stream with usage at its end."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
        "max_tokens": request.max_output_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.seed is not None:
        body["seed"] = request.seed
    if request.stop:
        body["stop"] = list(request.stop)
    if request.json_schema is not None:
        schema = {"name": "answer", "schema": dict(request.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return {**body, **request.settings}


def read_line(line: str) -> ModelDelta | None:
    """Return what one line of the stream tells; None for a blank line, a comment or the end mark.

    Each event of this protocol is one line, which the general format does not promise.

    Raises:
        ValueError: it is not JSON.
        StreamedError: the server reports that it failed.
    """
    name, _, data = line.partition(":")
    if name not in {"data", "error"} or data.strip() == _DONE:
        return None
    event: dict[str, Any] = json.loads(data)
    if error := event.get("error", event if name == "error" else None):
        raise StreamedError(error)
    choices: list[dict[str, Any]] = event.get("choices") or [{}]
    delta: dict[str, Any] = choices[0].get("delta") or {}
    return ModelDelta(
        text=delta.get("content") or "",
        usage=_usage(event.get("usage")),
        finish_reason=choices[0].get("finish_reason"),
        model=event.get("model"),
    )


class StreamedError(Exception):
    """A failure that the server reports inside a stream that began well.

    Attributes:
        status_code: the HTTP status it would have had.
        body: what the server says.
    """

    def __init__(self, body: Any) -> None:
        super().__init__(str(body))
        code = body.get("code") if isinstance(body, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        self.status_code = code if isinstance(code, int) else 500
        self.body: Any = body


def _usage(reported: Mapping[str, Any] | None) -> Usage | None:
    if not reported:
        return None
    of_prompt: dict[str, Any] = reported.get("prompt_tokens_details") or {}
    of_completion: dict[str, Any] = reported.get("completion_tokens_details") or {}
    return Usage(
        input_tokens=reported.get("prompt_tokens") or 0,
        output_tokens=reported.get("completion_tokens") or 0,
        cached_input_tokens=of_prompt.get("cached_tokens") or 0,
        reasoning_tokens=of_completion.get("reasoning_tokens") or 0,
    )
