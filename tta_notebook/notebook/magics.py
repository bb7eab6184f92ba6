"""The magics that IPython itself calls: traces, pictures, and the runs that cannot await.

`%%tta_workflow` and `%tta_run` are rewritten before IPython sees them (cell.py). Behind another
cell magic (`%%time`, `%%capture`) and inside a plain function nothing can await: there the real
magics of the same name run, and block.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, needs_local_scope
from IPython.core.magic import no_var_expand as raw_line

from tta_notebook.core.algebra import as_primitive
from tta_notebook.core.errors import CompositionError, ConfigurationError, Names
from tta_notebook.core.graph import Graph
from tta_notebook.core.run import Run
from tta_notebook.notebook.cell import run_words, transform
from tta_notebook.notebook.display import run_json, run_table, run_text
from tta_notebook.notebook.ipython import Shell, UsageError
from tta_notebook.notebook.money import Money, budget_text
from tta_notebook.notebook.options import (
    BUDGET,
    COSTS,
    GRAPH,
    RUN,
    TRACE,
    Arguments,
    Magic,
    UsageMistake,
    parse_expression,
    read,
    seconds_in,
)
from tta_notebook.notebook.rows import is_run, short_id
from tta_notebook.notebook.runtime import Runtime

if TYPE_CHECKING:
    from tta_notebook.cost.report import LedgerReport
    from tta_notebook.report.chart import Chart

_FORMATS = {"tree": run_text, "table": run_table, "json": run_json}


@magics_class
class TTAMagics(Magics):
    """Workflows from cells; every magic answers `-h`."""

    shell: Shell

    def __init__(self, shell: Shell, runtime: Runtime, money: Money) -> None:
        super().__init__(shell)
        self._runtime = runtime
        self._money = money

    @raw_line
    @cell_magic
    def tta_workflow(self, line: str, cell: str) -> Any:
        """Define a workflow in a cell, and run it with --input; %%tta_workflow -h has the rest."""
        translate = self.shell.input_transformer_manager.do_token_transforms
        lines = [f"%%tta_workflow {line}\n", *cell.splitlines(keepends=True)]
        try:
            lines = transform(lines, translate, awaits=False)
        except UsageMistake as mistake:
            raise UsageError(str(mistake)) from None
        return self._execute("".join(lines))

    def _execute(self, source: str) -> Any:
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
            message = "%%tta_workflow: the body awaits, and behind another magic nothing can await."
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
            timeout_s=None if timeout_s is None else float(timeout_s),
            quiet="q" in arguments.values,
        )

    @raw_line
    @needs_local_scope
    @line_magic
    def tta_trace(self, line: str, local_ns: dict[str, Any] | None = None) -> None:
        """Show what a run did, step by step. %tta_trace -h has the rest."""
        arguments = self._read(TRACE, line)
        if arguments is not None:
            run = self._find_run(arguments, local_ns)
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

    @raw_line
    @line_magic
    def tta_costs(self, line: str) -> LedgerReport | Chart | None:
        """Show what calls to models have cost. %tta_costs -h has the rest."""
        arguments = self._read(COSTS, line)
        if arguments is None:
            return None
        ledger, values = self._money.ledger, arguments.values
        since = timedelta(seconds=seconds_in(values["since"])) if "since" in values else None
        by = values.get("by")
        if "plot" in values:
            from tta_notebook.report.figures import cost_chart  # noqa: PLC0415 - only who draws

            return cost_chart(ledger, by or "model", since)
        if by is None:
            return ledger.report(since)
        from tta_notebook.cost.report import LedgerReport  # noqa: PLC0415 - loaded by now

        return LedgerReport(ledger.totals(since), {by: ledger.lines(by, since)})

    @raw_line
    @needs_local_scope
    @line_magic
    def tta_budget(self, line: str, local_ns: dict[str, Any] | None = None) -> None:
        """Show, set or clear the notebook's budget. %tta_budget -h has the rest."""
        arguments = self._read(BUDGET, line)
        if arguments is None:
            return
        verb, *amount = arguments.words or ["show"]
        if verb == "set" and amount:
            self._set_budget(self._evaluate(amount[0], local_ns), arguments.values)
        elif verb == "clear" and not amount and not arguments.values:
            self._money.clear_budget()
        elif verb != "show" or amount or arguments.values:
            raise UsageError(
                f"{BUDGET.title}: write {BUDGET.title} set USD [--per day], {BUDGET.title} clear, "
                f"or {BUDGET.title} alone; -h has the rest."
            )
        print(budget_text(self._money.budget))  # noqa: T201 - a magic prints

    def _set_budget(self, amount: Any, values: dict[str, str]) -> None:
        try:
            self._money.set_budget(
                amount,
                values.get("per", "total"),
                values.get("scope"),
                values.get("timezone", "UTC"),
            )
        except ConfigurationError as error:
            raise UsageError(str(error)) from None

    def _read(self, magic: Magic, line: str) -> Arguments | None:
        """Read a magic's line; print its help and return None when that is what it asks for."""
        try:
            arguments = read(magic, line)
        except UsageMistake as mistake:
            raise UsageError(str(mistake)) from None
        if "h" in arguments.values:
            self._runtime.help(magic.name)
            return None
        return arguments

    def _find_run(self, arguments: Arguments, local_ns: dict[str, Any] | None) -> Run[Any]:
        runs = self._runtime.recent_runs()
        if not arguments.words:
            if not runs:
                raise UsageError(f"{TRACE.title}: there is no run yet.")
            return runs[0]
        return self._run_called(arguments.words[0], runs, local_ns)

    def _run_called(
        self, text: str, runs: Sequence[Run[Any]], local_ns: dict[str, Any] | None
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
            raise UsageError(f"{TRACE.title}: {text} is a {type(value).__name__}, not a Run.")
        known = Names(map(short_id, runs)).instead_of(text)
        raise UsageError(f"{TRACE.title}: no run is called {text!r}; there is {known}.")

    def _known_workflows(self) -> str:
        return str(Names(self._runtime.workflow_names()))

    def _checked(self, magic: Magic, text: str) -> str:
        try:
            parse_expression(magic.title, text)
        except UsageMistake as mistake:
            raise UsageError(str(mistake)) from None
        return text

    def _evaluate(self, text: str, local_ns: dict[str, Any] | None) -> Any:
        namespace = self.shell.user_ns
        return eval(text, namespace, local_ns or namespace)  # noqa: S307 - a cell's own expression
