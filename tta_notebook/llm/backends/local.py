"""The embedded model, or a server of the user's own, over OpenAI's chat protocol."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tta_notebook.core.errors import (
    LocalModelMissingError,
    ModelError,
    ModelRequestError,
    ModelUnavailableError,
)
from tta_notebook.core.per_loop import Opened, PerLoop
from tta_notebook.llm.backends import chat_wire
from tta_notebook.llm.backends.base import ModelDelta, ModelRequest
from tta_notebook.llm.backends.http_errors import error_for_status, message_in
from tta_notebook.llm.closable import closable
from tta_notebook.llm.local.server import LocalServer, ServerConfig, server_for
from tta_notebook.llm.local.weights import LocalModel, RunningServer, resolve, stated_model
from tta_notebook.llm.text import Source

if TYPE_CHECKING:
    import httpx

_CONNECT_TIMEOUT_S = 10.0
_OK = 200


class LocalBackend:
    """Answers with a model on this machine; nothing starts before the first request.

    Args:
        weights: a GGUF file or a server's URL; by default what `local` stands for when asked, see
            `tta_notebook.llm.local.weights`.
        config: how a file of weights is served.

    >>> LocalBackend().source
    'local'
    """

    source: ClassVar[Source] = "local"
    provider: ClassVar[str] = "local"

    def __init__(
        self, weights: str | Path | None = None, config: ServerConfig | None = None
    ) -> None:
        self._weights = weights
        self._config = config or ServerConfig()

    def __repr__(self) -> str:
        return f"LocalBackend({'' if self._weights is None else repr(str(self._weights))})"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:
        """Give the answer's deltas; closing frees the server's slot.

        Raises:
            LocalModelMissingError: there are no weights, or xllamacpp is missing.
            ModelUnavailableError: the server cannot be started, or ended while it answered.
            ModelRequestError: the server refuses the request: a prompt that is too long, say.
        """
        endpoint = await self._endpoint()
        if endpoint.server is None:
            async with aclosing(_ask(endpoint, request)) as deltas:
                async for delta in deltas:
                    yield delta
            return
        # The server has a line too, but a request in it holds a connection and a thread, and is
        # noticed late when it is cancelled.
        async with await endpoint.server.line.get(), aclosing(_ask(endpoint, request)) as deltas:
            async for delta in deltas:
                yield delta

    async def count_input_tokens(self, request: ModelRequest) -> int:
        """Return the exact number of tokens of the request's input, its chat template's included.

        Raises:
            ModelError: as `stream`; a server of the user's own may not be able to count.
        """
        endpoint = await self._endpoint()
        messages = [{"role": m.role, "content": m.content} for m in request.messages]
        reply = await self._post(endpoint, "/apply-template", {"messages": messages})
        return await self._count(endpoint, reply["prompt"], with_special_tokens=True)

    async def count_tokens(self, text: str) -> int:
        """Return the exact number of tokens in `text` alone.

        Raises:
            ModelError: as `stream`; a server of the user's own may not be able to count.
        """
        return await self._count(await self._endpoint(), text, with_special_tokens=False)

    async def _count(self, endpoint: _Endpoint, text: str, *, with_special_tokens: bool) -> int:
        body = {"content": text, "add_special": with_special_tokens}
        return len((await self._post(endpoint, "/tokenize", body))["tokens"])

    async def _endpoint(self) -> _Endpoint:
        model = self._model()
        if isinstance(model, RunningServer):
            name = model.model or await _first_model(model.base_url)
            return _Endpoint(model.base_url, name, {}, None)
        server = await server_for(model.path, self._config)
        headers = {"Authorization": f"Bearer {server.key}"}
        return _Endpoint(f"{server.url}/v1", server.path.stem, headers, server)

    def _model(self) -> LocalModel:
        return resolve() if self._weights is None else stated_model(str(self._weights), "argument")

    async def _post(self, endpoint: _Endpoint, path: str, body: dict[str, Any]) -> Any:
        client = await _clients.get()
        url = endpoint.base_url.removesuffix("/v1") + path
        with _translated(endpoint):
            answer = await client.post(url, json=body, headers=endpoint.headers)
            await _check(endpoint, answer)
            return answer.json()


async def _ask(endpoint: _Endpoint, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:
    client = await _clients.get()
    body = {**chat_wire.request_body(request), **endpoint.extras, "model": endpoint.model}
    url = f"{endpoint.base_url}/chat/completions"
    is_finished = False
    with _translated(endpoint):
        async with client.stream("POST", url, json=body, headers=endpoint.headers) as answer:
            await _check(endpoint, answer)
            async with aclosing(closable(answer.aiter_lines())) as lines:
                async for line in lines:
                    if delta := chat_wire.read_line(line):
                        is_finished = is_finished or delta.finish_reason is not None
                        yield delta
    if not is_finished:
        raise _lost(endpoint, "the answer broke off")


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Where to ask: our own server, or one that somebody else runs."""

    base_url: str
    model: str
    headers: dict[str, str]
    server: LocalServer | None

    @property
    def extras(self) -> dict[str, Any]:
        # Reports between the pieces of a long prompt are what lets the server see that the client
        # has gone: it looks only when it writes. Measured: 0.7 s to a free slot instead of 10 s.
        return {} if self.server is None else {"return_progress": True}


