"""Recorded runs of a notebook, run again with its exported module."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tta_notebook.core.errors import WorkflowError
from tta_notebook.llm.cassettes.cassette import Cassette
from tta_notebook.notebook.export.fresh import Outcome, run_fresh
from tta_notebook.notebook.recorded import Recorded, literal_of


class Case(NamedTuple):
    """A recorded run that can be run again.

    Attributes:
        input: its input, as a literal.
        output: its output; None where it cannot be written as a literal.
        asks: whether it asked models.
        cassette: what stood in for them, if anything did.
    """

    input: str
    output: str | None
    asks: bool
    cassette: Path | None


def cases_of(name: str, recorded: Iterable[Recorded]) -> list[Case]:
    """Return the runs of a workflow that can be run again, the last on each input.

    Raises:
        WorkflowError: their cassette is still being recorded.
    """
    found: dict[tuple[str, Path | None], Case] = {}
    for each in recorded:
        run = each.run
        is_ours = run.workflow_name == name and run.status == "ok"
        stands_in = each.backend is None or isinstance(each.backend, Cassette)
        if is_ours and stands_in and each.input is not None:
            cassette = _file(each)
            key = (each.input, cassette)
            found.pop(key, None)
            asks = run.usage is not None
            found[key] = Case(each.input, literal_of(run.output), asks, cassette)
    return list(found.values())


def _file(recorded: Recorded) -> Path | None:
    if not isinstance(recorded.backend, Cassette) or recorded.run.usage is None:
        return None
    path = recorded.backend.path
    if not path.is_file():
        raise WorkflowError(
            f"{recorded.run.workflow_name}: its runs are being recorded on {path.name}, which is "
            "not finished. Finish it first: %tta_cassette off."
        )
    return path


def check(module: Path, name: str, cases: Sequence[Case], folders: Sequence[Path]) -> str:
    """Import a module, run its workflow on the last recorded input, and say how it compares.

    Raises:
        WorkflowError: the module cannot be imported, or the run fails.
    """
    if not cases:
        run_fresh(module, folders=folders)
        return (
            f"{name}: can be imported. It was not run: no run of it can be made again "
            "elsewhere, with an input that can be written down and models or a cassette to ask."
        )
    case = cases[-1]
    (outcome,) = run_fresh(module, name, [case.input], cassette=case.cassette, folders=folders)
    if outcome.error:
        raise WorkflowError(
            f"{name}: no module was written, because in a new process it fails on the input of the "
            f"last run, {_short(case.input)}: {outcome.error}"
        )
    return f"{name}: on {_short(case.input)} it {compared(case, outcome)}."


def compared(case: Case, outcome: Outcome) -> str:
    """Say how an outcome compares with what was recorded."""
    if case.output is None or outcome.literal is None:
        return f"gives a {outcome.kind}, which cannot be compared as text"
    if case.output == outcome.literal:
        return "gives what it gave in the notebook"
    if case.asks and case.cassette is None:
        return f"gives another {outcome.kind}, as models do when they are asked again"
    return f"gives {_short(outcome.shown)}, and gave {_short(case.output)} in the notebook"


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
