"""Writing workflows of a notebook to a plain module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tta_notebook.core.errors import Names, WorkflowError
from tta_notebook.llm.cassettes.secrets import first_secret
from tta_notebook.notebook.export.kernel import is_client, lost
from tta_notebook.notebook.export.module import is_beside_notebook, module_text
from tta_notebook.notebook.export.needs import NOTEBOOK_ONLY, Slice, needs_of
from tta_notebook.notebook.export.statements import Statement, statements_of


@dataclass(frozen=True, slots=True)
class Module:
    """What is to be written.

    Attributes:
        names: the names it is for.
        text: the module.
        notes: what to know of it, in sentences.
    """

    names: tuple[str, ...]
    text: str
    notes: tuple[str, ...]


def module_of(
    names: Sequence[str], cells: Mapping[int, str], kernel: Mapping[str, Any] | None = None
) -> Module:
    """Return the module that holds `names` and what they need.

    Args:
        names: workflows, functions or values of the notebook.
        cells: its cells by number, in the order in which they were run.
        kernel: the values of its names, as far as they are known.

    Raises:
        WorkflowError: it would not run; the message names what is missing, and what to do.
    """
    statements, kernel = statements_of(cells), kernel or {}
    _check_names(names, statements, kernel)
    found = needs_of(names, statements, kernel)
    chosen = [found.statements[place] for place in sorted(found.statements)]
    chosen = _future(statements) + chosen
    if problems := [*_problems(chosen, kernel), *_missing(found, kernel, statements)]:
        listed = "\n".join(f"- {problem}" for problem in problems)
        raise WorkflowError(
            f"{', '.join(names)}: no module was written, because it would not run:\n{listed}"
        )
    text = module_text(_title(names), chosen, found.imports)
    _check_text(names, text)
    return Module(tuple(names), text, tuple(_notes(found, chosen, statements, kernel)))


def _title(names: Sequence[str]) -> str:
    return f"{', '.join(names)}: exported from the cells of a notebook."


def _check_names(
    names: Sequence[str], statements: Iterable[Statement], kernel: Mapping[str, Any]
) -> None:
    bound = {name for statement in statements for name in statement.names.binds}
    for name in names:
        if name not in bound and name not in kernel:
            known = Names(sorted(bound)).instead_of(name)
            raise WorkflowError(f"the notebook defines no {name!r}; it defines {known}.")


def _future(statements: Iterable[Statement]) -> list[Statement]:
    """Return what changes how all of a notebook is compiled."""
    found = {each.source: each for each in statements if each.source.startswith("from __future__")}
    return list(found.values())


def _problems(chosen: Iterable[Statement], kernel: Mapping[str, Any]) -> Iterable[str]:
    for statement in chosen:
        bound = ", ".join(sorted(statement.names.binds)) or statement.source[:40]
        where = f"{bound} (cell {statement.cell})"
        if statement.problem:
            yield f"{where} {statement.problem}. Give it a value in plain Python in a cell."
        for name in sorted(statement.names.binds):
            if what := lost(kernel.get(name)):
                yield (
                    f"{name} (cell {statement.cell}) is {what}, which no module can hold. Make it "
                    "inside the function that uses it."
                )


def _missing(
    found: Slice, kernel: Mapping[str, Any], statements: Iterable[Statement]
) -> Iterable[str]:
    stars = sorted({each.source for each in statements if each.source.endswith(" import *")})
    for name, holder in sorted(found.missing.items()):
        where = f", which cell {holder.cell} uses," if holder else ""
        if name in NOTEBOOK_ONLY:
            does = "from IPython.display import display" if name == "display" else "leave it out"
            yield f"{name}{where} is there in notebooks only: {does}."
        elif name in kernel:
            kind = type(kernel[name]).__name__
            yield (
                f"{name}{where} is a {kind} that exists only in the kernel: no cell defines it. "
                f"Write {name} = … in a cell, or take it as an argument."
            )
        else:
            hint = f" It may come from `{stars[0]}`: import it by name." if stars else ""
            yield f"{name}{where} is not defined by any cell. Define or import it in one.{hint}"


def _check_text(names: Sequence[str], text: str) -> None:
    compile(text, "<module>", "exec")
    if (secret := first_secret({"module": text})) is not None:
        raise WorkflowError(
            f"{', '.join(names)}: no module was written, because the cells it needs hold what "
            f"looks like {secret.kind}. Read it from os.environ there, and run them again."
        )


def _notes(
    found: Slice,
    chosen: Sequence[Statement],
    statements: Sequence[Statement],
    kernel: Mapping[str, Any],
) -> Iterable[str]:
    for name, (holder, newer) in sorted(found.outdated.items()):
        yield (
            f"{name} was defined again in cell {newer.cell}, after cell {holder.cell} had used it; "
            f"the module does as the notebook does. Run cell {holder.cell} again for the new one."
        )
    for statement in chosen:
        for name in sorted(statement.names.binds):
            if (
                not statement.is_import
                and not statement.is_definition
                and is_client(kernel.get(name))
            ):
                kind = type(kernel[name]).__name__
                yield f"{name} is a live {kind}: the module makes one of its own on import."
    for module in sorted({_top(each) for each in chosen if each.is_import}):
        if is_beside_notebook(module):
            yield f"{module} is a module beside the notebook: the new one needs it there, too."
    if any("configure" in each.names.calls for each in statements):
        yield "configure(…) holds for the notebook alone: call it where the module is used."


def _top(statement: Statement) -> str:
    return statement.source.split()[1].partition(".")[0]
