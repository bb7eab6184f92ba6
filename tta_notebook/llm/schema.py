"""A Python type as the shape of a model's answer: its JSON schema out, its value back in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, cast

from tta_notebook.core.errors import ConfigurationError, ModelOutputError
from tta_notebook.core.fit import type_name
from tta_notebook.core.preview import preview
from tta_notebook.llm.backends.base import ModelRequest
from tta_notebook.llm.messages import Message
from tta_notebook.llm.typed_dicts import readable

T = TypeVar("T")

# Models that know no schemas like to answer in a fenced block of Markdown, with words around it.
_FENCED = re.compile(r"```\w*\n(.*?)\n\s*```", re.DOTALL)
_WRAPPED = "value"


class OutputSchema(Generic[T]):
    """The schema of a type, and the way from an answer to a value of it.

    Providers want an object at the top: any other type travels as `{"value": …}`.

    Args:
        output: what pydantic can make a schema of: dict, a dataclass, a TypedDict, list[int], ….

    Attributes:
        json_schema: what the model's answer must fit.
    """

    def __init__(self, output: type[T] | Any) -> None:
        self._output = output
        self._adapter, schema = _adapter(output)
        self._is_wrapped = schema.get("type") != "object"
        self.json_schema: Mapping[str, Any] = _wrapped(schema) if self._is_wrapped else schema

    def value(self, text: str, *, model: str, provider: str, finish_reason: str | None) -> T:
        """Return the value that an answer stands for.

        Raises:
            ModelOutputError: it stands for none; carries the answer as `text`.
        """
        fenced = _FENCED.search(text)
        answer = fenced[1] if fenced else str(text)
        try:
            if self._is_wrapped:
                answer = json.dumps(json.loads(answer)[_WRAPPED])
            return self._adapter.validate_json(answer)  # type: ignore[no-any-return]
        except (ValueError, KeyError, TypeError) as error:
            advice = (
                "It was cut off: raise max_output_tokens."
                if finish_reason == "length"
                else "Ask again, describe the shape in the prompt, or ask a larger model."
            )
            problem = ModelOutputError(
                f"{provider}:{model} was asked for {type_name(self._output)} and answered "
                f"{preview(str(text))!r}, which does not fit: {_what_is_wrong(error)}. {advice}",
                model=model,
                provider=provider,
            )
            problem.text = text
            raise problem from error


def prompted(request: ModelRequest) -> tuple[Message, ...]:
    """Return the request's messages with the schema in words, for models that know no schemas."""
    words = (
        "Answer with JSON alone, without any other text, that fits this JSON schema:\n"
        f"{json.dumps(request.json_schema)}"
    )
    return (Message("system", words), *request.messages)


def _adapter(output: Any) -> tuple[Any, dict[str, Any]]:
    try:
        from pydantic import PydanticUserError, TypeAdapter  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigurationError(
            f"LLMPrimitive: output={type_name(output)} needs a JSON schema, which pydantic makes, "
            "and pydantic is not installed. Run `pip install 'tta-notebook[providers]'`."
        ) from error
    try:
        adapter = TypeAdapter(readable(output))
        return adapter, adapter.json_schema()
    except (PydanticUserError, TypeError) as error:
        raise ConfigurationError(
            f"LLMPrimitive: output={output!r} has no JSON schema: {_what_is_wrong(error)}. "
            "Give a type like dict, list[int], a dataclass, a TypedDict or a pydantic model."
        ) from error


def _wrapped(schema: dict[str, Any]) -> dict[str, Any]:
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    outer: dict[str, Any] = {
        "type": "object",
        "properties": {_WRAPPED: inner},
        "required": [_WRAPPED],
        "additionalProperties": False,
    }
    # References are written from the root ("#/$defs/…"): the definitions stay there.
    return {**outer, "$defs": schema["$defs"]} if "$defs" in schema else outer


def _what_is_wrong(error: Exception) -> str:
    errors = getattr(error, "errors", None)
    if callable(errors):  # pydantic's own, whose text is long and ends in a link
        first = cast("Callable[[], list[dict[str, Any]]]", errors)()[0]
        place = ".".join(map(str, first["loc"]))
        return f"{place}: {first['msg']}" if place else str(first["msg"])
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
