"""A workflow as nodes and edges, drawn as text, Mermaid or SVG; nothing is run to get it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tta_notebook.core.primitive import WorkflowPrimitive

MAX_CHILDREN = 50


@dataclass(frozen=True, slots=True)
class Node:
    """A primitive in the picture.

    Attributes:
        id: its place in the workflow, as "0.2.1".
        name: the primitive's name.
        kind: the primitive's kind.
        label: what leads to it ("then", a route, a key), empty where nothing does.
        children: the nodes it is made of.
        hidden: how many more children there are than are shown.
    """

    id: str
    name: str
    kind: str
    label: str
    children: tuple[Node, ...]
    hidden: int = 0

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
        return cls(_node(primitive, "", "0", ()))

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


def _node(
    primitive: WorkflowPrimitive[Any, Any], label: str, place: str, around: tuple[int, ...]
) -> Node:
    # A primitive may hold itself, by way of a loop that a user wrote: it is shown once.
    parts = [] if id(primitive) in around else list(primitive.parts())
    around = (*around, id(primitive))
    children = tuple(
        _node(part, part_label, f"{place}.{index}", around)
        for index, (part_label, part) in enumerate(parts[:MAX_CHILDREN])
    )
    hidden = max(0, len(parts) - MAX_CHILDREN)
    return Node(place, primitive.name, primitive.kind, label, children, hidden)


def _lines(node: Node, lead: str, below: str) -> Iterator[str]:
    label = f"{node.label}: " if node.label else ""
    kind = "" if node.kind in ("function", "step") else f"  [{node.kind}]"
    yield f"{lead}{label}{node.name}{kind}"
    last = len(node.children) - 1
    for index, child in enumerate(node.children):
        is_last = index == last and not node.hidden
        yield from _lines(
            child, below + ("└─ " if is_last else "├─ "), below + ("   " if is_last else "│  ")
        )
    if node.hidden:
        yield f"{below}└─ … and {node.hidden} more"


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


_MERMAID_ESCAPES: Mapping[str, str] = {
    '"': "#quot;",
    "#": "#35;",
    "<": "#lt;",
    ">": "#gt;",
    "\n": " ",
}


def _mermaid_text(text: str) -> str:
    return re.sub(r'["#<>\n]', lambda match: _MERMAID_ESCAPES[match[0]], text)