def _open_client() -> Opened[httpx.AsyncClient]:
    httpx = _httpx()
    # No read timeout: a long prompt on a slow machine takes its time, and the caller's deadline
    # ends it. No proxy and no limits either: this is the loopback interface. A connection is never
    # used twice: llama.cpp closes idle ones, and a request that meets the closing is lost.
    client = httpx.AsyncClient(
        timeout=httpx.Timeout(None, connect=_CONNECT_TIMEOUT_S),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        trust_env=False,
    )
    return Opened(client, client.aclose)


def _httpx() -> Any:
    try:
        import httpx  # noqa: PLC0415 - an extra, imported on use
    except ImportError as error:
        raise LocalModelMissingError(
            "The local model cannot be asked: the package httpx is not installed. "
            "Run `pip install 'tta-notebook[local]'`.",
            model="local",
            provider="local",
        ) from error
    return httpx


_clients: PerLoop[httpx.AsyncClient] = PerLoop(_open_client)


async def _first_model(base_url: str) -> str:
    endpoint = _Endpoint(base_url, "local", {}, None)
    client = await _clients.get()
    with _translated(endpoint):
        answer = await client.get(f"{base_url}/models")
        await _check(endpoint, answer)
        for entry in answer.json().get("data") or ():
            return str(entry["id"])
    raise ModelRequestError(
        f"The model 'local' is the server at {base_url!r}, which lists no models. Name one after a "
        f"#, like {base_url}#model.",
        model="local",
        provider="local",
    )


async def _check(endpoint: _Endpoint, answer: httpx.Response) -> None:
    if answer.status_code == _OK:
        return
    raw = await answer.aread()
    try:
        said = message_in(json.loads(raw))
    except ValueError:
        said = raw.decode(errors="replace")
    raise error_for_status(
        answer.status_code,
        said,
        model=endpoint.model,
        provider="local",
        headers=dict(answer.headers),
    )


class _translated:  # noqa: N801 - used as `with _translated(...)`, like contextlib's own
    """Turn what HTTP raises into errors of our tree."""

    def __init__(self, endpoint: _Endpoint) -> None:
        self._endpoint = endpoint

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        httpx = _httpx()
        if isinstance(error, chat_wire.StreamedError):
            raise error_for_status(
                error.status_code,
                message_in(error.body),
                model=self._endpoint.model,
                provider="local",
            ) from error
        if isinstance(error, (httpx.TransportError, ValueError)) and not isinstance(
            error, ModelError
        ):
            found = f"{type(error).__name__}: {error}".rstrip(".: ")
            raise _lost(self._endpoint, found) from error


def _lost(endpoint: _Endpoint, reason: str) -> ModelUnavailableError:
    server = endpoint.server
    if server is None:
        found = f"{reason}. Check that the server runs"
    elif server.has_ended(within_s=0.2):
        found = f"its process {server.ending}. Try again: the next call starts a new one"
    else:
        found = f"{reason}. Try again"
    return ModelUnavailableError(
        f"The local model {endpoint.model!r} was asked at {endpoint.base_url} and lost: {found}.",
        model=endpoint.model,
        provider="local",
    )
