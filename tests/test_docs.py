"""The pages of docs/: their examples run, their links lead somewhere, nothing is left out."""

import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tta_notebook
from tta_notebook import WorkflowPrimitive
from tta_notebook.notebook.tables import MAGICS

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted((DOCS / "primitives").glob("*.md"))
ALL_PAGES = sorted(DOCS.rglob("*.md"))
HEADINGS = ["Picture", "Example", "What can go wrong", "In the trace"]

# Rooms whose primitives have a page of their own.
ROOMS = ("recovery", "performance", "cost", "orchestration")


def fences(page, language):
    text = page.read_text(encoding="utf-8")
    pattern = rf"^```{language}\n(.*?)^```$"
    return [
        (match.start(), match[1]) for match in re.finditer(pattern, text, re.MULTILINE | re.DOTALL)
    ]


def primitives():
    things = [getattr(tta_notebook, name) for name in tta_notebook.__all__]
    # Once each: the saga has two names.
    classes = dict.fromkeys(thing for thing in things if inspect.isclass(thing))
    return [
        thing
        for thing in classes
        if issubclass(thing, WorkflowPrimitive) and thing.__module__.split(".")[1] in ROOMS
    ]


def page_of(primitive):
    name = primitive.__name__.removesuffix("Primitive").removesuffix("Workflow")
    words = re.findall("[A-Z][a-z]+", name)
    return DOCS / "primitives" / ("_".join(words).lower() + ".md")


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.stem)
def test_examples_run_as_they_are_written(page):
    space = {"__name__": "__main__"}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for start, code in fences(page, "pycon"):
        line = page.read_text(encoding="utf-8")[:start].count("\n") + 1
        test = doctest.DocTestParser().get_doctest(code, space, page.name, str(page), line)
        test.globs = space  # one page, one session
        report = []
        runner.run(test, out=report.append, clear_globs=False)
        assert not runner.failures, "".join(report)


@pytest.mark.parametrize("primitive", primitives(), ids=lambda primitive: primitive.__name__)
def test_every_primitive_has_a_page_that_says_what_there_is_to_say(primitive):
    page = page_of(primitive)
    assert page in PAGES, f"{page} is missing"
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {primitive.__name__}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE)[: len(HEADINGS)] == HEADINGS
    assert fences(page, "mermaid")
    assert fences(page, "pycon")


@pytest.mark.parametrize("primitive", primitives(), ids=lambda primitive: primitive.__name__)
def test_a_page_names_every_argument_and_every_note_of_its_primitive(primitive):
    text = page_of(primitive).read_text(encoding="utf-8")
    arguments = list(inspect.signature(primitive).parameters)
    assert [name for name in arguments if f"`{name}" not in text] == []
    source = inspect.getsource(inspect.getmodule(primitive))
    notes = set(re.findall(r"\.note\(\s*\"(\w+)\"", source))
    assert [note for note in sorted(notes) if f"`{note}`" not in text] == []


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_test_that_a_page_names_exists():
    tests = "".join(
        path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("*.py")
    )
    for page in ALL_PAGES:
        for name in re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8")):
            assert f"def {name}(" in tests, f"{page.name} names {name}"


def test_the_comparison_is_what_its_script_prints():
    printed = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "bench" / "compare_recovery.py")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    page = (DOCS / "comparison.md").read_text(encoding="utf-8")
    rows = [line for line in printed.splitlines() if line.startswith("| ") and "ours" not in line]
    assert len(rows) > 5
    for row in rows:
        situation, ours, *_ = (cell.strip() for cell in row.strip("|").split("|"))
        # The peers are there for benchmarks alone: what they do is checked where they are.
        assert f"| {situation} | {ours} |" in page


def test_every_magic_is_on_its_page():
    page = (DOCS / "notebook" / "magics.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(%+tta_\w+)` \| \S", page, re.MULTILINE))
    assert listed == {magic.title for magic in MAGICS.values()}
