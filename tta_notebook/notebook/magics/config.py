"""The magic that shows and changes the settings."""

from __future__ import annotations

from IPython.core.magic import line_magic, magics_class
from IPython.core.magic import no_var_expand as raw_line

from tta_notebook.notebook.ipython import UsageError
from tta_notebook.notebook.magics.base import Family
from tta_notebook.notebook.options import UsageMistake
from tta_notebook.notebook.tables.config import CONFIG, SETTINGS, read_setting


@magics_class
class ConfigMagics(Family):
    """How the extension works in this kernel."""

    @raw_line
    @line_magic
    def tta_config(self, line: str) -> None:
        """Show or change how the extension works. %tta_config -h has the rest."""
        arguments = self._read(CONFIG, line)
        if arguments is None:
            return
        try:
            # All of them first: a line with a mistake changes nothing.
            changes = dict(map(_setting, arguments.words))
            self._settings.change(changes, CONFIG.title)
        except UsageMistake as mistake:
            raise UsageError(str(mistake)) from None
        print(self._state())  # noqa: T201 - a magic prints

    def _state(self) -> str:
        said = [f"{name}={self._settings[name]}" for name in SETTINGS]
        width = max(map(len, said))
        return "\n".join(
            f"{each:<{width}}  {self._settings.source_of(name)}"
            for name, each in zip(SETTINGS, said, strict=True)
        )


def _setting(word: str) -> tuple[str, str]:
    name, _, value = word.strip("'\"").partition("=")
    return name, read_setting(CONFIG.title, name, value.strip("'\""))
