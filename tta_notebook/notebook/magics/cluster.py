"""The magic that runs maps on many processes.

Its lines are rewritten before IPython sees them (calls.py), so that a cell awaits what they do.
Here are those that need no waiting, and the way behind another magic, where nothing can await.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope
from IPython.core.magic import no_var_expand as raw_line

from tta_notebook.core.errors import Names
from tta_notebook.core.run import Run
from tta_notebook.core.threads import run_blocking
from tta_notebook.notebook.calls import action_options, map_options, refuse_background
from tta_notebook.notebook.ipython import UsageError
from tta_notebook.notebook.magics.base import Family
from tta_notebook.notebook.options import Arguments, Magic, UsageMistake
from tta_notebook.notebook.tables.cluster import (
    CLUSTER,
    CONNECT,
    MAP,
    SCALE,
    START,
    STATUS,
    STOP,
    read_action,
)


@magics_class
class ClusterMagics(Family):
    """The cluster of the notebook."""

    @raw_line
    @needs_local_scope
    @line_magic
    def tta_cluster(self, line: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Run maps on many processes. %tta_cluster -h has the rest."""
        action, rest = CLUSTER.action(line)
        if action is None:
            return self._without_action(line)
        try:
            arguments = read_action(action, rest)
            if "h" in arguments.values:
                print(action.help())  # noqa: T201 - a magic prints
                return None
            refuse_background(action, arguments)
        except UsageMistake as mistake:
            raise UsageError(str(mistake)) from None
        if action is STATUS:
            return self._runtime.cluster.status()
        value = self._map(arguments, local_ns) if action is MAP else self._change(action, arguments)
        if variable := arguments.values.get("as"):
            self.shell.user_ns[variable] = value
        return value if action is MAP and "q" not in arguments.values else None

    def _without_action(self, line: str) -> Any:
        word = line.split(maxsplit=1)[0] if line.strip() else ""
        if word and not word.startswith(("-", "#", ";")):
            known = Names(CLUSTER.action_words).instead_of(word)
            raise UsageError(f"{CLUSTER.title}: {word!r} is nothing it can do; there is {known}.")
        return None if self._read(CLUSTER, line) is None else self._runtime.cluster.status()

    def _change(self, action: Magic, arguments: Arguments) -> Any:
        cluster = self._runtime.cluster
        does: Mapping[str, Callable[..., Coroutine[Any, Any, Any]]] = {
            START.name: cluster.start,
            CONNECT.name: cluster.connect,
            SCALE.name: cluster.scale,
            STOP.name: cluster.stop,
        }
        options: dict[str, Any] = action_options(action, arguments)
        if "as" in arguments.values:
            options["is_bound"] = True
        return run_blocking(lambda: does[action.name](**options))

    def _map(self, arguments: Arguments, local_ns: dict[str, Any] | None) -> Run[Any]:
        name, expression = arguments.words
        said = arguments.values
        options: dict[str, Any] = map_options(arguments)
        mapped = self._runtime.mapped(name, lambda: self._evaluate(name, local_ns), **options)
        return self._runtime.run_blocking(
            mapped,
            self._evaluate(expression, local_ns),
            name=mapped.name,
            budget=said.get("budget"),
            timeout_s=float(said["timeout"]) if "timeout" in said else None,
            quiet="q" in said,
        )
