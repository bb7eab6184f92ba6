"""The SVG of a workflow: boxes laid out by how they are composed.

A sequence runs from left to right and breaks into lines where it grows too long, branches stand
below each other between a fork and a join, and a primitive around others is a frame. Colours follow
the page (`currentColor`), so one picture serves light and dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from tta_notebook.core.graph import Node
from tta_notebook.core.graph_text import fitted, one_line, width_px

FONT_PX, LABEL_PX, KIND_PX = 12, 10.5, 9
BOX_HEIGHT, TALL_BOX_HEIGHT = 30, 36
GAP_X, GAP_Y, LINE_GAP = 32, 12, 30
FORK_X = 26  # from a fork to where its lines run straight, and the same to a join
KNOT_X = 12  # the width of a fork's mark
PAD = 14
TITLE_HEIGHT = 20
MAX_NAME_PX, MAX_LABEL_PX = 230, 150
MAX_LINE_PX = 860  # about what a notebook shows without scrolling or shrinking
SIDE_BY_SIDE = frozenset({"parallel", "conditional", "switch", "router"})


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A piece of the picture: what to draw, how large, and at which heights lines come and go."""

    width: float
    height: float
    entry: float
    exit: float
    body: str


def draw(root: Node) -> str:
    """Return the SVG of a workflow."""
    drawing = _draw(root, is_whole=True)
    width, height = drawing.width + 2 * PAD, drawing.height + 2 * PAD
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" style="max-width:100%;height:auto" '
        f'font-family="system-ui,sans-serif" font-size="{FONT_PX}" fill="currentColor" '
        f'stroke="none"><title>Workflow {_text(one_line(root.name))}</title>'
        f"{_at(PAD, PAD, drawing.body)}</svg>"
    )


def _text(shown: str) -> str:
    return escape(shown, quote=True)


# The pieces


def _draw(node: Node, *, is_whole: bool = False) -> _Drawing:
    if not node.children:
        return _box(node)
    pieces = [_draw(child) for child in node.children]
    if node.kind in SIDE_BY_SIDE:
        labels = [child.label for child in node.children]
        inner = _stack(pieces, labels, is_choice=node.kind != "parallel")
    else:
        inner = _lines(pieces, has_ends=not is_whole or _is_stated(node))
    return _framed(node, inner) if _is_stated(node) else inner


def _is_stated(node: Node) -> bool:
    """Tell whether a composition's name says more than its parts do."""
    own = {"sequence": " >> ", "parallel": " | "}.get(node.kind)
    is_keyed = node.kind == "parallel" and any(child.label for child in node.children)
    return own is None or not (own in node.name or is_keyed)


def _box(node: Node) -> _Drawing:
    name = fitted(node.name, FONT_PX, MAX_NAME_PX)
    kind = "" if node.kind in ("function", "step", "more", "pass") else one_line(node.kind, 24)
    width = max(44.0, width_px(name, FONT_PX) + 20, width_px(kind, KIND_PX) + 20)
    height = TALL_BOX_HEIGHT if kind else BOX_HEIGHT
    middle = f'x="{width / 2:.1f}" text-anchor="middle"'
    caption = (
        f'<text {middle} y="{height - 7}" font-size="{KIND_PX}" opacity="0.65">{_text(kind)}</text>'
        if kind
        else ""
    )
    # What stands for something else (steps left out, an input that passes) has no solid border.
    dashes = ' stroke-dasharray="3 3"' if node.kind in ("more", "pass") else ""
    body = (
        f"<g><title>{_text(one_line(node.name))}</title>"
        f'<rect width="{width:.1f}" height="{height}" rx="6" fill="currentColor" '
        f'fill-opacity="0.06" stroke="currentColor" stroke-opacity="0.5"{dashes}/>'
        f'<text {middle} y="{16 if kind else 19}">{_text(name)}</text>{caption}</g>'
    )
    return _Drawing(width, height, height / 2, height / 2, body)


def _lines(pieces: Sequence[_Drawing], *, has_ends: bool) -> _Drawing:
    """Set a sequence like text: in lines, each going on at the left below the one before.

    Where something comes before and after it (`has_ends`), it leads there.
    """
    lines = [_row(line) for line in _broken(pieces)]
    if len(lines) == 1:
        return lines[0]
    width = max(line.width for line in lines) + 2 * FORK_X
    body, y = "", 0.0
    for index, line in enumerate(lines):
        body += _at(FORK_X, y, line.body)
        if index + 1 < len(lines):
            below = y + line.height + LINE_GAP
            body += _return(
                (FORK_X + line.width, y + line.exit),
                (FORK_X, below + lines[index + 1].entry),
                y + line.height + LINE_GAP / 2,
            )
        y += line.height + LINE_GAP
    height, last = y - LINE_GAP, lines[-1]
    exit_y = height - last.height + last.exit
    if has_ends:
        body += _line(0, lines[0].entry, FORK_X, lines[0].entry)
        body += _line(FORK_X + last.width, exit_y, width, exit_y)
    return _Drawing(width, height, lines[0].entry, exit_y, body)


def _broken(pieces: Sequence[_Drawing]) -> Iterator[Sequence[_Drawing]]:
    line: list[_Drawing] = []
    width = 0.0
    for piece in pieces:
        if line and width + GAP_X + piece.width > MAX_LINE_PX:
            yield line
            line, width = [], 0.0
        line.append(piece)
        width += piece.width + GAP_X
    yield line


