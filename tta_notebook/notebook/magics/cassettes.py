"""The magic that records and replays calls to models."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING

from IPython.core.magic import line_magic, magics_class
from IPython.core.magic import no_var_expand as raw_line

from tta_notebook.core.errors import CassetteSecretError, WorkflowError
from tta_notebook.notebook.ipython import Shell, UsageError
from tta_notebook.notebook.magics.base import Family, Parts
from tta_notebook.notebook.tables.cassettes import CASSETTE

if TYPE_CHECKING:
    from tta_notebook.llm.cassettes.cassette import Cassette


@magics_class
class CassetteMagics(Family):
    """The cassette that serves every run of the kernel."""

    def __init__(self, shell: Shell, parts: Parts) -> None:
        super().__init__(shell, parts)
        self._cassette: Cassette | None = None
        parts.runtime.at_unload.callback(self._off)

    @raw_line
    @line_magic
    def tta_cassette(self, line: str) -> None:
        """Record calls to models, or replay them. %tta_cassette -h has the rest."""
        arguments = self._read(CASSETTE, line)
        if arguments is None:
            return
        if not arguments.words and arguments.values:
            raise UsageError(f"{CASSETTE.title}: --mode is about a file; write it before --mode.")
        for word in arguments.words:
            try:
                self._off()
                if word != "off":
                    self._on(word.strip("'\""), arguments.values.get("mode", "once"))
            except CassetteSecretError as error:
                hint = (
                    "The cassette is off; in plain Python `Cassette(FILE, allow=…)` can allow it."
                )
                raise UsageError(f"{CASSETTE.title}: {error} {hint}") from None
            except WorkflowError as error:
                raise UsageError(f"{CASSETTE.title}: {error}") from None
        print(self._state())  # noqa: T201 - a magic prints

    def _on(self, file: str, mode: str) -> None:
        from tta_notebook.llm.cassettes.cassette import Cassette  # noqa: PLC0415 - only who uses one

        cassette = Cassette(file, mode, repeat=True)  # type: ignore[arg-type]  # the reader knows the modes
        self._cassette = cassette.__enter__()
        atexit.register(self._off)

    def _off(self) -> None:
        cassette, self._cassette = self._cassette, None
        if cassette is not None:
            atexit.unregister(self._off)
            cassette.__exit__(None, None, None)

    def _state(self) -> str:
        cassette = self._cassette
        if cassette is None:
            return "Cassette: none is on; %tta_cassette FILE puts one on."
        return (
            f"Cassette: {cassette.path.name} (mode {cassette.mode}) serves every run; "
            f"{cassette.replayed} replayed, {cassette.recorded} recorded."
        )
