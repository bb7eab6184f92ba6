"""A model that says what it was told to: for tests and tutorials."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, cast

from tta_notebook.core.errors import ConfigurationError, ModelRequestError
from tta_notebook.core.usage import Usage
from tta_notebook.llm.backends.base import ModelDelta, ModelRequest
from tta_notebook.llm.text import Source


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted answer in detail.

    Attributes:
        text: the answer, streamed word by word; or its pieces, streamed as they are.
        delay_s: seconds before every piece, on the event loop's clock.
        usage: what the call used; None leaves it to be estimated.
        finish_reason: why the answer ends.
        error: raised after the last piece, instead of an end.

    >>> Reply(["Hel", "lo"], delay_s=0.1).pieces
    ('Hel', 'lo')
    """

    text: str | Sequence[str] = ""
    delay_s: float = 0.0
    usage: Usage | None = None
    finish_reason: str = "stop"
    error: BaseException | type[BaseException] | None = None

    @property
    def pieces(self) -> tuple[str, ...]:
        """The pieces in which the answer is streamed."""
        return tuple(_words(self.text) if isinstance(self.text, str) else self.text)


ReplyLike: TypeAlias = (
    str
    | Sequence[str]
    | Reply
    | BaseException
    | type[BaseException]
    | Callable[[ModelRequest], Any]
)


class ScriptedModel:
    """Answers request after request from a script and remembers what it was asked.

    Args:
        replies: one for every call, in order: a text, a list of pieces, a `Reply`, an exception to
            raise, or a function of the request that returns any of these (or a coroutine of one).
            A single text answers every call.
        name: the model's name in results and traces.

    Attributes:
        requests: the requests so far.

    >>> model = ScriptedModel(["Paris", TimeoutError("too slow")])
    >>> from tta_notebook.llm import LLMPrimitive
    >>> answer = LLMPrimitive(model).run_sync("The capital of France?")
    >>> answer, answer.source, model.requests[0].messages[0].content
    ('Paris', 'mock', 'The capital of France?')
    """

    source: ClassVar[Source] = "mock"
    provider: ClassVar[str] = "scripted"

    def __init__(self, replies: str | Iterable[ReplyLike], *, name: str = "scripted") -> None:
        self.name = name
        self.requests: list[ModelRequest] = []
        self._always = replies if isinstance(replies, str) else None
        self._replies = [] if isinstance(replies, str) else [_checked(reply) for reply in replies]

    def __getstate__(self) -> dict[str, Any]:
        # A copy in another process begins with the first reply: it has not been asked yet.
        return {**self.__dict__, "requests": []}

    def __repr__(self) -> str:
        return f"ScriptedModel({self.name!r}, {len(self.requests)} of {len(self._replies)} used)"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:
        """Give the next reply of the script.

        Raises:
            ModelRequestError: the script is used up.
        """
        self.requests.append(request)
        reply = await _resolved(self._next(), request)
        yield ModelDelta(model=self.name)
        for piece in reply.pieces:
            await asyncio.sleep(reply.delay_s)
            yield ModelDelta(piece)
        if reply.error is not None:
            raise reply.error
        yield ModelDelta(usage=reply.usage, finish_reason=reply.finish_reason)

    def _next(self) -> ReplyLike:
        if self._always is not None:
            return self._always
        asked = len(self.requests)
        if asked > len(self._replies):
            raise ModelRequestError(
                f"{self!r} was asked a {asked}. time and has no reply for that. "
                "Add one to its list, or give a single text to answer every call.",
                model=self.name,
                provider=self.provider,
            )
        return self._replies[asked - 1]


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s*$|\s*\S+|\s+", text)


def _checked(reply: object) -> ReplyLike:
    is_known = isinstance(reply, str | Reply | BaseException) or callable(reply)
    if is_known or _is_pieces(reply):
        return cast("ReplyLike", reply)
    raise ConfigurationError(
        f"ScriptedModel: the reply {reply!r} is a {type(reply).__name__}, of which nothing can be "
        "made. Give a text, a list of texts, a Reply, an exception or a function of the request."
    )


def _is_pieces(reply: object) -> bool:
    return isinstance(reply, Sequence) and all(
        isinstance(piece, str) for piece in cast("Sequence[object]", reply)
    )


async def _resolved(reply: ReplyLike, request: ModelRequest) -> Reply:
    if isinstance(reply, BaseException) or _is_error_class(reply):
        raise cast("BaseException", reply)
    if callable(reply):
        made = reply(request)
        return await _resolved(_checked(await made if inspect.isawaitable(made) else made), request)
    return reply if isinstance(reply, Reply) else Reply(reply)


def _is_error_class(reply: object) -> bool:
    return isinstance(reply, type) and issubclass(reply, BaseException)
