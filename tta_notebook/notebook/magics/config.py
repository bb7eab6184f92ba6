"""The magic that changes how the extension works."""

from __future__ import annotations

from typing import Any

from IPython.core.magic import line_magic, magics_class
from IPython.core.magic import no_var_expand as raw_line

from tta_notebook.core.errors import ConfigurationError, Names
from tta_notebook.notebook.ipython import Shell, UsageError
from tta_notebook.notebook.magics.base import Family, Parts
from tta_notebook.notebook.nest import turn_from_within, turn_no_more
from tta_notebook.notebook.tables.config import CONFIG, SETTINGS


@magics_class
class ConfigMagics(Family):
    """How the extension works in this kernel."""

    def __init__(self, shell: Shell, parts: Parts) -> None:
        super().__init__(shell, parts)
        self._settings = {name: choices[0] for name, choices in SETTINGS.items()}

    @raw_line
    @line_magic
    def tta_config(self, line: str) -> Any:
        """Show or change how the extension works. %tta_config -h has the rest."""
        arguments = self._read(CONFIG, line)
        if arguments is None:
            return
        changes = dict(map(_setting, arguments.words))
        for name, value in changes.items():
            if value != self._settings[name]:
                self._change(name, value)
                self._settings[name] = value
        print("  ".join(f"{name}={value}" for name, value in self._settings.items()))  # noqa: T201 - a magic prints

    def _change(self, name: str, value: str) -> None:
        if name == "history":
            if value == "on":
                self._records.add()
            else:
                self._records.remove()
        elif value == "native":
            turn_no_more()
        else:
            try:
                turn_from_within()
            except ConfigurationError as error:
                raise UsageError(f"{CONFIG.title}: {error}") from None


def _setting(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    if name not in SETTINGS:
        known = Names(SETTINGS).instead_of(name)
        raise UsageError(f"{CONFIG.title}: there is no setting {name!r}; there is {known}.")
    if value not in SETTINGS[name]:
        choices = Names(SETTINGS[name]).instead_of(value)
        raise UsageError(f"{CONFIG.title}: {name} is one of {choices}, not {value!r}.")
    return name, value
