"""A plain function as a model."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, ClassVar

from tta_notebook.core.errors import ModelRequestError
from tta_notebook.core.preview import preview
from tta_notebook.core.usage import Usage, usage_of
from tta_notebook.llm.backends.base import ModelDelta, ModelRequest
from tta_notebook.llm.closable import closable
from tta_notebook.llm.messages import Message
from tta_notebook.llm.text import Source


class FunctionBackend:
    """Answers with what a function returns.

    Args:
        function: takes the prompt as a text or, if its first parameter is called `messages`, the
            conversation as a list of `{"role": …, "content": …}`. It may be a coroutine function
            or an asynchronous generator of texts. An ordinary function runs in a thread, with the
            caller's context variables; a cancelled call does not wait for it. It returns a text;
            a mapping or list counts as JSON, and `.usage` of what it returns as its usage.

    >>> FunctionBackend(str.upper).name
    'upper'
    """

    source: ClassVar[Source] = "live"
    provider: ClassVar[str] = "function"

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._takes_messages = _first_parameter(function) == "messages"
        self._is_async = _is_async(function)

    def __repr__(self) -> str:
        return f"FunctionBackend({self.name})"

    @property
    def name(self) -> str:
        """The function's name, which is the model's."""
        return getattr(self._function, "__name__", type(self._function).__name__)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:
        """Give the function's answer, piece by piece if it is an asynchronous generator."""
        argument = _as_list(request) if self._takes_messages else as_prompt(request.messages)
        answer = await self._call(argument)
        if hasattr(answer, "__aiter__"):
            async with aclosing(closable(answer)) as pieces:
                async for piece in pieces:
                    yield self._delta(piece)
        else:
            yield self._delta(answer)
            yield ModelDelta(usage=Usage.read(usage_of(answer)))
        yield ModelDelta(finish_reason="stop")

    async def _call(self, argument: Any) -> Any:
        if self._is_async:
            answer = self._function(argument)
        else:
            answer = await asyncio.to_thread(self._function, argument)
        return await answer if inspect.isawaitable(answer) else answer

    def _delta(self, piece: object) -> ModelDelta:
        if isinstance(piece, ModelDelta):
            return piece
        if isinstance(piece, str):
            return ModelDelta(piece)
        try:
            return ModelDelta(json.dumps(piece))
        except TypeError:
            raise ModelRequestError(
                f"The function {self.name!r} was asked as a model and returned {preview(piece)} "
                f"({type(piece).__name__}), which is no text. Return a str, or what JSON can hold.",
                model=self.name,
                provider=self.provider,
            ) from None


def as_prompt(messages: tuple[Message, ...]) -> str:
    r"""Return a conversation as one text: a single message as it is, others with their roles.

    >>> as_prompt((Message("system", "Be brief."), Message("user", "Hi")))
    'system: Be brief.\n\nuser: Hi'
    """
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"{message.role}: {message.content}" for message in messages)


def _as_list(request: ModelRequest) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in request.messages]


def _first_parameter(function: Callable[..., Any]) -> str | None:
    try:
        return next(iter(inspect.signature(function).parameters), None)
    except (TypeError, ValueError):
        return None  # some functions written in C do not tell


def _is_async(function: Callable[..., Any]) -> bool:
    candidates = (inspect.unwrap(function), getattr(function, "__call__", None))  # noqa: B004 - its kind is asked
    return any(inspect.iscoroutinefunction(c) or inspect.isasyncgenfunction(c) for c in candidates)
