"""Tests of an exported module, from the runs that a notebook has recorded."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from tta_notebook.core.errors import WorkflowError
from tta_notebook.notebook.export.fresh import Outcome, run_fresh
from tta_notebook.notebook.export.module import isort_key
from tta_notebook.notebook.export.replay import Case

_MOST_CASES = 20


class Suite(NamedTuple):
    """Tests and the recordings that they replay.

    Attributes:
        text: the test module.
        cassettes: recordings by the names of their files.
        summary: what is in it, in a sentence.
    """

    text: str
    cassettes: dict[str, bytes]
    summary: str


class _Group(NamedTuple):
    name: str
    cassette: str | None
    cases: Sequence[tuple[Case, Outcome]]


def tests_for(
    module: Path, cases: dict[str, Sequence[Case]], folders: Sequence[Path], draft: Path
) -> Suite:
    """Run every recorded input in a new process and return tests of what it gives.

    What was not recorded on a cassette is recorded now: its models are asked once more.

    Args:
        module: the exported module.
        cases: recorded runs, by workflow.
        folders: where the module's own imports are looked for.
        draft: a folder for files in between.

    Raises:
        WorkflowError: there are no recorded runs, or one of them fails now.
    """
    numbers = count(1)
    groups: list[_Group] = []
    cassettes: dict[str, bytes] = {}
    for name, of_name in cases.items():
        for source in dict.fromkeys(case.cassette for case in of_name):
            chosen = [case for case in of_name if case.cassette == source][-_MOST_CASES:]
            file = draft / f"{next(numbers)}.jsonl"
            if source is not None:
                file.write_bytes(source.read_bytes())
            outcomes = run_fresh(
                module,
                name,
                [case.input for case in chosen],
                cassette=file,
                mode="once" if source is None else "none",
                folders=folders,
            )
            _check(name, chosen, outcomes)
            target = None
            if file.is_file():
                suffix = f"_{len(cassettes) + 1}" if cassettes else ""
                target = f"test_{module.stem}{suffix}.jsonl"
                cassettes[target] = file.read_bytes()
            groups.append(_Group(name, target, list(zip(chosen, outcomes, strict=True))))
    if not groups:
        raise WorkflowError(
            f"{', '.join(cases)}: no tests were written: this notebook has no run of it whose "
            "input can be written down. Run it with %tta_run first."
        )
    number = sum(len(group.cases) for group in groups)
    runs = "run" if number == 1 else "runs"
    return Suite(_text(module.stem, groups), cassettes, f"tests of {number} recorded {runs}")


def _check(name: str, cases: Sequence[Case], outcomes: Sequence[Outcome]) -> None:
    for case, outcome in zip(cases, outcomes, strict=True):
        if outcome.error:
            raise WorkflowError(
                f"{name}: no tests were written, because in a new process it fails on {case.input}:"
                f" {outcome.error}"
            )


def _text(module: str, groups: Sequence[_Group]) -> str:
    has_cassettes = any(group.cassette for group in groups)
    names = ", ".join(sorted({group.name for group in groups}, key=isort_key))
    path = "from pathlib import Path\n\n" if has_cassettes else ""
    cassette = "from tta_notebook import Cassette\n" if has_cassettes else ""
    head = f'"""Tests of {module}.py, from runs that a notebook has recorded."""'
    parts = [f"{head}\n\n{path}import pytest\n{cassette}\nfrom {module} import {names}\n"]
    taken: set[str] = set()
    for group in groups:
        equal = [(case, outcome) for case, outcome in group.cases if _is_stable(case, outcome)]
        other = [pair for pair in group.cases if pair not in equal]
        if equal:
            rows = [(case.input, outcome.literal or "None") for case, outcome in equal]
            title = _title(f"test_{group.name}_gives_what_it_gave", taken)
            parts.append(_test(title, group, "given", "expected", rows, "{} == expected"))
        if other:
            rows = [(case.input, repr(outcome.kind)) for case, outcome in other]
            title = _title(f"test_{group.name}_gives_the_same_kind", taken)
            claim = "type({}).__name__ == kind"
            if any(outcome.kind == "str" for _, outcome in other):
                claim = "kind in [each.__name__ for each in type({}).__mro__]"
            parts.append(_test(title, group, "given", "kind", rows, claim))
    return "\n\n".join(parts)


def _is_stable(case: Case, outcome: Outcome) -> bool:
    """Tell whether a run gives its output again: by itself, or from what is recorded now."""
    if outcome.literal is None:
        return False
    return outcome.literal == case.output or (case.asks and case.cassette is None)


def _title(wanted: str, taken: set[str]) -> str:
    titles = (wanted if number == 1 else f"{wanted}_{number}" for number in count(1))
    title = next(title for title in titles if title not in taken)
    taken.add(title)
    return title


def _test(
    title: str, group: _Group, given: str, other: str, rows: Sequence[tuple[str, str]], claim: str
) -> str:
    # ast.unparse would choose single quotes, too: what is written is what repr gives.
    cases = "".join(f"        ({_checked(one)}, {_checked(two)}),\n" for one, two in rows)
    call = claim.format(f"{group.name}.run_sync({given})")
    if group.cassette is None:
        body = f"    assert {call}\n"
    else:
        file = f'Path(__file__).with_name("{group.cassette}")'
        body = f'    with Cassette({file}, mode="none", repeat=True):\n        assert {call}\n'
    return (
        f'@pytest.mark.parametrize(\n    ("{given}", "{other}"),\n    [\n{cases}    ],\n)\n'
        f"def {title}({given}, {other}):\n{body}"
    )


def _checked(literal: str) -> str:
    ast.literal_eval(literal)
    return literal
