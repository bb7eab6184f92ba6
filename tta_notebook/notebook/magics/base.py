"""What all families of magics share: reading their lines, help, expressions of the notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from IPython.core.magic import Magics

from tta_notebook.core.errors import Names
from tta_notebook.core.run import Run
from tta_notebook.notebook.ipython import Shell, UsageError
from tta_notebook.notebook.money import Money
from tta_notebook.notebook.options import Arguments, Magic, UsageMistake, parse_expression, read
from tta_notebook.notebook.records import Records
from tta_notebook.notebook.rows import is_run, short_id
from tta_notebook.notebook.runtime import Runtime
from tta_notebook.notebook.settings import TTAMagics


class Parts(NamedTuple):
    """What the magics of one shell work on.

    Attributes:
        runtime: the notebook's side of defining and running workflows.
        money: its books and its budget.
        records: its history.
        settings: how they work.
    """

    runtime: Runtime
    money: Money
    records: Records
    settings: TTAMagics


class Family(Magics):
    """Magics that belong together; each of them answers `-h`."""

    shell: Shell

    def __init__(self, shell: Shell, parts: Parts) -> None:
        super().__init__(shell)
        self._runtime = parts.runtime
        self._money = parts.money
        self._records = parts.records
        self._settings = parts.settings

    def _read(self, magic: Magic, line: str) -> Arguments | None:
        """Read a magic's line; print its help and return None when that is what it asks for."""
        try:
            arguments = read(magic, line)
        except UsageMistake as mistake:
            raise UsageError(str(mistake)) from None
        if "h" in arguments.values:
            print(magic.help())  # noqa: T201 - a magic prints
            return None
        return arguments

    def _checked(self, magic: Magic, text: str) -> str:
        try:
            parse_expression(magic.title, text)
        except UsageMistake as mistake:
            raise UsageError(str(mistake)) from None
        return text

    def _evaluate(self, text: str, local_ns: dict[str, Any] | None) -> Any:
        namespace = self.shell.user_ns
        return eval(text, namespace, local_ns or namespace)  # noqa: S307 - a cell's own expression

    def _find_run(
        self, magic: Magic, words: Sequence[str], local_ns: dict[str, Any] | None
    ) -> Run[Any]:
        """Return the run that a magic's first word names, the newest one without a word."""
        runs = self._runtime.recent_runs()
        if words:
            return self._run_called(magic, words[0], runs, local_ns)
        if not runs:
            raise UsageError(f"{magic.title}: there is no run yet.")
        return runs[0]

    def _run_called(
        self, magic: Magic, text: str, runs: Sequence[Run[Any]], local_ns: dict[str, Any] | None
    ) -> Run[Any]:
        # The notebook's own names first: "a1" may be both a variable and an id.
        try:
            value = self._evaluate(text, local_ns)
        except (NameError, SyntaxError):
            value = None
        if is_run(value):
            return value
        for run in runs:
            if text in (run.id, short_id(run)):
                return run
        if value is not None:
            raise UsageError(f"{magic.title}: {text} is a {type(value).__name__}, not a Run.")
        known = Names(map(short_id, runs)).instead_of(text)
        raise UsageError(f"{magic.title}: no run is called {text!r}; there is {known}.")
