"""What gets recordings into a cassette's file: at once, whole, and without secrets."""

from __future__ import annotations

import secrets
from pathlib import Path

from tta_notebook.core.errors import CassetteSecretError, StorageError
from tta_notebook.llm.cassettes import file as cassette_file
from tta_notebook.llm.cassettes.recording import Recording
from tta_notebook.llm.cassettes.secrets import Allow, first_secret


class Writer:
    """Writes recordings as they come; what cannot or must not be written waits in memory.

    Its owner's lock is held around every method.

    Args:
        path: the file.
        aside: whether to write beside it, and to put that in its place at the end.
    """

    def __init__(self, path: Path, *, aside: bool) -> None:
        self._path = path
        self._aside: Path | None = None
        if aside:
            # Of its own for every opening: two of them do not write into each other's.
            self._aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
        self._waiting: list[bytes] = []
        self._held_back: list[Recording] = []
        self._error: OSError | None = None

    def add(self, recording: Recording, allow: Allow) -> None:
        """Write a recording; it never raises, as whoever asked the model shall have the answer."""
        self._sort_in(recording, allow)
        self._write()

    def finish(self, allow: Allow) -> None:
        """Write what is left, and put the file in its place.

        Raises:
            CassetteSecretError: something was held back; it stays so until `allow` allows it.
            StorageError: something cannot be written.
        """
        held_back, self._held_back = self._held_back, []
        for recording in held_back:
            self._sort_in(recording, allow)
        self._write()
        self._check_written()
        self._check_clean(allow)
        if self._aside is not None and self._aside.exists():
            self._replace(self._aside)

    def _sort_in(self, recording: Recording, allow: Allow) -> None:
        fields = recording.fields()
        if first_secret(fields, allow) is None:
            self._waiting.append(cassette_file.line_of(fields))
        else:
            self._held_back.append(recording)

    def _write(self) -> None:
        if not self._waiting:
            return
        try:
            cassette_file.append(self._aside or self._path, self._waiting)
        except OSError as error:
            self._error = error
        else:
            self._waiting.clear()

    def _replace(self, aside: Path) -> None:
        try:
            aside.replace(self._path)
        except OSError as error:
            raise StorageError(
                f"{self._path}: the new recording cannot take this file's place ({error}). It is "
                f"whole in {aside}: move it by hand, or close the cassette again.",
                path=str(self._path),
            ) from error

    def _check_written(self) -> None:
        if self._waiting:
            raise StorageError(
                f"{self._path}: {len(self._waiting)} recorded calls cannot be written "
                f"({self._error}). They are kept in memory: make room or allow this user to write "
                "there, and close the cassette again.",
                path=str(self._path),
            ) from self._error

    def _check_clean(self, allow: Allow) -> None:
        for recording in self._held_back:
            secret = first_secret(recording.fields(), allow)
            if secret is not None:
                raise CassetteSecretError(
                    f"{self._path}: {len(self._held_back)} of the recorded calls were not written: "
                    f"{secret.place} of call {recording.call} holds what looks like {secret.kind}, "
                    "and whoever reads the file would have it. Take it out of the prompt and "
                    "record again; if it is no secret, say so with cassette.allow = […] and close "
                    "the cassette again.",
                    path=str(self._path),
                    place=secret.place,
                    kind=secret.kind,
                )
