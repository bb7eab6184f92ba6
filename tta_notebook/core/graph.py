"""A workflow as nodes and edges, drawn as text, Mermaid or SVG; nothing is run to get it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tta_notebook.core.graph_text import one_line

if TYPE_CHECKING:
    from tta_notebook.core.primitive import WorkflowPrimitive

# A picture is to be looked at: what is beyond these is shown as "… 9,950 more".
MAX_CHILDREN = 50
MAX_NODES = 500
MAX_DEPTH = 30


@dataclass(frozen=True, slots=True)
class Node:
    """A primitive in the picture.

    Attributes:
        id: its place in the workflow, as "0.2.1".
        name: the primitive's name.
        kind: the primitive's kind.
        label: what leads to it ("then", a route, a key), empty where nothing does.
        children: the nodes it is made of; a last one of kind "more" stands for those left out.
    """

    id: str
    name: str
    kind: str
    label: str
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """Give this node and all below it, outermost first."""
        pending: list[Node] = [self]
        while pending:
            node = pending.pop()
            yield node
            pending.extend(reversed(node.children))


@dataclass(frozen=True, slots=True)
class Edge:
    """What flows into what: from one leaf of the picture to the next.

    Attributes:
        source: the id of the node that gives.
        target: the id of the node that takes.
        label: the condition, route or key on the way.
    """

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """The picture of a workflow.

    >>> from tta_notebook import as_primitive
    >>> print((as_primitive(str.strip) >> {"upper": str.upper, "length": len}).graph())
    strip >> upper | length  [sequence]
    ├─ strip
    └─ upper | length  [parallel]
       ├─ upper: upper
       └─ length: len
    """

    root: Node

    @classmethod
    def of(cls, primitive: WorkflowPrimitive[Any, Any]) -> Graph:
        """Return the picture of a primitive and what it is made of."""
        return cls(_Survey().node(primitive, "", "0", ()))

    @property
    def nodes(self) -> Sequence[Node]:
        """Every primitive, outermost first."""
        return list(self.root.walk())

    @property
    def edges(self) -> Sequence[Edge]:
        """What flows into what."""
        return list(dict.fromkeys(_edges(self.root)))

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """Return the picture as a tree of lines."""
        return "\n".join(_lines(self.root, "", ""))

    def to_mermaid(self) -> str:
        """Return the picture as Mermaid flowchart text."""
        leaves = (node for node in self.nodes if not node.children)
        boxes = (f'{_mermaid_id(leaf.id)}["{_mermaid_text(leaf.name)}"]' for leaf in leaves)
        arrows = (
            f"{_mermaid_id(edge.source)} {_mermaid_arrow(edge.label)} {_mermaid_id(edge.target)}"
            for edge in self.edges
        )
        return "\n    ".join(["flowchart LR", *boxes, *arrows])

    def to_svg(self) -> str:
        """Return the picture as a self-contained SVG; needs no network and no program."""
        from tta_notebook.core.graph_svg import draw  # noqa: PLC0415 - drawn on demand only

        return draw(self.root)


class _Survey:
    """One walk through a workflow that keeps count of what it has seen.

    A few primitives that hold each other twice, thirty levels deep, are a thousand million parts.
    """

    def __init__(self) -> None:
        self._places = MAX_NODES

    def node(
        self,
        primitive: WorkflowPrimitive[Any, Any],
        label: str,
        place: str,
        around: tuple[int, ...],
    ) -> Node:
        self._places -= 1
        # A primitive may hold itself, by way of a loop that a user wrote: it is shown once.
        parts = [] if id(primitive) in around else list(primitive.parts())
        around = (*around, id(primitive))
        children: list[Node] = []
        for part_label, part in parts[:MAX_CHILDREN]:
            if self._places <= 0 or len(around) >= MAX_DEPTH:
                break
            children.append(self.node(part, part_label, f"{place}.{len(children)}", around))
        if hidden := len(parts) - len(children):
            children.append(Node(f"{place}.{len(children)}", f"… {hidden:,} more", "more", ""))
        elif primitive.kind == "conditional" and len(children) == 1:
            children.append(Node(f"{place}.1", "input as it is", "pass", "else"))
        return Node(place, primitive.name, primitive.kind, label, tuple(children))


def _lines(node: Node, lead: str, below: str) -> Iterator[str]:
    label = f"{one_line(node.label)}: " if node.label else ""
    kind = "" if node.kind in ("function", "step", "more", "pass") else f"  [{node.kind}]"
    yield f"{lead}{label}{one_line(node.name)}{kind}"
    last = len(node.children) - 1
    for index, child in enumerate(node.children):
        is_last = index == last
        yield from _lines(
            child, below + ("└─ " if is_last else "├─ "), below + ("   " if is_last else "│  ")
        )


def _ends(node: Node, *, at_start: bool) -> Iterator[tuple[Node, str]]:
    """Give the leaves where a node begins or ends, each with the label on the way in."""
    if not node.children:
        yield node, node.label
        return
    if node.kind == "sequence":
        chosen = [node.children[0 if at_start else -1]]
    else:
        chosen = list(node.children)
    for child in chosen:
        for leaf, label in _ends(child, at_start=at_start):
            yield leaf, " / ".join(filter(None, (node.label if at_start else "", label)))


def _edges(node: Node) -> Iterator[Edge]:
    for inner in node.walk():
        if inner.kind == "sequence":
            for before, after in zip(inner.children, inner.children[1:], strict=False):
                for source, _ in _ends(before, at_start=False):
                    for target, label in _ends(after, at_start=True):
                        yield Edge(source.id, target.id, label)


def _mermaid_arrow(label: str) -> str:
    return f'-- "{_mermaid_text(label)}" -->' if label else "-->"


def _mermaid_id(place: str) -> str:
    return "n" + place.replace(".", "_")


# A quotation mark ends a text, a hash and an ampersand begin an entity, a backtick Markdown.
_MERMAID_ESCAPES: Mapping[str, str] = {
    '"': "#quot;",
    "#": "#35;",
    "&": "#amp;",
    "<": "#lt;",
    ">": "#gt;",
    "`": "#96;",
}


def _mermaid_text(text: str) -> str:
    return re.sub(r'["#&<>`]', lambda match: _MERMAID_ESCAPES[match[0]], one_line(text))
