"""Loading into IPython and leaving it again: everything that is added here is removed here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FrameType
from typing import Any

from tta_notebook.core.graph import Graph
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.run import Run
from tta_notebook.core.stream import stream
from tta_notebook.notebook.cell import RUNTIME, transform
from tta_notebook.notebook.completion import Matcher
from tta_notebook.notebook.display import run_text
from tta_notebook.notebook.ipython import RUN_CODE, Shell, UsageError
from tta_notebook.notebook.loop import Heartbeat
from tta_notebook.notebook.magics import FAMILIES, Parts
from tta_notebook.notebook.money import Money
from tta_notebook.notebook.options import UsageMistake
from tta_notebook.notebook.picture import run_html
from tta_notebook.notebook.records import Records
from tta_notebook.notebook.runtime import Runtime

_ATTRIBUTE = "_tta_extension"


def load(shell: Shell) -> None:
    """Add the magics, the displays and the tracing to a shell; loading twice changes nothing."""
    if getattr(shell, _ATTRIBUTE, None) is None:
        extension = Extension(shell)
        setattr(shell, _ATTRIBUTE, extension)
        extension.add()


def unload(shell: Shell) -> None:
    """Remove everything that `load` has added."""
    extension: Extension | None = getattr(shell, _ATTRIBUTE, None)
    if extension is not None:
        delattr(shell, _ATTRIBUTE)
        extension.remove()


class CellTransform:
    """The source transform as a clean-up step of IPython's."""

    # check_complete() leaves such transforms out, so that the terminal still sees a cell magic and
    # asks for more lines until an empty one.
    has_side_effects = True

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def __call__(self, lines: list[str]) -> list[str]:
        """Rewrite a cell, unless it is one within another: what runs inside a cell cannot await."""
        if _is_inside_a_cell(inspect.currentframe()):
            return lines
        try:
            return transform(lines, self._shell.input_transformer_manager.do_token_transforms)
        except UsageMistake as mistake:
            # UsageError itself: IPython prints a traceback even for a subclass of it.
            raise UsageError(str(mistake)) from None


def _is_inside_a_cell(frame: FrameType | None) -> bool:
    """Tell whether a cell's code is running: `%%time` and `%%capture` transform their own body."""
    while frame is not None:
        if frame.f_code is RUN_CODE:
            return True
        frame = frame.f_back
    return False


class Extension:
    """What is added to one shell."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._runtime = Runtime(shell)
        self._transform = CellTransform(shell)
        self._matcher = Matcher(self._runtime)
        self._heartbeat = Heartbeat()
        self._money = Money()
        self._records = Records()
        parts = Parts(self._runtime, self._money, self._records)
        self._magics = [family(shell, parts) for family in FAMILIES]
        self._tracing = (False, False)

    def add(self) -> None:
        """Add everything."""
        shell = self._shell
        shell.user_ns[RUNTIME] = shell.user_ns_hidden[RUNTIME] = self._runtime
        shell.input_transformers_cleanup.append(self._transform)
        shell.register_magics(*self._magics)
        shell.events.register("pre_run_cell", self._heartbeat.start)
        shell.events.register("post_run_cell", self._heartbeat.stop)
        if shell.Completer is not None:
            shell.Completer.custom_matchers.append(self._matcher)
        for mime, kind, show in self._formatters():
            _formatter(shell, mime).for_type(kind, show)
        self._tracing = (stream.is_enabled, stream.with_previews)
        stream.enable(previews=True)
        self._money.add()
        self._records.add()

    def remove(self) -> None:
        """Remove everything, magics included, which IPython would leave behind."""
        shell = self._shell
        shell.user_ns.pop(RUNTIME, None)
        shell.user_ns_hidden.pop(RUNTIME, None)
        shell.input_transformers_cleanup.remove(self._transform)
        for magics in shell.magics_manager.magics.values():
            for name in [name for name in magics if name.startswith("tta_")]:
                del magics[name]
        for family in self._magics:
            shell.magics_manager.registry.pop(type(family).__name__, None)
            shell.configurables.remove(family)
        shell.events.unregister("pre_run_cell", self._heartbeat.start)
        shell.events.unregister("post_run_cell", self._heartbeat.stop)
        self._heartbeat.close()
        if shell.Completer is not None:
            shell.Completer.custom_matchers.remove(self._matcher)
        for mime, kind, _ in self._formatters():
            _formatter(shell, mime).pop(kind, None)
        self._records.remove()
        self._money.remove()
        was_enabled, with_previews = self._tracing
        stream.disable()
        if was_enabled:
            stream.enable(previews=with_previews)
        self._runtime.at_unload.close()  # last: a cassette that cannot be finished raises

    @staticmethod
    def _formatters() -> list[tuple[str, type[Any], Callable[..., Any]]]:
        return [
            ("text/plain", Run, _printing(run_text)),
            ("text/html", Run, run_html),
            ("text/plain", Graph, _printing(Graph.to_text)),
            ("text/html", Graph, Graph.to_svg),
            ("text/plain", WorkflowPrimitive, _printing(_workflow_text)),
            ("text/html", WorkflowPrimitive, _workflow_svg),
        ]


def _printing(text_of: Callable[[Any], str]) -> Callable[[Any, Any, bool], None]:
    """Return a text as IPython's pretty printer takes it."""

    def show(value: Any, printer: Any, _: bool) -> None:
        printer.text(text_of(value))

    return show


def _workflow_text(workflow: WorkflowPrimitive[Any, Any]) -> str:
    return workflow.graph().to_text()


def _workflow_svg(workflow: WorkflowPrimitive[Any, Any]) -> str:
    return workflow.graph().to_svg()


def _formatter(shell: Shell, mime: str) -> Any:
    return shell.display_formatter.formatters[mime]
