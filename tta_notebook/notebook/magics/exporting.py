"""The magic that writes modules."""

from __future__ import annotations

from pathlib import Path

from IPython.core.magic import line_magic, magics_class
from IPython.core.magic import no_var_expand as raw_line

from tta_notebook.core.errors import Names, WorkflowError
from tta_notebook.notebook.ipython import UsageError
from tta_notebook.notebook.magics.base import Family
from tta_notebook.notebook.tables.exporting import EXPORT


@magics_class
class ExportMagics(Family):
    """Plain modules from the notebook's cells."""

    @raw_line
    @line_magic
    def tta_export(self, line: str) -> None:
        """Write workflows to a plain module. %tta_export -h has the rest."""
        arguments = self._read(EXPORT, line)
        if arguments is None:
            return
        names, values = arguments.words, arguments.values
        if not names:
            known = Names(self._runtime.workflow_names())
            raise UsageError(f"{EXPORT.title}: which one? There is {known}.")
        from tta_notebook.notebook import export  # noqa: PLC0415 - only who exports

        try:
            exported = export.export_module(
                names,
                Path(values.get("o", f"{names[0]}.py")),
                cells=export.cells_of(self.shell),
                kernel=self.shell.user_ns,
                recorded=self._runtime.recorded,
                check="check" in values,
                tests="tests" in values,
                force="force" in values,
            )
        except WorkflowError as error:
            raise UsageError(f"{EXPORT.title}: {error}") from None
        print(exported)  # noqa: T201 - a magic prints
