"""Pictures of workflows: text, Mermaid, SVG; right, bounded, harmless, and nothing is run."""

import re
import sys
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tta_notebook import (
    ConditionalPrimitive,
    MapPrimitive,
    ParallelPrimitive,
    RouterPrimitive,
    SequentialPrimitive,
    SwitchPrimitive,
    WorkflowPrimitive,
    as_primitive,
)
from tta_notebook.core.graph import MAX_CHILDREN, MAX_NODES
from tta_notebook.core.graph_text import MAX_TITLE, fitted, one_line, width_px

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>alert(1)</script>",
    '"]; click n0 "javascript:alert(1)"',
    "' onload='alert(1)",
    "]]>&lt;&#0;",
    "two\nlines\r\nand \u2028 a third",
    "null \x00 bell \x07 escape \x1b[31m",
    "right \u202eto left",
    "surrogate \ud800 and \uffff",
    "x" * 10_000,
    "W" * 300,
    "翻译 🎉 e\u0301 ünïcödé",
    "`markdown`",
    "{{jinja}} %%comment",
    "end",
]
names = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1)).filter(str.strip)


def step(name="step"):
    return as_primitive(never_run).named(name)


def never_run(x):
    raise AssertionError("a picture ran the workflow")


class Wrapper(WorkflowPrimitive):
    kind = "wrapper"

    def __init__(self, name, *inner):
        super().__init__(name=name)
        self.inner = inner

    def parts(self):
        return [("", part) for part in self.inner]


def composed(inner):
    keyed = st.dictionaries(names, inner, min_size=1, max_size=3)
    several = st.lists(inner, min_size=1, max_size=4)
    return st.one_of(
        several.map(SequentialPrimitive),
        several.map(ParallelPrimitive),
        keyed.map(ParallelPrimitive),
        keyed.map(lambda routes: RouterPrimitive(routes, never_run)),
        keyed.map(lambda cases: SwitchPrimitive(never_run, cases)),
        st.tuples(inner, st.none() | inner).map(
            lambda ways: ConditionalPrimitive(never_run, *ways)
        ),
        inner.map(MapPrimitive),
        st.tuples(names, inner).map(lambda pair: Wrapper(*pair)),
    )


workflows = st.recursive(names.map(step), composed, max_leaves=12)


def parsed(workflow):
    return ET.fromstring(workflow.graph().to_svg())  # noqa: S314 - our own


def edges(workflow):
    graph = workflow.graph()
    name_of = {node.id: node.name for node in graph.nodes}
    return [(name_of[edge.source], name_of[edge.target], edge.label) for edge in graph.edges]


# Text


def test_the_tree_shows_how_a_workflow_is_composed():
    workflow = (
        step("load")
        >> ConditionalPrimitive(never_run, step("split") >> step("map"), name="long?")
        >> {"a": step("one"), "b": step("two")}
    )
    assert str(workflow.graph()).splitlines()[1:] == [
        "├─ load",
        "├─ long?  [conditional]",
        "│  ├─ then: split >> map  [sequence]",
        "│  │  ├─ split",
        "│  │  └─ map",
        "│  └─ else: input as it is",
        "└─ a | b  [parallel]",
        "   ├─ a: one",
        "   └─ b: two",
    ]


@given(workflows)
def test_every_node_is_one_line_of_text(workflow):
    graph = workflow.graph()
    assert len(graph.to_text().splitlines()) == len(graph.nodes)


# Edges


def test_a_sequence_is_a_chain():
    assert edges(step("a") >> step("b") >> step("c")) == [("a", "b", ""), ("b", "c", "")]


def test_branches_fork_and_join():
    workflow = step("a") >> {"x": step("b"), "y": step("c")} >> step("d")
    assert sorted(edges(workflow)) == [
        ("a", "b", "x"),
        ("a", "c", "y"),
        ("b", "d", ""),
        ("c", "d", ""),
    ]


