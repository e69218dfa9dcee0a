"""Drawings of what eager code recorded, as SVG text: nothing else needs to be installed."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

from cortex_compute.types import TensorType
from cortex_compute.types import dtype as dtype_of
from cortex_core.eager_graph import EagerGraph, GraphNode, Names, graph_of
from cortex_core.tensor import Tensor
from cortex_core.training.files import write_atomically
from cortex_viz.layered import Layout, Line, lay_out

MOST = 300  # operations in one drawing
LETTER, ROW, INSIDE = 7.3, 17.0, 10.0  # the width of a letter, the height of a row, the margin in a box
TEXT, LINE = "#1a1a1a", "#595959"
BOLD = ' font-weight="bold"'
STYLES = {  # the fill, the border, and how round the corners are
    "operation": ("#eaf3fb", "#0072b2", 10),
    "parameter": ("#fff3e0", "#a65e00", 0),
    "input": ("#f2f2f2", "#595959", 0),
}
_NO_XML = re.compile("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Drawing:
    """An SVG picture that a notebook shows; ``str(drawing)`` is its text."""

    def __init__(self, svg: str, title: str) -> None:
        self.svg, self.title = svg, title

    def save(self, path: str | Path) -> None:
        """Writes the file, whole or not at all.  Raises ValueError for any format but .svg."""
        if Path(path).suffix != ".svg":
            raise ValueError(f"{path}: the drawing is SVG text; save it as {Path(path).stem}.svg")
        write_atomically(Path(path), str(self).encode())

    def _repr_svg_(self) -> str:
        return self.svg

    def __str__(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Drawing: {self.title}>"


def visualize_graph(*outputs: Tensor | EagerGraph, names: Names = (), values: bool = False) -> Drawing:
    """Draws what ``outputs`` were computed from: leaves at the top, the outputs at the bottom.

    Leaves are boxes, operations round ones; each shows its type, and has the rest as a tooltip.  ``names``
    (a dict, or ``model.named_parameters()``) and ``values`` (show small numbers, and gradients as far as they
    are there) are those of `graph_of`, whose graph is taken too.  Of more than 300 operations the last 300
    are drawn, and the drawing says so.
    """
    if len(outputs) == 1 and isinstance(outputs[0], EagerGraph):
        graph = outputs[0]
    else:
        graph = graph_of(*outputs, names=names, values=values)  # type: ignore[arg-type]
    operations = [node for node in graph.topological() if not node.is_leaf]
    shown = {node.id for node in operations[:MOST]} | set(graph.outputs)
    shown |= {e.source for e in graph.edges if e.target in shown and graph[e.source].is_leaf}
    boxes = [node for node in graph if node.id in shown]
    edges = [(e.source, e.target) for e in graph.edges if e.source in shown and e.target in shown]
    cut = {e.target for e in graph.edges if e.target in shown and e.source not in shown}
    labels = {node.id: _label(node) for node in boxes}
    title = f"{_count(len(operations), 'operation')} on {_count(len(graph) - len(operations), 'leaf')}"
    if cut:
        title += f"; the {len(operations) - MOST:,} operations before the last {MOST} are left out"
    layout = lay_out({id: _size(rows) for id, rows in labels.items()}, edges)
    drawn = [_line(line) for line in layout.lines]
    drawn += [_box(node, labels[node.id], layout, node.id in graph.outputs, node.id in cut) for node in boxes]
    return Drawing(_svg(title, drawn, layout), title)


def _count(n: int, word: str) -> str:
    return f"{n:,} {word if n == 1 else {'leaf': 'leaves'}.get(word, word + 's')}"


def _kind(node: GraphNode) -> str:
    if not node.is_leaf:
        return "operation"
    return "parameter" if node.requires_grad else "input"


def _label(node: GraphNode) -> list[str]:
    """The rows of a box: what it is, what it was given, its type, its numbers."""
    what = _kind(node) if node.is_leaf else _short(node.operation)
    first = node.name if node.name and node.is_leaf else f"{node.name} = {what}" if node.name else what
    rows = [first, node.detail if len(node.detail) <= 32 else "", _type(node)]
    rows += [f"{word} {text}" for word, text in (("value", node.value), ("gradient", node.gradient)) if text]
    return [row for row in rows if row]


def _type(node: GraphNode) -> str:
    return str(TensorType(node.shape, dtype_of(node.dtype)))


def _short(text: str, most: int = 32) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _size(rows: list[str]) -> tuple[float, float]:
    return max(map(len, rows)) * LETTER + 2 * INSIDE, len(rows) * ROW + INSIDE


def _box(node: GraphNode, rows: list[str], layout: Layout, output: bool, cut: bool) -> str:
    (x, y), (width, height) = layout.centres[node.id], _size(rows)
    fill, border, corner = STYLES[_kind(node)]
    dashes = ' stroke-dasharray="5 3"' if cut else ""
    facts = (node.name, node.operation, node.detail, _type(node), node.place)
    top = y - height / 2 + INSIDE / 2 + 0.72 * ROW
    texts = "".join(
        f'<text x="{x:.1f}" y="{top + i * ROW:.1f}"{BOLD if i == 0 else ""}>{_xml(row)}</text>'
        for i, row in enumerate(rows)
    )
    return (
        f"<g><title>{_xml(' | '.join(fact for fact in facts if fact))}</title>"
        f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="{corner}" fill="{fill}" stroke="{border}" stroke-width="{2.5 if output else 1.2}"{dashes}/>'
        f"{texts}</g>"
    )


def _line(line: Line) -> str:
    (x0, y0), (x1, y1) = line.start, line.end
    end = y1 - 6 if line.last else y1
    middle = (y0 + end) / 2
    head = f'<path d="M{x1:.1f} {y1:.1f}l-4 -7h8z" fill="{LINE}"/>' if line.last else ""
    return (
        f'<path d="M{x0:.1f} {y0:.1f}C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {end:.1f}" '
        f'fill="none" stroke="{LINE}"/>{head}'
    )


def _svg(title: str, drawn: list[str], layout: Layout) -> str:
    width = max(layout.width, len(title) * LETTER + 2 * INSIDE)
    height = layout.height + ROW
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{_xml(title)}" '
        f'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="12" fill="{TEXT}" '
        f'text-anchor="middle">\n<title>{_xml(title)}</title>\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n'
        f'<text x="{INSIDE:.0f}" y="{height - INSIDE:.0f}" text-anchor="start">{_xml(title)}</text>\n</svg>\n'
    )


def _xml(text: Any) -> str:
    return escape(_NO_XML.sub("\ufffd", str(text)))
