"""The SVG of a workflow: boxes laid out by how they are composed.

A sequence runs from left to right, branches stand below each other between a fork and a join, and a
primitive around others is a frame. Colours follow the page (`currentColor`), so one picture serves
light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from tta_notebook.core.graph import Node

FONT_PX = 12
CHARACTER_PX = 6.7  # of a 12 px sans-serif font, on the wide side
BOX_HEIGHT = 30
GAP_X, GAP_Y = 34, 12
FORK_X = 26
PAD = 12
TITLE_HEIGHT = 20
MAX_TEXT = 32
SIDE_BY_SIDE = frozenset({"parallel", "conditional", "switch", "router"})


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A piece of the picture: what to draw, how large, and the height at which lines meet it."""

    width: float
    height: float
    axis: float
    body: str


def draw(root: Node) -> str:
    """Return the SVG of a workflow."""
    drawing = _draw(root)
    width, height = drawing.width + 2 * PAD, drawing.height + 2 * PAD
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" style="max-width:100%;height:auto" '
        f'font-family="system-ui,sans-serif" font-size="{FONT_PX}" fill="currentColor" '
        f'stroke="none"><title>Workflow {escape(root.name)}</title>'
        f"{_at(PAD, PAD, drawing.body)}</svg>"
    )


def _draw(node: Node) -> _Drawing:
    if not node.children:
        return _box(node)
    pieces = [_draw(child) for child in node.children]
    if node.hidden:
        pieces.append(_text_box(f"… {node.hidden} more", ""))
    if node.kind == "sequence":
        return _framed(node, _row(pieces)) if _is_stated(node) else _row(pieces)
    if node.kind in SIDE_BY_SIDE:
        labels = [child.label for child in node.children] + [""] * (
            len(pieces) - len(node.children)
        )
        stack = _stack(pieces, labels, is_choice=node.kind != "parallel")
        return _framed(node, stack) if _is_stated(node) else stack
    return _framed(node, _row(pieces))


def _is_stated(node: Node) -> bool:
    """Tell whether a composition's name says more than its parts do."""
    own = {"sequence": " >> ", "parallel": " | "}.get(node.kind)
    return own is None or own not in node.name


def _box(node: Node) -> _Drawing:
    kind = "" if node.kind in ("function", "step") else node.kind
    return _text_box(node.name, kind)


def _text_box(name: str, kind: str) -> _Drawing:
    shown = _shortened(name)
    width = max(44.0, CHARACTER_PX * len(shown) + 20, 5.4 * len(kind) + 20)
    baseline = BOX_HEIGHT / 2 + (4 if not kind else 0)
    small = (
        f'<text x="{width / 2:.1f}" y="{BOX_HEIGHT - 5}" text-anchor="middle" font-size="9" '
        f'opacity="0.65">{escape(kind)}</text>'
        if kind
        else ""
    )
    body = (
        f'<g><title>{escape(name)}</title><rect width="{width:.1f}" height="{BOX_HEIGHT}" rx="6" '
        'fill="currentColor" fill-opacity="0.07" stroke="currentColor" stroke-opacity="0.55"/>'
        f'<text x="{width / 2:.1f}" y="{baseline:.1f}" text-anchor="middle">{escape(shown)}</text>'
        f"{small}</g>"
    )
    return _Drawing(width, BOX_HEIGHT, BOX_HEIGHT / 2, body)


def _row(pieces: Sequence[_Drawing]) -> _Drawing:
    axis = max(piece.axis for piece in pieces)
    below = max(piece.height - piece.axis for piece in pieces)
    body, x = "", 0.0
    for index, piece in enumerate(pieces):
        if index:
            body += _arrow(x, axis, x + GAP_X, axis)
            x += GAP_X
        body += _at(x, axis - piece.axis, piece.body)
        x += piece.width
    return _Drawing(x, axis + below, axis, body)