def test_nested_branches_carry_the_whole_way_as_their_label():
    inner = {"p": step("b") >> step("c"), "q": step("d")}
    workflow = step("a") >> {"x": inner, "y": step("e")} >> step("f")
    assert sorted(edges(workflow)) == [
        ("a", "b", "x / p"),
        ("a", "d", "x / q"),
        ("a", "e", "y"),
        ("b", "c", ""),
        ("c", "f", ""),
        ("d", "f", ""),
        ("e", "f", ""),
    ]


def test_conditionals_and_routers_lead_to_what_follows():
    router = RouterPrimitive({"fast": step("f"), "smart": step("s")}, never_run)
    workflow = step("a") >> ConditionalPrimitive(never_run, router, step("no")) >> step("z")
    assert sorted(edges(workflow)) == [
        ("a", "f", "then / fast"),
        ("a", "no", "else"),
        ("a", "s", "then / smart"),
        ("f", "z", ""),
        ("no", "z", ""),
        ("s", "z", ""),
    ]


def test_without_an_else_the_input_has_a_way_of_its_own():
    workflow = step("a") >> ConditionalPrimitive(never_run, step("b")) >> step("c")
    assert sorted(edges(workflow)) == [
        ("a", "b", "then"),
        ("a", "input as it is", "else"),
        ("b", "c", ""),
        ("input as it is", "c", ""),
    ]


@given(workflows)
def test_edges_join_leaves_that_exist(workflow):
    graph = workflow.graph()
    leaves = {node.id for node in graph.nodes if not node.children}
    assert len({node.id for node in graph.nodes}) == len(graph.nodes)
    for edge in graph.edges:
        assert {edge.source, edge.target} <= leaves
        assert edge.source != edge.target


# Mermaid


MERMAID_TEXT = r"(?:[^\"`<>&#\x00-\x1f]|#(?:quot|amp|lt|gt|35|96);)*"
MERMAID_LINE = re.compile(
    rf'n[0-9_]+\["{MERMAID_TEXT}"\]|n[0-9_]+ (?:-- "{MERMAID_TEXT}" )?--> n[0-9_]+'
)


@given(workflows)
def test_mermaid_holds_nothing_but_boxes_and_arrows_with_quoted_texts(workflow):
    first, *lines = workflow.graph().to_mermaid().split("\n")
    assert first == "flowchart LR"
    for line in lines:
        assert MERMAID_LINE.fullmatch(line.strip()), line


def test_mermaid_escapes_what_means_something_to_it():
    mermaid = step('say "<b>&#35;`hi`').graph().to_mermaid()
    assert '["say #quot;#lt;b#gt;#amp;#35;35;#96;hi#96;"]' in mermaid


# SVG


@given(workflows)
@example(SequentialPrimitive([step(name) for name in HOSTILE]))
@example(ParallelPrimitive({name: step(name) for name in HOSTILE}))
def test_every_svg_is_well_formed_and_harmless(workflow):
    root = parsed(workflow)
    allowed = {SVG + tag for tag in ("svg", "g", "title", "rect", "text", "path", "circle")}
    for element in root.iter():
        assert element.tag in allowed
        for name, value in element.attrib.items():
            assert "href" not in name
            assert not name.startswith("on")
            assert "url(" not in value
            assert "://" not in value


def text_boxes(element, x=0.0, y=0.0):
    """Give (kind, left, top, right, bottom) of all boxes and texts in the picture."""
    moved = re.match(r"translate\((\S+) (\S+)\)", element.get("transform", ""))
    if moved:
        x, y = x + float(moved[1]), y + float(moved[2])
    if element.tag == SVG + "rect":
        yield "rect", x, y, x + float(element.get("width")), y + float(element.get("height"))
    if element.tag == SVG + "text":
        font_px = float(element.get("font-size", 12))
        width, left = width_px(element.text or "", font_px), x + float(element.get("x"))
        if element.get("text-anchor") == "middle":
            left -= width / 2
        base = y + float(element.get("y"))
        yield "text", left, base - 0.75 * font_px, left + width, base
    for child in element:
        yield from text_boxes(child, x, y)