def _row(pieces: Sequence[_Drawing]) -> _Drawing:
    """Set pieces side by side, so that the line between neighbours is straight."""
    tops = [0.0]
    for before, after in pairwise(pieces):
        tops.append(tops[-1] + before.exit - after.entry)
    highest = min(tops)
    body, x = "", 0.0
    for index, (piece, top) in enumerate(zip(pieces, tops, strict=True)):
        if index:
            axis = top - highest + piece.entry
            body += _arrow(x, axis, x + GAP_X)
            x += GAP_X
        body += _at(x, top - highest, piece.body)
        x += piece.width
    height = max(top + piece.height for piece, top in zip(pieces, tops, strict=True)) - highest
    entry, exit_y = pieces[0].entry + tops[0], pieces[-1].exit + tops[-1]
    return _Drawing(x, height, entry - highest, exit_y - highest, body)


def _stack(pieces: Sequence[_Drawing], labels: Sequence[str], *, is_choice: bool) -> _Drawing:
    """Set branches below each other between a fork and a join."""
    shown = [fitted(label, LABEL_PX, MAX_LABEL_PX) if label else "" for label in labels]
    room = max(width_px(label, LABEL_PX) for label in shown)
    turned = KNOT_X + FORK_X
    lead = turned + (room + 14 if room else 10)
    height = sum(piece.height for piece in pieces) + GAP_Y * (len(pieces) - 1)
    width, middle = lead + max(piece.width for piece in pieces) + FORK_X, height / 2
    body, y = _knot(middle, is_choice=is_choice), 0.0
    for piece, label in zip(pieces, shown, strict=True):
        body += _fan((KNOT_X, middle), (lead, y + piece.entry))
        body += _at(lead, y, piece.body)
        body += _join((lead + piece.width, y + piece.exit), (width, middle))
        if label:
            body += (
                f'<text x="{turned + 2:.1f}" y="{y + piece.entry - 5:.1f}" '
                f'font-size="{LABEL_PX}" opacity="0.8">{_text(label)}</text>'
            )
        y += piece.height + GAP_Y
    return _Drawing(width, height, middle, middle, body)


def _framed(node: Node, inner: _Drawing) -> _Drawing:
    is_said = node.kind in node.name.split()
    title = fitted(node.name if is_said else f"{node.name} · {node.kind}", 11, MAX_NAME_PX)
    width = max(inner.width, width_px(title, 11)) + 2 * PAD
    height = inner.height + 2 * PAD + TITLE_HEIGHT
    left, top = (width - inner.width) / 2, PAD + TITLE_HEIGHT
    entry, exit_y = top + inner.entry, top + inner.exit
    body = (
        f"<g><title>{_text(one_line(node.name))}</title>"
        f'<rect width="{width:.1f}" height="{height:.1f}" rx="9" fill="currentColor" '
        'fill-opacity="0.025" stroke="currentColor" stroke-opacity="0.35" stroke-dasharray="4 3"/>'
        f'<text x="{PAD}" y="{TITLE_HEIGHT}" font-size="11" font-weight="600" opacity="0.75">'
        f"{_text(title)}</text></g>"
        f"{_at(left, top, inner.body)}"
        f"{_line(0, entry, left, entry)}{_line(left + inner.width, exit_y, width, exit_y)}"
    )
    return _Drawing(width, height, entry, exit_y, body)


# The lines


def _at(x: float, y: float, body: str) -> str:
    return f'<g transform="translate({x:.1f} {y:.1f})">{body}</g>'


def _knot(y: float, *, is_choice: bool) -> str:
    if is_choice:
        return f'<path d="M0 {y:.1f}l6 -6 6 6 -6 6z" opacity="0.7"/>'
    return f'{_line(0, y, KNOT_X, y)}<circle cx="6" cy="{y:.1f}" r="4" opacity="0.7"/>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return _stroke(f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}") if (x1, y1) != (x2, y2) else ""


def _arrow(x1: float, y: float, x2: float) -> str:
    return _line(x1, y, x2 - 6, y) + _head(x2, y)


def _head(x: float, y: float) -> str:
    return f'<path d="M{x - 7:.1f} {y - 3.5:.1f}l7 3.5 -7 3.5z" opacity="0.6"/>'


def _fan(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Bend from the fork to a branch at once, then go straight to it."""
    (x1, y1), (x2, y2) = start, end
    bend, turned = x1 + FORK_X / 2, x1 + FORK_X
    curve = f"C{bend:.1f} {y1:.1f} {bend:.1f} {y2:.1f} {turned:.1f} {y2:.1f}"
    return _stroke(f"M{x1:.1f} {y1:.1f}{curve}L{x2 - 6:.1f} {y2:.1f}") + _head(x2, y2)


def _join(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Go straight along the branch, then bend to the join."""
    (x1, y1), (x2, y2) = start, end
    turn, bend = x2 - FORK_X, x2 - FORK_X / 2
    curve = f"C{bend:.1f} {y1:.1f} {bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    return _stroke(f"M{x1:.1f} {y1:.1f}L{turn:.1f} {y1:.1f}{curve}")


def _return(end: tuple[float, float], start: tuple[float, float], between: float) -> str:
    """Go from the end of a line around to the start of the next one, rounding the corners."""
    (x1, y1), (x2, y2) = end, start
    right, left, r = x1 + FORK_X / 2, x2 - FORK_X / 2, 8
    path = (
        f"M{x1:.1f} {y1:.1f}H{right - r:.1f}q{r} 0 {r} {r}V{between - r:.1f}q0 {r} -{r} {r}"
        f"H{left + r:.1f}q-{r} 0 -{r} {r}V{y2 - r:.1f}q0 {r} {r} {r}H{x2 - 6:.1f}"
    )
    return _stroke(path) + _head(x2, y2)


def _stroke(path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="currentColor" stroke-opacity="0.6"/>'
