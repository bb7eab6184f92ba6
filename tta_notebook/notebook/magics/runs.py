"""The magics that run workflows and show runs.

`%%tta_workflow`, `%%tta_primitive` and `%tta_run` are rewritten before IPython sees them (cell.py).
Behind another cell magic (`%%time`, `%%capture`) and inside a plain function nothing can await:
there the real magics of the same name run, and block.
"""

from __future__ import annotations

import ast
from typing import Any

from IPython.core.magic import cell_magic, line_magic, magics_class, needs_local_scope
from IPython.core.magic import no_var_expand as raw_line

from tta_notebook.core.algebra import as_primitive
from tta_notebook.core.errors import CompositionError, Names
from tta_notebook.core.graph import Graph
from tta_notebook.core.run import Run
from tta_notebook.notebook.calls import refuse_background, run_words
from tta_notebook.notebook.cell import transform
from tta_notebook.notebook.display import run_json, run_table, run_text
from tta_notebook.notebook.gantt import run_gantt
from tta_notebook.notebook.ipython import UsageError
from tta_notebook.notebook.magics.base import Family
from tta_notebook.notebook.options import Arguments, Magic, UsageMistake
from tta_notebook.notebook.tables.primitives import PRIMITIVE
from tta_notebook.notebook.tables.runs import GRAPH, RUN, TRACE, WORKFLOW

_FORMATS = {"tree": run_text, "gantt": run_gantt, "table": run_table, "json": run_json}


@magics_class
class RunMagics(Family):
    """Workflows from cells, their runs and pictures."""

    @raw_line
    @cell_magic
    def tta_workflow(self, line: str, cell: str) -> Any:
        """Define a workflow in a cell, and run it with --input; %%tta_workflow -h has the rest."""
        return self._rewritten(WORKFLOW, line, cell)

    @raw_line
    @cell_magic
    def tta_primitive(self, line: str, cell: str) -> Any:
        """Make a primitive of a cell's last function; %%tta_primitive -h has the rest."""
        return self._rewritten(PRIMITIVE, line, cell)

    def _rewritten(self, magic: Magic, line: str, cell: str) -> Any:
        translate = self.shell.input_transformer_manager.do_token_transforms
        lines = [f"{magic.title} {line}\n", *cell.splitlines(keepends=True)]
        try:
            quiet = self._settings["quiet"] == "on"
            lines = transform(lines, translate, awaits=False, quiet=quiet)
        except UsageMistake as mistake:
            raise UsageError(str(mistake)) from None
        return self._execute(magic, "".join(lines))

    def _execute(self, magic: Magic, source: str) -> Any:
        """Run a rewritten cell here and now and return its last expression."""
        name = self.shell.compile.cache(source, self.shell.execution_count)
        tree = self.shell.compile.ast_parse(source, filename=name)
        *body, last = tree.body
        namespace = self.shell.user_ns
        try:
            code = self.shell.compile(ast.Module(body, []), name, "exec")
        except SyntaxError as error:
            if "await" not in str(error):
                raise
            message = f"{magic.title}: the body awaits, and behind another magic nothing can await."
            raise UsageError(f"{message} Make it the first line of its cell.") from None
        exec(code, namespace)  # noqa: S102 - a cell's code, as IPython runs it
        if not isinstance(last, ast.Expr):
            return None
        return eval(  # noqa: S307 - the same
            self.shell.compile(ast.Expression(last.value), name, "eval"), namespace
        )

    @raw_line
    @needs_local_scope
    @line_magic
    def tta_run(self, line: str, local_ns: dict[str, Any] | None = None) -> Run[Any] | None:
        """Run a workflow; its value is the Run. %tta_run -h has the rest."""
        arguments = self._read(RUN, line)
        if arguments is None:
            return None
        try:
            refuse_background(RUN, arguments)
            name, expression = run_words(arguments)
        except UsageMistake as mistake:
            raise UsageError(str(mistake)) from None
        workflow = self._runtime.named(name, lambda: self._evaluate(name, local_ns))
        timeout_s = arguments.values.get("timeout")
        return self._runtime.run_blocking(
            workflow,
            self._evaluate(expression, local_ns),
            name=name,
            budget=arguments.values.get("budget"),
            cassette=arguments.values.get("cassette"),
            timeout_s=None if timeout_s is None else float(timeout_s),
            reuse=False if "no-reuse" in arguments.values else None,
            quiet=self._is_quiet(arguments),
        )

    def _is_quiet(self, arguments: Arguments) -> bool:
        is_meant = self._settings["quiet"] == "on" and "show" not in arguments.values
        return "q" in arguments.values or is_meant

    @raw_line
    @needs_local_scope
    @line_magic
    def tta_trace(self, line: str, local_ns: dict[str, Any] | None = None) -> None:
        """Show what a run did, step by step. %tta_trace -h has the rest."""
        arguments = self._read(TRACE, line)
        if arguments is not None:
            run = self._find_run(TRACE, arguments.words, local_ns)
            print(_FORMATS[arguments.values.get("format", "tree")](run))  # noqa: T201 - a magic prints

    @raw_line
    @needs_local_scope
    @line_magic
    def tta_graph(self, line: str, local_ns: dict[str, Any] | None = None) -> Graph | None:
        """Draw a workflow without running it. %tta_graph -h has the rest."""
        arguments = self._read(GRAPH, line)
        if arguments is None:
            return None
        if not arguments.words:
            raise UsageError(f"{GRAPH.title}: which one? There is {self._known_workflows()}.")
        text = self._checked(GRAPH, arguments.words[0])
        workflow = self._runtime.named(text, lambda: self._evaluate(text, local_ns))
        try:
            return as_primitive(workflow).graph()
        except CompositionError:
            kind = type(workflow).__name__
            raise UsageError(f"{GRAPH.title}: {text} is a {kind}, not a workflow.") from None

    def _known_workflows(self) -> str:
        return str(Names(self._runtime.workflow_names()))
