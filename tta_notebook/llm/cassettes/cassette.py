"""Model calls on a cassette: recorded once, replayed without keys and without cost."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, cast

from tta_notebook.core import checked
from tta_notebook.core.errors import CassetteSecretError, ConfigurationError, StorageError
from tta_notebook.core.protocols import Embedder
from tta_notebook.core.standing import configure, standing
from tta_notebook.llm.backends.base import Backend, CountsTokens, ModelRequest
from tta_notebook.llm.backends.replay import (
    CountingRecordingBackend,
    Playback,
    RecordingBackend,
    RecordingEmbedder,
    ReplayBackend,
    ReplayEmbedder,
)
from tta_notebook.llm.cassettes import file as cassette_file
from tta_notebook.llm.cassettes import request as cassette_request
from tta_notebook.llm.cassettes.miss import miss
from tta_notebook.llm.cassettes.recording import Draft, Recording
from tta_notebook.llm.cassettes.request import Asked, Match, Matching
from tta_notebook.llm.cassettes.secrets import Allow
from tta_notebook.llm.cassettes.shelf import Shelf
from tta_notebook.llm.cassettes.writer import Writer

Mode: TypeAlias = Literal["once", "none", "all"]
OnStale: TypeAlias = Literal["raise", "record"]


class Cassette:
    """Records calls to models in a file, and replays them: no key, no cost, the same every time.

    Inside `with cassette:` it serves every run of the process; `WorkflowContext().using(backends=
    cassette.backends)` puts it under one run. It opens when it is first used or entered, and stays
    open until `close()` or the end of the block. The modes are those of VCR:

    - "once" replays what the file holds. If there was no file when it opened, or one without any
      recording, every call is asked and recorded; else a request that it lacks is an error.
    - "none" replays, and a request that the file lacks is an error. No model is ever asked.
    - "all" asks every time. The new recording takes the file's place when the cassette closes,
      unless nothing was recorded; until then it grows in a file beside it, `<name>.<token>.new`.

    A request matches a recording with equal model (as the step names it), messages, limits and
    settings; keys, headers and addresses do not count. Recordings of equal requests are given in
    the order in which they were asked, each of them once; after that the request is an error, until
    `rewind()`, the next opening, or with `repeat=True`. What is not read to its end (cancelled,
    closed early) is neither recorded nor used up.

    A model's failures are recorded and replayed too. Not so a missing key, missing weights and
    bugs: they are mended.

    Every answer is written as soon as it is complete, so a killed kernel loses none. One that holds
    a key or a password is not written: the caller gets it, and `close()` raises.

    It can be used from any thread and event loop, and several processes can record in one file.

    Args:
        path: the file: JSON lines, made to be read, compared and committed.
        mode: "once", "none" or "all".
        match: names of the request's fields that have to be equal, or a function of the request (a
            dict as in the file) that returns what has to be; by default all of it.
        on_stale: what mode "once" does with a request that an existing file lacks: "raise", or
            "record" to ask and add it.
        repeat: whether equal requests begin again with their first recording after the last: for
            notebooks, whose cells are run again.
        speed: 1.0 replays at the pace of the recording, 2.0 twice as fast; None without waiting.
        allow: texts that look like secrets and are none, or a function that says so of a text.

    Attributes:
        replayed: how many calls were answered from the file.
        recorded: how many were asked and taken down.

    Raises:
        ConfigurationError: an argument means nothing; the file is not touched before its first use.

    >>> import tempfile
    >>> from tta_notebook.llm import LLMPrimitive, ScriptedModel
    >>> def ask(model):
    ...     return LLMPrimitive(model).run_sync("The capital of France?")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Cassette(f"{folder}/france.jsonl"):
    ...         first = ask(ScriptedModel(["Paris"]))
    ...     with Cassette(f"{folder}/france.jsonl"):
    ...         again = ask(ScriptedModel([]))
    >>> (first, first.source), (again, again.source)
    (('Paris', 'mock'), ('Paris', 'replay'))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        mode: Mode = "once",
        *,
        match: Match = None,
        on_stale: OnStale = "raise",
        repeat: bool = False,
        speed: float | None = None,
        allow: Allow = (),
    ) -> None:
        self.path = Path(path).expanduser().absolute()
        self.mode = cast("Mode", checked.choice("Cassette", "mode", mode, ("once", "none", "all")))
        self.on_stale = checked.choice("Cassette", "on_stale", on_stale, ("raise", "record"))
        if on_stale == "record" and mode != "once":
            raise ConfigurationError(
                f"Cassette: on_stale='record' was given with mode={mode!r}, which "
                f"{'never records' if mode == 'none' else 'always does'}. Leave it out, or take "
                "mode='once'."
            )
        self.allow: Allow = allow
        self.replayed = 0
        self.recorded = 0
        self._matching = Matching(match)
        self._repeats = repeat
        self._speed = (
            None if speed is None else checked.seconds("Cassette", "speed", speed, zero=False)
        )
        # Everything below is changed under the lock alone. It may be taken again inside: a file
        # that is read may warn, and a warning can run anything.
        self._lock = threading.RLock()
        self._around: list[Mapping[str, Any] | None] = []
        self._shelf: Shelf | None = None
        self._is_first = False
        self._writer = self._new_writer()
        self._late_writer = Writer(self.path, aside=False)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            f"Cassette {str(self.path)!r} cannot be pickled: two processes would play the same "
            "recordings again and write one file over each other. Open one inside the process "
            "that asks the models, each with a file of its own."
        )

    def __repr__(self) -> str:
        return f"Cassette({str(self.path)!r}, mode={self.mode!r})"

    @property
    def backends(self) -> Mapping[str, Any]:
        """What a context takes to play this cassette: `context.using(backends=…)`."""
        return {"*": self}

    # What a context asks it

    def over(self, backend: Backend, model: str, request: ModelRequest) -> Backend:
        """Return what answers a request: its recording, or `backend` with a recorder around it.

        Raises:
            CassetteMissError: the request would have to be on the file, and is not.
            StorageError: the file is damaged or cannot be read.
        """
        asked = cassette_request.chat(model, request)
        shelf, playback = self._found(asked)
        if playback is not None:
            return ReplayBackend(playback)
        counts = isinstance(backend, CountsTokens)
        recorder = CountingRecordingBackend if counts else RecordingBackend
        return recorder(backend, partial(self._draft, asked, shelf), partial(self._keep, shelf))

    def over_embedder(self, embedder: Embedder, model: str, texts: Sequence[str]) -> Embedder:
        """Return what embeds texts, as `over` does for conversations."""
        asked = cassette_request.embed(model, texts)
        shelf, playback = self._found(asked)
        if playback is not None:
            return ReplayEmbedder(playback)
        draft, keep = partial(self._draft, asked, shelf), partial(self._keep, shelf)
        return RecordingEmbedder(embedder, draft, keep)

    def rewind(self) -> None:
        """Begin again with the first recording of every request.

        What has been recorded since the cassette was opened is replayed from then on, too, in mode
        "once"; mode "all" goes on to ask.
        """
        with self._lock:
            self._opened().rewind()
            self._is_first = False

    # Opening and closing

    def __enter__(self) -> Self:
        with self._lock:
            self._opened()
        self._around.append(standing.backends)
        configure(backends=self.backends)
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        configure(backends=self._around.pop())
        try:
            self.close()
        except (CassetteSecretError, StorageError) as problem:
            if error is None:
                raise
            error.add_note(str(problem))  # the block's own error goes on

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def close(self) -> None:
        """Finish the file. Closing again changes nothing, and the next use opens it again.

        It does not wait for calls that are under way: their answers are added to the file later.
        If it raises, the cassette is still open.

        Raises:
            CassetteSecretError: an answer was not written, for a secret in it or in its request.
                If it is none, say so with `cassette.allow = […]` and close again: what was held
                back is written then. In mode "all" the old file stays until that is settled.
            StorageError: the file cannot be written. What was to be written stays in memory: make
                room, and close again.
        """
        with self._lock:
            self._late_writer.finish(self.allow)
            self._writer.finish(self.allow)
            self._writer = self._new_writer()
            self._shelf = None

    def _opened(self) -> Shelf:
        if self._shelf is None:
            asks_anew = self.mode == "all"
            recordings = [] if asks_anew else cassette_file.read(self.path, Recording.read)
            self._shelf = Shelf(recordings, self._matching, repeats=self._repeats)
            self._is_first = self.mode == "once" and not recordings
        return self._shelf

    # Playing and recording

    def _found(self, asked: Asked) -> tuple[Shelf, Playback | None]:
        """Return where the call belongs and its recording, None if the model is to be asked."""
        with self._lock:
            shelf = self._opened()
            if self.mode == "all" or self._is_first:
                return shelf, None
            if self.on_stale == "record":
                # Taken at once: whether this is a replay must not change any more, as guards of
                # money are asked between this and the first piece.
                recording = shelf.take(asked)
                if recording is None:
                    return shelf, None
                return shelf, self._playback(recording, partial(self._counted, recording), shelf)
            recording = shelf.peek(asked)
            if recording is None:
                raise miss(self.path, asked, shelf, self._matching)
            return shelf, self._playback(recording, partial(self._taken, asked, shelf), shelf)

    def _playback(
        self, recording: Recording, take: Callable[[], Recording], shelf: Shelf
    ) -> Playback:
        where = str(self.path)
        return Playback(recording, take, shelf.give_back, speed=self._speed, where=where)

    def _taken(self, asked: Asked, shelf: Shelf) -> Recording:
        with self._lock:
            recording = shelf.take(asked)
            if recording is None:
                raise miss(self.path, asked, shelf, self._matching)
            return self._counted(recording)

    def _counted(self, recording: Recording) -> Recording:
        with self._lock:
            self.replayed += 1
            return recording

    def _draft(self, asked: Asked, shelf: Shelf) -> Draft:
        with self._lock:
            return Draft(asked, shelf.next_call())

    def _keep(self, shelf: Shelf, recording: Recording) -> None:
        with self._lock:
            self.recorded += 1
            shelf.keep(recording)
            is_late = shelf is not self._shelf  # it was closed while the model answered
            (self._late_writer if is_late else self._writer).add(recording, self.allow)

    def _new_writer(self) -> Writer:
        return Writer(self.path, aside=self.mode == "all")