def _stack(pieces: Sequence[_Drawing], labels: Sequence[str], *, is_choice: bool) -> _Drawing:
    lead = FORK_X + max((CHARACTER_PX * len(_shortened(label)) for label in labels), default=0.0)
    widest = max(piece.width for piece in pieces)
    height = sum(piece.height for piece in pieces) + GAP_Y * (len(pieces) - 1)
    width, middle = lead + widest + FORK_X, height / 2
    body, y = _knot(middle, is_choice=is_choice), 0.0
    for piece, label in zip(pieces, labels, strict=True):
        axis = y + piece.axis
        body += _fan(6, middle, lead - 2, axis)
        body += _at(lead, y, piece.body)
        body += _join(lead + piece.width, axis, width, middle)
        if label:
            body += (
                f'<text x="{lead - 8:.1f}" y="{axis - 4:.1f}" text-anchor="end" font-size="10" '
                f'opacity="0.8">{escape(_shortened(label))}</text>'
            )
        y += piece.height + GAP_Y
    return _Drawing(width, height, middle, body)


def _framed(node: Node, inner: _Drawing) -> _Drawing:
    title = _shortened(node.name if node.kind in node.name else f"{node.name} · {node.kind}")
    width = max(inner.width, CHARACTER_PX * len(title)) + 2 * PAD
    height = inner.height + 2 * PAD + TITLE_HEIGHT
    top = PAD + TITLE_HEIGHT
    body = (
        f'<rect width="{width:.1f}" height="{height:.1f}" rx="9" fill="none" stroke="currentColor" '
        'stroke-opacity="0.35" stroke-dasharray="4 3"/>'
        f'<text x="{PAD}" y="{TITLE_HEIGHT - 3}" font-size="11" opacity="0.75">'
        f"{escape(title)}</text>"
        f"{_at(PAD, top, inner.body)}"
        f"{_line(0, top + inner.axis, PAD, top + inner.axis)}"
        f"{_line(PAD + inner.width, top + inner.axis, width, top + inner.axis)}"
    )
    return _Drawing(width, height, top + inner.axis, body)


def _knot(y: float, *, is_choice: bool) -> str:
    if is_choice:
        return f'<path d="M0 {y:.1f}l6 -6 6 6 -6 6z" fill="currentColor" opacity="0.7"/>'
    return f'<circle cx="4" cy="{y:.1f}" r="4" fill="currentColor" opacity="0.7"/>'


def _at(x: float, y: float, body: str) -> str:
    return f'<g transform="translate({x:.1f} {y:.1f})">{body}</g>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return _stroke(f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}")


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return _line(x1, y1, x2 - 5, y2) + _head(x2, y2)


def _head(x: float, y: float) -> str:
    return (
        f'<path d="M{x - 6:.1f} {y - 3.5:.1f}L{x:.1f} {y:.1f}L{x - 6:.1f} {y + 3.5:.1f}z" '
        'fill="currentColor" opacity="0.6"/>'
    )


def _fan(x1: float, y1: float, x2: float, y2: float) -> str:
    """Bend from the fork to a branch at once, then go straight to it."""
    bend, turned = x1 + FORK_X / 2, min(x1 + FORK_X, x2 - 4)
    curve = f"C{bend:.1f} {y1:.1f} {bend:.1f} {y2:.1f} {turned:.1f} {y2:.1f}"
    return _stroke(f"M{x1:.1f} {y1:.1f}{curve}L{x2 - 4:.1f} {y2:.1f}") + _head(x2, y2)


def _join(x1: float, y1: float, x2: float, y2: float) -> str:
    """Go straight along the branch, then bend to the join."""
    turn, bend = x2 - FORK_X, x2 - FORK_X / 2
    curve = f"C{bend:.1f} {y1:.1f} {bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    return _stroke(f"M{x1:.1f} {y1:.1f}L{turn:.1f} {y1:.1f}{curve}")


def _stroke(path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="currentColor" stroke-opacity="0.6"/>'


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
