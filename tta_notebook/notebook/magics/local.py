"""The magic that sees to the embedded model."""

from __future__ import annotations

from IPython.core.magic import line_magic, magics_class
from IPython.core.magic import no_var_expand as raw_line

from tta_notebook.core.errors import InstallError, Names
from tta_notebook.notebook.ipython import UsageError
from tta_notebook.notebook.magics.base import Family
from tta_notebook.notebook.tables.local import LOCAL, LOCAL_ACTIONS


@magics_class
class LocalMagics(Family):
    """The embedded model."""

    @raw_line
    @line_magic
    def tta_local(self, line: str) -> None:
        """Say what `local` stands for, or install it. %tta_local -h has the rest."""
        arguments = self._read(LOCAL, line)
        if arguments is None:
            return
        from tta_notebook.llm.local.install import install, status  # noqa: PLC0415 - not at load

        action = arguments.words[0] if arguments.words else LOCAL_ACTIONS[0]
        if action not in LOCAL_ACTIONS:
            known = Names(LOCAL_ACTIONS).instead_of(action)
            raise UsageError(f"{LOCAL.title}: {action!r} is nothing it can do; there is {known}.")
        if action == "install":
            try:
                install()
            except InstallError as error:
                raise UsageError(f"{LOCAL.title}: {error}") from None
        print(status())  # noqa: T201 - a magic prints