@given(workflows)
def test_nothing_is_drawn_outside_the_picture_and_texts_do_not_overlap(workflow):
    root = parsed(workflow)
    width, height = float(root.get("width")), float(root.get("height"))
    shapes = list(text_boxes(root))
    for _, left, top, right, bottom in shapes:
        assert left >= 0
        assert top >= 0
        assert right <= width + 1
        assert bottom <= height + 1
    texts = [shape[1:] for shape in shapes if shape[0] == "text"]
    for index, (left, top, right, bottom) in enumerate(texts):
        for other in texts[index + 1 :]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart


@given(names)
def test_a_name_fits_its_box(name):
    (box,) = (shape for shape in text_boxes(parsed(step(name))) if shape[0] == "rect")
    (text,) = (shape for shape in text_boxes(parsed(step(name))) if shape[0] == "text")
    assert box[1] <= text[1]
    assert text[3] <= box[3]


def test_a_long_sequence_breaks_into_lines():
    root = parsed(SequentialPrimitive([step(f"step {number}") for number in range(40)]))
    assert float(root.get("width")) < 1000


def test_the_picture_takes_its_colours_from_the_page():
    svg = (step("a") | step("b")).graph().to_svg()
    assert 'fill="currentColor"' in svg
    assert "#" not in re.sub(r"&#x?\w+;", "", svg)


# Bounds


def test_ten_thousand_steps_are_a_small_picture():
    graph = SequentialPrimitive([step()] * 10_000).graph()
    assert len(graph.nodes) == MAX_CHILDREN + 2
    assert graph.nodes[-1].name == "… 9,950 more"
    assert len(graph.to_svg()) < 50_000
    assert len(graph.edges) == MAX_CHILDREN


def test_parts_that_are_used_many_times_over_do_not_explode():
    workflow = step()
    for level in range(60):
        workflow = ParallelPrimitive([workflow, workflow], name=f"level {level}")
    graph = workflow.graph()
    assert len(graph.nodes) < 2 * MAX_NODES
    assert len(graph.to_svg()) < 1_000_000


def test_deep_nesting_is_cut_not_a_recursion_error():
    workflow = step()
    for _ in range(sys.getrecursionlimit() * 2):
        workflow = Wrapper("around", workflow)
    graph = workflow.graph()
    assert "… 1 more" in graph.to_text()
    assert graph.to_svg()
    assert graph.to_mermaid()


def test_a_primitive_that_holds_itself_is_shown_once():
    loop = Wrapper("loop")
    loop.inner = (step("a"), loop)
    assert str(loop.graph()).splitlines() == ["loop  [wrapper]", "├─ a", "└─ loop  [wrapper]"]
    assert loop.graph().to_svg()
    other = Wrapper("other", loop)
    loop.inner = (other,)
    assert [node.name for node in loop.graph().nodes] == ["loop", "other", "loop"]


def test_two_wide_parallels_in_a_row_stay_bounded():
    wide = ParallelPrimitive([step()] * 200)
    graph = (wide >> wide).graph()
    assert len(graph.edges) == (MAX_CHILDREN + 1) ** 2


def test_the_wrapped_primitive_is_found_by_edges():
    assert edges(step("a") >> Wrapper("retry", step("b")) >> step("c")) == [
        ("a", "b", ""),
        ("b", "c", ""),
    ]


# Texts


@given(st.text())
def test_a_line_is_one_line_and_bounded(text):
    line = one_line(text)
    assert len(line) <= MAX_TITLE
    assert len(line.splitlines()) <= 1
    assert one_line(line) == line


@given(st.text(), st.floats(20, 300))
def test_what_is_fitted_fits(text, limit):
    assert width_px(fitted(text, 12, limit), 12) <= limit


@pytest.mark.parametrize("text", ["short", "ä", "翻译"])
def test_what_fits_is_left_as_it_is(text):
    assert fitted(text, 12, 200) == text
