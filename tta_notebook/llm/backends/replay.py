"""A call to a model that is answered from a recording, and one that is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import ClassVar, TypeAlias, cast

from tta_notebook.core.protocols import Embedder
from tta_notebook.core.usage import Usage
from tta_notebook.llm.backends.base import Backend, CountsTokens, ModelDelta, ModelRequest
from tta_notebook.llm.cassettes.recording import Draft, Recording, as_vectors
from tta_notebook.llm.closable import closable
from tta_notebook.llm.text import Source

Keep: TypeAlias = Callable[[Recording], None]


class Playback:
    """A recording that is given to one caller.

    Args:
        recording: what will be given, as far as that is known before its turn.
        take: called when its turn has come; returns what is given, or raises.
        give_back: called with it if it is not read to its end.
        speed: 1.0 for the pace at which it was recorded, 2.0 for twice that; None for no waiting.
        where: the file, for the note on a replayed error.
    """

    def __init__(
        self,
        recording: Recording,
        take: Callable[[], Recording],
        give_back: Keep,
        *,
        speed: float | None,
        where: str,
    ) -> None:
        self.recording = recording
        self._take = take
        self._give_back = give_back
        self._speed = speed
        self._where = where
        self._start_s = 0.0
        self._is_finished = False

    def __enter__(self) -> Recording:
        self.recording = self._take()
        self._start_s = asyncio.get_running_loop().time()
        return self.recording

    def __exit__(self, *_: object) -> None:
        if not self._is_finished:
            self._give_back(self.recording)

    async def wait_until(self, at_s: float) -> None:
        """Wait for the moment of the recording, or let others have their turn."""
        pause_s = 0.0
        if self._speed is not None:
            now_s = asyncio.get_running_loop().time()
            pause_s = max(0.0, self._start_s + at_s / self._speed - now_s)
        await asyncio.sleep(pause_s)

    def finish(self) -> None:
        """Tell that it was read to its end, and raise its error if it has one."""
        self._is_finished = True
        if self.recording.error is not None:
            error = self.recording.error.again()
            error.add_note(
                f"Replayed from {self._where}, recorded on {self.recording.recorded_at}. To ask "
                "the model, record again with mode='all'."
            )
            raise error


class ReplayBackend:
    """Answers one request with a recording; nobody is asked.

    Args:
        playback: the recording.

    Attributes:
        provider: who served the recorded call.
        recorded_source: what the recorded call's source was: "live", "local" or "mock".
    """

    source: ClassVar[Source] = "replay"

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self.provider = playback.recording.provider
        self.recorded_source = playback.recording.source

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:  # noqa: ARG002 - it was asked before
        """Give the recorded pieces, then the recorded usage or error.

        Closed or cancelled before the last piece, the recording is as if it had not been taken.
        """
        with self._playback as recording:
            if recording.is_begun:
                yield ModelDelta(model=recording.model or None, price_date=recording.recorded_at)
            for at_s, text in recording.chunks:
                await self._playback.wait_until(at_s)
                yield ModelDelta(text)
            await self._playback.wait_until(recording.duration_s)
            self._playback.finish()
        yield ModelDelta(usage=recording.usage, finish_reason=recording.finish_reason)


class RecordingBackend:
    """Asks a model and records what it says, once it has said all of it.

    Args:
        backend: who is asked.
        draft: what the recording begins with.
        keep: called with the finished recording.
    """

    def __init__(self, backend: Backend, draft: Callable[[], Draft], keep: Keep) -> None:
        self._backend = backend
        self._draft = draft
        self._keep = keep

    @property
    def source(self) -> Source:
        """As that of the backend which is asked."""
        return getattr(self._backend, "source", "live")

    @property
    def provider(self) -> str:
        """As that of the backend which is asked."""
        return str(getattr(self._backend, "provider", type(self._backend).__name__))

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelDelta, None]:
        """Give the model's deltas; closed before the last of them, nothing is recorded."""
        draft = self._draft()
        try:
            async with aclosing(closable(self._backend.stream(request))) as deltas:
                async for delta in deltas:
                    draft.hear(delta)
                    yield delta
        except Exception as error:
            failed = draft.failed(error, self.provider, self.source)
            if failed is not None:
                self._keep(failed)
            raise
        self._keep(draft.done(self.provider, self.source))


class CountingRecordingBackend(RecordingBackend):
    """The same for a backend that can count tokens."""

    async def count_input_tokens(self, request: ModelRequest) -> int:
        """Return the exact number of tokens of the request's input."""
        return await cast("CountsTokens", self._backend).count_input_tokens(request)


class ReplayEmbedder:
    """Embeds texts with a recording; nobody is asked.

    Attributes:
        last_usage: what the recorded call used; None where that was not known.
        provider: who served the recorded call.
    """

    source: ClassVar[Source] = "replay"

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self.provider = playback.recording.provider
        self.last_usage: Usage | None = None

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:  # noqa: ARG002 - they were asked before
        """Return the recorded vectors, or raise the recorded error."""
        with self._playback as recording:
            await self._playback.wait_until(recording.duration_s)
            self._playback.finish()
        self.last_usage = recording.usage
        return [list(vector) for vector in recording.vectors or ()]


class RecordingEmbedder:
    """Asks an embedder and records its vectors, with the tokens of the texts if it can count.

    Attributes:
        last_usage: what the call used; None where that is not known.
    """

    def __init__(self, embedder: Embedder, draft: Callable[[], Draft], keep: Keep) -> None:
        self._embedder = embedder
        self._draft = draft
        self._keep = keep
        self.last_usage: Usage | None = None
        self.source: Source = getattr(embedder, "source", "live")
        self.provider = str(getattr(embedder, "provider", type(embedder).__name__))

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return a vector per text; what are no vectors is given on and not recorded."""
        draft = self._draft()
        try:
            found = await self._embedder.embed(texts)
        except Exception as error:
            failed = draft.failed(error, self.provider, self.source)
            if failed is not None:
                self._keep(failed)
            raise
        vectors = as_vectors(found, len(texts))
        if vectors is None:
            return found
        if (count := getattr(self._embedder, "count_tokens", None)) is not None:
            self.last_usage = Usage(input_tokens=await count(texts))
        self._keep(draft.done(self.provider, self.source, vectors=vectors, usage=self.last_usage))
        return vectors
