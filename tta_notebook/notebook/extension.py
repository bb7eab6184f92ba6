"""Loading into IPython and leaving it again: everything that is added here is removed here."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.graph import Graph
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.run import Run
from tta_notebook.core.stream import stream
from tta_notebook.notebook.background import (
    BackgroundRun,
    announcement_html,
    announcement_text,
)
from tta_notebook.notebook.calls import RUNTIME
from tta_notebook.notebook.cell import transform
from tta_notebook.notebook.completion import Matcher
from tta_notebook.notebook.display import run_text
from tta_notebook.notebook.ipython import RUN_CODE, Shell, UsageError
from tta_notebook.notebook.loop import Heartbeat
from tta_notebook.notebook.magics import FAMILIES, Parts
from tta_notebook.notebook.money import Money
from tta_notebook.notebook.nest import turn_from_within, turn_no_more
from tta_notebook.notebook.options import UsageMistake
from tta_notebook.notebook.picture import run_html
from tta_notebook.notebook.records import Records
from tta_notebook.notebook.runtime import Runtime
from tta_notebook.notebook.settings import TTAMagics

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

    def __init__(self, shell: Shell, settings: TTAMagics) -> None:
        self._shell = shell
        self._settings = settings

    def __call__(self, lines: list[str]) -> list[str]:
        """Rewrite a cell, unless it is one within another: what runs inside a cell cannot await."""
        if _is_inside_a_cell(inspect.currentframe()):
            return lines
        try:
            return transform(
                lines,
                self._shell.input_transformer_manager.do_token_transforms,
                quiet=self._settings["quiet"] == "on",
            )
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
        self._settings = TTAMagics(shell)
        self._runtime = Runtime(shell, self._settings)
        self._transform = CellTransform(shell, self._settings)
        self._matcher = Matcher(self._runtime)
        self._heartbeat = Heartbeat()
        self._money = Money()
        self._records = Records()
        parts = Parts(self._runtime, self._money, self._records, self._settings)
        self._magics = [family(shell, parts) for family in FAMILIES]
        self._tracing = (False, False)

    def add(self) -> None:
        """Add everything."""
        shell = self._shell
        shell.user_ns[RUNTIME] = shell.user_ns_hidden[RUNTIME] = self._runtime
        shell.input_transformers_cleanup.append(self._transform)
        shell.register_magics(*self._magics)
        shell.events.register("pre_run_cell", self._heartbeat.start)
        shell.events.register("pre_run_cell", self._runtime.remember_cell)
        shell.events.register("post_run_cell", self._heartbeat.stop)
        if shell.Completer is not None:
            shell.Completer.custom_matchers.append(self._matcher)
        for mime, kind, show in self._formatters():
            _formatter(shell, mime).for_type(kind, show)
        self._tracing = (stream.is_enabled, stream.with_previews)
        stream.enable(previews=True)
        self._money.add()
        self._settle()

    def _settle(self) -> None:
        """Read the settings, and do what they say."""
        self._shell.configurables.append(self._settings)
        for problem in self._settings.take_defaults():
            print(f"tta_notebook: {problem}", file=sys.stderr)  # noqa: T201 - to who has loaded it
        if self._settings["history"] == "on":
            self._records.add()
        if self._settings["loop"] == "nest":
            try:
                _turn_from_within()
            except UsageMistake as mistake:
                print(f"tta_notebook: {mistake}", file=sys.stderr)  # noqa: T201 - the same
                self._settings.change({"loop": "native"}, "%load_ext")
        self._settings.effects = {"history": self._keep_history, "loop": _turn_loop}

    def _keep_history(self, wanted: str) -> None:
        if wanted == "on":
            self._records.add()
        else:
            self._records.remove()

    def remove(self) -> None:
        """Remove everything, magics included, which IPython would leave behind."""
        shell = self._shell
        # The history of a run that is still cleaning up gets its end as well, and its workers stay.
        self._runtime.background.stop(farewell=self._take_leave)
        shell.configurables.remove(self._settings)
        if self._settings["loop"] == "nest":
            turn_no_more()
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
        shell.events.unregister("pre_run_cell", self._runtime.remember_cell)
        shell.events.unregister("post_run_cell", self._heartbeat.stop)
        self._heartbeat.close()
        if shell.Completer is not None:
            shell.Completer.custom_matchers.remove(self._matcher)
        for mime, kind, _ in self._formatters():
            _formatter(shell, mime).pop(kind, None)
        self._money.remove()
        was_enabled, with_previews = self._tracing
        stream.disable()
        if was_enabled:
            stream.enable(previews=with_previews)
        self._runtime.at_unload.close()  # last: a cassette that cannot be finished raises

    def _take_leave(self) -> None:
        self._records.remove()
        self._runtime.cluster.leave()

    @staticmethod
    def _formatters() -> list[tuple[str, type[Any], Callable[..., Any]]]:
        return [
            ("text/plain", Run, _printing(run_text)),
            ("text/html", Run, run_html),
            ("text/plain", BackgroundRun, _printing(announcement_text)),
            ("text/html", BackgroundRun, announcement_html),
            ("text/plain", Graph, _printing(Graph.to_text)),
            ("text/html", Graph, Graph.to_svg),
            ("text/plain", WorkflowPrimitive, _printing(_workflow_text)),
            ("text/html", WorkflowPrimitive, _workflow_svg),
        ]


def _turn_loop(wanted: str) -> None:
    if wanted == "nest":
        _turn_from_within()
    else:
        turn_no_more()


def _turn_from_within() -> None:
    try:
        turn_from_within()
    except ConfigurationError as error:
        raise UsageMistake(str(error)) from None


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
